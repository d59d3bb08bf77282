//! Entry shared by the fuzz target `names` and the test that replays its corpus.
//!
//! The data is one text, which goes through every parser of this crate, and then, line by line, through those of a
//! whole spec. What is accepted must read back as itself and keep what other programs rely on.

use std::fmt::{Debug, Display};
use std::net::IpAddr;
use std::str::{FromStr, Lines};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::de::value::{Error as ValueError, StrDeserializer};

use crate::endpoint::{BoundAddress, LocalAddress, LocalEndpoint, LocalPort, RemoteEndpoint, SocketPath};
use crate::guards::Reason;
use crate::ids::{Timestamp, TunnelId};
use crate::keep::{Keep, SessionCount};
use crate::label::Labels;
use crate::name::{InvalidName, Profile, Region, TunnelName};
use crate::selector::Selector;
use crate::sign_in::SignInName;
use crate::spec::{TunnelSpec, TunnelSpecPatch};
use crate::target::{InstanceForm, ResolvedTarget, Target, TargetForm};

/// Panics if a parser breaks a promise.
pub fn names(data: &[u8]) {
    numbers(data);
    let Ok(text) = str::from_utf8(data) else { return };
    name::<TunnelName>(text, |text| text.len() <= 63 && text.bytes().all(is_label_byte) && !is_option(text));
    name::<Profile>(text, |text| !text.chars().any(char::is_control) && text.chars().count() <= 256);
    name::<Region>(text, |text| text.len() <= 63 && text.bytes().all(is_label_byte) && !is_option(text));
    name::<SignInName>(text, |text| text.len() <= 4096 && !text.chars().any(char::is_control));
    name::<Target>(text, |text| text.len() <= 400 && !text.chars().any(char::is_control) && !is_option(text));
    name::<ResolvedTarget>(text, |text| text.bytes().all(is_node_byte) && !is_option(text));
    name::<Reason>(text, |text| !text.chars().any(char::is_control) && text.chars().count() <= 256);
    name::<SocketPath>(text, |text| text.starts_with('/') && text.len() <= 100 && !text.contains('\0'));
    target(text);
    remote(text);
    local(text);
    round_trip::<Selector>(text);
    if let Some(id) = round_trip::<TunnelId>(text) {
        assert_eq!(id.to_string().len(), 36);
    }
    let mut lines = text.lines();
    if let Some(first) = spec(&mut lines) {
        specs(&first, &spec(&mut lines).unwrap_or_else(|| first.clone()));
    }
}

fn is_label_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

fn is_node_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':')
}

/// Another program's command line would take it for an option.
fn is_option(text: &str) -> bool {
    text.starts_with('-')
}

/// What parses shows itself as something that parses to the same.
fn round_trip<T: FromStr + Display + PartialEq + Debug>(text: &str) -> Option<T> {
    let value: T = text.parse().ok()?;
    let again = value.to_string().parse().ok();
    assert_eq!(again.as_ref(), Some(&value), "{text:?}");
    Some(value)
}

/// A checked name is the text itself, holds its promise, and no other way in is wider.
fn name<T>(text: &str, promise: fn(&str) -> bool)
where
    T: FromStr<Err = InvalidName> + Display + PartialEq + Debug + Into<String> + DeserializeOwned,
{
    let stored = T::deserialize(StrDeserializer::<ValueError>::new(text)).ok();
    match text.parse::<T>() {
        Ok(name) => {
            assert!(!text.is_empty() && promise(text), "{text:?} as {name:?}");
            assert_eq!(name.to_string(), text);
            assert_eq!(stored.as_ref(), Some(&name));
            assert_eq!(name.into(), text);
        }
        Err(error) => {
            assert_eq!(stored, None);
            refusal(&error, text);
        }
    }
}

/// An error says what was written and what would be right.
fn refusal(error: &InvalidName, text: &str) {
    assert!(error.value == text && !error.rule.is_empty());
    let sentence = error.to_string();
    assert!(sentence.contains(text) && sentence.ends_with(error.rule));
}

/// What a target is taken apart into stands in it.
fn target(text: &str) {
    let Ok(target) = text.parse::<Target>() else { return };
    let node = target.as_node();
    assert_eq!(node.is_some(), text.parse::<ResolvedTarget>().is_ok(), "{text:?}");
    match target.form() {
        TargetForm::Node(node) => assert_eq!(node.as_str(), text),
        TargetForm::Instances(InstanceForm::Tags(tags)) => {
            assert!(!tags.is_empty());
            assert!(
                tags.iter().all(|(key, value)| !key.is_empty() && !value.is_empty() && text.contains(value))
            );
        }
        TargetForm::Instances(InstanceForm::Address(address)) => assert_eq!(format!("ip:{address}"), text),
        TargetForm::Instances(InstanceForm::DnsName(name)) => assert_eq!(format!("dns:{name}"), text),
        TargetForm::Containers(form) => assert_eq!(form.to_string(), text),
    }
}

fn remote(text: &str) {
    if let Err(error) = text.parse::<RemoteEndpoint>() {
        refusal(&error, text);
    }
    let Some(endpoint) = round_trip::<RemoteEndpoint>(text) else { return remote_host(text) };
    let host = endpoint.host.clone();
    assert_eq!(RemoteEndpoint::new(host.clone(), endpoint.port), Ok(endpoint.clone()), "both ways in agree");
    let Some(host) = host else { return };
    assert!(text.starts_with('[') == host.contains(':'), "{text:?} without brackets is ambiguous");
    let meant = endpoint.host_beyond_target();
    assert!(meant.is_none_or(|meant| meant == host));
    let is_loopback = host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    assert!(!is_loopback || meant.is_none(), "the target's own address is no host beyond it");
}

