//! Proxies, and the hosts that are reached without one.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::endpoint::{is_dns_name, is_port};

/// What a proxy looks like, in words.
pub const PROXY_RULE: &str = "write http://[USER[:PASSWORD]@]HOST[:PORT] or https://…, with %3A, %40 and %2F for :, @ and / in user and password";
/// What hosts without a proxy look like, in words.
const NO_PROXY_RULE: &str =
    "write hosts, .suffixes, addresses and networks such as 10.0.0.0/8, each with a :PORT if it counts, or *";
/// In the place of a password, wherever a proxy is shown.
const HIDDEN: &str = "***";

/// An HTTP proxy. `Debug` and `Display` hide the password.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl {
    tls: bool,
    login: Option<String>,
    host: String,
    port: u16,
}

impl ProxyUrl {
    /// What an environment variable says, where the scheme may be left out.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn from_variable(value: &str) -> Result<Self, &'static str> {
        if value.contains("://") { value.parse() } else { format!("http://{value}").parse() }
    }

    /// Whether the proxy itself is reached over TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Name or address, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port: the scheme's where none is written.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// User and password, as bytes that were percent-encoded stand for; an absent password is empty.
    pub fn login(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let login = self.login.as_ref()?;
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        Some((decoded(user), decoded(password)))
    }

    /// The whole URL, password included: for the settings file and for whoever connects.
    pub fn reveal(&self) -> String {
        self.with_login(self.login.as_deref())
    }

    fn with_login(&self, login: Option<&str>) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        let login = login.map(|login| format!("{login}@")).unwrap_or_default();
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{scheme}://{login}{host}:{}", self.port)
    }
}

impl FromStr for ProxyUrl {
    type Err = &'static str;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        let (tls, rest) = match (value.strip_prefix("https://"), value.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(PROXY_RULE),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, authority),
        };
        if login.is_some_and(|login| !is_login(login)) {
            return Err(PROXY_RULE);
        }
        let (host, port) = split_port(place).ok_or(PROXY_RULE)?;
        if host.parse::<IpAddr>().is_err() && !is_dns_name(host) {
            return Err(PROXY_RULE);
        }
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { tls, login: login.map(str::to_owned), host: host.to_owned(), port })
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = self.login.as_deref().map(|login| match login.split_once(':') {
            Some((user, _)) => format!("{user}:{HIDDEN}"),
            None => login.to_owned(),
        });
        f.write_str(&self.with_login(hidden.as_deref()))
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As URLs have it; and what was shown in the place of a password is none.
fn is_login(login: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_graphic() && !b"@/?#[]\\\"<>^`{|}".contains(&byte);
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let encoded = login
        .split('%')
        .skip(1)
        .all(|rest| rest.get(..2).is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit())));
    login.bytes().all(known) && encoded && !user.is_empty() && !password.contains(':') && password != HIDDEN
}

/// Bytes that `%` and two digits stand for.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let (digits, behind) = after.split_at_checked(2).unwrap_or(("", after));
        bytes.extend(u8::from_str_radix(digits, 16));
        rest = behind;
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`; a bare IPv6 address has no port.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (ip, behind) = bracketed.split_once(']')?;
            let port = if behind.is_empty() { None } else { Some(behind.strip_prefix(':')?) };
            (ip.parse::<std::net::Ipv6Addr>().is_ok().then_some(ip)?, port)
        }
        None if text.parse::<IpAddr>().is_ok() => (text, None),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    match port {
        None => Some((host, None)),
        Some(port) => Some((host, Some(is_port(port).then(|| port.parse().ok())??))),
    }
}

/// Hosts that are reached without a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoProxy(Vec<Rule>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    All,
    /// A name and all below it.
    Domain(String),
    Network(IpAddr, u8),
}

impl NoProxy {
    /// What an environment variable says; entries that mean nothing are left out.
    pub fn from_variable(value: &str) -> Self {
        Self(entries(value).filter_map(Rule::parse).collect())
    }

    /// Whether that host is reached directly. `host` is a name or an address, with or without brackets.
    pub fn contains(&self, host: &str, port: u16) -> bool {
        let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
        let address: Option<IpAddr> = host.parse().ok();
        self.0.iter().any(|rule| {
            let here = match (&rule.hosts, address) {
                (Hosts::All, _) => true,
                (Hosts::Network(network, bits), Some(address)) => is_in(address, *network, *bits),
                (Hosts::Domain(domain), None) => {
                    let above = host.strip_suffix(domain.as_str());
                    above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
                }
                (Hosts::Network(..), None) | (Hosts::Domain(_), Some(_)) => false,
            };
            here && rule.port.is_none_or(|wanted| wanted == port)
        })
    }
}

impl FromStr for NoProxy {
    type Err = String;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        let rule = |entry| Rule::parse(entry).ok_or_else(|| NO_PROXY_RULE.to_owned());
        entries(value).map(rule).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for NoProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, rule) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            match &rule.hosts {
                Hosts::All => f.write_str("*")?,
                Hosts::Domain(domain) => f.write_str(domain)?,
                Hosts::Network(ip @ IpAddr::V6(_), bits) if rule.port.is_some() && *bits == full(*ip) => {
                    write!(f, "[{ip}]")?;
                }
                Hosts::Network(ip, bits) if *bits == full(*ip) => write!(f, "{ip}")?,
                Hosts::Network(ip, bits) => write!(f, "{ip}/{bits}")?,
            }
            if let Some(port) = rule.port {
                write!(f, ":{port}")?;
            }
        }
        Ok(())
    }
}

impl Rule {
    fn parse(entry: &str) -> Option<Self> {
        if let Some((network, bits)) = entry.split_once('/') {
            let network: IpAddr = network.parse().ok()?;
            let bits: u8 = bits.parse().ok().filter(|bits| *bits <= full(network))?;
            return Some(Self { hosts: Hosts::Network(network, bits), port: None });
        }
        let (host, port) = split_port(entry)?;
        let hosts = if let Ok(ip) = host.parse::<IpAddr>() {
            Hosts::Network(ip, full(ip))
        } else if host == "*" {
            Hosts::All
        } else {
            let name = host.strip_prefix("*.").or_else(|| host.strip_prefix('.')).unwrap_or(host);
            is_dns_name(name).then(|| Hosts::Domain(name.to_ascii_lowercase()))?
        };
        Some(Self { hosts, port })
    }
}

fn entries(value: &str) -> impl Iterator<Item = &str> {
    value.split([',', ' ']).filter(|entry| !entry.is_empty())
}

fn full(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn is_in(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let host_bits = u32::from(full(network) - bits);
    match (address, network) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            (one.to_bits() ^ other.to_bits()).checked_shr(host_bits).unwrap_or(0) == 0
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            (one.to_bits() ^ other.to_bits()).checked_shr(host_bits).unwrap_or(0) == 0
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

pub(super) fn parse_proxy(value: &str) -> Result<ProxyUrl, String> {
    value.parse().map_err(str::to_owned)
}

/// Not an empty list: no setting is how that is written.
pub(super) fn parse_no_proxy(value: &str) -> Result<NoProxy, String> {
    let list: NoProxy = value.parse()?;
    if list.0.is_empty() { Err(NO_PROXY_RULE.to_owned()) } else { Ok(list) }
}

/// A value of the proxy setting without its password. Of what is no proxy nothing is known, and nothing is shown.
pub(super) fn hidden(value: &str) -> String {
    if value.is_empty() {
        return String::new();
    }
    value.parse().map_or_else(|_| HIDDEN.to_owned(), |proxy: ProxyUrl| proxy.to_string())
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
