//! What `stctl doctor` looks at, in the real world.

mod files;
mod log;
mod surroundings;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use stormtunnel_aws::AwsDiagnosis;
use stormtunnel_aws_files::Source;
use stormtunnel_engine::doctor::{Desktop, Diagnostics, Files, OpenPath, Place, ProxySeen, Visit};
use stormtunnel_engine::ports::{AwsScope, Clock, PortFuture};
use stormtunnel_engine::sign_in::ports::KeyStore;
use stormtunnel_model::settings::Settings;
use stormtunnel_model::{Fault, Profile, SignIn, SignInName, Target};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::aws_dir::AwsDirectory;
use crate::notify;

/// How long one address may take to answer.
const VISIT: Duration = Duration::from_secs(10);

/// The log of a daemon in the background, in the state directory.
const LOG: &str = "stormtunneld.log";

/// A sign-in that nobody has: asking for its token tells whether the key store answers.
const NOBODY: &str = "stormtunnel-doctor";

/// What the daemon sees of its surroundings.
pub struct Surveyor {
    /// Where the daemon keeps what is its own.
    pub state_dir: PathBuf,
    /// The files shared with the AWS CLI.
    pub files: Arc<AwsDirectory>,
    /// The way to AWS.
    pub aws: AwsDiagnosis,
    /// Where tokens are kept.
    pub keys: Arc<dyn KeyStore>,
    /// Settings in force.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Diagnostics for Surveyor {
    fn open_paths(&self, which: Files, close: bool) -> PortFuture<'_, Vec<OpenPath>> {
        let wanted = match which {
            Files::State => files::of_state(&self.state_dir),
            Files::Aws => files::of_aws(self.files.paths()),
        };
        let user = rustix::process::geteuid().as_raw();
        Box::pin(async move {
            let looked = tokio::task::spawn_blocking(move || files::open_among(wanted, user, close)).await;
            looked.unwrap_or_default()
        })
    }

    fn lasting_keys(&self) -> Vec<Profile> {
        let profiles = self.files.profiles();
        let set = Arc::clone(&profiles.borrow().set);
        let lasts = |credentials: &stormtunnel_aws_files::Credentials| matches!(&credentials.source, Source::Static(keys) if keys.session_token.is_none());
        let kept = set.profiles().filter(|(_, found)| found.credentials.as_ref().is_ok_and(lasts));
        kept.map(|(name, _)| name.clone()).collect()
    }

    fn proxy(&self) -> PortFuture<'_, Result<Option<ProxySeen>, Fault>> {
        Box::pin(async move {
            match self.aws.proxy()? {
                Some(proxy) => Ok(Some(surroundings::proxy(&proxy).await)),
                None => Ok(None),
            }
        })
    }

    fn authorities(&self) -> PortFuture<'_, Vec<Fault>> {
        Box::pin(self.aws.authorities())
    }

    fn has_default(&self) -> bool {
        self.aws.has_default()
    }

    fn places<'a>(
        &'a self,
        scope: &'a AwsScope,
        targets: &'a [Target],
    ) -> PortFuture<'a, Result<Vec<Place>, Fault>> {
        Box::pin(self.aws.places(scope, targets))
    }

    fn places_of_sign_in<'a>(&'a self, sign_in: &'a SignIn) -> PortFuture<'a, Result<Vec<Place>, Fault>> {
        Box::pin(self.aws.places_of_sign_in(sign_in))
    }

    fn visit<'a>(&'a self, place: &'a Place) -> PortFuture<'a, Visit> {
        Box::pin(async move {
            let resolved = async {
                // Names are the proxy's to look up then.
                if self.aws.is_proxied(place) { None } else { Some(surroundings::resolve(&place.url).await) }
            };
            let answer = async {
                let answer = timeout(VISIT, self.aws.visit(place)).await;
                let late = || Err(format!("no answer within {} s", VISIT.as_secs()));
                (answer.unwrap_or_else(|_elapsed| late()), self.clock.wall())
            };
            let (resolved, (answer, at)) = tokio::join!(resolved, answer);
            Visit { place: place.clone(), resolved, answer, at }
        })
    }

    fn browser(&self) -> Desktop {
        surroundings::browser(|name| std::env::var_os(name))
    }

    fn notifications(&self) -> PortFuture<'_, Desktop> {
        Box::pin(async move {
            if !self.settings.borrow().notifications {
                return Desktop::None("they are switched off (notifications.enabled)".to_owned());
            }
            notify::presence(|name| std::env::var_os(name)).await
        })
    }

    fn key_store(&self) -> PortFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            let Ok(name) = NOBODY.parse::<SignInName>() else { return Ok(()) };
            self.keys.token(&name).await.map(drop)
        })
    }

    fn log(&self, lines: usize) -> PortFuture<'_, Result<Vec<String>, Fault>> {
        let path = self.state_dir.join(LOG);
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || log::tail(&path, lines)).await;
            let read = read.map_err(|error| Fault::internal(error.to_string()))?;
            read.map_err(|error| Fault::internal(format!("the log cannot be read: {error}")))
        })
    }
}
