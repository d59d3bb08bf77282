//! From a beginning to the first answer: of commands, and of new connections.
//!
//! Commands stand beside the start of a process that does nothing, new connections beside the same ones through the
//! relays. All take turns.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use stormtunnel_harness::Place;
use tokio::process::Command;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::Bench;
use crate::fleet;
use crate::quantiles::Quantiles;
use crate::report::{Nature, Promise, Report, Row};
use crate::scene::{Scene, TUNNEL, unpaced};
use crate::traffic::Connection;

/// Starts of a stopped tunnel.
const STARTS: u32 = 30;
/// Time between two of them: the daemon asks AWS for five sessions a second at most, and its own manners are not what is
/// measured.
const START_EVERY: Duration = Duration::from_millis(250);
/// New connections on each path.
const CONNECTIONS: u32 = 500;
/// Lists of tunnels, and how many are in one.
const LISTS: (u32, usize) = (100, 100);
/// Longest run of one command.
const DEADLINE: Duration = Duration::from_secs(60);
/// A program that does nothing.
const EMPTY: &str = "/bin/true";

/// Promised beyond the start of an empty process, in milliseconds.
const LISTED: f64 = 3.0;
/// Promised size of the command line, in bytes: it is read from the disk at each start.
const SIZE: u64 = 5_000_000;

pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let scene = Scene::start(bench.server.address(), unpaced(1024), &[]).await?;
    let measurements = Box::pin(async {
        connections(&scene, bench, report).await?;
        starts(&scene, report).await?;
        lists(&scene, report).await?;
        size(&scene, report).await
    });
    scene.measuring(measurements).await
}

/// A new connection of a tunnel that is up, until its first byte is back.
async fn connections(scene: &Scene, bench: &Bench, report: &mut Report) -> Result<()> {
    let paths = [scene.address(), bench.relays.plain.address(), bench.relays.near.address()];
    let mut found = vec![Quantiles::default(); paths.len()];
    for _ in 0..CONNECTIONS {
        for (address, quantiles) in paths.into_iter().zip(&mut found) {
            let (connection, took) = Connection::first_echo(address).await?;
            quantiles.extend([took]);
            connection.end().await?;
        }
    }
    for (part, quantile) in [("p50", 0.5), ("p99", 0.99)] {
        let figures = [0, 1, 2].map(|path: usize| found[path].millis(quantile));
        report.row(Row::beside(format!("new connection to first echoed byte, {part}"), "ms", figures))?;
    }
    Ok(())
}

/// `stctl up` on a stopped tunnel, until it says that it is ready.
async fn starts(scene: &Scene, report: &mut Report) -> Result<()> {
    let place = scene.place();
    let (mut up, mut empty) = (Quantiles::default(), Quantiles::default());
    let mut turns = interval(START_EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..STARTS {
        place.stctl_ok(&["down", TUNNEL]).await?;
        turns.tick().await;
        up.extend([run_time(place.stctl_command(&["up", TUNNEL])).await?]);
        empty.extend([run_time(empty_command(place)).await?]);
    }
    beside_empty("stctl up, a stopped tunnel", &up, &empty, report)
}

/// `stctl ls`, with a daemon that runs.
async fn lists(scene: &Scene, report: &mut Report) -> Result<()> {
    let place = scene.place();
    let (turns, tunnels) = LISTS;
    fleet::add_tunnels(place, tunnels - 1).await?;
    let (mut listed, mut empty) = (Quantiles::default(), Quantiles::default());
    for _ in 0..turns {
        listed.extend([run_time(place.stctl_command(&["ls"])).await?]);
        empty.extend([run_time(empty_command(place)).await?]);
    }
    beside_empty(&format!("stctl ls, {tunnels} tunnels"), &listed, &empty, report)?;
    let more = listed.millis(0.5) - empty.millis(0.5);
    let figure = format!(
        "p50 {:.2} ms with {tunnels} tunnels, {more:.2} ms over an empty process's {:.2} (limit {LISTED})",
        listed.millis(0.5),
        empty.millis(0.5)
    );
    report.promise(Promise { id: "fast.ls", nature: Nature::Timed, figure, holds: more <= LISTED })
}

/// What `stctl` takes on the disk.
async fn size(scene: &Scene, report: &mut Report) -> Result<()> {
    let command = scene.place().stctl_command(&[]);
    let bytes = tokio::fs::metadata(command.get_program()).await.context("stctl has no size")?.len();
    let figure = format!("{:.2} MB (limit {} MB)", bytes as f64 / 1e6, SIZE / 1_000_000);
    report.row(Row::alone("stctl: size of the program".to_owned(), "MB", bytes as f64 / 1e6))?;
    report.promise(Promise { id: "fast.size", nature: Nature::Counted, figure, holds: bytes < SIZE })
}

fn beside_empty(name: &str, found: &Quantiles, empty: &Quantiles, report: &mut Report) -> Result<()> {
    for (part, quantile) in [("p50", 0.5), ("p99", 0.99)] {
        report.row(Row::alone(format!("{name}, {part}"), "ms", found.millis(quantile)))?;
        let name = format!("{name}: an empty process, {part}");
        report.row(Row::alone(name, "ms", empty.millis(quantile)))?;
    }
    Ok(())
}

/// What `stctl` would be if it did nothing.
fn empty_command(place: &Place) -> std::process::Command {
    let mut command = std::process::Command::new(EMPTY);
    command.env_clear().envs(place.environment()).current_dir(place.directory());
    command
}

/// How long a program runs that must succeed, its start included.
async fn run_time(command: std::process::Command) -> Result<Duration> {
    let shown = command.get_program().display().to_string();
    let mut command = Command::from(command);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let start = Instant::now();
    let output = timeout(DEADLINE, command.output())
        .await
        .with_context(|| format!("{shown} takes longer than {DEADLINE:?}"))?
        .with_context(|| format!("{shown} cannot be started"))?;
    let took = start.elapsed();
    ensure!(output.status.success(), "{shown}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(took)
}
