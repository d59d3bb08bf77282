//! Targets that have to be looked for: found, replaced, listed, and missing.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use aws_emulator::{Config, Counter, Injection, Instance};
use serde_json::Value;
use stormtunnel_e2e::bulk::EchoServer;
use stormtunnel_e2e::scene::{HOST, PORT, Scene, state};
use stormtunnel_e2e::{DEADLINE, local};
use tokio::time::{Instant, timeout};

const OLD: &str = "i-0aaaaaaaaaaaaaaaa";
const NEW: &str = "i-0bbbbbbbbbbbbbbbb";
const OTHER: &str = "i-0cccccccccccccccc";

const OLD_TASK: &str = "0000000000000000000000000000000a";
const NEW_TASK: &str = "0000000000000000000000000000000b";

/// How long a replaced instance may keep new connections waiting.
const REPLACED: Duration = Duration::from_secs(15);

/// How long an application waits for an answer before it tries again.
const ATTEMPT: Duration = Duration::from_secs(1);

fn bastion(id: &str) -> Instance {
    Instance::new(id).tagged("Role", "bastion").tagged("Name", "bastion").at([10, 0, 1, 2])
}

/// A container of a task of the service `web` in the cluster `main`.
fn container(task: &str, name: &str) -> Instance {
    Instance::new(format!("ecs:main_{task}_{name}-1")).container("web", name).at([10, 0, 9, 9])
}

fn config(instances: Vec<Instance>) -> Config {
    Config { instances, ..Config::default() }
}

/// A tunnel `db` through whatever `target` is, up, with an echo service behind it; and its port.
async fn through(target: &str, instances: Vec<Instance>) -> Result<(Scene, EchoServer, u16)> {
    let echo = EchoServer::start().await?;
    let scene = Scene::start(config(instances)).await?;
    scene.emulator().map_service(HOST, PORT, echo.address());
    scene.ok(&["tunnel", "add", "db", "--target", target, "--remote", &format!("{HOST}:{PORT}")]).await?;
    scene.ok(&["up", "db"]).await?;
    let port = scene.port("db").await?;
    Ok((scene, echo, port))
}

fn node(tunnel: &Value) -> &str {
    tunnel["status"]["node"].as_str().unwrap_or("?")
}

#[tokio::test]
async fn every_form_of_target_leads_through_its_instance() -> Result<()> {
    let group = "aws:autoscaling:groupName";
    let other = Instance::new(OTHER).tagged("Name", "batch").tagged(group, "batch").at([10, 0, 7, 7]);
    let instances = vec![bastion(OLD).launched("2025-01-01T00:00:00Z"), bastion(NEW), other];
    let (scene, _echo, port) = through("tag:Role=bastion,Name=bastion", instances).await?;
    local::echo(&mut local::connect(port, DEADLINE).await?, "through the newest\n", DEADLINE).await?;
    assert_eq!(node(&scene.tunnel("db").await?), NEW);
    let wide = scene.ok(&["ls", "-o", "wide"]).await?;
    assert!(wide.contains("tag:Role=bastion") && wide.contains(NEW), "{wide}");

    let dns = format!("dns:ip-10-0-7-7.{}.compute.internal", scene.emulator().region());
    for target in ["name:batch", "asg:batch", "ip:10.0.7.7", &dns] {
        scene.ok(&["tunnel", "edit", "db", "--target", target]).await?;
        scene.ok(&["up", "db"]).await.with_context(|| target.to_owned())?;
        let tunnel = scene.tunnel("db").await?;
        assert_eq!((node(&tunnel), state(&tunnel)), (OTHER, "up"), "{target}");
        local::echo(&mut local::connect(port, DEADLINE).await?, "through the other\n", DEADLINE).await?;
    }
    let events = scene.json(&["events", "db"]).await?;
    let chosen = events.as_array().into_iter().flatten().find(|event| event["kind"] == "node_chosen");
    let chosen = chosen.context("the history does not name the node")?;
    assert_eq!(chosen["node"], NEW);
    assert!(chosen["session_id"].is_string(), "{chosen}");
    Ok(())
}

#[tokio::test]
async fn an_instance_that_is_replaced_behind_a_tag_is_followed() -> Result<()> {
    let replaced = |end| replaced("tag:Role=bastion", [bastion(OLD), bastion(NEW)], end);
    let (ended, silent) = tokio::try_join!(replaced(true), replaced(false))?;
    println!(
        "promise main.replaced: the new instance after {:.1} s when AWS ends the session, after {:.1} s when it only falls \
         silent",
        ended.as_secs_f64(),
        silent.as_secs_f64(),
    );
    Ok(())
}

#[tokio::test]
async fn a_task_that_is_replaced_in_its_service_is_followed() -> Result<()> {
    let tasks = [OLD_TASK, NEW_TASK].map(|task| container(task, "app"));
    let replaced = |end| replaced("ecs-service:main/web", tasks.clone(), end);
    tokio::try_join!(replaced(true), replaced(false)).map(drop)
}

