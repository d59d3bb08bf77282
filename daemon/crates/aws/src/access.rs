//! Which credentials, region and endpoints a tunnel gets, and the clients made of them.

use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, identity::IdentityCache};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ssm::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_types::SdkConfig;
use http::HeaderMap;
use secrecy::ExposeSecret as _;
use stormtunnel_engine::ports::{AwsScope, Clock, SessionGrant};
use stormtunnel_model::settings::Settings;
use stormtunnel_model::{Fault, FaultKind, Profile, Region};
use tokio::sync::{Mutex, watch};

use crate::address::ChannelAddress;
use crate::classify::{Call, Subject, api_fault, credentials_fault, upgrade_fault};
use crate::credentials::{CachedCredentials, wall_time};
use crate::endpoint::{Endpoint, EndpointGuard};
use crate::environment::AwsEnvironment;
use crate::http_client::HttpClients;
use crate::identity::Caller;
use crate::profile::ProfileFiles;
use crate::signer::{secrets_of, sign_upgrade};

/// Two attempts, for a connection from the pool that the other side has closed. The engine does the real retrying.
pub(crate) const MAX_ATTEMPTS: u32 = 2;
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(20);

/// Sign-in and STS calls answer at once or never. A second attempt, on a connection of its own, has to fit into the
/// 20 s that one fetch of credentials may take.
const CREDENTIALS_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(6);
pub(crate) const CREDENTIALS_OPERATION_TIMEOUT: Duration = Duration::from_secs(15);

/// Everything AWS for all tunnels: one client and one set of credentials per profile and region.
///
/// They are made anew when the endpoint, the certificate authorities or the AWS files change, and when AWS refuses
/// the credentials, so that a corrected file or a fresh login counts from the next call on.
pub struct AwsAccess {
    settings: watch::Receiver<Arc<Settings>>,
    environment: AwsEnvironment,
    clock: Arc<dyn Clock>,
    http: HttpClients,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    made_of: Option<Inputs>,
    clients: HashMap<(Option<Profile>, Region), Arc<ScopedClient>>,
}

/// What clients are made of, besides profile and region.
#[derive(PartialEq, Eq)]
struct Inputs {
    files_stamp: u64,
    extra_roots: Option<Vec<u8>>,
    endpoints: Endpoints,
}

/// Endpoints in the place of AWS's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Endpoints {
    ssm: Option<Endpoint>,
    pub(crate) ec2: Option<Endpoint>,
    pub(crate) ecs: Option<Endpoint>,
    pub(crate) sso: Option<Endpoint>,
    pub(crate) sso_oidc: Option<Endpoint>,
    pub(crate) sts: Option<Endpoint>,
}

/// A client with the credentials that it uses.
pub(crate) struct ScopedClient {
    pub(crate) ssm: aws_sdk_ssm::Client,
    /// For the clients of other services: credentials, region, HTTP client.
    pub(crate) config: SdkConfig,
    pub(crate) endpoints: Endpoints,
    pub(crate) credentials: CachedCredentials,
    /// Whose these are.
    pub(crate) caller: Mutex<Option<Caller>>,
    pub(crate) subject: Subject,
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
    /// `settings` are read at each use, so that a change counts from the next call on.
    pub fn new(
        settings: watch::Receiver<Arc<Settings>>,
        environment: AwsEnvironment,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Arc::new(Self { settings, environment, clock, http: HttpClients::default(), cache: Mutex::default() })
    }

    /// Checks the grant's `StreamUrl`, and says where to connect.
    ///
    /// # Errors
    /// [`FaultKind::PeerViolation`] for a URL that must not get the token, [`FaultKind::InvalidArgument`] for a
    /// configured endpoint that cannot be used.
    pub fn channel_address(&self, grant: &SessionGrant) -> Result<ChannelAddress, Fault> {
        let settings = self.settings();
        let source = endpoint_source(
            (settings.endpoint_ssmmessages.as_deref(), "aws.endpoint_ssmmessages"),
            self.environment.endpoint_ssmmessages(),
        );
        let endpoint = source.map(|(url, name)| Endpoint::parse(url, name)).transpose()?;
        ChannelAddress::check(&grant.stream_url, &grant.region, endpoint.as_ref())
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
            Ok(credentials) => sign_upgrade(address, region, &credentials, wall_time(self.clock.as_ref())),
            Err(CredentialsError::CredentialsNotLoaded(_)) => {
                tracing::debug!("no credentials: the data channel's upgrade is not signed");
                Ok(HeaderMap::new())
            }
            Err(error) => Err(self.noticed(&client, credentials_fault(&error, &client.subject, &[])).await),
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
        self.noticed(&client, fault).await
    }

