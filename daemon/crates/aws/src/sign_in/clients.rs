//! The clients of SSO-OIDC and of the access portal. They are made for each call, so that a setting counts from the next
//! one on; connections belong to the HTTP client, which all calls share.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use stormtunnel_engine::sign_in::ports::SignInSite;
use stormtunnel_model::Fault;

use crate::endpoint::EndpointGuard;
use crate::environment::Service;
use crate::network::{AwsNetwork, CONNECT_TIMEOUT, at_endpoint};
use crate::sdk_endpoint;

/// How long a call may take. There is no second attempt, and giving up an answer that is under way may cost a refresh token:
/// so this is longer than one attempt of other calls may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// What start URLs of instances with addresses of both kinds end with. The pages of their device logins are known to the
/// dual-stack endpoint of SSO-OIDC alone (aws-cli issue 10507).
const DUAL_STACK: [&str; 3] = [".app.aws", ".app.amazonwebservices.com.cn", ".api.amazonwebservices.eu"];

/// Where SSO-OIDC is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OidcPlace {
    /// At an endpoint in the place of AWS's own.
    Configured(String),
    /// At AWS's own endpoint of the region.
    Aws {
        /// The one with addresses of both kinds.
        dual_stack: bool,
    },
}

impl OidcPlace {
    pub(super) fn of(network: &AwsNetwork, site: &SignInSite) -> Result<Self, Fault> {
        Ok(match network.endpoint(Service::SsoOidc, None)? {
            Some(url) => Self::Configured(url),
            None => Self::Aws { dual_stack: is_dual_stack(&site.start_url) },
        })
    }
}

/// The client of SSO-OIDC in the sign-in's region.
pub(super) async fn oidc(network: &AwsNetwork, site: &SignInSite) -> Result<aws_sdk_ssooidc::Client, Fault> {
    let shared = shared(network, site).await?;
    let config = aws_sdk_ssooidc::config::Builder::from(&shared).interceptor(EndpointGuard);
    let config = match OidcPlace::of(network, site)? {
        OidcPlace::Configured(url) => config.endpoint_url(url),
        OidcPlace::Aws { dual_stack } => config.use_dual_stack(dual_stack),
    };
    Ok(aws_sdk_ssooidc::Client::from_conf(config.build()))
}

/// The client of the access portal in the sign-in's region.
pub(super) async fn portal(network: &AwsNetwork, site: &SignInSite) -> Result<aws_sdk_sso::Client, Fault> {
    let shared = shared(network, site).await?;
    let mut config = aws_sdk_sso::config::Builder::from(&shared).interceptor(EndpointGuard);
    config.set_endpoint_url(network.endpoint(Service::Sso, None)?);
    Ok(aws_sdk_sso::Client::from_conf(config.build()))
}

/// Where the access portal is.
pub(crate) async fn portal_url(network: &AwsNetwork, site: &SignInSite) -> Result<String, Fault> {
    let shared = shared(network, site).await?;
    sdk_endpoint!(aws_sdk_sso, at_endpoint(&shared, network.endpoint(Service::Sso, None)?.as_deref()))
}

async fn shared(network: &AwsNetwork, site: &SignInSite) -> Result<SdkConfig, Fault> {
    let timeouts =
        TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_timeout(CALL_TIMEOUT).build();
    let route = network.route(None).await?;
    // IAM Identity Center has no FIPS endpoints, and the start URL says which of the others is to be asked.
    Ok(network
        .sdk_config(&site.region, &route)?
        .use_fips(false)
        .use_dual_stack(false)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::disabled())
        .build())
}

fn is_dual_stack(start_url: &str) -> bool {
    let host = start_url.split_once("://").map_or(start_url, |(_, rest)| rest);
    let host = host.split(['/', '?', '#', ':']).next().unwrap_or_default().to_ascii_lowercase();
    DUAL_STACK.iter().any(|suffix| host.ends_with(suffix))
}
