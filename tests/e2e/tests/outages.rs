//! Outages that the other tests do not plan: polite and impolite closes, an agent that comes and goes or never speaks,
//! a bad line, many connections at once.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_emulator::{AgentHabits, Config, Counter, Direction, Injection, LineFaults};
use stormtunnel_e2e::bulk::{self, Bulk, BulkServer, EchoServer, Received};
use stormtunnel_e2e::scene::{HOST, PORT, Scene, state};
use stormtunnel_e2e::{DEADLINE, local};
use tokio::task::JoinSet;

#[tokio::test]
async fn one_connection_lives_through_every_kind_of_close() -> Result<()> {
    let echo = EchoServer::start().await?;
    let (scene, port) = Scene::with_tunnel(Config::default(), echo.address()).await?;
    let counters = scene.emulator().counters();
    let mut connection = local::connect(port, DEADLINE).await?;
    let events = [
        // What the service does about hourly.
        (
            Injection::CloseClient { session: None, code: 1000, reason: "Bye".to_owned() },
            Counter::InjectedCloses,
        ),
        // Beyond the standard's 125 bytes; the service was seen to send such ones.
        (Injection::OversizeClose { session: None, bytes: 300 }, Counter::InjectedOversizeCloses),
        (Injection::DropClient { session: None }, Counter::InjectedClientDrops),
        (Injection::DropAgent { session: None }, Counter::InjectedAgentDrops),
    ];
    for (injection, counter) in events {
        let name = format!("{injection:?}");
        local::echo(&mut connection, "before\n", DEADLINE).await.with_context(|| name.clone())?;
        scene.emulator().inject(injection);
        counters.wait_at_least(counter, 1, DEADLINE).await?;
        local::echo(&mut connection, "after\n", DEADLINE).await.with_context(|| name)?;
    }
    ensure!(counters.value(Counter::SessionsStarted) == 1, "it is still the first session");
    Ok(())
}

#[tokio::test]
async fn a_bad_line_costs_no_byte() -> Result<()> {
    const FROM_REMOTE: Bulk = Bulk { seed: 21, length: 2 << 20 };
    const TO_REMOTE: Bulk = Bulk { seed: 23, length: 2 << 20 };
    let mut server = BulkServer::start(FROM_REMOTE, TO_REMOTE).await?;
    let config = Config { habits: AgentHabits::unpaced(), ..Config::default() };
    let (scene, port) = Scene::with_tunnel(config, server.address()).await?;
    for direction in [Direction::ToAgent, Direction::ToClient] {
        let faults = LineFaults {
            loss: 0.02,
            duplicate: 0.02,
            reorder: 0.02,
            reorder_ms: 15,
            latency_ms: 2,
            seed: 5,
            ..LineFaults::default()
        };
        scene.emulator().inject(Injection::Line { direction, faults });
    }
    let connection = local::connect(port, DEADLINE).await?;
    let transfer =
        async { tokio::try_join!(bulk::exchange(connection, TO_REMOTE, FROM_REMOTE), server.report()) };
    let (here, there) = tokio::time::timeout(2 * DEADLINE, transfer).await??;
    assert_eq!((here, there), (Received::all_of(FROM_REMOTE), Received::all_of(TO_REMOTE)));
    let counters = scene.emulator().counters();
    for counter in [Counter::InjectedLost, Counter::InjectedDuplicated, Counter::InjectedReordered] {
        ensure!(counters.value(counter) > 0, "{counter} is 0: the line was not bad");
    }
    Ok(())
}

#[tokio::test]
async fn an_agent_that_never_speaks_is_named_and_tried_again() -> Result<()> {
    let echo = EchoServer::start().await?;
    let scene = Scene::start(Config::default()).await?;
    scene.emulator().map_service(HOST, PORT, echo.address());
    scene.ok(&["settings", "set", "tunnels.connect_timeout", "10"]).await?;
    scene.add("db", &format!("{HOST}:{PORT}")).await?;
    let mut watch = scene.watch("db").await?;
    scene.emulator().inject(Injection::SilentAgents { count: 1 });
    scene.ok(&["up", "db", "--timeout", "45s"]).await?;
    watch.until_tunnel(DEADLINE, |tunnel| state(tunnel) == "up").await?;
    assert_eq!(watch.faults(), ["agent_unresponsive"]);
    scene.ok(&["down", "db"]).await?;
    scene.no_session_left(Duration::ZERO).await
}

#[tokio::test]
async fn many_connections_share_one_tunnel() -> Result<()> {
    const CONNECTIONS: u64 = 40;
    const FROM_REMOTE: Bulk = Bulk { seed: 31, length: 100_000 };
    const TO_REMOTE: Bulk = Bulk { seed: 33, length: 100_000 };
    let mut server = BulkServer::start(FROM_REMOTE, TO_REMOTE).await?;
    let config = Config { habits: AgentHabits::unpaced(), ..Config::default() };
    let (scene, port) = Scene::with_tunnel(config, server.address()).await?;
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        connections.spawn(async move {
            let connection = local::connect(port, DEADLINE).await?;
            bulk::exchange(connection, TO_REMOTE, FROM_REMOTE).await
        });
    }
    let all = async {
        for _ in 0..CONNECTIONS {
            assert_eq!(server.report().await?, Received::all_of(TO_REMOTE));
            let received = connections.join_next().await.context("fewer connections than were made")???;
            assert_eq!(received, Received::all_of(FROM_REMOTE));
        }
        Ok::<_, anyhow::Error>(())
    };
    tokio::time::timeout(2 * DEADLINE, all).await??;
    let counters = scene.emulator().counters();
    assert_eq!(counters.value(Counter::SessionsStarted), 1);
    assert_eq!(counters.value(Counter::AgentDials), CONNECTIONS);
    Ok(())
}
