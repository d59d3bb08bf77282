//! Settings: one table with key, kind, default, range and meaning of each; one typed struct that the daemon reads.
//!
//! Values travel as text (in the settings file, over the API and on the command line) and are parsed here, once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::path::Path;
use std::time::Duration;

use thiserror::Error;

use crate::key_store::KeyStoreChoice;
use crate::name::{Profile, Region};

/// All settings, with their defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `tunnels.connect_timeout`
    pub connect_timeout: Duration,
    /// `tunnels.half_close_grace`
    pub half_close_grace: Duration,
    /// `tunnels.stalled_reader_grace`
    pub stalled_reader_grace: Duration,
    /// `tunnels.payload_bytes`
    pub payload_bytes: u32,
    /// `tunnels.message_rate`; zero means no limit.
    pub message_rate: u32,
    /// `tunnels.max_connections`
    pub max_connections: u32,
    /// `tunnels.max_held_connections`
    pub max_held_connections: u32,
    /// `aws.default_profile`
    pub default_profile: Option<Profile>,
    /// `aws.default_region`
    pub default_region: Option<Region>,
    /// `aws.endpoint_ec2`
    pub endpoint_ec2: Option<String>,
    /// `aws.endpoint_ecs`
    pub endpoint_ecs: Option<String>,
    /// `aws.endpoint_ssm`
    pub endpoint_ssm: Option<String>,
    /// `aws.endpoint_ssmmessages`
    pub endpoint_ssmmessages: Option<String>,
    /// `aws.endpoint_sso`
    pub endpoint_sso: Option<String>,
    /// `aws.endpoint_sso_oidc`
    pub endpoint_sso_oidc: Option<String>,
    /// `aws.endpoint_sts`
    pub endpoint_sts: Option<String>,
    /// `network.ca_bundle`
    pub ca_bundle: Option<String>,
    /// `sso.key_store`; read at the start only.
    pub key_store: KeyStoreChoice,
    /// `log.filter`
    pub log_filter: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(30),
            half_close_grace: Duration::from_secs(30),
            stalled_reader_grace: Duration::from_secs(30),
            payload_bytes: 16_384,
            message_rate: 900,
            max_connections: 256,
            max_held_connections: 32,
            default_profile: None,
            default_region: None,
            endpoint_ec2: None,
            endpoint_ecs: None,
            endpoint_ssm: None,
            endpoint_ssmmessages: None,
            endpoint_sso: None,
            endpoint_sso_oidc: None,
            endpoint_sts: None,
            ca_bundle: None,
            key_store: KeyStoreChoice::default(),
            log_filter: "info".to_owned(),
        }
    }
}

/// One row of the settings table.
#[derive(Debug)]
pub struct Setting {
    /// Section and name, such as `tunnels.connect_timeout`.
    pub key: &'static str,
    /// What values look like.
    pub kind: SettingKind,
    /// What it is for, in one sentence.
    pub meaning: &'static str,
    read: fn(&Settings) -> String,
    write: fn(&mut Settings, &str) -> Result<(), String>,
}

/// What the values of a setting look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingKind {
    /// Whole seconds from `min` to `max`.
    Seconds {
        /// Least value.
        min: u32,
        /// Greatest value.
        max: u32,
    },
    /// A whole number from `min` to `max`.
    Integer {
        /// Least value.
        min: u32,
        /// Greatest value.
        max: u32,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Text; empty means not set.
    Text,
}

/// A settings key or value that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SettingError {
    /// No setting has that key.
    #[error("there is no setting \"{key}\"; `stctl settings get` lists all")]
    UnknownKey {
        /// The key asked for.
        key: String,
    },
    /// The value is out of range or cannot be parsed.
    #[error("{key} = \"{value}\" cannot be taken: {rule}")]
    InvalidValue {
        /// The setting.
        key: &'static str,
        /// What was written.
        value: String,
        /// What is accepted.
        rule: String,
    },
}

