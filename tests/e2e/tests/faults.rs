//! What goes wrong between the daemon and the remote end, and what applications and users notice of it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_emulator::{AgentHabits, Config, Corruption, Counter, Injection};
use serde_json::Value;
use stormtunnel_e2e::bulk::{self, Bulk, BulkServer, EchoServer, Received};
use stormtunnel_e2e::local::{self, Ending};
use stormtunnel_e2e::scene::{HOST, PORT, Scene, state};
use stormtunnel_e2e::{DEADLINE, process};
use tokio::time::{Instant, timeout};

const FROM_REMOTE: Bulk = Bulk { seed: 1, length: 64 << 20 };
const TO_REMOTE: Bulk = Bulk { seed: 3, length: 64 << 20 };
const DROPS: u32 = 20;
/// Twenty times this is less than the 128 MiB that pass.
const BYTES_PER_DROP: u64 = 3 << 20;
/// For the transfer with all its drops.
const BULK_DEADLINE: Duration = Duration::from_secs(150);

#[tokio::test]
async fn dropped_websockets_cost_no_byte_and_no_connection() -> Result<()> {
    let mut server = BulkServer::start(FROM_REMOTE, TO_REMOTE).await?;
    let config = Config { habits: AgentHabits::unpaced(), ..Config::default() };
    let (scene, port) = Scene::with_tunnel(config, server.address()).await?;
    scene.emulator().inject(Injection::DropClientEveryBytes { bytes: BYTES_PER_DROP, times: DROPS });

    let start = Instant::now();
    let connection = local::connect(port, DEADLINE).await?;
    let transfer =
        async { tokio::try_join!(bulk::exchange(connection, TO_REMOTE, FROM_REMOTE), server.report()) };
    let counters = scene.emulator().counters();
    let transferred = timeout(BULK_DEADLINE, transfer).await;
    let (here, there) = transferred.with_context(|| format!("{:?}", counters.snapshot()))??;
    let took = start.elapsed();

    assert_eq!(here, Received::all_of(FROM_REMOTE), "what came back");
    assert_eq!(there, Received::all_of(TO_REMOTE), "what arrived");
    assert_eq!(counters.value(Counter::InjectedClientDrops), u64::from(DROPS));
    assert_eq!(counters.value(Counter::SessionsStarted), 1, "the session was resumed each time");
    println!(
        "promise main.drops: {DROPS} drops in {:.1} s, SHA-256 right both ways, one local connection, one session, {} resumed",
        took.as_secs_f64(),
        counters.value(Counter::SessionsResumed),
    );
    Ok(())
}

#[tokio::test]
async fn a_refused_remote_connection_is_a_reset_at_once() -> Result<()> {
    let closed = ([127, 0, 0, 1], local::free_port()?).into();
    let (scene, port) = Scene::with_tunnel(Config::default(), closed).await?;
    let mut slowest = Duration::ZERO;
    for _ in 0..5 {
        let (ending, took) = local::ending(port, DEADLINE).await?;
        assert_eq!(ending, Ending::Reset);
        slowest = slowest.max(took);
    }
    ensure!(slowest < Duration::from_secs(1), "{slowest:?} is not at once");
    let tunnel = scene.tunnel("db").await?;
    assert_eq!(tunnel["status"]["remote"], "refused");
    assert_eq!(state(&tunnel), "up", "the tunnel itself is well");
    println!("promise main.refused: ECONNRESET after at most {} ms, 5 times", slowest.as_millis());
    Ok(())
}

#[tokio::test]
async fn a_remote_host_that_cannot_be_reached_is_never_up() -> Result<()> {
    let scene = Scene::start(Config::default()).await?;
    scene.emulator().map_address("metadata.vpc", [169, 254, 169, 254].into());
    let cases = [
        ("unknown", "nowhere.internal", 6, "remote_unresolvable", "cannot resolve host \"nowhere.internal\""),
        ("denied", "metadata.vpc", 8, "remote_forbidden", "forbids remote host \"metadata.vpc\""),
    ];
    let mut slowest = Duration::ZERO;
    for (name, host, code, kind, sentence) in cases {
        scene.add(name, &format!("{host}:80")).await?;
        let mut watch = scene.watch(name).await?;
        let start = Instant::now();
        let up = scene.stctl(&["up", name]).await?;
        slowest = slowest.max(start.elapsed());
        assert_eq!(up.code, code, "{up:?}");
        assert!(up.stderr.contains(sentence) && up.stderr.contains("fix: "), "{}", up.stderr);
        // It stays as it is: a while later it was not tried again behind our back.
        let blocked = watch.until_tunnel(DEADLINE, |tunnel| state(tunnel) == "blocked").await?;
        assert_eq!(blocked["status"]["fault"]["kind"], kind);
        scene.ok(&["down", name]).await?;
        watch.until_tunnel(DEADLINE, |tunnel| state(tunnel) == "stopped").await?;
        let states = watch.states();
        assert!(!states.iter().any(|state| state == "up"), "{states:?}");
    }
    ensure!(slowest < Duration::from_secs(10), "{slowest:?} is too long to wait for a sentence");
    scene.no_session_left(DEADLINE).await?;
    println!(
        "promise main.unresolvable: never Up in the whole watch, the sentence after at most {} ms",
        slowest.as_millis()
    );
    Ok(())
}

