//! The person's browser: it is shown a login page, and of one kind of login it comes back to this machine with a code.
//!
//! Read next: `proof` (what makes such a login safe), `listener` (how the browser comes back), `opener` (how a page is opened).

mod listener;
mod opener;
mod page;
mod proof;

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::sync::Arc;

use stormtunnel_aws_files::shell_words;
use stormtunnel_engine::ports::{Entropy, PortFuture};
use stormtunnel_engine::sign_in::flow::Opener;
use stormtunnel_engine::sign_in::ports::{Authorization, Browser, CALLBACK_PATH, SignInSite};
use stormtunnel_engine::sign_in::token::OidcClient;
use stormtunnel_model::Fault;
use tokio::net::TcpListener;

use self::listener::BrowserListener;
use self::proof::Proof;

/// The program of the system that opens pages.
pub const OPENER: &str = opener::DEFAULT;

/// Answers with the address of SSO-OIDC for a sign-in: scheme, host and, where it is not the usual one, port.
pub type OidcEndpoint = dyn Fn(&SignInSite) -> Result<String, Fault> + Send + Sync;

/// The browser of this machine.
pub struct SystemBrowser {
    endpoint: Box<OidcEndpoint>,
    entropy: Arc<dyn Entropy>,
    display: bool,
}

impl SystemBrowser {
    /// A browser for pages of SSO-OIDC at `endpoint`. Without a `display` only a named command opens anything.
    pub fn new(endpoint: Box<OidcEndpoint>, entropy: Arc<dyn Entropy>, display: bool) -> Self {
        Self { endpoint, entropy, display }
    }
}

/// Whether there is a display to show a browser on, as `var` has the variables. On macOS `open` tells when it is used.
pub fn has_display(var: impl Fn(&str) -> Option<OsString>) -> bool {
    let is_set = |name| var(name).is_some_and(|value| !value.is_empty());
    cfg!(target_os = "macos") || is_set("WAYLAND_DISPLAY") || is_set("DISPLAY")
}

impl Browser for SystemBrowser {
    fn authorize<'a>(
        &'a self,
        site: &'a SignInSite,
        client: &'a OidcClient,
    ) -> PortFuture<'a, Result<Box<dyn Authorization>, Fault>> {
        Box::pin(async move {
            let endpoint = (self.endpoint)(site)?;
            // Before anybody knows the address: a browser that comes back at once finds it open.
            let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
            let bound = socket.and_then(|socket| socket.local_addr().map(|address| (socket, address.port())));
            let (socket, port) = bound.map_err(|error| {
                Fault::internal(format!("cannot listen on 127.0.0.1 for the browser to come back: {error}"))
            })?;
            let redirect_uri = format!("http://127.0.0.1:{port}{CALLBACK_PATH}");
            let proof = Proof::new(self.entropy.as_ref());
            let url = proof.url(&endpoint, &client.id, &redirect_uri, &site.code_scopes());
            let listener = BrowserListener::new(socket, url, redirect_uri, proof, site.name.clone());
            Ok(Box::new(listener) as Box<dyn Authorization>)
        })
    }

    fn open<'a>(&'a self, url: &'a str, opener: &'a Opener) -> PortFuture<'a, bool> {
        Box::pin(async move {
            match opener {
                Opener::Nobody => false,
                Opener::Default if !self.display => false,
                Opener::Default => opener::run(&[opener::DEFAULT.to_owned()], url).await,
                Opener::Command(command) => match shell_words(command) {
                    Some(words) => opener::run(&words, url).await,
                    None => {
                        tracing::warn!("the command to open the login page has a quote that is not closed");
                        false
                    }
                },
            }
        })
    }
}

#[cfg(test)]
mod tests;
