//! Tunnels outlive the terminal, the daemon's life and its death; sessions outlive none of them.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_emulator::{Config, Counter};
use stormtunnel_e2e::bulk::EchoServer;
use stormtunnel_e2e::process::{self, Signal};
use stormtunnel_e2e::scene::{HOST, PORT, Scene, state};
use stormtunnel_e2e::terminal::Terminal;
use stormtunnel_e2e::{DEADLINE, local};
use stormtunnel_harness::Place;
use tokio::net::TcpStream;
use tokio::time::Instant;

#[tokio::test]
async fn a_tunnel_outlives_the_terminal() -> Result<()> {
    let echo = EchoServer::start().await?;
    let scene = Scene::start(Config::default()).await?;
    scene.emulator().map_service(HOST, PORT, echo.address());
    let environment = with_stctl_on_path(scene.sandbox())?;

    let mut terminal = Terminal::open(&environment, DEADLINE).await?;
    let add = format!("stctl tunnel add db --target {} --remote {HOST}:{PORT}", scene.emulator().instance());
    terminal.command(&add, DEADLINE).await?;
    let shown = terminal.command("stctl up db", DEADLINE).await?;
    assert!(shown.contains("db is up"), "{shown}");
    let port = scene.port("db").await?;
    let pid = scene.daemon_pid().await?;
    let mut connection = local::connect(port, DEADLINE).await?;
    local::echo(&mut connection, "before\n", DEADLINE).await?;

    terminal.close(DEADLINE).await?;
    local::echo(&mut connection, "after\n", DEADLINE).await?;
    let mut another = local::connect(port, DEADLINE).await?;
    local::echo(&mut another, "another\n", DEADLINE).await?;

    let mut terminal = Terminal::open(&environment, DEADLINE).await?;
    let shown = terminal.command("stctl ls", DEADLINE).await?;
    let row = shown.lines().find(|line| line.starts_with("db ")).context(shown.clone())?;
    assert!(row.contains("Up"), "{shown}");
    assert_eq!(scene.daemon_pid().await?, pid);
    println!(
        "promise main.hangup: the open connection and a new one carry bytes, ls shows Up, the daemon is the same"
    );
    Ok(())
}

fn with_stctl_on_path(place: &Place) -> Result<Vec<(String, String)>> {
    let directory = place.binaries().stctl.parent().context("stctl is nowhere")?;
    let mut environment = place.environment();
    for (name, value) in &mut environment {
        if name == "PATH" {
            *value = format!("{}:{value}", directory.display());
        }
    }
    Ok(environment)
}

#[tokio::test]
async fn a_port_that_was_taken_meanwhile_blocks_its_tunnel_alone_and_is_taken_back() -> Result<()> {
    let echo = EchoServer::start().await?;
    let (scene, automatic) = Scene::with_tunnel(Config::default(), echo.address()).await?;
    scene.add("other", "db.internal:5432").await?;
    scene.ok(&["up", "other"]).await?;
    scene.ok(&["daemon", "stop"]).await?;
    let squatter = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, automatic))?;

    scene.ok(&["wait", "other"]).await?;
    let waited = scene.stctl(&["wait", "db"]).await?;
    ensure!(waited.code == 3 && state(&scene.tunnel("db").await?) == "blocked", "{waited:?}");
    let explained = scene.ok(&["explain", "db"]).await?;
    let me = std::process::id().to_string();
    ensure!(!cfg!(target_os = "linux") || explained.contains(&me), "{me} is not named: {explained}");
    let mut watch = scene.watch("db").await?;
    drop(squatter);
    let start = Instant::now();
    watch.until_tunnel(DEADLINE, |tunnel| state(tunnel) == "up").await?;
    assert_eq!(scene.port("db").await?, automatic);
    println!(
        "promise restore.port-taken: Blocked with the holder's process while another tunnel was up, and on its port {} ms after \
         that was free",
        start.elapsed().as_millis()
    );
    Ok(())
}

