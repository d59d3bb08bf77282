//! The target service.

use stormtunnel_engine::testing::candidate;
use stormtunnel_model::{AgentStatus, Fault, FaultKind};
use stormtunnel_proto::calls::ListTargets;

use super::{Daemon, fault};

const LOST: &str = "i-0aaaaaaaaaaaaaaaa";
const ONLINE: &str = "i-0bbbbbbbbbbbbbbbb";

fn in_ireland(target: Option<&str>) -> ListTargets {
    let target = target.map(|target| target.parse().unwrap());
    ListTargets { profile: None, region: Some("eu-west-1".parse().unwrap()), target }
}

#[tokio::test]
async fn what_is_online_comes_first() {
    let daemon = Daemon::start().await;
    let client = daemon.client().await;
    let found = [candidate(LOST, AgentStatus::Lost, 2), candidate(ONLINE, AgentStatus::Online, 1)];
    daemon.world.targets.set(found.to_vec());
    let list = client.list_targets(in_ireland(None)).await.unwrap();
    assert_eq!(list.region.as_str(), "eu-west-1");
    let nodes: Vec<&str> = list.candidates.iter().map(|candidate| candidate.node.as_str()).collect();
    assert_eq!(nodes, [ONLINE, LOST]);
    client.list_targets(in_ireland(Some("name:web"))).await.unwrap();
    assert_eq!(daemon.world.targets.asked(), ["name:web".parse().unwrap()]);
    daemon.stop().await;
}

#[tokio::test]
async fn a_search_that_fails_says_why() {
    let daemon = Daemon::start().await;
    let denied = FaultKind::PermissionDenied {
        principal: String::new(),
        action: "ec2:DescribeInstances".to_owned(),
        resource: String::new(),
    };
    daemon.world.targets.fail_next(Fault::new(denied.clone(), ""));
    let client = daemon.client().await;
    assert_eq!(fault(client.list_targets(in_ireland(None)).await).kind, denied);
    daemon.stop().await;
}
