//! Which credentials, region and endpoints a tunnel gets, and the clients made of them.

use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_config::identity::IdentityCache;
use aws_config::retry::RetryConfig;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_ssm::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_types::SdkConfig;
use http::HeaderMap;
use secrecy::ExposeSecret as _;
use stormtunnel_aws_files::{Endpoints as ProfileEndpoints, Profile as FileProfile, ProfileSet};
use stormtunnel_engine::ports::{AwsScope, Clock, PortFuture, SessionGrant};
use stormtunnel_model::{Fault, FaultKind, Profile, Region, SignInName};

use crate::address::ChannelAddress;
use crate::chosen::{Chosen, not_found};
use crate::classify::{Call, Subject, api_fault, credentials_fault, is_missing, upgrade_fault};
use crate::credentials::{CachedCredentials, wall_time};
use crate::endpoint::EndpointGuard;
use crate::identity::Caller;
use crate::network::{AwsNetwork, Endpoints, MAX_ATTEMPTS, Route, at_endpoint, timeouts};
use crate::providers::{ProfileCredentials, Providers};
use crate::proxy::Proxy;
use crate::signer::{secrets_of, sign_upgrade};

const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(20);

/// The profiles, as the AWS files have them.
pub trait ProfileSource: Send + Sync {
    /// What was read last.
    fn current(&self) -> Arc<ProfileSet>;
    /// Looks at the files, for whoever misses something that may have been written a moment ago.
    fn look_again(&self) -> PortFuture<'_, ()>;
    /// The files, for people.
    fn files(&self) -> Vec<PathBuf>;
}

/// Everything AWS for all tunnels: one client and one set of credentials per profile and region.
///
/// They are made anew when the profile, the endpoints or the certificate authorities change, and when AWS refuses the
/// credentials, so that a corrected file counts from the next call on. A profile that nobody touched keeps its own.
pub struct AwsAccess {
    network: Arc<AwsNetwork>,
    profiles: Arc<dyn ProfileSource>,
    providers: Providers,
    clients: Mutex<Clients>,
}

/// By profile and region, each with what it was made of.
type Clients = HashMap<(Option<Profile>, Region), (Inputs, Arc<ScopedClient>)>;

/// What a client is made of, besides its region. No `Debug`: keys are in it.
#[derive(PartialEq, Eq)]
struct Inputs {
    profile: FileProfile,
    /// After a logout nothing is used that was had before it, nor what was made of it.
    generation: u64,
    route: Route,
    endpoints: Endpoints,
}

/// A client with the credentials that it uses.
pub(crate) struct ScopedClient {
    pub(crate) ssm: aws_sdk_ssm::Client,
    /// For the clients of other services: credentials, region, HTTP client.
    pub(crate) config: SdkConfig,
    pub(crate) endpoints: Endpoints,
    pub(crate) credentials: CachedCredentials,
    provider: ProfileCredentials,
    /// Whose these are.
    pub(crate) caller: tokio::sync::Mutex<Option<Caller>>,
    pub(crate) subject: Subject,
}

/// How a data channel leaves this network.
pub struct WayOut {
    /// Certificate authorities to trust beside the system's (PEM).
    pub extra_roots: Option<Vec<u8>>,
    /// What to connect through; none where the channel is reached directly.
    pub proxy: Option<Proxy>,
}

/// The answer to an upgrade that was not `101 Switching Protocols`.
pub struct UpgradeRefusal<'a> {
    /// HTTP status.
    pub status: u16,
    /// Header `x-amzn-ErrorType`.
    pub error_type: Option<&'a str>,
    /// The body as far as it came.
    pub body: &'a [u8],
}

impl AwsAccess {
    /// The profiles of `profiles`, each with the credentials that `providers` make of it.
    pub fn new(
        network: Arc<AwsNetwork>,
        profiles: Arc<dyn ProfileSource>,
        providers: Providers,
    ) -> Arc<Self> {
        Arc::new(Self { network, profiles, providers, clients: Mutex::default() })
    }

    /// Checks the grant's `StreamUrl`, and says where to connect.
    ///
    /// # Errors
    /// [`FaultKind::PeerViolation`] for a URL that must not get the token, [`FaultKind::InvalidArgument`] for a
    /// configured endpoint that cannot be used.
    pub fn channel_address(&self, grant: &SessionGrant) -> Result<ChannelAddress, Fault> {
        let endpoint = self.network.channel_endpoint()?;
        ChannelAddress::check(&grant.stream_url, &grant.region, endpoint.as_ref())
    }

    /// How to get to a data channel: what its profile trusts, and the proxy to it.
    ///
    /// # Errors
    /// [`FaultKind::InvalidArgument`] when a file with certificates cannot be read or holds none, or when a variable names no HTTP
    /// proxy; faults of the profile.
    pub async fn way_out(&self, scope: &AwsScope, address: &ChannelAddress) -> Result<WayOut, Fault> {
        let settings = self.network.settings();
        let chosen = self.chosen(scope, settings.default_profile.as_ref()).await?;
        let extra_roots = self.network.extra_roots(Some(&chosen.profile.endpoints)).await?;
        let proxies = self.network.proxies()?;
        let proxy = proxies.way_to(address.is_tls(), address.host(), address.port()).cloned();
        Ok(WayOut { extra_roots, proxy })
    }

