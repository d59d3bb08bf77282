//! The handle on a running emulator.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::serve::{Listener, ListenerExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::Config;
use crate::counters::Counters;
use crate::credentials::{AccessKey, Keyring};
use crate::gateway::TLS_TIMEOUT;
use crate::gateway::session::SessionInfo;
use crate::inject::Injection;
use crate::metadata::{self, CONTAINER_PATH};
use crate::sign_in::{Issued, Portal, RefreshAttempt};
use crate::tls::{Tls, TlsError};
use crate::world::World;
use crate::{api, clock, control, gateway, proxy};

/// A running emulator. Dropped, it stops; [`Emulator::shutdown`] also waits for that.
pub struct Emulator {
    world: Arc<World>,
    key: AccessKey,
    api_url: String,
    gateway_url: String,
    control_url: String,
    metadata_url: String,
    proxy_url: Option<String>,
}

/// An emulator that could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port is taken.
    #[error("could not listen on 127.0.0.1:{port}")]
    Bind {
        /// Which; 0 is any.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// No certificates.
    #[error("could not prepare TLS")]
    Tls(#[from] TlsError),
    /// The authority's certificate could not be written.
    #[error("could not write the certificate to {}", .path.display())]
    WriteCertificate {
        /// Where to.
        path: std::path::PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Emulator {
    /// Starts an emulator; it serves when this answers.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let tls = if config.tls { Some(Tls::new(proxy::host_names(&config.region))?) } else { None };
        if let (Some(tls), Some(path)) = (&tls, &config.ca_path) {
            write_certificate(path, &tls.ca_pem)?;
        }
        let api = bind(config.port).await?;
        let gateway = bind(config.gateway_port).await?;
        let control = bind(config.control_port).await?;
        let metadata = bind(config.metadata_port).await?;
        let proxy = if config.tls { Some(bind(0).await?) } else { None };
        let keys = if config.access_keys.is_empty() {
            vec![AccessKey::random()]
        } else {
            config.access_keys.clone()
        };
        let key = keys[0].clone();
        let scheme = if config.tls { "https" } else { "http" };
        let world = Arc::new(World::new(config, Keyring::new(keys), tls, gateway.address));
        let emulator = Self {
            key,
            api_url: format!("{scheme}://{}", api.address),
            gateway_url: format!("{scheme}://{}", gateway.address),
            control_url: format!("http://{}", control.address),
            metadata_url: format!("http://{}", metadata.address),
            proxy_url: proxy.as_ref().map(|proxy| format!("http://{}", proxy.address)),
            world: Arc::clone(&world),
        };
        let environment = emulator.environment();
        serve(&world, "control", control.listener, control::router(Arc::clone(&world), environment));
        serve(&world, "metadata", metadata.listener, metadata::router(Arc::clone(&world)));
        if let Some(proxy) = proxy {
            world.tasks.spawn("proxy", proxy::serve(Arc::clone(&world), proxy.listener, api.address));
        }
        let routes = api::router(Arc::clone(&world));
        match &world.tls {
            Some(tls) => {
                let listener = TlsListener { tcp: api.listener, acceptor: tls.acceptor.clone() };
                serve(&world, "api", listener, routes);
            }
            None => serve(&world, "api", api.listener, routes),
        }
        world.tasks.spawn("gateway", gateway::serve(Arc::clone(&world), gateway.listener));
        Ok(emulator)
    }

    /// Base URL of the APIs of Session Manager, EC2 and STS, of the token service and the portal.
    #[must_use]
    pub fn api_url(&self) -> &str {
        &self.api_url
    }

    /// Base URL of the message gateway, with the scheme that `AWS_ENDPOINT_URL_SSMMESSAGES` takes (http or https).
    #[must_use]
    pub fn gateway_url(&self) -> &str {
        &self.gateway_url
    }

    /// Base URL of the control API.
    #[must_use]
    pub fn control_url(&self) -> &str {
        &self.control_url
    }

    /// Base URL of the metadata services.
    #[must_use]
    pub fn metadata_url(&self) -> &str {
        &self.metadata_url
    }

    /// What `HTTPS_PROXY` takes so that AWS's own host names lead here, with TLS: for tools that know no endpoint URL.
    #[must_use]
    pub fn proxy_url(&self) -> Option<&str> {
        self.proxy_url.as_deref()
    }

    /// The host names to which the proxy led since this was asked last.
    #[must_use]
    pub fn take_proxied_hosts(&self) -> BTreeSet<String> {
        self.world.take_proxied()
    }

    /// Certificate of the authority, with TLS.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.world.tls.as_ref().map(|tls| tls.ca_pem.as_str())
    }

    /// The first access key that is accepted.
    #[must_use]
    pub fn access_key(&self) -> &AccessKey {
        &self.key
    }

    /// Where one can sign in.
    #[must_use]
    pub fn portals(&self) -> &[Portal] {
        &self.world.config.portals
    }

    /// The region.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.world.config.region
    }

    /// Id of the first instance; empty without any.
    #[must_use]
    pub fn instance(&self) -> &str {
        self.world.config.instances.first().map_or("", |instance| &instance.id)
    }

    /// The environment variables that point any AWS tool here. Those of the metadata services are among them when the
    /// instance or its containers have a role.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let config = &self.world.config;
        let mut variables = vec![
            ("AWS_ENDPOINT_URL_EC2", self.api_url.clone()),
            ("AWS_ENDPOINT_URL_ECS", self.api_url.clone()),
            ("AWS_ENDPOINT_URL_SSM", self.api_url.clone()),
            ("AWS_ENDPOINT_URL_SSMMESSAGES", self.gateway_url.clone()),
            ("AWS_ENDPOINT_URL_SSO", self.api_url.clone()),
            ("AWS_ENDPOINT_URL_SSO_OIDC", self.api_url.clone()),
            ("AWS_ENDPOINT_URL_STS", self.api_url.clone()),
            ("AWS_ACCESS_KEY_ID", self.key.id.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.key.secret().to_owned()),
            ("AWS_REGION", config.region.clone()),
            ("AWS_DEFAULT_REGION", config.region.clone()),
        ];
        if let Some(token) = self.key.session_token() {
            variables.push(("AWS_SESSION_TOKEN", token.to_owned()));
        }
        if config.instance_role.is_some() {
            variables.push(("AWS_EC2_METADATA_SERVICE_ENDPOINT", self.metadata_url.clone()));
        }
        if config.task_role.is_some() {
            let uri = format!("{}{CONTAINER_PATH}", self.metadata_url);
            variables.push(("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri));
            let token = self.world.metadata.container_token.clone();
            variables.push(("AWS_CONTAINER_AUTHORIZATION_TOKEN", token));
        }
        if let (true, Some(path)) = (config.tls, &config.ca_path) {
            variables.push(("AWS_CA_BUNDLE", path.display().to_string()));
        }
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Lets a host and port "in the VPC" be this address. A name that was never mapped does not resolve.
    pub fn map_service(&self, name: &str, port: u16, address: SocketAddr) {
        self.world.hosts.map_service(name, port, address);
    }

    /// Lets a port of the instances themselves be this address; unmapped ports are those of this machine.
    pub fn map_local_port(&self, port: u16, address: SocketAddr) {
        self.world.hosts.map_service("localhost", port, address);
    }

    /// Lets a name resolve to an address, ports unchanged.
    pub fn map_address(&self, name: &str, address: IpAddr) {
        self.world.hosts.map_address(name, address);
    }

    /// Forgets everything about a name.
    pub fn unmap(&self, name: &str) {
        self.world.hosts.unmap(name);
    }

    /// Lets something go wrong, or something of sign-in happen.
    pub fn inject(&self, injection: impl Into<Injection>) {
        self.world.inject(injection.into());
    }

    /// Every refresh of an access token that a registered client tried, in order.
    #[must_use]
    pub fn refreshes(&self) -> Vec<RefreshAttempt> {
        self.world.sign_in.refreshes()
    }

    /// Lets the user log in with a client of its own, without any request. `None`: no such portal.
    #[must_use]
    pub fn log_in(&self, start_url: &str) -> Option<Issued> {
        let issued = self.world.sign_in.log_in(start_url, clock::wall())?;
        let secrets =
            [Some(&issued.client_secret), Some(&issued.access_token), issued.refresh_token.as_ref()];
        secrets.into_iter().flatten().for_each(|secret| self.world.note_token(secret));
        Some(issued)
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.world.counters
    }

    /// All sessions, those that are over included.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionInfo> {
        self.world.sessions().iter().map(|session| session.info()).collect()
    }

    /// Every secret that a caller was given: tokens of sessions and of logins, codes, client secrets, secret keys, session
    /// tokens of temporary keys. For tests that look for them where they must not be.
    #[must_use]
    pub fn issued_secrets(&self) -> Vec<String> {
        let key_secrets = [Some(self.key.secret()), self.key.session_token()];
        let container = [self.world.metadata.container_token.clone()];
        let keys = key_secrets.into_iter().flatten().map(str::to_owned);
        self.world.tokens().into_iter().chain(keys).chain(container).collect()
    }

    /// Stops everything and waits for it.
    pub async fn shutdown(self) {
        self.world.tasks.shutdown().await;
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.world.tasks.cancel();
    }
}

struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

async fn bind(port: u16) -> Result<Bound, StartError> {
    let failed = |source| StartError::Bind { port, source };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Bound { listener, address })
}

fn serve<L>(world: &World, name: &'static str, listener: L, routes: Router)
where
    L: Listener,
    L::Addr: std::fmt::Debug,
{
    let listener = listener.tap_io(|_| {});
    let stop = world.tasks.token();
    world.tasks.spawn(name, async move {
        let serving = axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(error) = serving.await {
            tracing::error!(%error, name, "a server ended");
        }
    });
}

fn write_certificate(path: &Path, pem: &str) -> Result<(), StartError> {
    std::fs::write(path, pem).map_err(|source| StartError::WriteCertificate { path: path.to_owned(), source })
}

struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    /// One handshake at a time: enough for a test double.
    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (socket, address) = Listener::accept(&mut self.tcp).await;
            match tokio::time::timeout(TLS_TIMEOUT, self.acceptor.accept(socket)).await {
                Ok(Ok(stream)) => return (stream, address),
                Ok(Err(error)) => tracing::info!(%error, "TLS handshake failed"),
                Err(_) => tracing::info!("TLS handshake timed out"),
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}
