//! A web server that only the emulated VPC can reach, and the least of a client for it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::routing::get as route;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The front page.
pub(crate) const PAGE: &str = "<!doctype html>\n<title>Intranet</title>\n<h1>You are in the VPC</h1>\n";
/// Longest time for one request.
const DEADLINE: Duration = Duration::from_secs(30);
/// Bytes of the block: about a second at the real agent's pace, which the emulated one keeps.
pub(crate) const BLOCK_BYTES: u32 = 512 << 10;

/// The server. Dropped, it is gone.
pub(crate) struct Intranet {
    address: SocketAddr,
    _task: JoinSet<()>,
}

impl Intranet {
    pub(crate) async fn start() -> Result<Self> {
        let listener =
            TcpListener::bind("127.0.0.1:0").await.context("cannot listen for the intranet server")?;
        let address = listener.local_addr()?;
        let pages =
            Router::new().route("/", route(|| async { PAGE })).route("/block", route(|| async { block() }));
        let mut task = JoinSet::new();
        task.spawn(async move { drop(axum::serve(listener, pages).await) });
        Ok(Self { address, _task: task })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Bytes that do not repeat in any short period.
pub(crate) fn block() -> Vec<u8> {
    (0..BLOCK_BYTES).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

/// The body that a GET answers.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Result<Vec<u8>> {
    tokio::time::timeout(DEADLINE, request(address, path))
        .await
        .with_context(|| format!("GET {path}: no answer"))?
}

async fn request(address: SocketAddr, path: &str) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await.context("the tunnel does not accept connections")?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: intranet.vpc\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "GET {path}: {}", String::from_utf8_lossy(&answer));
    let end_of_head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").context("no HTTP answer")?;
    Ok(answer.split_off(end_of_head + 4))
}
