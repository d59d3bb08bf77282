//! One local connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::sockopt;
use stormtunnel_engine::ports::LocalStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// When to ask a silent application whether it is still there; it may be on another machine.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// Bytes that the system keeps for an application that has not read them. Left to itself it keeps megabytes, and says
/// that there is room again only in steps of as much: an application that reads 100 kB per second then looks as if it
/// had stopped for 15 s at a time. Loopback loses no speed (measured: 1.5 GB/s); with 32 KiB it would lose nearly all.
const SEND_BUFFER: usize = 128 << 10;

/// A connection as the engine sees it.
#[derive(Debug)]
pub(super) struct LocalSocket<S>(S);

impl LocalSocket<TcpStream> {
    /// Small writes leave at once, a vanished peer is noticed, and a slow one can be told from one that has stopped. A
    /// socket that refuses is as good without.
    pub(super) fn tcp(stream: TcpStream) -> Self {
        let set = stream
            .set_nodelay(true)
            .and_then(|()| Ok(sockopt::set_socket_keepalive(&stream, true)?))
            .and_then(|()| Ok(sockopt::set_tcp_keepidle(&stream, KEEPALIVE_IDLE)?))
            .and_then(|()| Ok(sockopt::set_socket_send_buffer_size(&stream, SEND_BUFFER)?));
        note_refused(set);
        Self(stream)
    }
}

impl LocalSocket<UnixStream> {
    /// A slow peer can be told from one that has stopped. The rest goes without saying: peers are on this machine.
    pub(super) fn unix(stream: UnixStream) -> Self {
        note_refused(sockopt::set_socket_send_buffer_size(&stream, SEND_BUFFER).map_err(Into::into));
        Self(stream)
    }
}

fn note_refused(set: io::Result<()>) {
    if let Err(error) = set {
        tracing::debug!(%error, "options of a local connection were refused");
    }
}

impl LocalStream for LocalSocket<TcpStream> {
    fn reset_on_close(&self) {
        // Lingering for no time means: throw away what is unsent and answer with RST.
        if let Err(error) = sockopt::set_socket_linger(&self.0, Some(Duration::ZERO)) {
            tracing::debug!(%error, "a local connection ends without a reset");
        }
    }
}

impl LocalStream for LocalSocket<UnixStream> {
    /// There is nothing to set. Linux tells the peer of a reset by itself when some of what it sent was not read.
    fn reset_on_close(&self) {}
}

impl<S: AsyncRead + Unpin> AsyncRead for LocalSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for LocalSocket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
impl LocalSocket<TcpStream> {
    pub(super) fn has_options(&self) -> bool {
        let keepalive = sockopt::socket_keepalive(&self.0).unwrap()
            && sockopt::tcp_keepidle(&self.0).unwrap() == KEEPALIVE_IDLE;
        // Linux counts its own overhead and answers twice the size.
        let send_buffer = sockopt::socket_send_buffer_size(&self.0).unwrap();
        self.0.nodelay().unwrap() && keepalive && (SEND_BUFFER..=2 * SEND_BUFFER).contains(&send_buffer)
    }
}
