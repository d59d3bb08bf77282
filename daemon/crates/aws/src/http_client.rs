//! The HTTP client of all API calls, the SDK's own sign-in and STS calls included.

use std::sync::{Mutex, PoisonError};

use aws_smithy_async::rt::sleep::SharedAsyncSleep;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector, proxy::ProxyConfig};
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpClient};
use stormtunnel_model::{Fault, FaultKind};

/// The client for all calls, kept for as long as the same certificate authorities are to be trusted.
#[derive(Default)]
pub(crate) struct HttpClients(Mutex<Option<(Option<Vec<u8>>, SharedHttpClient)>>);

impl HttpClients {
    /// The client that trusts the system's certificate authorities, and those in `extra_roots` (PEM).
    pub(crate) fn trusting(&self, extra_roots: Option<&[u8]>) -> Result<SharedHttpClient, Fault> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = kept.as_ref().filter(|(roots, _)| roots.as_deref() == extra_roots) {
            return Ok(client.clone());
        }
        let client = http_client(extra_roots)?;
        *kept = Some((extra_roots.map(<[u8]>::to_vec), client.clone()));
        Ok(client)
    }
}

/// A client that trusts the system's certificate authorities, and those in `extra_roots` (PEM).
///
/// The SDK's shortcut for a client with a TLS context forgets the proxy variables; connectors made one by one keep
/// them.
fn http_client(extra_roots: Option<&[u8]>) -> Result<SharedHttpClient, Fault> {
    let context = context(extra_roots)?;
    Ok(Builder::new().build_with_connector_fn(move |settings, components| {
        let sleep = components.and_then(|components| components.sleep_impl());
        connector(&context, settings.cloned(), sleep)
    }))
}

/// A connector as the client has them, for one request and without a time limit of its own.
pub(crate) fn single_connector(extra_roots: Option<&[u8]>) -> Result<Connector, Fault> {
    Ok(connector(&context(extra_roots)?, None, None))
}

fn connector(
    context: &TlsContext,
    settings: Option<HttpConnectorSettings>,
    sleep: Option<SharedAsyncSleep>,
) -> Connector {
    let mut builder = Connector::builder()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(context.clone())
        .proxy_config(ProxyConfig::from_env());
    builder.set_connector_settings(settings);
    builder.set_sleep_impl(sleep);
    builder.build()
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
