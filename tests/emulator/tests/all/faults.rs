//! What is ordered to go wrong goes wrong, and is counted.

use std::time::Duration;

use aws_emulator::{AgentHabits, Config, Corruption, Counter, Direction, Emulator, FrameKind, Injection};
use bytes::Bytes;
use serde_json::{Value, json};
use ssm_session::{ProtocolError, SessionEnd, SessionEvent};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Client, DEADLINE, Ended, call, echo_server, now, start_session, upgrade};

const PORT: u16 = 7;
const DATA: Bytes = Bytes::from_static(b"some bytes that come back");

async fn with_echo(habits: AgentHabits) -> Emulator {
    let emulator = Emulator::start(Config { habits, ..Config::default() }).await.unwrap();
    emulator.map_local_port(PORT, echo_server().await);
    emulator
}

async fn up(emulator: &Emulator) -> Client {
    let mut client = Client::start(emulator, None, PORT).await;
    client.wait_for(|event| *event == SessionEvent::Up).await;
    client
}

#[tokio::test]
async fn damaged_messages_break_the_protocol() {
    let emulator = with_echo(AgentHabits::unpaced()).await;
    for corruption in [Corruption::Garbage, Corruption::TruncatedHeader, Corruption::WrongLength] {
        let mut client = up(&emulator).await;
        emulator.inject(Injection::Corrupt { corruption });
        let violation = client.violation().await;
        assert!(matches!(violation, ProtocolError::Malformed(_)), "{corruption:?}: {violation}");
        emulator.inject(Injection::KillSession { session: None, output: String::new() });
    }
    assert_eq!(emulator.counters().value(Counter::InjectedCorrupted), 3);
}

#[tokio::test]
async fn a_multiplexer_violation_breaks_the_protocol() {
    let emulator = with_echo(AgentHabits::unpaced()).await;
    let mut client = up(&emulator).await;
    emulator.inject(Injection::Corrupt { corruption: Corruption::SmuxViolation });
    let stream = client.session.open(now()).unwrap();
    client.session.write(stream, &mut DATA.clone(), now()).unwrap();
    let violation = client.violation().await;
    assert!(matches!(violation, ProtocolError::Mux(_)), "{violation}");
}

#[tokio::test]
async fn a_lost_acknowledgement_is_made_up_for() {
    let emulator = with_echo(AgentHabits::default()).await;
    let mut client = up(&emulator).await;
    for (direction, frame) in [(Direction::ToAgent, FrameKind::Ack), (Direction::ToClient, FrameKind::Data)] {
        emulator.inject(Injection::LoseNext { direction, frame, count: 1 });
    }
    assert_eq!(client.echo(&emulator, &DATA).await, DATA);
    // The lost data was resent to get here; the lost acknowledgement is resent while the client looks on.
    let counters = emulator.counters();
    client.meanwhile(counters.wait_at_least(Counter::RepeatedFromAgent, 2, DEADLINE)).await.unwrap();
    assert_eq!(counters.value(Counter::InjectedLost), 2);
}

#[tokio::test]
async fn the_acknowledgement_of_what_was_sent_again_is_timed() {
    let emulator = with_echo(AgentHabits::default()).await;
    let mut client = up(&emulator).await;
    let before = emulator.sessions().remove(0);
    assert_eq!((before.repeats_acknowledged, before.slowest_repeat_us), (0, 0));
    emulator.inject(Injection::LoseNext { direction: Direction::ToClient, frame: FrameKind::Data, count: 3 });
    let data = Bytes::from(vec![9; 5_000]);
    let start = now();
    assert_eq!(client.echo(&emulator, &data).await, data);
    // Whatever the client sends now is behind its acknowledgements.
    assert_eq!(client.echo(&emulator, &DATA).await, DATA);
    let after = emulator.sessions().remove(0);
    assert!(after.repeats_acknowledged >= 3, "{after:?}");
    assert!(u128::from(after.slowest_repeat_us) <= (now().mono - start.mono).as_micros(), "{after:?}");
}

#[tokio::test]
async fn a_session_tells_when_its_client_came_back() {
    let emulator = with_echo(AgentHabits::default()).await;
    let mut client = up(&emulator).await;
    let first = emulator.sessions().remove(0).attached_at_ms.unwrap();
    let left = now().wall_ms;
    drop(client.resume(&emulator).await);
    assert_eq!(client.echo(&emulator, &DATA).await, DATA);
    let again = emulator.sessions().remove(0).attached_at_ms.unwrap();
    assert!((first <= left) && (left..=now().wall_ms).contains(&again), "{first}, {left}, {again}");
}

