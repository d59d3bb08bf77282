//! Data channels over tokio-tungstenite: check the URL, connect, TLS, sign, upgrade; then messages both ways.
//!
//! Whatever breaks here is a lost connection and nothing worse: the engine resumes the session. Only an upgrade that
//! AWS refuses tells more (credentials, permissions).

mod channel;
mod connect;
mod proxy;
mod socket;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderValue, Request};
use stormtunnel_aws::{AwsAccess, ChannelAddress, UpgradeRefusal, quote, with_trust_hint};
use stormtunnel_engine::ports::{AwsScope, BoxChannel, ChannelDialer, PortFuture, SessionGrant};
use stormtunnel_model::{Fault, FaultKind};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

use channel::WsChannel;
use socket::Socket;
use tls::TlsConfigs;

/// DNS and TCP. Beyond it something is down; the engine's own limit for the whole attempt is longer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// TLS and the HTTP upgrade.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);

/// Two payloads of the agent's largest size. The library's default would cost 128 KiB for every idle tunnel.
const READ_BUFFER: usize = 32 * 1024;
/// What one flush may put together; a full buffer pushes back on the engine.
const WRITE_BUFFER: usize = 64 * 1024;
/// What TLS takes at once: all of a flush. The library's default is a few bytes less than that, and would send the rest in
/// a record, a system call and a packet of its own each time.
const TLS_BUFFER: usize = 2 * WRITE_BUFFER;
/// Never reached: the buffer stops taking messages at `WRITE_BUFFER` and one message is smaller than this.
const MAX_WRITE_BUFFER: usize = 2 * 1024 * 1024;
/// Far above what the gateway sends. A greater message is a broken or hostile peer.
const MAX_MESSAGE: usize = 1024 * 1024;

/// Dials data channels with the credentials of an [`AwsAccess`].
pub struct WsDialer {
    access: Arc<AwsAccess>,
    tls: TlsConfigs,
}

/// A channel that did not open.
struct Unopened {
    fault: Fault,
    /// AWS had the request, with its signature.
    refused: bool,
}

impl From<Fault> for Unopened {
    fn from(fault: Fault) -> Self {
        Self { fault, refused: false }
    }
}

impl WsDialer {
    /// Shares `access` with the API client, so that a session and its channel use the same credentials.
    pub fn new(access: Arc<AwsAccess>) -> Self {
        Self { access, tls: TlsConfigs::default() }
    }

    async fn open(&self, scope: &AwsScope, grant: &SessionGrant) -> Result<BoxChannel, Unopened> {
        let address = self.access.channel_address(grant)?;
        let way = self.access.way_out(scope, &address).await?;
        let is_tls = address.is_tls() || way.proxy.is_some();
        let tls = if is_tls { Some(self.tls.client_config(way.extra_roots).await?) } else { None };
        let socket = match (way.proxy, &tls) {
            (Some(proxy), Some(tls)) => proxy::tunnel(&proxy, &address, tls, CONNECT_TIMEOUT).await?,
            (Some(_) | None, _) => Socket::new(
                within(
                    CONNECT_TIMEOUT,
                    &address,
                    "connection",
                    connect::connect(address.host(), address.port()),
                )
                .await?
                .map_err(|error| unreachable(&address, &error))?,
            ),
        };
        let connector = tls.filter(|_| address.is_tls()).map_or(Connector::Plain, Connector::Rustls);
        // Signed last: the signature's time should be that of the request.
        let signed = self.access.sign_upgrade(scope, &grant.region, &address).await?;
        let upgrade = upgrade(&address, signed.clone(), socket, connector);
        match within(UPGRADE_TIMEOUT, &address, "answer", Box::pin(upgrade)).await? {
            Ok(socket) => Ok(Box::pin(WsChannel::new(socket))),
            Err(error) => Err(Unopened {
                fault: self.upgrade_fault(scope, grant, &address, &signed, error).await,
                refused: true,
            }),
        }
    }

    async fn upgrade_fault(
        &self,
        scope: &AwsScope,
        grant: &SessionGrant,
        address: &ChannelAddress,
        signed: &HeaderMap,
        error: Error,
    ) -> Fault {
        // Any other error than a whole HTTP answer is one of the connection.
        if let Error::Http(response) = &error {
            let error_type = response.headers().get("x-amzn-errortype").and_then(|value| value.to_str().ok());
            let body = response.body().as_deref().unwrap_or_default();
            let refusal = UpgradeRefusal { status: response.status().as_u16(), error_type, body };
            return self.access.upgrade_refused(scope, grant, signed, &refusal).await;
        }
        unreachable(address, &error)
    }
}

impl ChannelDialer for WsDialer {
    fn dial<'a>(
        &'a self,
        scope: &'a AwsScope,
        grant: &'a SessionGrant,
    ) -> PortFuture<'a, Result<BoxChannel, Fault>> {
        Box::pin(async move {
            match self.open(scope, grant).await {
                // The session lives; what it was started with may not.
                Err(Unopened { fault, refused: true })
                    if self.access.may_renew(scope, &grant.region, &fault).await =>
                {
                    self.open(scope, grant).await.map_err(|unopened| unopened.fault)
                }
                outcome => outcome.map_err(|unopened| unopened.fault),
            }
        })
    }
}

/// The upgrade as the official client sends it: no subprotocol, no extension.
async fn upgrade(
    address: &ChannelAddress,
    signed: HeaderMap,
    socket: Socket,
    connector: Connector,
) -> Result<WebSocketStream<MaybeTlsStream<Socket>>, Error> {
    let mut request = Request::builder().uri(address.url()).body(()).map_err(Error::HttpFormat)?;
    let headers = request.headers_mut();
    headers.extend(signed);
    headers.insert(HOST, header(&address.authority())?);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(SEC_WEBSOCKET_KEY, header(&generate_key())?);
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let (mut socket, _) =
        client_async_tls_with_config(request, socket, Some(config), Some(connector)).await?;
    if let MaybeTlsStream::Rustls(tls) = socket.get_mut() {
        tls.get_mut().1.set_buffer_limit(Some(TLS_BUFFER));
    }
    Ok(socket)
}

fn header(value: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(value).map_err(|error| Error::HttpFormat(error.into()))
}

async fn within<T>(
    limit: Duration,
    address: &ChannelAddress,
    what: &str,
    step: impl Future<Output = T>,
) -> Result<T, Fault> {
    timeout(limit, step).await.map_err(|_| {
        let detail = format!("{}: no {what} within {} s", address.authority(), limit.as_secs());
        Fault::new(FaultKind::Network, detail)
    })
}

fn unreachable(address: &ChannelAddress, error: &dyn std::error::Error) -> Fault {
    let text = with_trust_hint(quote(&error.to_string(), &[]));
    Fault::new(FaultKind::Network, format!("{}: {text}", address.authority()))
}

#[cfg(test)]
mod proxied_tests;
#[cfg(test)]
mod tests;
