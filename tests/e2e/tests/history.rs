//! What happened is known afterwards: after drops, refusals, a person's mistake, a kill and a restart. No secret is in it.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_emulator::{AccessKey, Config, Counter, Injection};
use serde_json::Value;
use stormtunnel_e2e::bulk::EchoServer;
use stormtunnel_e2e::process::{self, Signal};
use stormtunnel_e2e::scene::{PORT, Scene};
use stormtunnel_e2e::watch::Watch;
use stormtunnel_e2e::{DEADLINE, bulk, local};

/// A part of a secret that is long enough not to turn up by chance.
const TELLING: usize = 16;

/// What passes before the drop.
const FIRST: &str = "one\n";

#[tokio::test]
async fn history_survives_a_kill_and_holds_no_secret() -> Result<()> {
    let canary = hex::encode(bulk::bytes(17, 60));
    let secret = hex::encode(bulk::bytes(19, 20));
    let key = AccessKey::new("ASIATESTEXAMPLE00002", secret, Some(canary));
    let echo = EchoServer::start().await?;
    let config = Config { access_keys: vec![key], ..Config::default() };
    let (scene, port) = Scene::with_tunnel(config, echo.address()).await?;
    let mut follow = follow(&scene).await?;

    refuse(&scene, &mut follow).await?;
    let mut shown = block(&scene, &mut follow).await?;
    let resumed = drop_and_resume(&scene, port, &mut follow).await?;
    who(&scene).await?;
    stored(&scene.sandbox().state_dir(), "\"session_resumed\"").await?;

    let pid = scene.daemon_pid().await?;
    process::send_signal(pid, Signal::KILL)?;
    process::gone(pid, DEADLINE).await?;
    scene.ok(&["wait", "db"]).await?;

    let seen: Vec<u64> = follow.history().iter().map(id).filter(|id| *id <= resumed).collect();
    let kept = events(&scene, &["--limit", "1000"]).await?;
    let ids: Vec<u64> = kept.iter().map(id).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
    assert!(ids.starts_with(&seen), "{seen:?} before the kill, {ids:?} after it");
    let later: Vec<&str> = kept.iter().filter(|event| id(event) > resumed).map(kind).collect();
    let started = later.iter().position(|kind| *kind == "daemon_started").context("no start")?;
    assert!(later[started..].contains(&"session_started"), "{later:?}");
    assert!(!later[..started].contains(&"daemon_stopping"), "a killed daemon does not say goodbye");
    // Stored with the event: what passed before the drop, both ways.
    let carried = figures(&scene, "since_created").await?;
    assert!(carried >= 2 * FIRST.len() as u64, "{carried} bytes");
    assert_eq!(figures(&scene, "since_started").await?, 0);

    restart_in_order(&scene).await?;
    shown.extend(everything(&scene).await?);
    no_secret(&scene, &shown)
}

/// All events, line by line.
async fn follow(scene: &Scene) -> Result<Watch> {
    let mut follow =
        Watch::start(scene.command(&["events", "--follow", "-o", "json", "--limit", "1000"]), DEADLINE)
            .await?;
    until(&mut follow, "db", "up").await?;
    // The machine that runs this may have a network that changes.
    let of_machine = |kind: &&str| ["woke", "network_changed", "clock_jumped"].contains(kind);
    let kinds: Vec<&str> = follow.history().iter().map(kind).filter(|kind| !of_machine(kind)).collect();
    assert_eq!(kinds, ["daemon_started", "created", "intent_changed", "connecting", "session_started", "up"]);
    Ok(follow)
}

async fn until(follow: &mut Watch, tunnel: &str, wanted: &str) -> Result<Value> {
    follow.until(DEADLINE, |event| event["tunnel"] == tunnel && event["kind"] == wanted).await
}

