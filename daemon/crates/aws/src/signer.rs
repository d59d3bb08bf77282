//! SigV4 of the data channel's upgrade request, as the official client signs it since version 1.2.764.
//!
//! Method `GET`, empty body, service `ssmmessages`; of the headers only `host` is signed (and the security token).
//! The canonical query is the query form-decoded and then encoded by RFC 3986: a raw `+` in `cell-number` counts as
//! a space. `aws-sigv4` does it this way, as Go's signer does.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderMap, Request};
use stormtunnel_model::{Fault, Region};

use crate::address::ChannelAddress;

/// Name of the message gateway in signatures.
const SERVICE: &str = "ssmmessages";

/// The headers that sign the upgrade to `address`: `authorization`, `x-amz-date`, and `x-amz-security-token` for
/// temporary credentials. Their values are marked sensitive.
pub(crate) fn sign_upgrade(
    address: &ChannelAddress,
    region: &Region,
    credentials: &Credentials,
    now: SystemTime,
) -> Result<HeaderMap, Fault> {
    // Texts of the signer are not passed on: they may quote the URL.
    let failed = |what| Fault::internal(format!("the upgrade could not be signed: {what}"));
    let identity = credentials.clone().into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region.as_str())
        .name(SERVICE)
        .time(now)
        .settings(SigningSettings::default())
        .build()
        .map_err(|_| failed("parameters are missing"))?
        .into();
    let authority = address.authority();
    let headers = [("host", authority.as_str())].into_iter();
    let request = SignableRequest::new("GET", address.url(), headers, SignableBody::empty())
        .map_err(|_| failed("its URL cannot be parsed"))?;
    let (instructions, _) = sign(request, &parameters).map_err(|_| failed("the signer failed"))?.into_parts();
    let mut signed = Request::new(());
    instructions.apply_to_request_http1x(&mut signed);
    let mut headers = std::mem::take(signed.headers_mut());
    headers.values_mut().for_each(|value| value.set_sensitive(true));
    Ok(headers)
}

/// What may never be shown of signed headers: the token, and the signature with all that stands around it.
pub(crate) fn secrets_of(headers: &HeaderMap) -> Vec<&str> {
    let is_secret = |name: &HeaderName| *name == AUTHORIZATION || name.as_str() == "x-amz-security-token";
    let values =
        headers.iter().filter(|(name, _)| is_secret(name)).filter_map(|(_, value)| value.to_str().ok());
    let with_signature =
        |value| [Some(value), str::split_once(value, "Signature=").map(|(_, signature)| signature)];
    values.flat_map(with_signature).flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::endpoint::Endpoint;

    const PATH: &str = "/v1/data-channel/me@corp.example-0a1b?role=publish_subscribe&cell-number=AAEAA+x/y=";
    const TOKEN: &str = "IQoJb3JpZ2luX2VjEXAMPLETOKEN//+=";

    fn signed(token: Option<&str>, endpoint: Option<&str>) -> HeaderMap {
        let region: Region = "eu-west-1".parse().unwrap();
        let url = format!("wss://ssmmessages.eu-west-1.amazonaws.com{PATH}");
        let endpoint = endpoint.map(|url| Endpoint::parse(url, "aws.endpoint_ssmmessages").unwrap());
        let address = ChannelAddress::check(&url, &region, endpoint.as_ref()).unwrap();
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let credentials = Credentials::new("AKIDEXAMPLE", secret, token.map(str::to_owned), None, "test");
        let new_year_2025 = SystemTime::UNIX_EPOCH + Duration::from_secs(1_735_689_600);
        sign_upgrade(&address, &region, &credentials, new_year_2025).unwrap()
    }

    fn authorization(signed_headers: &str, signature: &str) -> String {
        format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20250101/eu-west-1/ssmmessages/aws4_request, \
             SignedHeaders={signed_headers}, Signature={signature}"
        )
    }

    // The vectors were made without any signer, with Python's hashlib and hmac, out of this canonical request:
    //
    //   GET
    //   /v1/data-channel/me%40corp.example-0a1b
    //   cell-number=AAEAA%20x%2Fy%3D&role=publish_subscribe
    //   host:ssmmessages.eu-west-1.amazonaws.com
    //   x-amz-date:20250101T000000Z
    //
    //   host;x-amz-date
    //   e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
    //
    // whose SHA-256 is the last line of the string to sign:
    //
    //   AWS4-HMAC-SHA256
    //   20250101T000000Z
    //   20250101/eu-west-1/ssmmessages/aws4_request
    //   31b79d73d8318057bb3e91fec02926ae20e9cf8fcdfde8282d26896278e83c92
    //
    // and the key is HMAC(HMAC(HMAC(HMAC("AWS4" + secret, "20250101"), "eu-west-1"), "ssmmessages"), "aws4_request").

    #[test]
    fn vector_with_long_lived_keys() {
        let headers = signed(None, None);
        let signature = "7c149444421344e8e0b4d47022cf849c13bdfeb0b6b2a0cec818a01da682a4c9";
        assert_eq!(headers["authorization"], authorization("host;x-amz-date", signature));
        assert_eq!(headers["x-amz-date"], "20250101T000000Z");
        assert_eq!(headers.len(), 2);
    }

    #[test]
    fn vector_with_temporary_credentials() {
        // One more header line, `x-amz-security-token:<token>`; hash of the canonical request ac0f066a…028e131c.
        let headers = signed(Some(TOKEN), None);
        let signature = "3af292e7aaa905e838bbeef11ecdd6cfc4e4bdf7139607f5e8659dd8ece63b03";
        assert_eq!(
            headers["authorization"],
            authorization("host;x-amz-date;x-amz-security-token", signature)
        );
        assert_eq!(headers["x-amz-security-token"], TOKEN);
    }

    #[test]
    fn vector_with_an_endpoint_whose_port_is_part_of_the_host() {
        // Header line `host:127.0.0.1:4000`; hash of the canonical request 2b392c62…58df4313.
        let headers = signed(None, Some("ws://127.0.0.1:4000"));
        let signature = "4794e34ec956c3cb3896faa383f70cd68717f3038e72b72f8e1bc87932f83149";
        assert_eq!(headers["authorization"], authorization("host;x-amz-date", signature));
    }

    #[test]
    fn signed_headers_do_not_show_themselves() {
        let headers = signed(Some(TOKEN), None);
        let shown = format!("{headers:?}");
        assert!(!shown.contains(TOKEN) && !shown.contains("3af292e7"), "{shown}");
        let secrets = secrets_of(&headers);
        assert!(secrets.contains(&TOKEN));
        assert!(secrets.contains(&"3af292e7aaa905e838bbeef11ecdd6cfc4e4bdf7139607f5e8659dd8ece63b03"));
    }
}
