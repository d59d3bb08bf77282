//! TLS: the system's certificate authorities, and those that the user adds.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use stormtunnel_model::{Fault, FaultKind};

use crate::quote::quote;

/// A configuration that trusts the system's authorities, and those in `extra_roots` (PEM). Loading the system's is slow (a third of
/// a second on macOS) and blocks.
///
/// # Errors
/// [`FaultKind::InvalidArgument`] when `extra_roots` cannot be used, or when there is no authority at all.
pub fn client_config(extra_roots: Option<&[u8]>) -> Result<Arc<ClientConfig>, Fault> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "a certificate authority of the system cannot be read");
    }
    // The system's store may hold what rustls does not take; the user's file must be right.
    roots.add_parsable_certificates(native.certs);
    let invalid = |why| Fault::new(FaultKind::InvalidArgument { field: "network.ca_bundle".to_owned() }, why);
    add_bundle(&mut roots, extra_roots.unwrap_or_default()).map_err(invalid)?;
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

/// Whether every certificate in a bundle can be used, and there is one. The SDK takes that for granted, and panics otherwise.
pub(crate) fn check_bundle(pem: &[u8]) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    add_bundle(&mut roots, pem)?;
    if roots.is_empty() { Err("there is no certificate in PEM format in it".to_owned()) } else { Ok(()) }
}

fn add_bundle(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), String> {
    for (certificate, number) in CertificateDer::pem_slice_iter(pem).zip(1_u32..) {
        let certificate = certificate.map_err(|error| {
            format!("its certificate number {number} is not valid PEM: {}", quote(&error.to_string(), &[]))
        })?;
        let added = roots.add(certificate);
        added.map_err(|error| format!("its certificate number {number} cannot be used: {error}"))?;
    }
    Ok(())
}