    /// Certificate authorities to trust beside the system's (PEM): those of the setting and of `AWS_CA_BUNDLE`.
    ///
    /// # Errors
    /// [`FaultKind::InvalidArgument`] when a file cannot be read or holds no certificate.
    pub async fn extra_roots(&self) -> Result<Option<Vec<u8>>, Fault> {
        let settings = self.settings();
        let mut roots = Vec::new();
        let of_setting = settings.ca_bundle.as_ref().map(PathBuf::from);
        for (path, field) in
            [(of_setting.as_deref(), "network.ca_bundle"), (self.environment.ca_bundle(), "AWS_CA_BUNDLE")]
        {
            if let Some(path) = path {
                roots.extend(read_bundle(path, field).await?);
                roots.push(b'\n');
            }
        }
        Ok(Some(roots).filter(|roots| !roots.is_empty()))
    }

    /// The client of that profile and region.
    pub(crate) async fn client(&self, scope: &AwsScope) -> Result<Arc<ScopedClient>, Fault> {
        self.environment.check_endpoints()?;
        let settings = self.settings();
        let files = ProfileFiles::read(&self.environment).await?;
        let profile = scope.profile.clone().or_else(|| settings.default_profile.clone());
        if let Some(profile) = &profile {
            files.require(profile)?;
        }
        let region = self.region(scope, profile.as_ref(), &files, &settings)?;
        let inputs = Inputs {
            files_stamp: files.stamp(),
            extra_roots: self.extra_roots().await?,
            endpoints: self.endpoints()?,
        };
        let http = self.http.trusting(inputs.extra_roots.as_deref())?;
        let mut cache = self.cache.lock().await;
        cache.renew_for(inputs);
        let key = (profile, region);
        if let Some(client) = cache.clients.get(&key) {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(self.load(key.0.as_ref(), &key.1, &files, http, cache.endpoints()).await?);
        cache.clients.insert(key, Arc::clone(&client));
        Ok(client)
    }

    /// The client, with credentials that are there: their absence is told better before the call than out of it.
    pub(crate) async fn ready_client(&self, scope: &AwsScope) -> Result<Arc<ScopedClient>, Fault> {
        let client = self.client(scope).await?;
        match client.credentials.current().await {
            Ok(_) => Ok(client),
            Err(error) => {
                let fault = credentials_fault(&error, &client.subject, &[]);
                Err(self.noticed(&client, fault).await)
            }
        }
    }

    /// The fault behind a call that failed.
    pub(crate) async fn call_fault<E>(
        &self,
        client: &Arc<ScopedClient>,
        call: &Call<'_>,
        error: &SdkError<E, HttpResponse>,
    ) -> Fault
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let fault = client.call_fault(call, error).await;
        self.noticed(client, fault).await
    }

