//! At TRACE, no secret anywhere that people look at, send around or leave lying about.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use aws_emulator::{AccessKey, Config, Counter, Injection};
use serde_json::Value;
use stormtunnel_e2e::bulk::EchoServer;
use stormtunnel_e2e::scene::{HOST, PORT, Scene, state};
use stormtunnel_e2e::secrets::{self, Secrets, Shown};
use stormtunnel_e2e::{DEADLINE, bulk, local, profiles};

#[tokio::test]
async fn a_run_at_trace_shows_no_secret() -> Result<()> {
    let secret = hex::encode(bulk::bytes(11, 20));
    let session_token = hex::encode(bulk::bytes(13, 120));
    let key = AccessKey::new("ASIATESTEXAMPLE00001", secret, Some(session_token));
    let scene = Scene::start(Config { access_keys: vec![key], ..Config::default() }).await?;
    secrets::start_at_trace(&scene).await?;
    let mut shown = whole_flow(&scene).await?;

    // Three sessions, a resumption, a secret key and its session token.
    let secrets = Secrets::of(&scene, 6, &profiles::credentials_file(&scene))?;
    for path in files(&scene.sandbox().state_dir())? {
        shown.push((path.display().to_string(), std::fs::read(&path)?));
    }
    shown.push(("the settings file".to_owned(), std::fs::read(scene.sandbox().config_file())?));
    let leaks: Vec<String> =
        shown.iter().filter_map(|(place, bytes)| secrets.found_in(place, bytes)).collect();
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));

    let lines = secrets::only_ours_below_info(&scene.sandbox().log_file())?;
    println!(
        "promise main.secrets: {} secrets in none of {} places ({} log lines, {} of them below INFO and all ours)",
        secrets.count(),
        shown.len(),
        lines.all,
        lines.below_info
    );
    Ok(())
}

/// Everything that hands out or uses a secret: a session, its resumption, its replacement, refusals, a restart of the
/// daemon. Answers what was printed meanwhile.
async fn whole_flow(scene: &Scene) -> Result<Vec<Shown>> {
    let echo = EchoServer::start().await?;
    let (emulator, counters) = (scene.emulator(), scene.emulator().counters());
    emulator.map_service(HOST, PORT, echo.address());
    scene.add("db", &format!("{HOST}:{PORT}")).await?;
    let mut watch = scene.watch("db").await?;
    scene.ok(&["up", "db"]).await?;
    let port = scene.port("db").await?;
    let mut connection = local::connect(port, DEADLINE).await?;
    local::echo(&mut connection, "one\n", DEADLINE).await?;

    emulator.inject(Injection::DropClient { session: None });
    counters.wait_at_least(Counter::SessionsResumed, 1, DEADLINE).await?;
    local::echo(&mut connection, "two\n", DEADLINE).await.context("after the resumption")?;
    emulator.inject(Injection::RefuseUpgrades { status: 503, count: 1 });
    emulator.inject(Injection::KillSession { session: None, output: "ended".to_owned() });
    counters.wait_at_least(Counter::SessionsStarted, 2, DEADLINE).await?;
    scene.ok(&["wait", "db"]).await?;
    emulator.inject(Injection::Deny { action: "ssm:StartSession".to_owned(), denied: true });
    let denied = scene.stctl(&["restart", "db"]).await?;
    ensure!(denied.code == 8, "{denied:?}");
    emulator.inject(Injection::Calm);
    scene.ok(&["restart", "db"]).await?;
    watch.until_tunnel(DEADLINE, |tunnel| state(tunnel) == "up").await?;

    let mut shown = vec![("restart's words".to_owned(), format!("{denied:?}").into_bytes())];
    for line in [
        &["ls", "-o", "wide"][..],
        &["status", "db"],
        &["tunnel", "show", "db", "-o", "yaml"],
        &["daemon", "status"],
    ] {
        shown.push((line.join(" "), scene.ok(line).await?.into_bytes()));
    }
    let history: Vec<String> = watch.history().iter().map(Value::to_string).collect();
    shown.push(("watch".to_owned(), history.join("\n").into_bytes()));
    // The watch still runs: a command line of ours is among them, beside the daemon's.
    shown.extend(secrets::processes(scene, &["stctl", "watch", "db"])?);
    Ok(shown)
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    let files: Vec<PathBuf> =
        entries.iter().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    ensure!(
        files.iter().any(|path| path.extension().is_some_and(|end| end == "db")),
        "no database: {files:?}"
    );
    Ok(files)
}
