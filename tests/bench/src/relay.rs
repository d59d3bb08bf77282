//! What every figure is compared with: TCP relays in user space, as small as they can be.
//!
//! The plain relay is one process between client and server. The TLS relay is two, with TLS between them: as many
//! hops and as much encryption as a tunnel to an agent has, and nothing else.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Result;
use rustls_pki_types::ServerName;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::part::{Part, Role};
use crate::tls::{self, Identity};

/// Bytes per read. More makes no relay faster; tokio's default of 8 KiB makes them slower.
const READ_SIZE: usize = 64 << 10;

/// One relay, or one half of a TLS relay.
#[derive(Serialize, Deserialize)]
pub(crate) struct RelayRole {
    /// Where connections go.
    to: SocketAddr,
    /// They come in over TLS, as this server.
    accepts_tls: Option<Identity>,
    /// They go out over TLS, to a server of this authority.
    dials_tls: Option<String>,
}

/// The relays of a run.
pub(crate) struct Relays {
    /// Without TLS.
    pub(crate) plain: Part,
    /// Takes what clients send, and speaks TLS to the other half: the counterpart of the daemon.
    pub(crate) near: Part,
    /// The counterpart of the service and the agent.
    _far: Part,
}

impl Relays {
    /// Relays to one server.
    pub(crate) async fn start(server: SocketAddr) -> Result<Self> {
        let identity = Identity::new()?;
        let authority = Some(identity.certificate_pem.clone());
        let relay = async |to, accepts_tls, dials_tls| {
            Part::start(&Role::Relay(RelayRole { to, accepts_tls, dials_tls })).await
        };
        let plain = relay(server, None, None).await?;
        let far = relay(server, Some(identity), None).await?;
        let near = relay(far.address(), None, authority).await?;
        Ok(Self { plain, near, _far: far })
    }
}

/// A relay that runs until the set is dropped, and its address.
pub(crate) async fn serve(role: RelayRole) -> Result<(JoinSet<()>, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let hop = Arc::new(Hop {
        to: role.to,
        acceptor: role.accepts_tls.as_ref().map(Identity::acceptor).transpose()?,
        connector: role.dials_tls.as_deref().map(tls::client).transpose()?.map(TlsConnector::from),
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let hop = Arc::clone(&hop);
            // A connection that breaks is seen by those who use it.
            connections.spawn(async move { drop(hop.accept(stream).await) });
        }
    });
    Ok((tasks, address))
}

struct Hop {
    to: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    connector: Option<TlsConnector>,
}

impl Hop {
    async fn accept(&self, stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        match &self.acceptor {
            Some(acceptor) => self.dial(acceptor.accept(stream).await?).await,
            None => self.dial(stream).await,
        }
    }

    async fn dial(&self, near: impl AsyncRead + AsyncWrite + Unpin) -> Result<()> {
        let far = TcpStream::connect(self.to).await?;
        far.set_nodelay(true)?;
        match &self.connector {
            Some(connector) => {
                let name = ServerName::IpAddress(self.to.ip().into());
                copy(near, connector.connect(name, far).await?).await
            }
            None => copy(near, far).await,
        }
    }
}

async fn copy(
    mut near: impl AsyncRead + AsyncWrite + Unpin,
    mut far: impl AsyncRead + AsyncWrite + Unpin,
) -> Result<()> {
    copy_bidirectional_with_sizes(&mut near, &mut far, READ_SIZE, READ_SIZE).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::{Connection, Direction, Pace, Server};

    #[tokio::test]
    async fn bytes_cross_both_halves_of_a_tls_relay() {
        let server = Server::start().await.unwrap();
        let identity = Identity::new().unwrap();
        let dials_tls = Some(identity.certificate_pem.clone());
        let far = RelayRole { to: server.address(), accepts_tls: Some(identity), dials_tls: None };
        let (_far, far) = serve(far).await.unwrap();
        let near = RelayRole { to: far, accepts_tls: None, dials_tls };
        let (_near, near) = serve(near).await.unwrap();
        let mut connection = Connection::open(near).await.unwrap();
        connection.carry(Direction::Up, 300_000, Pace::FULL).await.unwrap();
        connection.carry(Direction::Down, 300_000, Pace::FULL).await.unwrap();
        // Nobody but a TLS client gets through the far half.
        let mut plain = Connection::open(far).await.unwrap();
        assert!(plain.carry(Direction::Down, 1, Pace::FULL).await.is_err());
    }
}
