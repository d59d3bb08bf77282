//! When a tunnel holds sessions, and how it spreads connections over them: real processes.

use anyhow::{Context as _, Result, ensure};
use aws_emulator::{AgentHabits, Config, Counter, Injection};
use stormtunnel_e2e::bulk::EchoServer;
use stormtunnel_e2e::scene::{HOST, PORT, Scene, state};
use stormtunnel_e2e::{DEADLINE, local};
use tokio::task::JoinSet;

async fn scene(options: &[&str]) -> Result<(Scene, EchoServer)> {
    let echo = EchoServer::start().await?;
    let scene = Scene::start(Config { habits: AgentHabits::unpaced(), ..Config::default() }).await?;
    scene.emulator().map_service(HOST, PORT, echo.address());
    let (instance, remote) = (scene.emulator().instance().to_owned(), format!("{HOST}:{PORT}"));
    let mut add = vec!["tunnel", "add", "db", "--target", &instance, "--remote", &remote];
    add.extend_from_slice(options);
    scene.ok(&add).await?;
    Ok((scene, echo))
}

#[tokio::test]
async fn on_demand_the_first_connection_starts_the_session() -> Result<()> {
    let (scene, _echo) = scene(&["--keep", "on-demand"]).await?;
    let said = scene.ok(&["up", "db"]).await?;
    ensure!(said.contains("ready"), "{said}");
    ensure!(state(&scene.tunnel("db").await?) == "idle");
    let counters = scene.emulator().counters();
    ensure!(counters.value(Counter::SessionsStarted) == 0, "nobody has used it yet");
    ensure!(scene.ok(&["wait", "db"]).await.is_ok(), "scripts can rely on it");

    let mut connection = local::connect(scene.port("db").await?, DEADLINE).await?;
    local::echo(&mut connection, "hello\n", DEADLINE).await?;
    ensure!(state(&scene.tunnel("db").await?) == "up");
    ensure!(counters.value(Counter::SessionsStarted) == 1);
    ensure!(scene.ok(&["tunnel", "show", "db"]).await?.contains("on-demand"));

    // A restart ends the session, and the tunnel waits for the next connection.
    drop(connection);
    scene.ok(&["restart", "db"]).await?;
    ensure!(state(&scene.tunnel("db").await?) == "idle");
    scene.ok(&["down", "db"]).await?;
    scene.no_session_left(DEADLINE).await
}

#[tokio::test]
async fn connections_spread_over_sessions_that_come_and_go_as_needed() -> Result<()> {
    let (scene, _echo) = scene(&["--sessions", "4"]).await?;
    scene.ok(&["up", "db"]).await?;
    let counters = scene.emulator().counters();
    ensure!(counters.value(Counter::SessionsStarted) == 1, "one proves that it works");
    let port = scene.port("db").await?;
    let mut talks = JoinSet::new();
    for number in 0..8 {
        talks.spawn(async move {
            let mut connection = local::connect(port, DEADLINE).await?;
            local::echo(&mut connection, &format!("hello {number}\n"), DEADLINE).await?;
            Ok::<_, anyhow::Error>(connection)
        });
    }
    let mut connections = Vec::new();
    while let Some(talk) = talks.join_next().await {
        connections.push(talk??);
    }
    ensure!(counters.value(Counter::SessionsStarted) == 4, "{}", counters.value(Counter::SessionsStarted));

    // Each is resumed for itself.
    scene.emulator().inject(Injection::DropClient { session: None });
    counters.wait_at_least(Counter::InjectedClientDrops, 4, DEADLINE).await?;
    for connection in &mut connections {
        local::echo(connection, "still here\n", DEADLINE).await.context("after the drop")?;
    }
    ensure!(counters.value(Counter::SessionsStarted) == 4, "on their sessions");
    scene.ok(&["down", "db"]).await?;
    scene.no_session_left(DEADLINE).await
}

#[tokio::test]
async fn what_cannot_be_kept_or_spread_is_refused_with_the_rule() -> Result<()> {
    let scene = Scene::start(Config::default()).await?;
    let instance = scene.emulator().instance().to_owned();
    for (option, value, rule) in
        [("--keep", "cold", "on-demand"), ("--sessions", "9", "1 to 8"), ("--sessions", "0", "1 to 8")]
    {
        let add = ["tunnel", "add", "db", "--target", &instance, "--remote", "80", option, value];
        let output = scene.stctl(&add).await?;
        ensure!(output.code == 2 && output.stderr.contains(rule), "{option} {value}: {}", output.stderr);
    }
    Ok(())
}
