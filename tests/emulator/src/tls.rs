//! A certificate authority of the emulator's own and the server certificate it signs.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

/// TLS of one emulator.
pub(crate) struct Tls {
    pub(crate) ca_pem: String,
    pub(crate) acceptor: TlsAcceptor,
}

/// Certificates that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A key or a certificate.
    #[error("could not make the certificates")]
    Certificate(#[from] rcgen::Error),
    /// The server's configuration.
    #[error("could not set TLS up")]
    Setup(#[from] rustls::Error),
}

impl Tls {
    /// A fresh authority and a certificate for loopback and for these names, valid for as long as the emulator can live.
    pub(crate) fn new(names: impl IntoIterator<Item = String>) -> Result<Self, TlsError> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        authority.distinguished_name.push(DnType::CommonName, "aws-emulator authority");
        let authority_key = KeyPair::generate()?;
        let authority_certificate = authority.self_signed(&authority_key)?;
        let issuer = Issuer::new(authority, authority_key);

        let loopback = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let names: Vec<_> = loopback.into_iter().chain(names).collect();
        let server_key = KeyPair::generate()?;
        let server = CertificateParams::new(names)?.signed_by(&server_key, &issuer)?;
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(server_key.serialize_der()));
        let config =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_single_cert(vec![server.der().clone()], private)?;
        Ok(Self { ca_pem: authority_certificate.pem(), acceptor: TlsAcceptor::from(Arc::new(config)) })
    }
}
