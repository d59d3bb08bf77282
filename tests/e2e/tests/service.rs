//! The daemon as a service of a real systemd: what is killed comes back, and nobody is refused meanwhile.

#![cfg(target_os = "linux")]

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_emulator::Config;
use serde_json::Value;
use stormtunnel_e2e::bulk::EchoServer;
use stormtunnel_e2e::own_systemd::{self, Machine, Session};
use stormtunnel_e2e::process::{self, Signal};
use stormtunnel_e2e::scene::{HOST, PORT, Scene};
use stormtunnel_e2e::terminal::Terminal;
use stormtunnel_e2e::{DEADLINE, local};
use tokio::time::Instant;

/// Longest time without a daemon after one was killed.
const BACK: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_killed_service_is_back_on_its_ports_without_a_terminal() -> Result<()> {
    if !own_systemd::enter("a_killed_service_is_back_on_its_ports_without_a_terminal").await? {
        return Ok(());
    }
    let echo = EchoServer::start().await?;
    let machine = machine(&echo).await?;
    let (session, mut terminal) =
        (Session::begin()?, Terminal::open(&machine.environment()?, DEADLINE).await?);
    terminal.command(&session.entrance(), DEADLINE).await?;
    let shown = terminal.command("stctl daemon install", DEADLINE).await?;
    ensure!(shown.contains("the service is installed: systemd runs stormtunneld"), "{shown}");
    let port = tunnel(&machine).await?;
    // What stays behind in the session shows that its end reaches all that is in it.
    terminal.command("trap '' HUP; sleep 1000 & trap - HUP", DEADLINE).await?;
    terminal.close(DEADLINE).await?;
    let left = session.end()?;
    ensure!(left == 1, "{left} processes were left of the session, not the sleeper alone");

    let status = machine.status().await?;
    ensure!(status["service"]["enabled"] == true && status["service"]["active"] == true, "{status}");
    let pid = machine.main_pid().await?.context("systemd runs no daemon")?;
    ensure!(status["pid"] == pid, "another daemon serves: {status}");
    process::send_signal(pid, Signal::KILL)?;
    let killed = Instant::now();
    process::gone(pid, DEADLINE).await?;
    let mut between =
        local::connect(port, DEADLINE).await.context("a connect is refused while it is dead")?;
    machine
        .until(async || machine.main_pid().await.is_ok_and(|now| now.is_some_and(|now| now != pid)))
        .await?;
    let again = machine.scene().port("db").await?;
    let took = killed.elapsed();
    ensure!(again == port, "port {port} became {again}");
    ensure!(took < BACK, "back only after {took:?}");
    local::echo(&mut between, "between\n", DEADLINE).await?;
    let mut after = local::connect(port, DEADLINE).await?;
    local::echo(&mut after, "after\n", DEADLINE).await?;
    println!(
        "promise service.killed: terminal and session gone, then back {:.2} s after kill -9 on the same port; a connect in between was not refused and carries bytes",
        took.as_secs_f64()
    );
    Ok(())
}

#[tokio::test]
async fn a_command_alone_starts_it_through_the_socket() -> Result<()> {
    if !own_systemd::enter("a_command_alone_starts_it_through_the_socket").await? {
        return Ok(());
    }
    let echo = EchoServer::start().await?;
    let machine = machine(&echo).await?;
    machine.ok(&["daemon", "install"]).await?;
    let again = machine.ok(&["daemon", "install"]).await?;
    ensure!(!again.contains("replaced"), "{again}");
    let looked_at = ["daemon.reachable", "daemon.lock", "daemon.service"];
    for id in looked_at {
        let found = doctor(&machine, id).await?;
        ensure!(found["outcome"] == "pass" || found["outcome"] == "skipped", "{found}");
    }
    machine.ok(&["daemon", "stop"]).await?;
    ensure!(machine.status().await?["running"] == false, "a look at the status starts no daemon");
    machine.until(async || machine.main_pid().await.is_ok_and(|pid| pid.is_none())).await?;
    let found = doctor(&machine, "daemon.reachable").await?;
    ensure!(found["outcome"] == "warn" && found["fixed"] == "", "the socket is systemd's: {found}");
    let mut ls = machine.command(&["ls"]);
    // Nothing but the socket can start it.
    ls.env("STCTL_DAEMON", "/nonexistent").env("STCTL_NO_AUTOSTART", "1");
    process::run(ls, DEADLINE).await?.success()?;
    let pid = machine.main_pid().await?.context("systemd runs no daemon")?;
    ensure!(machine.status().await?["pid"] == pid);

    let logs = machine.ok(&["daemon", "logs"]).await?;
    ensure!(logs.contains("serving") && logs.contains("stopped"), "both lives are in the journal: {logs}");
    println!(
        "promise service.socket: `stctl ls` alone starts it; status does not; the journal has both lives"
    );
    Ok(())
}

