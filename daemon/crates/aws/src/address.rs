//! Where a data channel is, out of the `StreamUrl` that AWS answered with.
//!
//! Token and signature go to that place, so it is checked before anything is sent there. The check works on the
//! bytes: a URL parser would normalise them, and what is sent must be what AWS wrote (`cell-number` holds raw `+`,
//! `/` and `=`).

use std::fmt;

use stormtunnel_model::{Fault, FaultKind, Region};
use url::Host;

use crate::endpoint::{Endpoint, is_loopback};
use crate::quote::quote;

/// Longest `StreamUrl` accepted, in bytes; AWS's have a few hundred.
const MAX_URL_LEN: usize = 8192;

/// A checked address: where to connect, and what to ask for there.
///
/// `Debug` leaves the query out, which may hold a pre-signed credential.
#[derive(Clone, PartialEq, Eq)]
pub struct ChannelAddress {
    endpoint: Endpoint,
    path_and_query: String,
}

impl ChannelAddress {
    /// Checks the `StreamUrl` of a session in `region`. A configured endpoint is trusted as well, and is where to
    /// connect then.
    pub(crate) fn check(
        stream_url: &str,
        region: &Region,
        endpoint: Option<&Endpoint>,
    ) -> Result<Self, Fault> {
        let (named, path_and_query) = split(stream_url).map_err(violation)?;
        let of_aws = named.tls && named.port == 443 && is_aws_host(&named.host, region);
        let of_endpoint = endpoint.is_some_and(|endpoint| is_same_place(&named, endpoint));
        if !of_aws && !of_endpoint {
            let host = quote(&named.host, &[]);
            let scheme = if named.tls { "wss" } else { "ws" };
            return Err(violation(format!(
                "it names {scheme}://{host}:{}, which is no data-channel endpoint of {region}; for PrivateLink or an \
                 emulator set aws.endpoint_ssmmessages",
                named.port
            )));
        }
        let endpoint = endpoint.cloned().unwrap_or(named);
        Ok(Self { endpoint, path_and_query: path_and_query.to_owned() })
    }

    /// Whether the channel runs over TLS.
    pub fn is_tls(&self) -> bool {
        self.endpoint.tls
    }

    /// Name or address to connect to, without brackets.
    pub fn host(&self) -> &str {
        self.endpoint.host.trim_matches(['[', ']'])
    }

    /// TCP port to connect to.
    pub fn port(&self) -> u16 {
        self.endpoint.port
    }

    /// The `Host` header: with a port only where it is not the scheme's.
    pub fn authority(&self) -> String {
        let default = if self.endpoint.tls { 443 } else { 80 };
        if self.endpoint.port == default {
            self.endpoint.host.clone()
        } else {
            format!("{}:{}", self.endpoint.host, self.endpoint.port)
        }
    }

    /// Path and query, byte for byte as AWS wrote them.
    pub fn path_and_query(&self) -> &str {
        &self.path_and_query
    }

    /// The whole URL, scheme `ws` or `wss`.
    pub fn url(&self) -> String {
        let scheme = if self.endpoint.tls { "wss" } else { "ws" };
        format!("{scheme}://{}{}", self.authority(), self.path_and_query)
    }

    /// Whether the URL is signed already.
    pub(crate) fn is_presigned(&self) -> bool {
        let query = self.path_and_query.split_once('?').map_or("", |(_, query)| query);
        query.split('&').any(|pair| pair.get(..6).is_some_and(|key| key.eq_ignore_ascii_case("x-amz-")))
    }
}

impl fmt::Debug for ChannelAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelAddress").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

fn violation(why: impl fmt::Display) -> Fault {
    Fault::new(FaultKind::PeerViolation, format!("the StreamUrl of the session cannot be used: {why}"))
}

/// Takes a URL apart, strictly. The error says what is wrong, and quotes nothing.
fn split(url: &str) -> Result<(Endpoint, &str), String> {
    if url.len() > MAX_URL_LEN {
        return Err(format!("it has more than {MAX_URL_LEN} bytes"));
    }
    if !url.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'"' | b'<' | b'>' | b'`'))
    {
        return Err("it holds characters that no URL has".to_owned());
    }
    if url.contains('#') {
        return Err("it has a fragment".to_owned());
    }
    let (tls, rest) = match (url.strip_prefix("wss://"), url.strip_prefix("ws://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return Err("its scheme is neither wss nor ws".to_owned()),
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path_and_query) = rest.split_at(end);
    if authority.contains('@') {
        return Err("it holds a user name".to_owned());
    }
    if !path_and_query.starts_with('/') {
        return Err("it has no path".to_owned());
    }
    let (host, port) = split_authority(authority, if tls { 443 } else { 80 })?;
    Ok((Endpoint { tls, host, port }, path_and_query))
}