impl Setting {
    /// The setting with that key.
    ///
    /// # Errors
    /// [`SettingError::UnknownKey`].
    pub fn by_key(key: &str) -> Result<&'static Self, SettingError> {
        let unknown = || SettingError::UnknownKey { key: key.to_owned() };
        SETTINGS.iter().find(|setting| setting.key == key).ok_or_else(unknown)
    }

    /// The value in `settings`, as text.
    pub fn value(&self, settings: &Settings) -> String {
        (self.read)(settings)
    }

    /// The default, as text.
    pub fn default_value(&self) -> String {
        self.value(&Settings::default())
    }

    /// Puts a value into `settings`, which stay as they were when it cannot be taken.
    ///
    /// # Errors
    /// [`SettingError::InvalidValue`] with the accepted range.
    pub fn assign(&self, settings: &mut Settings, value: &str) -> Result<(), SettingError> {
        let invalid = |rule| SettingError::InvalidValue { key: self.key, value: value.to_owned(), rule };
        let in_range = match self.kind {
            SettingKind::Seconds { min, max } | SettingKind::Integer { min, max } => {
                value.parse().is_ok_and(|number: u32| (min..=max).contains(&number))
            }
            SettingKind::Choice(words) => words.contains(&value),
            SettingKind::Text => true,
        };
        if !in_range {
            return Err(invalid(self.range()));
        }
        (self.write)(settings, value).map_err(invalid)
    }

    /// What is accepted, in words.
    pub fn range(&self) -> String {
        match self.kind {
            SettingKind::Seconds { min, max } => format!("whole seconds from {min} to {max}"),
            SettingKind::Integer { min, max } => format!("a whole number from {min} to {max}"),
            SettingKind::Choice(words) => format!("one of {}", words.join(", ")),
            SettingKind::Text => "text; empty means not set".to_owned(),
        }
    }
}

/// A number of seconds in a setting.
macro_rules! seconds {
    ($key:literal, $field:ident, $min:literal, $max:literal, $meaning:literal) => {
        Setting {
            key: $key,
            kind: SettingKind::Seconds { min: $min, max: $max },
            meaning: $meaning,
            read: |settings| settings.$field.as_secs().to_string(),
            write: |settings, value| {
                settings.$field = Duration::from_secs(value.parse().map_err(|_| "not a number".to_owned())?);
                Ok(())
            },
        }
    };
}

/// A whole number in a setting.
macro_rules! integer {
    ($key:literal, $field:ident, $min:literal, $max:literal, $meaning:literal) => {
        Setting {
            key: $key,
            kind: SettingKind::Integer { min: $min, max: $max },
            meaning: $meaning,
            read: |settings| settings.$field.to_string(),
            write: |settings, value| {
                settings.$field = value.parse().map_err(|_| "not a number".to_owned())?;
                Ok(())
            },
        }
    };
}

/// Text that may be absent and that a parser may refuse.
macro_rules! text {
    ($key:literal, $field:ident, $parse:expr, $meaning:literal) => {
        Setting {
            key: $key,
            kind: SettingKind::Text,
            meaning: $meaning,
            read: |settings| settings.$field.as_ref().map(ToString::to_string).unwrap_or_default(),
            write: |settings, value| {
                settings.$field = if value.is_empty() { None } else { Some($parse(value)?) };
                Ok(())
            },
        }
    };
}

