//! Real files in a directory of the test's.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use stormtunnel_aws_files::tokens::file_name;

use super::*;

/// 2100-01-01T00:00:00Z.
const LATER: Timestamp = Timestamp::from_millis(4_102_444_800_000);
const URL: &str = "https://x.awsapps.com/start/#";

#[tokio::test]
async fn a_token_comes_back_as_it_was() {
    let place = Place::new();
    place.cache.write(&site("corp"), &token(Some(LATER)), Sharing::Full).await.unwrap();
    assert_eq!(told(&place.cache.read(&site("corp")).await), ["access", "refresh", "id", "secret"]);
    let file = place.json("corp");
    assert_eq!((&file["startUrl"], &file["region"]), (&json!(URL), &json!("eu-west-1")));
    assert_eq!(file["registrationExpiresAt"], "2100-01-01T00:00:00Z");
    assert!(matches!(place.cache.read(&site("other")).await, SharedFile::Missing));
}

#[tokio::test]
async fn what_renews_it_can_be_left_out() {
    let place = Place::new();
    place.cache.write(&site("corp"), &token(Some(LATER)), Sharing::Full).await.unwrap();
    place.cache.write(&site("corp"), &token(Some(LATER)), Sharing::AccessOnly).await.unwrap();
    let file = place.json("corp");
    let keys: Vec<&str> = file.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["accessToken", "expiresAt", "region", "startUrl"]);
    assert_eq!(told(&place.cache.read(&site("corp")).await), ["access"]);
}

#[tokio::test]
async fn with_sharing_off_nothing_is_written() {
    let place = Place::new();
    place.cache.write(&site("corp"), &token(None), Sharing::Off).await.unwrap();
    assert!(!place.directory().exists());
}

#[tokio::test]
async fn what_other_tools_keep_in_the_file_stays() {
    let place = Place::new();
    place.put("corp", r#"{"accessToken": "old", "expiresAt": "2030-01-02T03:04:05Z", "theirs": 7}"#);
    place.cache.write(&site("corp"), &token(Some(LATER)), Sharing::Full).await.unwrap();
    let file = place.json("corp");
    assert_eq!((&file["accessToken"], &file["theirs"]), (&json!("access"), &json!(7)));
}

#[tokio::test]
async fn a_registration_without_an_end_renews_and_stays_without_one() {
    let place = Place::new();
    let text = r#"{"accessToken": "a", "expiresAt": "2030-01-02T03:04:05Z", "refreshToken": "r",
        "clientId": "i", "clientSecret": "s"}"#;
    place.put("corp", text);
    let SharedFile::Token(token) = place.cache.read(&site("corp")).await else { panic!("no token") };
    assert_eq!(token.cannot_renew(LATER), None);
    place.cache.write(&site("corp"), &token, Sharing::Full).await.unwrap();
    assert!(place.json("corp").get("registrationExpiresAt").is_none());
}

