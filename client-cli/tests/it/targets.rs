//! `stctl targets`, and targets that are looked for.

use stormtunnel_model::{AgentStatus, Candidate, Timestamp, TunnelState};
use stormtunnel_proto::calls::TargetList;

use crate::fake::Fake;
use crate::support::{running, stctl, stctl_with};

pub(crate) fn candidate(node: &str, name: Option<&str>, agent: AgentStatus) -> Candidate {
    Candidate {
        node: node.parse().unwrap(),
        name: name.map(str::to_owned),
        address: Some([10, 0, 1, 7].into()),
        agent,
        platform: Some("Amazon Linux".to_owned()),
        launched_at: Some(Timestamp::from_millis(1_700_000_000_000)),
    }
}

pub(crate) fn found(candidates: Vec<Candidate>, notes: Vec<String>) -> TargetList {
    TargetList { region: "eu-west-1".parse().unwrap(), candidates, notes }
}

#[tokio::test]
async fn what_can_be_reached_is_listed_in_every_form() {
    Fake::beside(Vec::new(), async |fake| {
        let hybrid = Candidate {
            address: None,
            platform: None,
            launched_at: None,
            ..candidate("mi-0123456789abcdef0", None, AgentStatus::Lost)
        };
        let web = candidate("i-0abcdef1234567890", Some("web"), AgentStatus::Online);
        fake.find(found(vec![web, hybrid], vec!["only what Session Manager knows".to_owned()]));
        let mut shown = stctl(fake.socket(), "targets").await.shown();
        shown += &stctl(fake.socket(), "targets -o wide").await.shown();
        shown += &stctl(fake.socket(), "targets -o name").await.shown();
        insta::assert_snapshot!("targets", shown);
        let json = stctl(fake.socket(), "targets -o json").await.json();
        assert_eq!((&json[0]["node"], &json[0]["agent"]), (&"i-0abcdef1234567890".into(), &"online".into()));
        assert_eq!(json[1]["name"], serde_json::Value::Null);
    })
    .await;
}

#[tokio::test]
async fn profile_and_region_come_from_flags_and_then_from_the_environment() {
    Fake::beside(Vec::new(), async |fake| {
        fake.find(found(Vec::new(), Vec::new()));
        let variables = [("STCTL_PROFILE", "dev"), ("AWS_REGION", "us-east-1")];
        let ran = stctl_with(fake.socket(), &variables, "targets").await;
        assert!(ran.code == 0 && ran.err.contains("nothing can be gone through in eu-west-1"), "{ran:?}");
        let line = "targets tag:Env=prod --profile prod --region eu-west-1";
        let ran = stctl_with(fake.socket(), &variables, line).await;
        assert_eq!(ran.code, 6, "{ran:?}");
        assert!(ran.err.contains("nothing that runs in eu-west-1 is tag:Env=prod"), "{ran:?}");
        assert!(ran.err.contains("fix: ") && ran.err.contains("stctl targets"), "{ran:?}");
        assert_eq!(fake.asked(), ["targets dev us-east-1 -", "targets prod eu-west-1 tag:Env=prod"]);
    })
    .await;
}

#[tokio::test]
async fn a_tunnel_takes_every_form_of_target_and_shows_its_node() {
    Fake::beside(Vec::new(), async |fake| {
        let task = "ecs-task:main/0123456789abcdef0123456789abcdef";
        for target in [
            "name:web",
            "tag:Env=prod,Role=db",
            "asg:web",
            "ip:10.0.1.2",
            "dns:a.ec2.internal",
            "ecs-service:main/web/app",
            task,
        ] {
            let ran = stctl(fake.socket(), &format!("tunnel add db --target {target} --remote 80")).await;
            assert!(ran.code == 0 && ran.out.contains(&format!("via {target}")), "{ran:?}");
        }
        let wrong = stctl(fake.socket(), "tunnel add db --target web --remote 80").await;
        assert!(wrong.code == 2 && wrong.err.contains("name:VALUE"), "{wrong:?}");
        let wrong = stctl(fake.socket(), "tunnel add db --target ecs-service:web --remote 80").await;
        assert!(wrong.code == 2 && wrong.err.contains("ecs-service:CLUSTER/SERVICE/CONTAINER"), "{wrong:?}");
    })
    .await;
    let mut tunnel = running("db", "db.internal:5432", "15432", TunnelState::Up);
    tunnel.spec.target = "tag:Env=prod".parse().unwrap();
    tunnel.status.node = Some("i-0abcdef1234567890".parse().unwrap());
    Fake::beside(vec![tunnel], async |fake| {
        let status = stctl(fake.socket(), "status db").await.out;
        let broken = "via tag:Env=prod (i-0abcdef1234567890,\n              eu-west-1)";
        assert!(status.contains(broken), "{status}");
        let wide = stctl(fake.socket(), "ls -o wide").await.out;
        assert!(wide.contains("NODE") && wide.contains("i-0abcdef1234567890"), "{wide}");
        let json = stctl(fake.socket(), "ls -o json").await.json();
        assert_eq!(json[0]["status"]["node"], "i-0abcdef1234567890");
    })
    .await;
}