/// THE settings table.
pub static SETTINGS: &[Setting] = &[
    seconds!(
        "tunnels.connect_timeout",
        connect_timeout,
        10,
        120,
        "how long one attempt to connect may take, from StartSession to Up"
    ),
    seconds!(
        "tunnels.half_close_grace",
        half_close_grace,
        0,
        3600,
        "how long a connection whose local side finished sending waits for the last remote byte"
    ),
    seconds!(
        "tunnels.stalled_reader_grace",
        stalled_reader_grace,
        5,
        3600,
        "how long a local application may leave more than 16 MiB unread, while other connections are open, before its \
         connection is reset"
    ),
    integer!(
        "tunnels.payload_bytes",
        payload_bytes,
        1024,
        32768,
        "greatest payload of one data message to the agent, in bytes"
    ),
    integer!(
        "tunnels.message_rate",
        message_rate,
        0,
        100_000,
        "data messages sent per second and session; 0 means no limit (the service is known to end sessions above 1000)"
    ),
    integer!(
        "tunnels.max_connections",
        max_connections,
        1,
        4096,
        "local connections open at once per tunnel"
    ),
    integer!(
        "tunnels.max_held_connections",
        max_held_connections,
        0,
        1024,
        "local connections that wait per tunnel while it connects"
    ),
    text!("aws.default_profile", default_profile, parse_profile, "profile of tunnels that name none"),
    text!("aws.default_region", default_region, parse_region, "region of tunnels whose profile names none"),
    text!(
        "aws.endpoint_ec2",
        endpoint_ec2,
        parse_api_endpoint,
        "URL of the EC2 endpoint instead of AWS's own (PrivateLink): https://HOST[:PORT], or http to loopback"
    ),
    text!(
        "aws.endpoint_ecs",
        endpoint_ecs,
        parse_api_endpoint,
        "URL of the ECS endpoint instead of AWS's own (PrivateLink): https://HOST[:PORT], or http to loopback"
    ),
    text!(
        "aws.endpoint_ssm",
        endpoint_ssm,
        parse_api_endpoint,
        "URL of the SSM endpoint instead of AWS's own (PrivateLink): https://HOST[:PORT], or http to loopback"
    ),
    text!(
        "aws.endpoint_ssmmessages",
        endpoint_ssmmessages,
        parse_channel_endpoint,
        "URL of the data-channel endpoint instead of AWS's own (PrivateLink): https://HOST[:PORT] or wss, or http \
         or ws to loopback"
    ),
    text!(
        "aws.endpoint_sso",
        endpoint_sso,
        parse_api_endpoint,
        "URL of the endpoint of the AWS access portal, which gives credentials of roles, instead of AWS's own: \
         https://HOST[:PORT], or http to loopback; without effect until the daemon signs in itself"
    ),
    text!(
        "aws.endpoint_sso_oidc",
        endpoint_sso_oidc,
        parse_api_endpoint,
        "URL of the endpoint of SSO-OIDC, which signs in and renews tokens, instead of AWS's own: \
         https://HOST[:PORT], or http to loopback; without effect until the daemon signs in itself"
    ),
    text!(
        "aws.endpoint_sts",
        endpoint_sts,
        parse_api_endpoint,
        "URL of the STS endpoint that is asked whose credentials these are, instead of AWS's own (PrivateLink): \
         https://HOST[:PORT], or http to loopback"
    ),
    text!(
        "network.ca_bundle",
        ca_bundle,
        parse_absolute_path,
        "absolute path of a PEM file with certificate authorities to trust beside the system's"
    ),
    Setting {
        key: "sso.key_store",
        kind: SettingKind::Choice(KeyStoreChoice::NAMES),
        meaning: "where SSO tokens are kept, from the next start of the daemon on: the Keychain of macOS, the Secret Service of a Linux \
                  desktop, files, or memory, which ends with the daemon; auto takes the system's own, or files where there is none; \
                  without effect until the daemon signs in itself",
        read: |settings| settings.key_store.to_string(),
        write: |settings, value| {
            settings.key_store =
                value.parse().map_err(|error: crate::name::InvalidName| error.rule.to_owned())?;
            Ok(())
        },
    },
    Setting {
        key: "log.filter",
        kind: SettingKind::Text,
        meaning: "what is logged, as tracing directives such as \"info,stormtunnel_engine=debug\"",
        read: |settings| settings.log_filter.clone(),
        write: |settings, value| {
            value.clone_into(&mut settings.log_filter);
            Ok(())
        },
    },
];

fn parse_profile(value: &str) -> Result<Profile, String> {
    value.parse().map_err(|error: crate::name::InvalidName| error.rule.to_owned())
}

fn parse_region(value: &str) -> Result<Region, String> {
    value.parse().map_err(|error: crate::name::InvalidName| error.rule.to_owned())
}

/// The daemon has a working directory of its own, and no shell that would expand `~`.
fn parse_absolute_path(value: &str) -> Result<String, String> {
    if Path::new(value).is_absolute() {
        Ok(value.to_owned())
    } else {
        Err("write an absolute path, one that begins with / (~ is not expanded)".to_owned())
    }
}

