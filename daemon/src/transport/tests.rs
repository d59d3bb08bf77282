//! The dialer against WebSocket servers on loopback, plain and TLS.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use secrecy::SecretString;
use ssm_session::{SecretText, WsMessage};
use stormtunnel_aws::AwsEnvironment;
use stormtunnel_aws::testing::access;
use stormtunnel_engine::ports::Clock;
use stormtunnel_model::settings::Settings;
use stormtunnel_model::{SsmSessionId, Timestamp};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::*;

pub(super) const PATH: &str =
    "/v1/data-channel/me@corp.example-0a1b?role=publish_subscribe&cell-number=AAEAA+x/y=";
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(super) struct FixedClock;

impl Clock for FixedClock {
    fn mono(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
    fn wall(&self) -> Timestamp {
        Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_secs(1_735_689_600))
    }
}

/// A dialer whose data-channel endpoint is the server's address.
struct Fixture {
    dialer: WsDialer,
    grant: SessionGrant,
    listener: TcpListener,
    _directory: TempDir,
}

impl Fixture {
    async fn new(scheme: &str, ca_pem: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let keys = "[prod]\nregion = eu-west-1\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = CANARYsecret\n";
        let keys = format!("{keys}aws_session_token = CANARYsessiontoken\n");
        std::fs::write(directory.path().join("credentials"), keys).unwrap();
        let bundle = directory.path().join("ca.pem");
        if let Some(pem) = ca_pem {
            std::fs::write(&bundle, pem).unwrap();
        }
        let settings = Settings {
            endpoint_ssmmessages: Some(format!("{scheme}://{address}")),
            default_profile: Some("prod".parse().unwrap()),
            ca_bundle: ca_pem.map(|_| bundle.display().to_string()),
            ..Settings::default()
        };
        let (_, receiver) = watch::channel(Arc::new(settings));
        let access = access(receiver, AwsEnvironment::default(), directory.path(), Arc::new(FixedClock));
        let grant = grant(&format!("{scheme}://{address}{PATH}"));
        Self { dialer: WsDialer::new(access), grant, listener, _directory: directory }
    }

    async fn dial(&self) -> Result<BoxChannel, Fault> {
        let scope = AwsScope { profile: None, region: None };
        timeout(DEADLINE, self.dialer.dial(&scope, &self.grant)).await.expect("dial within the deadline")
    }

    /// Dials, and upgrades the connection on the server's side.
    async fn connected(&self) -> (BoxChannel, WebSocketStream<TcpStream>) {
        let accept = async {
            let (socket, _) = self.listener.accept().await.unwrap();
            tokio_tungstenite::accept_async(socket).await.unwrap()
        };
        let (channel, server) = tokio::join!(self.dial(), accept);
        (channel.unwrap(), server)
    }

    /// Dials a server that answers with these bytes; gives back what it was sent and how the dial failed.
    async fn refused(&self, answer: &str) -> (String, Fault) {
        let serve = async {
            let (mut socket, _) = self.listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                assert_ne!(socket.read_buf(&mut request).await.unwrap(), 0);
            }
            let request = String::from_utf8(request).unwrap();
            let answer = answer.replace("ECHO", &request);
            let length = answer.split_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
            let answer = answer.replace("\r\n\r\n", &format!("\r\ncontent-length: {length}\r\n\r\n"));
            socket.write_all(answer.as_bytes()).await.unwrap();
            (request, socket)
        };
        let (channel, (request, _socket)) = tokio::join!(self.dial(), serve);
        (request, channel.err().expect("the upgrade is refused"))
    }
}

pub(super) fn grant(stream_url: &str) -> SessionGrant {
    SessionGrant {
        id: SsmSessionId("me@corp.example-0a1b".to_owned()),
        stream_url: stream_url.to_owned(),
        token: SecretString::from("CANARYtoken"),
        region: "eu-west-1".parse().unwrap(),
    }
}

async fn next(channel: &mut BoxChannel) -> Option<Result<WsMessage, Fault>> {
    timeout(DEADLINE, channel.next()).await.expect("a message within the deadline")
}

async fn next_fault(channel: &mut BoxChannel) -> Fault {
    next(channel).await.expect("an item").expect_err("a fault")
}

#[tokio::test]
async fn the_upgrade_is_signed_and_its_url_is_sent_unchanged() {
    let fixture = Fixture::new("ws", None).await;
    let (request, _) = fixture.refused("HTTP/1.1 503 X\r\n\r\n").await;
    assert!(request.starts_with(&format!("GET {PATH} HTTP/1.1\r\n")), "{request}");
    let host = fixture.listener.local_addr().unwrap();
    assert!(request.contains(&format!("Host: {host}\r\n")), "{request}");
    assert!(
        request.contains("Credential=AKIDEXAMPLE/20250101/eu-west-1/ssmmessages/aws4_request"),
        "{request}"
    );
    assert!(request.contains("SignedHeaders=host;x-amz-date;x-amz-security-token"), "{request}");
    assert!(request.contains("x-amz-date: 20250101T000000Z\r\n"), "{request}");
    assert!(request.contains("x-amz-security-token: CANARYsessiontoken\r\n"), "{request}");
    assert!(!request.to_lowercase().contains("sec-websocket-protocol"), "{request}");
}

