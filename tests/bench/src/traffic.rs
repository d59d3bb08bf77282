//! A server "in the VPC", and connections to it: bulk bytes either way, and echoes.
//!
//! A connection carries requests, one after the other: a letter, a length, and the pace. The bytes are a pattern that
//! both ends know, so that a run in which some are lost, doubled or moved is broken and does not just look fast.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Greatest number of bytes per write and per read.
const CHUNK: usize = 64 << 10;
/// Length after which the pattern repeats.
const PERIOD: usize = 1 << 20;
/// The server's word that everything has arrived.
const RECEIVED: u8 = b'.';

/// Which way bulk bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the server to the client.
    Down,
    /// From the client to the server.
    Up,
}

/// How fast a sender sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Bytes per write, at most 64 KiB.
    pub(crate) chunk: u32,
    /// Writes per second at most; 0: as many as the connection takes.
    pub(crate) per_second: u16,
}

impl Pace {
    /// As fast as the connection takes it.
    pub(crate) const FULL: Self = Self { chunk: 64 << 10, per_second: 0 };
}

/// One period, and enough of the next that a chunk can begin anywhere.
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let byte = |at: usize| {
        let mixed = (at % PERIOD).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed.to_be_bytes()[0]
    };
    (0..PERIOD + CHUNK).map(byte).collect()
});

/// The pattern from a position on, at most one chunk and at most `rest` bytes.
fn pattern(at: u64, rest: u64) -> &'static [u8] {
    let start = usize::try_from(at % PERIOD as u64).unwrap_or_default();
    let length = usize::try_from(rest).map_or(CHUNK, |rest| rest.min(CHUNK));
    &PATTERN[start..start + length]
}

/// What a client asks for.
struct Request {
    letter: u8,
    length: u64,
    pace: Pace,
}

impl Request {
    async fn read(stream: &mut TcpStream) -> io::Result<Self> {
        let (letter, length) = (stream.read_u8().await?, stream.read_u64().await?);
        let pace = Pace { chunk: stream.read_u32().await?, per_second: stream.read_u16().await? };
        Ok(Self { letter, length, pace })
    }

    async fn write(&self, stream: &mut TcpStream) -> io::Result<()> {
        stream.write_all(&self.bytes()).await
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.letter];
        bytes.extend(self.length.to_be_bytes());
        bytes.extend(self.pace.chunk.to_be_bytes());
        bytes.extend(self.pace.per_second.to_be_bytes());
        bytes
    }
}

/// The request for that many echoes of single bytes.
pub(crate) fn echo_request(count: u64) -> Vec<u8> {
    Request { letter: b'e', length: count, pace: Pace::FULL }.bytes()
}

/// A running server. Dropped, it is gone.
pub(crate) struct Server {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start() -> Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("the server cannot listen")?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                // A client that goes away in the middle has had enough.
                connections.spawn(async move { drop(answer(stream).await) });
            }
        });
        Ok(Self { address, _tasks: tasks })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves one connection to its end.
async fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let Request { letter, length, pace } = Request::read(&mut stream).await?;
        match letter {
            b'd' => send(&mut stream, length, pace).await?,
            b'u' => {
                receive(&mut stream, length).await?;
                stream.write_u8(RECEIVED).await?;
            }
            b'e' => {
                for _ in 0..length {
                    let byte = stream.read_u8().await?;
                    stream.write_u8(byte).await?;
                }
            }
            b'q' => return Ok(()),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

async fn send(stream: &mut TcpStream, length: u64, pace: Pace) -> io::Result<()> {
    let mut ticks = (pace.per_second > 0).then(|| {
        let mut ticks = interval(Duration::from_secs(1) / u32::from(pace.per_second));
        // The brakes that this stands for do not catch up either.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    });
    let mut sent = 0;
    while sent < length {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        let chunk = pattern(sent, (length - sent).min(pace.chunk.into()));
        stream.write_all(chunk).await?;
        sent += chunk.len() as u64;
    }
    Ok(())
}

async fn receive(stream: &mut TcpStream, length: u64) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut received = 0;
    while received < length {
        let expected = pattern(received, length - received);
        let read = stream.read(&mut buffer[..expected.len()]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if buffer[..read] != expected[..read] {
            let message = format!("other bytes than were sent arrived at {received}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        received += read as u64;
    }
    Ok(())
}

/// A client's connection.
pub(crate) struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Connects to the server or to what leads there.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream =
            TcpStream::connect(address).await.with_context(|| format!("nobody accepts at {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// Connects, has one byte echoed, and tells how long both took together.
    pub(crate) async fn first_echo(address: SocketAddr) -> Result<(Self, Duration)> {
        const FIRST: u8 = b'1';
        let start = Instant::now();
        let mut connection = Self::open(address).await?;
        let mut first = echo_request(1);
        first.push(FIRST);
        connection.stream.write_all(&first).await?;
        let echo = connection.stream.read_u8().await?;
        let took = start.elapsed();
        ensure!(echo == FIRST, "another byte came back");
        Ok((connection, took))
    }

    /// Carries that many bytes; all of them have arrived when it answers.
    pub(crate) async fn carry(&mut self, direction: Direction, bytes: u64, pace: Pace) -> Result<()> {
        match direction {
            Direction::Down => {
                Request { letter: b'd', length: bytes, pace }.write(&mut self.stream).await?;
                receive(&mut self.stream, bytes).await?;
            }
            Direction::Up => {
                Request { letter: b'u', length: bytes, pace }.write(&mut self.stream).await?;
                send(&mut self.stream, bytes, pace).await?;
                ensure!(self.stream.read_u8().await? == RECEIVED, "the server did not confirm an upload");
            }
        }
        Ok(())
    }

    /// Lets the server close. A client that closes first looks to the daemon like one that only finished sending, and
    /// its connection counts as open until the grace for that is over.
    pub(crate) async fn end(mut self) -> Result<()> {
        Request { letter: b'q', length: 0, pace: Pace::FULL }.write(&mut self.stream).await?;
        ensure!(self.stream.read(&mut [0]).await? == 0, "the server said more than was asked of it");
        Ok(())
    }

    /// The times of that many echoes of one byte, one after the other.
    pub(crate) async fn echoes(&mut self, count: u64) -> Result<Vec<Duration>> {
        self.stream.write_all(&echo_request(count)).await?;
        let mut times = Vec::new();
        for number in 0..count {
            let byte = number.to_be_bytes()[7];
            let start = Instant::now();
            self.stream.write_u8(byte).await?;
            let echo = self.stream.read_u8().await?;
            times.push(start.elapsed());
            ensure!(echo == byte, "another byte came back");
        }
        Ok(times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_carries_one_request_after_the_other() {
        let server = Server::start().await.unwrap();
        let (mut connection, _) = Connection::first_echo(server.address()).await.unwrap();
        connection.carry(Direction::Down, 3_000_000, Pace::FULL).await.unwrap();
        connection.carry(Direction::Up, 3_000_000, Pace::FULL).await.unwrap();
        assert_eq!(connection.echoes(3).await.unwrap().len(), 3);
        let pace = Pace { chunk: 100, per_second: 1000 };
        connection.carry(Direction::Down, 1001, pace).await.unwrap();
        connection.carry(Direction::Up, 0, pace).await.unwrap();
        connection.end().await.unwrap();
    }

    #[tokio::test]
    async fn moved_bytes_break_a_run() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut sender = TcpStream::connect(address).await.unwrap();
        let (mut receiver, _) = listener.accept().await.unwrap();
        sender.write_all(&pattern(1, 100)[..100]).await.unwrap();
        let error = receive(&mut receiver, 100).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