/// What an endpoint looks like, in words.
pub const ENDPOINT_RULE: &str = "write https://HOST[:PORT], or http:// with a loopback address";

fn parse_api_endpoint(value: &str) -> Result<String, String> {
    check_endpoint(value, &["https://"], &["http://"])
}

fn parse_channel_endpoint(value: &str) -> Result<String, String> {
    check_endpoint(value, &["https://", "wss://"], &["http://", "ws://"])
}

/// An endpoint is reached over TLS, or in the clear on this very machine. Credentials go there.
fn check_endpoint(value: &str, tls: &[&str], clear: &[&str]) -> Result<String, String> {
    let behind = |schemes: &[&str]| schemes.iter().find_map(|scheme| value.strip_prefix(scheme));
    let usable = match (behind(tls), behind(clear)) {
        (Some(rest), _) => host_of(rest).is_some(),
        (None, Some(rest)) => host_of(rest).is_some_and(is_loopback),
        (None, None) => false,
    };
    if usable { Ok(value.to_owned()) } else { Err(ENDPOINT_RULE.to_owned()) }
}

/// The host of `HOST[:PORT][/]`, without brackets; nothing when the text is anything else.
fn host_of(rest: &str) -> Option<&str> {
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let (ip, behind) = bracketed.split_once(']')?;
            ip.parse::<Ipv6Addr>().ok()?;
            let port = if behind.is_empty() { None } else { Some(behind.strip_prefix(':')?) };
            (ip, port)
        }
        None => {
            let (host, port) = authority.split_once(':').map_or((authority, None), |(h, p)| (h, Some(p)));
            (is_dns_name(host) || host.parse::<Ipv4Addr>().is_ok()).then_some((host, port))?
        }
    };
    port.is_none_or(is_port).then_some(host)
}

fn is_port(port: &str) -> bool {
    // The parser would take a plus sign.
    port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<NonZeroU16>().is_ok()
}

fn is_dns_name(host: &str) -> bool {
    let is_label = |label: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !label.is_empty() && label.bytes().all(known) && !label.starts_with('-') && !label.ends_with('-')
    };
    host.len() <= 253 && host.split('.').all(is_label) && !ends_in_number(host)
}

