//! The engine's ports in the real world, and how they hang together: the AWS files say which sign-ins and profiles there are,
//! sign-ins have tokens, tokens give credentials, and everything that calls AWS takes those.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};

use stormtunnel_aws::{
    AwsAccess, AwsDiagnosis, AwsEnvironment, AwsIdentity, AwsNetwork, AwsOidc, AwsPortal, AwsSsm, AwsTargets,
    ContainerFinder, Finders, InstanceFinder, Providers,
};
use stormtunnel_aws_files::tokens::CacheDirectory;
use stormtunnel_engine::Ports;
use stormtunnel_engine::doctor::Diagnostics;
use stormtunnel_engine::ports::{Clock, Entropy, Identity};
use stormtunnel_engine::profiles::registry::{ProfileWorld, Profiles};
use stormtunnel_engine::prompts::Prompts;
use stormtunnel_engine::sign_in::credentials::CredentialBroker;
use stormtunnel_engine::sign_in::machine::Notice;
use stormtunnel_engine::sign_in::policy::SignInPolicy;
use stormtunnel_engine::sign_in::ports::{SignInObserver, SignInPorts};
use stormtunnel_engine::sign_in::registry::{SignInWorld, SignIns};
use stormtunnel_engine::tasks::{Tasks, TasksClosed};
use stormtunnel_model::settings::Settings;
use stormtunnel_model::{Fault, FaultKind, SignInEvent, SignInName, Timestamp};
use tokio::sync::watch;

use crate::app::AppError;
use crate::aws_dir::{AwsDirectory, AwsPaths, ConfigWriter, WatchedProfiles, configured_sign_ins};
use crate::browser::{self, SystemBrowser};
use crate::derived::{derived, derived_of_both};
use crate::doctor::Surveyor;
use crate::keystore::{self, OpenedKeyStore};
use crate::local_network::SocketNetwork;
use crate::mfa::Persons;
use crate::power;
use crate::profiles;
use crate::sso_cache::SsoCache;
use crate::store::StoreHandle;
use crate::system::{SystemClock, SystemEntropy};
use crate::transport::WsDialer;

/// What the adapters are made from.
#[derive(Debug)]
pub struct Surroundings {
    /// Settings in force.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// Where the daemon keeps what is its own.
    pub state_dir: PathBuf,
    /// The database.
    pub store: StoreHandle,
    /// Local ports.
    pub network: SocketNetwork,
    /// Where adapters with tasks of their own start them.
    pub tasks: Tasks,
    /// Where sign-ins run, whose renewals are not to be cut off.
    pub sign_in_tasks: Tasks,
}

/// The ports, and what a person should know of them.
pub struct Adapters {
    /// The ports.
    pub ports: Ports,
    /// What persons are asked.
    pub prompts: Prompts,
    /// What looks at the surroundings.
    pub diagnostics: Arc<dyn Diagnostics>,
    /// One sentence each.
    pub warnings: Vec<String>,
}

