//! Endpoints in place of AWS's own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

/// What an endpoint looks like, in words.
pub const ENDPOINT_RULE: &str = "write https://HOST[:PORT], or http:// with a loopback address";

pub(super) fn parse_api_endpoint(value: &str) -> Result<String, String> {
    check_endpoint(value, &["https://"], &["http://"])
}

pub(super) fn parse_channel_endpoint(value: &str) -> Result<String, String> {
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

pub(super) fn is_port(port: &str) -> bool {
    // The parser would take a plus sign.
    port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<NonZeroU16>().is_ok()
}

pub(super) fn is_dns_name(host: &str) -> bool {
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
    use super::super::{Setting, Settings};

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
}
