//! The files as botocore sees them: what it accepts we read as it does, and what we write it uses.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use stormtunnel_model::{Region, SsoConfig, SsoProfile, SsoSession, Timestamp};

use crate::configure::configure;
use crate::file::ProfileFile;
use crate::ini;
use crate::profiles::raw::{Keys, Raw, RawProfile};
use crate::profiles::{Credentials, ProfileSet, SignIn, Source, StaticKeys};
use crate::tokens::{CacheDirectory, Client, Token};

/// How many pairs of files are compared. Botocore takes its time to find the credentials of a profile.
const SAMPLES: usize = 300;
const SAMPLES_WITH_KINDS: usize = 120;

/// What a script answers to `input`. `None`, with a line that says so, on a machine without botocore; with `REQUIRE_ALL`
/// set that is a failure. `STORMTUNNEL_PYTHON` names the Python, as in the other tests.
fn botocore(script: &str, input: &Value) -> Option<Value> {
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
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the script failed");
    Some(serde_json::from_slice(&output.stdout).expect("the script answers JSON"))
}

fn file(name: &str, text: &str) -> ProfileFile {
    ProfileFile::new(name, text.as_bytes().to_vec())
}

/// What we make of files, in the shape of the script's answer.
fn ours(config: &str, credentials: &str) -> Value {
    let raw = Raw::read(&file("config", config), &file("credentials", credentials));
    // The credentials file's values are laid over the config file's.
    let profile = |profile: &RawProfile| {
        let sections = [&profile.config, &profile.credentials];
        Value::Object(sections.into_iter().flatten().flat_map(values).collect())
    };
    let all = |sections: &BTreeMap<String, Keys>| -> BTreeMap<String, Value> {
        sections.iter().map(|(name, keys)| (name.clone(), Value::Object(values(keys)))).collect()
    };
    json!({
        "profiles": raw.profiles.iter().map(|(name, found)| (name.clone(), profile(found)))
            .collect::<BTreeMap<_, _>>(),
        "sessions": all(&raw.sessions),
        "services": all(&raw.services),
    })
}

fn values(keys: &Keys) -> serde_json::Map<String, Value> {
    let value = |value: &ini::Value| match value {
        ini::Value::Text(text) => json!(text.expose_secret()),
        ini::Value::Block(block) => {
            json!(block.iter().map(|(key, text)| (key, text.expose_secret())).collect::<BTreeMap<_, _>>())
        }
    };
    keys.values().map(|(key, found)| (key.to_owned(), value(found))).collect()
}

/// The same samples at each run.
fn samples<S: Strategy>(strategy: &S, count: usize) -> Vec<S::Value> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

/// Lines as people write them, and as they should not.
fn any_file() -> impl Strategy<Value = String> {
    let header = prop::sample::select(vec![
        "[default]",
        "[profile default]",
        "[profile a]",
        "[profile \"a\"]",
        "[profile 'b c']",
        "[profile b c]",
        "[profile\td] # c",
        "[ profile e ]",
        "[sso-session s]",
        "[sso-session \"s\"]",
        "[services v]",
        "[a]",
        "[DEFAULT]",
        "[b]c]",
        "[profile it's]",
        "[profile]",
    ]);
    let key =
        prop::sample::select(vec!["region", "Output", "s3", "sso_region", "x y", "k", "l", "m", "n", "é"]);
    let delimiter = prop::sample::select(vec!["=", " = ", ": ", " :", "\t=\t", " ="]);
    let value =
        prop::sample::select(vec!["", "v", "v # c", "\"v\"", "a = b", "é ü", "[v]", "# c", "v\u{a0}"]);
    let indent = prop::sample::select(vec!["", "", "", " ", "  ", "\t"]);
    let property = (indent.clone(), key, delimiter, value)
        .prop_map(|(indent, key, delimiter, value)| format!("{indent}{key}{delimiter}{value}"));
    let other = prop::sample::select(vec!["", "", "# c", "  ; c", "  deeper", "garbage"]);
    let line = prop_oneof![3 => header.clone().prop_map(str::to_owned), 9 => property, 4 => other.prop_map(str::to_owned)];
    let ending = prop::sample::select(vec!["\n", "\n", "\r\n", "\r"]);
    (header, prop::collection::vec(line, 0..9), ending)
        .prop_map(|(header, lines, ending)| [vec![header.to_owned()], lines].concat().join(ending))
}

