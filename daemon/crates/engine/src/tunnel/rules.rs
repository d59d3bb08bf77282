//! What a set of tunnels may look like: pure checks on specs.

use std::net::IpAddr;

use stormtunnel_model::{
    Fault, FaultKind, Intent, LocalAddress, LocalEndpoint, LocalPort, RunTerms, StartOptions, Timestamp,
    TunnelId, TunnelSpec,
};

use crate::ports::StoredTunnel;

/// The fault of a spec that cannot be, whatever else there is.
pub(crate) fn check_spec(spec: &TunnelSpec) -> Result<(), Fault> {
    spec.validate().map_err(|error| {
        Fault::new(FaultKind::InvalidArgument { field: error.field().to_owned() }, error.to_string())
    })
}

/// The fault of a start that a person has to confirm, and did not.
pub(crate) fn check_confirmed(spec: &TunnelSpec, options: &StartOptions) -> Result<(), Fault> {
    match spec.confirm_label() {
        Some(label) if !options.confirmed => {
            let (tunnel, label) = (spec.name.to_string(), label.to_string());
            Err(Fault::new(FaultKind::ConfirmationNeeded { tunnel, label }, ""))
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether a tunnel is to run at that time: it was asked to, and its time is not over.
pub(crate) fn runs(tunnel: &StoredTunnel, now: Timestamp) -> bool {
    tunnel.intent == Intent::Run && !tunnel.terms.is_over(now)
}

/// The terms of a tunnel that is asked to run. What is not asked for is as it was, or as the spec has it; `renews`: the time
/// of the spec begins anew. So a start that is repeated takes no end away.
pub(crate) fn terms_after(
    tunnel: &StoredTunnel,
    options: &StartOptions,
    renews: bool,
    now: Timestamp,
) -> RunTerms {
    let none = RunTerms::default();
    let (spec, terms) = (&tunnel.spec, if tunnel.terms.is_over(now) { &none } else { &tunnel.terms });
    let reason = [&options.reason, &terms.reason, &spec.reason].into_iter().find_map(Clone::clone);
    let ttl = options.ttl.or(spec.ttl.filter(|_| renews));
    RunTerms { reason, stops_at: ttl.map(|ttl| now.plus(ttl.into())).or(terms.stops_at) }
}

/// The fault of a local end that another tunnel has. `own` is the tunnel that it is of.
pub(crate) fn check_port<'a>(
    local: &LocalEndpoint,
    own: Option<TunnelId>,
    tunnels: impl Iterator<Item = &'a StoredTunnel>,
) -> Result<(), Fault> {
    let mut others = tunnels.filter(|other| Some(other.id) != own);
    others.find(|other| clash(&claim(&other.spec.local, other.kept_port), local)).map_or(Ok(()), |other| {
        let holder = Some(format!("tunnel \"{}\"", other.spec.name));
        Err(Fault::new(FaultKind::PortInUse { address: local.to_string(), holder }, ""))
    })
}

/// The local end that a tunnel has or will ask for: a port that was kept takes the place of an automatic one.
pub(crate) fn claim(local: &LocalEndpoint, kept_port: Option<u16>) -> LocalEndpoint {
    match local {
        LocalEndpoint::Tcp { address, port: LocalPort::Automatic } => {
            LocalEndpoint::Tcp { address: *address, port: LocalPort::from(kept_port.unwrap_or(0)) }
        }
        LocalEndpoint::Tcp { port: LocalPort::Fixed(_), .. } | LocalEndpoint::Unix(_) => local.clone(),
    }
}

/// The kept port after a change of spec: it stays with a tunnel that stays automatic, unless another one has it on the
/// addresses that are new.
pub(crate) fn kept_port_after<'a>(
    tunnel: &StoredTunnel,
    next: &TunnelSpec,
    tunnels: impl Iterator<Item = &'a StoredTunnel>,
) -> Option<u16> {
    let kept = tunnel.kept_port.filter(|_| next.local.is_automatic())?;
    check_port(&claim(&next.local, Some(kept)), Some(tunnel.id), tunnels).is_ok().then_some(kept)
}

/// Whether only one of two tunnels can have its local end. Of two automatic ports the system makes two.
fn clash(one: &LocalEndpoint, other: &LocalEndpoint) -> bool {
    match (one, other) {
        (
            LocalEndpoint::Tcp { address: one, port: LocalPort::Fixed(port) },
            LocalEndpoint::Tcp { address: other, port: LocalPort::Fixed(other_port) },
        ) => port == other_port && overlap(*one, *other),
        (LocalEndpoint::Unix(one), LocalEndpoint::Unix(other)) => one == other,
        (LocalEndpoint::Tcp { .. } | LocalEndpoint::Unix(_), _) => false,
    }
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
    use std::time::Duration;

    use stormtunnel_model::Label;

    use super::*;
    use crate::testing::{spec, stored};

    fn on(local: &str) -> TunnelSpec {
        TunnelSpec { local: local.parse().unwrap(), allow_non_loopback: true, ..spec("new") }
    }

    fn check(local: &str, own: Option<TunnelId>, other: &StoredTunnel) -> Result<(), Fault> {
        check_port(&on(local).local, own, [other].into_iter())
    }

    #[test]
    fn a_port_of_another_tunnel_is_refused_with_its_name() {
        let other = stored(on("localhost:5432"));
        for local in ["5432", "127.0.0.1:5432", "[::1]:5432", "0.0.0.0:5432", "[::]:5432"] {
            let fault = check(local, None, &other).unwrap_err();
            let holder = Some("tunnel \"new\"".to_owned());
            assert_eq!(fault.kind, FaultKind::PortInUse { address: on(local).local.to_string(), holder });
        }
        for local in ["5433", "127.0.0.2:5432", "auto", "unix:/run/db/5432"] {
            assert_eq!(check(local, None, &other), Ok(()), "{local}");
        }
        assert_eq!(check("5432", Some(other.id), &other), Ok(()), "its own port");
    }

    #[test]
    fn a_socket_of_another_tunnel_is_refused_like_a_port() {
        let other = stored(on("unix:/run/db.sock"));
        let fault = check("unix:/run/db.sock", None, &other).unwrap_err();
        assert_eq!(fault.to_string(), "local socket unix:/run/db.sock is in use by tunnel \"new\"");
        assert_eq!(check("unix:/run/db2.sock", None, &other), Ok(()));
        assert_eq!(check("5432", None, &other), Ok(()));
        assert_eq!(check("unix:/run/db.sock", Some(other.id), &other), Ok(()), "its own socket");
    }

    #[test]
    fn a_kept_port_counts_like_a_fixed_one() {
        let mut other = stored(on("auto"));
        assert_eq!(check("40000", None, &other), Ok(()));
        other.kept_port = Some(40000);
        assert!(check("40000", None, &other).is_err());
        let after = |next: &str, beside: &[StoredTunnel]| kept_port_after(&other, &on(next), beside.iter());
        assert_eq!(after("[::1]:auto", &[]), Some(40000));
        assert_eq!(after("40001", &[]), None);
        assert_eq!(after("unix:/run/db.sock", &[]), None);
        let third = stored(TunnelSpec { name: "third".parse().unwrap(), ..on("127.0.0.2:40000") });
        assert_eq!(after("127.0.0.2:auto", std::slice::from_ref(&third)), None, "it is the third's there");
        assert_eq!(after("auto", &[third]), Some(40000));
    }

    #[test]
    fn a_start_is_confirmed_where_a_label_says_so() {
        let label: Label = "confirm=true".parse().unwrap();
        let guarded = TunnelSpec { labels: [label.into()].into(), ..spec("prod-db") };
        let confirmed = StartOptions { confirmed: true, ..StartOptions::default() };
        let fault = check_confirmed(&guarded, &StartOptions::default()).unwrap_err();
        let (tunnel, label) = ("prod-db".to_owned(), "confirm=true".to_owned());
        assert_eq!(fault.kind, FaultKind::ConfirmationNeeded { tunnel, label });
        assert_eq!(check_confirmed(&guarded, &confirmed), Ok(()));
        assert_eq!(check_confirmed(&spec("db"), &StartOptions::default()), Ok(()));
    }

    #[test]
    fn terms_come_from_the_start_then_from_the_run_then_from_the_spec() {
        let (now, hour) = (Timestamp::from_millis(1_000_000), Duration::from_secs(3600));
        let reason = |text: &str| Some(text.parse().unwrap());
        let mut tunnel =
            stored(TunnelSpec { reason: reason("spec"), ttl: Some(hour.try_into().unwrap()), ..spec("db") });
        let nothing = StartOptions::default();
        let asked = StartOptions {
            reason: reason("asked"),
            ttl: Some((2 * hour).try_into().unwrap()),
            ..nothing.clone()
        };
        let of_spec = RunTerms { reason: reason("spec"), stops_at: Some(now.plus(hour)) };
        assert_eq!(terms_after(&tunnel, &nothing, true, now), of_spec);
        let terms = RunTerms { reason: reason("asked"), stops_at: Some(now.plus(2 * hour)) };
        assert_eq!(terms_after(&tunnel, &asked, true, now), terms);

        tunnel.terms = terms.clone();
        assert_eq!(terms_after(&tunnel, &nothing, false, now.plus(hour)), terms, "a restart changes nothing");
        let renewed = RunTerms { stops_at: Some(now.plus(2 * hour)), ..terms.clone() };
        assert_eq!(
            terms_after(&tunnel, &nothing, true, now.plus(hour)),
            renewed,
            "the time of the spec, anew"
        );
        tunnel.spec.ttl = None;
        assert_eq!(terms_after(&tunnel, &nothing, true, now.plus(hour)), terms, "no end is taken away");
    }

    #[test]
    fn beyond_loopback_needs_consent() {
        let fault = check_spec(&TunnelSpec { allow_non_loopback: false, ..on("0.0.0.0:5432") }).unwrap_err();
        assert_eq!(fault.kind, FaultKind::InvalidArgument { field: "local".to_owned() });
        assert!(fault.detail.contains("--allow-non-loopback"));
    }
}
