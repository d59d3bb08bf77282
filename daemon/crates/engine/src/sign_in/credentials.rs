//! Credentials of roles that come from sign-ins: one set per sign-in, account and role, fetched once for all who ask.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::Shared;
use secrecy::SecretString;
use stormtunnel_model::{Fault, FaultKind, Recovery, SignInName, Timestamp};

use super::actor::{SignInHandle, UsableToken};
use super::classify::{PortalFailure, portal_failure};
use super::ports::PortalApi;
use crate::clock::Now;
use crate::ports::Clock;
use crate::tasks::panic_message;

/// Credentials with less left are fetched anew: botocore does the same at 15 minutes, and would ask for each of its calls
/// otherwise.
pub const EARLY: Duration = Duration::from_secs(20 * 60);

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
type Flight = Shared<Pin<Box<dyn Future<Output = Fetched> + Send>>>;

/// What is known of the credentials of one role.
#[derive(Default)]
struct Entry {
    held: Option<Held>,
    flight: Option<Flight>,
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
}

/// Hands out credentials of roles.
pub struct CredentialBroker {
    portal: Arc<dyn PortalApi>,
    clock: Arc<dyn Clock>,
    entries: Mutex<BTreeMap<Key, Entry>>,
}

impl CredentialBroker {
    /// A broker that has none yet.
    pub fn new(portal: Arc<dyn PortalApi>, clock: Arc<dyn Clock>) -> Self {
        Self { portal, clock, entries: Mutex::default() }
    }

    /// Credentials of a role that are good for a while. Old ones that still live are better than none, when new ones
    /// cannot be had for now.
    ///
    /// # Errors
    /// The fault that a login, a person or time has to end.
    pub async fn credentials(&self, sign_in: &SignInHandle, role: &Role) -> Fetched {
        let key = (sign_in.name().clone(), role.clone());
        let flight = match self.held_or_flight(&key, sign_in) {
            Ok(held) => return Ok(held),
            Err(flight) => flight,
        };
        let outcome = flight.clone().await;
        self.land(&key, &flight, outcome)
    }

    /// AWS did not accept these credentials: the next who asks gets others.
    pub fn rejected(&self, sign_in: &SignInName, role: &Role, credentials: &Arc<RoleCredentials>) {
        if let Some(entry) = self.entries().get_mut(&(sign_in.clone(), role.clone())) {
            entry.held.take_if(|held| Arc::ptr_eq(&held.credentials, credentials));
        }
    }

    /// Forgets everything that came from that sign-in, also what is on its way.
    pub fn forget(&self, sign_in: &SignInName) {
        self.entries().retain(|(name, _), _| name != sign_in);
    }

    fn held_or_flight(&self, key: &Key, sign_in: &SignInHandle) -> Result<Arc<RoleCredentials>, Flight> {
        let now = self.now();
        let mut entries = self.entries();
        let entry = entries.entry(key.clone()).or_default();
        match &entry.held {
            Some(held) if held.is_fresh(now) => Ok(Arc::clone(&held.credentials)),
            Some(_) | None => {
                let begin = || self.begin(sign_in.clone(), key.1.clone());
                Err(entry.flight.get_or_insert_with(begin).clone())
            }
        }
    }

    fn begin(&self, sign_in: SignInHandle, role: Role) -> Flight {
        let portal = Arc::clone(&self.portal);
        let fetch = async move { fetch(portal.as_ref(), &sign_in, &role).await };
        let guarded = AssertUnwindSafe(fetch).catch_unwind().map(|outcome| {
            outcome.unwrap_or_else(|panic| Err(Fault::internal(panic_message(panic.as_ref()))))
        });
        (Box::pin(guarded) as Pin<Box<dyn Future<Output = Fetched> + Send>>).shared()
    }

    /// The first who hears of the outcome notes it, unless it was to be forgotten meanwhile.
    fn land(&self, key: &Key, flight: &Flight, outcome: Fetched) -> Fetched {
        let now = self.now();
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(key) else { return outcome };
        if entry.flight.as_ref().is_some_and(|current| current.ptr_eq(flight)) {
            entry.flight = None;
            if let Ok(credentials) = &outcome {
                entry.held = Some(Held::new(Arc::clone(credentials), now));
            }
        }
        let living = entry.held.as_ref().filter(|held| !held.remaining(now).is_zero());
        match (outcome, living) {
            (Err(fault), Some(held)) if fault.recovery() != Recovery::FixByUser => {
                Ok(Arc::clone(&held.credentials))
            }
            (outcome, _) => outcome,
        }
    }

    fn now(&self) -> Now {
        Now::read(self.clock.as_ref())
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<Key, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the portal; once more with another token, if it does not accept the first.
async fn fetch(portal: &dyn PortalApi, sign_in: &SignInHandle, role: &Role) -> Fetched {
    for _ in 0..2 {
        let UsableToken { generation, token } = sign_in.token().await?;
        let error = match portal.role_credentials(sign_in.site(), &token, role).await {
            Ok(credentials) => return Ok(Arc::new(credentials)),
            Err(error) => error,
        };
        match portal_failure(error) {
            PortalFailure::TokenRejected => sign_in.rejected(generation).await,
            PortalFailure::NoAssignment(fault) => return Err(no_assignment(fault, role)),
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