    /// Gives the fault back; after one that is about credentials the client is made anew at the next call.
    pub(crate) async fn noticed(&self, client: &Arc<ScopedClient>, fault: Fault) -> Fault {
        if matches!(fault.kind, FaultKind::CredentialsInvalid { .. } | FaultKind::SignInNeeded { .. }) {
            self.cache.lock().await.clients.retain(|_, kept| !Arc::ptr_eq(kept, client));
        }
        tracing::debug!(profile = %client.subject.profile, region = %client.subject.region, %fault, "AWS call failed");
        fault
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The HTTP client that all calls share.
    pub(crate) async fn http_client(&self) -> Result<SharedHttpClient, Fault> {
        self.http.trusting(self.extra_roots().await?.as_deref())
    }

    /// Where roles are assumed, if not at AWS's own endpoint: the setting, else the variable of STS, else what the profile
    /// says, else the variable of all services. Whether the profile's is safe is for [`EndpointGuard`] to say.
    pub(crate) fn sts_endpoint(&self, of_profile: Option<&str>) -> Result<Option<String>, Fault> {
        let settings = self.settings();
        let specific = (settings.endpoint_sts.as_deref(), "aws.endpoint_sts");
        let checked = |source: Option<(&str, &str)>| {
            source
                .map(|(url, name)| Endpoint::parse(url, name).map(|endpoint| endpoint.api_url()))
                .transpose()
        };
        if let Some(url) = checked(endpoint_source(specific, self.environment.endpoint_sts()))? {
            return Ok(Some(url));
        }
        match of_profile {
            Some(url) => Ok(Some(url.to_owned())),
            None => checked(self.environment.endpoint_of_all().map(|(name, url)| (url, name))),
        }
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// The endpoints in the place of AWS's own, as they are set now.
    ///
    /// # Errors
    /// [`FaultKind::InvalidArgument`] for one that cannot be used.
    pub(crate) fn endpoints(&self) -> Result<Endpoints, Fault> {
        let (settings, environment) = (self.settings(), &self.environment);
        let parsed = |setting: &Option<String>, name, variable| {
            let source = endpoint_source((setting.as_deref(), name), variable);
            source.map(|(url, name)| Endpoint::parse(url, name)).transpose()
        };
        Ok(Endpoints {
            ssm: parsed(&settings.endpoint_ssm, "aws.endpoint_ssm", environment.endpoint_ssm())?,
            ec2: parsed(&settings.endpoint_ec2, "aws.endpoint_ec2", environment.endpoint_ec2())?,
            ecs: parsed(&settings.endpoint_ecs, "aws.endpoint_ecs", environment.endpoint_ecs())?,
            sso: parsed(&settings.endpoint_sso, "aws.endpoint_sso", environment.endpoint_sso())?,
            sso_oidc: parsed(
                &settings.endpoint_sso_oidc,
                "aws.endpoint_sso_oidc",
                environment.endpoint_sso_oidc(),
            )?,
            // The SDK reads the variables of STS by itself.
            sts: parsed(&settings.endpoint_sts, "aws.endpoint_sts", None)?,
        })
    }

    /// The tunnel's region, else the profile's, else the setting, else the environment's.
    fn region(
        &self,
        scope: &AwsScope,
        profile: Option<&Profile>,
        files: &ProfileFiles,
        settings: &Settings,
    ) -> Result<Region, Fault> {
        let invalid = |detail| Fault::new(FaultKind::InvalidArgument { field: "region".to_owned() }, detail);
        if let Some(region) = &scope.region {
            return Ok(region.clone());
        }
        let profile = profile.map_or_else(|| self.environment.chain_profile(), Profile::as_str);
        if let Some(region) = files.region(profile) {
            return region.parse().map_err(|error| invalid(format!("profile \"{profile}\": {error}")));
        }
        if let Some(region) = &settings.default_region {
            return Ok(region.clone());
        }
        let region = self.environment.region().ok_or_else(|| {
            invalid(format!(
                "no region is set; type `stctl tunnel edit NAME --region REGION`, or \
                 `stctl settings set aws.default_region REGION`, or `aws configure set region REGION --profile {profile}`"
            ))
        })?;
        region.parse().map_err(|error| invalid(format!("AWS_REGION: {error}")))
    }

    async fn load(
        &self,
        profile: Option<&Profile>,
        region: &Region,
        files: &ProfileFiles,
        http: SharedHttpClient,
        endpoints: Endpoints,
    ) -> Result<ScopedClient, Fault> {
        let sdk_region = aws_config::Region::new(region.to_string());
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(sdk_region)
            .http_client(http.clone())
            .profile_files(files.for_sdk())
            .timeout_config(timeouts(ATTEMPT_TIMEOUT, OPERATION_TIMEOUT))
            .retry_config(RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS))
            // `CachedCredentials` keeps them, for the signer as well.
            .identity_cache(IdentityCache::no_cache());
        if let Some(profile) = profile {
            // Not the default chain: there, keys in the environment would beat the profile asked for.
            let config = provider_config(region, http);
            let provider = ProfileFileCredentialsProvider::builder()
                .configure(&config)
                .profile_files(files.for_sdk())
                .profile_name(profile.as_str())
                .build();
            loader = loader.profile_name(profile.as_str()).credentials_provider(provider);
        }
        let config = Box::pin(loader.load()).await;
        let provider = config.credentials_provider();
        let provider =
            provider.ok_or_else(|| Fault::internal("the AWS SDK was built without credentials"))?;
        let credentials = CachedCredentials::new(provider, Arc::clone(&self.clock));
        let shared = SharedCredentialsProvider::new(credentials.clone());
        let config = config.into_builder().credentials_provider(shared).build();
        let mut ssm = aws_sdk_ssm::config::Builder::from(&config).interceptor(EndpointGuard);
        if let Some(endpoint) = &endpoints.ssm {
            ssm = ssm.endpoint_url(endpoint.api_url());
        }
        let files_profile = profile.map_or_else(|| self.environment.chain_profile(), Profile::as_str);
        let subject = Subject {
            profile: profile.map(ToString::to_string).unwrap_or_default(),
            region: region.clone(),
            sign_in: files.sign_in(files_profile).map(str::to_owned),
        };
        let ssm = aws_sdk_ssm::Client::from_conf(ssm.build());
        Ok(ScopedClient { ssm, config, endpoints, credentials, caller: Mutex::default(), subject })
    }
}

impl ScopedClient {
    /// The fault behind a call that failed. Nothing is made of it.
    pub(crate) async fn call_fault<E>(&self, call: &Call<'_>, error: &SdkError<E, HttpResponse>) -> Fault
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let credentials = self.credentials.current().await.ok();
        let secrets = credentials.as_ref().map_or(vec![], |credentials| {
            vec![credentials.secret_access_key(), credentials.session_token().unwrap_or_default()]
        });
        api_fault(error, &self.subject, call, &secrets)
    }
}

impl Cache {
    /// Other inputs than before make all clients void.
    fn renew_for(&mut self, inputs: Inputs) {
        if self.made_of.as_ref() != Some(&inputs) {
            self.clients.clear();
            self.made_of = Some(inputs);
        }
    }

