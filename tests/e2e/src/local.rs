//! The local side of a tunnel, as an application sees it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// A port that was free a moment ago.
///
/// # Errors
/// The system has none.
pub fn free_port() -> io::Result<u16> {
    Ok(StdListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Connects to a port of this machine.
///
/// # Errors
/// Nobody accepts, within `deadline`.
pub async fn connect(port: u16, deadline: Duration) -> Result<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = timeout(deadline, TcpStream::connect(address)).await.context("connecting takes too long")?;
    let stream = stream.with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends a line to an echo service and reads it back.
///
/// # Errors
/// Something else comes back, or nothing within `deadline`.
pub async fn echo(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    line: &str,
    deadline: Duration,
) -> Result<()> {
    let exchange = async {
        stream.write_all(line.as_bytes()).await?;
        let mut answer = vec![0; line.len()];
        stream.read_exact(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let answer = timeout(deadline, exchange).await.context("no echo in time")??;
    if answer != line.as_bytes() {
        bail!("the echo of {line:?} is {:?}", String::from_utf8_lossy(&answer));
    }
    Ok(())
}

/// How a connection ended that carried nothing back.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    /// With a reset.
    Reset,
    /// As if the peer had said all that it had to say.
    EndOfStream,
    /// Bytes came.
    Bytes(usize),
}

/// Connects, sends a byte, and tells how the connection ends and how long after connecting.
///
/// # Errors
/// Nobody accepts, or nothing happens within `deadline`.
pub async fn ending(port: u16, deadline: Duration) -> Result<(Ending, Duration)> {
    let start = Instant::now();
    let mut stream = connect(port, deadline).await?;
    // The reset may come before the byte has left.
    let written = stream.write_all(b"?").await;
    let mut buffer = [0; 1024];
    let read = timeout(deadline, stream.read(&mut buffer)).await.context("the connection stays open")?;
    let took = start.elapsed();
    match written.and(read) {
        Ok(0) => Ok((Ending::EndOfStream, took)),
        Ok(length) => Ok((Ending::Bytes(length), took)),
        Err(error) if is_reset(&error) => Ok((Ending::Reset, took)),
        Err(error) => Err(error.into()),
    }
}

/// A write after the reset has been seen is a broken pipe.
fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}