/// What a target stands for goes, the next one comes, and nobody types anything. Answers how long it took until a new
/// connection reached the next one.
async fn replaced(target: &str, [old, new]: [Instance; 2], end_sessions: bool) -> Result<Duration> {
    let (old_id, new_id) = (old.id.clone(), new.id.clone());
    let (scene, _echo, port) = through(target, vec![old]).await?;
    local::echo(&mut local::connect(port, DEADLINE).await?, "before\n", DEADLINE).await?;
    assert_eq!(node(&scene.tunnel("db").await?), old_id);

    let begin = Instant::now();
    scene.emulator().inject(Injection::TerminateInstance { instance: old_id, end_sessions });
    scene.emulator().inject(Injection::AddInstance { instance: new });
    // What connects before the daemon knows is lost with the old session; it tries again, as applications do.
    let reached = async {
        // The old agent may hear of its end a moment late, and echo once more.
        while !echoes(port).await || node(&scene.tunnel("db").await?) != new_id {}
        Ok::<_, anyhow::Error>(())
    };
    timeout(2 * DEADLINE, reached).await.context("nobody is reached any more")??;
    let took = begin.elapsed();
    let history = scene.ok(&["events", "db"]).await?;
    ensure!(took < REPLACED, "{took:?} until the next one was reached\n{history}");
    Ok(took)
}

/// Whether a new connection reaches the service soon. One that was there before may be reset with its session, or wait for
/// an answer that died with its instance.
async fn echoes(port: u16) -> bool {
    let Ok(mut connection) = local::connect(port, ATTEMPT).await else { return false };
    local::echo(&mut connection, "is anybody there?\n", ATTEMPT).await.is_ok()
}

#[tokio::test]
async fn what_can_be_reached_is_listed_with_as_much_as_is_allowed() -> Result<()> {
    let unregistered = Instance { registered: false, ..Instance::new(OTHER).tagged("Name", "new") };
    let instances = vec![bastion(OLD), bastion(NEW), unregistered, Instance::new("mi-0123456789abcdef0")];
    let scene = Scene::start(config(instances)).await?;
    scene.emulator().inject(Injection::InstanceOffline { instance: OLD.to_owned(), offline: true });
    let shown = |list: &Value| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let list = list.as_array().cloned().unwrap_or_default();
        list.iter().map(|target| (text(&target["node"]), text(&target["agent"]))).collect()
    };
    let pair = |node: &str, agent: &str| (node.to_owned(), agent.to_owned());
    let list = scene.json(&["targets"]).await?;
    let expected = [
        pair("mi-0123456789abcdef0", "online"),
        pair(NEW, "online"),
        pair(OLD, "lost"),
        pair(OTHER, "unregistered"),
    ];
    assert_eq!(shown(&list), expected);
    assert_eq!(list[1]["address"], "10.0.1.2");
    let table = scene.ok(&["targets", "name:bastion"]).await?;
    assert!(table.contains("bastion") && table.contains(NEW) && !table.contains(OTHER), "{table}");

    let deny = |action: &str| Injection::Deny { action: action.to_owned(), denied: true };
    scene.emulator().inject(deny("ssm:DescribeInstanceInformation"));
    let list = scene.json(&["targets"]).await?;
    assert!(shown(&list).iter().all(|(_, agent)| agent == "unknown"), "{list}");
    let blind = scene.stctl(&["targets"]).await?;
    assert!(blind.stderr.contains("ssm:DescribeInstanceInformation"), "{}", blind.stderr);
    scene.emulator().inject(deny("ec2:DescribeInstances"));
    let refused = scene.stctl(&["targets"]).await?;
    ensure!(refused.code == 8 && refused.stderr.contains("ec2:DescribeInstances"), "{refused:?}");
    Ok(())
}

/// Nothing is known of the agents: StartSession has to tell, and the next attempt goes through another one.
#[tokio::test]
async fn without_the_permission_to_ask_for_agents_a_tunnel_fails_over() -> Result<()> {
    let older = bastion(OLD).launched("2025-01-01T00:00:00Z");
    let scene = Scene::start(config(vec![older, bastion(NEW)])).await?;
    let action = "ssm:DescribeInstanceInformation".to_owned();
    scene.emulator().inject(Injection::Deny { action, denied: true });
    scene.emulator().inject(Injection::InstanceOffline { instance: NEW.to_owned(), offline: true });
    scene.ok(&["tunnel", "add", "db", "--target", "tag:Role=bastion", "--remote", "5432"]).await?;
    scene.ok(&["up", "db", "--wait"]).await?;
    assert_eq!(node(&scene.tunnel("db").await?), OLD);
    assert_eq!(scene.emulator().counters().value(Counter::ApiTargetNotConnected), 1);
    Ok(())
}

