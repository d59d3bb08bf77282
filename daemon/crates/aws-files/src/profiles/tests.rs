use std::time::Duration;

use proptest::prelude::*;
use secrecy::ExposeSecret as _;

use super::*;
use crate::file::ProfileFile;

const URL: &str = "https://d-1234567890.awsapps.com/start";

/// A session and a profile of each kind.
const CONFIG: &str = "\
[sso-session corp]
sso_start_url = https://d-1234567890.awsapps.com/start
sso_region = eu-central-1
sso_registration_scopes = sso:account:access, , other
[profile sso]
sso_session = corp
sso_account_id = 111111111111
sso_role_name = Admin
region = eu-west-1
[profile legacy]
sso_start_url = https://d-1234567890.awsapps.com/start/
sso_region = eu-central-1
sso_account_id = 111111111111
sso_role_name = Admin
[profile role]
role_arn = arn:aws:iam::222222222222:role/path/Target
source_profile = sso
external_id = xyz
mfa_serial = arn:aws:iam::111111111111:mfa/me
role_session_name = me@work
duration_seconds = 1800
[profile chain]
role_arn = arn:aws:iam::333333333333:role/Next
source_profile = role
[profile instance]
role_arn = arn:aws:iam::222222222222:role/Target
credential_source = Ec2InstanceMetadata
[profile web]
role_arn = arn:aws:iam::222222222222:role/Target
web_identity_token_file = /var/token
[profile keys]
aws_access_key_id = AKIAKEYS
aws_secret_access_key = CANARY
[profile login]
login_session = arn:aws:iam::123456789012:user/Admin
[profile process]
credential_process = /opt/bin/tool --name 'my profile'
[default]
region = eu-north-1
";

fn parse(config: &str, credentials: &str) -> ProfileSet {
    let file = |name: &str, text: &str| ProfileFile::new(name, text.as_bytes().to_vec());
    ProfileSet::parse(&file("config", config), &file("credentials", credentials), None)
}

fn profile<'a>(set: &'a ProfileSet, name: &str) -> &'a Profile {
    set.profile(&name.parse().unwrap()).unwrap()
}

#[track_caller]
fn credentials(set: &ProfileSet, name: &str) -> Credentials {
    profile(set, name).credentials.clone().map_err(|invalid| panic!("{name}: {invalid}")).ok().unwrap()
}

