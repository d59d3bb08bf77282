//! The whole emulator with a real client: API, gateway, agent, destination.

use aws_emulator::{
    AccessKey, AgentHabits, Config, Corruption, Counter, Emulator, Injection, Instance, LineFaults,
};
use aws_emulator::{Direction, ResumeAnswer};
use bytes::Bytes;
use serde_json::json;
use ssm_session::{ResetReason, SessionEnd, SessionEvent};
use tokio_tungstenite::tungstenite::Error;

use crate::support::{Client, DEADLINE, call, echo_server, now, start_session, upgrade};

async fn emulator() -> Emulator {
    Emulator::start(Config { habits: AgentHabits::unpaced(), ..Config::default() }).await.unwrap()
}

async fn with_echo() -> (Emulator, u16) {
    let emulator = emulator().await;
    emulator.map_service("echo.vpc", 7, echo_server().await);
    emulator.map_local_port(7, echo_server().await);
    (emulator, 7)
}

fn pattern(length: usize) -> Bytes {
    (0..length).map(|i| u8::try_from((i * 31 + i / 251) % 256).unwrap()).collect()
}

#[tokio::test]
async fn bytes_come_back_and_the_session_ends_cleanly() {
    let (emulator, port) = with_echo().await;
    for host in [None, Some("echo.vpc")] {
        let mut client = Client::start(&emulator, host, port).await;
        client.wait_for(|event| *event == SessionEvent::Up).await;
        let data = pattern(100_000);
        assert_eq!(client.echo(&emulator, &data).await, data);
        client.session.terminate(now());
        client.wait_for(|event| matches!(event, SessionEvent::Ended(_))).await;
    }
    let counters = emulator.counters();
    counters.wait_exactly(Counter::SessionsOpen, 0, DEADLINE).await.unwrap();
    counters.wait_exactly(Counter::AgentStreams, 0, DEADLINE).await.unwrap();
    assert_eq!(counters.value(Counter::SessionsEnded), 2);
    assert_eq!(counters.value(Counter::AgentHandshakes), 2);
    assert_eq!(counters.value(Counter::UpgradesRefused), 0);
    assert!(counters.value(Counter::BytesFromClient) >= 200_000);
    assert!(
        emulator.sessions().iter().all(|session| session.id.starts_with("me@corp.example-") && !session.open)
    );
    emulator.shutdown().await;
}

#[tokio::test]
async fn drops_by_volume_lose_nothing() {
    let (emulator, port) = with_echo().await;
    emulator.inject(Injection::DropClientEveryBytes { bytes: 300_000, times: 5 });
    let mut client = Client::start(&emulator, None, port).await;
    let data = pattern(2 << 20);
    assert_eq!(client.echo(&emulator, &data).await, data);
    let counters = emulator.counters();
    assert_eq!(counters.value(Counter::InjectedClientDrops), 5);
    assert_eq!(counters.value(Counter::SessionsResumed), 5);
    assert_eq!(counters.value(Counter::SessionsStarted), 1);
}

#[tokio::test]
async fn a_bad_line_loses_nothing() {
    let (emulator, port) = with_echo().await;
    let faults = LineFaults {
        loss: 0.02,
        duplicate: 0.05,
        reorder: 0.05,
        reorder_ms: 3,
        latency_ms: 1,
        seed: 1,
        ..LineFaults::default()
    };
    for direction in [Direction::ToAgent, Direction::ToClient] {
        emulator.inject(Injection::Line { direction, faults });
    }
    let mut client = Client::start(&emulator, None, port).await;
    let data = pattern(1 << 20);
    assert_eq!(client.echo(&emulator, &data).await, data);
    let counters = emulator.counters();
    for fault in [Counter::InjectedLost, Counter::InjectedDuplicated, Counter::InjectedReordered] {
        assert!(counters.value(fault) > 0, "{fault}: {:?}", counters.snapshot());
    }
}

#[tokio::test]
async fn the_agent_comes_back_after_a_cut() {
    let (emulator, port) = with_echo().await;
    let mut client = Client::start(&emulator, None, port).await;
    client.wait_for(|event| *event == SessionEvent::Up).await;
    emulator.inject(Injection::DropAgent { session: None });
    let data = pattern(50_000);
    assert_eq!(client.echo(&emulator, &data).await, data);
    assert_eq!(emulator.counters().value(Counter::AgentConnects), 2);
}