    fn endpoints(&self) -> Endpoints {
        self.made_of.as_ref().map(|inputs| inputs.endpoints.clone()).unwrap_or_default()
    }
}

/// What providers of the SDK are made with.
pub(crate) fn provider_config(region: &Region, http: SharedHttpClient) -> ProviderConfig {
    ProviderConfig::without_region()
        .with_region(Some(aws_config::Region::new(region.to_string())))
        .with_http_client(http)
        .with_timeout_config(credentials_timeouts())
        .with_retry_config(RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS))
}

/// Of calls that fetch credentials.
pub(crate) fn credentials_timeouts() -> TimeoutConfig {
    timeouts(CREDENTIALS_ATTEMPT_TIMEOUT, CREDENTIALS_OPERATION_TIMEOUT)
}

fn timeouts(attempt: Duration, operation: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(attempt)
        .operation_timeout(operation)
        .build()
}

fn in_region(scope: &AwsScope, region: &Region) -> AwsScope {
    AwsScope { profile: scope.profile.clone(), region: Some(region.clone()) }
}

/// The setting, else the variable, each with its name.
fn endpoint_source<'a>(
    (setting, setting_name): (Option<&'a str>, &'static str),
    variable: Option<(&'static str, &'a str)>,
) -> Option<(&'a str, &'static str)> {
    setting.map(|url| (url, setting_name)).or_else(|| variable.map(|(name, url)| (url, name)))
}

async fn read_bundle(path: &Path, field: &str) -> Result<Vec<u8>, Fault> {
    let invalid = |why: String| {
        Fault::new(
            FaultKind::InvalidArgument { field: field.to_owned() },
            format!("{}: {why}", path.display()),
        )
    };
    let pem = tokio::fs::read(path).await.map_err(|error| invalid(error.to_string()))?;
    let marker = b"-----BEGIN CERTIFICATE-----";
    if pem.windows(marker.len()).any(|window| window == marker) {
        Ok(pem)
    } else {
        Err(invalid("there is no certificate in PEM format in it".to_owned()))
    }
}
