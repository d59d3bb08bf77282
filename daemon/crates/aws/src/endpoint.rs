//! Endpoints that settings, variables or profiles put in the place of AWS's own (PrivateLink, an emulator).
//!
//! Credentials and tokens go there, so an endpoint is reached over TLS, or in the clear on this very machine.

use std::fmt;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use stormtunnel_model::settings::ENDPOINT_RULE;
use stormtunnel_model::{Fault, FaultKind};
use url::{Host, Url};

/// A checked endpoint: scheme, host and port, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Whether it is reached over TLS; without, it is on loopback.
    pub(crate) tls: bool,
    /// Name or address, an IPv6 address in brackets.
    pub(crate) host: String,
    /// TCP port.
    pub(crate) port: u16,
}

impl Endpoint {
    /// Parses and checks the URL found in `source`, which the fault names. `http` and `ws` are one, as are `https`
    /// and `wss`: the variables of AWS tools know only the former.
    pub(crate) fn parse(url: &str, source: &str) -> Result<Self, Fault> {
        let (parsed, tls) = parse_safe(url, source)?;
        let host = parsed.host().ok_or_else(|| refused(source, "it has no host"))?;
        let bare =
            matches!(parsed.path(), "" | "/") && parsed.query().is_none() && parsed.fragment().is_none();
        if !bare || !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(refused(source, "it has more than a scheme, a host and a port"));
        }
        let port = parsed.port_or_known_default().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { tls, host: host.to_string(), port })
    }

    /// The endpoint as the SDK takes it.
    pub(crate) fn api_url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}:{}", self.host, self.port)
    }
}

/// Checks an endpoint that the SDK takes by itself: credentials must be safe on the way there. It may have a path.
pub(crate) fn check_safe(url: &str, source: &str) -> Result<(), Fault> {
    parse_safe(url, source).map(|_| ())
}

/// The URL, and whether it is reached over TLS; without, it is on loopback.
fn parse_safe(url: &str, source: &str) -> Result<(Url, bool), Fault> {
    let parsed = Url::parse(url).map_err(|_| refused(source, "it is not a URL"))?;
    let tls = match parsed.scheme() {
        "https" | "wss" => true,
        "http" | "ws" => false,
        _ => return Err(refused(source, "its scheme is neither https nor http")),
    };
    let host = parsed.host().ok_or_else(|| refused(source, "it has no host"))?;
    if !tls && !is_loopback(&host) {
        return Err(refused(source, "credentials are not sent in the clear to another machine"));
    }
    Ok((parsed, tls))
}

fn refused(source: &str, why: &str) -> Fault {
    let kind = FaultKind::InvalidArgument { field: source.to_owned() };
    Fault::new(kind, format!("{why}; {ENDPOINT_RULE}"))
}

pub(crate) fn is_loopback<S: AsRef<str>>(host: &Host<S>) -> bool {
    match host {
        Host::Domain(name) => name.as_ref() == "localhost",
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    }
}

/// Looks at every API request before it is signed: a profile may name an endpoint too (`endpoint_url`, `services`),
/// and what comes out of the SDK's own resolution is what counts.
#[derive(Debug)]
pub struct EndpointGuard;

impl Intercept for EndpointGuard {
    fn name(&self) -> &'static str {
        "EndpointGuard"
    }

    fn read_before_signing(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let uri = Url::parse(context.request().uri())?;
        let clear_to_others = uri.scheme() != "https" && !uri.host().is_some_and(|host| is_loopback(&host));
        if clear_to_others {
            Err(Box::new(ClearEndpoint { host: uri.host_str().unwrap_or_default().to_owned() }))
        } else {
            Ok(())
        }
    }
}

/// An endpoint that would have got credentials in the clear.
#[derive(Debug)]
pub(crate) struct ClearEndpoint {
    /// Where it is.
    pub(crate) host: String,
}

impl fmt::Display for ClearEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the endpoint {} is neither https nor on this machine", self.host)
    }
}

impl std::error::Error for ClearEndpoint {}

#[cfg(test)]
mod tests {
    use stormtunnel_model::settings::{Setting, Settings};

    use super::*;

    fn parse(url: &str) -> Result<Endpoint, Fault> {
        Endpoint::parse(url, "aws.endpoint_ssm")
    }

    #[test]
    fn tls_goes_anywhere_and_the_clear_stays_on_this_machine() {
        let vpce = parse("https://vpce-1.ssm.eu-west-1.vpce.amazonaws.com").unwrap();
        assert_eq!((vpce.tls, vpce.port), (true, 443));
        let local = parse("ws://[::1]:4000/").unwrap();
        assert_eq!((local.tls, local.host.as_str(), local.port), (false, "[::1]", 4000));
        assert_eq!(parse("http://localhost:4000").unwrap().api_url(), "http://localhost:4000");
    }

    #[test]
    fn what_the_settings_take_can_be_used() {
        let endpoints = [
            "aws.endpoint_ec2",
            "aws.endpoint_ecs",
            "aws.endpoint_ssm",
            "aws.endpoint_ssmmessages",
            "aws.endpoint_sso",
            "aws.endpoint_sso_oidc",
            "aws.endpoint_sts",
        ];
        for url in [
            "https://",
            "https:///",
            "https://:443",
            "https://x/path",
            "https://x?y",
            "https://x:0",
            "https://1.2.3.999",
            "https://0x7f.1",
            "https://x.0x1",
            "https://a..b",
            "https://vpce.example:8443/",
            "wss://[2001:db8::1]",
            "http://LOCALHOST",
            "ws://127.0.0.2:1",
            "http://10.0.0.5",
        ] {
            for setting in endpoints.map(|key| Setting::by_key(key).unwrap()) {
                let taken = setting.assign(&mut Settings::default(), url).is_ok();
                assert!(!taken || parse(url).is_ok(), "{} {url}", setting.key);
            }
        }
    }

    #[test]
    fn anything_else_is_refused_with_what_to_write() {
        for bad in [
            "http://10.0.0.1",
            "http://localhost.evil.example",
            "http://127.0.0.1@evil.example/",
            "https://user:secret@vpce.example",
            "https://vpce.example/path",
            "https://vpce.example/?x=1",
            "https://vpce.example/#x",
            "ftp://vpce.example",
            "vpce.example",
            "",
        ] {
            let fault = parse(bad).expect_err(bad);
            assert!(
                matches!(&fault.kind, FaultKind::InvalidArgument { field } if field == "aws.endpoint_ssm")
            );
            assert!(fault.detail.contains("write https://"), "{fault}");
            assert!(!fault.detail.contains("secret"), "{fault}");
        }
    }
}
