//! An upgrade from the previous build: ports, connections and state go over to the next daemon.
//!
//! `STORMTUNNEL_PREVIOUS_BIN_DIR` names a directory with the programs of the previous build; `tests/e2e/tools/upgrade` makes one out
//! of a commit. Without it copies of the present ones play it: other files, the same code.

#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use aws_emulator::Config;
use serde_json::Value;
use stormtunnel_e2e::bulk::EchoServer;
use stormtunnel_e2e::installation::Installation;
use stormtunnel_e2e::own_systemd::{self, Machine};
use stormtunnel_e2e::process::{self, Output};
use stormtunnel_e2e::scene::{HOST, PORT, Scene};
use stormtunnel_e2e::visits::{Visit, Visits};
use stormtunnel_e2e::{DEADLINE, programs};
use stormtunnel_proto::API_LEVEL;
use tokio::time::Instant;

const TUNNELS: usize = 20;

/// The database of the oldest schema, as a daemon wrote it.
const FROZEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../daemon/src/store/frozen/schema-1.db");
const TO_OLDEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/oldest_schema.py");

#[tokio::test]
async fn an_upgrade_loses_no_port_and_who_connects_meanwhile_waits() -> Result<()> {
    if !own_systemd::enter("an_upgrade_loses_no_port_and_who_connects_meanwhile_waits").await? {
        return Ok(());
    }
    let (machine, installed, _echo) = machine().await?;
    let before = twenty_up(&machine, &installed).await?;
    let events = events(&machine).await?;
    let upgraded = upgrade(&machine, &installed, &before, async || Ok(())).await?;

    let after = tunnels(&machine.ok(&["ls", "-o", "json"]).await?)?;
    ensure!(after == before, "state was lost\n{before:#?}\n{after:#?}");
    let kept = self::events(&machine).await?;
    ensure!(events.iter().all(|event| kept.contains(event)), "history was lost");
    ensure!(events.len() > TUNNELS, "there was none");
    println!(
        "promise service.upgrade: from {}: {TUNNELS} of {TUNNELS} tunnels up again on their ports, the last one {:.1} s after the \
         old daemon was gone; {upgraded}; specs, labels, intents and {} events kept",
        if Installation::is_of_another_build() { "an earlier build" } else { "a copy of this build" },
        upgraded.all_up.as_secs_f64(),
        events.len(),
    );
    Ok(())
}

#[tokio::test]
async fn an_upgrade_migrates_a_database_of_the_oldest_schema() -> Result<()> {
    if !own_systemd::enter("an_upgrade_migrates_a_database_of_the_oldest_schema").await? {
        return Ok(());
    }
    let Some(python) = programs::find("python3")? else { return Ok(()) };
    let (machine, installed, _echo) = machine().await?;
    let before = twenty_up(&machine, &installed).await?;
    let database = machine.scene().sandbox().state_dir().join("stormtunnel.db");
    ensure!(schema(&python, &database).await? > 1);
    // No daemon of that schema was ever a service. The old daemon goes on with the file that it has open.
    let upgraded = upgrade(&machine, &installed, &before, async || {
        let mut exchange = std::process::Command::new(&python);
        exchange.args([TO_OLDEST.as_ref(), FROZEN.as_ref(), database.as_path()]);
        process::run(exchange, DEADLINE).await?.success()?;
        ensure!(schema(&python, &database).await? == 1);
        Ok(())
    })
    .await?;

    let after = tunnels(&machine.ok(&["ls", "-o", "json"]).await?)?;
    for (name, tunnel) in &before {
        let (old, new) = (&tunnel.shown, &after.get(name).context("a tunnel was lost")?.shown);
        ensure!(after[name].port == tunnel.port, "{name} has another port");
        for field in ["id", "created_at", "intent"] {
            ensure!(old[field] == new[field], "{name} has another {field}: {old} {new}");
        }
        for field in ["profile", "region", "target", "remote", "local", "allow_non_loopback"] {
            ensure!(old["spec"][field] == new["spec"][field], "{name} has another {field}: {old} {new}");
        }
    }
    let migrated = schema(&python, &database).await?;
    println!(
        "promise service.upgrade-schema: a database of schema 1 with {TUNNELS} tunnels became one of schema {migrated}: each up again \
         on its port, the last one {:.1} s after the old daemon was gone; {upgraded}",
        upgraded.all_up.as_secs_f64()
    );
    Ok(())
}

