//! TLS of data channels: the system's certificate authorities, and those that the user adds.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use stormtunnel_model::{Fault, FaultKind};
use tokio::sync::Mutex;

/// Profiles may trust different authorities; so many configurations are kept, those that were made last.
const KEPT: usize = 8;

/// The last configurations made. Kept, because loading the system's authorities is slow (a third of a second on
/// macOS), and because TLS sessions resume only within one configuration.
#[derive(Default)]
pub(super) struct TlsConfigs {
    kept: Mutex<Vec<Kept>>,
}

struct Kept {
    extra_roots: Option<Vec<u8>>,
    config: Arc<ClientConfig>,
}

impl TlsConfigs {
    /// The configuration that also trusts `extra_roots` (PEM).
    pub(super) async fn client_config(
        &self,
        extra_roots: Option<Vec<u8>>,
    ) -> Result<Arc<ClientConfig>, Fault> {
        let mut kept = self.kept.lock().await;
        if let Some(kept) = kept.iter().find(|kept| kept.extra_roots == extra_roots) {
            return Ok(Arc::clone(&kept.config));
        }
        let roots = extra_roots.clone();
        let made = tokio::task::spawn_blocking(move || make_config(roots.as_deref())).await;
        let config =
            made.map_err(|error| Fault::internal(format!("loading certificates failed: {error}")))??;
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push(Kept { extra_roots, config: Arc::clone(&config) });
        Ok(config)
    }
}

fn make_config(extra_roots: Option<&[u8]>) -> Result<Arc<ClientConfig>, Fault> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "a certificate authority of the system cannot be read");
    }
    // The system's store may hold what rustls does not take; the user's file must be right.
    roots.add_parsable_certificates(native.certs);
    let invalid =
        |why: String| Fault::new(FaultKind::InvalidArgument { field: "network.ca_bundle".to_owned() }, why);
    for certificate in CertificateDer::pem_slice_iter(extra_roots.unwrap_or_default()) {
        let certificate = certificate.map_err(|error| invalid(format!("it is not valid PEM: {error}")))?;
        roots
            .add(certificate)
            .map_err(|error| invalid(format!("a certificate in it cannot be used: {error}")))?;
    }
    if roots.is_empty() {
        return Err(invalid(
            "the system has no certificate authorities; name a PEM file with some".to_owned(),
        ));
    }
    // The provider is named, so that nothing depends on which one the process has installed.
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Fault::internal(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
