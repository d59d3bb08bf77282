//! What is wrong around the daemon: a list of checks, all at a time and each with a deadline, which is that of all.
//!
//! [`Diagnostics`] looks, [`judge`] decides what that means (pure), and [`Doctor`] puts them together. A check never waits for a
//! person and changes nothing, unless it is asked to mend modes of files.

pub mod judge;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{Stream, StreamExt as _};
use stormtunnel_model::{
    CheckedProfile, Fault, FaultKind, Finding, Outcome, Profile, ProfileState, Region, SignIn, Target,
    Timestamp,
};
use tokio::time::timeout;

use crate::handle::EngineHandle;
use crate::ports::{AwsScope, PortFuture};

/// How long one check may take: a token may have to be renewed, and one address be tried after the other.
const DEADLINE: Duration = Duration::from_secs(25);

/// How long AWS may take to tell whose the credentials of one profile are. The others are told in any case.
const CREDENTIALS: Duration = Duration::from_secs(20);

/// Addresses that are called at a time. One that does not answer takes its whole time, so hardly any should wait for it.
const AT_A_TIME: usize = 32;

/// A file or directory whose mode is wider than it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenPath {
    /// Where it is.
    pub path: PathBuf,
    /// Its mode, permission bits only.
    pub mode: u32,
    /// The mode that it should have at most.
    pub wanted: u32,
    /// It was given that mode just now; or why not, in the system's words.
    pub closed: Option<Result<(), String>>,
}

/// Whose files are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// The state directory and what is in it.
    State,
    /// The files that are shared with the AWS CLI.
    Aws,
}

/// An address that the daemon calls.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// What it is, such as `ssm eu-west-1`.
    pub name: String,
    /// Scheme, host and perhaps port.
    pub url: String,
    /// The profile whose certificate authorities count there, beside those of all calls.
    pub trusted_by: Option<Profile>,
}

/// What came of calling an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// The address.
    pub place: Place,
    /// The addresses of its name, if it was looked up: behind a proxy the proxy does that.
    pub resolved: Option<Result<(), String>>,
    /// What it answered to a plain request, whatever it was: its clock; or why nothing came.
    pub answer: Result<Option<Timestamp>, String>,
    /// Our clock at that time.
    pub at: Timestamp,
}

/// A proxy that the setting or a variable names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxySeen {
    /// The setting or the variable.
    pub variable: String,
    /// Host and port, without user and password.
    pub address: String,
    /// Whether it takes connections.
    pub answer: Result<(), String>,
}

/// Something of the desktop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Desktop {
    /// It is there: what.
    Found(String),
    /// There is no desktop here.
    None(String),
    /// There is one, and it lacks this: why.
    Broken(String),
}

/// Looks at the daemon's surroundings. Every call ends by itself, and soon.
pub trait Diagnostics: Send + Sync {
    /// What is open to others; with `close` it is closed.
    fn open_paths(&self, files: Files, close: bool) -> PortFuture<'_, Vec<OpenPath>>;
    /// Profiles with keys in a file that have no end.
    fn lasting_keys(&self) -> Vec<Profile>;
    /// The proxy that is named; a fault where what is named cannot be one.
    fn proxy(&self) -> PortFuture<'_, Result<Option<ProxySeen>, Fault>>;
    /// What is wrong with the certificate authorities that are to be trusted.
    fn authorities(&self) -> PortFuture<'_, Vec<Fault>>;
    /// Whether there is a profile, or are credentials, for whoever names no profile.
    fn has_default(&self) -> bool;
    /// The addresses of AWS that calls for that scope and those targets go to.
    fn places<'a>(
        &'a self,
        scope: &'a AwsScope,
        targets: &'a [Target],
    ) -> PortFuture<'a, Result<Vec<Place>, Fault>>;
    /// The addresses of AWS that a sign-in goes to.
    fn places_of_sign_in<'a>(&'a self, sign_in: &'a SignIn) -> PortFuture<'a, Result<Vec<Place>, Fault>>;
    /// Calls an address, as all calls to AWS are made, without credentials.
    fn visit<'a>(&'a self, place: &'a Place) -> PortFuture<'a, Visit>;
    /// What opens login pages.
    fn browser(&self) -> Desktop;
    /// What shows notifications.
    fn notifications(&self) -> PortFuture<'_, Desktop>;
    /// Whether the key store gives out what it keeps.
    fn key_store(&self) -> PortFuture<'_, Result<(), Fault>>;
    /// The last lines of the log, at most so many.
    fn log(&self, lines: usize) -> PortFuture<'_, Result<Vec<String>, Fault>>;
}

