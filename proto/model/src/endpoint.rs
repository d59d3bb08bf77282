//! The two ends of a tunnel: where it listens and where it leads.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::{InvalidName, checked_name};

/// Where a tunnel leads, beyond its target.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RemoteEndpoint {
    /// Host as the target resolves it; absent means the target itself.
    pub host: Option<String>,
    /// TCP port.
    pub port: NonZeroU16,
}

impl RemoteEndpoint {
    /// A remote end whose host is given apart from its port; an IPv6 address stands without brackets.
    ///
    /// # Errors
    /// [`InvalidName`] when the host is neither a DNS name nor an IP address.
    pub fn new(host: Option<String>, port: NonZeroU16) -> Result<Self, InvalidName> {
        match host.as_deref().map(check_host).transpose() {
            Ok(host) => Ok(Self { host, port }),
            Err(rule) => Err(InvalidName { field: "remote", value: host.unwrap_or_default(), rule }),
        }
    }

    /// The host to ask the target for, or nothing when the target itself is meant.
    ///
    /// Loopback names count as the target itself: agents from 3.3.4851 on refuse them as remote hosts, while the
    /// plain port document reaches the same listener.
    pub fn host_beyond_target(&self) -> Option<&str> {
        self.host.as_deref().filter(|host| !is_loopback_host(host))
    }
}

fn is_loopback_host(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.trim_matches(['[', ']']).parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

impl fmt::Display for RemoteEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Some(host) => write!(f, "{host}:{}", self.port),
            None => write!(f, "{}", self.port),
        }
    }
}

impl FromStr for RemoteEndpoint {
    type Err = InvalidName;

    /// Parses `PORT`, `HOST:PORT` or `[IPV6]:PORT`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |rule| InvalidName { field: "remote", value: text.to_owned(), rule };
        let (host, port) = split_host_port(text).ok_or_else(|| invalid(HOST_RULE))?;
        let port = port.parse().map_err(|_| invalid(PORT_RULE))?;
        let host = host.map(check_host).transpose().map_err(invalid)?;
        Ok(Self { host, port })
    }
}

const PORT_RULE: &str = "write [HOST:]PORT with a port from 1 to 65535";
const HOST_RULE: &str = "the host must be a DNS name, an IPv4 address or an IPv6 address in brackets";

fn check_host(host: &str) -> Result<String, &'static str> {
    let is_ip = host.parse::<IpAddr>().is_ok();
    let label_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if host.is_empty() {
        Err("the host is empty; leave out the colon to mean the target itself")
    } else if host.len() > 253 {
        Err("the host has more than 253 characters")
    } else if is_ip || host.bytes().all(label_byte) {
        Ok(host.to_owned())
    } else {
        Err(HOST_RULE)
    }
}

/// Splits off a port. An IPv6 address must stand in brackets, which are taken away, and nothing else may: `fd00::1:80`
/// could be an address without a port.
fn split_host_port(text: &str) -> Option<(Option<&str>, &str)> {
    let Some((host, port)) = text.rsplit_once(':') else { return Some((None, text)) };
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|inner| inner.parse::<Ipv6Addr>().is_ok())?,
        None if host.contains(':') => return None,
        None => host,
    };
    Some((Some(host), port))
}

/// Where a tunnel listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LocalEndpoint {
    /// A TCP port.
    Tcp {
        /// Address to bind.
        address: LocalAddress,
        /// Port to bind.
        port: LocalPort,
    },
    /// A Unix socket.
    Unix(SocketPath),
}

impl LocalEndpoint {
    /// Automatic port on both loopback addresses.
    pub const AUTOMATIC: Self = Self::Tcp { address: LocalAddress::Localhost, port: LocalPort::Automatic };

    /// Whether the system chooses the port.
    pub fn is_automatic(&self) -> bool {
        matches!(self, Self::Tcp { port: LocalPort::Automatic, .. })
    }

    /// Whether other machines can connect.
    pub fn is_open_to_network(&self) -> bool {
        match self {
            Self::Tcp { address, .. } => !address.is_loopback(),
            Self::Unix(_) => false,
        }
    }
}

checked_name! {
    /// The path of a Unix socket: absolute, in its plain form, at most 100 bytes. A socket's name has room for 103 on macOS
    /// and 107 on Linux.
    SocketPath, "local", check_socket_path
}

