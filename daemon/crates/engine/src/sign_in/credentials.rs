//! Credentials of roles that come from sign-ins: one set per sign-in, account and role, fetched once for all who ask.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use secrecy::SecretString;
use stormtunnel_model::{Fault, FaultKind, Recovery, SignInName, Timestamp};
use tokio::sync::watch;

use super::actor::{SignInHandle, UsableToken, span_of};
use super::classify::{PortalFailure, SsoError, portal_failure};
use super::ports::PortalApi;
use super::token::SsoToken;
use crate::clock::Now;
use crate::ports::Clock;
use crate::tasks::panic_message;

/// Credentials with less left are fetched anew: botocore does the same at 15 minutes, and would ask for each of its calls
/// otherwise.
pub const EARLY: Duration = Duration::from_secs(20 * 60);
/// With less left whoever asks waits for others; until then the old ones are handed out meanwhile. A call that is signed now may
/// take as long.
pub const LATE: Duration = Duration::from_secs(5 * 60);
/// How long nobody is asked after AWS gave none, while there are old ones.
pub const PAUSE: Duration = Duration::from_secs(30);

/// A role in an account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Role {
    /// The account's id.
    pub account: String,
    /// The name of the permission set.
    pub name: String,
}

/// Credentials of a role.
pub struct RoleCredentials {
    /// The access key's id.
    pub access_key_id: String,
    /// The access key.
    pub secret_access_key: SecretString,
    /// The session token.
    pub session_token: SecretString,
    /// When they expire, by AWS's clock.
    pub expires_at: Timestamp,
}

impl fmt::Debug for RoleCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoleCredentials").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

type Key = (SignInName, Role);
type Fetched = Result<Arc<RoleCredentials>, Fault>;

/// What became of a request, once it is over.
type Flight = watch::Receiver<Option<Landed>>;

/// What became of a request.
#[derive(Clone)]
enum Landed {
    Fetched(Fetched),
    /// What it would have brought was to be forgotten meanwhile: ask again.
    Forgotten,
}

/// What is known of the credentials of one role.
#[derive(Default)]
struct Entry {
    held: Option<Held>,
    flight: Option<Flight>,
    /// Until then nobody is asked who is not needed.
    paused_until: Option<Instant>,
}

struct Held {
    credentials: Arc<RoleCredentials>,
    lifetime: Duration,
    /// When they expire if the wall clock is wrong by now.
    expires: Instant,
}

impl Held {
    fn new(credentials: Arc<RoleCredentials>, now: Now) -> Self {
        let lifetime = credentials.expires_at.since(now.wall);
        Self { credentials, lifetime, expires: now.mono + lifetime }
    }

    fn remaining(&self, now: Now) -> Duration {
        let by_wall = self.credentials.expires_at.since(now.wall);
        by_wall.min(self.expires.saturating_duration_since(now.mono))
    }

    /// Whether there is no need for others yet.
    fn is_fresh(&self, now: Now) -> bool {
        self.remaining(now) > EARLY.min(self.lifetime / 2)
    }

    /// Whether they will do until there are others.
    fn will_do(&self, now: Now) -> bool {
        self.remaining(now) > LATE.min(self.lifetime / 4)
    }

    fn is_over(&self, now: Now) -> bool {
        self.remaining(now).is_zero()
    }

    /// Themselves, unless they were over when they came.
    fn in_time(self, now: Now) -> Result<Self, Fault> {
        if self.is_over(now) {
            let detail =
                "AWS gave credentials that have expired already: is the clock of this machine right?";
            return Err(Fault::new(FaultKind::CredentialsInvalid { profile: String::new() }, detail));
        }
        Ok(self)
    }
}

/// Hands out credentials of roles.
pub struct CredentialBroker(Arc<Broker>);

struct Broker {
    portal: Arc<dyn PortalApi>,
    clock: Arc<dyn Clock>,
    entries: Mutex<BTreeMap<Key, Entry>>,
    /// How often the credentials of a sign-in were to be forgotten.
    forgotten: Mutex<BTreeMap<SignInName, u64>>,
}

impl CredentialBroker {
    /// A broker that has none yet.
    pub fn new(portal: Arc<dyn PortalApi>, clock: Arc<dyn Clock>) -> Self {
        let (entries, forgotten) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Broker { portal, clock, entries, forgotten }))
    }

    /// Credentials of a role that are good for a while. Old ones that still live are better than none, when new ones
    /// cannot be had for now.
    ///
    /// # Errors
    /// The fault that a login, a person or time has to end.
    pub async fn credentials(&self, sign_in: &SignInHandle, role: &Role) -> Fetched {
        let key = (sign_in.name().clone(), role.clone());
        loop {
            let mut flight = match self.0.held_or_flight(&key, sign_in) {
                Ok(held) => return Ok(held),
                Err(flight) => flight,
            };
            let landed = flight.wait_for(Option::is_some).await.map(|landed| landed.clone());
            match landed.ok().flatten() {
                Some(Landed::Fetched(outcome)) => return outcome,
                Some(Landed::Forgotten) => {}
                None => return Err(Fault::new(FaultKind::ShuttingDown, "")),
            }
        }
    }

    /// AWS did not accept these credentials: the next who asks gets others.
    pub fn rejected(&self, sign_in: &SignInName, role: &Role, credentials: &Arc<RoleCredentials>) {
        if let Some(entry) = self.0.entries().get_mut(&(sign_in.clone(), role.clone())) {
            entry.held.take_if(|held| Arc::ptr_eq(&held.credentials, credentials));
        }
    }

    /// Forgets everything that came from that sign-in, also what is on its way: whoever waits for it gets what comes of the
    /// sign-in from now on.
    pub fn forget(&self, sign_in: &SignInName) {
        self.0.entries().retain(|(name, _), _| name != sign_in);
        *self.0.forgotten().entry(sign_in.clone()).or_default() += 1;
    }

    /// Another number once everything that came from that sign-in was to be forgotten: whoever keeps what was made of it forgets
    /// that as well.
    pub fn generation(&self, sign_in: &SignInName) -> u64 {
        self.0.forgotten().get(sign_in).copied().unwrap_or_default()
    }
}

