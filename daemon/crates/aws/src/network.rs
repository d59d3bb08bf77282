//! What all calls to AWS have in common, whosever credentials they use: HTTP client, certificate authorities and endpoints.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use stormtunnel_aws_files::Endpoints as ProfileEndpoints;
use stormtunnel_engine::ports::Clock;
use stormtunnel_model::settings::Settings;
use stormtunnel_model::{Fault, FaultKind, Region};
use tokio::sync::watch;

use crate::endpoint::Endpoint;
use crate::environment::{AwsEnvironment, Service};
use crate::http_client::HttpClients;

/// Two attempts, for a connection from the pool that the other side has closed. The engine does the real retrying.
pub(crate) const MAX_ATTEMPTS: u32 = 2;
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// STS calls answer at once or never. A second attempt, on a connection of its own, has to fit into the 20 s that one fetch of
/// credentials may take.
const CREDENTIALS_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(6);
pub(crate) const CREDENTIALS_OPERATION_TIMEOUT: Duration = Duration::from_secs(15);

/// The way to AWS. Settings are read at each use, so that a change counts from the next call on.
pub struct AwsNetwork {
    settings: watch::Receiver<Arc<Settings>>,
    environment: AwsEnvironment,
    clock: Arc<dyn Clock>,
    http: HttpClients,
}

/// Endpoints in the place of AWS's own, of the services that are called with credentials of a profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Endpoints {
    pub(crate) ssm: Option<String>,
    pub(crate) ec2: Option<String>,
    pub(crate) ecs: Option<String>,
    pub(crate) sts: Option<String>,
}

impl AwsNetwork {
    /// The network as the settings and the environment have it.
    pub fn new(
        settings: watch::Receiver<Arc<Settings>>,
        environment: AwsEnvironment,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Arc::new(Self { settings, environment, clock, http: HttpClients::default() })
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub(crate) fn environment(&self) -> &AwsEnvironment {
        &self.environment
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
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

    /// The HTTP client that all calls share.
    pub(crate) async fn http_client(&self) -> Result<SharedHttpClient, Fault> {
        self.http.trusting(self.extra_roots().await?.as_deref())
    }

    /// The endpoint of data channels in the place of AWS's own. A profile cannot name one: the token goes there.
    pub(crate) fn channel_endpoint(&self) -> Result<Option<Endpoint>, Fault> {
        let settings = self.settings();
        let setting = settings.endpoint_ssmmessages.as_deref().map(|url| ("aws.endpoint_ssmmessages", url));
        let source = setting.or_else(|| self.environment.endpoint_of_channels());
        source.map(|(name, url)| Endpoint::parse(url, name)).transpose()
    }

    /// The endpoint of a service in the place of AWS's own: the setting, else the service's variable, else what the profile says,
    /// else the variable of all services.
    ///
    /// # Errors
    /// [`FaultKind::InvalidArgument`] for one that credentials cannot be sent to.
    pub(crate) fn endpoint(
        &self,
        service: Service,
        of_profile: Option<&ProfileEndpoints>,
    ) -> Result<Option<String>, Fault> {
        let settings = self.settings();
        let (setting, name) = setting_of(service, &settings);
        let environment = &self.environment;
        let specific = setting.map(|url| (name, url)).or_else(|| environment.endpoint_of(service));
        if let Some((name, url)) = specific {
            return Endpoint::parse(url, name).map(|endpoint| Some(endpoint.api_url()));
        }
        // Whether it is safe is for `EndpointGuard` to say, which every client has.
        if let Some(url) = of_profile.and_then(|endpoints| endpoints.get(service.key())) {
            return Ok(Some(url.to_owned()));
        }
        let of_all = environment.endpoint_of_all();
        of_all.map(|(name, url)| Endpoint::parse(url, name).map(|endpoint| endpoint.api_url())).transpose()
    }

    /// The endpoints for a profile.
    pub(crate) fn endpoints(&self, of_profile: &ProfileEndpoints) -> Result<Endpoints, Fault> {
        let endpoint = |service| self.endpoint(service, Some(of_profile));
        Ok(Endpoints {
            ssm: endpoint(Service::Ssm)?,
            ec2: endpoint(Service::Ec2)?,
            ecs: endpoint(Service::Ecs)?,
            sts: endpoint(Service::Sts)?,
        })
    }
}

fn setting_of(service: Service, settings: &Settings) -> (Option<&str>, &'static str) {
    let (setting, name) = match service {
        Service::Ec2 => (&settings.endpoint_ec2, "aws.endpoint_ec2"),
        Service::Ecs => (&settings.endpoint_ecs, "aws.endpoint_ecs"),
        Service::Ssm => (&settings.endpoint_ssm, "aws.endpoint_ssm"),
        Service::Sso => (&settings.endpoint_sso, "aws.endpoint_sso"),
        Service::SsoOidc => (&settings.endpoint_sso_oidc, "aws.endpoint_sso_oidc"),
        Service::Sts => (&settings.endpoint_sts, "aws.endpoint_sts"),
    };
    (setting.as_deref(), name)
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

pub(crate) fn timeouts(attempt: Duration, operation: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(attempt)
        .operation_timeout(operation)
        .build()
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