/// What stands before the path of a Unix socket.
const UNIX_PREFIX: &str = "unix:";

fn check_socket_path(text: &str) -> Result<(), &'static str> {
    let is_plain = |part: &str| !matches!(part, "" | "." | "..");
    match text.strip_prefix('/') {
        None => Err("the path of a Unix socket must be absolute: unix:/PATH"),
        Some(_) if text.len() > 100 => Err("the path of a Unix socket has at most 100 bytes"),
        Some(_) if text.chars().any(char::is_control) => Err("control characters cannot stand in a path"),
        Some(path) if path.split('/').all(is_plain) => Ok(()),
        Some(_) => Err("write the path of the Unix socket without \"//\", \".\" and \"..\""),
    }
}

/// Where a tunnel is reached now. Written `ADDRESS:PORT`, or `unix:PATH` for a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BoundAddress {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(SocketPath),
}

impl BoundAddress {
    /// The TCP port.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for BoundAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX_PREFIX}{path}"),
        }
    }
}

impl FromStr for BoundAddress {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix(UNIX_PREFIX) {
            return path.parse().map(Self::Unix);
        }
        let rule = "write IP:PORT (IPv6 in brackets) or unix:PATH";
        let invalid = |_| InvalidName { field: "listening", value: text.to_owned(), rule };
        text.parse().map(Self::Tcp).map_err(invalid)
    }
}

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LocalAddress {
    /// `127.0.0.1` and `::1` together, so that nobody else can take the other one.
    Localhost,
    /// One address.
    Ip(IpAddr),
}

impl LocalAddress {
    /// Whether only this machine can connect.
    pub fn is_loopback(self) -> bool {
        match self {
            Self::Localhost => true,
            Self::Ip(ip) => ip.is_loopback(),
        }
    }

    /// The addresses to bind, the one to show first.
    pub fn ips(self) -> Vec<IpAddr> {
        match self {
            Self::Localhost => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            Self::Ip(ip) => vec![ip],
        }
    }
}

impl fmt::Display for LocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Localhost => f.write_str("localhost"),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}

impl FromStr for LocalAddress {
    type Err = InvalidName;

    /// Parses `localhost` or an IP address.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "localhost" {
            return Ok(Self::Localhost);
        }
        let invalid = || InvalidName { field: "local", value: text.to_owned(), rule: ADDRESS_RULE };
        text.parse().map(Self::Ip).map_err(|_| invalid())
    }
}

const ADDRESS_RULE: &str = "the address must be \"localhost\" or an IP address (IPv6 in brackets)";

/// A port to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LocalPort {
    /// Chosen by the system at the first start, then kept.
    Automatic,
    /// Always this one.
    Fixed(NonZeroU16),
}

impl From<u16> for LocalPort {
    /// Zero means automatic.
    fn from(port: u16) -> Self {
        NonZeroU16::new(port).map_or(Self::Automatic, Self::Fixed)
    }
}

impl From<LocalPort> for u16 {
    fn from(port: LocalPort) -> Self {
        match port {
            LocalPort::Automatic => 0,
            LocalPort::Fixed(port) => port.get(),
        }
    }
}

const LOCAL_RULE: &str = "write [ADDRESS:]PORT with a port from 1 to 65535, \"auto\", or unix:PATH";

impl fmt::Display for LocalEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, port) = match self {
            Self::Tcp { address, port } => (address, port),
            Self::Unix(path) => return write!(f, "{UNIX_PREFIX}{path}"),
        };
        match address {
            LocalAddress::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:")?,
            LocalAddress::Localhost | LocalAddress::Ip(IpAddr::V4(_)) => write!(f, "{address}:")?,
        }
        match port {
            LocalPort::Automatic => f.write_str("auto"),
            LocalPort::Fixed(port) => port.fmt(f),
        }
    }
}

impl FromStr for LocalEndpoint {
    type Err = InvalidName;

