//! One connection's worth of work: what both ends send, how they read, who ends it. Every byte is compared with its
//! source where it arrives.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use stormtunnel_e2e::DEADLINE;
use stormtunnel_e2e::bulk::{Bulk, Source};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::remote::Remote;

/// Bytes per read and write; no divisor of any message size, so that boundaries wander.
const BLOCK: usize = 50_000;
/// Bytes that a slow reader takes per tick.
const SLOW_BLOCK: usize = 4_000;
/// The clock of slow and stuck readers.
const TICK: Duration = Duration::from_millis(10);
/// Ticks during which a stuck reader takes nothing.
const STUCK_TICKS: u32 = 250;
/// Receive buffer of a reader that is not free: with the system's own megabytes nobody would notice it. Less than a
/// segment of loopback would make every transfer a crawl.
const SMALL_BUFFER: usize = 64 << 10;
/// Bytes of a job's header.
pub(crate) const HEADER: usize = 42;

/// How an end reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As fast as it comes.
    #[default]
    Free,
    /// About 400 kB/s.
    Slow,
    /// Nothing for two and a half seconds, then freely.
    Stuck,
}

/// Who says first that there is no more to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Nobody before both have everything.
    #[default]
    Together,
    /// The local end, before the answer begins.
    LocalFirst,
    /// The remote end, after its answer; the local one never does, it closes.
    RemoteFirst,
}

/// What one connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    /// Tells it from the others of a run.
    pub(crate) number: u64,
    pub(crate) up: Bulk,
    pub(crate) down: Bulk,
    pub(crate) local: Pace,
    pub(crate) remote: Pace,
    pub(crate) ending: Ending,
}

impl Job {
    /// Both directions at once, as fast as they go. The number decides the bytes.
    pub(crate) fn new(number: u64, up: u64, down: u64) -> Self {
        Self {
            number,
            up: Bulk { seed: number.wrapping_mul(4), length: up },
            down: Bulk { seed: number.wrapping_mul(4).wrapping_add(2), length: down },
            local: Pace::Free,
            remote: Pace::Free,
            ending: Ending::Together,
        }
    }

    /// What the local end tells the remote one first.
    pub(crate) fn header(&self) -> [u8; HEADER] {
        let numbers = [self.number, self.up.seed, self.up.length, self.down.seed, self.down.length];
        let mut header = [0; HEADER];
        for (place, number) in header.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        header[HEADER - 2] = u8::from(self.remote == Pace::Slow) + 2 * u8::from(self.remote == Pace::Stuck);
        header[HEADER - 1] = u8::from(self.ending != Ending::Together);
        header
    }

    /// Does the local end's part over a new connection to a tunnel, and waits until the remote end has done its own.
    ///
    /// # Errors
    /// Anything but all bytes of both directions and an orderly end.
    pub(crate) async fn run(self, port: u16, remote: &Remote) -> Result<()> {
        let done = remote.expect(self.number);
        let mut stream = connect(port, self.local).await?;
        stream.write_all(&self.header()).await.context("the header cannot be sent")?;
        self.talk(&mut stream).await.context("local end")?;
        drop(stream);
        done.await.context("the remote end is gone")?.context("remote end")
    }

    async fn talk(self, stream: &mut TcpStream) -> Result<()> {
        let (mut reader, mut writer) = stream.split();
        let receiving = receive(&mut reader, self.down, self.local);
        match self.ending {
            Ending::Together => {
                tokio::try_join!(receiving, send(&mut writer, self.up))?;
                writer.shutdown().await?;
            }
            Ending::LocalFirst => {
                let sending = async {
                    send(&mut writer, self.up).await?;
                    writer.shutdown().await.context("cannot say that there is no more")
                };
                tokio::try_join!(receiving, sending)?;
            }
            Ending::RemoteFirst => drop(tokio::try_join!(receiving, send(&mut writer, self.up))?),
        }
        end(&mut reader).await
    }
}

/// Connects to a tunnel that is expected to take the connection and to reset it.
///
/// # Errors
/// Nobody takes it; it lives, or ends as if all had been said; or nothing happens within `deadline`.
pub(crate) async fn refused(port: u16, deadline: Duration) -> Result<()> {
    let talking = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.write_all(b"?").await?;
        stream.read(&mut [0; 64]).await
    };
    match timeout(deadline, talking).await.with_context(|| format!("no reset within {deadline:?}"))? {
        // The reset may come at any moment, even before the system has told us that there is a connection.
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => Ok(()),
        Err(error) => Err(error).context("instead of a reset"),
        Ok(read) => bail!("a connection that leads nowhere gave {read} bytes instead of a reset"),
    }
}

/// Connects to a tunnel, with a buffer that suits the pace of reading.
pub(crate) async fn connect(port: u16, pace: Pace) -> Result<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let connected =
        timeout(DEADLINE, TcpStream::connect(address)).await.context("connecting takes too long")?;
    let stream = connected.with_context(|| format!("cannot connect to {address}"))?;
    prepare(&stream, pace)?;
    Ok(stream)
}

/// Sets a socket up for an end that reads at that pace.
pub(crate) fn prepare(stream: &TcpStream, pace: Pace) -> Result<()> {
    if pace != Pace::Free {
        set_socket_recv_buffer_size(stream, SMALL_BUFFER)?;
    }
    Ok(stream.set_nodelay(true)?)
}

/// Sends all of a bulk.
pub(crate) async fn send(writer: &mut (impl AsyncWrite + Unpin), bulk: Bulk) -> Result<()> {
    let (mut source, mut rest) = (Source::new(bulk.seed), bulk.length);
    let mut block = vec![0; BLOCK];
    while rest > 0 {
        let part = usize::try_from(rest).map_or(BLOCK, |rest| rest.min(BLOCK));
        source.fill(&mut block[..part]);
        let sent = bulk.length - rest;
        writer
            .write_all(&block[..part])
            .await
            .with_context(|| format!("sending fails after {sent} bytes"))?;
        rest -= part as u64;
    }
    Ok(())
}

/// Receives all of a bulk, and no other byte.
pub(crate) async fn receive(reader: &mut (impl AsyncRead + Unpin), bulk: Bulk, pace: Pace) -> Result<()> {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    if pace == Pace::Stuck {
        for _ in 0..STUCK_TICKS {
            ticks.tick().await;
        }
    }
    let (mut source, mut rest) = (Source::new(bulk.seed), bulk.length);
    let block_size = if pace == Pace::Slow { SLOW_BLOCK } else { BLOCK };
    let (mut block, mut expected) = (vec![0; block_size], vec![0; block_size]);
    while rest > 0 {
        if pace == Pace::Slow {
            ticks.tick().await;
        }
        let most = usize::try_from(rest).map_or(block_size, |rest| rest.min(block_size));
        let position = bulk.length - rest;
        let read = reader.read(&mut block[..most]).await;
        let read = read.with_context(|| format!("fails after {position} of {} bytes", bulk.length))?;
        ensure!(read > 0, "ends after {position} of {} bytes", bulk.length);
        source.fill(&mut expected[..read]);
        ensure!(
            block[..read] == expected[..read],
            "wrong bytes between {position} and {}",
            position + read as u64
        );
        rest -= read as u64;
    }
    Ok(())
}

/// Reads the end of the stream.
pub(crate) async fn end(reader: &mut (impl AsyncRead + Unpin)) -> Result<()> {
    let mut block = [0; 64];
    let read = reader.read(&mut block).await.context("instead of an end")?;
    ensure!(read == 0, "more came than was to come");
    Ok(())
}
