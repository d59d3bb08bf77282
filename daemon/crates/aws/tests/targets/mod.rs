//! The agents of nodes, and what becomes of a search of which a part is not allowed.

use std::sync::Arc;

use stormtunnel_aws::{AwsTargets, ContainerFinder, Finders, InstanceFinder, ServiceAccess};
use stormtunnel_engine::ports::{Candidates, PortFuture, SsmApi as _, TargetDirectory as _};
use stormtunnel_model::{AgentStatus, Candidate, ContainerForm, Fault, FaultKind, InstanceForm, Target};

use super::{Fixture, scope};

/// Instances in memory.
struct Instances(Result<Vec<Candidate>, Fault>);

impl InstanceFinder for Instances {
    fn running<'a>(
        &'a self,
        _ec2: &'a ServiceAccess,
        _form: Option<&'a InstanceForm<'a>>,
    ) -> PortFuture<'a, Result<Vec<Candidate>, Fault>> {
        Box::pin(async { self.0.clone() })
    }

    fn url<'a>(&'a self, ec2: &'a ServiceAccess) -> PortFuture<'a, Result<String, Fault>> {
        Box::pin(async { Ok(format!("https://ec2.{}.test", ec2.region())) })
    }
}

/// Containers in memory.
struct Containers(Result<Vec<Candidate>, Fault>);

impl ContainerFinder for Containers {
    fn running<'a>(
        &'a self,
        ecs: &'a ServiceAccess,
        form: Option<&'a ContainerForm<'a>>,
    ) -> PortFuture<'a, Result<Candidates, Fault>> {
        Box::pin(async move {
            let notes = form.map(|form| format!("looked for {form}")).into_iter().collect();
            Ok(Candidates { region: ecs.region().clone(), candidates: self.0.clone()?, notes })
        })
    }

    fn url<'a>(&'a self, ecs: &'a ServiceAccess) -> PortFuture<'a, Result<String, Fault>> {
        Box::pin(async { Ok(format!("https://ecs.{}.test", ecs.region())) })
    }
}

fn instance(number: usize) -> Candidate {
    Candidate {
        node: format!("i-{number:08}").parse().unwrap(),
        name: Some("web".to_owned()),
        address: None,
        agent: AgentStatus::Unknown,
        platform: None,
        launched_at: None,
    }
}

fn targets(fixture: &Fixture, instances: Option<Result<Vec<Candidate>, Fault>>) -> AwsTargets {
    let instances = instances.map(|found| Arc::new(Instances(found)) as Arc<dyn InstanceFinder>);
    AwsTargets::new(Arc::clone(&fixture.access), Finders { instances, containers: None })
}

fn with_containers(
    fixture: &Fixture,
    instances: Result<Vec<Candidate>, Fault>,
    containers: Result<Vec<Candidate>, Fault>,
) -> AwsTargets {
    let finders = Finders {
        instances: Some(Arc::new(Instances(instances))),
        containers: Some(Arc::new(Containers(containers))),
    };
    AwsTargets::new(Arc::clone(&fixture.access), finders)
}

fn container() -> Candidate {
    let node = "ecs:main_0123456789abcdef0123456789abcdef_app-1".parse().unwrap();
    Candidate { node, agent: AgentStatus::Online, ..instance(0) }
}

fn web() -> Target {
    "name:web".parse().unwrap()
}

fn agent(id: &str, ping: &str) -> String {
    format!(
        r#"{{"InstanceId":"{id}","PingStatus":"{ping}","PlatformName":"Amazon Linux","IPAddress":"10.0.0.9"}}"#
    )
}