fn names<N: ToString>(names: &[N]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn each_kind_is_told_from_the_others() {
    let set =
        parse(CONFIG, "[temporary]\naws_access_key_id=A\naws_secret_access_key=S\naws_session_token=T\n");
    assert_eq!(set.problems(), []);
    let kinds: Vec<(&str, &str)> = set
        .profiles()
        .map(|(name, profile)| {
            (
                name.as_str(),
                profile.credentials.as_ref().map_or("invalid", |credentials| credentials.kind().name()),
            )
        })
        .collect();
    assert_eq!(
        kinds,
        [
            ("chain", "assume-role"),
            ("default", "ambient"),
            ("instance", "assume-role"),
            ("keys", "static"),
            ("legacy", "sso"),
            ("login", "login-session"),
            ("process", "credential-process"),
            ("role", "assume-role"),
            ("sso", "sso"),
            ("temporary", "temporary"),
            ("web", "web-identity"),
        ]
    );
    assert_eq!(profile(&set, "sso").region.as_ref().map(Region::as_str), Some("eu-west-1"));
    let process = credentials(&set, "process").source;
    let Source::Process(process) = process else { panic!("no process") };
    assert_eq!(process.arguments(), ["/opt/bin/tool", "--name", "my profile"]);
}

#[test]
fn a_chain_ends_at_its_source_and_assumes_the_roles_from_there() {
    let Credentials { holder, source, roles } = credentials(&parse(CONFIG, ""), "chain");
    assert_eq!(holder.as_str(), "sso");
    let Source::Sso(role) = source else { panic!("no SSO") };
    assert_eq!((role.account.as_str(), role.role.as_str()), ("111111111111", "Admin"));
    assert_eq!((role.sign_in.as_str(), role.region.as_str()), ("corp", "eu-central-1"));
    let first = Role {
        profile: "role".parse().unwrap(),
        arn: "arn:aws:iam::222222222222:role/path/Target".to_owned(),
        external_id: Some("xyz".to_owned()),
        mfa_serial: Some("arn:aws:iam::111111111111:mfa/me".to_owned()),
        session_name: Some("me@work".to_owned()),
        duration: Some(Duration::from_secs(1800)),
    };
    let second = Role {
        profile: "chain".parse().unwrap(),
        arn: "arn:aws:iam::333333333333:role/Next".to_owned(),
        external_id: None,
        mfa_serial: None,
        session_name: None,
        duration: None,
    };
    assert_eq!(roles, [first, second]);
}

#[test]
fn of_two_kinds_in_one_profile_that_of_the_aws_cli_wins() {
    let role = "role_arn = arn:aws:iam::222222222222:role/T\n";
    let sso = "sso_session = corp\nsso_account_id = 111111111111\nsso_role_name = Admin\n";
    let keys = "aws_access_key_id = AKIACONFIG\naws_secret_access_key = S\n";
    let (process, login) = ("credential_process = tool\n", "login_session = arn:aws:iam::1:user/U\n");
    for (config, kind) in [
        (format!("{role}source_profile = sso\n{sso}{keys}"), "assume-role"),
        (format!("{role}web_identity_token_file = /t\n{sso}"), "web-identity"),
        (format!("{sso}{keys}{process}{login}"), "sso"),
        (format!("{login}{process}{keys}"), "login-session"),
        (format!("{process}{keys}"), "credential-process"),
        (keys.to_owned(), "static"),
    ] {
        let set = parse(&format!("{CONFIG}[profile p]\n{config}"), "");
        assert_eq!(credentials(&set, "p").kind().name(), kind, "{config}");
    }
    let in_file = "[p]\naws_access_key_id = AKIAFILE\naws_secret_access_key = S\n";
    let set = parse(&format!("[profile p]\n{login}{process}{keys}"), in_file);
    let Source::Static(found) = credentials(&set, "p").source else { panic!("no keys") };
    assert_eq!(found.access_key_id, "AKIAFILE");
}

#[test]
fn a_source_profile_with_keys_lends_those_and_not_its_role() {
    let keys = "aws_access_key_id = A\naws_secret_access_key = S\n";
    let role = "role_arn = arn:aws:iam::222222222222:role/T\n";
    for config in [
        format!("[profile p]\n{role}source_profile = q\n[profile q]\n{role}source_profile = r\n{keys}"),
        format!("[profile p]\n{role}source_profile = p\n{keys}"),
    ] {
        let found = credentials(&parse(&config, ""), "p");
        assert_eq!((found.source.kind().name(), found.roles.len()), ("static", 1), "{config}");
    }
}

#[test]
fn the_credentials_file_beats_the_config_file_key_by_key() {
    let set = parse(
        "[profile p]\nregion = eu-west-1\nca_bundle = /ca\naws_access_key_id = A\naws_secret_access_key = CONFIG\n",
        "[p]\nregion = us-east-1\naws_secret_access_key = CREDENTIALS\n",
    );
    let found = profile(&set, "p");
    assert_eq!(found.region.as_ref().map(Region::as_str), Some("us-east-1"));
    assert_eq!(found.endpoints.ca_bundle.as_deref(), Some("/ca"));
    // Keys are taken from one file, both of them.
    let Source::Static(keys) = credentials(&set, "p").source else { panic!("no keys") };
    assert_eq!(keys.secret_access_key.expose_secret(), "CONFIG");
}

#[test]
fn equal_values_beside_a_session_are_as_good_as_none() {
    let inline = format!(
        "{CONFIG}[profile p]\nsso_session = corp\nsso_start_url = {URL}\nsso_region = eu-central-1\n\
                          sso_account_id = 111111111111\nsso_role_name = Admin\n"
    );
    let set = parse(&inline, "");
    assert!(
        credentials(&set, "p") == Credentials { holder: "p".parse().unwrap(), ..credentials(&set, "sso") }
    );
}

#[test]
fn a_session_without_account_and_role_gives_a_sign_in_and_no_credentials() {
    let set = parse(&format!("{CONFIG}[profile p]\nsso_session = corp\n"), "");
    assert_eq!(credentials(&set, "p").kind().name(), "ambient");
    assert_eq!(profile(&set, "p").sign_in.as_ref().map(SignInName::as_str), Some("corp"));
}

#[test]
fn a_profile_depends_on_the_sign_in_at_the_end_of_its_chain() {
    let set = parse(
        &format!(
            "{CONFIG}sso_session = corp\n[profile p]\nrole_arn = arn:aws:iam::1:role/T\nsource_profile = keys\nsso_session = corp\n"
        ),
        "",
    );
    for (name, sign_in) in [
        ("chain", Some("corp")),
        ("legacy", Some("https://d-1234567890.awsapps.com/start/")),
        ("default", Some("corp")),
        ("p", None),
        ("keys", None),
    ] {
        assert_eq!(profile(&set, name).sign_in.as_ref().map(SignInName::as_str), sign_in, "{name}");
    }
}

#[test]
fn sign_ins_are_sessions_and_start_urls_byte_for_byte() {
    let set = parse(CONFIG, "");
    let all: Vec<_> = set.sign_ins().map(|(name, _)| name.as_str()).collect();
    assert_eq!(all, ["corp", "https://d-1234567890.awsapps.com/start/"]);
    let corp = set.sign_in(&"corp".parse().unwrap()).unwrap().as_ref().ok().unwrap();
    assert_eq!((corp.start_url.as_str(), corp.region.as_str()), (URL, "eu-central-1"));
    assert_eq!(corp.scopes, ["sso:account:access", "other"]);
    let broken = parse("[sso-session s]\nsso_start_url = https://x.awsapps.com/start\n", "");
    let error = broken.sign_in(&"s".parse().unwrap()).unwrap().as_ref().err().unwrap();
    assert_eq!(error.to_string(), "config:1: sso_region is missing: add it");
    let named =
        parse("[sso-session https://x/start]\nsso_start_url = https://x/start\nsso_region = us-east-1\n", "");
    let error = named.sign_ins().next().unwrap().1.as_ref().err().unwrap();
    assert_eq!(error.key, "sso_session");
}

#[test]
fn a_missing_region_of_a_start_url_is_looked_for_where_the_url_stands_too() {
    let legacy = "[profile p]\nsso_start_url = https://d-1234567890.awsapps.com/start/#\n\
                  sso_account_id = 111111111111\nsso_role_name = A\n";
    let region = |config: &str, default: Option<&str>| {
        let file = |text: &str| ProfileFile::new("config", text.as_bytes().to_vec());
        let default = default.map(|region| region.parse().unwrap());
        let set = ProfileSet::parse(&file(config), &file(""), default.as_ref());
        match &profile(&set, "p").credentials {
            Ok(Credentials { source: Source::Sso(role), .. }) => role.region.to_string(),
            Ok(_) => "no SSO".to_owned(),
            Err(invalid) => invalid.to_string(),
        }
    };
    let session = format!("[sso-session s]\nsso_start_url = {URL}\nsso_region = eu-west-1\n{legacy}");
    let other = format!("{legacy}[profile q]\nsso_start_url = {URL}/\nsso_region = eu-west-2\n");
    assert_eq!(region(&session, Some("us-east-1")), "eu-west-1");
    assert_eq!(region(&other, Some("us-east-1")), "eu-west-2");
    assert_eq!(region(legacy, Some("us-east-1")), "us-east-1");
    assert_eq!(region(legacy, None), "config:1: sso_region is missing: add it");
}

#[test]
fn endpoints_of_services_come_before_that_of_all() {
    let config = "[services dev]\nsso_oidc =\n  endpoint_url = http://127.0.0.1:1\nsts =\n  other = x\n\
                  [profile p]\nservices = dev\nendpoint_url = http://127.0.0.1:2\n\
                  [profile q]\nservices = dev\nignore_configured_endpoint_urls = True\n";
    let set = parse(config, "");
    let endpoints = &profile(&set, "p").endpoints;
    assert_eq!(endpoints.get("sso_oidc"), Some("http://127.0.0.1:1"));
    assert_eq!(endpoints.get("sts"), Some("http://127.0.0.1:2"));
    assert_eq!(profile(&set, "q").endpoints.get("sso_oidc"), None);
}

#[test]
fn switches_of_endpoints_are_on_with_true_in_any_case() {
    let config = "[profile p]\nuse_fips_endpoint = True\nuse_dualstack_endpoint = yes\n\
                  ignore_configured_endpoint_urls = true\nca_bundle = /ca\n[profile q]\n";
    let set = parse(config, "");
    let endpoints = &profile(&set, "p").endpoints;
    assert_eq!((endpoints.use_fips, endpoints.use_dual_stack), (Some(true), Some(false)));
    assert_eq!(endpoints.ca_bundle.as_deref(), Some("/ca"), "it is no URL");
    assert_eq!(profile(&set, "q").endpoints, Endpoints::default());
}

#[test]
fn what_is_wrong_beside_a_profile_is_told_with_its_line() {
    let config = "\
[p]
region = us-east-1
[ profile p ]
region = us-east-1
[plugins]
cli_legacy = x
[profile my p]
[default]
region = eu-west-1 # Ireland
[profile default]
region = eu-west-1
duration_seconds = long
[profile q]
region = Ireland
sso_start_url = https://x.awsapps.com/start
sso_region = us-east-1
[profile r]
sso_start_url = https://x.awsapps.com/start
sso_region = us-east-2
[profile a]b]
";
    let set = parse(config, "[profile p]\naws_access_key_id = A\naws_secret_access_key = S\n");
    let mut seen: Vec<(String, ProblemKind)> =
        set.problems().iter().map(|problem| (problem.place.to_string(), problem.kind.clone())).collect();
    seen.sort_by_key(|(place, _)| place.clone());
    let section = |text: &str| text.to_owned();
    assert_eq!(
        seen,
        [
            ("config:1".to_owned(), ProblemKind::NotAProfile { section: section("p") }),
            ("config:10".to_owned(), ProblemKind::SectionReplaced { section: section("profile default") }),
            ("config:12".to_owned(), ProblemKind::Duration),
            ("config:14".to_owned(), ProblemKind::Region),
            ("config:19".to_owned(), ProblemKind::SsoRegionsDiffer),
            (
                "config:20".to_owned(),
                ProblemKind::ProfileName {
                    rule: "control characters and brackets cannot stand in a profile name"
                }
            ),
            ("config:3".to_owned(), ProblemKind::NotAProfile { section: section(" profile p ") }),
            ("config:7".to_owned(), ProblemKind::SectionName { section: section("profile my p") }),
            ("config:9".to_owned(), ProblemKind::CommentInValue { key: "region" }),
            ("credentials:1".to_owned(), ProblemKind::BelongsInConfig { section: section("profile p") }),
        ]
    );
    assert!(set.problems().iter().all(|problem| !problem.kind.remedy().is_empty()));
}