#[tokio::test]
async fn a_black_hole_swallows_pings_and_gives_everything_back() {
    let emulator = with_echo(AgentHabits::unpaced()).await;
    let mut client = Client::start_with(&emulator, None, PORT, |config| {
        config.ping_interval = Duration::from_millis(50);
        config.pong_timeout = Duration::from_millis(100);
    })
    .await;
    client.wait_for(|event| *event == SessionEvent::Up).await;
    emulator.inject(Injection::BlackHole { on: true });
    client.wait_for(|event| *event == SessionEvent::ChannelDead).await;
    emulator.inject(Injection::BlackHole { on: false });
    drop(client.resume(&emulator).await);
    assert_eq!(client.echo(&emulator, &DATA).await, DATA);
    assert_eq!(emulator.counters().value(Counter::InjectedBlackHoles), 1);
}

#[tokio::test]
async fn a_gateway_that_is_down_refuses_until_it_is_back() {
    let emulator = with_echo(AgentHabits::unpaced()).await;
    let mut client = up(&emulator).await;
    emulator.inject(Injection::GatewayDown { on: true });
    client.disconnected().await;
    let (_, grant) = start_session(&emulator, None, PORT).await;
    let url = grant["StreamUrl"].as_str().unwrap();
    assert!(upgrade(&emulator, emulator.access_key(), url).await.is_err());
    emulator.inject(Injection::Calm);
    drop(client.resume(&emulator).await);
    assert_eq!(client.echo(&emulator, &DATA).await, DATA);
    assert_eq!(emulator.counters().value(Counter::InjectedConnectionsRefused), 1);
}

#[tokio::test]
async fn a_restart_resets_clients_and_forgets_sessions() {
    let emulator = with_echo(AgentHabits::unpaced()).await;
    let mut client = up(&emulator).await;
    let id = emulator.sessions()[0].id.clone();
    emulator.inject(Injection::Restart);
    client.disconnected().await;
    assert!(emulator.sessions().is_empty());
    let (status, answer) =
        call(&emulator, emulator.access_key(), "ResumeSession", json!({ "SessionId": id })).await;
    assert_eq!((status, answer["__type"].as_str()), (400, Some("DoesNotExistException")));
    assert_eq!(emulator.counters().value(Counter::SessionsOpen), 0);
    up(&emulator).await;
}

#[tokio::test]
async fn a_crashed_worker_is_noticed_late() {
    let emulator = with_echo(AgentHabits { crash_notice_ms: 300, ..AgentHabits::unpaced() }).await;
    let mut client = up(&emulator).await;
    emulator.inject(Injection::CrashAgent { session: None });
    let end = client.wait_for(|event| matches!(event, SessionEvent::Ended(_))).await;
    let SessionEvent::Ended(SessionEnd::ServiceClosed { output }) = end else { panic!("{end:?}") };
    assert!(output.starts_with("document process failed unexpectedly"), "{output}");
    assert_eq!(emulator.counters().value(Counter::InjectedCrashes), 1);
}

#[tokio::test]
async fn a_silent_agent_and_a_hostile_url_are_for_the_next_session_only() {
    let emulator = with_echo(AgentHabits::unpaced()).await;
    emulator.inject(Injection::SilentAgents { count: 1 });
    let mut client = Client::start_with(&emulator, None, PORT, |config| {
        config.handshake_timeout = Duration::from_millis(300);
    })
    .await;
    let end = client.wait_for(|event| matches!(event, SessionEvent::Ended(_))).await;
    assert!(matches!(end, SessionEvent::Ended(SessionEnd::HandshakeTimeout { .. })), "{end:?}");
    emulator.inject(Injection::StreamUrl { url: "wss://attacker.example/".into() });
    let (_, grant) = start_session(&emulator, None, PORT).await;
    assert_eq!(grant["StreamUrl"], "wss://attacker.example/");
    assert_eq!(up(&emulator).await.echo(&emulator, &DATA).await, DATA);
}

#[tokio::test]
async fn a_token_is_used_once_and_a_client_id_is_kept() {
    let emulator = with_echo(AgentHabits::unpaced()).await;
    let (_, grant) = start_session(&emulator, None, PORT).await;
    let open = async |token: &str, client: &str| crate::support::open(&emulator, &grant, token, client).await;
    let token = grant["TokenValue"].as_str().unwrap();
    let (one, other) = ("9ca67e4a-4289-40ff-8962-f90d728216a5", "9ca67e4a-4289-40ff-8962-f90d728216a6");
    assert_eq!(open("wrong", one).await, Ended::Refused("the token is not the session's".into()));
    assert_eq!(open(token, one).await, Ended::Serving);
    assert_eq!(open(token, one).await, Ended::Refused("the token was used before".into()));
    let body = json!({ "SessionId": grant["SessionId"] });
    let (_, grant) = call(&emulator, emulator.access_key(), "ResumeSession", body).await;
    let token = grant["TokenValue"].as_str().unwrap();
    let refused = crate::support::open(&emulator, &grant, token, other).await;
    assert_eq!(refused, Ended::Refused("the client id is not the one the session began with".into()));
    assert_eq!(crate::support::open(&emulator, &grant, token, one).await, Ended::Serving);
    assert_eq!(emulator.counters().value(Counter::OpensRefused), 3);
}

