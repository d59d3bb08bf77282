//! The SDK, the choice and the classification together, against an HTTP server that answers from a script.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Instant;

use stormtunnel_aws::testing::{Reply, ScriptedServer, access};
use stormtunnel_aws::{AwsEnvironment, AwsTargets, Finders};
use stormtunnel_aws_ecs::EcsContainers;
use stormtunnel_engine::ports::{AwsScope, Candidates, Clock, TargetDirectory as _};
use stormtunnel_model::settings::Settings;
use stormtunnel_model::{AgentStatus, Fault, FaultKind, Timestamp};
use tempfile::TempDir;
use tokio::sync::watch;

const A: &str = "0000000000000000000000000000000a";
const B: &str = "0000000000000000000000000000000b";

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

/// AWS files of their own, and a server that gives the next of its answers to each request of an operation and notes the
/// requests. What is not in its script is denied.
struct Fixture {
    targets: AwsTargets,
    server: ScriptedServer,
    _directory: TempDir,
    _settings: watch::Sender<Arc<Settings>>,
}

/// Operation, status and body.
type Answer = (&'static str, u16, String);

impl Fixture {
    async fn with(answers: Vec<Answer>) -> Self {
        let mut answers = answers;
        let server = ScriptedServer::start(move |request| {
            let next = answers.iter().position(|(operation, _, _)| is_for(request, operation));
            let (_, status, body) = next.map_or_else(denied, |next| answers.remove(next));
            Reply::json(status, body)
        });
        let server = server.await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let keys = "[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = CANARYsecret\n";
        std::fs::write(directory.path().join("credentials"), keys).unwrap();
        std::fs::write(directory.path().join("config"), "[default]\nregion = eu-west-1\n").unwrap();
        let (settings, receiver) = watch::channel(Arc::new(Settings {
            endpoint_ecs: Some(server.url.clone()),
            endpoint_ssm: Some(server.url.clone()),
            default_profile: Some("default".parse().unwrap()),
            ..Settings::default()
        }));
        let access = access(receiver, AwsEnvironment::default(), directory.path(), Arc::new(StillClock));
        let finders = Finders { instances: None, containers: Some(Arc::new(EcsContainers)) };
        let targets = AwsTargets::new(access, finders);
        Self { targets, server, _directory: directory, _settings: settings }
    }

    async fn find(&self, target: &str) -> Result<Candidates, Fault> {
        self.targets.candidates(&scope(), &target.parse().unwrap()).await
    }

    /// The requests of an operation.
    fn requests(&self, operation: &str) -> Vec<String> {
        let requests = self.server.requests();
        requests.into_iter().filter(|request| is_for(request, operation)).collect()
    }
}

fn scope() -> AwsScope {
    AwsScope { profile: None, region: None }
}

fn is_for(request: &str, operation: &str) -> bool {
    request.lines().any(|line| line.starts_with("x-amz-target: ") && line.ends_with(&format!(".{operation}")))
}

fn denied() -> Answer {
    let message =
        "User: arn:aws:iam::1:user/me is not authorized to perform: ecs:Something on resource: * because";
    ("", 400, format!(r#"{{"__type":"AccessDeniedException","message":"{message}"}}"#))
}

fn error(operation: &'static str, code: &str) -> Answer {
    (operation, 400, format!(r#"{{"__type":"{code}","message":"It is {code}."}}"#))
}

fn arns(kind: &str, ids: &[&str]) -> String {
    let arn = |id: &&str| format!(r#""arn:aws:ecs:eu-west-1:1:{kind}/{id}""#);
    ids.iter().map(arn).collect::<Vec<_>>().join(",")
}

fn next_token(next: Option<&str>) -> String {
    next.map(|next| format!(r#","nextToken":"{next}""#)).unwrap_or_default()
}

fn clusters(names: &[&str], next: Option<&str>) -> Answer {
    let arns = arns("cluster", names);
    ("ListClusters", 200, format!(r#"{{"clusterArns":[{arns}]{}}}"#, next_token(next)))
}

fn tasks(ids: &[&str], next: Option<&str>) -> Answer {
    let arns = arns("task/main", ids);
    ("ListTasks", 200, format!(r#"{{"taskArns":[{arns}]{}}}"#, next_token(next)))
}

fn described(tasks: &[String]) -> Answer {
    ("DescribeTasks", 200, format!(r#"{{"tasks":[{}],"failures":[]}}"#, tasks.join(",")))
}

/// A task with these containers; `exec`: ECS Exec is on.
fn task(id: &str, exec: bool, containers: &[String]) -> String {
    format!(
        r#"{{"taskArn":"arn:aws:ecs:eu-west-1:1:task/main/{id}","clusterArn":"arn:aws:ecs:eu-west-1:1:cluster/main",
        "group":"service:web","desiredStatus":"RUNNING","lastStatus":"RUNNING","enableExecuteCommand":{exec},
        "startedAt":1767323045.5,"platformFamily":"Linux","containers":[{}],
        "attachments":[{{"type":"ElasticNetworkInterface","details":[
            {{"name":"subnetId","value":"subnet-1"}},{{"name":"privateIPv4Address","value":"10.0.1.2"}}]}}]}}"#,
        containers.join(",")
    )
}

fn container(name: &str, agent: Option<&str>) -> String {
    let agent = agent.map(|status| format!(r#"{{"name":"ExecuteCommandAgent","lastStatus":"{status}"}}"#));
    let agents = agent.unwrap_or_default();
    format!(r#"{{"name":"{name}","runtimeId":"{name}-1","lastStatus":"RUNNING","managedAgents":[{agents}]}}"#)
}

fn web(id: &str) -> String {
    task(id, true, &[container("app", Some("RUNNING"))])
}

fn nodes(found: &Candidates) -> Vec<&str> {
    found.candidates.iter().map(|candidate| candidate.node.as_str()).collect()
}

#[tokio::test]
async fn the_tasks_of_a_service_are_found_page_by_page_with_their_agents() {
    let answers = vec![
        tasks(&[A], Some("more")),
        tasks(&[B], None),
        described(&[web(A), task(B, true, &[container("app", Some("STOPPED"))])]),
    ];
    let fixture = Fixture::with(answers).await;
    let found = fixture.find("ecs-service:main/web").await.unwrap();
    let shown: Vec<_> = found.candidates.iter().map(|found| (found.node.to_string(), found.agent)).collect();
    let node = |id: &str| format!("ecs:main_{id}_app-1");
    assert_eq!(shown, [(node(A), AgentStatus::Online), (node(B), AgentStatus::Lost)]);
    let first = &found.candidates[0];
    assert_eq!((first.name.as_deref(), first.platform.as_deref()), (Some("web/app"), Some("Linux")));
    assert_eq!(first.address, Some([10, 0, 1, 2].into()));
    assert_eq!(first.launched_at, Some(Timestamp::from_millis(1_767_323_045_500)));
    let listed = fixture.requests("ListTasks");
    assert!(listed[0].contains("/eu-west-1/ecs/aws4_request"), "{}", listed[0]);
    for part in [r#""cluster":"main""#, r#""serviceName":"web""#, r#""desiredStatus":"RUNNING""#] {
        assert!(listed[0].contains(part), "{part} in {}", listed[0]);
    }
    assert!(listed[1].contains(r#""nextToken":"more""#), "{}", listed[1]);
    let described = fixture.requests("DescribeTasks");
    assert!(described[0].contains(A) && described[0].contains(B), "{}", described[0]);
}

#[tokio::test]
async fn more_than_a_hundred_tasks_are_described_in_batches() {
    let ids: Vec<String> = (0..150).map(|number| format!("{number:032x}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let described_all = |ids: &[&str]| described(&ids.iter().map(|id| web(id)).collect::<Vec<_>>());
    let answers = vec![
        tasks(&ids[..100], Some("more")),
        tasks(&ids[100..], None),
        described_all(&ids[..100]),
        described_all(&ids[100..]),
    ];
    let fixture = Fixture::with(answers).await;
    assert_eq!(fixture.find("ecs-service:main/web").await.unwrap().candidates.len(), 150);
    let asked = |request: &String| request.matches("task/main/").count();
    assert_eq!(fixture.requests("DescribeTasks").iter().map(asked).collect::<Vec<_>>(), [100, 50]);
}

#[tokio::test]
async fn a_task_by_its_id_is_described_and_not_listed() {
    let fixture = Fixture::with(vec![described(&[web(A)])]).await;
    let found = fixture.find(&format!("ecs-task:main/{A}/app")).await.unwrap();
    assert_eq!(nodes(&found), [format!("ecs:main_{A}_app-1")]);
    assert_eq!(fixture.requests("ListTasks"), Vec::<String>::new());
    let stopping = web(A).replacen(r#""desiredStatus":"RUNNING""#, r#""desiredStatus":"STOPPED""#, 1);
    let starting = web(A).replacen(r#""lastStatus":"RUNNING""#, r#""lastStatus":"PENDING""#, 1);
    for task in [stopping, starting] {
        let fixture = Fixture::with(vec![described(&[task])]).await;
        assert_eq!(nodes(&fixture.find(&format!("ecs-task:main/{A}")).await.unwrap()), Vec::<&str>::new());
    }
}

#[tokio::test]
async fn several_containers_have_to_be_told_apart() {
    let two = task(A, true, &[container("app", Some("RUNNING")), container("proxy", Some("PENDING"))]);
    let answers = || vec![tasks(&[A], None), described(std::slice::from_ref(&two))];
    let fault = Fixture::with(answers()).await.find("ecs-service:main/web").await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::InvalidArgument { field: "target".to_owned() });
    assert!(fault.detail.contains("app, proxy; name one of them, as in ecs-service:main/web/app"), "{fault}");
    let found = Fixture::with(answers()).await.find("ecs-service:main/web/proxy").await.unwrap();
    assert_eq!(nodes(&found), [format!("ecs:main_{A}_proxy-1")]);
    let fault = Fixture::with(answers()).await.find("ecs-service:main/web/db").await.unwrap_err();
    assert!(fault.detail.contains("has no container db: app, proxy"), "{fault}");
}

#[tokio::test]
async fn tasks_without_ecs_exec_come_with_what_to_do() {
    let answers = vec![tasks(&[A], None), described(&[task(A, false, &[container("app", None)])])];
    let found = Fixture::with(answers).await.find("ecs-service:main/web").await.unwrap();
    assert_eq!(found.candidates[0].agent, AgentStatus::Unregistered);
    let command = "aws ecs update-service --cluster main --service web --enable-execute-command";
    assert!(found.notes[0].contains(command) && found.notes[0].contains("ssmmessages:"), "{:?}", found.notes);
}

#[tokio::test]
async fn what_ecs_does_not_know_has_no_containers() {
    for (code, noted) in
        [("ClusterNotFoundException", "no cluster"), ("ServiceNotFoundException", "no service")]
    {
        let found =
            Fixture::with(vec![error("ListTasks", code)]).await.find("ecs-service:main/web").await.unwrap();
        assert_eq!(found.candidates, []);
        assert!(found.notes[0].contains(noted), "{:?}", found.notes);
    }
    let found = Fixture::with(vec![tasks(&[], None)]).await.find("ecs-service:main/web").await.unwrap();
    assert_eq!((found.candidates.len(), found.notes.len()), (0, 0));
}

#[tokio::test]
async fn errors_of_ecs_become_the_faults_that_those_of_session_manager_become() {
    let fault = Fixture::with(Vec::new()).await.find("ecs-service:main/web").await.unwrap_err();
    let FaultKind::PermissionDenied { principal, .. } = &fault.kind else { panic!("{fault}") };
    assert_eq!(principal, "arn:aws:iam::1:user/me");
    assert!(fault.detail.contains("needs none of ECS"), "{fault}");
    let expired = error("ListTasks", "ExpiredTokenException");
    let fault = Fixture::with(vec![expired]).await.find("ecs-service:main/web").await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::CredentialsInvalid { profile: "default".to_owned() });
    let slow = || error("ListTasks", "ThrottlingException");
    let fault = Fixture::with(vec![slow(), slow()]).await.find("ecs-service:main/web").await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Throttled);
}

#[tokio::test]
async fn a_list_has_the_containers_of_all_clusters_and_says_where_it_ends() {
    let two = task(A, true, &[container("app", Some("RUNNING")), container("proxy", None)]);
    let answers = vec![
        clusters(&["main", "other"], Some("more")),
        tasks(&[A], Some("more")),
        described(&[two]),
        tasks(&[], None),
    ];
    let fixture = Fixture::with(answers).await;
    let list = fixture.targets.reachable(&scope()).await.unwrap();
    assert_eq!(nodes(&list), [format!("ecs:main_{A}_app-1"), format!("ecs:main_{A}_proxy-1")]);
    assert!(list.notes.iter().any(|note| note.contains("only the first 100 tasks")), "{:?}", list.notes);
    assert!(list.notes.iter().any(|note| note.contains("only the first 10 are listed")), "{:?}", list.notes);
    assert!(fixture.requests("ListClusters")[0].contains(r#""maxResults":10"#));
}

#[tokio::test]
async fn a_list_without_leave_says_so() {
    let agents =
        r#"{"InstanceInformationList":[{"InstanceId":"mi-0123456789abcdef0","PingStatus":"Online"}]}"#;
    let agents = || ("DescribeInstanceInformation", 200, agents.to_owned());
    for answers in [vec![agents()], vec![agents(), clusters(&["main"], None)]] {
        let list = Fixture::with(answers).await.targets.reachable(&scope()).await.unwrap();
        assert_eq!(nodes(&list), ["mi-0123456789abcdef0"]);
        assert!(list.notes.iter().any(|note| note.contains("no containers of ECS")), "{:?}", list.notes);
    }
}
