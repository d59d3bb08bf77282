//! A transport in which one direction can be made to vanish: a black hole on one side of a connection.
//!
//! It lies between TLS and the WebSocket, so that pings, pongs and their automatic answers vanish like everything else.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::counters::{Counter, Counters};
use crate::gateway::Transport;
use crate::inject::Direction;

/// Bytes thrown away at once.
const DISCARD: usize = 16 << 10;

/// The holes of one connection. Once open, a hole stays: the stream behind it has lost bytes.
#[derive(Debug, Default)]
pub(crate) struct Holes {
    to_agent: AtomicBool,
    to_client: AtomicBool,
}

impl Holes {
    /// From now on nothing arrives in this direction; false when that was so before.
    pub(crate) fn open(&self, direction: Direction) -> bool {
        !self.of(direction).swap(true, Ordering::Relaxed)
    }

    fn is_open(&self, direction: Direction) -> bool {
        self.of(direction).load(Ordering::Relaxed)
    }

    fn of(&self, direction: Direction) -> &AtomicBool {
        match direction {
            Direction::ToAgent => &self.to_agent,
            Direction::ToClient => &self.to_client,
        }
    }
}

/// A connection that may get holes.
#[derive(Debug)]
pub(crate) struct Holed<T> {
    transport: T,
    holes: Arc<Holes>,
    counters: Arc<Counters>,
}

impl<T> Holed<T> {
    pub(crate) fn new(transport: T, holes: Arc<Holes>, counters: Arc<Counters>) -> Self {
        Self { transport, holes, counters }
    }

    fn vanished(&self, bytes: usize) {
        self.counters.add(Counter::InjectedBytesVanished, u64::try_from(bytes).unwrap_or(u64::MAX));
    }
}

impl<T: Transport> Transport for Holed<T> {
    fn tcp(&self) -> &TcpStream {
        self.transport.tcp()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Holed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.holes.is_open(Direction::ToAgent) {
            let mut discard = [0; DISCARD];
            let mut discarded = ReadBuf::new(&mut discard);
            ready!(Pin::new(&mut self.transport).poll_read(cx, &mut discarded))?;
            match discarded.filled().len() {
                // The client gave the connection up: that is seen.
                0 => return Poll::Ready(Ok(())),
                bytes => self.vanished(bytes),
            }
        }
        Pin::new(&mut self.transport).poll_read(cx, out)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Holed<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.holes.is_open(Direction::ToClient) {
            self.vanished(bytes.len());
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.transport).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}
