//! The way out: which host is reached through which proxy, and what is said when that fails. Data channels ask the same
//! questions as API calls.

use std::net::IpAddr;
use std::time::Duration;

use stormtunnel_model::settings::{NoProxy, ProxyUrl, Settings};
use stormtunnel_model::{Fault, FaultKind};

use crate::environment::AwsEnvironment;
use crate::quote::{quote, with_trust_hint};

/// Where the proxy of the settings stands.
const SETTING: &str = "network.proxy";

/// A proxy, and who says that it is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    url: ProxyUrl,
    source: &'static str,
}

/// All proxies that there are, which is one at most, and the hosts that it is not for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Proxies {
    proxy: Option<Proxy>,
    direct: NoProxy,
}

impl Proxies {
    /// The settings beat the variables, each for itself.
    ///
    /// # Errors
    /// [`FaultKind::InvalidArgument`] for a variable that names no HTTP proxy.
    pub(crate) fn of(settings: &Settings, environment: &AwsEnvironment) -> Result<Self, Fault> {
        let proxy = match (&settings.proxy, environment.proxy()) {
            (Some(url), _) => Some(Proxy { url: url.clone(), source: SETTING }),
            (None, Some((source, Ok(url)))) => Some(Proxy { url: url.clone(), source }),
            (None, Some((source, Err(rule)))) => {
                let detail = format!(
                    "it names no HTTP proxy; {rule}, or name one with `stctl settings set {SETTING} URL`, or type \
                     `stctl settings set network.no_proxy '*'`"
                );
                return Err(Fault::new(FaultKind::InvalidArgument { field: source.to_owned() }, detail));
            }
            (None, None) => None,
        };
        let direct = settings.no_proxy.clone().unwrap_or_else(|| environment.no_proxy().clone());
        Ok(Self { proxy, direct })
    }

    /// The proxy to that host, if there is one. Whatever is in the clear, such as metadata services, is nearby and needs
    /// none; nor does this machine.
    pub(crate) fn way_to(&self, tls: bool, host: &str, port: u16) -> Option<&Proxy> {
        let proxy = self.proxy.as_ref().filter(|_| tls)?;
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        let here = address.map_or_else(|_| host.eq_ignore_ascii_case("localhost"), |ip| ip.is_loopback());
        (!here && !self.direct.contains(host, port)).then_some(proxy)
    }

    /// The proxy, whatever it is for.
    pub(crate) fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }
}