    /// How calls of that profile get to AWS.
    pub(crate) async fn route(&self, profile: &Profile) -> Result<Route, Fault> {
        let chosen = self.chosen(&AwsScope { profile: Some(profile.clone()), region: None }, None).await?;
        self.network.route(Some(&chosen.profile.endpoints)).await
    }

    /// Whether anything is known of whoever names no profile, besides what a container or an instance may give.
    pub(crate) fn has_default(&self) -> bool {
        let environment = self.network.environment();
        let profiles = self.profiles.current();
        let chained = || environment.chain_profile().parse::<Profile>().ok();
        self.network.settings().default_profile.is_some()
            || environment.has_keys()
            || environment.web_identity().is_some()
            || chained().is_some_and(|name| profiles.profile(&name).is_some())
    }

    /// The profiles that trust certificate authorities of their own, each with what it says of its calls.
    pub(crate) fn trusting(&self) -> Vec<(Profile, ProfileEndpoints)> {
        let profiles = self.profiles.current();
        let trusting = profiles.profiles().filter(|(_, found)| found.endpoints.ca_bundle.is_some());
        trusting.map(|(name, found)| (name.clone(), found.endpoints.clone())).collect()
    }

    /// The headers that sign the upgrade; none when the URL is signed already, or when there are no credentials to
    /// sign with (the gateway then decides by the token alone).
    ///
    /// # Errors
    /// Faults of the profile and its credentials.
    pub async fn sign_upgrade(
        &self,
        scope: &AwsScope,
        region: &Region,
        address: &ChannelAddress,
    ) -> Result<HeaderMap, Fault> {
        if address.is_presigned() {
            return Ok(HeaderMap::new());
        }
        let client = self.client(&in_region(scope, region)).await?;
        match client.credentials.current().await {
            Ok(credentials) => sign_upgrade(address, region, &credentials, wall_time(self.clock().as_ref())),
            Err(error) if is_missing(&error) => {
                tracing::debug!("no credentials: the data channel's upgrade is not signed");
                Ok(HeaderMap::new())
            }
            Err(error) => Err(credentials_fault(&error, &client.subject, &[])),
        }
    }

    /// The fault behind a refused upgrade. Nothing of the token and the `signed` headers gets into it, even if the
    /// answer repeats them.
    pub async fn upgrade_refused(
        &self,
        scope: &AwsScope,
        grant: &SessionGrant,
        signed: &HeaderMap,
        refusal: &UpgradeRefusal<'_>,
    ) -> Fault {
        let client = match self.client(&in_region(scope, &grant.region)).await {
            Ok(client) => client,
            Err(fault) => return fault,
        };
        let mut secrets = secrets_of(signed);
        secrets.push(grant.token.expose_secret());
        let body = String::from_utf8_lossy(refusal.body);
        let fault = upgrade_fault(refusal.status, refusal.error_type, &body, &client.subject, &secrets);
        self.noticed(&client, fault)
    }

    /// Whether others may do in the place of credentials that AWS refused: those that stand in a file or in the environment stay
    /// what they are.
    pub async fn may_renew(&self, scope: &AwsScope, region: &Region, refused: &Fault) -> bool {
        let is_refused = matches!(refused.kind, FaultKind::CredentialsInvalid { .. });
        is_refused
            && self.client(&in_region(scope, region)).await.is_ok_and(|client| client.provider.renews())
    }

    /// Calls AWS, and once more with other credentials if it refused those that it knew to be expired, revoked or of another time.
    /// `attempt` is made with credentials that are there.
    pub(crate) async fn call<T, F>(
        &self,
        scope: &AwsScope,
        attempt: impl Fn(Arc<ScopedClient>) -> F,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let client = self.ready_client(scope).await?;
        match attempt(Arc::clone(&client)).await {
            Err(Fault { kind: FaultKind::CredentialsInvalid { .. }, .. }) if client.provider.renews() => {
                attempt(self.ready_client(scope).await?).await
            }
            outcome => outcome,
        }
    }

    /// The client of that profile and region.
    pub(crate) async fn client(&self, scope: &AwsScope) -> Result<Arc<ScopedClient>, Fault> {
        self.network.environment().check_endpoints()?;
        let settings = self.network.settings();
        let chosen = self.chosen(scope, settings.default_profile.as_ref()).await?;
        let region = chosen.region(scope, &settings, self.network.environment())?;
        let sign_in = chosen.profile.sign_in.as_ref();
        let inputs = Inputs {
            generation: sign_in.map_or(0, |name| self.providers.generation(name)),
            route: self.network.route(Some(&chosen.profile.endpoints)).await?,
            endpoints: self.network.endpoints(&chosen.profile.endpoints)?,
            profile: chosen.profile.clone(),
        };
        let key = (chosen.name.clone(), region);
        let made = |clients: &Clients| {
            let same = clients.get(&key).filter(|(made_of, _)| *made_of == inputs);
            same.map(|(_, client)| Arc::clone(client))
        };
        if let Some(client) = made(&self.clients()) {
            return Ok(client);
        }
        let client = Arc::new(self.load(&chosen, &key.1, &inputs).await?);
        let mut clients = self.clients();
        // Somebody may have been faster; then there is one set of credentials all the same.
        if let Some(first) = made(&clients) {
            return Ok(first);
        }
        clients.insert(key, (inputs, Arc::clone(&client)));
        Ok(client)
    }