/// Three profiles with any of the keys that credentials come from, in a config file and a credentials file.
fn any_profiles() -> impl Strategy<Value = (String, String)> {
    let keys = prop::collection::vec(any::<[bool; 14]>(), 3);
    let sources = prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "gone"]), 3);
    (keys, sources).prop_map(|(keys, sources)| {
        let mut config = "[sso-session s]\nsso_start_url = https://s.awsapps.com/start\nsso_region = us-east-1\n".to_owned();
        let mut credentials = String::new();
        for ((name, has), source) in ["a", "b", "c"].iter().zip(keys).zip(sources) {
            // What wins over others is rarer than they are, or nothing else would be seen.
            let lines = [
                (has[0] && has[1], "role_arn = arn:aws:iam::222222222222:role/Target".to_owned()),
                (has[2], format!("source_profile = {source}")),
                (has[3] && has[4], "credential_source = Environment".to_owned()),
                (has[4] && has[5], "web_identity_token_file = /var/token".to_owned()),
                (has[6] && has[7], "sso_account_id = 111111111111".to_owned()),
                (has[6], "sso_role_name = Admin".to_owned()),
                (has[7], "sso_session = s".to_owned()),
                (has[8] && !has[7], format!("sso_start_url = https://{name}.awsapps.com/start")),
                (has[8] && has[9], "sso_region = us-east-1".to_owned()),
                (has[10] && has[11], "login_session = arn:aws:iam::123456789012:user/Admin".to_owned()),
                (
                    has[11] && has[12],
                    "credential_process = echo '{\"Version\":1,\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"s\"}'".to_owned(),
                ),
                (has[10], format!("aws_access_key_id = AKIACONFIG{name}")),
                (has[10] && has[13], "aws_secret_access_key = secret".to_owned()),
            ];
            let lines: Vec<String> = lines.into_iter().filter_map(|(there, line)| there.then_some(line)).collect();
            config += &format!("[profile {name}]\n{}\n", lines.join("\n"));
            if has[5] && has[12] {
                credentials += &format!("[{name}]\naws_access_key_id = AKIAFILE{name}\n");
                credentials += if has[13] { "aws_secret_access_key = secret\n" } else { "" };
            }
        }
        (config, credentials)
    })
}

/// Botocore's name for the provider of what we found, and the id of keys that stand in a file.
fn kind(credentials: &Credentials, config: &str) -> Value {
    let provider = match &credentials.source {
        _ if !credentials.roles.is_empty() => "assume-role",
        Source::WebIdentity(_) => "assume-role-with-web-identity",
        Source::Sso(_) => "sso",
        Source::LoginSession(_) => "login",
        Source::Process(_) => "custom-process",
        Source::Static(StaticKeys { access_key_id, .. }) => {
            let in_config = config.contains(access_key_id);
            let provider = if in_config { "config-file" } else { "shared-credentials-file" };
            return json!([provider, access_key_id]);
        }
        Source::Ambient | Source::Environment | Source::EcsContainer | Source::Ec2Metadata => {
            return json!([null, null]);
        }
    };
    json!([provider, null])
}

#[test]
fn files_that_botocore_accepts_hold_the_same_for_us() {
    let any_pair = (any_file(), prop_oneof![2 => Just(String::new()), 1 => any_file()]);
    let pairs = samples(&any_pair, SAMPLES);
    let Some(answers) = botocore(include_str!("profiles.py"), &json!({"pairs": pairs, "kinds": false}))
    else {
        return;
    };
    let mut accepted = 0;
    for ((config, credentials), mut theirs) in pairs.iter().zip(answers.as_array().unwrap().clone()) {
        let Some(theirs) = theirs.as_object_mut() else { continue };
        theirs.remove("kinds");
        assert_eq!(
            json!(theirs),
            ours(config, credentials),
            "config:\n{config}\ncredentials:\n{credentials}"
        );
        accepted += 1;
    }
    println!("{accepted} of {SAMPLES} pairs of files were accepted by botocore");
    assert!(accepted > SAMPLES / 4, "botocore accepted only {accepted} of {SAMPLES}");
}

#[test]
fn profiles_have_the_kind_that_they_have_for_botocore() {
    let pairs = samples(&any_profiles(), SAMPLES_WITH_KINDS);
    let Some(answers) = botocore(include_str!("profiles.py"), &json!({"pairs": pairs, "kinds": true})) else {
        return;
    };
    let mut seen = BTreeMap::new();
    for ((config, credentials), theirs) in pairs.iter().zip(answers.as_array().unwrap()) {
        let set = ProfileSet::parse(&file("config", config), &file("credentials", credentials), None);
        for (name, profile) in set.profiles() {
            let theirs = &theirs["kinds"][name.as_str()];
            let ours = match &profile.credentials {
                Ok(credentials) => kind(credentials, config),
                // Botocore looks at SSO keys only where they lead to a role; we tell of the others as well.
                Err(invalid) if theirs[0].is_null() && invalid.key.starts_with("sso_") => theirs.clone(),
                Err(_) => json!(["invalid", null]),
            };
            assert_eq!(theirs, &ours, "{name}\nconfig:\n{config}\ncredentials:\n{credentials}");
            *seen.entry(theirs[0].to_string()).or_insert(0) += 1;
        }
    }
    println!("{seen:?}");
    assert_eq!(seen.len(), 9, "every kind: {seen:?}");
}