#[tokio::test]
async fn messages_of_all_kinds_cross_both_ways() {
    let fixture = Fixture::new("ws", None).await;
    let (mut channel, mut server) = fixture.connected().await;
    channel.feed(WsMessage::Text(SecretText::new("open".to_owned()))).await.unwrap();
    channel.feed(WsMessage::Ping(Bytes::from_static(b"keepalive"))).await.unwrap();
    channel.feed(WsMessage::Binary(Bytes::from_static(b"data"))).await.unwrap();
    channel.flush().await.unwrap();
    assert_eq!(server.next().await.unwrap().unwrap(), Message::text("open"));
    assert_eq!(server.next().await.unwrap().unwrap(), Message::Ping(Bytes::from_static(b"keepalive")));
    assert_eq!(server.next().await.unwrap().unwrap(), Message::binary(&b"data"[..]));

    let large = Bytes::from(vec![7; 200_000]);
    server.feed(Message::Binary(large.clone())).await.unwrap();
    server.feed(Message::text("as text")).await.unwrap();
    server.feed(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
    server.flush().await.unwrap();
    // The server's library has answered the first ping meanwhile.
    assert_eq!(next(&mut channel).await, Some(Ok(WsMessage::Pong(Bytes::from_static(b"keepalive")))));
    assert_eq!(next(&mut channel).await, Some(Ok(WsMessage::Binary(large))));
    assert_eq!(next(&mut channel).await, Some(Ok(WsMessage::Binary(Bytes::from_static(b"as text")))));
    assert_eq!(next(&mut channel).await, Some(Ok(WsMessage::Ping(Bytes::from_static(b"there?")))));
    // Ours answered as soon as it had read the ping, without being polled again.
    let pong = timeout(DEADLINE, server.next()).await.expect("a pong within the deadline");
    assert_eq!(pong.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"there?")));
}

#[tokio::test]
async fn a_sink_that_nobody_reads_pushes_back() {
    let fixture = Fixture::new("ws", None).await;
    let (mut channel, mut server) = fixture.connected().await;
    let payload = Bytes::from(vec![1; 16 * 1024]);
    let mut sent = 0_usize;
    // Kernel buffers take some megabytes; then the sink is not ready any more, and has not grown.
    while let Some(Ok(())) =
        futures_util::FutureExt::now_or_never(channel.feed(WsMessage::Binary(payload.clone())))
    {
        sent += 1;
        assert!(sent < 100_000, "the sink never pushed back");
    }
    let read_all = async {
        for _ in 0..sent {
            assert_eq!(server.next().await.unwrap().unwrap(), Message::Binary(payload.clone()));
        }
    };
    let (flushed, ()) = tokio::join!(channel.flush(), read_all);
    assert_eq!(flushed, Ok(()));
}

#[tokio::test]
async fn a_close_is_a_network_fault_with_its_reason_and_ends_the_stream() {
    let fixture = Fixture::new("ws", None).await;
    let (mut channel, mut server) = fixture.connected().await;
    let frame = CloseFrame { code: CloseCode::Normal, reason: "Bye\r\nBye".into() };
    server.close(Some(frame)).await.unwrap();
    let fault = next_fault(&mut channel).await;
    assert_eq!(fault.kind, FaultKind::Network);
    assert!(fault.detail.ends_with("with code 1000 Bye Bye"), "{fault}");
    assert_eq!(next(&mut channel).await, None);
}

#[tokio::test]
async fn broken_frames_are_lost_connections() {
    let oversize_ping = [&[0x89, 126, 0, 200][..], &[0; 200]].concat();
    let oversize_close = [&[0x88, 126, 0, 200, 3, 232][..], &[b'x'; 198]].concat();
    let endless = [0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0];
    let reserved_opcode = [0x8b, 0];
    let masked = [0x82, 0x81, 1, 2, 3, 4, 5];
    let not_utf8 = [0x81, 1, 0xff];
    for bytes in [
        &oversize_ping[..],
        &oversize_close[..],
        &endless[..],
        &reserved_opcode[..],
        &masked[..],
        &not_utf8[..],
        &[],
    ] {
        let fixture = Fixture::new("ws", None).await;
        let (mut channel, server) = fixture.connected().await;
        let mut socket = server.into_inner();
        socket.write_all(bytes).await.unwrap();
        socket.shutdown().await.unwrap();
        let fault = next_fault(&mut channel).await;
        assert_eq!(fault.kind, FaultKind::Network, "{bytes:?}");
        assert_eq!(next(&mut channel).await, None, "{bytes:?}");
    }
}

