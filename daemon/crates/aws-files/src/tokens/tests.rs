use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use proptest::prelude::*;

use super::*;

const MOMENT: u64 = 1_893_553_445_000;

/// As the AWS CLI writes it.
const FULL: &str = r#"{"startUrl": "https://x.awsapps.com/start", "region": "us-east-1", "accessToken": "ACCESS",
    "expiresAt": "2030-01-02T03:04:05Z", "clientId": "id", "clientSecret": "SECRET",
    "registrationExpiresAt": "2030-01-02T03:04:05.678Z", "refreshToken": "REFRESH"}"#;

fn sign_in(name: &str) -> SignIn {
    SignIn {
        name: name.parse().unwrap(),
        start_url: "https://x.awsapps.com/start".to_owned(),
        region: "us-east-1".parse().unwrap(),
        scopes: Vec::new(),
    }
}

fn parsed(text: &str) -> CachedToken {
    CachedToken::parse(text.as_bytes()).ok().unwrap()
}

fn refused(text: &str) -> TokenError {
    CachedToken::parse(text.as_bytes()).err().unwrap()
}

fn json(text: &SecretString) -> Value {
    serde_json::from_str(text.expose_secret()).unwrap()
}

#[test]
fn a_whole_token_is_read() {
    let CachedToken { start_url, region, token } = parsed(FULL);
    assert_eq!(start_url.as_deref(), Some("https://x.awsapps.com/start"));
    assert_eq!(region.as_ref().map(Region::as_str), Some("us-east-1"));
    assert_eq!(token.access_token.expose_secret(), "ACCESS");
    assert_eq!(token.expires_at, Timestamp::from_millis(MOMENT));
    assert_eq!(token.refresh_token.unwrap().expose_secret(), "REFRESH");
    let client = token.client.unwrap();
    assert_eq!((client.id.as_str(), client.secret.expose_secret()), ("id", "SECRET"));
    assert_eq!(client.expires_at, Some(Timestamp::from_millis(MOMENT + 678)));
}

#[test]
fn two_fields_are_enough_and_null_is_not_there() {
    let CachedToken { start_url, region, token } = parsed(
        r#"{"accessToken": "t", "expiresAt": "2030-01-02T03:04:05UTC", "refreshToken": null, "region": null}"#,
    );
    assert!(start_url.is_none() && region.is_none());
    assert!(token.refresh_token.is_none() && token.client.is_none());
    let half = parsed(r#"{"accessToken": "t", "expiresAt": "2030-01-02T03:04:05", "clientId": "i"}"#);
    assert!(half.token.client.is_none());
}

#[test]
fn what_may_become_whole_is_told_from_what_is_something_else() {
    for torn in ["", " ", &FULL[..60], &format!("{FULL}\"}}"), "\u{feff}{}"] {
        assert_eq!(refused(torn), TokenError::Torn, "{torn}");
        assert!(refused(torn).may_pass());
    }
    for other in [
        "[]",
        "{}",
        r#"{"accessToken": "t"}"#,
        r#"{"expiresAt": "2030-01-02T03:04:05Z", "clientId": "id"}"#,
        r#"{"accessToken": {"accessKeyId": "a"}, "expiresAt": "2030-01-02T03:04:05Z"}"#,
        r#"{"accessToken": null, "expiresAt": "2030-01-02T03:04:05Z"}"#,
        r#"{"accessToken": "t", "expiresAt": 1893553445}"#,
    ] {
        assert_eq!(refused(other), TokenError::NotAToken, "{other}");
    }
    let error = refused(r#"{"accessToken": "t", "expiresAt": "soon"}"#);
    assert_eq!(error, TokenError::Time { field: "expiresAt" });
    assert!(!error.may_pass());
}

#[test]
fn a_registration_whose_end_cannot_be_read_is_one_without_an_end() {
    for end in ["\"soon\"", "1893553445", "null"] {
        let text = format!(
            r#"{{"accessToken": "t", "expiresAt": "2030-01-02T03:04:05Z", "clientId": "i", "clientSecret": "s",
            "refreshToken": "r", "registrationExpiresAt": {end}}}"#
        );
        let token = parsed(&text).token;
        assert_eq!(token.client.as_ref().unwrap().expires_at, None, "{end}");
        assert!(token.refresh_token.is_some());
        assert!(json(&token.shared(&sign_in("corp"))).get("registrationExpiresAt").is_none(), "{end}");
    }
}

#[test]
fn a_shared_token_is_strict_and_keeps_what_others_wrote() {
    let text = FULL.replace("\"region\"", "\"provider\": {\"a\": [1]}, \"none\": null, \"region\"");
    let token = parsed(&text).token;
    assert_eq!(
        json(&token.shared(&sign_in("corp"))),
        serde_json::json!({
            "startUrl": "https://x.awsapps.com/start", "region": "us-east-1", "accessToken": "ACCESS",
            "expiresAt": "2030-01-02T03:04:05Z", "clientId": "id", "clientSecret": "SECRET",
            "registrationExpiresAt": "2030-01-02T03:04:05Z", "refreshToken": "REFRESH", "provider": {"a": [1]},
        })
    );
}

#[test]
fn what_is_not_there_is_not_written() {
    let token = Token { refresh_token: None, client: None, ..parsed(FULL).token };
    let written = json(&token.shared(&sign_in("corp")));
    let names: Vec<_> = written.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["accessToken", "expiresAt", "region", "startUrl"]);
}