impl Broker {
    fn held_or_flight(
        self: &Arc<Self>,
        key: &Key,
        sign_in: &SignInHandle,
    ) -> Result<Arc<RoleCredentials>, Flight> {
        let now = self.now();
        let mut entries = self.entries();
        let entry = entries.entry(key.clone()).or_default();
        let held = entry.held.as_ref().filter(|held| !held.is_over(now));
        let paused = entry.paused_until.is_some_and(|until| now.mono < until);
        if let Some(held) = held.filter(|held| held.is_fresh(now) || paused) {
            return Ok(Arc::clone(&held.credentials));
        }
        let flight = entry.flight.get_or_insert_with(|| self.begin(key.clone(), sign_in.clone()));
        match held.filter(|held| held.will_do(now)) {
            Some(held) => Ok(Arc::clone(&held.credentials)),
            None => Err(flight.clone()),
        }
    }

    /// Asks, whoever waits for it.
    fn begin(self: &Arc<Self>, key: Key, sign_in: SignInHandle) -> Flight {
        let (landing, flight) = watch::channel(None);
        let (broker, tasks, name) = (Arc::clone(self), sign_in.tasks().clone(), sign_in.name().clone());
        let task = async move {
            let fetch = fetch(broker.portal.as_ref(), &sign_in, &key.1);
            let outcome = AssertUnwindSafe(fetch).catch_unwind().await;
            let outcome = outcome.unwrap_or_else(|panic| Err(Fault::internal(panic_message(panic.as_ref()))));
            let landed = broker.land(&key, &landing.subscribe(), outcome);
            landing.send_replace(Some(landed));
        };
        // Refused only while the daemon stops: then nothing lands.
        let _stopping = tasks.spawn_within("role credentials", move || span_of(&name), task);
        flight
    }

    /// Notes the outcome, unless it was to be forgotten meanwhile.
    fn land(&self, key: &Key, flight: &Flight, outcome: Fetched) -> Landed {
        let now = self.now();
        let mut entries = self.entries();
        let is_current =
            |entry: &&mut Entry| entry.flight.as_ref().is_some_and(|current| current.same_channel(flight));
        let Some(entry) = entries.get_mut(key).filter(is_current) else { return Landed::Forgotten };
        entry.flight = None;
        entry.paused_until = None;
        let outcome =
            outcome.map(|credentials| Held::new(credentials, now)).and_then(|held| held.in_time(now));
        let fault = match outcome {
            Ok(held) => {
                let credentials = Arc::clone(&held.credentials);
                entry.held = Some(held);
                return Landed::Fetched(Ok(credentials));
            }
            Err(fault) => fault,
        };
        if fault.recovery() == Recovery::FixByUser {
            entry.held = None;
        } else {
            entry.paused_until = Some(now.mono + PAUSE);
        }
        let living = entry.held.as_ref().filter(|held| !held.is_over(now));
        Landed::Fetched(living.map(|held| Arc::clone(&held.credentials)).ok_or(fault))
    }

    fn now(&self) -> Now {
        Now::read(self.clock.as_ref())
    }

    fn forgotten(&self) -> MutexGuard<'_, BTreeMap<SignInName, u64>> {
        self.forgotten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<Key, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn fetch(portal: &dyn PortalApi, sign_in: &SignInHandle, role: &Role) -> Fetched {
    let ask =
        |token: Arc<SsoToken>| async move { portal.role_credentials(sign_in.site(), &token, role).await };
    ask_portal(sign_in, |fault| no_assignment(fault, role), ask).await.map(Arc::new)
}

/// Asks the portal; once more with another token, if it does not accept the first. `denied` words its refusal.
pub(super) async fn ask_portal<T, F: Future<Output = Result<T, SsoError>>>(
    sign_in: &SignInHandle,
    denied: impl Fn(Fault) -> Fault,
    ask: impl Fn(Arc<SsoToken>) -> F,
) -> Result<T, Fault> {
    for _ in 0..2 {
        let UsableToken { generation, token } = sign_in.token().await?;
        let error = match ask(token).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        match portal_failure(error) {
            PortalFailure::TokenRejected => sign_in.rejected(generation).await,
            PortalFailure::NoAssignment(fault) => return Err(denied(fault)),
            PortalFailure::Invalid(fault)
            | PortalFailure::Throttled(fault)
            | PortalFailure::Unreachable(fault) => return Err(fault),
        }
    }
    // What the sign-in makes of the second refusal: usually that a login is needed.
    let detail = "AWS does not accept a token that was renewed a moment ago";
    sign_in.token().await.and(Err(Fault::new(FaultKind::Network, detail)))
}

/// Names what the administrator has to grant.
fn no_assignment(fault: Fault, role: &Role) -> Fault {
    let Role { account, name } = role;
    let detail = format!(
        "{}; ask your administrator to assign permission set {name} in account {account} to you",
        fault.detail
    );
    Fault { detail, ..fault }
}