/// Runs checks. Cheap to clone.
#[derive(Clone)]
pub struct Doctor {
    diagnostics: Arc<dyn Diagnostics>,
    engine: EngineHandle,
}

impl fmt::Debug for Doctor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doctor").finish_non_exhaustive()
    }
}

/// Checks that look together, and the ids of what they find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    State,
    Aws,
    Profiles,
    Keys,
    Credentials,
    SignIns,
    StartUrls,
    Endpoints,
    Proxy,
    Authorities,
    Browser,
    Notifications,
    KeyStore,
    Ports,
}

impl Group {
    const ALL: [Self; 14] = [
        Self::State,
        Self::Aws,
        Self::Profiles,
        Self::Keys,
        Self::SignIns,
        Self::KeyStore,
        Self::Ports,
        Self::Proxy,
        Self::Authorities,
        Self::Browser,
        Self::Notifications,
        Self::Endpoints,
        Self::StartUrls,
        Self::Credentials,
    ];

    fn id(self) -> &'static str {
        match self {
            Self::State => judge::STATE_FILES.0,
            Self::Aws => judge::AWS_FILES.0,
            Self::Profiles => judge::PROFILES.0,
            Self::Keys => judge::KEYS.0,
            Self::Credentials => judge::CREDENTIALS.0,
            Self::SignIns => judge::SIGN_INS.0,
            Self::StartUrls => judge::START_URLS.0,
            Self::Endpoints => judge::ENDPOINTS.0,
            Self::Proxy => judge::PROXY.0,
            Self::Authorities => judge::AUTHORITIES.0,
            Self::Browser => judge::BROWSER.0,
            Self::Notifications => judge::NOTIFICATIONS.0,
            Self::KeyStore => judge::KEY_STORE.0,
            Self::Ports => judge::PORTS.0,
        }
    }
}

impl Doctor {
    /// Looks through `diagnostics` and at what the engine knows.
    pub fn new(diagnostics: Arc<dyn Diagnostics>, engine: EngineHandle) -> Self {
        Self { diagnostics, engine }
    }

