//! Local ports and Unix sockets: what applications connect to.
//!
//! `localhost` is 127.0.0.1 and ::1 on one port, so that no other program can take the half that was left free and be
//! mistaken for the tunnel.

mod holder;
mod stream;
mod unix;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::io::Errno;
use stormtunnel_engine::ports::{BindError, BoxLocalStream, LocalListener, LocalNetwork, PortFuture};
use stormtunnel_model::{BoundAddress, Fault, FaultKind, LocalAddress, LocalEndpoint, LocalPort};
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio::time::Sleep;

use crate::service::keeper::{Keeper, Kept};
use stream::LocalSocket;
use unix::Place;

/// Connections that may wait to be accepted; a browser opens dozens at once.
const BACKLOG: u32 = 1024;

/// Where automatic ports are: below those that systems give to outgoing connections (from 32768 on Linux, from 49152 on
/// macOS). One of those, to a proxy on this machine for instance, would take a port while its tunnel does not run.
const AUTOMATIC_PORTS: RangeInclusive<u16> = 20_000..=32_767;

/// How many of them are tried before the system may choose. Each is free on all addresses or not taken.
const PORT_TRIES: usize = 64;

/// How long to wait after an accept that failed; connections wait in the backlog meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The sockets of this machine. Those that the daemon before has left with the service manager are used first.
#[derive(Clone, Debug, Default)]
pub struct SocketNetwork {
    keeper: Arc<Keeper>,
}

impl SocketNetwork {
    /// With somebody to keep the listeners.
    pub fn new(keeper: Arc<Keeper>) -> Self {
        Self { keeper }
    }
}

impl LocalNetwork for SocketNetwork {
    fn bind(&self, local: LocalEndpoint) -> PortFuture<'_, Result<Box<dyn LocalListener>, BindError>> {
        Box::pin(async move {
            let bound = match local {
                LocalEndpoint::Tcp { address, port } => match bind_all(address, port, &self.keeper) {
                    Ok(listeners) => Ok(listeners
                        .into_iter()
                        .map(|listener| Socket::Tcp(self.keeper.keep(listener, None)))
                        .collect()),
                    Err((at, error)) => Err(fault(at, &error).await),
                },
                LocalEndpoint::Unix(path) => {
                    unix::bind(&path, &self.keeper).await.map(|(listener, place)| {
                        vec![Socket::Unix(self.keeper.keep(listener, Some(place.file())), place)]
                    })
                }
            };
            let boxed = |sockets| Box::new(SocketListener::new(sockets)) as Box<dyn LocalListener>;
            bound.map(boxed).map_err(BindError)
        })
    }
}

/// Binds every address on one port; tells which address failed.
fn bind_all(
    address: LocalAddress,
    port: LocalPort,
    keeper: &Keeper,
) -> Result<Vec<TcpListener>, (SocketAddr, io::Error)> {
    let ips = address.ips();
    let LocalPort::Automatic = port else { return bind_once(&ips, port.into(), keeper) };
    let is_taken = |tried: &Result<_, (_, io::Error)>| {
        tried.as_ref().is_err_and(|(_, error)| error.kind() == io::ErrorKind::AddrInUse)
    };
    let chosen = (0..PORT_TRIES).filter_map(|_| automatic_port());
    let mut tries = chosen.chain([0; 2]).map(|port| bind_once(&ips, port, keeper)).skip_while(is_taken);
    tries.next().unwrap_or_else(|| bind_once(&ips, 0, keeper))
}

/// Any of [`AUTOMATIC_PORTS`]; none on a system without randomness, which then chooses itself.
fn automatic_port() -> Option<u16> {
    let mut random = [0; 2];
    getrandom::fill(&mut random).ok()?;
    let (first, last) = AUTOMATIC_PORTS.into_inner();
    Some(first + u16::from_be_bytes(random) % (last - first + 1))
}

