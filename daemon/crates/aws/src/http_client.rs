//! The HTTP client of all API calls, the SDK's own sign-in and STS calls included.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_async::rt::sleep::SharedAsyncSleep;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector, proxy::ProxyConfig};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use stormtunnel_model::{Fault, FaultKind};
use url::Url;

use crate::classify::chain;
use crate::connect::refusal;
use crate::network::CONNECT_TIMEOUT;
use crate::proxy::{Proxies, Proxy};

/// Profiles may trust different authorities; so many clients are kept, those that were made last.
const KEPT: usize = 8;

/// What a client is made of: certificate authorities beside the system's (PEM), and proxies.
type Parts = (Option<Vec<u8>>, Proxies);

/// The clients for all calls, kept for as long as they are made of the same.
#[derive(Default)]
pub(crate) struct HttpClients(Mutex<Vec<(Parts, SharedHttpClient)>>);

impl HttpClients {
    /// The client that trusts the system's certificate authorities, and those in `extra_roots` (PEM), and takes the way out that
    /// `proxies` say.
    pub(crate) fn with(
        &self,
        extra_roots: Option<Vec<u8>>,
        proxies: Proxies,
    ) -> Result<SharedHttpClient, Fault> {
        let parts = (extra_roots, proxies);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = kept.iter().find(|(made_of, _)| *made_of == parts) {
            return Ok(client.clone());
        }
        let client = http_client(&parts)?;
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push((parts, client.clone()));
        Ok(client)
    }
}

fn http_client((extra_roots, proxies): &Parts) -> Result<SharedHttpClient, Fault> {
    let direct = client(extra_roots.as_deref(), None)?;
    let Some(proxy) = proxies.proxy() else { return Ok(direct) };
    let proxied = client(extra_roots.as_deref(), Some(proxy))?;
    let ways = Ways { proxies: proxies.clone(), extra_roots: extra_roots.clone().map(Arc::from) };
    Ok(SharedHttpClient::new(TwoWays { ways, direct, proxied }))
}

/// A client that trusts the system's certificate authorities, and those in `extra_roots` (PEM). Variables that name a proxy do not
/// count here.
fn client(extra_roots: Option<&[u8]>, proxy: Option<&Proxy>) -> Result<SharedHttpClient, Fault> {
    let (context, proxy) = (context(extra_roots)?, config_of(proxy)?);
    Ok(Builder::new().build_with_connector_fn(move |settings, components| {
        let sleep = components.and_then(|components| components.sleep_impl());
        connector(&context, &proxy, settings.cloned(), sleep)
    }))
}

/// A connector as the clients have them, for one request and without a time limit of its own.
pub(crate) fn single_connector(
    extra_roots: Option<Vec<u8>>,
    proxies: Proxies,
) -> Result<SharedHttpConnector, Fault> {
    let context = context(extra_roots.as_deref())?;
    let single = |proxy| Ok(SharedHttpConnector::new(connector(&context, &config_of(proxy)?, None, None)));
    let (direct, proxied) = (single(None)?, single(proxies.proxy())?);
    let ways = Ways { proxies, extra_roots: extra_roots.map(Arc::from) };
    Ok(SharedHttpConnector::new(Crossing { ways, direct, proxied }))
}

fn connector(
    context: &TlsContext,
    proxy: &ProxyConfig,
    settings: Option<HttpConnectorSettings>,
    sleep: Option<SharedAsyncSleep>,
) -> Connector {
    let mut builder = Connector::builder()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(context.clone())
        .proxy_config(proxy.clone());
    builder.set_connector_settings(settings);
    builder.set_sleep_impl(sleep);
    builder.build()
}

fn config_of(proxy: Option<&Proxy>) -> Result<ProxyConfig, Fault> {
    match proxy {
        Some(proxy) => ProxyConfig::https(proxy.url().reveal())
            .map_err(|_| Fault::internal("the SDK cannot use the proxy that the settings take")),
        None => Ok(ProxyConfig::disabled()),
    }
}

fn context(extra_roots: Option<&[u8]>) -> Result<TlsContext, Fault> {
    let mut trust = TrustStore::default();
    if let Some(pem) = extra_roots {
        trust.add_pem_certificate(pem);
    }
    TlsContext::builder().with_trust_store(trust).build().map_err(|error| {
        let kind = FaultKind::InvalidArgument { field: "network.ca_bundle".to_owned() };
        Fault::new(kind, error.to_string())
    })
}

/// Which way a request takes, and what is trusted on it.
#[derive(Clone)]
struct Ways {
    proxies: Proxies,
    extra_roots: Option<Arc<[u8]>>,
}

impl Ways {
    /// The proxy for a request, if it takes one, and where the proxy is to lead.
    fn way(&self, uri: &str) -> Option<(Proxy, String)> {
        let url = Url::parse(uri).ok()?;
        let (host, port) = (url.host_str()?, url.port_or_known_default()?);
        let proxy = self.proxies.way_to(url.scheme() == "https", host, port)?;
        Some((proxy.clone(), format!("{host}:{port}")))
    }
}

impl fmt::Debug for Ways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.proxies.fmt(f)
    }
}

/// A client that asks for each request which way it takes, and knows why a proxy did not let it through.
#[derive(Debug)]
struct TwoWays {
    ways: Ways,
    direct: SharedHttpClient,
    proxied: SharedHttpClient,
}

impl HttpClient for TwoWays {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Crossing {
            ways: self.ways.clone(),
            direct: self.direct.http_connector(settings, components),
            proxied: self.proxied.http_connector(settings, components),
        })
    }
}

#[derive(Debug)]
struct Crossing {
    ways: Ways,
    direct: SharedHttpConnector,
    proxied: SharedHttpConnector,
}

impl HttpConnector for Crossing {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Some((proxy, target)) = self.ways.way(request.uri()) else { return self.direct.call(request) };
        let (answer, extra_roots) = (self.proxied.call(request), self.ways.extra_roots.clone());
        HttpConnectorFuture::new(async move {
            match answer.await {
                Err(error) => Err(explained(error, &proxy, &target, extra_roots.as_deref()).await),
                answer => answer,
            }
        })
    }
}

/// The same error, with a fault in it if it is the proxy's. Its library tells only in words how a `CONNECT` failed, and not with
/// which status.
async fn explained(
    error: ConnectorError,
    proxy: &Proxy,
    target: &str,
    extra_roots: Option<&[u8]>,
) -> ConnectorError {
    let text = chain(&error);
    let fault = match text.split_once("tunnel error: ").map(|(_, what)| what) {
        // Neither is worth another attempt; a proxy may even lock a user out after some wrong passwords.
        Some(what) if what.starts_with("proxy authorization required") => {
            return ConnectorError::other(Box::new(proxy.refused(target, Some(407))), None);
        }
        Some(what) if what.starts_with("unsuccessful") => {
            return ConnectorError::other(Box::new(refusal(proxy, target, extra_roots).await), None);
        }
        Some(what) if what.starts_with("failed to create underlying connection") => {
            let why = what.rsplit(": ").next().unwrap_or(what);
            proxy.unreachable(if why.contains("os error") || why.contains("UnknownIssuer") {
                why
            } else {
                what
            })
        }
        Some(what) if what.starts_with("io error") || what.starts_with("unexpected end of file") => {
            proxy.unreachable("it hung up before it answered")
        }
        Some(_) => proxy.unreadable(),
        None if error.is_timeout() && text.contains("connect") => proxy.silent(target, CONNECT_TIMEOUT),
        None => return error,
    };
    ConnectorError::io(Box::new(fault))
}
