//! Command lines that cannot work: exit code, and a sentence that says what is wrong and what to do.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context as _, Result};
use aws_emulator::{Config, Injection};
use stormtunnel_e2e::DEADLINE;
use stormtunnel_e2e::process::Output;
use stormtunnel_e2e::scene::{Scene, state};

/// Words after `stctl`, the exit code, and what the sentence must hold.
type Row = (&'static str, i32, &'static [&'static str]);

/// A complete command that is right but for its end.
const ADD: &str = "tunnel add x --target i-0123456789abcdef0 --remote db.internal:5432";

const TABLE: &[Row] = &[
    // Ports.
    ("tunnel add x --target i-0123456789abcdef0 --remote db.internal:0", 2, &["--remote", "1 to 65535"]),
    ("tunnel add x --target i-0123456789abcdef0 --remote 65536", 2, &["--remote", "65536", "1 to 65535"]),
    (
        "tunnel add x --target i-0123456789abcdef0 --remote db.internal:abc",
        2,
        &["--remote", "abc", "1 to 65535"],
    ),
    ("tunnel add x --target i-0123456789abcdef0 --remote db.internal", 2, &["--remote", "write [HOST:]PORT"]),
    ("{add} --local 65536", 2, &["--local", "65536", "1 to 65535"]),
    ("{add} --local abc", 2, &["--local", "abc", "auto"]),
    // Names and targets.
    ("tunnel add DB --target i-0123456789abcdef0 --remote 80", 2, &["DB", "a to z, 0 to 9"]),
    ("tunnel add -x --target i-0123456789abcdef0 --remote 80", 2, &["-x"]),
    ("tunnel add x --target web --remote 80", 2, &["web", "instance id"]),
    ("tunnel add x --target i-12 --remote 80", 2, &["i-12", "8 to 17"]),
    ("tunnel add x --remote 80", 2, &["--target"]),
    // Regions and profiles: the form is checked at once.
    ("{add} --region europe", 2, &["europe", "eu-west-1"]),
    ("{add} --region eu-west", 2, &["eu-west", "eu-west-1"]),
    ("{add} --profile a]b", 2, &["a]b", "bracket"]),
    ("ls --region eu-west-1", 2, &["--region", "has no meaning"]),
    // Who may connect.
    ("{add} --local 0.0.0.0:15432", 2, &["0.0.0.0", "--allow-non-loopback"]),
    ("{add} --local [::]:15432", 2, &["--allow-non-loopback"]),
    // Tunnels there are and are not.
    ("up nothere", 6, &["there is no tunnel \"nothere\"", "stctl ls"]),
    ("down nothere", 6, &["there is no tunnel \"nothere\"", "stctl ls"]),
    ("tunnel show nothere", 6, &["there is no tunnel \"nothere\"", "stctl tunnel add"]),
    ("tunnel rm nothere", 6, &["there is no tunnel \"nothere\""]),
    ("wait nothere", 6, &["there is no tunnel \"nothere\""]),
    ("status nothere", 6, &["there is no tunnel \"nothere\""]),
    ("watch nothere", 6, &["there is no tunnel \"nothere\""]),
    ("tunnel edit nothere --remote 80", 6, &["there is no tunnel \"nothere\""]),
    (
        "tunnel add there --target i-0123456789abcdef0 --remote 81",
        7,
        &["already a tunnel \"there\"", "stctl tunnel edit there"],
    ),
    ("tunnel edit there --rename other", 7, &["already a tunnel \"other\"", "choose another name"]),
    ("wait there", 3, &["it is stopped", "stctl up there"]),
    // Settings.
    ("settings get tunnels.speed", 2, &["tunnels.speed", "stctl settings get"]),
    ("settings set tunnels.speed 1", 2, &["tunnels.speed", "stctl settings get"]),
    (
        "settings set tunnels.connect_timeout 5",
        2,
        &["tunnels.connect_timeout", "whole seconds from 10 to 120"],
    ),
    ("settings set tunnels.payload_bytes 100000", 2, &["a whole number from 1024 to 32768"]),
    ("settings set aws.endpoint_ssm http://10.0.0.1", 2, &["https://", "loopback"]),
    ("settings set log.filter stormtunneld=loud", 2, &["log.filter", "loud"]),
    // Grammar.
    ("", 2, &["Usage: stctl"]),
    ("lift db", 2, &["unrecognized subcommand 'lift'"]),
    ("up", 2, &["--all"]),
    ("up there --all", 2, &["cannot be used with"]),
    ("up there --timeout soon", 2, &["soon", "is not a time"]),
    ("ls -o xml", 2, &["xml", "json"]),
    ("ls --socket /{long}", 2, &["the socket path", "choose a shorter one with --socket"]),
];

#[tokio::test]
async fn every_mistake_gets_its_exit_code_and_a_sentence() -> Result<()> {
    let scene = Scene::start(Config::default()).await?;
    scene.add("there", "80").await?;
    scene.add("other", "80").await?;
    let mut wrong = Vec::new();
    for (line, code, fragments) in TABLE {
        let line = line.replace("{add}", ADD).replace("{long}", &"s".repeat(200));
        let words: Vec<&str> = line.split_whitespace().collect();
        let output = scene.stctl(&words).await?;
        if let Some(complaint) = complaint(&output, *code, fragments) {
            wrong.push(format!("stctl {line}\n  {complaint}\n  {output:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), TABLE.len(), wrong.join("\n"));
    let others = [
        port_in_use().await?,
        unknown_region().await?,
        offline_agent().await?,
        no_such_profile().await?,
        nobody_to_reach(&scene).await?,
    ];
    assert_eq!(
        scene.ok(&["ls", "-o", "name"]).await?,
        "other\nthere\n",
        "a refused command changed something"
    );
    println!("promise main.bad-input: {} command lines, {}", TABLE.len(), others.join(", "));
    Ok(())
}

fn complaint(output: &Output, code: i32, fragments: &[&str]) -> Option<String> {
    if output.code != code {
        return Some(format!("exit code {} instead of {code}", output.code));
    }
    if !output.stdout.is_empty() {
        return Some("something on standard output".to_owned());
    }
    let missing = fragments.iter().find(|fragment| !output.stderr.contains(**fragment))?;
    Some(format!("the sentence lacks {missing:?}"))
}

/// The process that holds the port is this one.
async fn port_in_use() -> Result<String> {
    let scene = Scene::start(Config::default()).await?;
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    scene.emulator().map_service("db.internal", 5432, holder.local_addr()?);
    let port = holder.local_addr()?.port();
    let line = format!("{ADD} --local {port} --up");
    let output = scene.stctl(&line.split_whitespace().collect::<Vec<_>>()).await?;
    let address = format!("local port 127.0.0.1:{port} is in use");
    let remedy = "choose another with `stctl tunnel edit x --local PORT`";
    assert_eq!(complaint(&output, 7, &[&address, remedy]), None, "{output:?}");
    let me = std::process::id().to_string();
    let named = !cfg!(target_os = "linux") || output.stderr.contains(&me);
    assert!(named, "process {me} holds the port, and the system tells: {}", output.stderr);
    let mut watch = scene.watch("x").await?;
    drop(holder);
    // The port is free: the tunnel takes it by itself.
    watch.until_tunnel(DEADLINE, |tunnel| state(tunnel) == "up").await.context("the port is free again")?;
    Ok("port in use with its holder".to_owned())
}

/// A region that has the right form and no such instance.
async fn unknown_region() -> Result<String> {
    let scene = Scene::start(Config::default()).await?;
    let line = format!("{ADD} --region eu-west-9 --up");
    let output = scene.stctl(&line.split_whitespace().collect::<Vec<_>>()).await?;
    let fragments =
        ["i-0123456789abcdef0 is not connected to Session Manager in eu-west-9", "check instance id, region"];
    assert_eq!(complaint(&output, 6, &fragments), None, "{output:?}");
    Ok("unknown region".to_owned())
}

async fn offline_agent() -> Result<String> {
    let scene = Scene::start(Config::default()).await?;
    let instance = scene.emulator().instance().to_owned();
    scene.emulator().inject(Injection::InstanceOffline { instance, offline: true });
    let line = format!("{ADD} --up");
    let output = scene.stctl(&line.split_whitespace().collect::<Vec<_>>()).await?;
    let fragments = [
        "i-0123456789abcdef0 is not connected to Session Manager in eu-central-1",
        "the SSM agent runs there",
    ];
    assert_eq!(complaint(&output, 6, &fragments), None, "{output:?}");
    Ok("agent offline".to_owned())
}

async fn no_such_profile() -> Result<String> {
    let scene = Scene::start(Config::default()).await?;
    let line = format!("{ADD} --profile nobodys --region eu-central-1 --up");
    let output = scene.stctl(&line.split_whitespace().collect::<Vec<_>>()).await?;
    let fragments = ["there is no AWS profile \"nobodys\"", "stctl tunnel edit x --profile"];
    assert_eq!(complaint(&output, 6, &fragments), None, "{output:?}");
    Ok("no such profile".to_owned())
}

/// No daemon, and none may be started.
async fn nobody_to_reach(scene: &Scene) -> Result<String> {
    let socket = scene.sandbox().directory().join("none.sock");
    let mut command = scene.command(&["ls", "--socket", &socket.to_string_lossy()]);
    command.env("STCTL_NO_AUTOSTART", "1");
    let output = stormtunnel_e2e::process::run(command, DEADLINE).await?;
    let socket = socket.to_string_lossy();
    assert_eq!(
        complaint(&output, 5, &["the daemon is not running", &socket, "stctl daemon run"]),
        None,
        "{output:?}"
    );
    Ok("no daemon".to_owned())
}
