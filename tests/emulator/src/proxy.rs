//! An HTTPS proxy behind which AWS's own host names are the emulator: for tools that cannot be pointed at another
//! address. Their TLS ends at the API, whose certificate is for these names, too.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::counters::Counter;
use crate::world::World;

/// Largest head of a request.
const MAX_HEAD: usize = 8 << 10;
/// Longest wait for it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// What an HTTP proxy answers.
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
const FORBIDDEN: &[u8] = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";
const LOGIN_WANTED: &[u8] =
    b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic realm=\"corp\"\r\ncontent-length: 0\r\n\r\n";

/// Names of a region's services that the API stands for, as a certificate has them.
pub(crate) fn host_names(region: &str) -> [String; 4] {
    [
        format!("*.{region}.amazonaws.com"),
        format!("*.sso.{region}.amazonaws.com"),
        format!("*.{region}.api.aws"),
        "sts.amazonaws.com".into(),
    ]
}

/// Accepts clients until the emulator stops.
pub(crate) async fn serve(world: Arc<World>, listener: TcpListener, api: SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                let serving = Arc::clone(&world);
                world.tasks.spawn("proxied", async move {
                    if let Err(error) = relay(&serving, client, api).await {
                        tracing::info!(%error, "a proxied connection ended");
                    }
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: it passes when connections end.
                tracing::warn!(%error, "could not accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn relay(world: &World, mut client: TcpStream, api: SocketAddr) -> io::Result<()> {
    let head = tokio::time::timeout(HEAD_TIMEOUT, read_head(&mut client)).await??;
    let head = String::from_utf8_lossy(&head).into_owned();
    if !may_pass(world, &head) {
        world.counters.increment(Counter::ProxyRefused);
        return client.write_all(LOGIN_WANTED).await;
    }
    let Some(host) = aws_host(&head) else { return client.write_all(FORBIDDEN).await };
    world.note_proxied(host);
    let to_gateway = host.starts_with("ssmmessages.");
    world.counters.increment(if to_gateway { Counter::ProxyToGateway } else { Counter::ProxyToApi });
    let mut server = TcpStream::connect(if to_gateway { world.gateway_address } else { api }).await?;
    client.write_all(ESTABLISHED).await?;
    copy_bidirectional(&mut client, &mut server).await.map(|_| ())
}

/// The client says nothing more before it is answered.
async fn read_head(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > MAX_HEAD || client.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(head)
}

/// The host of a `CONNECT` to the HTTPS port of AWS; everything else stays where it is.
fn aws_host(head: &str) -> Option<&str> {
    let host = head.strip_prefix("CONNECT ")?.split(' ').next()?.strip_suffix(":443")?;
    [".amazonaws.com", ".api.aws"].iter().any(|suffix| host.ends_with(suffix)).then_some(host)
}

/// Whether it is a client that the proxy knows, if it wants to know any.
fn may_pass(world: &World, head: &str) -> bool {
    let Some((user, password)) = &world.config.proxy_login else { return true };
    let wanted = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    let fields = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    fields
        .into_iter()
        .any(|(name, value)| name.eq_ignore_ascii_case("proxy-authorization") && value.trim() == wanted)
}