#[tokio::test]
async fn without_a_service_a_restart_finishes_the_upgrade_on_the_same_ports() -> Result<()> {
    let echo = EchoServer::start().await?;
    let (scene, installed) = scene(&echo).await?;
    let old = async |arguments: &[&str]| -> Result<String> {
        let mut command = std::process::Command::new(installed.stctl());
        command.args(arguments).env_clear().envs(scene.sandbox().environment());
        process::run(command, 2 * DEADLINE).await?.success()
    };
    let target = scene.emulator().instance();
    for number in 0..3 {
        let (name, remote) = (format!("t{number}"), format!("{HOST}:{PORT}"));
        old(&["tunnel", "add", &name, "--target", target, "--remote", &remote]).await?;
    }
    old(&["up", "--all"]).await?;
    let before = tunnels(&scene.ok(&["ls", "-o", "json"]).await?)?;
    let pid = scene.daemon_pid().await?;

    installed.take(present(&scene)?)?;
    let status = scene.stctl(&["daemon", "status"]).await?;
    ensure!(
        tells_of_upgrade(&status) && format!("{status:?}").contains("`stctl daemon restart`"),
        "{status:?}"
    );
    scene.ok(&["ls"]).await?;
    let visits = Visits::start(before.values().map(|tunnel| tunnel.port).collect());
    scene.ok(&["daemon", "restart"]).await?;
    scene.ok(&["wait", "--all"]).await?;
    let visits = visits.end().await?;

    ensure!(scene.daemon_pid().await? != pid, "the old daemon serves");
    ensure!(tunnels(&scene.ok(&["ls", "-o", "json"]).await?)? == before, "state was lost");
    let mut refused = visits.iter().filter(|visit| visit.is_refused()).map(|visit| visit.at);
    let closed = refused.next().map_or(Duration::ZERO, |first| refused.next_back().unwrap_or(first) - first);
    ensure!(visits.iter().any(|visit| visit.carried().is_some()), "nobody was served: {visits:?}");
    println!(
        "promise service.upgrade-without: the ports are the same; for {:.2} s connects were refused, then they waited; the status \
         said before that a restart finishes the upgrade",
        closed.as_secs_f64()
    );
    Ok(())
}

/// What is said of the figures of an upgrade.
struct Upgraded {
    all_up: Duration,
    visits: usize,
    ended: usize,
    held: usize,
    longest: Duration,
}

impl std::fmt::Display for Upgraded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { visits, ended, held, longest, .. } = self;
        write!(
            f,
            "of {visits} connects meanwhile none was refused, {ended} ended with the old daemon that had taken them, and {held} \
             waited for the new one, {:.1} s at most, and carried bytes",
            longest.as_secs_f64()
        )
    }
}

/// Installs the present build over the previous one, does something, and finishes with `stctl daemon install`, while somebody
/// connects all the time.
async fn upgrade(
    machine: &Machine,
    installed: &Installation,
    before: &BTreeMap<String, Tunnel>,
    meanwhile: impl AsyncFnOnce() -> Result<()>,
) -> Result<Upgraded> {
    let old = machine.main_pid().await?.context("systemd runs no daemon")?;
    installed.take(present(machine.scene())?)?;
    let status = machine.stctl(&["daemon", "status"]).await?;
    ensure!(tells_of_upgrade(&status), "the status says nothing of the upgrade: {status:?}");
    meanwhile().await?;

    let visits = Visits::start(before.values().map(|tunnel| tunnel.port).collect());
    let gone = async { process::gone(old, DEADLINE).await.map(|()| Instant::now()) };
    let (said, gone) = tokio::try_join!(machine.ok(&["daemon", "install"]), gone)?;
    machine.ok(&["wait", "--all"]).await?;
    let all_up = gone.elapsed();
    let visits = visits.end().await?;

    let status = machine.status().await?;
    ensure!(status["pid"].as_u64() == machine.main_pid().await?.map(u64::from), "{status}");
    ensure!(status["pid"] != old && status["program_replaced"] == false, "{said}{status}");
    ensure!(status["api_level"] == API_LEVEL, "{status}");
    // Who has not upgraded everything goes on as before.
    let mut older = std::process::Command::new(installed.previous_stctl());
    older.args(["ls", "-o", "name"]).env_clear().envs(machine.environment()?);
    let listed = process::run(older, DEADLINE).await?.success()?;
    ensure!(listed.lines().eq(before.keys()), "the older stctl lists {listed}");
    ensure!(status["program"] == installed.stormtunneld().to_str().context("text")?, "{status}");
    figures(&visits, gone, all_up)
}

