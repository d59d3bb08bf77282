//! The dialer behind a proxy of the test, to a host whose name only the proxy knows.

use std::sync::Arc;

use stormtunnel_aws::AwsEnvironment;
use stormtunnel_aws::testing::access;
use stormtunnel_model::settings::Settings;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::tests::{DEADLINE, FixedClock, PATH, certificates, grant};
use super::*;

const TARGET: &str = "channel.test:8443";
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// A dialer behind a proxy, whose part the test plays.
struct Behind {
    dialer: WsDialer,
    grant: SessionGrant,
    proxy: TcpListener,
    _directory: TempDir,
}

impl Behind {
    /// The profile trusts the authorities in `profile_pem`. `scheme` is the proxy's.
    async fn new(scheme: &str, profile_pem: &str, no_proxy: Option<&str>) -> Self {
        let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let bundle = directory.path().join("corp.pem");
        std::fs::write(&bundle, profile_pem).unwrap();
        let profile = format!(
            "[prod]\nregion = eu-west-1\nca_bundle = {}\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = x\n",
            bundle.display()
        );
        std::fs::write(directory.path().join("credentials"), profile).unwrap();
        let url = format!("{scheme}://me:CANARY@{}", proxy.local_addr().unwrap());
        let settings = Settings {
            endpoint_ssmmessages: Some(format!("wss://{TARGET}")),
            default_profile: Some("prod".parse().unwrap()),
            proxy: Some(url.parse().unwrap()),
            no_proxy: no_proxy.map(|list| list.parse().unwrap()),
            ..Settings::default()
        };
        let (_, receiver) = watch::channel(Arc::new(settings));
        let access = access(receiver, AwsEnvironment::default(), directory.path(), Arc::new(FixedClock));
        let grant = grant(&format!("wss://{TARGET}{PATH}"));
        Self { dialer: WsDialer::new(access), grant, proxy, _directory: directory }
    }

    async fn dial(&self) -> Result<BoxChannel, Fault> {
        let scope = AwsScope { profile: None, region: None };
        timeout(DEADLINE, self.dialer.dial(&scope, &self.grant)).await.expect("dial within the deadline")
    }

    /// How the dial fails when the proxy answers with this.
    async fn fault(&self, answer: &[u8]) -> Fault {
        let serve = async {
            let (mut client, _) = self.proxy.accept().await.unwrap();
            let head = read_head(&mut client).await;
            client.write_all(answer).await.unwrap();
            head
        };
        let (channel, head) = tokio::join!(self.dial(), serve);
        assert!(head.starts_with(&format!("CONNECT {TARGET} HTTP/1.1\r\n")), "{head}");
        let fault = channel.err().expect("no way through");
        assert_eq!(fault.kind, FaultKind::Network);
        assert!(fault.detail.starts_with("the proxy http://me:***@127.0.0.1:"), "{fault}");
        assert!(!format!("{fault:?}").contains("CANARY"), "{fault:?}");
        fault
    }
}

async fn read_head(client: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert_ne!(client.read_buf(&mut head).await.unwrap(), 0);
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn a_channel_goes_through_the_proxy_and_trusts_what_its_profile_trusts() {
    let (authority, acceptor) = certificates("ours", &["channel.test"]);
    let behind = Behind::new("http", &authority, None).await;
    let serve = async {
        let (mut client, _) = behind.proxy.accept().await.unwrap();
        let head = read_head(&mut client).await;
        client.write_all(ESTABLISHED).await.unwrap();
        let server = tokio_tungstenite::accept_async(acceptor.accept(client).await.unwrap()).await.unwrap();
        (head, server)
    };
    let (channel, (head, _server)) = tokio::join!(behind.dial(), serve);
    assert!(channel.is_ok(), "{:?}", channel.err());
    assert!(head.contains("\r\nProxy-Authorization: Basic bWU6Q0FOQVJZ\r\n"), "{head}");
}

#[tokio::test]
async fn a_proxy_may_be_reached_over_tls() {
    let (authority, acceptor) = certificates("ours", &["channel.test", "127.0.0.1"]);
    let behind = Behind::new("https", &authority, None).await;
    let serve = async {
        let (client, _) = behind.proxy.accept().await.unwrap();
        let mut client = acceptor.accept(client).await.unwrap();
        read_head(&mut client).await;
        client.write_all(ESTABLISHED).await.unwrap();
        client.flush().await.unwrap();
        Box::pin(tokio_tungstenite::accept_async(acceptor.accept(client).await.unwrap())).await.unwrap()
    };
    let (channel, _server) = tokio::join!(behind.dial(), serve);
    assert!(channel.is_ok(), "{:?}", channel.err());
}

#[tokio::test]
async fn each_refusal_of_a_proxy_has_its_sentence() {
    let (authority, _) = certificates("ours", &["channel.test"]);
    let behind = Behind::new("http", &authority, None).await;
    for (answer, sentence) in [
        (&b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..], "does not take this user and password"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\nno", "refuses the way to channel.test:8443 with HTTP 403"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "with HTTP 502"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "is no HTTP"),
        (b"", "hung up before it answered"),
    ] {
        let fault = behind.fault(answer).await;
        assert!(fault.detail.contains(sentence), "{fault}");
    }
    let Behind { dialer, grant, proxy, .. } = behind;
    drop(proxy);
    let fault = dialer.dial(&AwsScope { profile: None, region: None }, &grant).await.err().unwrap();
    assert!(fault.detail.contains("does not answer"), "{fault}");
}

#[tokio::test]
async fn an_unknown_authority_behind_the_proxy_is_told_with_what_to_do() {
    let (_, acceptor) = certificates("theirs", &["channel.test"]);
    let (other, _) = certificates("ours", &["channel.test"]);
    let behind = Behind::new("http", &other, None).await;
    let serve = async {
        let (mut client, _) = behind.proxy.accept().await.unwrap();
        read_head(&mut client).await;
        client.write_all(ESTABLISHED).await.unwrap();
        acceptor.accept(client).await.err()
    };
    let (channel, refused) = tokio::join!(behind.dial(), serve);
    assert!(refused.is_some(), "no byte of the request went out");
    let fault = channel.err().unwrap();
    assert!(fault.detail.contains("set network.ca_bundle"), "{fault}");
}

#[tokio::test]
async fn a_host_without_a_proxy_is_reached_directly() {
    let (authority, _) = certificates("ours", &["channel.test"]);
    for no_proxy in ["channel.test", ".test:8443", "*"] {
        let behind = Behind::new("http", &authority, Some(no_proxy)).await;
        // The name is one that no resolver knows.
        let fault = behind.dial().await.err().unwrap();
        assert!(fault.detail.starts_with(TARGET), "{fault}");
        let asked: Option<(TcpStream, _)> =
            futures_util::FutureExt::now_or_never(behind.proxy.accept()).and_then(Result::ok);
        assert!(asked.is_none(), "the proxy was asked in spite of {no_proxy}");
    }
}