fn split_authority(authority: &str, default_port: u16) -> Result<(String, u16), String> {
    // The colons of an IPv6 address are inside its brackets.
    let port_colon = authority.rfind(':').filter(|colon| !authority[*colon..].contains(']'));
    let (host, port) = match port_colon {
        Some(colon) => {
            let digits = &authority[colon + 1..];
            let port =
                digits.parse().ok().filter(|port| *port != 0 && digits.bytes().all(|b| b.is_ascii_digit()));
            (&authority[..colon], port.ok_or("its port is not a number from 1 to 65535")?)
        }
        None => (authority, default_port),
    };
    let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    let is_ipv6 = host.starts_with('[') && Host::parse(host).is_ok();
    if host.is_empty() || !(is_name || is_ipv6) {
        return Err("its host is not a DNS name".to_owned());
    }
    Ok((host.to_ascii_lowercase(), port))
}

/// `ssmmessages` or its FIPS twin, in that region, under a suffix of its partition.
fn is_aws_host(host: &str, region: &Region) -> bool {
    let rest = host.strip_prefix("ssmmessages-fips.").or_else(|| host.strip_prefix("ssmmessages."));
    let suffix =
        rest.and_then(|rest| rest.strip_prefix(region.as_str())).and_then(|rest| rest.strip_prefix('.'));
    suffix.is_some_and(|suffix| partition_suffixes(region).contains(&suffix))
}

/// DNS suffixes of the region's partition, plain and dual-stack, as the SDK's partition table has them.
pub(crate) fn partition_suffixes(region: &Region) -> [&'static str; 2] {
    const PARTITIONS: [(&str, [&str; 2]); 6] = [
        ("cn-", ["amazonaws.com.cn", "api.amazonwebservices.com.cn"]),
        ("us-iso-", ["c2s.ic.gov", "api.aws.ic.gov"]),
        ("us-isob-", ["sc2s.sgov.gov", "api.aws.scloud"]),
        ("eu-isoe-", ["cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"]),
        ("us-isof-", ["csp.hci.ic.gov", "api.aws.hci.ic.gov"]),
        ("eusc-", ["amazonaws.eu", "api.amazonwebservices.eu"]),
    ];
    let of_region = PARTITIONS.iter().find(|(prefix, _)| region.as_str().starts_with(prefix));
    of_region.map_or(["amazonaws.com", "api.aws"], |(_, suffixes)| *suffixes)
}

