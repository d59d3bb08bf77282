//! Verification of Signature Version 4, written from AWS's description and not shared with any signer of this project:
//! a mistake made on both sides would otherwise prove itself right.
//!
//! Two rules matter for the data channel. The path is encoded as it stands, so a raw `@` of a session id counts as
//! `%40` (and an already encoded one would count as `%2540`). The query is decoded as a form first, so a raw `+` in
//! `cell-number` counts as a space: that is what AWS's own client signs.

use hmac::{Hmac, Mac as _};
use http::HeaderMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};
use sha2::{Digest as _, Sha256};
use time::macros::format_description;
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use crate::credentials::{AccessKey, Keyring};

/// Everything but the unreserved characters of RFC 3986.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The same, keeping the separator of path segments.
const PATH: &AsciiSet = &QUERY.remove(b'/');
/// How far the caller's clock may be off.
const SKEW: Duration = Duration::minutes(15);
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A request as it came over the wire.
pub(crate) struct Received<'a> {
    pub(crate) method: &'a str,
    /// As sent, still encoded.
    pub(crate) path: &'a str,
    /// As sent, without the question mark; may be empty.
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// No signature at all.
    Missing,
    /// Something that is no signature.
    Malformed(&'static str),
    /// Nobody has this key id, or its session token is another one.
    UnknownKey,
    /// The credentials are expired.
    Expired,
    /// Signed too long ago, or in the future.
    Skewed,
    /// Signed for another service or region.
    Scope { region: String, service: String },
    /// The signature is another one.
    Mismatch,
}

/// What a signature must be for.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    /// `None`: any region, because one endpoint stands for all of them.
    pub(crate) region: Option<&'a str>,
    pub(crate) service: &'a str,
}

/// Who signed a request, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signer {
    pub(crate) key_id: String,
    pub(crate) region: String,
}

/// Checks a request's signature at `now` and answers with who signed it.
///
/// # Errors
/// The first [`Rejection`] that applies.
pub(crate) fn verify(
    request: &Received<'_>,
    keyring: &Keyring,
    scope: Scope<'_>,
    now: OffsetDateTime,
) -> Result<Signer, Rejection> {
    let authorization = Authorization::read(request.headers)?;
    let (key, expired) = keyring.find(&authorization.key_id, now).ok_or(Rejection::UnknownKey)?;
    if key.session_token() != header(request.headers, "x-amz-security-token") {
        return Err(Rejection::UnknownKey);
    }
    let wrong_region = scope.region.is_some_and(|region| region != authorization.region);
    if wrong_region || scope.service != authorization.service {
        let Authorization { region, service, .. } = authorization;
        return Err(Rejection::Scope { region, service });
    }
    let stamp = header(request.headers, "x-amz-date").ok_or(Rejection::Malformed("no X-Amz-Date"))?;
    check_date(stamp, &authorization.date, now)?;
    let to_sign = string_to_sign(stamp, &authorization.scope(), &canonical_request(request, &authorization)?);
    let given = hex::decode(&authorization.signature).map_err(|_| Rejection::Malformed("signature"))?;
    mac(&signing_key(&key, &authorization), to_sign.as_bytes())
        .verify_slice(&given)
        .map_err(|_| Rejection::Mismatch)?;
    // A wrong signature is reported as such even for an expired key.
    let Authorization { key_id, region, .. } = authorization;
    if expired { Err(Rejection::Expired) } else { Ok(Signer { key_id, region }) }
}

/// The parts of the `Authorization` header.
struct Authorization {
    key_id: String,
    date: String,
    region: String,
    service: String,
    signed_headers: Vec<String>,
    signature: String,
}

impl Authorization {
    fn read(headers: &HeaderMap) -> Result<Self, Rejection> {
        let value = header(headers, "authorization").ok_or(Rejection::Missing)?;
        let fields = value.strip_prefix(ALGORITHM).ok_or(Rejection::Malformed("algorithm"))?;
        let field = |name: &'static str| {
            let of_name = |part: &str| Some(part.trim().strip_prefix(name)?.strip_prefix('=')?.to_owned());
            fields.split(',').find_map(of_name).ok_or(Rejection::Malformed(name))
        };
        let credential = field("Credential")?;
        let mut scope = credential.rsplitn(5, '/');
        let mut next = || scope.next().map(str::to_owned).ok_or(Rejection::Malformed("Credential"));
        let (end, service, region, date, key_id) = (next()?, next()?, next()?, next()?, next()?);
        if end != "aws4_request" {
            return Err(Rejection::Malformed("Credential"));
        }
        let signed_headers: Vec<_> = field("SignedHeaders")?.split(';').map(str::to_owned).collect();
        if !signed_headers.iter().any(|name| name == "host") {
            return Err(Rejection::Malformed("SignedHeaders without host"));
        }
        Ok(Self { key_id, date, region, service, signed_headers, signature: field("Signature")? })
    }

    fn scope(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }
}

fn check_date(stamp: &str, scope_date: &str, now: OffsetDateTime) -> Result<(), Rejection> {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let signed = PrimitiveDateTime::parse(stamp, format).map_err(|_| Rejection::Malformed("X-Amz-Date"))?;
    if !stamp.starts_with(scope_date) {
        return Err(Rejection::Malformed("Credential date"));
    }
    if (signed.assume_utc() - now).abs() > SKEW { Err(Rejection::Skewed) } else { Ok(()) }
}

fn canonical_request(request: &Received<'_>, authorization: &Authorization) -> Result<String, Rejection> {
    let mut headers = String::new();
    for name in &authorization.signed_headers {
        let values: Vec<_> =
            request.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        if values.is_empty() {
            return Err(Rejection::Malformed("SignedHeaders names an absent header"));
        }
        let joined = values.iter().map(|value| collapse_spaces(value)).collect::<Vec<_>>().join(",");
        headers.push_str(&format!("{name}:{joined}\n"));
    }
    Ok(format!(
        "{}\n{}\n{}\n{}\n{}\n{}",
        request.method,
        canonical_path(request.path),
        canonical_query(request.query),
        headers,
        authorization.signed_headers.join(";"),
        hex::encode(Sha256::digest(request.body)),
    ))
}

fn canonical_path(path: &str) -> String {
    if path.is_empty() { "/".to_owned() } else { percent_encode(path.as_bytes(), PATH).to_string() }
}

fn canonical_query(query: &str) -> String {
    let encode = |text: &str| {
        let spaced = text.replace('+', " ");
        let decoded: Vec<u8> = percent_decode(spaced.as_bytes()).collect();
        percent_encode(&decoded, QUERY).to_string()
    };
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (encode(name), encode(value))
    };
    let mut pairs: Vec<_> = query.split('&').filter(|part| !part.is_empty()).map(pair).collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn collapse_spaces(value: &str) -> String {
    value.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn string_to_sign(stamp: &str, scope: &str, canonical: &str) -> String {
    format!("{ALGORITHM}\n{stamp}\n{scope}\n{}", hex::encode(Sha256::digest(canonical)))
}

fn signing_key(key: &AccessKey, authorization: &Authorization) -> Vec<u8> {
    let parts = [&authorization.date, &authorization.region, &authorization.service, "aws4_request"];
    let start = format!("AWS4{}", key.secret()).into_bytes();
    parts.iter().fold(start, |key, part| mac(&key, part.as_bytes()).finalize().into_bytes().to_vec())
}

fn mac(key: &[u8], data: &[u8]) -> Hmac<Sha256> {
    // HMAC takes keys of any length; an empty result would only mean that nothing verifies.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()));
    mac.update(data);
    mac
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests;
