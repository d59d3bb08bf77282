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

/// Many bytes that nobody keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bulk {
    /// Decides what they are.
    pub seed: u64,
    /// How many.
    pub length: u64,
}

/// SHA-256 of a bulk, in hexadecimal.
#[must_use]
pub fn digest(bulk: Bulk) -> String {
    let (mut source, mut hash, mut rest) = (Source::new(bulk.seed), Sha256::new(), bulk.length);
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

/// What one side received, to the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Number of bytes.
    pub length: u64,
    /// Their SHA-256 in hexadecimal.
    pub digest: String,
}

impl Received {
    /// What must arrive when all of a bulk is sent.
    #[must_use]
    pub fn all_of(bulk: Bulk) -> Self {
        Self { length: bulk.length, digest: digest(bulk) }
    }
}

/// Sends `mine` while receiving as many bytes as `yours` has. Only then says that it has finished, and takes what may
/// still come, up to the end: AWS's agent closes both directions when one finishes.
///
/// # Errors
/// The connection breaks.
pub async fn exchange(mut stream: TcpStream, mine: Bulk, yours: Bulk) -> Result<Received> {
    let (mut reader, mut writer) = stream.split();
    let mut arrived = Arrived::default();
    tokio::try_join!(arrived.receive(&mut reader, yours.length), send(&mut writer, mine))?;
    writer.shutdown().await?;
    arrived.receive(&mut reader, u64::MAX).await?;
    Ok(Received { length: arrived.length, digest: hex::encode(arrived.hash.finalize()) })
}

async fn send(writer: &mut (impl AsyncWrite + Unpin), bulk: Bulk) -> Result<()> {
    let (mut source, mut rest) = (Source::new(bulk.seed), bulk.length);
    let mut block = vec![0; BLOCK];
    while rest > 0 {
        let part = usize::try_from(rest).map_or(BLOCK, |rest| rest.min(BLOCK));
        source.fill(&mut block[..part]);
        writer.write_all(&block[..part]).await?;
        rest -= part as u64;
    }
    Ok(writer.flush().await?)
}

#[derive(Default)]
struct Arrived {
    length: u64,
    hash: Sha256,
}

impl Arrived {
    /// Reads until `length` bytes have come, or the end.
    async fn receive(&mut self, reader: &mut (impl AsyncRead + Unpin), length: u64) -> Result<()> {
        let mut block = vec![0; BLOCK];
        while self.length < length {
            match reader.read(&mut block).await? {
                0 => break,
                part => {
                    self.hash.update(&block[..part]);
                    self.length += part as u64;
                }
            }
        }
        Ok(())
    }
}

/// A server that exchanges bulks with everybody and reports what it received. Dropped, it is gone.
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
    pub async fn start(mine: Bulk, yours: Bulk) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        // One report per connection; tests make a few.
        let (report, reports) = mpsc::channel(16);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let report = report.clone();
                connections
                    .spawn(async move { drop(report.send(exchange(stream, mine, yours).await).await) });
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

/// The bytes of a bulk, one after the other. xorshift64*: fast, and its stream has no short period that a moved block
/// could hide in.
#[derive(Debug)]
pub struct Source {
    state: u64,
    pending: Vec<u8>,
}

impl Source {
    /// At the first byte. Two seeds that differ in the last bit alone give the same bytes.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed | 1, pending: Vec::new() }
    }

    /// The next bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
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
        assert_eq!(digest(Bulk { seed: 7, length: 1000 }), digest_of(&whole));
        assert_ne!(bytes(9, 1000), whole);
    }

    #[tokio::test]
    async fn both_ends_of_an_exchange_see_what_the_other_sent() {
        let (mine, yours) = (Bulk { seed: 1, length: 200_001 }, Bulk { seed: 3, length: 99_999 });
        let mut server = BulkServer::start(mine, yours).await.unwrap();
        let client = TcpStream::connect(server.address()).await.unwrap();
        assert_eq!(exchange(client, yours, mine).await.unwrap(), Received::all_of(mine));
        assert_eq!(server.report().await.unwrap(), Received::all_of(yours));
    }
}
