//! The SDK, the profile files and the classification together, against an HTTP server that answers from a script.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking; clippy exempts test functions only, not what they share"
)]

#[cfg(test)]
mod identity;
#[cfg(test)]
mod providers;
#[cfg(test)]
mod renewal;
mod server;
#[cfg(test)]
mod sign_in;
#[cfg(test)]
mod targets;
#[cfg(test)]
mod way_out;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use secrecy::{ExposeSecret as _, SecretString};
use stormtunnel_aws::testing::access;
use stormtunnel_aws::{AwsAccess, AwsEnvironment, AwsSsm, UpgradeRefusal};
use stormtunnel_engine::ports::{AwsScope, Clock, Resumption, SessionGrant, SessionRequest, SsmApi as _};
use stormtunnel_model::settings::Settings;
use stormtunnel_model::{Fault, FaultKind, SsmSessionId, Timestamp};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::server::Server;

const SECRET: &str = "CANARYsecretCANARYsecretCANARYsecret0000";
const SESSION_TOKEN: &str = "CANARYsessiontoken";

#[derive(Debug)]
struct SystemClock;

impl Clock for SystemClock {
    fn mono(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
    fn wall(&self) -> Timestamp {
        // Far from any expiry; nothing here checks a signature's time.
        Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_secs(1_735_689_600))
    }
}

/// AWS files in a directory of their own, and everything on top of them.
struct Fixture {
    server: Server,
    directory: TempDir,
    settings: watch::Sender<Arc<Settings>>,
    access: Arc<AwsAccess>,
    ssm: AwsSsm,
}

impl Fixture {
    async fn new() -> Self {
        let server = Server::start().await;
        let directory = tempfile::tempdir().unwrap();
        write_config(directory.path(), "[profile prod]\nregion = eu-west-1\n[profile regionless]\n");
        let keys = format!("aws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = {SECRET}\n");
        let keys = format!("{keys}aws_session_token = {SESSION_TOKEN}\n");
        std::fs::write(directory.path().join("credentials"), format!("[prod]\n{keys}[regionless]\n{keys}"))
            .unwrap();
        let (settings, receiver) = watch::channel(Arc::new(Settings {
            endpoint_ssm: Some(server.url.clone()),
            default_profile: Some("prod".parse().unwrap()),
            ..Settings::default()
        }));
        let access = access(receiver, AwsEnvironment::default(), directory.path(), Arc::new(SystemClock));
        let ssm = AwsSsm::new(Arc::clone(&access));
        Self { server, directory, settings, access, ssm }
    }

    fn change(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = Settings::clone(&self.settings.borrow());
        change(&mut settings);
        self.settings.send_replace(Arc::new(settings));
    }

    async fn start_in(&self, scope: AwsScope) -> Result<SessionGrant, Fault> {
        self.ssm.start_session(&request(scope, "5432")).await
    }

    async fn start_fault(&self, scope: AwsScope) -> Fault {
        self.start_in(scope).await.map(|grant| grant.id).expect_err("the call should fail")
    }
}

fn write_config(directory: &Path, config: &str) {
    std::fs::write(directory.join("config"), config).unwrap();
}

fn scope(profile: Option<&str>, region: Option<&str>) -> AwsScope {
    let profile = profile.map(|profile| profile.parse().unwrap());
    AwsScope { profile, region: region.map(|region| region.parse().unwrap()) }
}

fn request(scope: AwsScope, remote: &str) -> SessionRequest {
    let node = "i-0abcdef1234567890".parse().unwrap();
    SessionRequest { scope, node, remote: remote.parse().unwrap(), local_port: Some(15432), reason: None }
}

const GRANTED: &str = r#"{"SessionId":"me-0a1b","StreamUrl":"wss://ssmmessages.eu-west-1.amazonaws.com/x","TokenValue":"CANARYtoken"}"#;

