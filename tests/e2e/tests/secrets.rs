//! At TRACE, no secret anywhere that people look at, send around or leave lying about.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use aws_emulator::{AccessKey, Config, Counter, Injection};
use serde_json::Value;
use stormtunnel_e2e::bulk::EchoServer;
use stormtunnel_e2e::scene::{HOST, PORT, Scene, state};
use stormtunnel_e2e::{DEADLINE, bulk, local, process};

/// Targets of our own code; all others are capped at INFO.
const OURS: [&str; 4] = ["stormtunnel", "ssm_session", "smux", "stctl"];
/// A part of a secret that is long enough not to turn up by chance. Encodings change `+`, `/` and `=`, not this.
const TELLING: usize = 16;

#[tokio::test]
async fn a_run_at_trace_shows_no_secret() -> Result<()> {
    let secret = hex::encode(bulk::bytes(11, 20));
    let session_token = hex::encode(bulk::bytes(13, 120));
    let key = AccessKey::new("ASIATESTEXAMPLE00001", secret, Some(session_token));
    let scene = Scene::start(Config { access_keys: vec![key], ..Config::default() }).await?;
    start_with_json_log(&scene).await?;
    scene.ok(&["settings", "set", "log.filter", "trace"]).await?;
    let mut shown = whole_flow(&scene).await?;

    let secrets = Secrets::of(&scene)?;
    for path in files(&scene.sandbox().state_dir())? {
        shown.push((path.display().to_string(), std::fs::read(&path)?));
    }
    shown.push(("the settings file".to_owned(), std::fs::read(scene.sandbox().config_file())?));
    let leaks: Vec<String> =
        shown.iter().filter_map(|(place, bytes)| secrets.found_in(place, bytes)).collect();
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));

    let lines = only_ours_below_info(&scene.sandbox().log_file())?;
    println!(
        "promise main.secrets: {} secrets in none of {} places ({} log lines, {} of them below INFO and all ours)",
        secrets.parts.len(),
        shown.len(),
        lines.all,
        lines.below_info
    );
    Ok(())
}

/// Lines of a JSON log name their target.
async fn start_with_json_log(scene: &Scene) -> Result<()> {
    let place = scene.sandbox();
    let mut command = Command::new(&place.binaries().stormtunneld);
    command.args(["--detach", "--log-format", "json"]).env_clear().envs(place.environment());
    ensure!(
        process::run(command, DEADLINE).await?.success()? == "ready\n",
        "another daemon runs in a new place"
    );
    Ok(())
}

/// Everything that hands out or uses a secret: a session, its resumption, its replacement, refusals, a restart of the
/// daemon. Answers what was printed meanwhile.
async fn whole_flow(scene: &Scene) -> Result<Vec<(String, Vec<u8>)>> {
    let echo = EchoServer::start().await?;
    let (emulator, counters) = (scene.emulator(), scene.emulator().counters());
    emulator.map_service(HOST, PORT, echo.address());
    scene.add("db", &format!("{HOST}:{PORT}")).await?;
    let mut watch = scene.watch("db").await?;
    scene.ok(&["up", "db"]).await?;
    let port = scene.port("db").await?;
    let mut connection = local::connect(port, DEADLINE).await?;
    local::echo(&mut connection, "one\n", DEADLINE).await?;

    emulator.inject(Injection::DropClient { session: None });
    counters.wait_at_least(Counter::SessionsResumed, 1, DEADLINE).await?;
    local::echo(&mut connection, "two\n", DEADLINE).await.context("after the resumption")?;
    emulator.inject(Injection::RefuseUpgrades { status: 503, count: 1 });
    emulator.inject(Injection::KillSession { session: None, output: "ended".to_owned() });
    counters.wait_at_least(Counter::SessionsStarted, 2, DEADLINE).await?;
    scene.ok(&["wait", "db"]).await?;
    emulator.inject(Injection::Deny { action: "ssm:StartSession".to_owned(), denied: true });
    let denied = scene.stctl(&["restart", "db"]).await?;
    ensure!(denied.code == 8, "{denied:?}");
    emulator.inject(Injection::Calm);
    scene.ok(&["restart", "db"]).await?;
    watch.until_tunnel(DEADLINE, |tunnel| state(tunnel) == "up").await?;

    let mut shown = vec![("restart's words".to_owned(), format!("{denied:?}").into_bytes())];
    for line in [
        &["ls", "-o", "wide"][..],
        &["status", "db"],
        &["tunnel", "show", "db", "-o", "yaml"],
        &["daemon", "status"],
    ] {
        shown.push((line.join(" "), scene.ok(line).await?.into_bytes()));
    }
    let history: Vec<String> = watch.history().iter().map(Value::to_string).collect();
    shown.push(("watch".to_owned(), history.join("\n").into_bytes()));
    // The watch still runs: a command line of ours is among them, beside the daemon's.
    shown.extend(processes(scene)?);
    Ok(shown)
}

