//! Endpoints, specs, and changes of specs.

use std::collections::HashMap;
use std::num::NonZeroU16;

use stormtunnel_model::{
    InvalidName, Keep, Labels, LocalAddress, LocalEndpoint, LocalPort, Reason, RemoteEndpoint, SessionCount,
    TunnelSpec, TunnelSpecPatch,
};

use super::guards::{parse_reason, parse_ttl, ttl_to_message};
use super::{ConversionError, parsed};
use crate::v1;

/// The fields of a spec that an update may name.
pub(super) const MASK_PATHS: [&str; 12] = [
    "name",
    "profile",
    "region",
    "target",
    "remote",
    "local",
    "allow_non_loopback",
    "labels",
    "keep",
    "sessions",
    "reason",
    "ttl",
];

impl From<RemoteEndpoint> for v1::RemoteEndpoint {
    fn from(remote: RemoteEndpoint) -> Self {
        Self { host: remote.host, port: remote.port.get().into() }
    }
}

impl TryFrom<v1::RemoteEndpoint> for RemoteEndpoint {
    type Error = ConversionError;

    fn try_from(remote: v1::RemoteEndpoint) -> Result<Self, Self::Error> {
        let port = u16::try_from(remote.port).ok().and_then(NonZeroU16::new);
        let port =
            port.ok_or_else(|| ConversionError::invalid("port", &remote.port, "a port is 1 to 65535"))?;
        let host = remote.host;
        Self::new(host, port).map_err(|error| ConversionError::invalid("host", &error.value, error.rule))
    }
}

impl From<LocalEndpoint> for v1::LocalEndpoint {
    fn from(local: LocalEndpoint) -> Self {
        match local {
            LocalEndpoint::Tcp { address, port } => {
                Self { address: address.to_string(), port: u16::from(port).into(), unix_socket: None }
            }
            LocalEndpoint::Unix(path) => {
                Self { address: String::new(), port: 0, unix_socket: Some(path.into()) }
            }
        }
    }
}

impl TryFrom<v1::LocalEndpoint> for LocalEndpoint {
    type Error = ConversionError;

    fn try_from(local: v1::LocalEndpoint) -> Result<Self, Self::Error> {
        let v1::LocalEndpoint { address, port, unix_socket } = local;
        if let Some(path) = unix_socket {
            let invalid = |rule| ConversionError::invalid("unix_socket", &path, rule);
            if !address.is_empty() || port != 0 {
                return Err(invalid("a Unix socket has neither address nor port"));
            }
            return path.parse().map(Self::Unix).map_err(|error: InvalidName| invalid(error.rule));
        }
        let rule = "a port is 0 (automatic) to 65535";
        let port = u16::try_from(port).map_err(|_| ConversionError::invalid("port", &port, rule))?;
        let address = match address.as_str() {
            "" => LocalAddress::Localhost,
            text => text.parse().map_err(|_| ConversionError::invalid("address", text, ADDRESS_RULE))?,
        };
        Ok(Self::Tcp { address, port: LocalPort::from(port) })
    }
}

const ADDRESS_RULE: &str = "write \"localhost\" or an IP address";

impl From<TunnelSpec> for v1::TunnelSpec {
    fn from(spec: TunnelSpec) -> Self {
        let TunnelSpec {
            name,
            profile,
            region,
            target,
            remote,
            local,
            allow_non_loopback,
            labels,
            keep,
            sessions,
            reason,
            ttl,
        } = spec;
        Self {
            name: name.into(),
            profile: profile.map(String::from),
            region: region.map(String::from),
            target: target.into(),
            remote: Some(remote.into()),
            local: Some(local.into()),
            allow_non_loopback,
            labels: labels_to_message(labels),
            keep: v1::Keep::from(keep).into(),
            sessions: sessions.get().into(),
            reason: reason.map(Into::into),
            ttl: ttl.map(ttl_to_message),
        }
    }
}

impl TryFrom<v1::TunnelSpec> for TunnelSpec {
    type Error = ConversionError;

    fn try_from(spec: v1::TunnelSpec) -> Result<Self, Self::Error> {
        let v1::TunnelSpec {
            name,
            profile,
            region,
            target,
            remote,
            local,
            allow_non_loopback,
            labels,
            keep,
            sessions,
            reason,
            ttl,
        } = spec;
        Ok(Self {
            name: name.parse()?,
            profile: profile.map(|text| text.parse()).transpose()?,
            region: region.map(|text| text.parse()).transpose()?,
            target: target.parse()?,
            remote: parsed("remote", remote)?,
            local: local_or_automatic(local)?,
            allow_non_loopback,
            labels: parse_labels(labels)?,
            keep: parse_keep(keep)?,
            sessions: parse_sessions(sessions)?,
            reason: parse_reason(reason)?,
            ttl: parse_ttl(ttl)?,
        })
    }
}

fn labels_to_message(labels: Labels) -> HashMap<String, String> {
    labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
}