/// A tunnel to a port on which nobody listens.
async fn refuse(scene: &Scene, follow: &mut Watch) -> Result<()> {
    scene.emulator().map_service("closed.internal", PORT, ([127, 0, 0, 1], local::free_port()?).into());
    scene.add("closed", &format!("closed.internal:{PORT}")).await?;
    scene.ok(&["up", "closed"]).await?;
    local::ending(scene.port("closed").await?, DEADLINE).await?;
    let refused = until(follow, "closed", "connection_refused").await?;
    assert_eq!(refused["fault"]["kind"], "remote_refused");
    let explained = scene.ok(&["explain", "closed"]).await?;
    assert!(explained.contains("nothing listens on closed.internal"), "{explained}");
    scene.ok(&["tunnel", "rm", "closed"]).await?;
    until(follow, "closed", "deleted").await.map(drop)
}

/// A permission that is missing, until somebody gives it.
async fn block(scene: &Scene, follow: &mut Watch) -> Result<Vec<(String, Vec<u8>)>> {
    let denied = Injection::Deny { action: "ssm:StartSession".to_owned(), denied: true };
    scene.emulator().inject(denied);
    ensure!(scene.stctl(&["restart", "db"]).await?.code == 8, "it came up without the permission");
    let blocked = until(follow, "db", "blocked").await?;
    assert_eq!(blocked["fault"]["kind"], "permission_denied");
    let explained = scene.ok(&["explain", "db"]).await?;
    assert!(
        explained.starts_with("db has been blocked") && explained.contains("What to do: "),
        "{explained}"
    );
    let json = scene.json(&["explain", "db"]).await?;
    assert_eq!(json["events"].as_array().and_then(|events| events.last()).map(kind), Some("blocked"));
    scene.emulator().inject(Injection::Calm);
    scene.ok(&["restart", "db"]).await?;
    until(follow, "db", "up").await?;
    Ok(vec![
        ("explain".to_owned(), explained.into_bytes()),
        ("explain -o json".to_owned(), json.to_string().into_bytes()),
    ])
}

/// Answers the number of the event that tells of the resumption.
async fn drop_and_resume(scene: &Scene, port: u16, follow: &mut Watch) -> Result<u64> {
    let mut connection = local::connect(port, DEADLINE).await?;
    local::echo(&mut connection, FIRST, DEADLINE).await?;
    scene.emulator().inject(Injection::DropClient { session: None });
    scene.emulator().counters().wait_at_least(Counter::SessionsResumed, 1, DEADLINE).await?;
    let resumed = until(follow, "db", "session_resumed").await?;
    local::echo(&mut connection, "two\n", DEADLINE).await?;
    let session = scene.tunnel("db").await?["status"]["session_id"].clone();
    assert_eq!(resumed["session_id"], session);
    assert_eq!(resumed["target"], scene.emulator().instance());
    assert_eq!(resumed["node"], scene.emulator().instance());
    assert_eq!(resumed["principal"], Config::default().principal);
    Ok(id(&resumed))
}

/// AWS tells once for all sessions of the same credentials.
async fn who(scene: &Scene) -> Result<()> {
    let counters = scene.emulator().counters();
    ensure!(counters.value(Counter::SessionsStarted) >= 3, "there were several sessions");
    // A question that is overtaken by its session is asked once more, and each of the two daemons asks about the profile when it
    // starts.
    let asked = counters.value(Counter::ApiGetCallerIdentity);
    assert!(
        (1..=4).contains(&asked),
        "{asked} questions for {} sessions",
        counters.value(Counter::SessionsStarted)
    );
    let principal = Config::default().principal;
    assert_eq!(scene.tunnel("db").await?["status"]["sessions"][0]["principal"], principal);
    for line in [["explain", "db"], ["status", "db"]] {
        let said = scene.ok(&line).await?;
        ensure!(said.contains(&principal), "{said}");
    }
    Ok(())
}