#[test]
fn a_session_whose_name_cannot_be_used_is_reported() {
    let keys = "sso_start_url = https://x.awsapps.com/start\nsso_region = us-east-1\n";
    let set = parse(&format!("[sso-session {}]\n{keys}[sso-session s]\n{keys}", "x".repeat(1025)), "");
    assert_eq!(set.sign_ins().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["s"]);
    let told: Vec<_> = set.problems().iter().map(ToString::to_string).collect();
    let expected = "config:1: the session's name cannot be used: it has more than 1024 characters: rename the section, \
                    and the sso_session that names it";
    assert_eq!(told, [expected]);
}

#[test]
fn a_bad_line_costs_no_other_profile_anything() {
    let whole = parse(CONFIG, "");
    for (at, _) in CONFIG.match_indices('\n') {
        for bad in ["\ngarbage", "\n<<<<<<< HEAD\n=======", "\n[profile"] {
            let mut text = CONFIG.to_owned();
            text.insert_str(at, bad);
            let set = parse(&text, "");
            let changes = set.changes_since(&whole);
            assert!(changes.is_empty(), "{bad:?} at {at}: {changes:?}");
            assert!(!set.problems().is_empty());
        }
    }
}

#[test]
fn an_edit_changes_what_depends_on_it_and_nothing_else() {
    let before = parse(CONFIG, "");
    for (from, to, profiles, sign_ins) in [
        (
            "sso_role_name = Admin\nregion",
            "sso_role_name = Reader\nregion",
            vec!["chain", "role", "sso"],
            vec![],
        ),
        (
            "sso_region = eu-central-1\nsso_reg",
            "sso_region = eu-west-1\nsso_reg",
            vec!["chain", "role", "sso"],
            vec!["corp"],
        ),
        (
            "/start\nsso_region = eu-central-1\nsso_reg",
            "/start/other\nsso_region = eu-central-1\nsso_reg",
            vec!["chain", "role", "sso"],
            vec!["corp"],
        ),
        ("sso:account:access, , other", "sso:account:access", vec![], vec!["corp"]),
        ("external_id = xyz", "external_id = zyx", vec!["chain", "role"], vec![]),
        ("CANARY", "OTHER", vec!["keys"], vec![]),
        ("region = eu-north-1", "region = eu-south-1", vec!["default"], vec![]),
        ("[sso-session corp]", "# a comment\n\n[sso-session \"corp\"]", vec![], vec![]),
    ] {
        assert!(CONFIG.contains(from), "{from}");
        let changes = parse(&CONFIG.replace(from, to), "").changes_since(&before);
        assert_eq!(
            (names(&changes.profiles.changed), names(&changes.sign_ins.changed)),
            (
                profiles.into_iter().map(str::to_owned).collect(),
                sign_ins.into_iter().map(str::to_owned).collect(),
            )
        );
        assert!(changes.profiles.added.is_empty() && changes.profiles.removed.is_empty(), "{to}");
    }
}