/// A session and profiles with names that need quotes, and one that does not.
fn sso_config() -> SsoConfig {
    let profile = |name: &str| SsoProfile {
        name: name.parse().unwrap(),
        account: "111122223333".parse().unwrap(),
        role: "Power+User".parse().unwrap(),
        region: Some("eu-west-1".parse().unwrap()),
        output: Some("yaml-stream".parse().unwrap()),
    };
    let session = SsoSession {
        name: "Zoë's corp".parse().unwrap(),
        start_url: "https://x.awsapps.com/start/#".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        scopes: vec!["sso:account:access".parse().unwrap(), "sso:other".parse().unwrap()],
    };
    let names = ["default", "dev", "my dev", "it's", "a=b", "Power+User-111122223333"];
    SsoConfig { session, profiles: names.map(profile).into(), overwrite: true }
}

#[test]
fn what_is_configured_is_what_botocore_reads() {
    let wanted = sso_config();
    let before = [
        "",
        "# mine\n[default]\nregion = us-west-2\n",
        "[profile \"my dev\"]\nrole_arn = arn:aws:iam::111122223333:role/x\nsource_profile = dev\n\
         [profile dev]\r\nsso_start_url = https://old\r\n  continued\r\n\r\n[profile keep]\r\nregion = x",
    ];
    let configured = |before: &&str| {
        let written = configure(&file("config", before), &file("credentials", ""), &wanted);
        String::from_utf8(written.expect("it can be written").content).unwrap()
    };
    let pairs: Vec<(String, &str)> = before.iter().map(|before| (configured(before), "")).collect();
    let order = json!({"pairs": pairs, "kinds": true});
    let Some(answers) = botocore(include_str!("profiles.py"), &order) else { return };
    for ((config, _), theirs) in pairs.iter().zip(answers.as_array().unwrap()) {
        let session = &wanted.session;
        assert_eq!(
            theirs["sessions"][session.name.as_str()],
            json!({
                "sso_start_url": "https://x.awsapps.com/start/#",
                "sso_region": "us-east-1",
                "sso_registration_scopes": "sso:account:access,sso:other",
            }),
            "{config}"
        );
        for profile in &wanted.profiles {
            let name = profile.name.as_str();
            let keys = json!({
                "sso_session": session.name.as_str(),
                "sso_account_id": "111122223333",
                "sso_role_name": "Power+User",
                "region": "eu-west-1",
                "output": "yaml-stream",
            });
            assert_eq!(theirs["profiles"][name], keys, "{name}\n{config}");
            assert_eq!(theirs["kinds"][name][0], "sso", "{name}\n{config}");
        }
    }
}

fn sign_in(name: &str) -> SignIn {
    SignIn {
        name: name.parse().unwrap(),
        start_url: "https://x.awsapps.com/start/#".to_owned(),
        region: "us-east-1".parse::<Region>().unwrap(),
        scopes: Vec::new(),
    }
}

#[test]
fn botocore_uses_our_tokens_and_we_use_its() {
    let home = tempfile::tempdir().unwrap();
    let (cache, theirs) = (home.path().join("cache"), home.path().join("theirs"));
    let (corp, legacy) = (sign_in("corp"), sign_in("https://x.awsapps.com/start/#"));
    let config = home.path().join("config");
    let url = &legacy.start_url;
    let text = format!(
        "[sso-session corp]\nsso_start_url = {url}\nsso_region = us-east-1\n[profile p]\nsso_session = corp\n"
    );
    std::fs::write(&config, text).unwrap();
    let expires_at = Timestamp::from_millis(4_102_444_800_000);
    let client =
        Client { id: "id".to_owned(), secret: SecretString::from("secret"), expires_at: Some(expires_at) };
    let token = Token {
        access_token: SecretString::from("ours"),
        expires_at,
        refresh_token: Some(SecretString::from("refresh")),
        client: Some(client),
        other: Default::default(),
    };
    let directory = CacheDirectory::new(&cache);
    directory.put_token(&corp.name, &token.shared(&corp)).unwrap();
    directory.put_token(&legacy.name, &token.access_only(&legacy)).unwrap();

    let order = json!({"cache": cache, "theirs": theirs, "config": config, "start_url": url});
    let Some(answer) = botocore(include_str!("tokens.py"), &order) else { return };
    assert_eq!(answer["provided"], "ours");
    assert_eq!(answer["expires"], "2100-01-01T00:00:00+00:00");
    assert_eq!(answer["session"]["refreshToken"], "refresh");
    assert_eq!(answer["session"]["registrationExpiresAt"], "2100-01-01T00:00:00Z");
    assert_eq!(answer["legacy"]["accessToken"], "ours");
    assert!(answer["legacy"].get("refreshToken").is_none());

    let directory = CacheDirectory::new(&theirs);
    for (sign_in, access_token) in [(corp, "of corp"), (legacy, "of None")] {
        let found = directory.token(&sign_in.name).ok().flatten().unwrap();
        assert_eq!(found.token.access_token.expose_secret(), access_token);
        assert_eq!(found.start_url, Some(sign_in.start_url));
        assert_eq!(found.token.expires_at, Timestamp::from_millis(1_893_553_445_000));
    }
}