    /// Wipes what was made of a sign-in.
    pub fn forget(&self, sign_in: &SignInName) {
        self.clients().retain(|_, (made_of, _)| made_of.profile.sign_in.as_ref() != Some(sign_in));
    }

    /// Wipes what was made of profiles that are not there any more.
    fn forget_others(&self, profiles: &ProfileSet) {
        let is_there =
            |name: &Option<Profile>| name.as_ref().is_none_or(|name| profiles.profile(name).is_some());
        self.clients().retain(|(name, _), _| is_there(name));
    }

    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client, with credentials that are there: their absence is told better before the call than out of it.
    async fn ready_client(&self, scope: &AwsScope) -> Result<Arc<ScopedClient>, Fault> {
        let client = self.client(scope).await?;
        match client.credentials.current().await {
            Ok(_) => Ok(client),
            Err(error) => Err(credentials_fault(&error, &client.subject, &[])),
        }
    }

    /// The fault behind a call that failed.
    pub(crate) fn call_fault<E>(
        &self,
        client: &Arc<ScopedClient>,
        call: &Call<'_>,
        error: &SdkError<E, HttpResponse>,
    ) -> Fault
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let fault = client.call_fault(call, error);
        self.noticed(client, fault)
    }

    /// Gives the fault of a call back; after one that is about its credentials the client is made anew at the next one, with others.
    fn noticed(&self, client: &Arc<ScopedClient>, fault: Fault) -> Fault {
        if matches!(fault.kind, FaultKind::CredentialsInvalid { .. } | FaultKind::SignInNeeded { .. }) {
            client.provider.rejected();
            self.clients().retain(|_, (_, kept)| !Arc::ptr_eq(kept, client));
        }
        tracing::debug!(profile = %client.subject.profile, region = %client.subject.region, %fault, "AWS call failed");
        fault
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        self.network.clock()
    }

    /// The profile that is meant. One that is missed may have been written a moment ago.
    async fn chosen(&self, scope: &AwsScope, default: Option<&Profile>) -> Result<Chosen, Fault> {
        let name = scope.profile.as_ref().or(default);
        let environment = self.network.environment();
        if let Some(chosen) = Chosen::find(name, &self.profiles.current(), environment) {
            return Ok(chosen);
        }
        self.profiles.look_again().await;
        let profiles = self.profiles.current();
        self.forget_others(&profiles);
        Chosen::find(name, &profiles, environment)
            .ok_or_else(|| not_found(name, environment, &profiles, &self.profiles.files()))
    }

    async fn load(
        &self,
        chosen: &Chosen,
        region: &Region,
        Inputs { route, endpoints, .. }: &Inputs,
    ) -> Result<ScopedClient, Fault> {
        let subject = chosen.subject(region);
        let credentials = chosen.profile.credentials.as_ref().map_err(|why| {
            Fault::new(FaultKind::CredentialsInvalid { profile: subject.profile.clone() }, why.to_string())
        })?;
        let provider = self.providers.provider_for(credentials, &chosen.profile.endpoints, region).await?;
        let credentials = provider.cached(self.clock());
        let config = self
            .network
            .sdk_config(region, route)?
            .timeout_config(timeouts(ATTEMPT_TIMEOUT, OPERATION_TIMEOUT))
            .retry_config(RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS))
            .credentials_provider(SharedCredentialsProvider::new(credentials.clone()))
            // `CachedCredentials` keeps them, for the signer as well.
            .identity_cache(IdentityCache::no_cache())
            .build();
        let ssm = at_endpoint(&config, endpoints.ssm.as_deref());
        let ssm = aws_sdk_ssm::config::Builder::from(&ssm).interceptor(EndpointGuard);
        let ssm = aws_sdk_ssm::Client::from_conf(ssm.build());
        Ok(ScopedClient {
            ssm,
            config,
            endpoints: endpoints.clone(),
            credentials,
            provider,
            caller: Default::default(),
            subject,
        })
    }
}

impl ScopedClient {
    /// The fault behind a call that failed. Nothing is made of it.
    fn call_fault<E>(&self, call: &Call<'_>, error: &SdkError<E, HttpResponse>) -> Fault
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let credentials = self.credentials.last();
        let secrets = credentials.as_ref().map_or(vec![], |credentials| {
            vec![credentials.secret_access_key(), credentials.session_token().unwrap_or_default()]
        });
        api_fault(error, &self.subject, call, &secrets)
    }
}

fn in_region(scope: &AwsScope, region: &Region) -> AwsScope {
    AwsScope { profile: scope.profile.clone(), region: Some(region.clone()) }
}
