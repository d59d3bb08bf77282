//! Credentials out of what stands in a profile.
//!
//! Sign-ins ([`sign_in`]), roles ([`role`]) and programs ([`process`]) are ours: they have time limits, know
//! `mfa_serial` and `duration_seconds`, and fail with a [`Fault`] that [`credentials_fault`](crate::classify) passes on as it
//! is. The SDK knows the metadata services well enough.

mod login_session;
mod process;
mod role;
mod sign_in;
mod sts;
mod web_identity;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use secrecy::{ExposeSecret as _, SecretString};
use stormtunnel_aws_files::{Credentials, Endpoints, Source, SsoRole, StaticKeys};
use stormtunnel_engine::ports::{Clock, PortFuture};
use stormtunnel_engine::prompts::CodeQuestion;
use stormtunnel_engine::sign_in::actor::SignInHandle;
use stormtunnel_engine::sign_in::credentials::CredentialBroker;
use stormtunnel_model::{Fault, Region, SignInName};

use self::login_session::LoginSessionProvider;
use self::process::ProcessProvider;
use self::role::{Base, RoleProvider};
use self::sign_in::SignInProvider;
use self::web_identity::WebIdentityProvider;
use crate::credentials::{CachedCredentials, EARLY, FETCH_TIMEOUT, LATE, Manner};
use crate::network::AwsNetwork;

/// Finds the sign-in of a name, or says why there is none.
pub type FindSignIn = dyn Fn(&SignInName) -> Result<SignInHandle, Fault> + Send + Sync;

/// Asks a person for the code that an MFA device shows.
pub trait AskCode: Send + Sync {
    /// The code; a fault when nobody is there to type it, or nobody does in time. Dropped, the question is withdrawn.
    fn code<'a>(&'a self, question: CodeQuestion<'a>) -> PortFuture<'a, Result<SecretString, Fault>>;
}

/// What credentials of profiles are made with.
pub struct Providers {
    network: Arc<AwsNetwork>,
    broker: Arc<CredentialBroker>,
    sign_ins: Arc<FindSignIn>,
    codes: Arc<dyn AskCode>,
}

/// The credentials of one profile. Nothing is kept here but what a chain of roles begins with: each call fetches.
#[derive(Clone)]
pub struct ProfileCredentials {
    provider: SharedCredentialsProvider,
    sign_in: Option<Arc<SignInProvider>>,
    patience: Duration,
    /// How long before their end they are fetched anew; absent where the broker does that.
    margin: Option<Duration>,
    renews: bool,
}

impl Providers {
    /// Calls go through `network`; credentials of roles of IAM Identity Center come from `broker`.
    pub fn new(
        network: Arc<AwsNetwork>,
        broker: Arc<CredentialBroker>,
        sign_ins: Arc<FindSignIn>,
        codes: Arc<dyn AskCode>,
    ) -> Self {
        Self { network, broker, sign_ins, codes }
    }

    /// How often what came from that sign-in was to be forgotten.
    pub(crate) fn generation(&self, sign_in: &SignInName) -> u64 {
        self.broker.generation(sign_in)
    }

    /// What provides the credentials of a profile: its source, then one role after the other. STS is asked in `region`, at the
    /// endpoint that the profile or a setting names.
    ///
    /// # Errors
    /// `InvalidArgument` for an endpoint or for certificate authorities that cannot be used,
    /// `CredentialsInvalid` for a source that nobody here can read.
    pub async fn provider_for(
        &self,
        profile: &Credentials,
        endpoints: &Endpoints,
        region: &Region,
    ) -> Result<ProfileCredentials, Fault> {
        let mut credentials = self.source(profile, endpoints, region).await?;
        for role in &profile.roles {
            let base = Base::new(credentials.clone(), self.network.clock());
            let is_of_person = role.mfa_serial.is_some();
            let role = RoleProvider::new(&self.network, base, role, (endpoints, region), &self.codes).await?;
            credentials.patience += role.patience();
            credentials.renews = true;
            credentials.margin = if is_of_person { Some(LATE) } else { credentials.margin.or(Some(EARLY)) };
            credentials.provider = SharedCredentialsProvider::new(role);
        }
        Ok(credentials)
    }