#[tokio::test]
async fn forbidden_and_unknown_hosts_end_the_session_with_the_agents_words() {
    let emulator = emulator().await;
    for (host, words) in [
        ("169.254.169.254", "Forwarding to IP address 169.254.169.254 is forbidden."),
        ("localhost", "Forwarding to IP address 127.0.0.1 is forbidden."),
        ("nowhere.vpc", "lookup nowhere.vpc on 127.0.0.1:53: no such host"),
    ] {
        let mut client = Client::start(&emulator, Some(host), 80).await;
        let mut was_up = false;
        let end = client
            .wait_for(|event| {
                was_up |= *event == SessionEvent::Up;
                matches!(event, SessionEvent::Ended(_))
            })
            .await;
        assert_eq!(end, SessionEvent::Ended(SessionEnd::ServiceClosed { output: words.into() }));
        assert!(!was_up, "{host}");
    }
}

#[tokio::test]
async fn a_refused_destination_resets_the_stream() {
    let emulator = emulator().await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    emulator.map_service("down.vpc", 80, closed);
    let mut client = Client::start(&emulator, Some("down.vpc"), 80).await;
    client.session.open(now()).unwrap();
    let reset = client.wait_for(|event| matches!(event, SessionEvent::Reset { .. })).await;
    assert!(matches!(reset, SessionEvent::Reset { reason: ResetReason::RefusedByRemote, .. }));
    assert_eq!(emulator.counters().value(Counter::AgentDialsFailed), 1);
}

#[tokio::test]
async fn a_newer_connection_evicts_the_old_one() {
    let (emulator, port) = with_echo().await;
    let mut client = Client::start(&emulator, None, port).await;
    client.wait_for(|event| *event == SessionEvent::Up).await;
    let old = client.resume(&emulator).await;
    let data = pattern(1000);
    assert_eq!(client.echo(&emulator, &data).await, data);
    assert_eq!(emulator.counters().value(Counter::ClientsEvicted), 1);
    drop(old);
    emulator.counters().wait_exactly(Counter::ClientsConnected, 1, DEADLINE).await.unwrap();
}

#[tokio::test]
async fn every_way_to_close_a_connection_leaves_the_session_alive() {
    let (emulator, port) = with_echo().await;
    let mut client = Client::start(&emulator, None, port).await;
    client.wait_for(|event| *event == SessionEvent::Up).await;
    for order in [
        Injection::DropClient { session: None },
        Injection::OversizeClose { session: None, bytes: 130 },
        Injection::CloseClient { session: None, code: 1000, reason: "Bye".into() },
    ] {
        emulator.inject(order);
        client.disconnected().await;
        drop(client.resume(&emulator).await);
        let data = pattern(1000);
        assert_eq!(client.echo(&emulator, &data).await, data);
    }
    let counters = emulator.counters();
    assert_eq!(counters.value(Counter::InjectedClientDrops), 1);
    assert_eq!(counters.value(Counter::InjectedOversizeCloses), 1);
    assert_eq!(counters.value(Counter::InjectedCloses), 1);
}

#[tokio::test]
async fn a_killed_session_says_why_and_cannot_be_resumed() {
    let (emulator, port) = with_echo().await;
    let mut client = Client::start(&emulator, None, port).await;
    client.wait_for(|event| *event == SessionEvent::Up).await;
    emulator.inject(Injection::KillSession {
        session: Some(client.id.clone()),
        output: "idle for too long".into(),
    });
    let end = client.wait_for(|event| matches!(event, SessionEvent::Ended(_))).await;
    assert_eq!(end, SessionEvent::Ended(SessionEnd::ServiceClosed { output: "idle for too long".into() }));
    let resume = async || {
        let body = json!({ "SessionId": client.id });
        call(&emulator, emulator.access_key(), "ResumeSession", body).await
    };
    let (status, answer) = resume().await;
    assert_eq!((status, &answer["TokenValue"]), (200, &json!("")));
    emulator.inject(Injection::AnswerResume { answer: ResumeAnswer::DoesNotExist });
    let (status, answer) = resume().await;
    assert_eq!((status, &answer["__type"]), (400, &json!("DoesNotExistException")));
}