fn bind_once(
    ips: &[IpAddr],
    port: u16,
    keeper: &Keeper,
) -> Result<Vec<TcpListener>, (SocketAddr, io::Error)> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut missing = None;
    for ip in ips {
        let chosen = listeners.first().and_then(|first| first.local_addr().ok()).map_or(port, |at| at.port());
        let at = SocketAddr::new(*ip, chosen);
        match adopt_or_listen(at, keeper) {
            Ok(listener) => listeners.push(listener),
            Err(error) if ips.len() > 1 && is_missing_family(&error) => missing = Some((at, error)),
            Err(error) => return Err((at, error)),
        }
    }
    match missing {
        Some(missing) if listeners.is_empty() => Err(missing),
        Some(_) | None => Ok(listeners),
    }
}

/// The listener that the daemon before has left at this address, else a new one.
fn adopt_or_listen(at: SocketAddr, keeper: &Keeper) -> io::Result<TcpListener> {
    keeper.adopt_tcp(at).map_or_else(|| listen(at), TcpListener::from_std)
}

fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections of an earlier life in TIME_WAIT must not block the port.
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    socket.listen(BACKLOG)
}

/// The machine lacks that address family, or its loopback interface does.
fn is_missing_family(error: &io::Error) -> bool {
    let missing = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL, Errno::PROTONOSUPPORT];
    Errno::from_io_error(error).is_some_and(|errno| missing.contains(&errno))
}

/// A local end that the system will never give.
fn refused(detail: String) -> Fault {
    Fault::new(FaultKind::InvalidArgument { field: "local".to_owned() }, detail)
}

async fn fault(at: SocketAddr, error: &io::Error) -> Fault {
    let kind = error.kind();
    if kind == io::ErrorKind::AddrInUse {
        let holder = holder::find(at).await;
        Fault::new(FaultKind::PortInUse { address: at.to_string(), holder }, "")
    } else if kind == io::ErrorKind::AddrNotAvailable {
        refused(format!("this machine has no address {}", at.ip()))
    } else if kind == io::ErrorKind::PermissionDenied {
        refused(format!("the system does not let you listen on port {}", at.port()))
    } else {
        Fault::internal(format!("cannot listen on {at}: {error}"))
    }
}

/// A listening socket.
enum Socket {
    Tcp(Kept<TcpListener>),
    Unix(Kept<UnixListener>, Place),
}

impl Socket {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<BoxLocalStream>> {
        Poll::Ready(match self {
            Self::Tcp(listener) => ready!(listener.poll_accept(cx))
                .map(|(stream, _)| Box::new(LocalSocket::tcp(stream)) as BoxLocalStream),
            Self::Unix(listener, _) => ready!(listener.poll_accept(cx))
                .map(|(stream, _)| Box::new(LocalSocket::unix(stream)) as BoxLocalStream),
        })
    }

    fn address(&self) -> Option<BoundAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok().map(BoundAddress::Tcp),
            Self::Unix(_, place) => Some(BoundAddress::Unix(place.path().clone())),
        }
    }
}

/// The sockets of one local end.
struct SocketListener {
    sockets: Vec<Socket>,
    /// Which one is asked first: they take turns.
    first: usize,
    /// Kept here and not in the future, so that a dropped `accept` does not forget to pause.
    pause: Option<Pin<Box<Sleep>>>,
}

impl SocketListener {
    fn new(sockets: Vec<Socket>) -> Self {
        Self { sockets, first: 0, pause: None }
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<BoxLocalStream> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            match ready!(self.poll_any(cx)) {
                Ok(stream) => return Poll::Ready(stream),
                Err(error) if is_of_the_connection(&error) => {
                    tracing::debug!(%error, "a connection was gone before it was accepted");
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept local connections; they wait");
                    self.pause = Some(Box::pin(tokio::time::sleep(ACCEPT_PAUSE)));
                }
            }
        }
    }

    fn poll_any(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<BoxLocalStream>> {
        let count = self.sockets.len();
        for turn in 0..count {
            let index = (self.first + turn) % count;
            if let Poll::Ready(accepted) = self.sockets[index].poll_accept(cx) {
                self.first = index + 1;
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    }
}

/// Errors that say something of one connection and nothing of the listener.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

impl LocalListener for SocketListener {
    fn addresses(&self) -> Vec<BoundAddress> {
        self.sockets.iter().filter_map(Socket::address).collect()
    }

    fn accept(&mut self) -> PortFuture<'_, BoxLocalStream> {
        Box::pin(std::future::poll_fn(|cx| self.poll_accept(cx)))
    }
}

#[cfg(test)]
mod tests;