fn figures(visits: &[Visit], gone: Instant, all_up: Duration) -> Result<Upgraded> {
    let refused = visits.iter().filter(|visit| visit.is_refused()).count();
    ensure!(refused == 0, "{refused} of {} connects were refused", visits.len());
    let ended = visits.iter().filter(|visit| visit.carried().is_none());
    let late = ended.clone().filter(|visit| visit.at > gone).count();
    ensure!(late == 0, "{late} connections that the old daemon cannot have taken ended without a byte");
    let held = visits.iter().filter(|visit| visit.at.checked_add(visit.took).is_some_and(|end| end > gone));
    let held: Vec<Duration> = held.filter_map(Visit::carried).collect();
    ensure!(!held.is_empty(), "nobody waited: this shows nothing");
    let longest = held.iter().max().copied().unwrap_or_default();
    Ok(Upgraded { all_up, visits: visits.len(), ended: ended.count(), held: held.len(), longest })
}

/// A tunnel as `stctl ls` has it, but for what is of one daemon alone.
#[derive(Debug, PartialEq)]
struct Tunnel {
    port: u16,
    shown: Value,
}

fn tunnels(listed: &str) -> Result<BTreeMap<String, Tunnel>> {
    let listed: Vec<Value> = serde_json::from_str(listed)?;
    let tunnel = |mut shown: Value| {
        let port =
            shown["status"]["listening"][0].as_str().and_then(|text| text.rsplit(':').next()?.parse().ok());
        let port = port.with_context(|| format!("no port: {shown}"))?;
        ensure!(shown["status"]["state"] == "up", "it is not up: {shown}");
        let name = shown["name"].as_str().context("no name")?.to_owned();
        shown.as_object_mut().context("no object")?.remove("status");
        Ok((name, Tunnel { port, shown }))
    };
    listed.into_iter().map(tunnel).collect()
}

/// Ids of all events.
async fn events(machine: &Machine) -> Result<Vec<u64>> {
    let shown = machine.ok(&["events", "--limit", "1000", "-o", "json"]).await?;
    let events: Vec<Value> = serde_json::from_str(&shown)?;
    Ok(events.iter().filter_map(|event| event["id"].as_u64()).collect())
}

async fn schema(python: &Path, database: &Path) -> Result<u32> {
    let ask =
        "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute('PRAGMA user_version').fetchone())";
    let mut command = std::process::Command::new(python);
    command.args(["-c", ask]).arg(database);
    Ok(process::run(command, DEADLINE).await?.success()?.trim().parse()?)
}

/// Whether the present `stctl` says that an older daemon runs: by its level, or because its program is another one by now.
fn tells_of_upgrade(status: &Output) -> bool {
    status.stderr.contains("the daemon has API level")
        || status.stdout.contains("was replaced since the daemon started")
}

async fn scene(echo: &EchoServer) -> Result<(Scene, Installation)> {
    let mut scene = Scene::start(Config::default()).await?;
    scene.emulator().map_service(HOST, PORT, echo.address());
    let installed =
        Installation::of_previous(scene.sandbox().directory().join("programs"), present(&scene)?)?;
    let daemon = installed.stormtunneld();
    scene.set_variable("STCTL_DAEMON", daemon.to_str().context("text")?);
    Ok((scene, installed))
}

/// Where the present programs are.
fn present(scene: &Scene) -> Result<&Path> {
    scene.sandbox().binaries().stctl.parent().context("stctl is nowhere")
}

async fn machine() -> Result<(Machine, Installation, EchoServer)> {
    let echo = EchoServer::start().await?;
    let (scene, installed) = scene(&echo).await?;
    Ok((Machine::start(scene).await?, installed, echo))
}

/// The previous build as a service, with its tunnels, all up.
async fn twenty_up(machine: &Machine, installed: &Installation) -> Result<BTreeMap<String, Tunnel>> {
    let environment = machine.environment()?;
    let old = async |arguments: &[&str]| -> Result<String> {
        let mut command = std::process::Command::new(installed.stctl());
        command.args(arguments).env_clear().envs(environment.clone());
        process::run(command, 2 * DEADLINE).await?.success()
    };
    old(&["daemon", "install"]).await?;
    let target = machine.scene().emulator().instance();
    for number in 0..TUNNELS {
        let (name, remote, label) =
            (format!("t{number:02}"), format!("{HOST}:{PORT}"), format!("number={number}"));
        let mut add =
            vec!["tunnel", "add", &name, "--target", target, "--remote", &remote, "--label", &label];
        if number % 2 == 0 {
            add.extend(["--reason", "routine", "--sessions", "2", "--keep", "warm"]);
        }
        old(&add).await?;
    }
    old(&["up", "--all"]).await?;
    // The present command line, with the daemon of the previous build.
    let before = tunnels(&machine.ok(&["ls", "-o", "json"]).await?)?;
    if before.len() != TUNNELS {
        bail!("{} tunnels are up, not {TUNNELS}", before.len());
    }
    Ok(before)
}