#[tokio::test]
async fn an_offline_instance_takes_its_agents_along() {
    let emulator = with_echo(AgentHabits::unpaced()).await;
    let mut client = up(&emulator).await;
    let instance = emulator.instance().to_owned();
    emulator.inject(Injection::InstanceOffline { instance: instance.clone(), offline: true });
    let status = async || {
        let body = json!({ "Target": emulator.instance() });
        call(&emulator, emulator.access_key(), "GetConnectionStatus", body).await.1["Status"].clone()
    };
    assert_eq!(status().await, "notconnected");
    emulator.inject(Injection::InstanceOffline { instance, offline: false });
    assert_eq!(status().await, "connected");
    assert_eq!(client.echo(&emulator, &DATA).await, DATA);
    assert_eq!(emulator.counters().value(Counter::AgentConnects), 2);
}

#[tokio::test]
async fn the_control_api_does_the_same_over_http() {
    let emulator = with_echo(AgentHabits::unpaced()).await;
    let (status, _) = control(&emulator, "POST", "/inject", &json!({ "kind": "throttle", "count": 1 })).await;
    assert_eq!(status, 204);
    let (_, refused) = start_session(&emulator, None, PORT).await;
    assert_eq!(refused["__type"], "ThrottlingException");
    let (status, _) = control(&emulator, "POST", "/inject", &json!({ "kind": "no_such_thing" })).await;
    assert_eq!(status, 422);
    let echo = echo_server().await.to_string();
    let host = json!({ "name": "echo.vpc", "port": 7, "address": echo });
    assert_eq!(control(&emulator, "POST", "/hosts", &host).await.0, 204);
    let mut client = Client::start(&emulator, Some("echo.vpc"), 7).await;
    assert_eq!(client.echo(&emulator, &DATA).await, DATA);
    let wait = "/counters/wait?counter=agent.handshakes&at_least=1&timeout_ms=5000";
    let (status, counters) = control(&emulator, "GET", wait, &Value::Null).await;
    assert_eq!((status, &counters["injected.throttles"]), (200, &json!(1)));
    let (status, _) = control(
        &emulator,
        "GET",
        "/counters/wait?counter=sessions.open&at_most=0&timeout_ms=1",
        &Value::Null,
    )
    .await;
    assert_eq!(status, 408);
    let (_, sessions) = control(&emulator, "GET", "/sessions", &Value::Null).await;
    assert_eq!(sessions[0]["client_connected"], true);
}

async fn control(emulator: &Emulator, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let authority = emulator.control_url().strip_prefix("http://").unwrap();
    let body = body.to_string();
    let mut socket = TcpStream::connect(authority).await.unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

#[tokio::test]
async fn a_paused_agent_speaks_again_when_the_client_does() {
    let emulator = with_echo(AgentHabits::default()).await;
    let mut client = up(&emulator).await;
    emulator.inject(Injection::PauseAgent { session: None });
    assert_eq!(client.echo(&emulator, &DATA).await, DATA);
    assert_eq!(emulator.counters().value(Counter::InjectedPauses), 1);
}

#[tokio::test]
async fn a_host_that_moved_is_found_only_by_an_agent_that_resolves_again() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for resolve_once in [true, false] {
        let emulator = with_echo(AgentHabits { resolve_once, ..AgentHabits::unpaced() }).await;
        emulator.map_service("db.vpc", 5432, closed);
        let mut client = Client::start(&emulator, Some("db.vpc"), 5432).await;
        client.wait_for(|event| *event == SessionEvent::Up).await;
        emulator.map_service("db.vpc", 5432, echo_server().await);
        let stream = client.session.open(now()).unwrap();
        client.session.write(stream, &mut DATA.clone(), now()).unwrap();
        let answer = client
            .wait_for(|event| matches!(event, SessionEvent::Readable(_) | SessionEvent::Reset { .. }))
            .await;
        assert_eq!(matches!(answer, SessionEvent::Reset { .. }), resolve_once);
    }
}

#[tokio::test]
async fn an_agent_that_dials_all_at_once_serves_several_streams() {
    let emulator = with_echo(AgentHabits { serial_dialling: false, ..AgentHabits::unpaced() }).await;
    let mut client = up(&emulator).await;
    for _ in 0..5 {
        assert_eq!(client.echo(&emulator, &DATA).await, DATA);
    }
    assert_eq!(emulator.counters().value(Counter::AgentDials), 5);
}
