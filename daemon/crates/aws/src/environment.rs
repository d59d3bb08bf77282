//! The environment variables that AWS tools share, read once by whoever owns the process.

use std::path::{Path, PathBuf};

use stormtunnel_aws_files::WebIdentity;
use stormtunnel_model::Fault;
use stormtunnel_model::settings::{NoProxy, ProxyUrl};

use crate::endpoint::check_safe;

/// The endpoint of all APIs in the place of AWS's own.
const OF_ALL: &str = "AWS_ENDPOINT_URL";
/// That of data channels, which are no API.
const OF_CHANNELS: &str = "AWS_ENDPOINT_URL_SSMMESSAGES";

/// The services whose clients are in this process. Variables of others lead nowhere from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// EC2.
    Ec2,
    /// ECS.
    Ecs,
    /// The Session Manager API.
    Ssm,
    /// The access portal.
    Sso,
    /// SSO-OIDC.
    SsoOidc,
    /// STS.
    Sts,
}

impl Service {
    const ALL: [Self; 6] = [Self::Ec2, Self::Ecs, Self::Ssm, Self::Sso, Self::SsoOidc, Self::Sts];

    /// Its key in a `[services]` section.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Ec2 => "ec2",
            Self::Ecs => "ecs",
            Self::Ssm => "ssm",
            Self::Sso => "sso",
            Self::SsoOidc => "sso_oidc",
            Self::Sts => "sts",
        }
    }

    /// The variable with its endpoint.
    fn variable(self) -> &'static str {
        match self {
            Self::Ec2 => "AWS_ENDPOINT_URL_EC2",
            Self::Ecs => "AWS_ENDPOINT_URL_ECS",
            Self::Ssm => "AWS_ENDPOINT_URL_SSM",
            Self::Sso => "AWS_ENDPOINT_URL_SSO",
            Self::SsoOidc => "AWS_ENDPOINT_URL_SSO_OIDC",
            Self::Sts => "AWS_ENDPOINT_URL_STS",
        }
    }
}