/// A tunnel that is up, with an echo service behind it.
async fn echoing() -> Result<(Scene, EchoServer, u16)> {
    let echo = EchoServer::start().await?;
    let (scene, port) = Scene::with_tunnel(Config::default(), echo.address()).await?;
    Ok((scene, echo, port))
}

#[tokio::test]
async fn a_peer_that_breaks_the_protocol_costs_its_session_only() -> Result<()> {
    const CASES: [Corruption; 4] = [
        Corruption::Garbage,
        Corruption::TruncatedHeader,
        Corruption::WrongLength,
        Corruption::SmuxViolation,
    ];
    for corruption in CASES {
        a_violation_starts_a_new_session(corruption).await.with_context(|| format!("{corruption:?}"))?;
    }
    a_wrong_digest_is_sent_again().await?;
    let urls = hostile_stream_urls_are_refused().await?;
    println!(
        "promise main.violations: {} violations and {urls} hostile StreamUrls: peer_violation, a new session, the same \
         daemon; a wrong digest: sent again on the same session",
        CASES.len()
    );
    Ok(())
}

async fn a_violation_starts_a_new_session(corruption: Corruption) -> Result<()> {
    let (scene, _echo, port) = echoing().await?;
    let pid = scene.daemon_pid().await?;
    let old = session_of(&scene.tunnel("db").await?)?;
    let mut watch = scene.watch("db").await?;
    let mut connection = local::connect(port, DEADLINE).await?;
    scene.emulator().inject(Injection::Corrupt { corruption });
    // Some corruptions wait for data to travel. What becomes of this connection is not the question.
    drop(local::echo(&mut connection, "provoke\n", Duration::from_secs(2)).await);
    let is_new = |tunnel: &Value| state(tunnel) == "up" && session_of(tunnel).is_ok_and(|id| id != old);
    let up = watch.until_tunnel(DEADLINE, is_new).await?;
    assert_eq!(watch.faults(), ["peer_violation"]);
    assert_eq!(up["status"]["last_fault"]["kind"], "peer_violation");
    local::echo(&mut local::connect(port, DEADLINE).await?, "again\n", DEADLINE).await?;
    assert_eq!(scene.daemon_pid().await?, pid);
    scene.ok(&["down", "db"]).await?;
    scene.no_session_left(DEADLINE).await
}

fn session_of(tunnel: &Value) -> Result<String> {
    Ok(tunnel["status"]["session_id"].as_str().context("no session")?.to_owned())
}

/// The message is dropped without an acknowledgement, so that the agent sends it again.
async fn a_wrong_digest_is_sent_again() -> Result<()> {
    let (scene, _echo, port) = echoing().await?;
    let counters = scene.emulator().counters();
    let mut connection = local::connect(port, DEADLINE).await?;
    local::echo(&mut connection, "before\n", DEADLINE).await?;
    let repeated = counters.value(Counter::RepeatedFromAgent);
    scene.emulator().inject(Injection::Corrupt { corruption: Corruption::BadDigest });
    local::echo(&mut connection, "through\n", DEADLINE).await.context("wrong digest")?;
    counters.wait_at_least(Counter::RepeatedFromAgent, repeated + 1, DEADLINE).await?;
    assert_eq!(counters.value(Counter::InjectedCorrupted), 1);
    assert_eq!(counters.value(Counter::SessionsStarted), 1, "the session goes on");
    Ok(())
}