fn parse_labels(labels: HashMap<String, String>) -> Result<Labels, ConversionError> {
    labels.into_iter().map(|(key, value)| Ok((key.parse()?, value.parse()?))).collect()
}

impl From<Keep> for v1::Keep {
    fn from(keep: Keep) -> Self {
        match keep {
            Keep::Auto => Self::Auto,
            Keep::Warm => Self::Warm,
            Keep::OnDemand => Self::OnDemand,
        }
    }
}

/// What an older front end leaves out has its default.
fn parse_keep(keep: i32) -> Result<Keep, ConversionError> {
    match v1::Keep::try_from(keep) {
        Ok(v1::Keep::Unspecified | v1::Keep::Auto) => Ok(Keep::Auto),
        Ok(v1::Keep::Warm) => Ok(Keep::Warm),
        Ok(v1::Keep::OnDemand) => Ok(Keep::OnDemand),
        Err(_) => Err(ConversionError::invalid("keep", &keep, "it is none of the values of Keep")),
    }
}

fn parse_sessions(sessions: u32) -> Result<SessionCount, ConversionError> {
    if sessions == 0 {
        return Ok(SessionCount::ONE);
    }
    Ok(sessions.to_string().parse()?)
}

fn local_or_automatic(local: Option<v1::LocalEndpoint>) -> Result<LocalEndpoint, ConversionError> {
    match local {
        Some(_) => parsed("local", local),
        None => Ok(LocalEndpoint::AUTOMATIC),
    }
}

/// A change as the API writes it: a spec of which only the fields named by the mask count.
pub(super) fn patch_to_message(patch: TunnelSpecPatch) -> (v1::TunnelSpec, prost_types::FieldMask) {
    let TunnelSpecPatch {
        name,
        profile,
        region,
        target,
        remote,
        local,
        allow_non_loopback,
        labels,
        keep,
        sessions,
        reason,
        ttl,
    } = patch;
    let named = [
        name.is_some(),
        profile.is_some(),
        region.is_some(),
        target.is_some(),
        remote.is_some(),
        local.is_some(),
        allow_non_loopback.is_some(),
        labels.is_some(),
        keep.is_some(),
        sessions.is_some(),
        reason.is_some(),
        ttl.is_some(),
    ];
    let paths = MASK_PATHS.iter().zip(named).filter(|(_, named)| *named).map(|(path, _)| (*path).to_owned());
    let spec = v1::TunnelSpec {
        name: name.map(String::from).unwrap_or_default(),
        profile: profile.flatten().map(String::from),
        region: region.flatten().map(String::from),
        target: target.map(String::from).unwrap_or_default(),
        remote: remote.map(Into::into),
        local: local.map(Into::into),
        allow_non_loopback: allow_non_loopback.unwrap_or_default(),
        labels: labels_to_message(labels.unwrap_or_default()),
        keep: keep.map_or(v1::Keep::Unspecified, v1::Keep::from).into(),
        sessions: sessions.map_or(0, |sessions| sessions.get().into()),
        reason: reason.flatten().map(Reason::into),
        ttl: ttl.flatten().map(ttl_to_message),
    };
    (spec, prost_types::FieldMask { paths: paths.collect() })
}

/// Parses only what the mask names: the rest of `spec` may be empty.
pub(super) fn patch_from_message(
    spec: &v1::TunnelSpec,
    mask: Option<prost_types::FieldMask>,
) -> Result<TunnelSpecPatch, ConversionError> {
    let paths = mask.unwrap_or_default().paths;
    if paths.is_empty() {
        return Err(ConversionError::UnknownMaskPath { path: String::new() });
    }
    let mut patch = TunnelSpecPatch::default();
    for path in &paths {
        take_field(&mut patch, spec, path)?;
    }
    Ok(patch)
}

