//! TLS of the emulator's own authority.

use std::sync::Arc;

use aws_emulator::{Config, Emulator};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

fn trusting(pem: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

async fn get(url: &str, path: &str, connector: &TlsConnector) -> std::io::Result<String> {
    let authority = url.strip_prefix("https://").unwrap();
    let socket = TcpStream::connect(authority).await.unwrap();
    let mut socket = connector.connect(ServerName::try_from("127.0.0.1").unwrap(), socket).await?;
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let request = format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\n{upgrade}\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut head = vec![0; 64];
    let length = socket.read(&mut head).await?;
    Ok(String::from_utf8_lossy(&head[..length]).into_owned())
}

#[tokio::test]
async fn both_endpoints_are_trusted_with_the_authoritys_certificate_alone() {
    let directory = tempfile::tempdir().unwrap();
    let ca_path = directory.path().join("ca.pem");
    let config = Config { tls: true, ca_path: Some(ca_path.clone()), ..Config::default() };
    let emulator = Emulator::start(config).await.unwrap();
    assert_eq!(std::fs::read_to_string(&ca_path).unwrap(), emulator.ca_pem().unwrap());
    let bundle = ("AWS_CA_BUNDLE".to_owned(), ca_path.display().to_string());
    assert!(emulator.environment().contains(&bundle));

    let trusted = trusting(emulator.ca_pem().unwrap());
    assert!(get(emulator.api_url(), "/", &trusted).await.unwrap().starts_with("HTTP/1.1 400"));
    assert!(
        get(emulator.gateway_url(), "/v1/data-channel/x", &trusted)
            .await
            .unwrap()
            .starts_with("HTTP/1.1 404")
    );

    let other = Emulator::start(Config { tls: true, ..Config::default() }).await.unwrap();
    let distrusting = trusting(other.ca_pem().unwrap());
    assert!(get(emulator.api_url(), "/", &distrusting).await.is_err());
    assert!(get(emulator.gateway_url(), "/", &distrusting).await.is_err());
}