#[tokio::test]
async fn a_refresh_token_without_its_client_is_none() {
    let place = Place::new();
    place.put("corp", r#"{"accessToken": "a", "expiresAt": "2030-01-02T03:04:05Z", "refreshToken": "r"}"#);
    assert_eq!(told(&place.cache.read(&site("corp")).await), ["a"]);
}

#[tokio::test]
async fn what_is_no_token_is_torn_and_what_cannot_be_read_is_a_fault() {
    let place = Place::new();
    for torn in ["", "{\"accessTok", "[]", "{}", r#"{"accessToken": "a", "expiresAt": "soon"}"#] {
        place.put("corp", torn);
        assert!(matches!(place.cache.read(&site("corp")).await, SharedFile::Torn), "{torn:?}");
    }
    std::fs::create_dir(place.file("other")).unwrap();
    let SharedFile::Failed(fault) = place.cache.read(&site("other")).await else { panic!("no fault") };
    assert!(fault.detail.starts_with("cannot read the token file in "), "{fault}");
    let written = place.cache.write(&site("other"), &token(None), Sharing::Full).await;
    assert!(written.unwrap_err().detail.starts_with("cannot write the token file in "));
}

#[tokio::test]
async fn a_deleted_token_is_missing_and_may_be_deleted_twice() {
    let place = Place::new();
    place.cache.write(&site("corp"), &token(None), Sharing::Full).await.unwrap();
    for _ in 0..2 {
        place.cache.delete(&site("corp")).await.unwrap();
        assert!(matches!(place.cache.read(&site("corp")).await, SharedFile::Missing));
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_is_a_fault_in_the_end() {
    let place = Place::new();
    let hanging = place.cache.0.lock().await;
    let SharedFile::Failed(fault) = place.cache.read(&site("corp")).await else { panic!("no fault") };
    assert!(fault.detail.contains("does not answer within 10 s"), "{fault}");
    drop(hanging);
    assert!(matches!(place.cache.read(&site("corp")).await, SharedFile::Missing));
}

#[tokio::test]
async fn botocore_uses_what_we_write_and_we_use_what_it_writes() {
    let place = Place::new();
    let theirs = SsoCache::new(CacheDirectory::new(place.home.path().join("theirs")));
    let config = place.home.path().join("config");
    let text = format!(
        "[sso-session corp]\nsso_start_url = {URL}\nsso_region = us-east-1\n[profile p]\nsso_session = corp\n"
    );
    std::fs::write(&config, text).unwrap();
    place.cache.write(&site("corp"), &token(Some(LATER)), Sharing::Full).await.unwrap();
    place.cache.write(&site(URL), &token(Some(LATER)), Sharing::AccessOnly).await.unwrap();
    let theirs_path = theirs.0.lock().await.path().to_owned();
    let order =
        json!({"cache": place.directory(), "theirs": theirs_path, "config": config, "start_url": URL});
    let Some(answer) = botocore(&order) else { return };
    assert_eq!(answer["provided"], "access");
    assert_eq!(
        (&answer["session"]["refreshToken"], &answer["session"]["clientId"]),
        (&json!("refresh"), &json!("id"))
    );
    assert_eq!(answer["legacy"]["accessToken"], "access");
    assert!(answer["legacy"].get("refreshToken").is_none());
    assert_eq!(told(&theirs.read(&site("corp")).await), ["of corp"]);
    assert_eq!(told(&theirs.read(&site(URL)).await), ["of None"]);
}

/// A cache in a home of its own.
struct Place {
    home: tempfile::TempDir,
    cache: SsoCache,
}

impl Place {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let cache = SsoCache::new(CacheDirectory::new(home.path().join("sso/cache")));
        Self { home, cache }
    }

    fn directory(&self) -> PathBuf {
        self.home.path().join("sso/cache")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory().join(file_name(&name.parse().unwrap()))
    }

    /// Another tool writes a file.
    fn put(&self, name: &str, content: &str) {
        std::fs::create_dir_all(self.directory()).unwrap();
        std::fs::write(self.file(name), content).unwrap();
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.file(name)).unwrap()).unwrap()
    }
}

fn site(name: &str) -> SignInSite {
    SignInSite {
        name: name.parse().unwrap(),
        start_url: URL.to_owned(),
        region: "eu-west-1".parse().unwrap(),
        scopes: Vec::new(),
    }
}

/// A token, which can be renewed if its client is registered until some time.
fn token(registered_until: Option<Timestamp>) -> SsoToken {
    let client = |expires_at| OidcClient { id: "id".to_owned(), secret: "secret".into(), expires_at };
    let grant = |until| RefreshGrant { token: "refresh".into(), client: Arc::new(client(until)) };
    SsoToken { access: "access".into(), expires_at: LATER, refresh: registered_until.map(grant) }
}

/// What a file tells: the access token and, if it can be renewed, refresh token and client.
fn told(file: &SharedFile) -> Vec<String> {
    let SharedFile::Token(token) = file else { panic!("no token but {file:?}") };
    let mut told = vec![token.access.expose_secret().to_owned()];
    if let Some(grant) = &token.refresh {
        let secrets = [&grant.token, &grant.client.secret].map(|secret| secret.expose_secret().to_owned());
        let [refresh, secret] = secrets;
        told.extend([refresh, grant.client.id.clone(), secret]);
    }
    told
}

/// What botocore makes of a cache, and a cache that it wrote: the script of `stormtunnel-aws-files`, which says more. `None`,
/// with a line that says so, on a machine without botocore; with `REQUIRE_ALL` set that is a failure.
fn botocore(order: &Value) -> Option<Value> {
    let script = include_str!("../../crates/aws-files/src/botocore_tests/tokens.py");
    let python = std::env::var_os("STORMTUNNEL_PYTHON").unwrap_or_else(|| "python3".into());
    let mut probe = Command::new(&python);
    probe.args(["-c", "import botocore.tokens"]).stdin(Stdio::null()).stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
        let required = std::env::var_os("REQUIRE_ALL").is_some_and(|value| !value.is_empty());
        assert!(!required, "python3 with botocore is not here, and REQUIRE_ALL allows no test to be skipped");
        eprintln!("skipped: python3 with botocore is not here");
        return None;
    }
    let mut child = Command::new(&python)
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the probe ran");
    child.stdin.take().unwrap().write_all(order.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the script failed");
    Some(serde_json::from_slice(&output.stdout).expect("the script answers JSON"))
}
