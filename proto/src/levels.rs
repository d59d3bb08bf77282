//! What a request says that an older daemon would not read.
//!
//! A daemon takes no notice of a field that it does not know: a tunnel would start without its end, listen on a port instead of
//! a Unix socket, or be made without what its user asked for, and nobody would be told. So a client looks at each request for
//! fields that are newer than its call, and compares them with the level of the daemon first. A call that a daemon does not
//! know needs no such care: it says so.

use prost::{Message, Name};

/// A call (number 0, in the row of its request), a field, or a value of an enum, which requests can hold.
#[derive(Debug)]
struct Row {
    /// Message or enum.
    container: &'static str,
    number: i32,
    name: &'static str,
    level: u32,
    holds: Holds,
}

/// What is in a field.
#[derive(Clone, Copy, Debug)]
enum Holds {
    Message(&'static str),
    Enum(&'static str),
    Nothing,
}

/// Out of `levels.txt` and the contract, by `build/levels.rs`.
const ROWS: &[Row] = include!(concat!(env!("OUT_DIR"), "/levels.rs"));

/// The level that is needed for what stands in a request, where that is more than its call needs.
pub(crate) fn needed<M: Message + Name>(request: &M) -> Option<u32> {
    let call = level(M::NAME, 0).unwrap_or(1);
    Some(highest(M::NAME, &request.encode_to_vec())).filter(|needed| *needed > call)
}

/// The level of a field, such as `("TunnelSpec", "ttl")`.
pub(crate) fn of_field(message: &str, field: &str) -> Option<u32> {
    ROWS.iter().find(|row| row.container == message && row.name == field).map(|row| row.level)
}

fn level(container: &str, number: i32) -> Option<u32> {
    row(container, number).map(|row| row.level)
}

fn row(container: &str, number: i32) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.container == container && row.number == number)
}

/// The highest level of all fields that are in this encoded message. What was left out asks for nothing.
fn highest(message: &str, mut bytes: &[u8]) -> u32 {
    let mut highest = 1;
    while let Some((number, value)) = next(&mut bytes) {
        let Some(row) = row(message, number) else { continue };
        let inside = match (row.holds, value) {
            (Holds::Message(name), Value::Bytes(bytes)) => self::highest(name, bytes),
            (Holds::Enum(name), Value::Number(value)) => {
                i32::try_from(value).ok().and_then(|value| level(name, value)).unwrap_or(1)
            }
            (Holds::Message(_) | Holds::Enum(_) | Holds::Nothing, _) => 1,
        };
        highest = highest.max(row.level).max(inside);
    }
    highest
}