    /// Parses `PORT`, `auto`, `ADDRESS:PORT`, `ADDRESS:auto` or `unix:PATH`; port 0 is another word for `auto`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |rule| InvalidName { field: "local", value: text.to_owned(), rule };
        if let Some(path) = text.strip_prefix(UNIX_PREFIX) {
            return path.parse().map(Self::Unix).map_err(|error: InvalidName| invalid(error.rule));
        }
        let (address, port) = split_host_port(text).ok_or_else(|| invalid(ADDRESS_RULE))?;
        let port = match port {
            "auto" => LocalPort::Automatic,
            number => number.parse::<u16>().map_err(|_| invalid(LOCAL_RULE))?.into(),
        };
        let address = address.map_or(Ok(LocalAddress::Localhost), str::parse)?;
        Ok(Self::Tcp { address, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_endpoints_read_back_as_written() {
        for text in ["5432", "db.internal:5432", "10.0.0.7:80", "[fd00::1]:443"] {
            let endpoint: RemoteEndpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), text);
        }
        for text in ["", "0", "65536", "db:", ":80", "db:x", "a b:80", "db:80:90 "] {
            assert!(text.parse::<RemoteEndpoint>().is_err(), "{text:?} should be refused");
        }
    }

    /// Without brackets nobody can tell where an IPv6 address ends.
    #[test]
    fn brackets_stand_around_ipv6_addresses_and_nothing_else() {
        for text in ["fd00::1:443", "::1:80", "[db]:80", "[10.0.0.7]:80", "[fd00::1:443", "[]:80"] {
            let error = text.parse::<RemoteEndpoint>().expect_err(text);
            assert!(error.rule.contains("IPv6 address in brackets"), "{error}");
            let error = text.parse::<LocalEndpoint>().expect_err(text);
            assert!(error.rule.contains("IPv6 in brackets"), "{error}");
        }
    }

    #[test]
    fn loopback_hosts_mean_the_target_itself() {
        for text in ["localhost:80", "LOCALHOST:80", "127.0.0.1:80", "127.8.9.1:80", "[::1]:80", "80"] {
            let endpoint: RemoteEndpoint = text.parse().unwrap();
            assert_eq!(endpoint.host_beyond_target(), None, "{text}");
        }
        let endpoint: RemoteEndpoint = "db.internal:80".parse().unwrap();
        assert_eq!(endpoint.host_beyond_target(), Some("db.internal"));
    }

    #[test]
    fn local_endpoints_read_back_as_written() {
        for (text, shown) in [
            ("auto", "localhost:auto"),
            ("0", "localhost:auto"),
            ("5432", "localhost:5432"),
            ("127.0.0.2:80", "127.0.0.2:80"),
            ("[::1]:auto", "[::1]:auto"),
        ] {
            let endpoint: LocalEndpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), shown);
        }
        for text in ["", "x", "70000", "example.com:80", ":80"] {
            assert!(text.parse::<LocalEndpoint>().is_err(), "{text:?} should be refused");
        }
    }

    #[test]
    fn only_loopback_counts_as_private() {
        assert!(LocalAddress::Localhost.is_loopback());
        assert!("127.0.0.9".parse::<LocalAddress>().unwrap().is_loopback());
        assert!(!"0.0.0.0".parse::<LocalAddress>().unwrap().is_loopback());
    }

    #[test]
    fn a_unix_socket_is_an_absolute_path_in_its_plain_form() {
        let longest = format!("unix:/{}", "s".repeat(99));
        for text in ["unix:/run/user/1000/db.sock", "unix:/a b", "unix:/ä:5432", &longest] {
            let endpoint: LocalEndpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), text);
            assert!(!endpoint.is_open_to_network() && !endpoint.is_automatic());
            let bound: BoundAddress = text.parse().unwrap();
            assert_eq!((bound.to_string(), bound.port()), (text.to_owned(), None));
        }
        let long = format!("{longest}s");
        for text in
            ["unix:", "unix:/", "unix:db.sock", "unix:/a//b", "unix:/a/../b", "unix:/a/", "unix:/a\0", &long]
        {
            let error = text.parse::<LocalEndpoint>().expect_err(text);
            assert_eq!((error.field, error.value.as_str()), ("local", text));
        }
    }

    #[test]
    fn bound_addresses_read_back_as_written() {
        for (text, port) in [("127.0.0.1:80", 80), ("[::1]:5432", 5432)] {
            let bound: BoundAddress = text.parse().unwrap();
            assert_eq!((bound.to_string(), bound.port()), (text.to_owned(), Some(port)));
        }
        for text in ["", "80", "localhost:80", "/run/db.sock"] {
            assert!(text.parse::<BoundAddress>().is_err(), "{text}");
        }
    }
}
