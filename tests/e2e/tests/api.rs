//! Promises of the API and of the settings that need a daemon with everything in it.

use std::time::Duration;

use anyhow::Result;
use aws_emulator::Config;
use stormtunnel_e2e::scene::Scene;
use stormtunnel_model::{FaultKind, Labels, RequestId, TunnelSpec};
use stormtunnel_proto::calls::CreateTunnel;
use stormtunnel_proto::{CallError, Client};
use tokio::time::Instant;

/// Editors write in several steps, so the daemon lets a file settle; its net under the watch is a poll every 30 s.
const WATCHED: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_repeated_wish_is_granted_once() -> Result<()> {
    let scene = Scene::start(Config::default()).await?;
    scene.ok(&["ls"]).await?;
    let client = Client::connect(&scene.sandbox().socket()).await?;
    let spec = TunnelSpec {
        name: "db".parse()?,
        profile: None,
        region: None,
        target: scene.emulator().instance().parse()?,
        remote: "db.internal:5432".parse()?,
        local: "auto".parse()?,
        allow_non_loopback: false,
        labels: Labels::new(),
        keep: Default::default(),
        sessions: Default::default(),
        reason: None,
        ttl: None,
    };
    let create =
        CreateTunnel { request_id: Some(RequestId("wish-1".to_owned())), spec: spec.clone(), start: false };
    let first = client.create_tunnel(create.clone()).await?;
    scene.ok(&["tunnel", "edit", "db", "--remote", "other.internal:5432"]).await?;
    // The repeat comes late: it must neither fail nor undo what was done since.
    let again = client.create_tunnel(create.clone()).await?;
    assert_eq!((again.id, again.created_at), (first.id, first.created_at));
    assert_eq!(again.spec.remote.to_string(), "other.internal:5432");

    let same_name = CreateTunnel { request_id: Some(RequestId("wish-2".to_owned())), ..create };
    match client.create_tunnel(same_name).await {
        Err(CallError::Fault(fault)) => {
            assert_eq!(fault.kind, FaultKind::TunnelExists { tunnel: "db".to_owned() });
        }
        other => panic!("{other:?}"),
    }
    let names: Vec<String> =
        client.list_tunnels().await?.iter().map(|tunnel| tunnel.spec.name.to_string()).collect();
    assert_eq!(names, ["db"]);
    Ok(())
}

#[tokio::test]
async fn settings_change_at_once_and_keep_their_comments() -> Result<()> {
    const KEY: &str = "tunnels.connect_timeout";
    let scene = Scene::start(Config::default()).await?;
    let get = async || scene.ok(&["settings", "get", KEY]).await;
    assert_eq!(get().await?, "30\n");

    let path = scene.ok(&["settings", "path"]).await?;
    assert_eq!(path.trim_end(), scene.sandbox().config_file().to_string_lossy());
    scene.ok(&["settings", "set", KEY, "45"]).await?;
    assert_eq!(get().await?, "45\n");

    let file = std::fs::read_to_string(path.trim_end())?;
    std::fs::write(path.trim_end(), format!("# of my own\n{}", file.replace("45", "50")))?;
    let start = Instant::now();
    while get().await? != "50\n" {
        assert!(start.elapsed() < WATCHED, "an edited file is not taken over");
    }
    scene.ok(&["settings", "set", KEY, "120"]).await?;
    let file = std::fs::read_to_string(path.trim_end())?;
    assert!(file.starts_with("# of my own\n") && file.contains("120"), "{file}");

    for outside in ["9", "121", "ten"] {
        let refused = scene.stctl(&["settings", "set", KEY, outside]).await?;
        assert_eq!(refused.code, 2, "{outside}: {refused:?}");
        assert!(refused.stderr.contains("whole seconds from 10 to 120"), "{}", refused.stderr);
        assert_eq!(get().await?, "120\n");
    }
    scene.ok(&["settings", "unset", KEY]).await?;
    assert_eq!(get().await?, "30\n");
    Ok(())
}
