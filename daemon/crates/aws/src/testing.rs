//! AWS files in a directory, and everything on top of them, and a server in the place of AWS: for tests of this crate and of those
//! above it.

mod server;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::SecretString;
use stormtunnel_aws_files::{ProfileFile, ProfileSet};
use stormtunnel_engine::ports::{Clock, PortFuture};
use stormtunnel_engine::prompts::CodeQuestion;
use stormtunnel_engine::sign_in::credentials::CredentialBroker;
use stormtunnel_model::settings::Settings;
use stormtunnel_model::{Fault, FaultKind, SignInName};
use tokio::sync::watch;

use crate::{AskCode, AwsAccess, AwsEnvironment, AwsNetwork, AwsPortal, ProfileSource, Providers};

pub use server::{Reply, ScriptedServer};

/// The files `config` and `credentials` of a directory, read at each use.
#[derive(Debug)]
pub struct FileProfiles(pub PathBuf);

impl ProfileSource for FileProfiles {
    fn current(&self) -> Arc<ProfileSet> {
        let [config, credentials] = ["config", "credentials"].map(|name| {
            let path = self.0.join(name);
            ProfileFile::new(&path, std::fs::read(&path).unwrap_or_default())
        });
        Arc::new(ProfileSet::parse(&config, &credentials, None))
    }

    fn look_again(&self) -> PortFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn files(&self) -> Vec<PathBuf> {
        ["config", "credentials"].map(|name| self.0.join(name)).into()
    }
}

/// Nobody, who types nothing.
#[derive(Debug)]
pub struct Nobody;

impl AskCode for Nobody {
    fn code<'a>(&'a self, question: CodeQuestion<'a>) -> PortFuture<'a, Result<SecretString, Fault>> {
        let kind = FaultKind::CredentialsInvalid { profile: question.profile.to_string() };
        Box::pin(std::future::ready(Err(Fault::new(kind, "nobody is there to type a code"))))
    }
}

/// AWS with the files of a directory, where nobody signs in.
pub fn access(
    settings: watch::Receiver<Arc<Settings>>,
    environment: AwsEnvironment,
    files: &Path,
    clock: Arc<dyn Clock>,
) -> Arc<AwsAccess> {
    let network = AwsNetwork::new(settings, environment, Arc::clone(&clock));
    let portal = Arc::new(AwsPortal::new(Arc::clone(&network)));
    let broker = Arc::new(CredentialBroker::new(portal, clock));
    let nobody = |name: &SignInName| {
        Err(Fault::new(FaultKind::SignInNeeded { sign_in: name.to_string() }, "nobody signs in here"))
    };
    let providers = Providers::new(Arc::clone(&network), broker, Arc::new(nobody), Arc::new(Nobody));
    AwsAccess::new(network, Arc::new(FileProfiles(files.to_owned())), providers)
}