#[tokio::test]
async fn a_refused_upgrade_says_why_and_repeats_no_secret() {
    let fixture = Fixture::new("ws", None).await;
    let invalid = FaultKind::CredentialsInvalid { profile: "prod".to_owned() };
    let action = "ssmmessages:OpenDataChannel".to_owned();
    let denied = FaultKind::PermissionDenied { principal: String::new(), action, resource: String::new() };
    for (answer, kind) in [
        ("HTTP/1.1 401 X\r\n\r\nECHO CANARYtoken", invalid.clone()),
        ("HTTP/1.1 403 X\r\nx-amzn-ErrorType: ExpiredTokenException\r\n\r\nECHO", invalid),
        ("HTTP/1.1 403 X\r\n\r\nnot you", denied),
        ("HTTP/1.1 404 X\r\n\r\nECHO", FaultKind::Network),
        ("HTTP/1.1 500 X\r\n\r\n", FaultKind::Network),
        ("HTTP/1.1 200 OK\r\n\r\n<html>", FaultKind::Network),
        ("HTTP/1.1 101 X\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", FaultKind::Network),
        ("ECHO\r\n\r\n", FaultKind::Network),
    ] {
        let (request, fault) = fixture.refused(answer).await;
        assert_eq!(fault.kind, kind, "{answer}: {fault}");
        let signature = request.split_once("Signature=").unwrap().1.split("\r\n").next().unwrap();
        let shown = format!("{fault} {fault:?}");
        assert!(!shown.contains("CANARY") && !shown.contains(signature), "{shown}");
    }
}

#[tokio::test]
async fn nothing_is_sent_to_a_hostile_url() {
    let mut fixture = Fixture::new("ws", None).await;
    fixture.grant = grant("wss://evil.example/v1/data-channel/x");
    let fault = fixture.dial().await.err().unwrap();
    assert_eq!(fault.kind, FaultKind::PeerViolation);
    let accepted = futures_util::FutureExt::now_or_never(fixture.listener.accept());
    assert!(accepted.is_none(), "the endpoint was not touched either");
}

#[tokio::test]
async fn a_dead_endpoint_is_a_network_fault() {
    let fixture = Fixture::new("ws", None).await;
    let Fixture { dialer, grant, listener, .. } = fixture;
    drop(listener);
    let scope = AwsScope { profile: None, region: None };
    let fault = dialer.dial(&scope, &grant).await.err().unwrap();
    assert_eq!(fault.kind, FaultKind::Network);
    assert!(fault.detail.starts_with("127.0.0.1:"), "{fault}");
}

/// An authority of that name, and a certificate for these hosts that it signed.
pub(super) fn certificates(name: &str, hosts: &[&str]) -> (String, TlsAcceptor) {
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, name);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>())
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let chain = vec![CertificateDer::from(server.der().to_vec())];
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
    (authority_pem, TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn tls_works_with_a_configured_authority() {
    let (authority, acceptor) = certificates("ours", &["127.0.0.1"]);
    let fixture = Fixture::new("wss", Some(&authority)).await;
    let echo = async {
        let (socket, _) = fixture.listener.accept().await.unwrap();
        let mut server =
            tokio_tungstenite::accept_async(acceptor.accept(socket).await.unwrap()).await.unwrap();
        let message = server.next().await.unwrap().unwrap();
        server.send(message).await.unwrap();
        server
    };
    let talk = async {
        let mut channel = fixture.dial().await.unwrap();
        channel.send(WsMessage::Binary(Bytes::from_static(b"hello"))).await.unwrap();
        let echoed = next(&mut channel).await;
        (channel, echoed)
    };
    let (_server, (_channel, echoed)) = tokio::join!(echo, talk);
    assert_eq!(echoed, Some(Ok(WsMessage::Binary(Bytes::from_static(b"hello")))));
}

#[tokio::test]
async fn tls_to_an_unknown_authority_is_refused_with_what_to_do() {
    let (_, acceptor) = certificates("theirs", &["127.0.0.1"]);
    let (other_authority, _) = certificates("ours", &["127.0.0.1"]);
    let fixture = Fixture::new("wss", Some(&other_authority)).await;
    let accept = async {
        let (socket, _) = fixture.listener.accept().await.unwrap();
        acceptor.accept(socket).await.err()
    };
    let (channel, server_error) = tokio::join!(fixture.dial(), accept);
    let fault = channel.err().unwrap();
    assert!(server_error.is_some(), "no byte of the request went out");
    assert_eq!(fault.kind, FaultKind::Network);
    assert!(fault.detail.contains("set network.ca_bundle"), "{fault}");
}
