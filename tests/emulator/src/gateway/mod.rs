//! The message gateway: WebSockets of clients on one side, agents on the other, and lines between them that keep frames
//! for an absent side.
//!
//! What comes from AWS's programs is known from recordings. What the real gateway does by itself is not (eviction,
//! buffering, tokens, close frames): here it does the strict thing, so that a client that only works with luck fails.

pub(crate) mod client;
pub(crate) mod frames;
pub(crate) mod hole;
pub(crate) mod line;
pub(crate) mod repeats;
pub(crate) mod session;
pub(crate) mod upgrade;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;

use crate::counters::Counter;
use crate::world::World;

/// Longest wait for a TLS handshake.
pub(crate) const TLS_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection whose TCP socket can be reached under whatever lies above it.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin + Send {
    fn tcp(&self) -> &TcpStream;

    /// Makes the coming close a reset.
    fn reset_on_close(&self) {
        if let Err(error) = self.tcp().set_zero_linger() {
            tracing::debug!(%error, "the connection is gone already");
        }
    }
}

impl Transport for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Transport for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// Accepts clients until the emulator stops.
pub(crate) async fn serve(world: Arc<World>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((tcp, _)) if *world.gateway_down.borrow() => {
                tcp.reset_on_close();
                world.counters.increment(Counter::InjectedConnectionsRefused);
            }
            Ok((tcp, _)) => {
                let task = accepted(Arc::clone(&world), tcp);
                world.tasks.spawn("client", task);
            }
            Err(error) => {
                // Out of descriptors, most likely: it passes when connections end.
                tracing::warn!(%error, "could not accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn accepted(world: Arc<World>, tcp: TcpStream) {
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "the connection is gone already");
        return;
    }
    let Some(tls) = &world.tls else {
        return client::serve(&world, tcp).await;
    };
    match tokio::time::timeout(TLS_TIMEOUT, tls.acceptor.accept(tcp)).await {
        Ok(Ok(stream)) => client::serve(&world, stream).await,
        Ok(Err(error)) => tracing::info!(%error, "TLS handshake failed"),
        Err(_) => tracing::info!("TLS handshake timed out"),
    }
}