#[test]
fn a_line_that_only_moved_is_no_change() {
    let broken = "[profile p]\nrole_arn = x\n";
    let changes = parse(&format!("\n\n{broken}"), "").changes_since(&parse(broken, ""));
    assert!(changes.is_empty(), "{changes:?}");
}

#[test]
fn what_comes_and_goes_is_told() {
    let before = parse(CONFIG, "");
    let changes = parse("", "[new]\n").changes_since(&before);
    assert_eq!(names(&changes.profiles.added), ["new"]);
    assert_eq!(changes.profiles.removed.len(), 10);
    assert_eq!(names(&changes.sign_ins.removed), ["corp", "https://d-1234567890.awsapps.com/start/"]);
    assert!(changes.profiles.changed.is_empty() && changes.sign_ins.changed.is_empty());
}

#[test]
fn no_message_quotes_a_secret() {
    let secret = "aws_secret_access_key = CANARY\naws_session_token = CANARY # c\n";
    let config = format!(
        "CANARY\n[profile p]\naws_access_key_id = A\n{secret}{secret}CANARY=\nCANARY=\n CANARY\nregion = CANARY\n\
                          [profile q]\ncredential_process = 'CANARY\n[profile r]\nrole_arn = CANARY\nsource_profile = p\n\
                          [profile s]\nsso_account_id = CANARY\n"
    );
    let set = parse(&config, &format!("[p]\n{secret}"));
    let mut texts: Vec<String> =
        set.problems().iter().map(|problem| format!("{problem}{problem:?}")).collect();
    let invalid = set.profiles().filter_map(|(_, profile)| profile.credentials.as_ref().err());
    texts.extend(invalid.map(|invalid| format!("{invalid}{invalid:?}")));
    assert!(texts.len() > 5);
    assert!(!texts.concat().to_uppercase().contains("CANARY"), "{texts:?}");
}

proptest! {
    #[test]
    fn no_files_are_too_strange(
        config in prop::collection::vec(any::<u8>(), 0..200),
        credentials in "(\\[|\\]|profile|default|role_arn|source_profile|[a =\\n]){0,40}",
    ) {
        let config = ProfileFile::new("config", config);
        let credentials = ProfileFile::new("credentials", credentials.into_bytes());
        ProfileSet::parse(&config, &credentials, None);
        ProfileSet::parse(&credentials, &config, None);
    }
}