/// A host that comes apart from its port.
fn remote_host(text: &str) {
    let port = const { std::num::NonZeroU16::new(80).unwrap() };
    match RemoteEndpoint::new(Some(text.to_owned()), port) {
        Ok(endpoint) => {
            let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
            assert!(text.len() <= 253 && text.bytes().all(is_host_byte), "{text:?}");
            assert_eq!(endpoint.to_string().parse(), Ok(endpoint), "{text:?}");
        }
        Err(error) => refusal(&error, text),
    }
}

fn local(text: &str) {
    if let Some(address) = round_trip::<LocalAddress>(text) {
        let ips = address.ips();
        assert!(!ips.is_empty());
        assert_eq!(address.is_loopback(), ips.iter().all(IpAddr::is_loopback));
    }
    round_trip::<BoundAddress>(text);
    match round_trip::<LocalEndpoint>(text) {
        Some(LocalEndpoint::Tcp { address, port }) => {
            let is_v6 = matches!(address, LocalAddress::Ip(IpAddr::V6(_)));
            assert_eq!(text.starts_with('['), is_v6, "{text:?} without brackets is ambiguous");
            assert_eq!(LocalPort::from(u16::from(port)), port);
        }
        Some(LocalEndpoint::Unix(path)) => assert_eq!(format!("unix:{path}"), text),
        None => {}
    }
}

/// Counters and times of any size.
fn numbers(data: &[u8]) {
    let Some((millis, rest)) = data.split_first_chunk() else { return };
    let Some((other, rest)) = rest.split_first_chunk() else { return };
    let Some(random) = rest.first_chunk() else { return };
    let (first, second) = (u64::from_be_bytes(*millis), u64::from_be_bytes(*other));
    let (earlier, later) =
        (Timestamp::from_millis(first.min(second)), Timestamp::from_millis(first.max(second)));
    assert_eq!(earlier.plus(later.since(earlier)), later);
    assert_eq!(earlier.since(later), Duration::ZERO);
    assert!(later.plus(Duration::from_millis(first)) >= later);
    let id = TunnelId::new(earlier, random);
    assert_eq!(id.to_string().parse(), Ok(id));
    // A UUIDv7 holds 48 bits of time: until the year 10889.
    if later.as_millis() >> 48 == 0 && earlier < later {
        assert!(id < TunnelId::new(later, random), "ids sort by creation time");
    }
}

/// Name, profile, region, target, remote and local end, each on a line of its own; an empty line leaves an optional
/// part out.
fn spec(lines: &mut Lines<'_>) -> Option<TunnelSpec> {
    let optional = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Some(TunnelSpec {
        name: lines.next()?.parse().ok()?,
        profile: optional(lines.next()?).map(Profile::try_from).transpose().ok()?,
        region: optional(lines.next()?).map(Region::try_from).transpose().ok()?,
        target: lines.next()?.parse().ok()?,
        remote: lines.next()?.parse().ok()?,
        local: lines.next()?.parse().ok()?,
        allow_non_loopback: lines.next()? == "open",
        labels: Labels::new(),
        keep: Keep::Auto,
        sessions: SessionCount::ONE,
        reason: None,
        ttl: None,
    })
}

fn specs(first: &TunnelSpec, second: &TunnelSpec) {
    let reachable = match &first.local {
        LocalEndpoint::Tcp { address, .. } => !address.ips().iter().all(IpAddr::is_loopback),
        LocalEndpoint::Unix(_) => false,
    };
    assert_eq!(first.local.is_open_to_network(), reachable);
    assert_eq!(first.validate().is_err(), reachable && !first.allow_non_loopback);
    assert!(first.validate().err().is_none_or(|error| error.to_string().contains("--allow-non-loopback")));

    let patch = TunnelSpecPatch {
        name: Some(second.name.clone()),
        profile: Some(second.profile.clone()),
        region: Some(second.region.clone()),
        target: Some(second.target.clone()),
        remote: Some(second.remote.clone()),
        local: Some(second.local.clone()),
        allow_non_loopback: Some(second.allow_non_loopback),
        labels: Some(second.labels.clone()),
        keep: Some(second.keep),
        sessions: Some(second.sessions),
        reason: Some(second.reason.clone()),
        ttl: Some(second.ttl),
    };
    assert_eq!(&first.patched(&patch), second);
    assert_eq!(&first.patched(&TunnelSpecPatch::default()), first);
    assert!(!first.needs_new_session(first) && !first.needs_new_listener(first));
    assert_eq!(first.needs_new_session(second), second.needs_new_session(first));
    assert_eq!(first.needs_new_listener(second), second.needs_new_listener(first));
    let same_way = TunnelSpec { name: first.name.clone(), local: first.local.clone(), ..second.clone() };
    assert_eq!(first.needs_new_session(second), first.needs_new_session(&same_way), "only the way counts");
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn every_input_of_the_corpus_passes() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/names");
        let mut replayed = 0;
        for entry in std::fs::read_dir(&corpus).unwrap() {
            let path = entry.unwrap().path();
            // The name of the culprit is printed only if this one fails.
            println!("{}", path.display());
            super::names(&std::fs::read(&path).unwrap());
            replayed += 1;
        }
        assert!(replayed > 10, "the corpus at {} is gone", corpus.display());
    }
}