/// A field of an encoded message.
#[derive(Debug, PartialEq, Eq)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Takes the next field off an encoded message; nothing at its end.
fn next<'a>(bytes: &mut &'a [u8]) -> Option<(i32, Value<'a>)> {
    let key = varint(bytes)?;
    let value = match key & 7 {
        0 => Value::Number(varint(bytes)?),
        1 => Value::Bytes(take(bytes, 8)?),
        2 => {
            let length = usize::try_from(varint(bytes)?).ok()?;
            Value::Bytes(take(bytes, length)?)
        }
        5 => Value::Bytes(take(bytes, 4)?),
        _ => return None,
    };
    Some((i32::try_from(key >> 3).ok()?, value))
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let [byte, rest @ ..] = *bytes else { return None };
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
#[path = "../build/levels.rs"]
mod table;

#[cfg(test)]
mod tests {
    use prost_types::FileDescriptorSet;

    use super::*;
    use crate::{API_LEVEL, v1};

    const LEVELS: &str = include_str!("../levels.txt");

    fn contract() -> FileDescriptorSet {
        FileDescriptorSet::decode(crate::FILE_DESCRIPTOR_SET).unwrap()
    }

    fn create(spec: v1::TunnelSpec) -> v1::CreateTunnelRequest {
        v1::CreateTunnelRequest { spec: Some(spec), ..Default::default() }
    }

    #[test]
    fn the_newest_level_is_that_of_the_api() {
        let newest = LEVELS.lines().rev().find_map(|line| line.strip_prefix("level ")).unwrap();
        assert_eq!(newest.parse(), Ok(API_LEVEL));
    }

    #[test]
    fn a_part_of_the_contract_without_a_level_does_not_build() {
        let mistake = |levels: &str| table::rows(levels, &contract()).unwrap_err();
        table::rows(LEVELS, &contract()).unwrap();
        assert_eq!(
            mistake(&LEVELS.replace(" unix_socket", "")),
            "LocalEndpoint.unix_socket is at no level: add it to proto/levels.txt"
        );
        assert_eq!(
            mistake(&LEVELS.replace(" RunChecks ", " ")),
            "DoctorService.RunChecks is at no level: add it to proto/levels.txt"
        );
        assert_eq!(
            mistake(&LEVELS.replace(" KEEP_WARM", " KEEP_WARM KEEP_COLD")),
            "proto/levels.txt lists Keep.KEEP_COLD, which the .proto files do not have"
        );
        assert_eq!(
            mistake(&LEVELS.replace("TunnelSpec: reason", "TunnelSpec: labels reason")),
            "proto/levels.txt lists TunnelSpec.labels twice"
        );
        assert_eq!(
            mistake(&LEVELS.replace("level 4", "level 5")),
            "proto/levels.txt: \"level 5\" does not follow level 3"
        );
    }

    #[test]
    fn a_request_needs_what_is_newest_in_it() {
        let plain = v1::TunnelSpec {
            name: "db".to_owned(),
            target: "i-0abcdef1234567890".to_owned(),
            remote: Some(v1::RemoteEndpoint { host: Some("db.internal".to_owned()), port: 5432 }),
            local: Some(v1::LocalEndpoint {
                address: "localhost".to_owned(),
                port: 15_432,
                unix_socket: None,
            }),
            ..Default::default()
        };
        assert_eq!(needed(&create(plain.clone())), None);
        let keep = v1::TunnelSpec { keep: v1::Keep::Warm.into(), ..plain.clone() };
        assert_eq!(needed(&create(keep)), Some(2));
        let labels = [("env".to_owned(), "prod".to_owned())].into();
        assert_eq!(needed(&create(v1::TunnelSpec { labels, ..plain.clone() })), Some(2));
        let local = v1::LocalEndpoint { unix_socket: Some("/run/db.sock".to_owned()), ..Default::default() };
        assert_eq!(needed(&create(v1::TunnelSpec { local: Some(local), ..plain })), Some(4));
    }

    #[test]
    fn guards_of_a_start_are_seen_and_none_are_none() {
        let start = |options| v1::StartTunnelsRequest { tunnels: vec!["db".to_owned()], options };
        assert_eq!(needed(&start(None)), None);
        let confirmed = v1::StartOptions { confirmed: true, ..Default::default() };
        let ttl = prost_types::Duration { seconds: 60, nanos: 0 };
        let for_a_time = v1::StartOptions { ttl: Some(ttl), ..Default::default() };
        for options in [confirmed, for_a_time] {
            assert_eq!(needed(&start(Some(options))), Some(4));
        }
    }

    #[test]
    fn what_is_as_old_as_its_call_is_not_looked_at() {
        let name = v1::sign_in_choice::Choice::Name("corp".to_owned());
        let sign_in = Some(v1::SignInChoice { choice: Some(name) });
        assert_eq!(needed(&v1::LogoutRequest { sign_in: sign_in.clone(), all: true }), None);
        assert_eq!(needed(&v1::ListAccountsRequest { sign_in }), None);
        assert_eq!(needed(&v1::RunChecksRequest { fix: true }), None);
    }

    #[test]
    fn all_kinds_of_fields_are_walked_past_and_a_cut_one_ends_the_walk() {
        let mut bytes: &[u8] =
            &[0x08, 0x96, 0x01, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x1d, 1, 2, 3, 4, 0x22, 1, b'x'];
        let mut walked = Vec::new();
        while let Some(field) = next(&mut bytes) {
            walked.push(field);
        }
        assert_eq!(walked[0], (1, Value::Number(150)));
        assert_eq!(walked[3], (4, Value::Bytes(b"x")));
        for cut in [&[0x08][..], &[0x22, 5, b'x'], &[0x0b], &[0xff; 11]] {
            assert_eq!(next(&mut &cut[..]), None);
        }
    }

    #[test]
    fn fields_are_found_by_name() {
        assert_eq!((of_field("TunnelSpec", "name"), of_field("TunnelSpec", "ttl")), (Some(1), Some(4)));
        assert_eq!(of_field("TunnelSpec", "nonsense"), None);
    }
}
