//! IAM Identity Center: the token service (OIDC), what a browser shows of it, and the portal that gives credentials of
//! roles.
//!
//! ```text
//!   client --register--> clients --device code, or browser and code--> grants --token--> tokens --bearer--> portal
//! ```
//!
//! The lists (`clients`, `grants`, `tokens`) decide with the time as an argument; `oidc`, `browser` and `portal` read
//! requests and write answers. What goes wrong, and what the user does, is ordered with [`SignInOrder`].

mod browser;
mod clients;
mod config;
mod grants;
mod oidc;
mod orders;
mod portal;
mod tokens;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use http::StatusCode;
use time::{Duration, OffsetDateTime};
use tokio::sync::watch;

use self::clients::{Clients, Registration};
use self::grants::{Codes, Devices};
use self::tokens::{Granted, Tokens, UnderWay};
use crate::config::Config;
use crate::trouble::Refusal;
use crate::world::World;

pub use self::config::{Account, Consent, Lifetimes, Portal, Rotation, SignInHabits};
pub use self::orders::SignInOrder;
pub use self::tokens::{RefreshAttempt, RefreshOutcome};

/// Sign-in of one emulator. Its lock is held for a few instructions and never across an await.
pub(crate) struct SignIn {
    state: Mutex<State>,
    /// What the user decided last on pages of the browser.
    decision: watch::Sender<bool>,
}

struct State {
    portals: Vec<Portal>,
    habits: SignInHabits,
    lifetimes: Lifetimes,
    clients: Clients,
    devices: Devices,
    codes: Codes,
    tokens: Tokens,
}

/// A login that was made without any client: what a client would keep of it. For tests that begin signed in.
pub struct Issued {
    /// The registered client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// Until when it is registered.
    pub registration_expires: OffsetDateTime,
    /// The access token.
    pub access_token: String,
    /// Until when that is valid.
    pub expires: OffsetDateTime,
    /// The refresh token.
    pub refresh_token: Option<String>,
}

pub(crate) fn router() -> Router<Arc<World>> {
    oidc::router().merge(browser::router()).merge(portal::router())
}

impl SignIn {
    pub(crate) fn new(config: &Config) -> Self {
        let state = State {
            portals: config.portals.clone(),
            habits: config.sign_in,
            lifetimes: config.lifetimes,
            clients: Clients::default(),
            devices: Devices::default(),
            codes: Codes::default(),
            tokens: Tokens::default(),
        };
        Self { state: Mutex::new(state), decision: watch::Sender::new(false) }
    }

    /// How long what is issued now lasts.
    pub(crate) fn lifetimes(&self) -> Lifetimes {
        self.state().lifetimes
    }

    /// Every refresh that was tried, in order.
    pub(crate) fn refreshes(&self) -> Vec<RefreshAttempt> {
        self.state().tokens.attempts()
    }

    /// Registers a client and lets the user log in with it, without any request. `None`: no such portal.
    pub(crate) fn log_in(&self, start_url: &str, now: OffsetDateTime) -> Option<Issued> {
        let mut state = self.state();
        let State { lifetimes, clients, tokens, portals, .. } = &mut *state;
        portal_of(portals, start_url)?;
        let expires = tokens::after(now, lifetimes.registration_s);
        let client = clients.register(Registration::of_device("a test"), expires).ok()?;
        let Granted { access_token, expires, refresh_token, .. } =
            tokens.log_in(client, start_url.to_owned(), lifetimes, now);
        Some(Issued {
            client_id: client.id.clone(),
            client_secret: client.secret.clone(),
            registration_expires: client.expires,
            access_token,
            expires,
            refresh_token,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refresh_arrives(&self, token: &str) -> Arrived<'_> {
        Arrived { sign_in: self, refresh: self.state().tokens.arrive(token) }
    }

    /// What the user decided last, and changes of that.
    fn decisions(&self) -> watch::Receiver<bool> {
        self.decision.subscribe()
    }

    fn decide(&self, user_code: Option<&str>, agree: bool, now: OffsetDateTime) {
        self.state().devices.decide(user_code, agree, now);
        if user_code.is_none() {
            self.decision.send_replace(agree);
        }
    }

    fn age(&self, by: Duration) {
        let mut state = self.state();
        state.clients.age(by);
        state.devices.age(by);
        state.codes.age(by);
        state.tokens.age(by);
    }
}

/// A refresh under way; dropped, it is over, also when its caller went away.
struct Arrived<'a> {
    sign_in: &'a SignIn,
    refresh: UnderWay,
}

impl Drop for Arrived<'_> {
    fn drop(&mut self) {
        self.sign_in.state().tokens.leave(self.refresh);
    }
}

/// The portal with this start URL, in any of the forms in which users write it.
fn portal_of<'a>(portals: &'a [Portal], start_url: &str) -> Option<&'a Portal> {
    let plain = |url: &str| url.split('#').next().unwrap_or_default().trim_end_matches('/').to_owned();
    portals.iter().find(|portal| plain(&portal.start_url) == plain(start_url))
}

/// A refusal as nearly all of this service are: bad request.
fn refused(code: &'static str, message: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, code, message)
}
