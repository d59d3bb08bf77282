//! The log: what each line is about, and how much of it is written while the daemon runs.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use aws_emulator::{Config, Injection};
use serde_json::Value;
use stormtunnel_e2e::bulk::EchoServer;
use stormtunnel_e2e::scene::{HOST, PORT, Scene};

/// Parts of the engine whose every line is about one tunnel.
const OF_ONE_TUNNEL: [&str; 3] = [
    "stormtunnel_engine::tunnel::actor",
    "stormtunnel_engine::tunnel::session_task",
    "stormtunnel_engine::tunnel::effects",
];

/// The lines of a JSON log from there on, and where it ends.
fn lines(scene: &Scene, from: usize) -> Result<(Vec<Value>, usize)> {
    let text = fs::read_to_string(scene.sandbox().log_file())?;
    let lines = text[from..].lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    Ok((lines, text.len()))
}

/// Has AWS refuse sessions, and each tunnel ask for one.
async fn refused(scene: &Scene, tunnels: &[&str]) -> Result<()> {
    scene.emulator().inject(Injection::Deny { action: "ssm:StartSession".to_owned(), denied: true });
    for tunnel in tunnels {
        let restarted = scene.stctl(&["restart", tunnel]).await?;
        ensure!(restarted.code != 0, "{tunnel} is up though AWS refuses it");
    }
    scene.emulator().inject(Injection::Deny { action: "ssm:StartSession".to_owned(), denied: false });
    for tunnel in tunnels {
        scene.ok(&["restart", tunnel]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn each_line_says_what_it_is_about_and_one_tunnel_can_be_looked_at_alone() -> Result<()> {
    let echo = EchoServer::start().await?;
    let scene = Scene::start(Config::default()).await?;
    scene.emulator().map_service(HOST, PORT, echo.address());
    scene.ok(&["settings", "set", "log.json", "true"]).await?;
    scene.ok(&["daemon", "stop"]).await?;
    // The next command starts the daemon again.
    let began = fs::metadata(scene.sandbox().log_file())?.len();
    for tunnel in ["db", "web"] {
        scene.add(tunnel, &format!("{HOST}:{PORT}")).await?;
        scene.ok(&["up", tunnel]).await?;
    }

    refused(&scene, &["db", "web"]).await?;
    let (at_info, end) = lines(&scene, usize::try_from(began)?)?;
    ensure!(at_info.iter().all(|line| line["level"] != "DEBUG"), "the default is INFO");
    let target = |line: &Value| line["target"].as_str().unwrap_or_default().to_owned();
    let of_tunnels: Vec<&Value> =
        at_info.iter().filter(|line| OF_ONE_TUNNEL.contains(&target(line).as_str())).collect();
    for line in &of_tunnels {
        let span = &line["span"];
        ensure!(span["tunnel"] == "db" || span["tunnel"] == "web", "about no tunnel: {line}");
        ensure!(span["id"].is_string(), "{line}");
    }
    let up = |tunnel: &str| {
        let is_up = |line: &&&Value| line["span"]["tunnel"] == tunnel && line["message"] == "tunnel is Up";
        of_tunnels.iter().filter(is_up).count()
    };
    ensure!(up("db") == 2 && up("web") == 2, "{of_tunnels:?}");
    ensure!(of_tunnels.iter().any(|line| line["message"] == "tunnel is Up" && line["attempt"] == 1));

    scene.ok(&["settings", "set", "log.filter", "info,[{tunnel=db}]=debug"]).await?;
    refused(&scene, &["db", "web"]).await?;
    let (raised, end) = lines(&scene, end)?;
    let debug: Vec<&Value> = raised.iter().filter(|line| line["level"] == "DEBUG").collect();
    let failed = debug.iter().find(|line| line["message"] == "AWS call failed");
    let failed = failed.with_context(|| format!("nothing below INFO about db: {raised:?}"))?;
    ensure!(failed["span"]["tunnel"] == "db" && failed["span"]["attempt"].is_u64(), "{failed}");
    ensure!(debug.iter().all(|line| line["span"]["tunnel"] == "db"), "{debug:?}");

    // The tunnel is another one by its name from now on, and the same by its id.
    scene.ok(&["tunnel", "edit", "db", "--rename", "pg"]).await?;
    scene.ok(&["settings", "set", "log.filter", "info"]).await?;
    refused(&scene, &["pg"]).await?;
    let (renamed, _) = lines(&scene, end)?;
    let of_pg = renamed.iter().find(|line| line["span"]["tunnel"] == "pg").context("no line about pg")?;
    ensure!(of_pg["span"]["id"] == failed["span"]["id"], "{of_pg}");
    let after = renamed.iter().skip_while(|line| line["span"]["tunnel"] != "pg");
    ensure!(after.into_iter().all(|line| line["level"] != "DEBUG"), "{renamed:?}");
    println!(
        "promise logs.spans: {} lines of 2 tunnels say which; `[{{tunnel=db}}]=debug` set at run time: {} lines below INFO, all of db",
        of_tunnels.len(),
        debug.len()
    );
    Ok(())
}
