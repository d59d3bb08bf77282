//! The environment variables that AWS tools share, read once by whoever owns the process.

use std::path::{Path, PathBuf};

use stormtunnel_model::Fault;

use crate::endpoint::check_safe;

/// Variables with an endpoint in the place of AWS's own, of the services whose clients are in this process. Those of
/// other services lead nowhere from here.
const ENDPOINTS: [&str; 8] = [
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_EC2",
    "AWS_ENDPOINT_URL_ECS",
    "AWS_ENDPOINT_URL_SSM",
    "AWS_ENDPOINT_URL_SSMMESSAGES",
    "AWS_ENDPOINT_URL_SSO",
    "AWS_ENDPOINT_URL_SSO_OIDC",
    "AWS_ENDPOINT_URL_STS",
];

/// Values of the AWS variables. Empty values count as not set.
///
/// Keys (`AWS_ACCESS_KEY_ID` and so on) are not among them: the SDK's default credential chain reads those by itself.
#[derive(Clone, Debug, Default)]
pub struct AwsEnvironment {
    config_file: Option<PathBuf>,
    credentials_file: Option<PathBuf>,
    profile: Option<String>,
    region: Option<String>,
    ca_bundle: Option<PathBuf>,
    endpoints: Vec<(&'static str, String)>,
}

impl AwsEnvironment {
    /// Reads the variables through `var`, which is `|name| std::env::var(name).ok()` in a process.
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Self {
        let var = |name: &str| var(name).filter(|value| !value.is_empty());
        let home = var("HOME").map(PathBuf::from);
        let file = |name: &str, default: &str| {
            let in_home = || home.as_ref().map(|home| home.join(".aws").join(default));
            var(name).map(|value| expand_home(&value, home.as_deref())).or_else(in_home)
        };
        Self {
            config_file: file("AWS_CONFIG_FILE", "config"),
            credentials_file: file("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
            profile: var("AWS_PROFILE"),
            region: var("AWS_REGION").or_else(|| var("AWS_DEFAULT_REGION")),
            ca_bundle: var("AWS_CA_BUNDLE").map(|value| expand_home(&value, home.as_deref())),
            endpoints: ENDPOINTS.iter().filter_map(|name| var(name).map(|url| (*name, url))).collect(),
        }
    }

    /// `~/.aws/config`, or what stands in for it.
    pub(crate) fn config_file(&self) -> Option<&Path> {
        self.config_file.as_deref()
    }

    /// `~/.aws/credentials`, or what stands in for it.
    pub(crate) fn credentials_file(&self) -> Option<&Path> {
        self.credentials_file.as_deref()
    }

    /// The profile of the default credential chain.
    pub(crate) fn chain_profile(&self) -> &str {
        self.profile.as_deref().unwrap_or("default")
    }

    /// Region of last resort.
    pub(crate) fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// PEM file with more certificate authorities.
    pub(crate) fn ca_bundle(&self) -> Option<&Path> {
        self.ca_bundle.as_deref()
    }

    /// Endpoint of the Session Manager API, behind the name of its variable.
    pub(crate) fn endpoint_ssm(&self) -> Option<(&'static str, &str)> {
        self.endpoint("AWS_ENDPOINT_URL_SSM").or_else(|| self.endpoint("AWS_ENDPOINT_URL"))
    }

    /// Endpoint of the EC2 API, behind the name of its variable.
    pub(crate) fn endpoint_ec2(&self) -> Option<(&'static str, &str)> {
        self.endpoint("AWS_ENDPOINT_URL_EC2").or_else(|| self.endpoint("AWS_ENDPOINT_URL"))
    }

    /// Endpoint of the ECS API, behind the name of its variable.
    pub(crate) fn endpoint_ecs(&self) -> Option<(&'static str, &str)> {
        self.endpoint("AWS_ENDPOINT_URL_ECS").or_else(|| self.endpoint("AWS_ENDPOINT_URL"))
    }

    /// Endpoint of data channels, behind the name of its variable. `AWS_ENDPOINT_URL` does not count: it names an API, and the token goes here.
    pub(crate) fn endpoint_ssmmessages(&self) -> Option<(&'static str, &str)> {
        self.endpoint("AWS_ENDPOINT_URL_SSMMESSAGES")
    }

    /// Endpoint of the access portal, behind the name of its variable.
    pub(crate) fn endpoint_sso(&self) -> Option<(&'static str, &str)> {
        self.endpoint("AWS_ENDPOINT_URL_SSO").or_else(|| self.endpoint("AWS_ENDPOINT_URL"))
    }

    /// Endpoint of SSO-OIDC, behind the name of its variable.
    pub(crate) fn endpoint_sso_oidc(&self) -> Option<(&'static str, &str)> {
        self.endpoint("AWS_ENDPOINT_URL_SSO_OIDC").or_else(|| self.endpoint("AWS_ENDPOINT_URL"))
    }

    /// Endpoint of STS alone, behind the name of its variable.
    pub(crate) fn endpoint_sts(&self) -> Option<(&'static str, &str)> {
        self.endpoint("AWS_ENDPOINT_URL_STS")
    }

    /// Endpoint of every API that has none of its own, behind the name of its variable.
    pub(crate) fn endpoint_of_all(&self) -> Option<(&'static str, &str)> {
        self.endpoint("AWS_ENDPOINT_URL")
    }

    /// Refuses endpoints that would get credentials in the clear. The SDK reads the variables of sign-in and STS by
    /// itself, so all are checked, and before any of them is used.
    ///
    /// # Errors
    /// [`FaultKind::InvalidArgument`](stormtunnel_model::FaultKind::InvalidArgument) that names the variable.
    pub(crate) fn check_endpoints(&self) -> Result<(), Fault> {
        self.endpoints.iter().try_for_each(|(name, url)| check_safe(url, name))
    }

    fn endpoint(&self, name: &str) -> Option<(&'static str, &str)> {
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
    fn files_are_in_the_home_directory_unless_named() {
        let plain = environment(&[("HOME", "/home/me"), ("AWS_CONFIG_FILE", "")]);
        assert_eq!(plain.config_file(), Some(Path::new("/home/me/.aws/config")));
        let named = environment(&[("HOME", "/home/me"), ("AWS_CONFIG_FILE", "~/work/aws")]);
        assert_eq!(named.config_file(), Some(Path::new("/home/me/work/aws")));
        assert_eq!(environment(&[]).credentials_file(), None);
    }

    #[test]
    fn the_general_endpoint_is_for_the_api_only() {
        let both = environment(&[("AWS_ENDPOINT_URL", "https://a"), ("AWS_ENDPOINT_URL_SSM", "https://b")]);
        assert_eq!(both.endpoint_ssm(), Some(("AWS_ENDPOINT_URL_SSM", "https://b")));
        let general = environment(&[("AWS_ENDPOINT_URL", "https://a")]);
        assert_eq!(general.endpoint_ssm(), Some(("AWS_ENDPOINT_URL", "https://a")));
        assert_eq!(general.endpoint_ec2(), Some(("AWS_ENDPOINT_URL", "https://a")));
        assert_eq!(general.endpoint_ecs(), Some(("AWS_ENDPOINT_URL", "https://a")));
        assert_eq!(general.endpoint_sso(), Some(("AWS_ENDPOINT_URL", "https://a")));
        assert_eq!(general.endpoint_sso_oidc(), Some(("AWS_ENDPOINT_URL", "https://a")));
        assert_eq!(general.endpoint_ssmmessages(), None);
    }
}