    /// All findings, each as its check ends. Dropping the stream ends the checks.
    pub fn run(self, fix: bool) -> impl Stream<Item = Finding> + Send + 'static {
        let groups = futures_util::stream::iter(Group::ALL).map(move |group| {
            let doctor = self.clone();
            async move {
                let found = timeout(DEADLINE, doctor.findings(group, fix)).await;
                found.unwrap_or_else(|_elapsed| vec![late(group)])
            }
        });
        groups.buffer_unordered(Group::ALL.len()).flat_map(futures_util::stream::iter)
    }

    /// The last lines of the log.
    ///
    /// # Errors
    /// `Internal` when the file cannot be read.
    pub async fn log(&self, lines: usize) -> Result<Vec<String>, Fault> {
        self.diagnostics.log(lines).await
    }

    async fn findings(&self, group: Group, fix: bool) -> Vec<Finding> {
        let look = &self.diagnostics;
        let one = match group {
            Group::State => judge::files(judge::STATE_FILES, &look.open_paths(Files::State, fix).await),
            Group::Aws => judge::files(judge::AWS_FILES, &look.open_paths(Files::Aws, fix).await),
            Group::Profiles => judge::profiles(&self.engine.profiles().list().problems),
            Group::Keys => judge::keys(&look.lasting_keys()),
            Group::Credentials => judge::credentials(&self.checked().await),
            Group::SignIns => judge::sign_ins(&self.engine.sign_ins().list()),
            Group::StartUrls => judge::start_urls(&self.visits(self.start_urls()).await),
            Group::Endpoints => {
                let (places, faults) = self.places().await;
                return judge::network(&self.visits(places).await, &faults);
            }
            Group::Proxy => judge::proxy(look.proxy().await),
            Group::Authorities => judge::authorities(&look.authorities().await),
            Group::Browser => judge::browser(look.browser()),
            Group::Notifications => judge::notifications(look.notifications().await),
            Group::KeyStore => judge::key_store(look.key_store().await),
            Group::Ports => judge::ports(&self.engine.list()),
        };
        vec![one]
    }

    /// The scopes that tunnels use, each with their targets; where there is no tunnel the default one, if there is any.
    fn scopes(&self) -> BTreeMap<(Option<Profile>, Option<Region>), Vec<Target>> {
        let mut scopes: BTreeMap<_, Vec<Target>> = BTreeMap::new();
        for tunnel in self.engine.list() {
            scopes.entry((tunnel.spec.profile, tunnel.spec.region)).or_default().push(tunnel.spec.target);
        }
        if scopes.is_empty() && self.diagnostics.has_default() {
            scopes.insert((None, None), Vec::new());
        }
        scopes
    }

    /// The addresses that tunnels and sign-ins need.
    async fn places(&self) -> (Vec<Place>, Vec<Fault>) {
        let mut found = Vec::new();
        for ((profile, region), targets) in self.scopes() {
            found.push(self.diagnostics.places(&AwsScope { profile, region }, &targets).await);
        }
        for sign_in in self.engine.sign_ins().list() {
            found.push(self.diagnostics.places_of_sign_in(&sign_in).await);
        }
        let (mut places, mut faults) = (BTreeSet::new(), Vec::new());
        for found in found {
            match found {
                Ok(found) => places.extend(found),
                Err(fault) => faults.push(fault),
            }
        }
        (places.into_iter().collect(), faults)
    }

    fn start_urls(&self) -> Vec<Place> {
        let place = |sign_in: SignIn| Place {
            name: sign_in.name.to_string(),
            url: sign_in.start_url,
            trusted_by: None,
        };
        self.engine.sign_ins().list().into_iter().map(place).collect()
    }

    async fn visits(&self, places: Vec<Place>) -> Vec<Visit> {
        let visits = futures_util::stream::iter(places).map(|place| {
            let look = Arc::clone(&self.diagnostics);
            async move { look.visit(&place).await }
        });
        visits.buffered(AT_A_TIME).collect().await
    }

    /// What AWS says of the profiles in use. One that would bother a person is not asked about.
    async fn checked(&self) -> Vec<(Option<Profile>, Result<CheckedProfile, Fault>)> {
        let profiles: BTreeSet<Option<Profile>> =
            self.scopes().into_keys().map(|(profile, _)| profile).collect();
        let known = self.engine.profiles().list().profiles;
        let bothers = |name: &Option<Profile>| {
            known.iter().any(|profile| {
                Some(&profile.name) == name.as_ref()
                    && matches!(profile.state, ProfileState::Unchecked { .. })
            })
        };
        let asked = profiles.into_iter().filter(|name| !bothers(name)).map(|name| {
            let profiles = self.engine.profiles().clone();
            async move {
                let late = || format!("AWS did not answer within {} s", CREDENTIALS.as_secs());
                let checked = timeout(CREDENTIALS, profiles.check(name.clone())).await;
                (name, checked.unwrap_or_else(|_elapsed| Err(Fault::new(FaultKind::Network, late()))))
            }
        });
        join_all(asked).await
    }
}

fn late(group: Group) -> Finding {
    let detail = format!("it did not end within {} s", DEADLINE.as_secs());
    Finding::new(group.id(), "a check", Outcome::Fail, detail)
        .with_remedy("repeat the command when the network and the machine are less busy")
}