/// What `doctor` finds by that id, mending what it may.
async fn doctor(machine: &Machine, id: &str) -> Result<Value> {
    let ran = process::run(machine.command(&["doctor", "--fix", "-o", "json"]), 2 * DEADLINE).await?;
    let document: Value = serde_json::from_str(&ran.stdout).with_context(|| format!("{ran:?}"))?;
    let findings = document["findings"].as_array().context("no findings")?;
    let found = findings.iter().find(|finding| finding["id"] == id);
    found.cloned().with_context(|| format!("{id} is not among {document}"))
}

#[tokio::test]
async fn a_restart_refuses_nobody_and_an_upgrade_keeps_the_port() -> Result<()> {
    if !own_systemd::enter("a_restart_refuses_nobody_and_an_upgrade_keeps_the_port").await? {
        return Ok(());
    }
    let echo = EchoServer::start().await?;
    let machine = machine(&echo).await?;
    let port = tunnel(&machine).await?;
    let stray = machine.status().await?["pid"].as_u64().context("no daemon was started")?;
    let installed = machine.ok(&["daemon", "install"]).await?;
    ensure!(installed.contains("the daemon that runs is replaced by the service"), "{installed}");
    let pid = machine.main_pid().await?.context("systemd runs no daemon")?;
    ensure!(u64::from(pid) != stray && machine.scene().port("db").await? == port);

    let restart = machine.ok(&["daemon", "restart"]);
    tokio::pin!(restart);
    let (mut connects, mut ticks) = (0, tokio::time::interval(Duration::from_millis(50)));
    loop {
        tokio::select! {
            ended = &mut restart => {
                ended?;
                break;
            }
            _ = ticks.tick() => {
                let connected = local::connect(port, DEADLINE).await;
                // One that the old daemon had accepted ends with it, as any open connection does.
                ensure!(!connected.as_ref().is_err_and(is_refusal), "refused during a restart: {connected:?}");
                connects += 1;
            }
        }
    }
    ensure!(machine.main_pid().await?.is_some_and(|now| now != pid), "it was not restarted");
    machine.ok(&["wait", "db"]).await?;
    let mut after = local::connect(port, DEADLINE).await?;
    local::echo(&mut after, "after\n", DEADLINE).await?;
    println!("promise service.restart: {connects} connects during a restart, none refused");

    machine.ok(&["down", "db"]).await?;
    let refused = local::connect(port, DEADLINE).await;
    ensure!(refused.as_ref().is_err_and(is_refusal), "systemd keeps no listener of a tunnel that is stopped");
    Ok(())
}

#[tokio::test]
async fn a_daemon_that_hangs_is_replaced() -> Result<()> {
    if !own_systemd::enter("a_daemon_that_hangs_is_replaced").await? {
        return Ok(());
    }
    let echo = EchoServer::start().await?;
    let machine = machine(&echo).await?;
    machine.ok(&["daemon", "install"]).await?;
    let drop_in = machine.scene().sandbox().home().join(".config/systemd/user/stormtunneld.service.d");
    std::fs::create_dir(&drop_in)?;
    std::fs::write(drop_in.join("impatient.conf"), "[Service]\nWatchdogSec=1\n")?;
    machine.systemctl(&["daemon-reload"]).await?;
    machine.ok(&["daemon", "restart"]).await?;
    let pid = machine.main_pid().await?.context("systemd runs no daemon")?;
    // It lives through several times its patience first.
    machine.ok(&["ls"]).await?;
    process::send_signal(pid, Signal::STOP)?;
    process::gone(pid, DEADLINE).await.context("the watchdog does not end it")?;
    machine
        .until(async || machine.main_pid().await.is_ok_and(|now| now.is_some_and(|now| now != pid)))
        .await?;
    machine.ok(&["ls"]).await?;
    println!("promise service.watchdog: a suspended daemon is ended and replaced");
    Ok(())
}