#[tokio::test]
async fn damage_is_told_from_noise() {
    let (emulator, port) = with_echo().await;
    let mut client = Client::start(&emulator, None, port).await;
    client.wait_for(|event| *event == SessionEvent::Up).await;
    // A wrong digest is dropped and resent: nothing is lost.
    emulator.inject(Injection::Corrupt { corruption: Corruption::BadDigest });
    let data = pattern(5000);
    assert_eq!(client.echo(&emulator, &data).await, data);
    assert_eq!(emulator.counters().value(Counter::InjectedCorrupted), 1);
}

#[tokio::test]
async fn calls_are_refused_with_the_services_names() {
    let emulator = Emulator::start(Config {
        instances: vec![
            Instance::new("i-0123456789abcdef0"),
            Instance { region: Some("us-east-1".into()), ..Instance::new("i-elsewhere") },
        ],
        ..Config::default()
    })
    .await
    .unwrap();
    let code = async |body| {
        let (status, answer) = call(&emulator, emulator.access_key(), "StartSession", body).await;
        (status, answer["__type"].as_str().unwrap_or("accepted").to_owned())
    };
    let request = |target: &str, document: &str, port: &str| json!({ "Target": target, "DocumentName": document, "Parameters": { "portNumber": [port] } });
    let document = "AWS-StartPortForwardingSession";
    let good = request("i-0123456789abcdef0", document, "80");
    for (body, expected) in [
        (request("i-unknown", document, "80"), "TargetNotConnected"),
        (request("i-elsewhere", document, "80"), "TargetNotConnected"),
        (request("i-0123456789abcdef0", "AWS-Nothing", "80"), "InvalidDocument"),
        (request("i-0123456789abcdef0", document, "0"), "InvalidParameters"),
        (request("i-0123456789abcdef0", document, "65536"), "InvalidParameters"),
        (
            request("i-0123456789abcdef0", "AWS-StartPortForwardingSessionToRemoteHost", "80"),
            "InvalidParameters",
        ),
    ] {
        assert_eq!(code(body).await, (400, expected.to_owned()));
    }
    emulator.inject(Injection::Throttle { count: 1 });
    assert_eq!(code(good.clone()).await, (400, "ThrottlingException".to_owned()));
    emulator.inject(Injection::Deny { action: "ssm:StartSession".into(), denied: true });
    assert_eq!(code(good.clone()).await, (400, "AccessDeniedException".to_owned()));
    emulator.inject(Injection::ExpireCredentials { access_key_id: None, expired: true });
    assert_eq!(code(good.clone()).await, (400, "ExpiredTokenException".to_owned()));
    emulator.inject(Injection::Calm);
    emulator.inject(Injection::InstanceOffline { instance: "i-0123456789abcdef0".into(), offline: true });
    assert_eq!(code(good.clone()).await, (400, "TargetNotConnected".to_owned()));
    emulator.inject(Injection::Calm);
    assert_eq!(code(good).await, (200, "accepted".to_owned()));

    let wrong = AccessKey::new(emulator.access_key().id.clone(), "another secret", None);
    let (_, answer) = call(&emulator, &wrong, "StartSession", json!({})).await;
    assert_eq!(answer["__type"], "InvalidSignatureException");
    let unknown = AccessKey::new("AKIAUNKNOWN", "secret", None);
    let (_, answer) = call(&emulator, &unknown, "StartSession", json!({})).await;
    assert_eq!(answer["__type"], "UnrecognizedClientException");
}

#[tokio::test]
async fn upgrades_are_refused_without_the_right_signature_or_url() {
    let emulator = emulator().await;
    let (_, grant) = start_session(&emulator, None, 80).await;
    let url = grant["StreamUrl"].as_str().unwrap();
    let wrong = AccessKey::new(emulator.access_key().id.clone(), "another secret", None);
    let status = async |key: &AccessKey, url: &str| match upgrade(&emulator, key, url).await {
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(error) => panic!("{error}"),
        Ok(_) => 101,
    };
    assert_eq!(status(&wrong, url).await, 403);
    assert_eq!(status(emulator.access_key(), &url.replace('+', "%2B")).await, 400);
    emulator.inject(Injection::RefuseUpgrades { status: 503, count: 1 });
    assert_eq!(status(emulator.access_key(), url).await, 503);
    assert_eq!(status(emulator.access_key(), url).await, 101);
    assert_eq!(emulator.counters().value(Counter::UpgradesRefused), 3);
}
