//! The SDK and the classification together, against an HTTP server that answers from a script.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use stormtunnel_aws::testing::{Reply, ScriptedServer, access};
use stormtunnel_aws::{AwsEnvironment, AwsTargets, Finders};
use stormtunnel_aws_ec2::Ec2Instances;
use stormtunnel_engine::ports::{AwsScope, Clock, TargetDirectory as _};
use stormtunnel_model::settings::Settings;
use stormtunnel_model::{AgentStatus, Fault, FaultKind, Timestamp};
use tempfile::TempDir;
use tokio::sync::watch;

#[derive(Debug)]
struct StillClock;

impl Clock for StillClock {
    fn mono(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(1_735_689_600_000)
    }
}

/// AWS files of their own, and a server that gives the next of its answers to each request and notes the requests.
struct Fixture {
    targets: AwsTargets,
    server: ScriptedServer,
    _directory: TempDir,
    _settings: watch::Sender<Arc<Settings>>,
}

impl Fixture {
    async fn with(answers: Vec<(u16, String)>) -> Self {
        let mut answers = answers.into_iter();
        let server = ScriptedServer::start(move |request| {
            let (status, body) = answers.next().unwrap_or((500, "no answer left".to_owned()));
            if request.contains("Action=") { Reply::xml(status, body) } else { Reply::json(status, body) }
        });
        let server = server.await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let keys = "[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = CANARYsecret\n";
        std::fs::write(directory.path().join("credentials"), keys).unwrap();
        std::fs::write(directory.path().join("config"), "[default]\nregion = eu-west-1\n").unwrap();
        let (settings, receiver) = watch::channel(Arc::new(Settings {
            endpoint_ec2: Some(server.url.clone()),
            endpoint_ssm: Some(server.url.clone()),
            default_profile: Some("default".parse().unwrap()),
            ..Settings::default()
        }));
        let access = access(receiver, AwsEnvironment::default(), directory.path(), Arc::new(StillClock));
        let finders = Finders { instances: Some(Arc::new(Ec2Instances)), containers: None };
        let targets = AwsTargets::new(access, finders);
        Self { targets, server, _directory: directory, _settings: settings }
    }

    async fn find(&self, target: &str) -> Result<Vec<stormtunnel_model::Candidate>, Fault> {
        let scope = AwsScope { profile: None, region: None };
        let found = self.targets.candidates(&scope, &target.parse().unwrap()).await?;
        Ok(found.candidates)
    }
}

fn page(ids: &[&str], next: Option<&str>) -> (u16, String) {
    let instance = |id: &&str| {
        format!(
            "<item><instancesSet><item><instanceId>{id}</instanceId><privateIpAddress>10.0.1.2</privateIpAddress>\
             <launchTime>2026-01-02T03:04:05.000Z</launchTime><platformDetails>Linux/UNIX</platformDetails>\
             <tagSet><item><key>Name</key><value>web &amp; more</value></item></tagSet></item></instancesSet></item>"
        )
    };
    let items: String = ids.iter().map(instance).collect();
    let next = next.map(|next| format!("<nextToken>{next}</nextToken>")).unwrap_or_default();
    let body = format!(
        "<DescribeInstancesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>r</requestId>\
         <reservationSet>{items}</reservationSet>{next}</DescribeInstancesResponse>"
    );
    (200, body)
}

fn error(status: u16, code: &str, message: &str) -> (u16, String) {
    let error = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
    (status, format!("<Response><Errors>{error}</Errors><RequestID>r</RequestID></Response>"))
}

#[tokio::test]
async fn instances_are_found_page_by_page_with_their_agents() {
    let agents = r#"{"InstanceInformationList":[{"InstanceId":"i-0aaaaaaa1","PingStatus":"Online"}]}"#;
    let answers =
        vec![page(&["i-0aaaaaaa1"], Some("more")), page(&["i-0aaaaaaa2"], None), (200, agents.to_owned())];
    let fixture = Fixture::with(answers).await;
    let found = fixture.find("tag:Env=prod,Role=a*b").await.unwrap();
    let shown: Vec<_> = found.iter().map(|candidate| (candidate.node.as_str(), candidate.agent)).collect();
    assert_eq!(shown, [("i-0aaaaaaa1", AgentStatus::Online), ("i-0aaaaaaa2", AgentStatus::Unregistered)]);
    assert_eq!(found[0].name.as_deref(), Some("web & more"));
    assert_eq!(found[0].address, Some([10, 0, 1, 2].into()));
    let launched = Duration::from_millis(found[0].launched_at.unwrap().as_millis());
    assert_eq!(launched.as_secs(), 1_767_323_045);
    let requests = fixture.server.requests();
    assert!(requests[0].contains("/eu-west-1/ec2/aws4_request"), "{}", requests[0]);
    for part in [
        "Action=DescribeInstances",
        "Filter.1.Name=instance-state-name&Filter.1.Value.1=running",
        "Filter.2.Name=tag%3AEnv&Filter.2.Value.1=prod",
        "Filter.3.Name=tag%3ARole&Filter.3.Value.1=a%5C%2Ab",
    ] {
        assert!(requests[0].contains(part), "{part} in {}", requests[0]);
    }
    assert!(requests[1].contains("NextToken=more"), "{}", requests[1]);
    assert!(requests[2].contains("AmazonSSM.DescribeInstanceInformation"), "{}", requests[2]);
}

#[tokio::test]
async fn errors_of_ec2_become_the_faults_that_those_of_session_manager_become() {
    let denial = "You are not authorized to perform this operation. User: arn:aws:iam::1:user/me is not \
                  authorized to perform: ec2:DescribeInstances because no identity-based policy allows it";
    let denied = FaultKind::PermissionDenied {
        principal: "arn:aws:iam::1:user/me".to_owned(),
        action: "ec2:DescribeInstances".to_owned(),
        resource: String::new(),
    };
    let invalid = FaultKind::CredentialsInvalid { profile: "default".to_owned() };
    for (status, code, message, kind) in [
        (403, "UnauthorizedOperation", denial, denied),
        (401, "AuthFailure", "AWS was not able to validate the provided access credentials", invalid.clone()),
        (400, "RequestExpired", "Request has expired.", invalid),
    ] {
        let fixture = Fixture::with(vec![error(status, code, message)]).await;
        let fault = fixture.find("name:web").await.unwrap_err();
        assert_eq!(fault.kind, kind, "{code}: {fault}");
        assert!(!fault.detail.contains("CANARY"), "{fault}");
    }
    let slow = error(503, "RequestLimitExceeded", "Request limit exceeded.");
    let fixture = Fixture::with(vec![slow.clone(), slow]).await;
    assert_eq!(fixture.find("name:web").await.unwrap_err().kind, FaultKind::Throttled);
}