/// A stop says goodbye, and filters find what they should.
async fn restart_in_order(scene: &Scene) -> Result<()> {
    scene.ok(&["daemon", "stop"]).await?;
    scene.ok(&["wait", "db"]).await?;
    let kept = events(scene, &["db", "--limit", "100"]).await?;
    let stop = kept.iter().rposition(|event| kind(event) == "daemon_stopping").context("no goodbye")?;
    let rest: BTreeSet<&str> = kept[stop..].iter().map(kind).collect();
    for wanted in ["session_ended", "stopped", "daemon_started", "up"] {
        assert!(rest.contains(wanted), "{wanted} is missing: {rest:?}");
    }
    let ended = kept.iter().rev().find(|event| kind(event) == "session_ended").context("no end")?;
    assert_eq!(ended["principal"], Config::default().principal);
    assert!(ended["session_id"].is_string() && ended["lasted_seconds"].is_u64(), "{ended}");
    assert!(kept.iter().all(|event| event["tunnel"] == "db" || event["tunnel"].is_null()), "{kept:?}");
    let gone = events(scene, &["closed", "--since", "1h"]).await?;
    assert!(gone.iter().any(|event| kind(event) == "deleted"), "a tunnel that is gone has a history");
    assert_eq!(events(scene, &["--limit", "2"]).await?.len(), 2);
    let nosuch = scene.stctl(&["events", "nosuch"]).await?;
    ensure!(nosuch.code == 6, "{nosuch:?}");
    Ok(())
}

async fn events(scene: &Scene, words: &[&str]) -> Result<Vec<Value>> {
    let listed = scene.json(&[&["events"], words].concat()).await?;
    listed.as_array().cloned().context("no list of events")
}

fn id(event: &Value) -> u64 {
    event["id"].as_u64().unwrap_or_default()
}

fn kind(event: &Value) -> &str {
    event["kind"].as_str().unwrap_or("?")
}

/// Bytes that `db` carried.
async fn figures(scene: &Scene, span: &str) -> Result<u64> {
    let statistics = scene.json(&["stats", "db"]).await?;
    let figures = &statistics[0][span];
    let bytes = figures["sent_bytes"].as_u64().zip(figures["received_bytes"].as_u64());
    bytes.map(|(sent, received)| sent + received).with_context(|| format!("no figures: {statistics}"))
}

/// Waits until the database holds a text: events are stored behind everybody's back.
async fn stored(state_dir: &Path, text: &str) -> Result<()> {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let found = async {
        while !files(state_dir)?.iter().any(|(_, bytes)| String::from_utf8_lossy(bytes).contains(text)) {
            ticks.tick().await;
        }
        Ok(())
    };
    tokio::time::timeout(DEADLINE, found).await.with_context(|| format!("{text} was not stored"))?
}

fn files(directory: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        // A side file of the database may be gone by now.
        if let Ok(bytes) = std::fs::read(&path) {
            files.push((path.display().to_string(), bytes));
        }
    }
    Ok(files)
}

/// Everything that the history is shown in and stored in.
async fn everything(scene: &Scene) -> Result<Vec<(String, Vec<u8>)>> {
    let mut shown = files(&scene.sandbox().state_dir())?;
    for line in [
        &["events", "--limit", "10000"][..],
        &["events", "--limit", "10000", "-o", "wide"],
        &["events", "--limit", "10000", "-o", "yaml"],
        &["explain", "db"],
        &["stats", "-o", "json"],
    ] {
        shown.push((line.join(" "), scene.ok(line).await?.into_bytes()));
    }
    Ok(shown)
}

fn no_secret(scene: &Scene, shown: &[(String, Vec<u8>)]) -> Result<()> {
    let longest = |secret: &String| {
        let runs = secret.split(|c: char| !c.is_ascii_alphanumeric());
        runs.max_by_key(|run| run.len()).unwrap_or_default().to_owned()
    };
    let parts: Vec<String> = scene.emulator().issued_secrets().iter().map(longest).collect();
    ensure!(parts.len() >= 6 && parts.iter().all(|part| part.len() >= TELLING), "no telling secrets");
    let found = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        parts.iter().any(|part| text.contains(part.as_str()))
    };
    // What cannot find the canary where it is would find it nowhere.
    let credentials = std::fs::read(scene.sandbox().home().join(".aws/credentials"))?;
    ensure!(found(&credentials), "the search finds nothing");
    let leaks: Vec<&String> =
        shown.iter().filter(|(_, bytes)| found(bytes)).map(|(place, _)| place).collect();
    assert!(leaks.is_empty(), "{leaks:?}");
    Ok(())
}