/// Those of a real daemon.
///
/// # Errors
/// [`AppError`], when the machine has no random numbers or the daemon stops.
pub async fn of_system(surroundings: Surroundings) -> Result<Adapters, AppError> {
    // The only cryptography in this program; libraries that ask for the process's default get it too.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::new()?);
    let environment = AwsEnvironment::from_vars(|name| std::env::var(name).ok());
    let network = AwsNetwork::new(surroundings.settings.clone(), environment, Arc::clone(&clock));
    let portal = Arc::new(AwsPortal::new(Arc::clone(&network)));
    let broker = Arc::new(CredentialBroker::new(Arc::clone(&portal) as _, Arc::clone(&clock)));
    let files = aws_directory(&surroundings).await?;
    let choice = surroundings.settings.borrow().key_store;
    let OpenedKeyStore { store: keys, warnings } = keystore::open(choice, &surroundings.state_dir).await;
    let oidc = Arc::new(AwsOidc::new(Arc::clone(&network)));
    let made_access = Arc::new(OnceLock::new());
    let ports = SignInPorts {
        browser: Arc::new(system_browser(Arc::clone(&oidc), Arc::clone(&entropy))),
        oidc,
        cache: Arc::new(SsoCache::new(CacheDirectory::new(files.paths().sso_cache.clone()))),
        keys: Arc::clone(&keys),
        observer: Arc::new(Observer { broker: Arc::clone(&broker), access: Arc::clone(&made_access) }),
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
    };
    let sign_ins = start_sign_ins(ports, portal, &files, &surroundings)?;
    let found = sign_ins.clone();
    let settings = surroundings.settings.clone();
    let find =
        move |name: &SignInName| found.get(name).ok_or_else(|| not_configured(name, settings.borrow().sso));
    let prompts = Prompts::new(Arc::clone(&clock), entropy.seed());
    let providers =
        Providers::new(Arc::clone(&network), broker, Arc::new(find), Arc::new(Persons(prompts.clone())));
    let configured = profiles::follow(files.profiles(), &surroundings.tasks)?;
    let access =
        AwsAccess::new(Arc::clone(&network), Arc::new(WatchedProfiles(Arc::clone(&files))), providers);
    let _set_once = made_access.set(Arc::downgrade(&access));
    let diagnostics: Arc<dyn Diagnostics> = Arc::new(Surveyor {
        state_dir: surroundings.state_dir.clone(),
        files,
        aws: AwsDiagnosis::new(network, Arc::clone(&access), finders()),
        keys,
        settings: surroundings.settings.clone(),
        clock: Arc::clone(&clock),
    });
    let Surroundings { store, tasks, settings, network: local, .. } = surroundings;
    let identity: Arc<dyn Identity> = Arc::new(AwsIdentity::new(Arc::clone(&access)));
    let profiles = Profiles::start(ProfileWorld {
        identity: Arc::clone(&identity),
        configured,
        sign_ins: sign_ins.clone(),
        settings,
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
        tasks: tasks.clone(),
    })?;
    let ports = Ports {
        ssm: Arc::new(AwsSsm::new(Arc::clone(&access))),
        identity,
        targets: Arc::new(AwsTargets::new(Arc::clone(&access), finders())),
        dialer: Arc::new(WsDialer::new(access)),
        network: Arc::new(local),
        store: Arc::new(store.clone()),
        history: Arc::new(store),
        sign_ins,
        profiles,
        incidents: Arc::new(power::start(&tasks)?),
        clock,
        entropy,
    };
    Ok(Adapters { ports, prompts, diagnostics, warnings })
}

/// The AWS files, read and followed. What processes that were killed left of them goes first: it may hold a secret.
async fn aws_directory(surroundings: &Surroundings) -> Result<Arc<AwsDirectory>, AppError> {
    let home = std::env::home_dir().unwrap_or_default();
    let paths = AwsPaths::new(&home, |name| std::env::var_os(name));
    let region = derived("SSO region", &surroundings.tasks, surroundings.settings.clone(), |settings| {
        settings.sso_region.clone()
    })?;
    let now = SystemClock.wall();
    let opened = tokio::task::spawn_blocking(move || {
        sweep(&paths, now);
        AwsDirectory::open(paths, region)
    });
    let files = opened.await.map_err(|error| AppError::Task(error.to_string()))?;
    files.watch(&surroundings.tasks)?;
    Ok(files)
}

fn sweep(paths: &AwsPaths, now: Timestamp) {
    let directories = [&paths.config, &paths.credentials].map(|file| file.parent().unwrap_or(Path::new("/")));
    let swept = directories.iter().map(|directory| stormtunnel_aws_files::sweep(directory, now));
    let cache = CacheDirectory::new(paths.sso_cache.clone()).sweep(now);
    for error in swept.chain([cache]).filter_map(Result::err) {
        tracing::debug!(%error, "cannot clear up after a process that was killed");
    }
}

fn system_browser(oidc: Arc<AwsOidc>, entropy: Arc<dyn Entropy>) -> SystemBrowser {
    let display = browser::has_display(|name| std::env::var_os(name));
    SystemBrowser::new(Box::new(move |site| oidc.base_url(site)), entropy, display)
}