fn take_field(patch: &mut TunnelSpecPatch, spec: &v1::TunnelSpec, path: &str) -> Result<(), ConversionError> {
    let in_spec = |error: ConversionError| error.inside("spec");
    match path {
        "name" => patch.name = Some(spec.name.parse().map_err(ConversionError::from).map_err(in_spec)?),
        "profile" => {
            let profile = spec.profile.as_ref().map(|text| text.parse()).transpose();
            patch.profile = Some(profile.map_err(ConversionError::from).map_err(in_spec)?);
        }
        "region" => {
            let region = spec.region.as_ref().map(|text| text.parse()).transpose();
            patch.region = Some(region.map_err(ConversionError::from).map_err(in_spec)?);
        }
        "target" => patch.target = Some(spec.target.parse().map_err(ConversionError::from).map_err(in_spec)?),
        "remote" => patch.remote = Some(parsed("remote", spec.remote.clone()).map_err(in_spec)?),
        "local" => patch.local = Some(local_or_automatic(spec.local.clone()).map_err(in_spec)?),
        "allow_non_loopback" => patch.allow_non_loopback = Some(spec.allow_non_loopback),
        "labels" => patch.labels = Some(parse_labels(spec.labels.clone()).map_err(in_spec)?),
        "keep" => patch.keep = Some(parse_keep(spec.keep).map_err(in_spec)?),
        "sessions" => patch.sessions = Some(parse_sessions(spec.sessions).map_err(in_spec)?),
        "reason" => patch.reason = Some(parse_reason(spec.reason.clone()).map_err(in_spec)?),
        "ttl" => patch.ttl = Some(parse_ttl(spec.ttl).map_err(in_spec)?),
        unknown => return Err(ConversionError::UnknownMaskPath { path: unknown.to_owned() }),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::strategies;
    use super::*;

    proptest! {
        #[test]
        fn specs_read_back_as_written(spec in strategies::spec()) {
            prop_assert_eq!(TunnelSpec::try_from(v1::TunnelSpec::from(spec.clone())), Ok(spec));
        }

        #[test]
        fn patches_read_back_as_written(patch in strategies::patch()) {
            let (spec, mask) = patch_to_message(patch.clone());
            prop_assert_eq!(patch_from_message(&spec, Some(mask)), Ok(patch));
        }

        #[test]
        fn only_the_named_fields_are_taken(spec in strategies::spec(), index in 0..MASK_PATHS.len()) {
            let mask = prost_types::FieldMask { paths: vec![MASK_PATHS[index].to_owned()] };
            let patch = patch_from_message(&spec.into(), Some(mask)).unwrap();
            let (_, named) = patch_to_message(patch);
            prop_assert_eq!(named.paths, vec![MASK_PATHS[index].to_owned()]);
        }
    }

    fn message() -> v1::TunnelSpec {
        v1::TunnelSpec {
            name: "db".to_owned(),
            target: "i-0abcdef1234567890".to_owned(),
            remote: Some(v1::RemoteEndpoint { host: None, port: 5432 }),
            ..Default::default()
        }
    }

    fn unix(path: &str, port: u32) -> v1::TunnelSpec {
        let local = v1::LocalEndpoint { port, unix_socket: Some(path.to_owned()), ..Default::default() };
        v1::TunnelSpec { local: Some(local), ..message() }
    }

    fn seconds(seconds: i64) -> prost_types::Duration {
        prost_types::Duration { seconds, nanos: 0 }
    }

    #[test]
    fn an_absent_local_end_is_automatic() {
        let spec = TunnelSpec::try_from(message()).unwrap();
        assert_eq!(spec.local, LocalEndpoint::AUTOMATIC);
    }

    #[test]
    fn errors_name_the_field_with_its_path() {
        let cases = [
            (v1::TunnelSpec { name: "DB".to_owned(), ..message() }, "name"),
            (v1::TunnelSpec { profile: Some(String::new()), ..message() }, "profile"),
            (v1::TunnelSpec { region: Some("moon".to_owned()), ..message() }, "region"),
            (v1::TunnelSpec { target: String::new(), ..message() }, "target"),
            (v1::TunnelSpec { remote: None, ..message() }, "remote"),
            (v1::TunnelSpec { keep: 9, ..message() }, "keep"),
            (v1::TunnelSpec { sessions: 9, ..message() }, "sessions"),
            (v1::TunnelSpec { labels: [("a b".to_owned(), String::new())].into(), ..message() }, "labels"),
            (
                v1::TunnelSpec { remote: Some(v1::RemoteEndpoint { host: None, port: 0 }), ..message() },
                "remote.port",
            ),
            (
                v1::TunnelSpec {
                    remote: Some(v1::RemoteEndpoint { host: Some("a b".to_owned()), port: 1 }),
                    ..message()
                },
                "remote.host",
            ),
            (
                v1::TunnelSpec {
                    local: Some(v1::LocalEndpoint {
                        address: "example.com".to_owned(),
                        port: 1,
                        unix_socket: None,
                    }),
                    ..message()
                },
                "local.address",
            ),
            (
                v1::TunnelSpec {
                    local: Some(v1::LocalEndpoint { port: 65_536, ..Default::default() }),
                    ..message()
                },
                "local.port",
            ),
            (unix("db.sock", 0), "local.unix_socket"),
            (unix("/run/db.sock", 5432), "local.unix_socket"),
            (v1::TunnelSpec { reason: Some(String::new()), ..message() }, "reason"),
            (v1::TunnelSpec { ttl: Some(seconds(59)), ..message() }, "ttl"),
            (v1::TunnelSpec { ttl: Some(seconds(-60)), ..message() }, "ttl"),
        ];
        for (spec, field) in cases {
            let error = TunnelSpec::try_from(spec).unwrap_err();
            assert_eq!(error.field(), field);
        }
    }

    #[test]
    fn an_unknown_or_empty_mask_is_an_error() {
        for paths in [vec![], vec!["remote.port"], vec!["name", "speed"], vec!["*"]] {
            let paths: Vec<String> = paths.into_iter().map(str::to_owned).collect();
            let error = patch_from_message(&message(), Some(prost_types::FieldMask { paths })).unwrap_err();
            assert!(matches!(error, ConversionError::UnknownMaskPath { .. }), "{error}");
        }
    }
}