/// URL parsers take such a host for an IPv4 address, in decimal or hexadecimal.
fn ends_in_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    hex.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        || last.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_inside_its_own_range() {
        for setting in SETTINGS {
            let mut settings = Settings::default();
            let default = setting.default_value();
            assert_eq!(setting.assign(&mut settings, &default), Ok(()), "{}", setting.key);
            assert_eq!(settings, Settings::default(), "{}", setting.key);
        }
    }

    #[test]
    fn numbers_are_refused_just_outside_their_range() {
        for setting in SETTINGS {
            let (SettingKind::Seconds { min, max } | SettingKind::Integer { min, max }) = setting.kind else {
                continue;
            };
            let mut settings = Settings::default();
            assert!(setting.assign(&mut settings, &min.to_string()).is_ok());
            assert!(setting.assign(&mut settings, &max.to_string()).is_ok());
            let before = settings.clone();
            for outside in [u64::from(max) + 1, u64::from(min).wrapping_sub(1)] {
                assert!(
                    setting.assign(&mut settings, &outside.to_string()).is_err(),
                    "{} {outside}",
                    setting.key
                );
            }
            assert!(setting.assign(&mut settings, "ten").is_err());
            assert_eq!(settings, before, "a refused value changes nothing");
        }
    }

    #[test]
    fn a_choice_is_one_of_its_words() {
        let setting = Setting::by_key("sso.key_store").unwrap();
        let mut settings = Settings::default();
        for word in KeyStoreChoice::NAMES {
            assert_eq!(setting.assign(&mut settings, word), Ok(()));
            assert_eq!(setting.value(&settings), *word);
        }
        for bad in ["", "Auto", "keyring", "auto "] {
            let error = setting.assign(&mut settings, bad).expect_err(bad).to_string();
            assert!(error.ends_with("one of auto, keychain, secret-service, file, memory"), "{error}");
        }
        assert_eq!(settings.key_store, KeyStoreChoice::Memory, "a refused value changes nothing");
    }

    #[test]
    fn an_endpoint_in_the_clear_must_be_loopback() {
        let setting = Setting::by_key("aws.endpoint_ssm").unwrap();
        let mut settings = Settings::default();
        for good in
            ["https://vpce-1.ssm.eu-west-1.vpce.amazonaws.com", "http://127.0.0.1:4000", "http://[::1]:4000/"]
        {
            assert_eq!(setting.assign(&mut settings, good), Ok(()), "{good}");
        }
        for bad in
            ["http://10.0.0.1", "ftp://x", "http://localhost.evil.example", "http://127.0.0.1@evil.example/"]
        {
            assert!(setting.assign(&mut settings, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_endpoint_is_a_scheme_a_host_and_a_port() {
        let endpoints = [
            "aws.endpoint_ec2",
            "aws.endpoint_ecs",
            "aws.endpoint_ssm",
            "aws.endpoint_ssmmessages",
            "aws.endpoint_sso",
            "aws.endpoint_sso_oidc",
            "aws.endpoint_sts",
        ];
        for setting in endpoints.map(|key| Setting::by_key(key).unwrap()) {
            let mut settings = Settings::default();
            for good in [
                "https://vpce.example",
                "https://vpce.example/",
                "https://vpce_1.example:8443",
                "https://10.0.0.5:443",
                "https://[2001:db8::1]:443/",
                "http://LOCALHOST:4000",
                "http://[::1]",
            ] {
                assert_eq!(setting.assign(&mut settings, good), Ok(()), "{} {good}", setting.key);
            }
            let before = settings.clone();
            for bad in [
                "https://",
                "https:///",
                "https://:443",
                "https://x/path",
                "https://x//",
                "https://x?y=1",
                "https://x/?y=1",
                "https://x#y",
                "https://user@x",
                "https://user:secret@x",
                "https://x:",
                "https://x:0",
                "https://x:+1",
                "https://x:65536",
                "https://x:443:443",
                "https://[::1",
                "https://[::1]443",
                "https://[x]",
                "https://::1",
                "https://a b",
                "https://a..b",
                "https://-a",
                "https://1.2.3.999",
                "https://x.0x1",
                "http://",
                "http://vpce.example",
            ] {
                let error = setting.assign(&mut settings, bad).expect_err(bad).to_string();
                assert!(error.contains("https://HOST") && error.contains("loopback"), "{error}");
            }
            assert_eq!(settings, before, "a refused value changes nothing");
        }
    }

    #[test]
    fn the_data_channel_may_be_named_with_either_scheme() {
        let channel = Setting::by_key("aws.endpoint_ssmmessages").unwrap();
        let api = Setting::by_key("aws.endpoint_ssm").unwrap();
        let mut settings = Settings::default();
        for good in ["https://vpce.example", "wss://vpce.example", "http://127.0.0.1:1", "ws://127.0.0.1:1"] {
            assert_eq!(channel.assign(&mut settings, good), Ok(()), "{good}");
        }
        assert!(channel.assign(&mut settings, "ws://vpce.example").is_err());
        assert!(api.assign(&mut settings, "wss://vpce.example").is_err());
    }

    #[test]
    fn a_ca_bundle_is_found_from_any_directory() {
        let setting = Setting::by_key("network.ca_bundle").unwrap();
        let mut settings = Settings::default();
        assert_eq!(setting.assign(&mut settings, "/etc/ssl/corp.pem"), Ok(()));
        for bad in ["corp.pem", "./corp.pem", "~/corp.pem"] {
            let error = setting.assign(&mut settings, bad).expect_err(bad).to_string();
            assert!(error.contains("absolute path"), "{error}");
        }
        assert_eq!(settings.ca_bundle.as_deref(), Some("/etc/ssl/corp.pem"));
        assert_eq!(setting.assign(&mut settings, ""), Ok(()));
        assert!(setting.meaning.contains("absolute path"), "{}", setting.meaning);
    }

    #[test]
    fn an_unknown_key_says_how_to_list_the_known_ones() {
        let error = Setting::by_key("tunnels.speed").map(|setting| setting.key);
        assert_eq!(error, Err(SettingError::UnknownKey { key: "tunnels.speed".to_owned() }));
    }
}
