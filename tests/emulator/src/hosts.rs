//! Name resolution and addressing "in the VPC": which real loopback address stands for a host and port.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Addresses that AWS's agent refuses to forward to: instance metadata, DNS, time and KMS services.
const SERVICE_ADDRESSES: [&str; 9] = [
    "169.254.169.254",
    "fd00:ec2::254",
    "169.254.169.253",
    "fd00:ec2::253",
    "169.254.169.123",
    "fd00:ec2::123",
    "169.254.169.250",
    "169.254.169.251",
    "fd00:ec2::240",
];

/// What a session is to forward to, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    /// What the agent dials, in order.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Whether the host is the agent's machine itself, under whatever name it was given.
    pub(crate) loopback: bool,
}

/// The name does not resolve; the text is Go's, as the agent reports it.
#[derive(Debug, thiserror::Error)]
#[error("lookup {0} on 127.0.0.1:53: no such host")]
pub(crate) struct LookupError(String);

/// The map of names. Names are case-insensitive.
#[derive(Debug, Default)]
pub(crate) struct Hosts(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    services: BTreeMap<(String, u16), SocketAddr>,
    names: BTreeMap<String, IpAddr>,
}

impl Hosts {
    pub(crate) fn map_service(&self, name: &str, port: u16, address: SocketAddr) {
        self.table().services.insert((name.to_lowercase(), port), address);
    }

    pub(crate) fn map_address(&self, name: &str, address: IpAddr) {
        self.table().names.insert(name.to_lowercase(), address);
    }

    pub(crate) fn unmap(&self, name: &str) {
        let name = name.to_lowercase();
        let mut table = self.table();
        table.names.remove(&name);
        table.services.retain(|(known, _), _| *known != name);
    }

    /// Resolves a host as the agent would on its machine; `None` is the machine itself.
    pub(crate) fn resolve(&self, host: Option<&str>, port: u16) -> Result<Destination, LookupError> {
        let name = host.unwrap_or("localhost").to_lowercase();
        let table = self.table();
        if let Some(address) = table.services.get(&(name.clone(), port)) {
            return Ok(Destination { addresses: vec![*address], loopback: is_loopback_name(&name) });
        }
        if let Some(address) = table.names.get(&name) {
            return Ok(Destination { addresses: vec![SocketAddr::new(*address, port)], loopback: false });
        }
        if name == "localhost" {
            let both = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
            let addresses = both.map(|address| SocketAddr::new(address, port)).to_vec();
            return Ok(Destination { addresses, loopback: true });
        }
        let address: IpAddr = name.parse().map_err(|_| LookupError(name.clone()))?;
        Ok(Destination { addresses: vec![SocketAddr::new(address, port)], loopback: address.is_loopback() })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether AWS's agent refuses this address as a remote host.
pub(crate) fn is_service_address(address: IpAddr) -> bool {
    SERVICE_ADDRESSES.iter().any(|denied| denied.parse() == Ok(address))
}

fn is_loopback_name(name: &str) -> bool {
    name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_mapped_service_wins_over_everything() {
        let hosts = Hosts::default();
        hosts.map_address("db.internal", "10.0.0.7".parse().unwrap());
        hosts.map_service("DB.internal", 5432, address("127.0.0.1:4711"));
        let resolve = |port| hosts.resolve(Some("db.INTERNAL"), port).unwrap();
        assert_eq!(
            resolve(5432),
            Destination { addresses: vec![address("127.0.0.1:4711")], loopback: false }
        );
        assert_eq!(resolve(80).addresses, [address("10.0.0.7:80")]);
        hosts.unmap("db.internal");
        let error = hosts.resolve(Some("db.internal"), 80).unwrap_err();
        assert_eq!(error.to_string(), "lookup db.internal on 127.0.0.1:53: no such host");
    }

    #[test]
    fn the_machine_itself_is_loopback_by_every_name() {
        let hosts = Hosts::default();
        for host in [None, Some("localhost"), Some("127.0.0.1"), Some("::1")] {
            assert!(hosts.resolve(host, 80).unwrap().loopback, "{host:?}");
        }
        hosts.map_service("localhost", 80, address("127.0.0.1:4711"));
        assert!(hosts.resolve(None, 80).unwrap().loopback);
    }

    #[test]
    fn service_addresses_are_known() {
        assert!(is_service_address("169.254.169.254".parse().unwrap()));
        assert!(is_service_address("fd00:ec2::240".parse().unwrap()));
        assert!(!is_service_address("10.0.0.2".parse().unwrap()));
    }
}