#[tokio::test]
async fn a_path_is_one_argument_whatever_is_in_it() -> Result<()> {
    if !own_systemd::enter("a_path_is_one_argument_whatever_is_in_it").await? {
        return Ok(());
    }
    let echo = EchoServer::start().await?;
    let machine = machine(&echo).await?;
    let directory = machine.scene().sandbox().directory().join("a \"quoted\" $HOME at 100%\\");
    let (state, socket) = (directory.join("state"), directory.join("s.sock"));
    let (state, socket) = (state.to_str().context("text")?, socket.to_str().context("text")?);
    let flags = ["--state-dir", state, "--socket", socket];
    machine.ok(&[&["daemon", "install"], &flags[..]].concat()).await?;
    let status = machine.ok(&[&["daemon", "status", "-o", "json"], &flags[..]].concat()).await?;
    let status: Value = serde_json::from_str(&status)?;
    ensure!(status["state_directory"] == state && status["socket"] == socket, "{status}");
    ensure!(status["service"]["active"] == true, "{status}");
    ensure!(status["pid"].as_u64() == machine.main_pid().await?.map(u64::from), "{status}");
    Ok(())
}

#[tokio::test]
async fn the_journal_has_levels_and_fields() -> Result<()> {
    if !own_systemd::enter("the_journal_has_levels_and_fields").await? {
        return Ok(());
    }
    let echo = EchoServer::start().await?;
    let machine = machine(&echo).await?;
    machine.ok(&["daemon", "install"]).await?;
    tunnel(&machine).await?;
    let unit = "--user-unit=stormtunneld.service";
    let about_db = [unit, "-o", "json", "TUNNEL=db"];
    let is_up = |entry: &Value| entry["MESSAGE"].as_str().unwrap_or_default().starts_with("tunnel is Up");
    machine.until(async || entries(&machine, &about_db).await.iter().any(is_up)).await?;
    let about_db = entries(&machine, &about_db).await;
    let up = about_db.iter().find(|entry| is_up(entry)).context("db is not up")?;
    ensure!(up["PRIORITY"] == "6" && up["SYSLOG_IDENTIFIER"] == "stormtunneld", "{up}");
    ensure!(up["ATTEMPT"] == "1" && up["TARGET"] == "stormtunnel_engine::tunnel::actor", "{up}");
    ensure!(about_db.iter().all(|entry| entry["TUNNEL"] == "db"), "{about_db:?}");

    // A setting that cannot be taken is a warning.
    let path = machine.ok(&["settings", "path"]).await?;
    machine.ok(&["settings", "set", "tunnels.message_rate", "800"]).await?;
    std::fs::write(path.trim(), "[tunnels]\nconnect_timeout = 7\n")?;
    let warnings = [unit, "-o", "json", "-p", "warning"];
    let is_told = |entry: &Value| entry["MESSAGE"].as_str().unwrap_or_default().contains("connect_timeout");
    machine.until(async || entries(&machine, &warnings).await.iter().any(is_told)).await?;
    let warnings = entries(&machine, &warnings).await;
    ensure!(warnings.iter().all(|entry| entry["PRIORITY"].as_str().is_some_and(|level| level <= "4")));
    ensure!(warnings.iter().any(|entry| is_told(entry) && entry["PRIORITY"] == "4"), "{warnings:?}");

    let shown = machine.ok(&["daemon", "logs"]).await?;
    let line = shown.lines().find(|line| line.contains("tunnel is Up")).context(shown.clone())?;
    ensure!(line.contains("attempt=1 tunnel=db"), "for people the text says it, too: {line}");

    let archive = machine.scene().sandbox().directory().join("report.tar.gz");
    let archive = archive.to_str().context("text")?;
    machine.ok(&["bugreport", "--file", archive]).await?;
    let mut unpack = std::process::Command::new("tar");
    unpack.args(["-xzOf", archive, "--wildcards", "*daemon.log"]);
    let log = process::run(unpack, DEADLINE).await?.success()?;
    ensure!(log.contains("tunnel is Up attempt=1 tunnel=db"), "a report has the journal: {log}");
    println!(
        "promise logs.journald: TUNNEL=db finds {} entries, -p warning {}; `stctl daemon logs` says which tunnel",
        about_db.len(),
        warnings.len()
    );
    Ok(())
}