/// Whether AWS named the configured endpoint itself. Any name of loopback is this machine.
fn is_same_place(named: &Endpoint, endpoint: &Endpoint) -> bool {
    let loopback = |endpoint: &Endpoint| Host::parse(&endpoint.host).is_ok_and(|host| is_loopback(&host));
    let same_host = named.host == endpoint.host || (loopback(named) && loopback(endpoint));
    same_host && named.port == endpoint.port && named.tls == endpoint.tls
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/v1/data-channel/me@corp.example-0a1b?role=publish_subscribe&cell-number=AAEAA+x/y=";

    fn check(url: &str, region: &str, endpoint: Option<&str>) -> Result<ChannelAddress, Fault> {
        let endpoint = endpoint.map(|url| Endpoint::parse(url, "aws.endpoint_ssmmessages").unwrap());
        ChannelAddress::check(url, &region.parse().unwrap(), endpoint.as_ref())
    }

    #[test]
    fn endpoints_of_every_partition_pass() {
        for (host, region) in [
            ("ssmmessages.eu-west-1.amazonaws.com", "eu-west-1"),
            ("SSMMessages.eu-west-1.amazonaws.com", "eu-west-1"),
            ("ssmmessages.eu-west-1.amazonaws.com:443", "eu-west-1"),
            ("ssmmessages-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
            ("ssmmessages.eu-west-1.api.aws", "eu-west-1"),
            ("ssmmessages.cn-north-1.amazonaws.com.cn", "cn-north-1"),
            ("ssmmessages.us-iso-east-1.c2s.ic.gov", "us-iso-east-1"),
            ("ssmmessages.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1"),
            ("ssmmessages.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
        ] {
            let address = check(&format!("wss://{host}{PATH}"), region, None).unwrap();
            assert!(address.is_tls());
            assert_eq!(address.port(), 443);
            assert_eq!(address.path_and_query(), PATH, "sent unchanged");
            assert!(!address.authority().contains(':'), "the default port is not in the Host header");
        }
    }

    #[test]
    fn hostile_urls_are_refused() {
        for url in [
            "wss://evil.example/v1/data-channel/s",
            "wss://ssmmessages.eu-west-1.amazonaws.com.evil.example/x",
            "wss://ssmmessages.eu-west-1.amazonaws.com@evil.example/x",
            "wss://user:pw@ssmmessages.eu-west-1.amazonaws.com/x",
            "wss://evil.example\\@ssmmessages.eu-west-1.amazonaws.com/x",
            "wss://evil.example#@ssmmessages.eu-west-1.amazonaws.com/x",
            "wss://evil.example?ssmmessages.eu-west-1.amazonaws.com/x",
            "wss://ssmmessages.eu-west-1.amazonaws.com#/x",
            "wss://ssmmessages.eu-west-1.amazonaws.com:8443/x",
            "wss://ssmmessages.eu-west-1.amazonaws.com:0/x",
            "wss://ssmmessages.eu-west-1.amazonaws.com:+443/x",
            "wss://ssmmessages.eu-west-1.amazonaws.com:/x",
            "wss://ssmmessages.eu-west-1.amazonaws.com:443:443/x",
            "wss://ssmmessages.us-east-1.amazonaws.com/x",
            "wss://ssmmessages.eu-west-1.amazonaws.com.cn/x",
            "wss://ssmmessages.eu-west-1.amazonaws.com./x",
            "wss://ssmmessages.eu-west-1.x.amazonaws.com/x",
            "wss://xssmmessages.eu-west-1.amazonaws.com/x",
            "wss://ssm.eu-west-1.amazonaws.com/x",
            "wss://ssmmessages.eu-west-1.amazonaws.com",
            "wss://ssmmessages.eu-west-1.amazonaws.com?x",
            "wss://ssmmessages.eu-west-1.amazonaws.com/x y",
            "wss://ssmmessages.eu-west-1.amazonaws.com/x\r\nHost: evil.example",
            "wss://ssmmessages.eu-west-1.amazonaws.com/ä",
            "wss://ssmmessages.eu-west-1%2eamazonaws.com/x",
            "ws://ssmmessages.eu-west-1.amazonaws.com/x",
            "https://ssmmessages.eu-west-1.amazonaws.com/x",
            "wss:/ssmmessages.eu-west-1.amazonaws.com/x",
            "wss:///x",
            "WSS//",
            "ws://127.0.0.1:4000/x",
            "wss://127.0.0.1/x",
            "wss://169.254.169.254/latest",
            "",
        ] {
            let fault = check(url, "eu-west-1", None).expect_err(url);
            assert_eq!(fault.kind, FaultKind::PeerViolation, "{url}");
            assert!(fault.detail.starts_with("the StreamUrl of the session cannot be used: "), "{fault}");
            assert!(!fault.detail.contains("pw"), "{fault}");
        }
        let endless = format!("wss://ssmmessages.eu-west-1.amazonaws.com/{}", "a".repeat(MAX_URL_LEN));
        assert!(check(&endless, "eu-west-1", None).is_err());
    }

    #[test]
    fn the_clear_needs_a_loopback_endpoint_of_the_same_port() {
        let url = format!("ws://127.0.0.1:4000{PATH}");
        let address = check(&url, "eu-west-1", Some("ws://localhost:4000")).unwrap();
        assert_eq!((address.is_tls(), address.host(), address.port()), (false, "localhost", 4000));
        for endpoint in ["ws://127.0.0.1:4001", "wss://127.0.0.1:4000", "wss://vpce.example"] {
            assert!(check(&url, "eu-west-1", Some(endpoint)).is_err(), "{endpoint}");
        }
        assert!(check("ws://10.0.0.1:4000/x", "eu-west-1", Some("ws://127.0.0.1:4000")).is_err());
        assert!(check("ws://[::1]:4000/x", "eu-west-1", Some("ws://[::1]:4000")).is_ok());
    }

    #[test]
    fn a_configured_endpoint_is_where_to_connect() {
        let url = format!("wss://ssmmessages.eu-west-1.amazonaws.com{PATH}");
        let endpoint = "https://vpce-1.ssmmessages.eu-west-1.vpce.amazonaws.com";
        let address = check(&url, "eu-west-1", Some(endpoint)).unwrap();
        assert_eq!(address.url(), format!("wss://vpce-1.ssmmessages.eu-west-1.vpce.amazonaws.com{PATH}"));
        assert!(
            check("wss://vpce-1.ssmmessages.eu-west-1.vpce.amazonaws.com/x", "eu-west-1", Some(endpoint))
                .is_ok()
        );
        assert!(check("wss://evil.example/x", "eu-west-1", Some(endpoint)).is_err());
    }

    #[test]
    fn a_presigned_url_is_recognised_and_never_shown() {
        let url = "wss://ssmmessages.eu-west-1.amazonaws.com/x?role=r&X-Amz-Signature=CANARY";
        let address = check(url, "eu-west-1", None).unwrap();
        assert!(address.is_presigned());
        assert!(!format!("{address:?}").contains("CANARY"));
        let fault = check(&url.replace("eu-west-1", "eu-west-2"), "eu-west-1", None).unwrap_err();
        assert!(!fault.to_string().contains("CANARY"), "{fault}");
        assert!(
            !check("wss://ssmmessages.eu-west-1.amazonaws.com/x?a=X-Amz-b", "eu-west-1", None)
                .unwrap()
                .is_presigned()
        );
    }
}