#[test]
fn with_access_only_nothing_can_renew_the_token() {
    let text = FULL.replace("\"region\"", "\"idToken\": \"RENEWS\", \"region\"");
    let written = parsed(&text).token.access_only(&sign_in("corp"));
    for secret in ["REFRESH", "SECRET", "RENEWS", "id\""] {
        assert!(!written.expose_secret().contains(secret), "{secret}");
    }
    assert_eq!(parsed(written.expose_secret()).token.access_token.expose_secret(), "ACCESS");
}

#[test]
fn a_file_that_was_strange_to_us_is_written_without_what_was_strange() {
    let strange = parsed(r#"{"accessToken": "t", "expiresAt": "2030-01-02T03:04:05Z", "clientSecret": 7}"#);
    assert!(json(&strange.token.shared(&sign_in("corp"))).get("clientSecret").is_none());
}

#[test]
fn the_directory_gives_back_what_was_put_there_for_its_owner_only() {
    let home = tempfile::tempdir().unwrap();
    let cache = CacheDirectory::new(home.path().join(".aws/sso/cache"));
    let corp = sign_in("corp");
    assert!(cache.token(&corp.name).ok().unwrap().is_none());
    assert!(cache.files(&[&corp.name]).unwrap().is_empty() && !cache.delete_token(&corp.name).unwrap());
    let path = cache.path().join(file_name(&corp.name));
    std::fs::create_dir_all(cache.path()).unwrap();
    std::fs::write(&path, "old").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    cache.put_token(&corp.name, &parsed(FULL).token.shared(&corp)).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(cache.token(&corp.name).ok().unwrap().unwrap().token.access_token.expose_secret(), "ACCESS");
    assert!(cache.delete_token(&corp.name).unwrap() && !path.exists());
}

#[test]
fn a_new_directory_is_closed_to_others() {
    let home = tempfile::tempdir().unwrap();
    let cache = CacheDirectory::new(home.path().join("sso/cache"));
    cache.put_token(&sign_in("corp").name, &SecretString::from("{}")).unwrap();
    assert_eq!(std::fs::metadata(cache.path()).unwrap().mode() & 0o7777, 0o700);
}

#[test]
fn the_listing_has_tokens_and_what_may_become_one() {
    let home = tempfile::tempdir().unwrap();
    let cache = CacheDirectory::new(home.path());
    let (corp, torn, url) = (sign_in("corp"), sign_in("torn"), sign_in("https://x.awsapps.com/start"));
    for (name, text) in [
        (file_name(&corp.name), FULL),
        (file_name(&url.name), FULL),
        (file_name(&torn.name), "{\"acc"),
        ("toolkit.json".to_owned(), FULL),
        ("registration.json".to_owned(), r#"{"clientId": "i", "clientSecret": "s"}"#),
        ("other.tmp".to_owned(), FULL),
    ] {
        std::fs::write(home.path().join(name), text).unwrap();
    }
    std::fs::create_dir(home.path().join("directory.json")).unwrap();
    let files = cache.files(&[&corp.name, &torn.name]).unwrap();
    let mut seen: Vec<_> = files
        .iter()
        .map(|file| (file.sign_in.as_ref().map(ToString::to_string), file.token.as_ref().err().copied()))
        .collect();
    seen.sort_by_key(|(name, _)| name.clone());
    let name = |text: &str| Some(text.to_owned());
    assert_eq!(
        seen,
        [
            (None, None),
            (name("corp"), None),
            (name("https://x.awsapps.com/start"), None),
            (name("torn"), Some(TokenError::Torn)),
        ]
    );
}

#[test]
fn a_registration_is_kept_beside_the_tokens() {
    let home = tempfile::tempdir().unwrap();
    let cache = CacheDirectory::new(home.path());
    let corp = sign_in("corp");
    let key = RegistrationKey { region: corp.region.clone(), sign_in: corp };
    assert!(cache.registration(&key).ok().unwrap().is_none());
    let client = parsed(FULL).token.client.unwrap();
    let registration = Registration { client, scopes: Vec::new(), grant_types: Vec::new() };
    cache.put_registration(&key, &registration).unwrap();
    assert_eq!(cache.registration(&key).ok().unwrap().unwrap().client.id, "id");
    assert!(cache.files(&[&key.sign_in.name]).unwrap().is_empty());
    assert!(cache.delete_registration(&key).unwrap());
}

#[test]
fn what_a_killed_process_left_is_swept() {
    let home = tempfile::tempdir().unwrap();
    let cache = CacheDirectory::new(home.path());
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    for name in ["a.json.1-0.stormtunnel.tmp", "a.json", "b.tmp"] {
        std::fs::write(home.path().join(name), FULL).unwrap();
        let file = std::fs::File::options().write(true).open(home.path().join(name)).unwrap();
        file.set_modified(long_ago).unwrap();
    }
    cache.sweep(Timestamp::from_millis(MOMENT)).unwrap();
    let mut left: Vec<_> = std::fs::read_dir(home.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["a.json", "b.tmp"]);
}

proptest! {
    #[test]
    fn no_file_is_too_strange(content in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = CachedToken::parse(&content);
        let _ = Registration::parse(&content);
    }

    #[test]
    fn every_cut_of_a_token_is_torn(length in 0..FULL.len()) {
        prop_assert_eq!(refused(&FULL[..length]), TokenError::Torn);
    }
}