#[tokio::test]
async fn a_target_that_nothing_fits_says_what_was_looked_for_and_what_to_do() -> Result<()> {
    let scene = Scene::start(config(vec![bastion(OLD)])).await?;
    scene.ok(&["tunnel", "add", "db", "--target", "tag:Role=nobody", "--remote", "5432"]).await?;
    let up = scene.stctl(&["up", "db"]).await?;
    assert_eq!(up.code, 6, "{up:?}");
    let region = scene.emulator().region();
    for part in [
        &format!("nothing that runs in {region} is tag:Role=nobody"),
        "tag \"Role\" = \"nobody\"",
        "fix: ",
        "`stctl targets`",
        "stctl tunnel edit db --target",
    ] {
        ensure!(up.stderr.contains(part), "{part} in {}", up.stderr);
    }
    let listed = scene.stctl(&["targets", "tag:Role=nobody"]).await?;
    ensure!(listed.code == 6 && listed.stderr.contains("fix: "), "{listed:?}");
    if scene.emulator().counters().value(Counter::SessionsStarted) > 0 {
        bail!("a session was started through nobody");
    }
    // An agent that is away is another matter.
    scene.emulator().inject(Injection::InstanceOffline { instance: OLD.to_owned(), offline: true });
    scene.ok(&["tunnel", "edit", "db", "--target", "name:bastion"]).await?;
    let up = scene.stctl(&["up", "db"]).await?;
    ensure!(up.code == 6 && up.stderr.contains(&format!("{OLD} (bastion) is lost")), "{up:?}");
    // It comes back, and nobody has to do anything.
    scene.emulator().inject(Injection::InstanceOffline { instance: OLD.to_owned(), offline: false });
    scene.ok(&["wait", "db"]).await.map(drop)
}

#[tokio::test]
async fn a_container_is_found_by_service_or_by_task_and_named_where_there_are_several() -> Result<()> {
    let instances = vec![container(OLD_TASK, "app"), container(OLD_TASK, "proxy"), bastion(OLD)];
    let (app, proxy) = (instances[0].id.clone(), instances[1].id.clone());
    let (scene, _echo, port) = through("ecs-service:main/web/app", instances).await?;
    let of_task = format!("ecs-task:main/{OLD_TASK}/proxy");
    for (target, wanted) in [("ecs-service:main/web/app", &app), (&of_task, &proxy), (&app, &app)] {
        scene.ok(&["tunnel", "edit", "db", "--target", target]).await?;
        scene.ok(&["up", "db"]).await.with_context(|| target.to_owned())?;
        assert_eq!(node(&scene.tunnel("db").await?), wanted, "{target}");
        local::echo(&mut local::connect(port, DEADLINE).await?, "through a task\n", DEADLINE).await?;
    }
    for (target, code, says) in [
        ("ecs-service:main/web", 2, "app, proxy; name one of them, as in ecs-service:main/web/app"),
        ("ecs-service:main/api", 6, "ECS knows no service of that name"),
        ("ecs-service:other/web", 6, "ECS knows no cluster of that name"),
    ] {
        let listed = scene.stctl(&["targets", target]).await?;
        scene.ok(&["tunnel", "edit", "db", "--target", target]).await?;
        let up = scene.stctl(&["up", "db"]).await?;
        for ran in [listed, up] {
            ensure!(ran.code == code && ran.stderr.contains(says), "{target}: {ran:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn containers_are_listed_beside_instances_as_far_as_ecs_lets_us() -> Result<()> {
    let without_exec = Instance { registered: false, ..container(NEW_TASK, "app") };
    let scene = Scene::start(config(vec![container(OLD_TASK, "app"), without_exec, bastion(OLD)])).await?;
    let list = scene.json(&["targets"]).await?;
    let shown: Vec<_> =
        list.as_array().into_iter().flatten().map(|target| (&target["name"], &target["agent"])).collect();
    let expected = [("bastion", "online"), ("web/app", "online"), ("web/app", "unregistered")];
    assert_eq!(
        shown,
        expected.map(|(name, agent)| (name.into(), agent.into())).each_ref().map(|(n, a)| (n, a))
    );
    assert_eq!(list[1]["address"], "10.0.9.9");

    let off = format!("ecs-task:main/{NEW_TASK}");
    scene.ok(&["tunnel", "add", "db", "--target", &off, "--remote", "5432"]).await?;
    let up = scene.stctl(&["up", "db"]).await?;
    ensure!(up.code == 6 && up.stderr.contains("--enable-execute-command"), "{up:?}");

    scene.emulator().inject(Injection::Deny { action: "ecs:ListClusters".to_owned(), denied: true });
    let blind = scene.stctl(&["targets"]).await?;
    ensure!(blind.code == 0 && blind.stderr.contains("no containers of ECS are listed"), "{blind:?}");
    ensure!(blind.stderr.contains("ecs:ListClusters") && blind.stdout.contains(OLD), "{blind:?}");
    scene.emulator().inject(Injection::Deny { action: "ecs:ListTasks".to_owned(), denied: true });
    let refused = scene.stctl(&["targets", "ecs-service:main/web"]).await?;
    ensure!(refused.code == 8 && refused.stderr.contains("ecs:ListTasks"), "{refused:?}");
    Ok(())
}