/// What must not be found, in telling parts.
struct Secrets {
    parts: Vec<String>,
}

impl Secrets {
    fn of(scene: &Scene) -> Result<Self> {
        let issued = scene.emulator().issued_secrets();
        // Three sessions, a resumption, a secret key and its session token.
        ensure!(issued.len() >= 6, "only {} secrets were handed out", issued.len());
        let longest = |secret: &String| {
            let runs = secret.split(|c: char| !c.is_ascii_alphanumeric());
            runs.max_by_key(|run| run.len()).unwrap_or_default().to_owned()
        };
        let parts: Vec<String> = issued.iter().map(longest).collect();
        ensure!(parts.iter().all(|part| part.len() >= TELLING), "a secret without a telling part");
        let secrets = Self { parts };
        // What cannot find them where they are would find them nowhere.
        let file = scene.sandbox().home().join(".aws/credentials");
        let known = std::fs::read(&file)?;
        ensure!(secrets.found_in("the credentials file", &known).is_some(), "the search finds nothing");
        Ok(secrets)
    }

    fn found_in(&self, place: &str, bytes: &[u8]) -> Option<String> {
        let text = String::from_utf8_lossy(bytes);
        let part = self.parts.iter().find(|part| text.contains(part.as_str()))?;
        let at = text.find(part.as_str()).unwrap_or_default();
        let before: String =
            text[..at].chars().rev().take(200).collect::<Vec<_>>().into_iter().rev().collect();
        Some(format!("{place}: …{before}<a secret>"))
    }
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    let files: Vec<PathBuf> =
        entries.iter().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    ensure!(
        files.iter().any(|path| path.extension().is_some_and(|end| end == "db")),
        "no database: {files:?}"
    );
    Ok(files)
}

/// Command lines of all processes, and the daemon's environment.
#[cfg(target_os = "linux")]
fn processes(scene: &Scene) -> Result<Vec<(String, Vec<u8>)>> {
    let mut shown = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path().join("cmdline");
        // Not a process, or one that has ended meanwhile.
        if let Ok(bytes) = std::fs::read(&path) {
            shown.push((path.display().to_string(), bytes));
        }
    }
    let ours = |(_, bytes): &&(String, Vec<u8>)| String::from_utf8_lossy(bytes).contains("stctl\0watch\0db");
    ensure!(shown.iter().any(|place| ours(&place)), "the running watch is not among the processes");
    let pid = scene.sandbox().daemon_pid().context("no daemon")?;
    let environ = PathBuf::from(format!("/proc/{pid}/environ"));
    shown.push((environ.display().to_string(), std::fs::read(&environ)?));
    Ok(shown)
}

#[cfg(not(target_os = "linux"))]
fn processes(_scene: &Scene) -> Result<Vec<(String, Vec<u8>)>> {
    Ok(Vec::new())
}

struct Lines {
    all: usize,
    below_info: usize,
}

/// Debug lines of HTTP and WebSocket libraries hold requests and frames.
fn only_ours_below_info(log: &Path) -> Result<Lines> {
    let text = std::fs::read_to_string(log)?;
    let mut lines = Lines { all: 0, below_info: 0 };
    for line in text.lines() {
        let entry: Value = serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
        lines.all += 1;
        if entry["level"] == "TRACE" || entry["level"] == "DEBUG" {
            let target = entry["target"].as_str().unwrap_or_default();
            ensure!(OURS.iter().any(|ours| target.starts_with(ours)), "{line}");
            lines.below_info += 1;
        }
    }
    ensure!(lines.below_info > 0, "nothing was logged below INFO: this was no run at TRACE");
    Ok(lines)
}
