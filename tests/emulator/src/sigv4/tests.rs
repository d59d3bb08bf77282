//! Signatures computed with Python's hashlib and hmac over canonical requests written by hand; the first one is the
//! `get-vanilla` case of AWS's published test suite.

use http::HeaderValue;
use time::macros::datetime;

use super::*;

const KEY_ID: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const NOW: OffsetDateTime = datetime!(2026-01-02 03:04:05 UTC);
const STAMP: &str = "20260102T030405Z";
const REGION: &str = "eu-central-1";
const MESSAGES: Scope<'static> = Scope { region: Some(REGION), service: "ssmmessages" };
const API: Scope<'static> = Scope { region: None, service: "ssm" };
const UPGRADE_PATH: &str = "/v1/data-channel/me@corp.example-0a1b";
const UPGRADE_QUERY: &str = "role=publish_subscribe&cell-number=AAEAA+x/y=";
const UPGRADE_SIGNATURE: &str = "39ca0e94d2f512741a1d05f6b66d6dcf0cc344d1dcfc357cfae64dad38366d51";

fn keyring(token: Option<&str>) -> Keyring {
    Keyring::new([AccessKey::new(KEY_ID, SECRET, token.map(str::to_owned))])
}

fn headers(service: &str, signature: &str, extra: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in extra {
        headers.insert(*name, HeaderValue::from_str(value).unwrap());
    }
    let mut names: Vec<_> = extra.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    let stamp = extra.iter().find(|(name, _)| *name == "x-amz-date").unwrap().1;
    let region = if service == "service" { "us-east-1" } else { REGION };
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={KEY_ID}/{}/{region}/{service}/aws4_request, SignedHeaders={}, Signature={signature}",
        &stamp[..8],
        names.join(";"),
    );
    headers.insert("authorization", HeaderValue::from_str(&authorization).unwrap());
    headers
}

fn upgrade(signature: &str) -> HeaderMap {
    let host = ("host", "ssmmessages.eu-central-1.amazonaws.com");
    headers("ssmmessages", signature, &[host, ("x-amz-date", STAMP)])
}

fn get<'a>(path: &'a str, query: &'a str, headers: &'a HeaderMap) -> Received<'a> {
    Received { method: "GET", path, query, headers, body: b"" }
}

fn verify_upgrade(path: &str, query: &str, headers: &HeaderMap) -> Result<(), Rejection> {
    verify(&get(path, query, headers), &keyring(None), MESSAGES, NOW)
        .map(|signer| assert_eq!(signer.region, REGION))
}

fn signed_for(region: &str) -> Result<Signer, Rejection> {
    Ok(Signer { key_id: KEY_ID.into(), region: region.into() })
}

#[test]
fn get_vanilla_of_the_published_suite() {
    let signature = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    let headers = headers(
        "service",
        signature,
        &[("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")],
    );
    let now = datetime!(2015-08-30 12:36:00 UTC);
    let scope = Scope { region: None, service: "service" };
    assert_eq!(verify(&get("/", "", &headers), &keyring(None), scope, now), signed_for("us-east-1"));
}

#[test]
fn upgrade_with_at_sign_and_raw_plus() {
    assert_eq!(verify_upgrade(UPGRADE_PATH, UPGRADE_QUERY, &upgrade(UPGRADE_SIGNATURE)), Ok(()));
}

#[test]
fn a_signer_that_takes_the_plus_literally_is_refused() {
    let literal_plus = "20b680fd83c618664ccc62ff3c8ef6a2bf305c9cd17dd8dea1099945dac300b6";
    let answer = verify_upgrade(UPGRADE_PATH, UPGRADE_QUERY, &upgrade(literal_plus));
    assert_eq!(answer, Err(Rejection::Mismatch));
}

#[test]
fn upgrade_with_a_session_token() {
    let token = "FwoG/token+EXAMPLE==";
    let signature = "38bbe0c9eade79a17e4b96b4a12abbad176128c1a3e0390d93aaeeb7bc0ef650";
    let host = ("host", "ssmmessages.eu-central-1.amazonaws.com");
    let extra = [host, ("x-amz-date", STAMP), ("x-amz-security-token", token)];
    let headers = headers("ssmmessages", signature, &extra);
    let request = get(UPGRADE_PATH, UPGRADE_QUERY, &headers);
    assert_eq!(verify(&request, &keyring(Some(token)), MESSAGES, NOW), signed_for(REGION));
    assert_eq!(verify(&request, &keyring(None), MESSAGES, NOW), Err(Rejection::UnknownKey));
}

#[test]
fn api_call_with_a_body() {
    let signature = "9fc1d88cb5bf1434edfa59675fc1043fc3907489a72e7c4854218fa84a0ba437";
    let extra = [
        ("content-type", "application/x-amz-json-1.1"),
        ("host", "127.0.0.1:4566"),
        ("x-amz-date", STAMP),
        ("x-amz-target", "AmazonSSM.StartSession"),
    ];
    let headers = headers("ssm", signature, &extra);
    let body = br#"{"Target":"i-0123456789abcdef0"}"#;
    let request = Received { method: "POST", path: "/", query: "", headers: &headers, body };
    assert_eq!(verify(&request, &keyring(None), API, NOW), signed_for(REGION));
    let altered = Received { body: b"{}", ..request };
    assert_eq!(verify(&altered, &keyring(None), API, NOW), Err(Rejection::Mismatch));
}

#[test]
fn every_changed_part_is_a_mismatch() {
    let headers = upgrade(UPGRADE_SIGNATURE);
    for (path, query) in [
        ("/v1/data-channel/me%40corp.example-0a1b", UPGRADE_QUERY),
        (UPGRADE_PATH, "role=publish_subscribe&cell-number=AAEAAx/y="),
        (UPGRADE_PATH, "role=publish_subscribe"),
    ] {
        assert_eq!(verify_upgrade(path, query, &headers), Err(Rejection::Mismatch), "{path}?{query}");
    }
}

#[test]
fn wrong_scope_time_and_key_are_named() {
    let headers = upgrade(UPGRADE_SIGNATURE);
    let request = get(UPGRADE_PATH, UPGRADE_QUERY, &headers);
    let elsewhere = verify(&request, &keyring(None), Scope { region: Some("us-east-1"), ..MESSAGES }, NOW);
    assert_eq!(elsewhere, Err(Rejection::Scope { region: REGION.into(), service: "ssmmessages".into() }));
    let late = NOW + Duration::minutes(16);
    assert_eq!(verify(&request, &keyring(None), MESSAGES, late), Err(Rejection::Skewed));
    let nobody = Keyring::new([]);
    assert_eq!(verify(&request, &nobody, MESSAGES, NOW), Err(Rejection::UnknownKey));
    let unsigned = HeaderMap::new();
    assert_eq!(verify_upgrade(UPGRADE_PATH, UPGRADE_QUERY, &unsigned), Err(Rejection::Missing));
}

#[test]
fn expired_credentials_are_told_from_wrong_ones() {
    let keyring = keyring(None);
    keyring.set_expired(Some(KEY_ID), true);
    let right = upgrade(UPGRADE_SIGNATURE);
    assert_eq!(
        verify(&get(UPGRADE_PATH, UPGRADE_QUERY, &right), &keyring, MESSAGES, NOW),
        Err(Rejection::Expired)
    );
    let wrong = upgrade(&"0".repeat(64));
    assert_eq!(
        verify(&get(UPGRADE_PATH, UPGRADE_QUERY, &wrong), &keyring, MESSAGES, NOW),
        Err(Rejection::Mismatch)
    );
}
