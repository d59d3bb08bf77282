//! What a set of tunnels may look like: pure checks on specs.

use std::net::IpAddr;

use stormtunnel_model::{Fault, FaultKind, LocalAddress, LocalPort, TunnelId, TunnelSpec};

use crate::ports::StoredTunnel;

/// The fault of a spec that cannot be, whatever else there is.
pub(crate) fn check_spec(spec: &TunnelSpec) -> Result<(), Fault> {
    spec.validate().map_err(|error| {
        Fault::new(FaultKind::InvalidArgument { field: error.field().to_owned() }, error.to_string())
    })
}

/// The fault of a spec that another tunnel's port stands against. `own` is the tunnel that the spec is of.
pub(crate) fn check_port<'a>(
    spec: &TunnelSpec,
    own: Option<TunnelId>,
    mut tunnels: impl Iterator<Item = &'a StoredTunnel>,
) -> Result<(), Fault> {
    let LocalPort::Fixed(port) = spec.local.port else { return Ok(()) };
    let clashes = |other: &&StoredTunnel| {
        Some(other.id) != own
            && claimed_port(other) == Some(port.get())
            && overlap(other.spec.local.address, spec.local.address)
    };
    tunnels.find(clashes).map_or(Ok(()), |other| {
        let holder = Some(format!("tunnel \"{}\"", other.spec.name));
        Err(Fault::new(FaultKind::PortInUse { address: spec.local.to_string(), holder }, ""))
    })
}

/// The port that a tunnel has or will ask for; none for an automatic one that never ran.
pub(crate) fn claimed_port(tunnel: &StoredTunnel) -> Option<u16> {
    match tunnel.spec.local.port {
        LocalPort::Fixed(port) => Some(port.get()),
        LocalPort::Automatic => tunnel.kept_port,
    }
}

/// The kept port after a change of spec: it stays with a tunnel that stays automatic.
pub(crate) fn kept_port_after(tunnel: &StoredTunnel, next: &TunnelSpec) -> Option<u16> {
    tunnel.kept_port.filter(|_| next.local.port == LocalPort::Automatic)
}

/// Whether both cannot be bound with the same port.
fn overlap(a: LocalAddress, b: LocalAddress) -> bool {
    let clash = |a: &IpAddr, b: &IpAddr| {
        a == b || (a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified()))
    };
    a.ips().iter().any(|a| b.ips().iter().any(|b| clash(a, b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{spec, stored};

    fn on(local: &str) -> TunnelSpec {
        TunnelSpec { local: local.parse().unwrap(), allow_non_loopback: true, ..spec("new") }
    }

    #[test]
    fn a_port_of_another_tunnel_is_refused_with_its_name() {
        let other = stored(on("localhost:5432"));
        for local in ["5432", "127.0.0.1:5432", "[::1]:5432", "0.0.0.0:5432", "[::]:5432"] {
            let fault = check_port(&on(local), None, [&other].into_iter()).unwrap_err();
            let holder = Some("tunnel \"new\"".to_owned());
            assert_eq!(fault.kind, FaultKind::PortInUse { address: on(local).local.to_string(), holder });
        }
        for local in ["5433", "127.0.0.2:5432", "auto"] {
            assert_eq!(check_port(&on(local), None, [&other].into_iter()), Ok(()), "{local}");
        }
        assert_eq!(check_port(&on("5432"), Some(other.id), [&other].into_iter()), Ok(()), "its own port");
    }

    #[test]
    fn a_kept_port_counts_like_a_fixed_one() {
        let mut other = stored(on("auto"));
        assert_eq!(check_port(&on("40000"), None, [&other].into_iter()), Ok(()));
        other.kept_port = Some(40000);
        assert!(check_port(&on("40000"), None, [&other].into_iter()).is_err());
        assert_eq!(kept_port_after(&other, &on("[::1]:auto")), Some(40000));
        assert_eq!(kept_port_after(&other, &on("40001")), None);
    }

    #[test]
    fn beyond_loopback_needs_consent() {
        let fault = check_spec(&TunnelSpec { allow_non_loopback: false, ..on("0.0.0.0:5432") }).unwrap_err();
        assert_eq!(fault.kind, FaultKind::InvalidArgument { field: "local".to_owned() });
        assert!(fault.detail.contains("--allow-non-loopback"));
    }
}