#[tokio::test]
async fn stopped_and_started_the_daemon_has_the_same_tunnels_on_the_same_ports() -> Result<()> {
    let echo = EchoServer::start().await?;
    let (scene, automatic) = Scene::with_tunnel(Config::default(), echo.address()).await?;
    let fixed = local::free_port()?;
    scene.add("fixed", "db.internal:5432").await?;
    scene.ok(&["tunnel", "edit", "fixed", "--local", &fixed.to_string()]).await?;
    scene.ok(&["up", "fixed"]).await?;
    scene.add("stopped", "db.internal:5432").await?;
    let pid = scene.daemon_pid().await?;

    scene.ok(&["daemon", "stop"]).await?;
    scene.no_session_left(Duration::ZERO).await?;
    assert!(local::connect(automatic, DEADLINE).await.is_err(), "the port is still open");

    let start = Instant::now();
    scene.ok(&["wait", "db", "fixed"]).await?;
    let took = start.elapsed();
    assert_ne!(scene.daemon_pid().await?, pid);
    assert_eq!((scene.port("db").await?, scene.port("fixed").await?), (automatic, fixed));
    assert_eq!(state(&scene.tunnel("stopped").await?), "stopped");
    for port in [automatic, fixed] {
        local::echo(&mut local::connect(port, DEADLINE).await?, "again\n", DEADLINE).await?;
    }
    println!(
        "promise main.restart: two tunnels up again on their ports in {} ms, a stopped one stays stopped",
        took.as_millis()
    );
    Ok(())
}

#[tokio::test]
async fn after_a_crash_the_next_command_brings_everything_back() -> Result<()> {
    let echo = EchoServer::start().await?;
    let (scene, port) = Scene::with_tunnel(Config::default(), echo.address()).await?;
    let old = scene.emulator().sessions();
    let pid = scene.daemon_pid().await?;

    process::send_signal(pid, Signal::KILL)?;
    process::gone(pid, DEADLINE).await?;
    assert_eq!(scene.emulator().counters().value(Counter::SessionsOpen), 1, "nobody was there to end it");

    scene.ok(&["ls"]).await?;
    scene.ok(&["wait", "db"]).await?;
    assert_ne!(scene.daemon_pid().await?, pid);
    assert_eq!(scene.port("db").await?, port);
    local::echo(&mut local::connect(port, DEADLINE).await?, "again\n", DEADLINE).await?;
    scene.emulator().counters().wait_at_least(Counter::SessionsEnded, 1, DEADLINE).await?;
    let left = scene.emulator().sessions().into_iter().find(|session| session.id == old[0].id);
    assert!(left.is_some_and(|session| !session.open), "the session of the dead daemon is still open");
    assert_eq!(scene.emulator().counters().value(Counter::SessionsOpen), 1);
    Ok(())
}

/// One way to end a tunnel.
type End = (&'static str, &'static [&'static str]);

#[tokio::test]
async fn no_way_of_ending_leaves_a_session_behind() -> Result<()> {
    const ENDS: [End; 4] = [
        ("down", &["down", "--all"]),
        ("rm", &["tunnel", "rm", "db", "second"]),
        ("daemon stop", &["daemon", "stop"]),
        ("SIGTERM", &[]),
    ];
    let echo = EchoServer::start().await?;
    for (name, words) in ENDS {
        let (scene, _connection) = two_tunnels(echo.address()).await?;
        if words.is_empty() {
            let pid = scene.daemon_pid().await?;
            process::send_signal(pid, Signal::TERM)?;
            process::gone(pid, DEADLINE).await?;
        } else {
            scene.ok(words).await?;
        }
        // At once: whoever sees the command end may take the network away.
        scene.no_session_left(Duration::ZERO).await.context(name)?;
    }
    println!(
        "promise main.orphans: down, rm, daemon stop and SIGTERM, 2 sessions and an open connection each: 0 sessions left"
    );
    Ok(())
}

/// Two tunnels that are up, and an open connection through the first.
async fn two_tunnels(service: SocketAddr) -> Result<(Scene, TcpStream)> {
    let (scene, port) = Scene::with_tunnel(Config::default(), service).await?;
    scene.add("second", "db.internal:5432").await?;
    scene.ok(&["up", "second"]).await?;
    let mut connection = local::connect(port, DEADLINE).await?;
    local::echo(&mut connection, "open\n", DEADLINE).await?;
    assert_eq!(scene.emulator().counters().value(Counter::SessionsOpen), 2);
    Ok((scene, connection))
}

#[tokio::test]
async fn commands_that_race_start_one_daemon() -> Result<()> {
    let scene = Scene::start(Config::default()).await?;
    let ls = async || scene.ok(&["ls"]).await;
    let answers = tokio::join!(ls(), ls(), ls(), ls());
    answers.0?;
    answers.1?;
    answers.2?;
    answers.3?;
    let pid = scene.daemon_pid().await?;
    #[cfg(target_os = "linux")]
    assert_eq!(daemons_on(&scene.sandbox().socket().to_string_lossy())?, [pid]);
    assert_eq!(scene.sandbox().daemon_pid(), Some(pid));
    Ok(())
}

/// Processes that were given this socket.
#[cfg(target_os = "linux")]
fn daemons_on(socket: &str) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may end meanwhile.
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&command).split('\0').any(|word| word == socket) {
            found.push(pid);
        }
    }
    Ok(found)
}

