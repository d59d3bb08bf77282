//! What all calls to AWS have in common, whosever credentials they use: HTTP client, certificate authorities and endpoints.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::{SdkConfig, sdk_config};
use stormtunnel_aws_files::Endpoints as ProfileEndpoints;
use stormtunnel_engine::ports::Clock;
use stormtunnel_model::settings::Settings;
use stormtunnel_model::{Fault, FaultKind, Region};
use tokio::sync::watch;

use crate::endpoint::Endpoint;
use crate::environment::{AwsEnvironment, Service};
use crate::http_client::HttpClients;
use crate::proxy::Proxies;
use crate::tls::check_bundle;

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

/// Which of AWS's own endpoints are asked, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) extra_roots: Option<Vec<u8>>,
    pub(crate) proxies: Proxies,
    use_fips: bool,
    use_dual_stack: bool,
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

    /// Certificate authorities to trust beside the system's (PEM): those of the profile, of the setting and of `AWS_CA_BUNDLE`.
    ///
    /// # Errors
    /// [`FaultKind::InvalidArgument`] when a file cannot be read, holds no certificate or one that cannot be used.
    pub(crate) async fn extra_roots(
        &self,
        of_profile: Option<&ProfileEndpoints>,
    ) -> Result<Option<Vec<u8>>, Fault> {
        let settings = self.settings();
        let of_profile = of_profile.and_then(|profile| profile.ca_bundle.as_deref());
        let mut roots = Vec::new();
        for (path, field) in [
            (of_profile.map(|path| self.environment.path(path)), "ca_bundle"),
            (settings.ca_bundle.as_ref().map(PathBuf::from), "network.ca_bundle"),
            (self.environment.ca_bundle().map(Path::to_owned), "AWS_CA_BUNDLE"),
        ] {
            if let Some(path) = path {
                roots.extend(read_bundle(&path, field).await?);
                roots.push(b'\n');
            }
        }
        Ok(Some(roots).filter(|roots| !roots.is_empty()))
    }

    /// The way out of this network.
    pub(crate) fn proxies(&self) -> Result<Proxies, Fault> {
        Proxies::of(&self.settings(), &self.environment)
    }

    /// How calls get to AWS, for a profile or for nobody's.
    pub(crate) async fn route(&self, of_profile: Option<&ProfileEndpoints>) -> Result<Route, Fault> {
        let (settings, environment) = (self.settings(), &self.environment);
        let is_on = |setting: bool, variable: Option<bool>, profile: Option<bool>| {
            setting || variable.or(profile).unwrap_or(false)
        };
        let fips = of_profile.and_then(|profile| profile.use_fips);
        let dual_stack = of_profile.and_then(|profile| profile.use_dual_stack);
        Ok(Route {
            extra_roots: self.extra_roots(of_profile).await?,
            proxies: self.proxies()?,
            use_fips: is_on(settings.use_fips, environment.use_fips(), fips),
            use_dual_stack: is_on(settings.use_dual_stack, environment.use_dual_stack(), dual_stack),
        })
    }

    /// What every client is built from.
    pub(crate) fn sdk_config(&self, region: &Region, route: &Route) -> Result<sdk_config::Builder, Fault> {
        Ok(SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(aws_config::Region::new(region.to_string()))
            .use_fips(route.use_fips)
            .use_dual_stack(route.use_dual_stack)
            .http_client(self.http_client(route)?))
    }

    /// What providers of the SDK are made with.
    pub(crate) fn provider_config(&self, region: &Region, route: &Route) -> Result<ProviderConfig, Fault> {
        Ok(ProviderConfig::without_region()
            .with_region(Some(aws_config::Region::new(region.to_string())))
            .with_http_client(self.http_client(route)?)
            .with_timeout_config(credentials_timeouts())
            .with_retry_config(RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS)))
    }

    fn http_client(&self, route: &Route) -> Result<SharedHttpClient, Fault> {
        self.http.with(route.extra_roots.clone(), route.proxies.clone())
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

/// The same, for a service that has an endpoint of its own: which of AWS's is asked does not matter then, and the SDK refuses both.
pub(crate) fn at_endpoint(config: &SdkConfig, endpoint: Option<&str>) -> SdkConfig {
    match endpoint {
        Some(url) => config.to_builder().endpoint_url(url).use_fips(false).use_dual_stack(false).build(),
        None => config.clone(),
    }
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
    check_bundle(&pem).map_err(invalid)?;
    Ok(pem)
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

    use aws_emulator::{Config, Emulator};
    use stormtunnel_model::Timestamp;

    use super::*;

    #[derive(Debug)]
    struct Now;

    impl Clock for Now {
        fn mono(&self) -> Instant {
            tokio::time::Instant::now().into_std()
        }
        fn wall(&self) -> Timestamp {
            Timestamp::from(SystemTime::UNIX_EPOCH)
        }
    }

    fn network(settings: Settings, variable: Option<&'static str>) -> Arc<AwsNetwork> {
        let (_, receiver) = watch::channel(Arc::new(settings));
        let find = |name: &str| variable.filter(|_| name.starts_with("AWS_USE_")).map(str::to_owned);
        AwsNetwork::new(receiver, AwsEnvironment::from_vars(find), Arc::new(Now))
    }

    #[tokio::test]
    async fn fips_and_dual_stack_are_a_setting_or_a_variable_or_a_key_of_the_profile() {
        let region: Region = "us-east-1".parse().unwrap();
        for (setting, variable, profile, wanted) in [
            (false, None, None, false),
            (true, Some("false"), Some(false), true),
            (false, Some("TRUE"), Some(false), true),
            (false, Some("false"), Some(true), false),
            (false, None, Some(true), true),
        ] {
            let settings = Settings { use_fips: setting, use_dual_stack: setting, ..Settings::default() };
            let network = network(settings, variable);
            let mut of_profile = ProfileEndpoints::default();
            (of_profile.use_fips, of_profile.use_dual_stack) = (profile, profile);
            let route = network.route(Some(&of_profile)).await.unwrap();
            let config = network.sdk_config(&region, &route).unwrap().build();
            assert_eq!((config.use_fips(), config.use_dual_stack()), (Some(wanted), Some(wanted)));
            let placed = at_endpoint(&config, Some("https://vpce.example"));
            assert_eq!((placed.use_fips(), placed.use_dual_stack()), (Some(false), Some(false)));
            assert_eq!(placed.endpoint_url(), Some("https://vpce.example"));
        }
    }

    #[tokio::test]
    async fn what_a_profile_trusts_is_trusted_for_that_profile_alone() {
        let directory = tempfile::tempdir().unwrap();
        let mut bundles = Vec::new();
        for name in ["profile", "setting"] {
            let config = Config { tls: true, ..Config::default() };
            let pem = Emulator::start(config).await.unwrap().ca_pem().unwrap().to_owned();
            let path = directory.path().join(name);
            std::fs::write(&path, &pem).unwrap();
            bundles.push((path.display().to_string(), pem));
        }
        let [(of_profile, trusted), (of_setting, by_all)] = bundles.try_into().unwrap();
        let network = network(Settings { ca_bundle: Some(of_setting), ..Settings::default() }, None);
        let mut profile = ProfileEndpoints::default();
        profile.ca_bundle = Some(of_profile);
        let text = |roots: Option<Vec<u8>>| String::from_utf8(roots.unwrap()).unwrap();
        let both = text(network.extra_roots(Some(&profile)).await.unwrap());
        assert!(both.contains(&trusted) && both.contains(&by_all), "{both}");
        let others = text(network.extra_roots(None).await.unwrap());
        assert!(!others.contains(&trusted) && others.contains(&by_all), "{others}");
        profile.ca_bundle = Some("/none/ca.pem".to_owned());
        let fault = network.extra_roots(Some(&profile)).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::InvalidArgument { field: "ca_bundle".to_owned() });
    }
}
