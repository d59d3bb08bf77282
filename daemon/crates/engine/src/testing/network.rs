//! Local ports and connections in memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::{fmt, io};

use stormtunnel_model::{BoundAddress, Fault, FaultKind, LocalEndpoint, SocketPath};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::mpsc;

use crate::ports::{BindError, BoxLocalStream, LocalListener, LocalNetwork, LocalStream, PortFuture};

/// Bytes that a connection holds each way: about what loopback sockets do.
const SOCKET_BUFFER: usize = 64 << 10;
/// Connections that a listener's backlog holds.
const BACKLOG: usize = 128;
/// The first port that is given to whoever does not care.
const FIRST_AUTOMATIC: u16 = 40_000;

/// Binds ports that exist only here.
#[derive(Debug, Default)]
pub struct MemoryNetwork {
    ports: Arc<Mutex<Ports>>,
}

#[derive(Debug, Default)]
struct Ports {
    listening: BTreeMap<u16, mpsc::Sender<BoxLocalStream>>,
    sockets: BTreeMap<SocketPath, mpsc::Sender<BoxLocalStream>>,
    occupied: BTreeMap<u16, String>,
    given: u16,
    /// Panics wanted of the next listeners.
    clumsy: u32,
}

impl MemoryNetwork {
    /// Lets another program hold a port.
    pub fn occupy(&self, port: u16, holder: &str) {
        self.lock().occupied.insert(port, holder.to_owned());
    }

    /// Lets it go.
    pub fn vacate(&self, port: u16) {
        self.lock().occupied.remove(&port);
    }

    /// Lets the next listener panic when it is asked for a connection.
    pub fn panic_next(&self) {
        self.lock().clumsy += 1;
    }

    /// Ports that are bound.
    pub fn listening(&self) -> Vec<u16> {
        self.lock()
            .listening
            .iter()
            .filter(|(_, backlog)| !backlog.is_closed())
            .map(|(port, _)| *port)
            .collect()
    }

    /// Connects as a local application; `None` when nothing listens.
    pub async fn connect(&self, port: u16) -> Option<MemoryClient> {
        let backlog = self.lock().listening.get(&port).cloned()?;
        let (client, server) = local_pair();
        backlog.send(Box::new(server)).await.ok()?;
        Some(client)
    }

    /// Connects to a Unix socket; `None` when nothing listens.
    pub async fn connect_to_socket(&self, path: &SocketPath) -> Option<MemoryClient> {
        let backlog = self.lock().sockets.get(path).cloned()?;
        let (client, server) = local_pair();
        backlog.send(Box::new(server)).await.ok()?;
        Some(client)
    }

    fn bind_now(&self, local: &LocalEndpoint) -> Result<Box<dyn LocalListener>, BindError> {
        let mut ports = self.lock();
        let (sender, backlog) = mpsc::channel(BACKLOG);
        let addresses = match local {
            LocalEndpoint::Tcp { address, port } => {
                let port = match u16::from(*port) {
                    0 => ports.give(),
                    fixed => fixed,
                };
                let holder = ports.occupied.get(&port).cloned();
                if ports.listening.get(&port).is_some_and(|backlog| !backlog.is_closed()) || holder.is_some()
                {
                    return Err(in_use(format!("{address}:{port}"), holder));
                }
                ports.listening.insert(port, sender);
                let bound = |ip| BoundAddress::Tcp(SocketAddr::new(ip, port));
                address.ips().into_iter().map(bound).collect()
            }
            LocalEndpoint::Unix(path) => {
                if ports.sockets.get(path).is_some_and(|backlog| !backlog.is_closed()) {
                    return Err(in_use(local.to_string(), None));
                }
                ports.sockets.insert(path.clone(), sender);
                vec![BoundAddress::Unix(path.clone())]
            }
        };
        let clumsy = ports.clumsy > 0;
        ports.clumsy -= u32::from(clumsy);
        Ok(Box::new(MemoryListener { addresses, backlog, clumsy }))
    }

    fn lock(&self) -> MutexGuard<'_, Ports> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LocalNetwork for MemoryNetwork {
    fn bind(&self, local: LocalEndpoint) -> PortFuture<'_, Result<Box<dyn LocalListener>, BindError>> {
        Box::pin(std::future::ready(self.bind_now(&local)))
    }
}

impl Ports {
    /// A port for whoever does not care.
    fn give(&mut self) -> u16 {
        self.given += 1;
        FIRST_AUTOMATIC + self.given
    }
}

fn in_use(address: String, holder: Option<String>) -> BindError {
    BindError(Fault::new(FaultKind::PortInUse { address, holder }, ""))
}

struct MemoryListener {
    addresses: Vec<BoundAddress>,
    backlog: mpsc::Receiver<BoxLocalStream>,
    clumsy: bool,
}

impl LocalListener for MemoryListener {
    fn addresses(&self) -> Vec<BoundAddress> {
        self.addresses.clone()
    }

    fn accept(&mut self) -> PortFuture<'_, BoxLocalStream> {
        assert!(!self.clumsy, "the listener fell over");
        Box::pin(async {
            match self.backlog.recv().await {
                Some(stream) => stream,
                None => std::future::pending().await,
            }
        })
    }
}

/// A connection and the application at its other end.
pub fn local_pair() -> (MemoryClient, MemoryStream) {
    let (near, far) = tokio::io::duplex(SOCKET_BUFFER);
    let reset = Arc::new(AtomicBool::new(false));
    (MemoryClient { io: near, reset: Arc::clone(&reset) }, MemoryStream { io: far, reset })
}

/// The daemon's end of a local connection.
pub struct MemoryStream {
    io: DuplexStream,
    reset: Arc<AtomicBool>,
}

impl fmt::Debug for MemoryStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStream").finish_non_exhaustive()
    }
}

impl LocalStream for MemoryStream {
    fn reset_on_close(&self) {
        self.reset.store(true, Ordering::SeqCst);
    }
}

/// The application's end. Reads fail with `ConnectionReset` once the daemon reset the connection.
pub struct MemoryClient {
    io: DuplexStream,
    reset: Arc<AtomicBool>,
}

impl MemoryClient {
    /// Whether the daemon's close was, or will be, a reset.
    pub fn was_reset(&self) -> bool {
        self.reset.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for MemoryClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryClient").field("reset", &self.was_reset()).finish_non_exhaustive()
    }
}

impl AsyncRead for MemoryClient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        let at_end =
            matches!(polled, Poll::Ready(Ok(()))) && buf.filled().len() == before && buf.remaining() > 0;
        if at_end && self.was_reset() {
            Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
        } else {
            polled
        }
    }
}

impl AsyncWrite for MemoryClient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl AsyncRead for MemoryStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