/// Values of the AWS variables. Empty values count as not set. Where the profile files are is for others to know, and keys are
/// read by whoever uses them.
#[derive(Clone, Debug, Default)]
pub struct AwsEnvironment {
    profile: Option<String>,
    has_keys: bool,
    web_identity: Option<WebIdentity>,
    region: Option<String>,
    home: Option<PathBuf>,
    ca_bundle: Option<PathBuf>,
    login_cache: Option<PathBuf>,
    proxy: Option<(&'static str, Result<ProxyUrl, &'static str>)>,
    no_proxy: NoProxy,
    use_fips: Option<bool>,
    use_dual_stack: Option<bool>,
    endpoints: Vec<(&'static str, String)>,
}

impl AwsEnvironment {
    /// Reads the variables through `var`, which is `|name| std::env::var(name).ok()` in a process.
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Self {
        let var = |name: &str| var(name).filter(|value| !value.is_empty());
        let home = var("HOME").map(PathBuf::from);
        let first = |names: [&'static str; 4]| names.into_iter().find_map(|name| Some((name, var(name)?)));
        let proxy = first(["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]);
        let no_proxy = var("NO_PROXY").or_else(|| var("no_proxy"));
        let switch = |name: &str| var(name).map(|value| value.eq_ignore_ascii_case("true"));
        let variables = Service::ALL.map(Service::variable).into_iter().chain([OF_ALL, OF_CHANNELS]);
        Self {
            profile: var("AWS_PROFILE"),
            has_keys: ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].iter().all(|name| var(name).is_some()),
            web_identity: var("AWS_WEB_IDENTITY_TOKEN_FILE").zip(var("AWS_ROLE_ARN")).map(
                |(token_file, role_arn)| WebIdentity {
                    token_file,
                    role_arn,
                    session_name: var("AWS_ROLE_SESSION_NAME"),
                },
            ),
            region: var("AWS_REGION").or_else(|| var("AWS_DEFAULT_REGION")),
            login_cache: var("AWS_LOGIN_CACHE_DIRECTORY")
                .map(|value| expand_home(&value, home.as_deref()))
                .or_else(|| home.as_ref().map(|home| home.join(".aws/login/cache"))),
            ca_bundle: var("AWS_CA_BUNDLE").map(|value| expand_home(&value, home.as_deref())),
            proxy: proxy.map(|(name, value)| (name, ProxyUrl::from_variable(&value))),
            no_proxy: no_proxy.as_deref().map(NoProxy::from_variable).unwrap_or_default(),
            use_fips: switch("AWS_USE_FIPS_ENDPOINT"),
            use_dual_stack: switch("AWS_USE_DUALSTACK_ENDPOINT"),
            home,
            endpoints: variables.filter_map(|name| var(name).map(|url| (name, url))).collect(),
        }
    }

    /// The profile of whoever names none.
    pub(crate) fn chain_profile(&self) -> &str {
        self.profile.as_deref().unwrap_or("default")
    }

    /// Whether it names a profile.
    pub(crate) fn names_profile(&self) -> bool {
        self.profile.is_some()
    }

    /// Whether there are keys. They beat a profile that nobody named.
    pub(crate) fn has_keys(&self) -> bool {
        self.has_keys
    }

    /// A token, and a role to assume with it.
    pub(crate) fn web_identity(&self) -> Option<&WebIdentity> {
        self.web_identity.as_ref()
    }

    /// Region of last resort.
    pub(crate) fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// Where `aws login` keeps its sessions.
    pub(crate) fn login_cache(&self) -> Option<&Path> {
        self.login_cache.as_deref()
    }

    /// PEM file with more certificate authorities.
    pub(crate) fn ca_bundle(&self) -> Option<&Path> {
        self.ca_bundle.as_deref()
    }

    /// A path in a profile, where `~/` is the home directory.
    pub(crate) fn path(&self, written: &str) -> PathBuf {
        expand_home(written, self.home.as_deref())
    }

    /// The proxy of TLS connections behind the name of its variable, or the rule that the variable breaks. `HTTP_PROXY` is for
    /// what is in the clear, which nothing here is that leaves this machine.
    pub(crate) fn proxy(&self) -> Option<(&'static str, Result<&ProxyUrl, &'static str>)> {
        self.proxy.as_ref().map(|(name, proxy)| (*name, proxy.as_ref().map_err(|rule| *rule)))
    }

    /// Hosts that need no proxy.
    pub(crate) fn no_proxy(&self) -> &NoProxy {
        &self.no_proxy
    }

    /// Whether FIPS endpoints are asked, if the variable says it.
    pub(crate) fn use_fips(&self) -> Option<bool> {
        self.use_fips
    }

    /// Whether dual-stack endpoints are asked, if the variable says it.
    pub(crate) fn use_dual_stack(&self) -> Option<bool> {
        self.use_dual_stack
    }

    /// Endpoint of that service alone, behind the name of its variable.
    pub(crate) fn endpoint_of(&self, service: Service) -> Option<(&'static str, &str)> {
        self.found(service.variable())
    }

    /// Endpoint of data channels, behind the name of its variable. `AWS_ENDPOINT_URL` does not count: it names an API, and the token goes here.
    pub(crate) fn endpoint_of_channels(&self) -> Option<(&'static str, &str)> {
        self.found(OF_CHANNELS)
    }

    /// Endpoint of every API that has none of its own, behind the name of its variable.
    pub(crate) fn endpoint_of_all(&self) -> Option<(&'static str, &str)> {
        self.found(OF_ALL)
    }

    /// Refuses endpoints that would get credentials in the clear. All are checked before any of them is
    /// used, so that one sentence names the variable whatever is called first.
    ///
    /// # Errors
    /// [`FaultKind::InvalidArgument`](stormtunnel_model::FaultKind::InvalidArgument) that names the variable.
    pub(crate) fn check_endpoints(&self) -> Result<(), Fault> {
        self.endpoints.iter().try_for_each(|(name, url)| check_safe(url, name))
    }

    fn found(&self, name: &str) -> Option<(&'static str, &str)> {
        self.endpoints.iter().find(|(known, _)| *known == name).map(|(name, url)| (*name, url.as_str()))
    }
}

/// The AWS tools take `~/` in these variables, also where no shell expanded it.
fn expand_home(value: &str, home: Option<&Path>) -> PathBuf {
    match (value.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        (Some(_), None) | (None, _) => PathBuf::from(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(vars: &[(&str, &str)]) -> AwsEnvironment {
        let find =
            |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        AwsEnvironment::from_vars(find)
    }

    #[test]
    fn keys_and_web_identities_take_two_variables_each() {
        let keys = [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "x")];
        assert!(environment(&keys).has_keys() && !environment(&keys[..1]).has_keys());
        let identity = [("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"), ("AWS_ROLE_ARN", "arn")];
        let found = environment(&identity);
        assert_eq!(found.web_identity().map(|identity| identity.role_arn.as_str()), Some("arn"));
        assert_eq!(environment(&identity[1..]).web_identity(), None);
        assert!(!environment(&[("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "x")]).has_keys());
    }

    #[test]
    fn a_bundle_may_be_named_from_the_home_directory() {
        let named = environment(&[("HOME", "/home/me"), ("AWS_CA_BUNDLE", "~/corp.pem")]);
        assert_eq!(named.ca_bundle(), Some(Path::new("/home/me/corp.pem")));
    }

    #[test]
    fn each_service_has_a_variable_of_its_own() {
        let both = environment(&[("AWS_ENDPOINT_URL", "https://a"), ("AWS_ENDPOINT_URL_SSM", "https://b")]);
        assert_eq!(both.endpoint_of(Service::Ssm), Some(("AWS_ENDPOINT_URL_SSM", "https://b")));
        assert_eq!(both.endpoint_of(Service::Ec2), None);
        assert_eq!(both.endpoint_of_all(), Some(("AWS_ENDPOINT_URL", "https://a")));
        assert_eq!(both.endpoint_of_channels(), None);
    }
}
