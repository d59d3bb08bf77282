//! A connection through an HTTP proxy.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use stormtunnel_aws::{ChannelAddress, Proxy, lead_through};
use stormtunnel_model::Fault;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::connect;
use super::socket::Socket;

/// A connection to `address` through `proxy`, within `limit`. A proxy with TLS is trusted by `tls` as everything else.
///
/// # Errors
/// Faults of the proxy, which say what to do.
pub(super) async fn tunnel(
    proxy: &Proxy,
    address: &ChannelAddress,
    tls: &Arc<ClientConfig>,
    limit: Duration,
) -> Result<Socket, Fault> {
    let target = target(address.host(), address.port());
    let open = async {
        let mut socket = open(proxy, tls).await.map_err(|error| proxy.unreachable(&error.to_string()))?;
        lead_through(&mut socket, proxy, &target).await.map(|()| socket)
    };
    timeout(limit, Box::pin(open)).await.unwrap_or_else(|_| Err(proxy.silent(&target, limit)))
}

/// A connection to the proxy itself.
async fn open(proxy: &Proxy, tls: &Arc<ClientConfig>) -> io::Result<Socket> {
    let url = proxy.url();
    let socket = Socket::new(connect::connect(url.host(), url.port()).await?);
    if !url.is_tls() {
        return Ok(socket);
    }
    let name = ServerName::try_from(url.host().to_owned()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(Arc::clone(tls)).connect(name, socket).await?;
    Ok(Socket::Tls(Box::new(stream)))
}

/// `HOST:PORT`, an IPv6 address in brackets.
fn target(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_stands_in_brackets() {
        assert_eq!(target("2001:db8::1", 443), "[2001:db8::1]:443");
        assert_eq!(target("host", 443), "host:443");
    }
}