fn start_sign_ins(
    ports: SignInPorts,
    accounts: Arc<AwsPortal>,
    files: &Arc<AwsDirectory>,
    Surroundings { settings, tasks, sign_in_tasks, .. }: &Surroundings,
) -> Result<SignIns, TasksClosed> {
    let sources = (files.profiles(), settings.clone());
    let configured = derived_of_both("configured sign-ins", tasks, sources, |snapshot, settings| {
        Arc::new(configured_sign_ins(&snapshot.set, settings))
    })?;
    let policy = derived("sign-in policy", tasks, settings.clone(), |settings| SignInPolicy::of(settings))?;
    let config = Arc::new(ConfigWriter::new(Arc::clone(files), Arc::clone(&ports.clock)));
    let world = SignInWorld { ports, accounts, config, configured, policy, tasks: sign_in_tasks.clone() };
    let sign_ins = SignIns::start(world)?;
    tell_of_token_files(tasks, files, sign_ins.clone())?;
    Ok(sign_ins)
}

/// Has each sign-in look at its shared token file when that is another one.
fn tell_of_token_files(
    tasks: &Tasks,
    files: &Arc<AwsDirectory>,
    sign_ins: SignIns,
) -> Result<(), TasksClosed> {
    let mut tokens = files.tokens();
    let mut before = Arc::clone(&tokens.borrow_and_update());
    let cancel = tasks.cancelled().clone();
    tasks.spawn("shared tokens", async move {
        while let Some(Ok(())) = cancel.run_until_cancelled(tokens.changed()).await {
            let now = Arc::clone(&tokens.borrow_and_update());
            for sign_in in sign_ins.list() {
                if now.differ_from(&before, &sign_in.name)
                    && let Some(handle) = sign_ins.get(&sign_in.name)
                {
                    handle.shared_changed().await;
                }
            }
            before = now;
        }
    })?;
    Ok(())
}

/// A profile that is still being read names a sign-in that is not there yet.
fn not_configured(name: &SignInName, enabled: bool) -> Fault {
    let kind = FaultKind::SignInNotFound { sign_in: name.to_string() };
    if !enabled {
        return Fault::new(
            kind,
            "sso.enabled is false: `stctl settings set sso.enabled true` has the daemon sign in",
        );
    }
    Fault::new(
        kind,
        "the AWS files do not say where to sign in, or what they say is not valid: `stctl profiles` shows what is wrong",
    )
}

/// Forgets the credentials of a sign-in whose token is gone, and what was made of them.
struct Observer {
    broker: Arc<CredentialBroker>,
    /// Made later, of sign-ins among other things.
    access: Arc<OnceLock<Weak<AwsAccess>>>,
}

impl SignInObserver for Observer {
    // Told by the sign-in's own task, whose lines name it.
    fn notify(&self, _name: &SignInName, notice: &Notice) {
        tracing::info!(?notice, "a person is needed");
    }

    fn record(&self, _name: &SignInName, event: &SignInEvent) {
        tracing::debug!(?event, "sign-in");
    }

    fn forget_credentials(&self, name: &SignInName) {
        self.broker.forget(name);
        if let Some(access) = self.access.get().and_then(Weak::upgrade) {
            access.forget(name);
        }
    }
}

fn finders() -> Finders {
    Finders { instances: instances(), containers: containers() }
}

/// Looks instances up, where this daemon can.
#[cfg(feature = "ec2")]
fn instances() -> Option<Arc<dyn InstanceFinder>> {
    Some(Arc::new(stormtunnel_aws_ec2::Ec2Instances))
}

#[cfg(not(feature = "ec2"))]
fn instances() -> Option<Arc<dyn InstanceFinder>> {
    None
}

/// Looks containers up, where this daemon can.
#[cfg(feature = "ecs")]
fn containers() -> Option<Arc<dyn ContainerFinder>> {
    Some(Arc::new(stormtunnel_aws_ecs::EcsContainers))
}

#[cfg(not(feature = "ecs"))]
fn containers() -> Option<Arc<dyn ContainerFinder>> {
    None
}