#[tokio::test]
async fn daemons_live_side_by_side() -> Result<()> {
    let echo = EchoServer::start().await?;
    let (first, port) = Scene::with_tunnel(Config::default(), echo.address()).await?;
    let second = first.beside().await?;
    assert_eq!(second.json(&["ls"]).await?, serde_json::json!([]), "it sees the other's tunnels");
    second.add("db", "db.internal:5432").await?;
    second.ok(&["up", "db"]).await?;
    assert_ne!(second.port("db").await?, port);
    assert_ne!(second.daemon_pid().await?, first.daemon_pid().await?);
    second.ok(&["daemon", "stop"]).await?;
    local::echo(&mut local::connect(port, DEADLINE).await?, "undisturbed\n", DEADLINE).await?;
    assert_eq!(state(&first.tunnel("db").await?), "up");
    Ok(())
}

#[tokio::test]
async fn an_edit_disturbs_no_more_than_it_must() -> Result<()> {
    let (one, other) = (EchoServer::start().await?, EchoServer::start().await?);
    let (scene, port) = Scene::with_tunnel(Config::default(), one.address()).await?;
    scene.emulator().map_service("other.internal", PORT, other.address());
    let counters = scene.emulator().counters();
    let edit = async |name: &str, words: &[&str]| {
        let edit = [&["tunnel", "edit", name, "-o", "json"], words].concat();
        let told: serde_json::Value = serde_json::from_str(&scene.ok(&edit).await?)?;
        anyhow::Ok((told["reconnects"] == true, told["rebinds"] == true))
    };
    let mut connection = local::connect(port, DEADLINE).await?;
    local::echo(&mut connection, "open\n", DEADLINE).await?;

    assert_eq!(edit("db", &["--remote", "other.internal:5432", "--dry-run"]).await?, (true, false));
    assert_eq!(edit("db", &["--rename", "pg"]).await?, (false, false));
    let new_port = local::free_port()?;
    assert_eq!(edit("pg", &["--local", &new_port.to_string()]).await?, (false, true));
    scene.ok(&["wait", "pg"]).await?;
    local::echo(&mut local::connect(new_port, DEADLINE).await?, "new port\n", DEADLINE).await?;
    assert!(local::connect(port, DEADLINE).await.is_err(), "the old port is still open");
    local::echo(&mut connection, "the old connection\n", DEADLINE).await?;
    assert_eq!(counters.value(Counter::SessionsStarted), 1);

    assert_eq!(edit("pg", &["--remote", "other.internal:5432"]).await?, (true, false));
    scene.ok(&["wait", "pg"]).await?;
    local::echo(&mut local::connect(new_port, DEADLINE).await?, "new remote\n", DEADLINE).await?;
    assert_eq!(counters.value(Counter::SessionsStarted), 2);
    scene.ok(&["tunnel", "rm", "pg"]).await?;
    scene.no_session_left(Duration::ZERO).await
}
