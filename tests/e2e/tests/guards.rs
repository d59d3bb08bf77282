//! Local guards, and local ends that are Unix sockets.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use aws_emulator::Config;
use serde_json::Value;
use stormtunnel_e2e::bulk::EchoServer;
use stormtunnel_e2e::postgres::Postgres;
use stormtunnel_e2e::process::{self, Signal};
use stormtunnel_e2e::scene::{HOST, PORT, Scene, state};
use stormtunnel_e2e::terminal::Terminal;
use stormtunnel_e2e::{DEADLINE, local};
use tokio::net::UnixStream;

/// Kills the daemon and has the next command start another one.
async fn kill_and_start(scene: &Scene) -> Result<()> {
    let pid = scene.daemon_pid().await?;
    process::send_signal(pid, Signal::KILL)?;
    process::gone(pid, DEADLINE).await?;
    scene.ok(&["ls"]).await?;
    ensure!(scene.daemon_pid().await? != pid, "the daemon lives on");
    Ok(())
}

async fn add(scene: &Scene, name: &str, more: &[&str]) -> Result<String> {
    let remote = format!("{HOST}:{PORT}");
    let common = ["tunnel", "add", name, "--target", scene.emulator().instance(), "--remote", &remote];
    scene.ok(&[&common, more].concat()).await
}

async fn echoes(socket: &Path, line: &str) -> Result<()> {
    local::echo(&mut UnixStream::connect(socket).await?, line, DEADLINE).await
}

#[tokio::test]
async fn a_tunnel_on_a_unix_socket_carries_bytes_and_leaves_nothing_behind() -> Result<()> {
    let echo = EchoServer::start().await?;
    let scene = Scene::start(Config::default()).await?;
    scene.emulator().map_service(HOST, PORT, echo.address());
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("db.sock");
    let local = format!("unix:{}", socket.display());
    add(&scene, "db", &["--local", &local]).await?;
    let up = scene.ok(&["up", "db"]).await?;
    assert!(up.contains(&format!("db is up: {local} -> ")), "{up}");
    assert_eq!(std::fs::symlink_metadata(&socket)?.permissions().mode() & 0o777, 0o600);
    echoes(&socket, "through a socket\n").await?;

    let twin = scene.stctl(&["tunnel", "edit", "db", "--rename", "pg"]).await?;
    ensure!(twin.code == 0, "{twin:?}");
    let remote = format!("{HOST}:{PORT}");
    let target = scene.emulator().instance();
    let second = ["tunnel", "add", "other", "--target", target, "--remote", &remote, "--local", &local];
    let refused = scene.stctl(&second).await?;
    ensure!(refused.code == 7 && refused.stderr.contains("tunnel \"pg\""), "{refused:?}");

    kill_and_start(&scene).await?;
    scene.ok(&["wait", "pg"]).await?;
    echoes(&socket, "where a killed daemon left its socket\n").await?;
    scene.ok(&["down", "pg"]).await?;
    ensure!(!socket.exists(), "the socket was left behind");
    scene.no_session_left(DEADLINE).await
}

#[tokio::test]
async fn psql_finds_a_tunnel_by_the_name_of_its_socket() -> Result<()> {
    let Some(postgres) = Postgres::start().await? else { return Ok(()) };
    let scene = Scene::start(Config::default()).await?;
    scene.emulator().map_service(HOST, PORT, postgres.address());
    let directory = tempfile::tempdir()?;
    let local = format!("unix:{}/.s.PGSQL.{PORT}", directory.path().display());
    add(&scene, "db", &["--local", &local, "--up"]).await?;
    let mut command = postgres.psql(PORT);
    command.arg("-h").arg(directory.path()).args(["-c", "SELECT 6 * 7"]);
    assert_eq!(process::run(command, DEADLINE).await?.success()?, "42\n");
    postgres.stop().await
}

#[tokio::test]
async fn a_guarded_tunnel_is_confirmed_reasoned_and_ended() -> Result<()> {
    let echo = EchoServer::start().await?;
    let scene = Scene::start(Config::default()).await?;
    scene.emulator().map_service(HOST, PORT, echo.address());
    add(&scene, "prod-db", &["--label", "confirm=true", "--reason", "routine"]).await?;
    let refused = scene.stctl(&["up", "prod-db"]).await?;
    ensure!(refused.code == 2 && refused.stderr.contains("--yes"), "{refused:?}");
    assert_eq!(state(&scene.tunnel("prod-db").await?), "stopped");
    let reason = "INC-4711: slow queries";
    scene.ok(&["up", "prod-db", "--yes", "--ttl", "2h", "--reason", reason]).await?;
    let told = reasons(&scene);
    assert_eq!(told, [Some(reason.to_owned())]);
    let before = scene.tunnel("prod-db").await?;
    let end = end(&before)?;
    let status = scene.ok(&["status", "prod-db"]).await?;
    assert!(status.contains("stops at") && status.contains(reason), "{status}");

    kill_and_start(&scene).await?;
    scene.ok(&["wait", "prod-db"]).await.context("nobody is asked again")?;
    assert_eq!(self::end(&scene.tunnel("prod-db").await?)?, end);
    assert_eq!(reasons(&scene), [Some(reason.to_owned()), Some(reason.to_owned())]);
    scene.ok(&["down", "prod-db"]).await?;
    let stopped = scene.tunnel("prod-db").await?;
    assert!(stopped["stops_at"].is_null() && stopped["reason"].is_null(), "{stopped}");
    Ok(())
}

#[tokio::test]
async fn a_person_is_asked_on_a_terminal() -> Result<()> {
    let echo = EchoServer::start().await?;
    let scene = Scene::start(Config::default()).await?;
    scene.emulator().map_service(HOST, PORT, echo.address());
    add(&scene, "prod-db", &["--label", "confirm=true"]).await?;
    let stctl = scene.sandbox().binaries().stctl.display();
    let mut terminal = Terminal::open(&scene.sandbox().environment(), DEADLINE).await?;
    // The answer is typed ahead of the question.
    let shown = terminal.command(&format!("{stctl} up prod-db\nn"), DEADLINE).await?;
    let question = "tunnel \"prod-db\" is labelled confirm=true; connect? [y/N]";
    assert!(shown.contains(question) && shown.contains("nothing was started"), "{shown}");
    assert_eq!(state(&scene.tunnel("prod-db").await?), "stopped");
    let shown = terminal.command(&format!("{stctl} up prod-db\ny"), DEADLINE).await?;
    assert!(shown.contains(question) && shown.contains("prod-db is up"), "{shown}");
    terminal.close(DEADLINE).await
}

fn end(tunnel: &Value) -> Result<String> {
    let end = tunnel["stops_at"].as_str().map(str::to_owned);
    end.with_context(|| format!("no end: {tunnel}"))
}

fn reasons(scene: &Scene) -> Vec<Option<String>> {
    scene.emulator().sessions().into_iter().map(|session| session.reason).collect()
}