impl Proxy {
    /// The setting or the variable that names it.
    pub fn source(&self) -> &'static str {
        self.source
    }

    /// Where it is, and who may use it.
    pub fn url(&self) -> &ProxyUrl {
        &self.url
    }

    /// No connection to the proxy, or none that it keeps until it has answered.
    pub fn unreachable(&self, why: &str) -> Fault {
        let why = with_trust_hint(quote(why, &[]));
        self.fault(&format!("does not answer: {why}; is this the network that it is in? {}", self.remedy()))
    }

    /// No answer of the proxy, or none of `target` behind it.
    pub fn silent(&self, target: &str, limit: Duration) -> Fault {
        let limit = limit.as_secs();
        self.fault(&format!("does not lead to {target} within {limit} s; {}", self.remedy()))
    }

    /// The proxy answered `CONNECT` with something else than success. `status` is absent where it is not known.
    pub fn refused(&self, target: &str, status: Option<u16>) -> Fault {
        if status == Some(407) {
            return self.login_wanted();
        }
        let past = "name the host in network.no_proxy if it is reached without a proxy";
        if let Some(status @ 500..) = status {
            return self.fault(&format!(
                "does not get to {target} and answers with HTTP {status}; is the host right (region, endpoint)? If so, ask whoever \
                 runs the proxy, or {past}"
            ));
        }
        let status = status.map(|status| format!(" with HTTP {status}")).unwrap_or_default();
        self.fault(&format!(
            "refuses the way to {target}{status}; ask whoever runs it to let {target} through, or {past}"
        ))
    }

    /// The proxy answered `CONNECT` with something that is no HTTP.
    pub fn unreadable(&self) -> Fault {
        self.fault(&format!("answers with something that is no HTTP; is it an HTTP proxy? {}", self.remedy()))
    }

    fn login_wanted(&self) -> Fault {
        let scheme = if self.url.is_tls() { "https" } else { "http" };
        let host = if self.url.host().contains(':') {
            format!("[{}]", self.url.host())
        } else {
            self.url.host().to_owned()
        };
        let wants = match self.url.login() {
            Some(_) => "does not take this user and password",
            None => "wants a user and a password (HTTP 407)",
        };
        self.fault(&format!(
            "{wants}: type `stctl settings set {SETTING} {scheme}://USER:PASSWORD@{host}:{}`",
            self.url.port()
        ))
    }

    fn remedy(&self) -> String {
        if self.source == SETTING {
            format!(
                "`stctl settings set {SETTING} URL` names another one, `stctl settings unset {SETTING}` none"
            )
        } else {
            format!(
                "{} of the daemon's environment names it, `stctl settings set {SETTING} URL` names another one",
                self.source
            )
        }
    }

    fn fault(&self, what: &str) -> Fault {
        Fault::new(FaultKind::Network, format!("the proxy {} ({}) {what}", self.url, self.source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(vars: &'static [(&'static str, &'static str)]) -> AwsEnvironment {
        AwsEnvironment::from_vars(|name| {
            vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn settings(proxy: Option<&str>, no_proxy: Option<&str>) -> Settings {
        let proxy = proxy.map(|url| url.parse().unwrap());
        Settings { proxy, no_proxy: no_proxy.map(|list| list.parse().unwrap()), ..Settings::default() }
    }

    const AWS: &str = "ssm.eu-west-1.amazonaws.com";

    #[test]
    fn a_setting_beats_a_variable() {
        let vars =
            environment(&[("https_proxy", "var:1"), ("ALL_PROXY", "all:2"), ("NO_PROXY", "vpce.example")]);
        let host = |proxies: &Proxies, host| {
            proxies.way_to(true, host, 443).map(|proxy| proxy.url().host().to_owned())
        };
        let of_vars = Proxies::of(&settings(None, None), &vars).unwrap();
        assert_eq!(host(&of_vars, AWS).as_deref(), Some("var"));
        assert_eq!(host(&of_vars, "vpce.example"), None);
        let set = Proxies::of(&settings(Some("http://set:3"), None), &vars).unwrap();
        assert_eq!(host(&set, AWS).as_deref(), Some("set"));
        assert_eq!(host(&set, "vpce.example"), None, "the list of the variable is for any proxy");
        let both = Proxies::of(&settings(Some("http://set:3"), Some("amazonaws.com")), &vars).unwrap();
        assert_eq!(host(&both, AWS), None);
        assert_eq!(host(&both, "vpce.example").as_deref(), Some("set"));
        assert_eq!(host(&Proxies::of(&settings(None, None), &environment(&[])).unwrap(), AWS), None);
    }

    #[test]
    fn this_machine_and_what_is_in_the_clear_are_never_proxied() {
        let proxies = Proxies::of(&settings(Some("http://set:3"), None), &environment(&[])).unwrap();
        for (tls, host) in [
            (true, "localhost"),
            (true, "127.0.0.2"),
            (true, "[::1]"),
            (true, "::1"),
            (false, "169.254.169.254"),
        ] {
            assert_eq!(proxies.way_to(tls, host, 443), None, "{host}");
        }
        assert!(proxies.way_to(true, "10.0.0.5", 443).is_some());
    }

    #[test]
    fn a_variable_with_another_kind_of_proxy_is_told_of() {
        let vars = environment(&[("ALL_PROXY", "socks5://me:CANARY@proxy:1080")]);
        let fault = Proxies::of(&settings(None, None), &vars).unwrap_err();
        assert_eq!(fault.kind, FaultKind::InvalidArgument { field: "ALL_PROXY".to_owned() });
        assert!(!format!("{fault} {vars:?}").contains("CANARY"), "{fault}");
        assert!(Proxies::of(&settings(Some("http://set:3"), None), &vars).is_ok());
    }

    #[test]
    fn each_failure_says_who_named_the_proxy_and_what_to_type_and_no_password() {
        let proxies =
            Proxies::of(&settings(Some("http://me:CANARY@[2001:db8::1]:3"), None), &environment(&[]))
                .unwrap();
        let proxy = proxies.proxy().unwrap();
        let limit = Duration::from_secs(5);
        for fault in [
            proxy.unreachable("connection refused"),
            proxy.silent(AWS, limit),
            proxy.refused(AWS, Some(403)),
            proxy.refused(AWS, Some(407)),
            proxy.refused(AWS, Some(504)),
            proxy.unreadable(),
        ] {
            assert_eq!(fault.kind, FaultKind::Network);
            assert!(
                fault.detail.starts_with("the proxy http://me:***@[2001:db8::1]:3 (network.proxy) "),
                "{fault}"
            );
            assert!(fault.detail.contains("network.") && !fault.detail.contains("CANARY"), "{fault}");
        }
        let detail = proxy.refused(AWS, Some(407)).detail;
        assert!(detail.contains("set network.proxy http://USER:PASSWORD@[2001:db8::1]:3"), "{detail}");
        let vars = environment(&[("HTTPS_PROXY", "http://proxy:1")]);
        let of_vars = Proxies::of(&settings(None, None), &vars).unwrap();
        let detail = of_vars.proxy().unwrap().unreachable("x").detail;
        assert!(detail.contains("HTTPS_PROXY of the daemon's environment"), "{detail}");
    }
}