    async fn source(
        &self,
        profile: &Credentials,
        endpoints: &Endpoints,
        region: &Region,
    ) -> Result<ProfileCredentials, Fault> {
        let route = self.network.route(Some(endpoints)).await?;
        let config = self.network.provider_config(region, &route)?;
        let container = || EcsCredentialsProvider::builder().configure(&config).build();
        let instance = || ImdsCredentialsProvider::builder().configure(&config).build();
        Ok(match &profile.source {
            Source::Sso(role) => self.through_sign_in(role),
            Source::Static(keys) => ProfileCredentials::of(static_keys(keys)).for_good(),
            Source::Process(process) => {
                let clock = Arc::clone(self.network.clock());
                let provider = ProcessProvider::new(process.clone(), profile.holder.clone(), clock);
                let credentials = ProfileCredentials::of(provider).within(process::TIMEOUT);
                ProfileCredentials { margin: Some(LATE), ..credentials }
            }
            Source::WebIdentity(identity) => {
                let of = (&profile.holder, endpoints, region);
                ProfileCredentials::of(WebIdentityProvider::new(&self.network, identity, of).await?)
            }
            Source::LoginSession(arn) => {
                let cache = self.network.environment().login_cache();
                let clock = self.network.clock();
                ProfileCredentials::of(LoginSessionProvider::new(cache, arn, &profile.holder, clock))
            }
            Source::Environment => {
                ProfileCredentials::of(EnvironmentVariableCredentialsProvider::new()).for_good()
            }
            Source::EcsContainer => ProfileCredentials::of(container()),
            Source::Ec2Metadata => ProfileCredentials::of(instance()),
            Source::Ambient => {
                let chain = CredentialsProviderChain::first_try("EcsContainer", container());
                ProfileCredentials::of(chain.or_else("Ec2InstanceMetadata", instance()))
            }
        })
    }

    fn through_sign_in(&self, role: &SsoRole) -> ProfileCredentials {
        let provider = Arc::new(SignInProvider::new(&self.broker, &self.sign_ins, role));
        let shared = Arc::clone(&provider) as Arc<dyn ProvideCredentials>;
        let credentials = ProfileCredentials::of(shared).within(sign_in::TIMEOUT);
        ProfileCredentials { sign_in: Some(provider), margin: None, ..credentials }
    }
}

fn static_keys(keys: &StaticKeys) -> Keys {
    let token = keys.session_token.as_ref().map(|token| token.expose_secret().to_owned());
    Keys::new(&*keys.access_key_id, keys.secret_access_key.expose_secret(), token, None, "profile")
}

impl ProfileCredentials {
    fn of(provider: impl ProvideCredentials + 'static) -> Self {
        Self {
            provider: SharedCredentialsProvider::new(provider),
            sign_in: None,
            patience: FETCH_TIMEOUT,
            margin: Some(EARLY),
            renews: true,
        }
    }

    fn within(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    fn for_good(self) -> Self {
        Self { renews: false, ..self }
    }

    /// Whether another fetch may bring others.
    pub fn renews(&self) -> bool {
        self.renews
    }

    /// The same, kept as long as they are good.
    pub(crate) fn cached(&self, clock: &Arc<dyn Clock>) -> CachedCredentials {
        let manner = Manner { timeout: self.patience, margin: self.margin };
        CachedCredentials::new(self.provider.clone(), Arc::clone(clock), manner)
    }

    /// How long a fetch may take: a program or a person may be part of it.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// AWS did not accept what was provided last: the next fetch gets others, where they come from a sign-in.
    pub fn rejected(&self) {
        if let Some(sign_in) = &self.sign_in {
            sign_in.rejected();
        }
    }
}

impl ProvideCredentials for ProfileCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        self.provider.provide_credentials()
    }
}

impl fmt::Debug for ProfileCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProfileCredentials").field("patience", &self.patience).finish_non_exhaustive()
    }
}