#[tokio::test]
async fn a_session_is_started_with_lists_of_strings() {
    let fixture = Fixture::new().await;
    fixture.server.answer(200, GRANTED);
    let grant = fixture.start_in(scope(None, None)).await.unwrap();
    assert_eq!((grant.id.0.as_str(), grant.region.as_str()), ("me-0a1b", "eu-west-1"));
    assert_eq!(grant.token.expose_secret(), "CANARYtoken");
    let sent = fixture.server.requests().remove(0);
    assert!(sent.contains("x-amz-target: AmazonSSM.StartSession"), "{sent}");
    assert!(sent.contains("/eu-west-1/ssm/aws4_request"), "{sent}");
    for part in [
        r#""Target":"i-0abcdef1234567890""#,
        r#""DocumentName":"AWS-StartPortForwardingSession""#,
        r#""portNumber":["5432"]"#,
        r#""localPortNumber":["15432"]"#,
    ] {
        assert!(sent.contains(part), "{part} in {sent}");
    }
    assert!(!sent.contains("\"host\"") && !sent.contains("Reason"), "{sent}");
}

#[tokio::test]
async fn a_reason_is_told_and_a_local_end_without_a_port_is_left_out() {
    let fixture = Fixture::new().await;
    fixture.server.answer(200, GRANTED);
    let reason = Some("INC-4711: slow queries".parse().unwrap());
    let request = SessionRequest { local_port: None, reason, ..request(scope(None, None), "5432") };
    fixture.ssm.start_session(&request).await.unwrap();
    let sent = fixture.server.requests().remove(0);
    assert!(sent.contains(r#""Reason":"INC-4711: slow queries""#), "{sent}");
    assert!(!sent.contains("localPortNumber"), "{sent}");
}

#[tokio::test]
async fn the_document_follows_the_remote_host() {
    let fixture = Fixture::new().await;
    for (remote, host) in [
        ("db.internal:5432", Some(r#""host":["db.internal"]"#)),
        ("10.0.0.7:5432", Some(r#""host":["10.0.0.7"]"#)),
        ("localhost:5432", None),
        ("127.0.0.1:5432", None),
        ("[::1]:5432", None),
    ] {
        fixture.server.answer(200, GRANTED);
        let request = request(scope(Some("prod"), None), remote);
        fixture.ssm.start_session(&request).await.unwrap();
        let sent = fixture.server.requests().remove(0);
        assert_eq!(sent.contains("AWS-StartPortForwardingSessionToRemoteHost"), host.is_some(), "{sent}");
        assert!(host.is_none_or(|host| sent.contains(host)), "{sent}");
    }
}

#[tokio::test]
async fn errors_of_aws_become_faults_that_hold_no_secret() {
    let fixture = Fixture::new().await;
    let credentials = FaultKind::CredentialsInvalid { profile: "prod".to_owned() };
    let mismatch = format!(
        r#"{{"__type":"InvalidSignatureException","message":"The request signature we calculated does not match. The Canonical String for this request should have been 'POST x-amz-security-token:{SESSION_TOKEN}'"}}"#
    );
    let echo = format!(r#"{{"__type":"Odd","message":"token {SESSION_TOKEN} secret {SECRET}"}}"#);
    let target = "i-0abcdef1234567890".to_owned();
    for (status, body, kind) in [
        (
            400,
            r#"{"__type":"com.amazonaws.ssm#TargetNotConnected","Message":"i-0abcdef1234567890 is not connected."}"#,
            FaultKind::TargetNotConnected { target, region: "eu-west-1".to_owned() },
        ),
        (
            400,
            r#"{"__type":"AccessDeniedException","Message":"User: arn:aws:iam::1:user/me is not authorized to perform: ssm:StartSession on resource: arn:aws:ec2:eu-west-1:1:instance/i-0 because no identity-based policy allows the ssm:StartSession action"}"#,
            FaultKind::PermissionDenied {
                principal: "arn:aws:iam::1:user/me".to_owned(),
                action: "ssm:StartSession".to_owned(),
                resource: "arn:aws:ec2:eu-west-1:1:instance/i-0".to_owned(),
            },
        ),
        (
            400,
            r#"{"__type":"InvalidDocument","Message":"Document with name AWS-StartPortForwardingSession does not exist."}"#,
            FaultKind::InvalidArgument { field: "document".to_owned() },
        ),
        (
            400,
            r#"{"__type":"ExpiredTokenException","message":"The security token included in the request is expired"}"#,
            credentials.clone(),
        ),
        (
            400,
            r#"{"__type":"UnrecognizedClientException","message":"The security token included in the request is invalid."}"#,
            credentials.clone(),
        ),
        (400, &mismatch, credentials),
        (400, &echo, FaultKind::Network),
        (400, r#"{"__type":"SomethingNew","message":"x"}"#, FaultKind::Network),
        (403, "<html>blocked by the corporate proxy</html>", FaultKind::Network),
        (200, "<html>please log in to the hotel</html>", FaultKind::Network),
        (200, r#"{"SessionId":"me-0a1b","TokenValue":"CANARYtoken"}"#, FaultKind::PeerViolation),
        (200, "{}", FaultKind::PeerViolation),
    ] {
        fixture.server.answer(status, body);
        let fault = fixture.start_fault(scope(None, None)).await;
        assert_eq!(fault.kind, kind, "{status} {body}: {fault}");
        let shown = format!("{fault} {fault:?}");
        assert!(!shown.contains("CANARY"), "{shown}");
    }
}

#[tokio::test]
async fn retries_are_bounded() {
    let fixture = Fixture::new().await;
    for _ in 0..4 {
        fixture.server.answer(400, r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#);
    }
    let id = SsmSessionId("me-0a1b".to_owned());
    let fault = fixture.ssm.terminate_session(&scope(None, None), &id).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Throttled);
    assert_eq!(fixture.server.requests().len(), 2);
    // A StartSession that seems to have failed may have opened a session: the engine decides about another.
    assert_eq!(fixture.start_fault(scope(None, None)).await.kind, FaultKind::Throttled);
    assert_eq!(fixture.server.requests().len(), 1);
}

#[tokio::test]
async fn a_resume_without_token_means_that_the_session_is_gone() {
    let fixture = Fixture::new().await;
    let id = SsmSessionId("me-0a1b".to_owned());
    for (status, body, gone) in [
        (200, GRANTED, false),
        (200, r#"{"SessionId":"me-0a1b","StreamUrl":"wss://x/"}"#, true),
        (200, r#"{"SessionId":"me-0a1b","StreamUrl":"wss://x/","TokenValue":""}"#, true),
        (400, r#"{"__type":"DoesNotExistException","Message":"Session me-0a1b does not exist"}"#, true),
    ] {
        fixture.server.answer(status, body);
        let resumption = fixture.ssm.resume_session(&scope(None, None), &id).await.unwrap();
        assert_eq!(matches!(resumption, Resumption::Gone), gone, "{body}");
        assert!(!format!("{resumption:?}").contains("CANARY"));
    }
}

#[tokio::test]
async fn ending_an_ended_session_is_no_fault() {
    let fixture = Fixture::new().await;
    let id = SsmSessionId("me-0a1b".to_owned());
    fixture.server.answer(200, r#"{"SessionId":"me-0a1b"}"#);
    fixture.server.answer(400, r#"{"__type":"DoesNotExistException"}"#);
    for _ in 0..2 {
        fixture.ssm.terminate_session(&scope(None, None), &id).await.unwrap();
    }
    fixture.server.answer(400, r#"{"__type":"AccessDeniedException","Message":"no"}"#);
    let fault = fixture.ssm.terminate_session(&scope(None, None), &id).await.unwrap_err();
    assert!(
        matches!(fault.kind, FaultKind::PermissionDenied { action, .. } if action == "ssm:TerminateSession")
    );
}

#[tokio::test]
async fn profile_and_region_are_resolved_or_asked_for() {
    let fixture = Fixture::new().await;
    let fault = fixture.start_fault(scope(Some("prd"), None)).await;
    assert_eq!(fault.kind, FaultKind::ProfileNotFound { profile: "prd".to_owned() });
    let [config, credentials] =
        ["config", "credentials"].map(|name| fixture.directory.path().join(name).display().to_string());
    assert_eq!(fault.detail, format!("looked for in {config} and {credentials}; did you mean prod?"));

    let fault = fixture.start_fault(scope(Some("regionless"), None)).await;
    assert_eq!(fault.kind, FaultKind::InvalidArgument { field: "region".to_owned() });
    assert!(fault.detail.contains("stctl settings set aws.default_region"), "{fault}");

    fixture.change(|settings| settings.default_region = Some("us-east-1".parse().unwrap()));
    for (scope, region) in [
        (scope(Some("regionless"), None), "us-east-1"),
        (scope(Some("prod"), None), "eu-west-1"),
        (scope(Some("prod"), Some("ap-south-1")), "ap-south-1"),
    ] {
        fixture.server.answer(200, GRANTED);
        assert_eq!(fixture.start_in(scope).await.unwrap().region.as_str(), region);
        let sent = fixture.server.requests().remove(0);
        assert!(sent.contains(&format!("/{region}/ssm/aws4_request")), "{sent}");
    }
}

#[tokio::test]
async fn changed_files_and_settings_count_from_the_next_call() {
    let fixture = Fixture::new().await;
    let new_profile = || scope(Some("new"), None);
    assert!(matches!(fixture.start_fault(new_profile()).await.kind, FaultKind::ProfileNotFound { .. }));
    let keys = "aws_access_key_id = AKIDNEW\naws_secret_access_key = x\n";
    write_config(fixture.directory.path(), &format!("[profile new]\nregion = eu-west-1\n{keys}"));
    fixture.server.answer(200, GRANTED);
    fixture.start_in(new_profile()).await.unwrap();
    assert!(fixture.server.requests()[0].contains("Credential=AKIDNEW/"));

    let other = Server::start().await;
    other.answer(200, GRANTED);
    fixture.change(|settings| settings.endpoint_ssm = Some(other.url.clone()));
    fixture.start_in(new_profile()).await.unwrap();
    assert_eq!((other.requests().len(), fixture.server.requests().len()), (1, 0));
}

#[tokio::test]
async fn endpoints_in_the_clear_are_refused_wherever_they_come_from() {
    let fixture = Fixture::new().await;
    fixture.change(|settings| settings.endpoint_ssm = Some("http://192.0.2.1".to_owned()));
    let fault = fixture.start_fault(scope(None, None)).await;
    assert_eq!(fault.kind, FaultKind::InvalidArgument { field: "aws.endpoint_ssm".to_owned() });

    fixture.change(|settings| settings.endpoint_ssm = None);
    write_config(
        fixture.directory.path(),
        "[profile prod]\nregion = eu-west-1\nendpoint_url = http://192.0.2.1\n",
    );
    let fault = fixture.start_fault(scope(None, None)).await;
    assert_eq!(fault.kind, FaultKind::InvalidArgument { field: "endpoint_url".to_owned() }, "{fault}");
    assert!(fault.detail.contains("192.0.2.1"), "{fault}");
}

#[tokio::test]
async fn a_variable_that_sends_tokens_in_the_clear_is_refused_by_name() {
    let fixture = Fixture::new().await;
    let directory = fixture.directory.path();
    let outcome = async |variable: &'static str, url: &'static str| {
        let environment = AwsEnvironment::from_vars(|name| (name == variable).then(|| url.to_owned()));
        let access = access(fixture.settings.subscribe(), environment, directory, Arc::new(SystemClock));
        let started = AwsSsm::new(access).start_session(&request(scope(None, None), "5432")).await;
        started.map(|grant| grant.id)
    };
    for variable in [
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_SSM",
        "AWS_ENDPOINT_URL_SSMMESSAGES",
        "AWS_ENDPOINT_URL_SSO",
        "AWS_ENDPOINT_URL_SSO_OIDC",
        "AWS_ENDPOINT_URL_STS",
    ] {
        let fault = outcome(variable, "http://10.0.0.5").await.expect_err(variable);
        assert_eq!(fault.kind, FaultKind::InvalidArgument { field: variable.to_owned() }, "{fault}");
        assert!(fault.detail.contains("write https://"), "{fault}");
        assert!(fixture.server.requests().is_empty());
        for good in ["https://vpce.example", "http://127.0.0.1:4000"] {
            fixture.server.answer(200, GRANTED);
            assert!(outcome(variable, good).await.is_ok(), "{variable} {good}");
            fixture.server.requests();
        }
    }
}

/// A profile whose role is had from an STS at `url`.
fn write_role(directory: &Path, url: &str) {
    let role = "role_arn = arn:aws:iam::123456789012:role/Dev\nsource_profile = prod\n";
    let profiles = format!("[profile prod]\n[profile role]\nregion = eu-west-1\n{role}services = local\n");
    write_config(directory, &format!("{profiles}[services local]\nsts =\n  endpoint_url = {url}\n"));
}

#[tokio::test]
async fn an_outage_of_sts_is_no_fault_of_the_credentials() {
    let fixture = Fixture::new().await;
    write_role(fixture.directory.path(), &fixture.server.url);
    let error = |code: &str| {
        format!("<ErrorResponse><Error><Code>{code}</Code><Message>Sorry.</Message></Error></ErrorResponse>")
    };
    let invalid = FaultKind::CredentialsInvalid { profile: "role".to_owned() };
    for (status, body, kind) in [
        (500, error("InternalFailure"), FaultKind::Network),
        (503, error("ServiceUnavailable"), FaultKind::Network),
        (503, "<html>upstream</html>".to_owned(), FaultKind::Network),
        (403, "<html>blocked by the corporate proxy</html>".to_owned(), FaultKind::Network),
        (403, error("InvalidClientTokenId"), invalid),
    ] {
        for _ in 0..3 {
            fixture.server.answer(status, &body);
        }
        let fault = fixture.start_fault(scope(Some("role"), None)).await;
        assert_eq!(fault.kind, kind, "{status} {body}: {fault}");
        let sent = fixture.server.requests();
        assert!(sent.iter().all(|request| request.contains("Action=AssumeRole")), "{sent:?}");
        fixture.server.forget_answers();
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_swallows_everything_is_given_up_before_the_fetch() {
    let fixture = Fixture::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    write_role(fixture.directory.path(), &format!("http://{}", listener.local_addr().unwrap()));
    let swallow = async {
        let mut held = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            held.push(socket);
        }
    };
    let began = tokio::time::Instant::now();
    let fault = tokio::select! {
        fault = fixture.start_fault(scope(Some("role"), None)) => fault,
        () = swallow => unreachable!("the listener goes on"),
    };
    assert_eq!(fault.kind, FaultKind::Network, "{fault}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_profile_without_credentials_or_with_an_sso_login_is_told_before_the_call() {
    let fixture = Fixture::new().await;
    let sso = "sso_session = corp\nsso_account_id = 123456789012\nsso_role_name = Dev\n";
    let session =
        "[sso-session corp]\nsso_region = eu-west-1\nsso_start_url = https://corp.awsapps.com/start\n";
    let config =
        format!("[profile empty]\nregion = eu-west-1\n[profile sso]\nregion = eu-west-1\n{sso}{session}");
    write_config(fixture.directory.path(), &config);
    let fault = fixture.start_fault(scope(Some("empty"), None)).await;
    assert_eq!(fault.kind, FaultKind::CredentialsInvalid { profile: "empty".to_owned() }, "{fault}");
    let fault = fixture.start_fault(scope(Some("sso"), None)).await;
    assert_eq!(fault.kind, FaultKind::SignInNeeded { sign_in: "corp".to_owned() }, "{fault}");
    assert!(fixture.server.requests().is_empty());
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_is_a_network_fault() {
    let fixture = Fixture::new().await;
    let dead = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    fixture.change(|settings| settings.endpoint_ssm = Some(dead));
    let fault = fixture.start_fault(scope(None, None)).await;
    assert_eq!(fault.kind, FaultKind::Network, "{fault}");
    assert!(fault.detail.to_lowercase().contains("refused"), "{fault}");
    // The name cannot resolve anywhere: `.invalid` is reserved for that.
    fixture.change(|settings| settings.endpoint_ssm = Some("https://ssm.invalid".to_owned()));
    let fault = fixture.start_fault(scope(None, Some("eu-nowhere-1"))).await;
    assert_eq!(fault.kind, FaultKind::Network, "{fault}");
    assert!(fault.detail.contains("is eu-nowhere-1 a region?"), "{fault}");
}

#[tokio::test]
async fn a_ca_bundle_must_be_there_and_hold_certificates() {
    let fixture = Fixture::new().await;
    let path = fixture.directory.path().join("ca.pem");
    fixture.change(|settings| settings.ca_bundle = Some(path.display().to_string()));
    for content in [None, Some("not PEM")] {
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let fault = fixture.start_fault(scope(None, None)).await;
        assert_eq!(fault.kind, FaultKind::InvalidArgument { field: "network.ca_bundle".to_owned() });
        assert!(fault.detail.contains("ca.pem"), "{fault}");
    }
}

#[tokio::test]
async fn the_upgrade_is_signed_with_the_credentials_of_the_session() {
    let fixture = Fixture::new().await;
    let grant = |stream_url: &str| SessionGrant {
        id: SsmSessionId("me-0a1b".to_owned()),
        stream_url: stream_url.to_owned(),
        token: SecretString::from("CANARYtoken"),
        region: "eu-west-1".parse().unwrap(),
    };
    let plain =
        grant("wss://ssmmessages.eu-west-1.amazonaws.com/v1/data-channel/me-0a1b?role=publish_subscribe");
    let address = fixture.access.channel_address(&plain).unwrap();
    let scope = scope(None, None);
    let signed = fixture.access.sign_upgrade(&scope, &plain.region, &address).await.unwrap();
    let authorization = signed["authorization"].to_str().unwrap();
    assert!(
        authorization.contains("Credential=AKIDEXAMPLE/20250101/eu-west-1/ssmmessages/"),
        "{authorization}"
    );
    assert_eq!(signed["x-amz-security-token"], SESSION_TOKEN);

    let body = format!("{authorization} CANARYtoken {SESSION_TOKEN}");
    let refusal = UpgradeRefusal { status: 403, error_type: None, body: body.as_bytes() };
    let fault = fixture.access.upgrade_refused(&scope, &plain, &signed, &refusal).await;
    let signature = authorization.rsplit('=').next().unwrap();
    let shown = format!("{fault} {fault:?}");
    assert!(!shown.contains("CANARY") && !shown.contains(signature), "{shown}");

    let presigned = grant("wss://ssmmessages.eu-west-1.amazonaws.com/x?X-Amz-Signature=0a");
    let address = fixture.access.channel_address(&presigned).unwrap();
    let unsigned = fixture.access.sign_upgrade(&scope, &presigned.region, &address).await.unwrap();
    assert!(unsigned.is_empty());
    assert!(!format!("{presigned:?} {address:?}").contains("Signature"));
}
