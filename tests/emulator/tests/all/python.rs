//! AWS's own programs, botocore and both versions of AWS CLI, against the emulator: what they take for AWS is AWS.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use aws_emulator::{
    Config, Consent, Counter, Emulator, Issued, RefreshAttempt, RefreshOutcome, Role, SignInHabits,
    SignInOrder,
};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::tool::START_URL;

/// Starting Python and loading the models of the services takes seconds on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);
/// `sha1("corp")`.
const TOKEN_FILE: &str = ".aws/sso/cache/ee0bfd2552fbd840c02cc48b6e823320543c450f.json";
const METADATA: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
const FIRST: &str = "arn:aws:iam::111111111111:role/First";
const SECOND: &str = "arn:aws:iam::222222222222:role/Second";
const SERVER: &str = "arn:aws:iam::123456789012:role/Server";
const TASK: &str = "arn:aws:iam::123456789012:role/Task";

const PROFILES: &str = "
[sso-session corp]
sso_start_url = https://d-1234567890.awsapps.com/start
sso_region = eu-central-1
sso_registration_scopes = sso:account:access
[profile dev]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = Developer
region = eu-central-1
[profile owner]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = Owner
[profile first]
role_arn = arn:aws:iam::111111111111:role/First
source_profile = dev
role_session_name = me
[profile second]
role_arn = arn:aws:iam::222222222222:role/Second
source_profile = first
external_id = xyz
role_session_name = me
[profile second-without-id]
role_arn = arn:aws:iam::222222222222:role/Second
source_profile = first
[profile web]
role_arn = arn:aws:iam::111111111111:role/First
web_identity_token_file = web-token
role_session_name = pod
";

/// A home directory with these profiles, and an emulator with what they need.
struct Home {
    directory: tempfile::TempDir,
    emulator: Emulator,
    python: PathBuf,
}

/// What a program said.
struct Ran {
    success: bool,
    out: String,
    err: String,
}

impl Home {
    /// `None`: there is no Python with what these tests need, and that is allowed.
    async fn new() -> Option<Self> {
        Some(Self::with(python()?, Config::default()).await)
    }

    async fn with(python: PathBuf, config: Config) -> Self {
        let roles = vec![
            Role {
                trusts: vec!["arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Developer_".into()],
                web_identity_token: Some("a.web.token".into()),
                ..Role::new(FIRST)
            },
            Role {
                trusts: vec!["arn:aws:sts::111111111111:assumed-role/First/".into()],
                external_id: Some("xyz".into()),
                ..Role::new(SECOND)
            },
        ];
        let (instance_role, task_role) = (Some(SERVER.into()), Some(TASK.into()));
        let emulator = Emulator::start(Config { roles, instance_role, task_role, ..config }).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join(".aws/sso/cache")).unwrap();
        std::fs::write(directory.path().join(".aws/config"), PROFILES).unwrap();
        std::fs::write(directory.path().join("web-token"), "a.web.token").unwrap();
        Self { directory, emulator, python }
    }

    /// Python with the endpoints, a profile if one is named, and of the emulator's other variables only these.
    async fn run(&self, profile: &str, variables: &[&str], arguments: &[&str]) -> Ran {
        let mut command = self.command(&self.python);
        let offered = self.emulator.environment();
        let wanted = offered
            .iter()
            .filter(|(name, _)| name.starts_with("AWS_ENDPOINT_URL") || variables.contains(&name.as_str()));
        command.args(arguments).envs(wanted.cloned());
        if !profile.is_empty() {
            command.env("AWS_PROFILE", profile);
        }
        // Without its address it would be looked for in the network of this machine.
        if !variables.contains(&METADATA) {
            command.env("AWS_EC2_METADATA_DISABLED", "true");
        }
        ended(command).await
    }

    /// A program that knows nothing but its home.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.directory.path())
            .env("AWS_DEFAULT_REGION", "eu-central-1")
            .env("AWS_MAX_ATTEMPTS", "1")
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// AWS CLI.
    async fn aws(&self, profile: &str, variables: &[&str], arguments: &[&str]) -> Ran {
        let arguments: Vec<_> = ["-m", "awscli"].iter().chain(arguments).copied().collect();
        self.run(profile, variables, &arguments).await
    }

    /// Who AWS CLI takes itself for.
    async fn principal(&self, profile: &str, variables: &[&str]) -> String {
        let ran = self.aws(profile, variables, &["sts", "get-caller-identity"]).await;
        assert!(ran.success, "{profile}: {}", ran.err);
        serde_json::from_str::<Value>(&ran.out).unwrap()["Arn"].as_str().unwrap().to_owned()
    }

    /// Writes the file of a login of which so much is left.
    fn write_token(&self, issued: &Issued, left: time::Duration) {
        let stamp = |at: time::OffsetDateTime| {
            let format = &time::format_description::well_known::Rfc3339;
            at.replace_nanosecond(0).unwrap().format(format).unwrap()
        };
        let token = json!({
            "startUrl": START_URL,
            "region": "eu-central-1",
            "accessToken": issued.access_token,
            "expiresAt": stamp(time::OffsetDateTime::now_utc() + left),
            "clientId": issued.client_id,
            "clientSecret": issued.client_secret,
            "registrationExpiresAt": stamp(issued.registration_expires),
            "refreshToken": issued.refresh_token,
        });
        std::fs::write(self.directory.path().join(TOKEN_FILE), token.to_string()).unwrap();
    }

    fn token(&self) -> Value {
        let text = std::fs::read_to_string(self.directory.path().join(TOKEN_FILE)).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Signed in, with the whole hour left.
    fn log_in(&self) -> Issued {
        let issued = self.emulator.log_in(START_URL).unwrap();
        self.write_token(&issued, time::Duration::hours(1));
        issued
    }
}

