//! Bytes in bulk, both ways at once, with digests; and an echo service.
//!
//! The bytes come from a random-number generator, so that a lost, doubled or moved block cannot go unnoticed, and both sides
//! can make them without keeping them.

use std::net::SocketAddr;

use anyhow::Result;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Bytes per write; no divisor of any message size, so that boundaries wander.
const BLOCK: usize = 50_000;

/// `length` bytes that only `seed` decides.
pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut source = Source::new(seed);
    let mut bytes = vec![0; length];
    source.fill(&mut bytes);
    bytes
}

/// SHA-256 of the first `length` bytes of a seed, in hexadecimal.
#[must_use]
pub fn digest(seed: u64, length: u64) -> String {
    let (mut source, mut hash, mut rest) = (Source::new(seed), Sha256::new(), length);
    let mut block = vec![0; BLOCK];
    while rest > 0 {
        let part = usize::try_from(rest).map_or(BLOCK, |rest| rest.min(BLOCK));
        source.fill(&mut block[..part]);
        hash.update(&block[..part]);
        rest -= part as u64;
    }
    hex::encode(hash.finalize())
}

/// SHA-256 of some bytes, in hexadecimal.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// What one side received until the other finished sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Number of bytes.
    pub length: u64,
    /// Their SHA-256 in hexadecimal.
    pub digest: String,
}

impl Received {
    /// What must arrive when `length` bytes of `seed` are sent.
    #[must_use]
    pub fn expected(seed: u64, length: u64) -> Self {
        Self { length, digest: digest(seed, length) }
    }
}

/// Sends `length` bytes of `seed` and then no more, while receiving all that the other side sends.
///
/// # Errors
/// The connection breaks.
pub async fn exchange(mut stream: TcpStream, seed: u64, length: u64) -> Result<Received> {
    let (mut reader, mut writer) = stream.split();
    let (received, ()) = tokio::try_join!(receive(&mut reader), send(&mut writer, seed, length))?;
    Ok(received)
}

async fn send(writer: &mut (impl AsyncWrite + Unpin), seed: u64, length: u64) -> Result<()> {
    let (mut source, mut rest) = (Source::new(seed), length);
    let mut block = vec![0; BLOCK];
    while rest > 0 {
        let part = usize::try_from(rest).map_or(BLOCK, |rest| rest.min(BLOCK));
        source.fill(&mut block[..part]);
        writer.write_all(&block[..part]).await?;
        rest -= part as u64;
    }
    Ok(writer.shutdown().await?)
}

async fn receive(reader: &mut (impl AsyncRead + Unpin)) -> Result<Received> {
    let (mut hash, mut length) = (Sha256::new(), 0);
    let mut block = vec![0; BLOCK];
    loop {
        match reader.read(&mut block).await? {
            0 => return Ok(Received { length, digest: hex::encode(hash.finalize()) }),
            part => {
                hash.update(&block[..part]);
                length += part as u64;
            }
        }
    }
}

/// A server that sends `length` bytes of `seed` to everybody and reports what it received. Dropped, it is gone.
#[derive(Debug)]
pub struct BulkServer {
    address: SocketAddr,
    reports: mpsc::Receiver<Result<Received>>,
    _tasks: JoinSet<()>,
}

impl BulkServer {
    /// Starts it.
    ///
    /// # Errors
    /// It cannot listen.
    pub async fn start(seed: u64, length: u64) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        // One report per connection; tests make a few.
        let (report, reports) = mpsc::channel(16);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let report = report.clone();
                connections.spawn(async move { drop(report.send(exchange(stream, seed, length).await).await) });
            }
        });
        Ok(Self { address, reports, _tasks: tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the next connection to end had received.
    ///
    /// # Errors
    /// That connection broke.
    pub async fn report(&mut self) -> Result<Received> {
        let report = self.reports.recv().await;
        report.unwrap_or_else(|| Err(anyhow::anyhow!("the server is gone")))
    }
}

/// A server that sends back what it gets. Dropped, it is gone.
#[derive(Debug)]
pub struct EchoServer {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl EchoServer {
    /// Starts it.
    ///
    /// # Errors
    /// It cannot listen.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.spawn(async move {
                    let (mut reader, mut writer) = stream.split();
                    // A client that goes away is its own business.
                    drop(tokio::io::copy(&mut reader, &mut writer).await);
                });
            }
        });
        Ok(Self { address, _tasks: tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// xorshift64*: fast, and its stream has no short period that a moved block could hide in.
struct Source {
    state: u64,
    pending: Vec<u8>,
}

impl Source {
    fn new(seed: u64) -> Self {
        Self { state: seed | 1, pending: Vec::new() }
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        let from_pending = self.pending.len().min(bytes.len());
        let (head, tail) = bytes.split_at_mut(from_pending);
        head.copy_from_slice(&self.pending[..from_pending]);
        self.pending.drain(..from_pending);
        let mut words = tail.chunks_exact_mut(8);
        for word in &mut words {
            word.copy_from_slice(&self.next().to_le_bytes());
        }
        let rest = words.into_remainder();
        if !rest.is_empty() {
            let word = self.next().to_le_bytes();
            rest.copy_from_slice(&word[..rest.len()]);
            self.pending.extend_from_slice(&word[rest.len()..]);
        }
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_division_gives_the_same_bytes() {
        let whole = bytes(7, 1000);
        let mut source = Source::new(7);
        let mut parts = vec![0; 1000];
        let mut rest = parts.as_mut_slice();
        for size in [1, 7, 8, 9, 3, 100, 872] {
            let (part, behind) = rest.split_at_mut(size);
            source.fill(part);
            rest = behind;
        }
        assert_eq!(parts, whole);
        assert_eq!(digest(7, 1000), digest_of(&whole));
        assert_ne!(bytes(9, 1000), whole);
    }

    #[tokio::test]
    async fn both_ends_of_an_exchange_see_what_the_other_sent() {
        let mut server = BulkServer::start(1, 200_001).await.unwrap();
        let client = TcpStream::connect(server.address()).await.unwrap();
        assert_eq!(exchange(client, 3, 99_999).await.unwrap(), Received::expected(1, 200_001));
        assert_eq!(server.report().await.unwrap(), Received::expected(3, 99_999));
    }
}