/// Entries of the journal; none where it does not answer.
async fn entries(machine: &Machine, arguments: &[&str]) -> Vec<Value> {
    let said = machine.journalctl(arguments).await.unwrap_or_default();
    said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[tokio::test]
async fn uninstall_leaves_nothing() -> Result<()> {
    if !own_systemd::enter("uninstall_leaves_nothing").await? {
        return Ok(());
    }
    let echo = EchoServer::start().await?;
    let machine = machine(&echo).await?;
    let place = machine.scene().sandbox();
    machine.ok(&["daemon", "install"]).await?;
    let port = tunnel(&machine).await?;
    machine.ok(&["daemon", "uninstall"]).await?;
    ensure!(local::connect(port, DEADLINE).await.is_err(), "the port is free");
    ensure!(!place.socket().exists(), "the socket is gone");
    let units = place.home().join(".config/systemd/user");
    ensure!(left(&units)?.iter().all(|name| !name.contains("stormtunnel")), "{:?}", left(&units)?);
    let known =
        machine.systemctl(&["list-units", "--all", "--plain", "--no-legend", "stormtunneld*"]).await?;
    ensure!(known.trim().is_empty(), "systemd still knows {known}");
    ensure!(place.state_dir().join("stormtunnel.db").exists(), "the tunnels stay");

    machine.ok(&["daemon", "install"]).await?;
    ensure!(machine.scene().port("db").await? == port, "the tunnel is there again");
    let unconfirmed = machine.stctl(&["daemon", "uninstall", "--purge"]).await?;
    ensure!(unconfirmed.code == 2 && machine.main_pid().await?.is_some(), "{unconfirmed:?}");
    machine.ok(&["daemon", "uninstall", "--purge", "--yes"]).await?;
    ensure!(!place.state_dir().exists(), "{:?}", left(&place.state_dir())?);
    ensure!(!place.socket().exists() && !place.socket().with_extension("sock.lock").exists());
    println!("promise service.uninstall: no unit, no socket, no port; with --purge no state");
    Ok(())
}

fn is_refusal(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<std::io::Error>();
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::ConnectionRefused)
}

fn left(directory: &std::path::Path) -> Result<Vec<String>> {
    fn walk(directory: &std::path::Path, names: &mut Vec<String>) -> std::io::Result<()> {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            names.push(entry.path().display().to_string());
            if entry.file_type()?.is_dir() {
                walk(&entry.path(), names)?;
            }
        }
        Ok(())
    }
    let mut names = Vec::new();
    walk(directory, &mut names)?;
    Ok(names.iter().filter_map(|name| name.rsplit('/').next().map(str::to_owned)).collect())
}

async fn machine(echo: &EchoServer) -> Result<Machine> {
    let scene = Scene::start(Config::default()).await?;
    scene.emulator().map_service(HOST, PORT, echo.address());
    Machine::start(scene).await
}

/// Makes a tunnel `db` that is up and leads to the echo server; answers its port.
async fn tunnel(machine: &Machine) -> Result<u16> {
    let target = machine.scene().emulator().instance();
    machine.ok(&["tunnel", "add", "db", "--target", target, "--remote", &format!("{HOST}:{PORT}")]).await?;
    machine.ok(&["up", "db"]).await?;
    machine.scene().port("db").await
}