fn page(agents: &[String], next: Option<&str>) -> String {
    let next = next.map(|next| format!(r#","NextToken":"{next}""#)).unwrap_or_default();
    format!(r#"{{"InstanceInformationList":[{}]{next}}}"#, agents.join(","))
}

fn denied(action: &str) -> Fault {
    let (principal, resource) = (String::new(), String::new());
    Fault::new(FaultKind::PermissionDenied { principal, action: action.to_owned(), resource }, "no policy")
}

#[tokio::test]
async fn agents_are_asked_for_fifty_at_a_time_and_page_by_page() {
    let fixture = Fixture::new().await;
    let found = targets(&fixture, Some(Ok((0..60).map(instance).collect())));
    fixture.server.answer(200, &page(&[agent("i-00000000", "Online")], Some("more")));
    fixture.server.answer(200, &page(&[agent("i-00000001", "ConnectionLost")], None));
    fixture.server.answer(200, &page(&[agent("i-00000059", "Inactive")], None));
    let found = found.candidates(&scope(None, None), &web()).await.unwrap();
    let states: Vec<AgentStatus> = found.candidates.iter().map(|candidate| candidate.agent).collect();
    assert_eq!((states[0], states[1]), (AgentStatus::Online, AgentStatus::Lost));
    assert_eq!((states[2], states[59]), (AgentStatus::Unregistered, AgentStatus::Lost));
    assert_eq!((found.region.as_str(), found.notes.len()), ("eu-west-1", 0));
    assert_eq!(found.candidates[0].platform.as_deref(), Some("Amazon Linux"));
    let requests = fixture.server.requests();
    let ids = |request: &String| request.matches("\"i-000000").count();
    assert_eq!(requests.iter().map(ids).collect::<Vec<_>>(), [50, 50, 10]);
    assert!(requests[0].contains(r#""Key":"InstanceIds""#), "{}", requests[0]);
    assert!(requests[1].contains(r#""NextToken":"more""#), "{}", requests[1]);
}

#[tokio::test]
async fn without_leave_to_ask_for_agents_nothing_is_known_of_them() {
    let fixture = Fixture::new().await;
    let found = targets(&fixture, Some(Ok(vec![instance(1)])));
    let answer = r#"{"__type":"AccessDeniedException","Message":"User: me is not authorized to perform: ssm:DescribeInstanceInformation on resource: *"}"#;
    fixture.server.answer(400, answer);
    let found = found.candidates(&scope(None, None), &web()).await.unwrap();
    assert_eq!(found.candidates, [instance(1)]);
    assert!(found.notes[0].contains("ssm:DescribeInstanceInformation"), "{:?}", found.notes);
}

#[tokio::test]
async fn nothing_found_asks_for_no_agents() {
    let fixture = Fixture::new().await;
    let found = targets(&fixture, Some(Ok(Vec::new()))).candidates(&scope(None, None), &web()).await.unwrap();
    assert_eq!((found.candidates.len(), fixture.server.requests().len()), (0, 0));
}

#[tokio::test]
async fn without_leave_to_find_instances_a_target_cannot_be_found_but_a_list_can() {
    let fixture = Fixture::new().await;
    let refused = targets(&fixture, Some(Err(denied("ec2:DescribeInstances"))));
    let fault = refused.candidates(&scope(None, None), &web()).await.unwrap_err();
    assert_eq!(fault.kind, denied("ec2:DescribeInstances").kind);
    assert!(fault.detail.contains("a target that is an instance id needs no"), "{fault}");
    let hybrid = agent("mi-0123456789abcdef0", "Online");
    fixture.server.answer(200, &page(&[agent("i-00000001", "Online"), hybrid], None));
    let list = refused.reachable(&scope(None, None)).await.unwrap();
    assert_eq!(list.candidates.len(), 2);
    assert!(list.notes[0].contains("only what Session Manager knows"), "{:?}", list.notes);
}

#[tokio::test]
async fn a_list_joins_instances_agents_and_hybrid_nodes() {
    let fixture = Fixture::new().await;
    let hybrid = agent("mi-0123456789abcdef0", "ConnectionLost");
    let gone = agent("i-00000009", "ConnectionLost");
    fixture.server.answer(200, &page(&[agent("i-00000001", "Online"), gone, hybrid], None));
    let list = targets(&fixture, Some(Ok(vec![instance(1), instance(2)])));
    let list = list.reachable(&scope(None, None)).await.unwrap();
    let shown: Vec<(&str, AgentStatus)> =
        list.candidates.iter().map(|candidate| (candidate.node.as_str(), candidate.agent)).collect();
    let expected = [
        ("mi-0123456789abcdef0", AgentStatus::Lost),
        ("i-00000001", AgentStatus::Online),
        ("i-00000002", AgentStatus::Unregistered),
    ];
    assert_eq!(shown, expected, "an instance that does not run is none");
}

#[tokio::test]
async fn a_daemon_without_ec2_says_what_to_do() {
    let fixture = Fixture::new().await;
    for target in [web(), service()] {
        let fault = targets(&fixture, None).candidates(&scope(None, None), &target).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::InvalidArgument { field: "target".to_owned() });
        assert!(fault.detail.contains("name the node by its id"), "{fault}");
    }
}

fn service() -> Target {
    "ecs-service:main/web/app".parse().unwrap()
}

#[tokio::test]
async fn containers_come_with_their_agents_and_session_manager_is_not_asked() {
    let fixture = Fixture::new().await;
    let targets = with_containers(&fixture, Ok(vec![instance(1)]), Ok(vec![container()]));
    let found = targets.candidates(&scope(None, None), &service()).await.unwrap();
    assert_eq!(
        (found.candidates, found.notes),
        (vec![container()], vec!["looked for ecs-service:main/web/app".to_owned()])
    );
    let by_id = targets.candidates(&scope(None, None), &container().node.into()).await.unwrap();
    assert_eq!(by_id.candidates[0].agent, AgentStatus::Unknown);
    assert_eq!(fixture.server.requests(), Vec::<String>::new());
    let refused = with_containers(&fixture, Ok(Vec::new()), Err(denied("ecs:ListTasks")));
    let fault = refused.candidates(&scope(None, None), &service()).await.unwrap_err();
    assert!(
        fault.kind == denied("ecs:ListTasks").kind && fault.detail.contains("needs none of ECS"),
        "{fault}"
    );
}

#[tokio::test]
async fn a_list_has_containers_and_does_without_them() {
    let fixture = Fixture::new().await;
    let listed = async |instances, containers| {
        with_containers(&fixture, instances, containers).reachable(&scope(None, None)).await
    };
    fixture.server.answer(200, &page(&[agent("i-00000001", "Online")], None));
    let list = listed(Ok(vec![instance(1)]), Ok(vec![container()])).await.unwrap();
    assert_eq!((list.candidates.len(), list.candidates[1].clone(), list.notes.len()), (2, container(), 0));
    fixture.server.answer(200, &page(&[], None));
    let list = listed(Ok(vec![instance(1)]), Err(denied("ecs:ListClusters"))).await.unwrap();
    assert_eq!(list.candidates.len(), 1);
    assert!(list.notes[0].contains("no containers of ECS are listed"), "{:?}", list.notes);
    // Who may see nothing but containers sees those.
    let refusal = r#"{"__type":"AccessDeniedException","Message":"User: me is not authorized"}"#;
    let no_instances = || Err(denied("ec2:DescribeInstances"));
    fixture.server.answer(400, refusal);
    let list = listed(no_instances(), Ok(vec![container()])).await.unwrap();
    assert_eq!(list.candidates, [container()]);
    assert!(list.notes[0].contains("no instances are listed"), "{:?}", list.notes);
    fixture.server.answer(400, refusal);
    let fault = listed(no_instances(), Ok(Vec::new())).await.unwrap_err();
    assert_eq!(fault.kind, denied("ec2:DescribeInstances").kind);
}

#[tokio::test]
async fn whether_an_agent_is_connected_is_asked_of_session_manager() {
    let fixture = Fixture::new().await;
    let node = "i-0abcdef1234567890".parse().unwrap();
    for (status, connected) in [("connected", true), ("notconnected", false), ("something new", true)] {
        fixture.server.answer(200, &format!(r#"{{"Target":"{node}","Status":"{status}"}}"#));
        assert_eq!(fixture.ssm.is_connected(&scope(None, None), &node).await, Ok(connected), "{status}");
        let sent = fixture.server.requests().remove(0);
        assert!(sent.contains("x-amz-target: AmazonSSM.GetConnectionStatus"), "{sent}");
        assert!(sent.contains(r#"{"Target":"i-0abcdef1234567890"}"#), "{sent}");
    }
    let refusal = r#"{"__type":"AccessDeniedException","Message":"User: me is not authorized to perform: ssm:GetConnectionStatus on resource: x"}"#;
    fixture.server.answer(400, refusal);
    let fault = fixture.ssm.is_connected(&scope(None, None), &node).await.unwrap_err();
    assert!(
        matches!(&fault.kind, FaultKind::PermissionDenied { action, .. } if action == "ssm:GetConnectionStatus")
    );
}