async fn ended(mut command: Command) -> Ran {
    let output = tokio::time::timeout(DEADLINE, command.output()).await.expect("too slow").unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { success: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// The interpreter behind `STORMTUNNEL_PYTHON`, else `python3`, when it has boto3 and AWS CLI. What finds it may need the
/// environment that the tests clear.
fn python() -> Option<PathBuf> {
    let python = std::env::var_os("STORMTUNNEL_PYTHON").unwrap_or_else(|| OsString::from("python3"));
    let found = said(Path::new(&python), &["-c", "import boto3, awscli, sys; print(sys.executable)"]);
    found.map(PathBuf::from).or_else(|| missing("python3 with boto3 and awscli"))
}

/// `STORMTUNNEL_AWS_CLI`, else Debian's, when it is version 2.
fn aws_cli_2() -> Option<PathBuf> {
    let program = std::env::var_os("STORMTUNNEL_AWS_CLI").unwrap_or_else(|| OsString::from("/usr/bin/aws"));
    let program = PathBuf::from(program);
    let version = said(&program, &["--version"]).filter(|version| version.starts_with("aws-cli/2."));
    version.map(|_| program).or_else(|| missing("AWS CLI 2"))
}

fn said(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = std::process::Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[expect(clippy::print_stderr, reason = "a test that checks nothing has to say so")]
fn missing(what: &str) -> Option<PathBuf> {
    let required = std::env::var_os("REQUIRE_ALL").is_some_and(|value| !value.is_empty());
    assert!(!required, "{what} is not here, and REQUIRE_ALL allows no test to be skipped");
    eprintln!("skipped: {what} is not here");
    None
}

#[tokio::test]
async fn a_profile_of_a_portal_gets_keys_that_every_api_takes() {
    let Some(home) = Home::new().await else { return };
    let issued = home.log_in();
    let principal = home.emulator.portals()[0].principal("123456789012", "Developer");
    assert_eq!(home.principal("dev", &[]).await, principal);
    let agents = home.aws("dev", &[], &["ssm", "describe-instance-information"]).await;
    assert!(agents.out.contains("i-0123456789abcdef0"), "{}", agents.err);
    let owner = home.aws("owner", &[], &["sts", "get-caller-identity"]).await;
    let said =
        "An error occurred (ForbiddenException) when calling the GetRoleCredentials operation: No access";
    assert!(!owner.success && owner.err.contains(said), "{}", owner.err);
    assert_eq!(home.token()["accessToken"], json!(issued.access_token), "nothing was to be refreshed");

    home.emulator.inject(SignInOrder::RevokeAccessTokens { start_url: None });
    let revoked = home.aws("dev", &[], &["sts", "get-caller-identity"]).await;
    let said = "The SSO session associated with this profile has expired or is otherwise invalid";
    assert!(!revoked.success && revoked.err.contains(said), "{}", revoked.err);
}

#[tokio::test]
async fn botocore_renews_a_token_that_is_about_to_expire_and_keeps_what_it_got() {
    let Some(home) = Home::new().await else { return };
    let issued = home.emulator.log_in(START_URL).unwrap();
    let old = issued.refresh_token.clone().unwrap();
    home.write_token(&issued, time::Duration::minutes(10));
    home.principal("dev", &[]).await;
    let token = home.token();
    let renewed = token["refreshToken"].as_str().unwrap();
    assert_ne!(token["accessToken"], json!(issued.access_token));
    assert_ne!(renewed, old);
    let refreshes = home.emulator.refreshes();
    assert_eq!(refreshes.len(), 1);
    assert_eq!(refreshes[0].token, RefreshAttempt::fingerprint(&old));
    assert_eq!(refreshes[0].outcome, RefreshOutcome::Granted);

    home.principal("dev", &[]).await;
    assert_eq!(home.emulator.counters().value(Counter::OidcRefreshToken), 1, "an hour is left");
    let stale = Issued { refresh_token: Some(old), ..issued };
    home.write_token(&stale, -time::Duration::minutes(1));
    let lost = home.aws("dev", &[], &["sts", "get-caller-identity"]).await;
    assert!(!lost.success && lost.err.contains("Token has expired and refresh failed"), "{}", lost.err);
    assert_eq!(home.emulator.refreshes()[1].outcome, RefreshOutcome::Replayed);
}

#[tokio::test]
async fn roles_are_assumed_one_after_the_other_and_with_a_web_identity() {
    let Some(home) = Home::new().await else { return };
    home.log_in();
    assert_eq!(home.principal("second", &[]).await, "arn:aws:sts::222222222222:assumed-role/Second/me");
    let refused = home.aws("second-without-id", &[], &["sts", "get-caller-identity"]).await;
    let said = "(AccessDenied) when calling the AssumeRole operation: User: \
                arn:aws:sts::111111111111:assumed-role/First/me is not authorized to perform: sts:AssumeRole";
    assert!(!refused.success && refused.err.contains(said), "{}", refused.err);
    assert_eq!(home.principal("web", &[]).await, "arn:aws:sts::111111111111:assumed-role/First/pod");
    assert_eq!(home.emulator.counters().value(Counter::ApiAssumeRoleWithWebIdentity), 1);
}

#[tokio::test]
async fn containers_and_instances_find_their_credentials() {
    let Some(home) = Home::new().await else { return };
    let container = ["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN"];
    let task = "arn:aws:sts::123456789012:assumed-role/Task/task";
    assert_eq!(home.principal("", &container).await, task);
    let refused = home.aws("", &container[..1], &["sts", "get-caller-identity"]).await;
    assert!(!refused.success && refused.err.contains("403"), "{}", refused.err);
    let instance = "arn:aws:sts::123456789012:assumed-role/Server/i-0123456789abcdef0";
    assert_eq!(home.principal("", &[METADATA]).await, instance);
}

/// A device login as botocore's models describe it; every error has to arrive as its own exception.
const DEVICE_LOGIN: &str = r#"
import boto3, json, sys, urllib.request
control = sys.argv[1]
def order(**order):
    body = json.dumps({"kind": "sign_in", "order": order}).encode()
    request = urllib.request.Request(control + "/inject", body, {"content-type": "application/json"})
    urllib.request.urlopen(request).close()
oidc, sso = boto3.client("sso-oidc"), boto3.client("sso")
client = oidc.register_client(clientName="tool", clientType="public", scopes=["sso:account:access"])
client = {name: client[name] for name in ("clientId", "clientSecret")}
device = oidc.start_device_authorization(startUrl="https://d-1234567890.awsapps.com/start", **client)
def token():
    grant = "urn:ietf:params:oauth:grant-type:device_code"
    return oidc.create_token(grantType=grant, deviceCode=device["deviceCode"], **client)
for expected in (oidc.exceptions.AuthorizationPendingException, oidc.exceptions.SlowDownException):
    try:
        sys.exit(f"granted: {token()}")
    except expected as error:
        print(error.response["error"])
order(kind="decide", user_code=device["userCode"], agree=True)
granted = token()
accounts = sso.get_paginator("list_accounts").paginate(accessToken=granted["accessToken"])
for account in accounts.build_full_result()["accountList"]:
    roles = sso.list_account_roles(accountId=account["accountId"], accessToken=granted["accessToken"])
    print(account["accountId"], *(role["roleName"] for role in roles["roleList"]))
refreshed = oidc.create_token(grantType="refresh_token", refreshToken=granted["refreshToken"], **client)
try:
    oidc.create_token(grantType="refresh_token", refreshToken=granted["refreshToken"], **client)
except oidc.exceptions.InvalidGrantException as error:
    print(error.response["error_description"])
sso.logout(accessToken=refreshed["accessToken"])
try:
    sso.list_accounts(accessToken=refreshed["accessToken"])
except sso.exceptions.UnauthorizedException as error:
    print(error.response["Error"]["Message"])
try:
    order(kind="forget_clients")
    oidc.create_token(grantType="refresh_token", refreshToken="any", **client)
except oidc.exceptions.InvalidClientException as error:
    print(error.response["error"])
"#;

#[tokio::test]
async fn boto3_logs_in_with_a_device_code_lists_refreshes_and_logs_out() {
    let Some(home) = Home::new().await else { return };
    home.emulator.inject(SignInOrder::Habits {
        habits: SignInHabits { consent: Consent::Waits, ..SignInHabits::default() },
    });
    let ran = home.run("", &[], &["-c", DEVICE_LOGIN, home.emulator.control_url()]).await;
    let expected = [
        "authorization_pending",
        "slow_down",
        "123456789012 Developer Administrator",
        "Invalid refresh token provided",
        "Session token not found or invalid",
        "invalid_client",
    ];
    assert_eq!(ran.out.lines().collect::<Vec<_>>(), expected, "{}", ran.err);
    assert!(ran.success);
}

#[tokio::test]
async fn aws_cli_2_logs_in_and_out_at_awss_own_addresses() {
    let Some(program) = aws_cli_2() else { return };
    let certificates = tempfile::tempdir().unwrap();
    let ca_path = certificates.path().join("ca.pem");
    // It asks twice at once, which a strict service would slow down.
    let sign_in =
        SignInHabits { consent: Consent::Waits, interval_s: 1, slow_down: false, ..SignInHabits::default() };
    let config = Config { tls: true, ca_path: Some(ca_path.clone()), sign_in, ..Config::default() };
    let home = Home::with(program.clone(), config).await;
    let aws = async |arguments: &[&str]| {
        let mut command = home.command(&program);
        command
            .args(arguments)
            .env("AWS_CA_BUNDLE", &ca_path)
            .env("HTTPS_PROXY", home.emulator.proxy_url().unwrap())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_PAGER", "")
            .env("LC_ALL", "C.UTF-8");
        ended(command).await
    };
    let counters = home.emulator.counters();
    let decision = async {
        counters.wait_at_least(Counter::OidcCreateTokenByDevice, 2, DEADLINE).await.unwrap();
        home.emulator.inject(SignInOrder::Decide { user_code: None, agree: true });
    };
    let login = ["sso", "login", "--profile", "dev", "--no-browser"];
    let (ran, ()) = tokio::join!(aws(&login), decision);
    assert!(ran.success && ran.out.contains("Successfully logged into Start URL"), "{} {}", ran.out, ran.err);
    assert!(home.token()["refreshToken"].is_string());
    let ran = aws(&["sts", "get-caller-identity", "--profile", "dev"]).await;
    let principal = home.emulator.portals()[0].principal("123456789012", "Developer");
    assert!(ran.out.contains(&principal), "{}", ran.err);
    assert!(aws(&["sso", "logout"]).await.success);
    assert_eq!(counters.value(Counter::PortalLogout), 1);
    assert!(!home.directory.path().join(TOKEN_FILE).exists());
}