/// The token and a signature would go wherever the URL points. Answers how many were tried.
async fn hostile_stream_urls_are_refused() -> Result<u64> {
    const URLS: [(&str, &str); 4] = [
        ("elsewhere", "wss://evil.example/v1/data-channel/me?role=publish_subscribe"),
        (
            "in-the-clear",
            "ws://ssmmessages.eu-central-1.amazonaws.com/v1/data-channel/me?role=publish_subscribe",
        ),
        ("other-scheme", "https://127.0.0.1:1/v1/data-channel/me"),
        ("no-url", "not a url"),
    ];
    let (scene, _echo, _port) = echoing().await?;
    let pid = scene.daemon_pid().await?;
    for (name, url) in URLS {
        scene.add(name, &format!("{HOST}:{PORT}")).await?;
        let mut watch = scene.watch(name).await?;
        scene.emulator().inject(Injection::StreamUrl { url: url.to_owned() });
        scene.ok(&["up", name, "--no-wait"]).await?;
        watch.until_tunnel(DEADLINE, |tunnel| state(tunnel) == "up").await.context(url)?;
        assert_eq!(watch.faults(), ["peer_violation"], "{url}");
    }
    let tried = scene.emulator().counters().value(Counter::InjectedStreamUrls);
    assert_eq!(tried, URLS.len() as u64);
    assert_eq!(scene.daemon_pid().await?, pid);
    scene.ok(&["down", "--all"]).await?;
    scene.no_session_left(DEADLINE).await?;
    Ok(tried)
}

#[tokio::test]
async fn an_offline_agent_is_named_with_the_remedy_and_waited_for() -> Result<()> {
    let echo = EchoServer::start().await?;
    let scene = Scene::start(Config::default()).await?;
    scene.emulator().map_service(HOST, PORT, echo.address());
    let instance = scene.emulator().instance().to_owned();
    let offline = |offline| Injection::InstanceOffline { instance: instance.clone(), offline };
    scene.emulator().inject(offline(true));
    scene.add("db", &format!("{HOST}:{PORT}")).await?;
    let up = scene.stctl(&["up", "db"]).await?;
    assert_eq!(up.code, 6, "{up:?}");
    for fragment in
        [&format!("{instance} is not connected to Session Manager in eu-central-1"), "SSM agent runs there"]
    {
        assert!(up.stderr.contains(fragment), "{}", up.stderr);
    }
    scene.emulator().inject(offline(false));
    scene.ok(&["wait", "db"]).await?;
    let port = scene.port("db").await?;
    local::echo(&mut local::connect(port, DEADLINE).await?, "there\n", DEADLINE).await
}

#[tokio::test]
async fn a_killed_session_is_replaced_and_held_connections_are_served() -> Result<()> {
    let (scene, _echo, port) = echoing().await?;
    let session = session_of(&scene.tunnel("db").await?)?;
    let counters = scene.emulator().counters();
    let mut watch = scene.watch("db").await?;
    scene.emulator().inject(Injection::GatewayDown { on: true });
    scene
        .emulator()
        .inject(Injection::KillSession { session: None, output: "ended by an administrator".to_owned() });
    counters.wait_at_least(Counter::InjectedConnectionsRefused, 1, DEADLINE).await?;
    watch.until_tunnel(DEADLINE, |tunnel| state(tunnel) != "up").await?;

    // The listener is still there, and says nothing until there is a session again.
    let mut held = local::connect(port, DEADLINE).await?;
    let held = local::echo(&mut held, "held\n", DEADLINE);
    let relief = async {
        scene.emulator().inject(Injection::GatewayDown { on: false });
        Ok(())
    };
    tokio::try_join!(held, relief)?;
    let up = watch.until_tunnel(DEADLINE, |tunnel| state(tunnel) == "up").await?;
    assert_ne!(session_of(&up)?, session);
    assert_eq!(scene.port("db").await?, port);
    scene.ok(&["down", "db"]).await?;
    scene.no_session_left(DEADLINE).await
}

/// Only a person can renew them; the command says how to go on.
#[tokio::test]
async fn credentials_that_expire_are_told_with_the_remedy() -> Result<()> {
    let (scene, _echo, _port) = echoing().await?;
    scene.ok(&["down", "db"]).await?;
    scene.emulator().inject(Injection::ExpireCredentials { access_key_id: None, expired: true });
    let up = process::run(scene.command(&["up", "db"]), DEADLINE).await?;
    assert_eq!(up.code, 4, "{up:?}");
    assert!(up.stderr.contains("stctl restart db"), "{}", up.stderr);
    scene.emulator().inject(Injection::ExpireCredentials { access_key_id: None, expired: false });
    scene.ok(&["restart", "db"]).await.map(drop)
}
