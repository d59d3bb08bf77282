//! What idle tunnels hold and use: memory, CPU time, wake-ups.
//!
//! Four daemons, each with an AWS of its own, at the same time. They start one after the other: AWS is asked for five
//! sessions a second, so that a thousand tunnels are up after 200 s. Each is looked at five minutes after its last
//! tunnel has come up, and its CPU time is that of the last two of them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::Bench;
use crate::fleet::Fleet;
use crate::process::Usage;
use crate::report::{Nature, Promise, Report, Row};
use crate::traffic::Connection;

/// How many tunnels the daemons have.
const COUNTS: [usize; 4] = [1, 10, 100, 1000];
/// From the last tunnel on, before CPU time counts: whatever the start left to be done is done.
const SETTLING: Duration = Duration::from_secs(180);
/// How long CPU time counts. Memory is looked at behind it.
const WATCHED: Duration = Duration::from_secs(120);
/// Idle connections, over all tunnels of the second daemon: one tunnel takes 256 of them.
const CONNECTIONS: usize = 1000;

/// Promised memory of a daemon with a thousand tunnels, in MB.
const MEMORY: f64 = 200.0;
/// Promised CPU time of it, in % of a core.
const CPU: f64 = 1.0;
/// Promised cost of a tunnel among a thousand, compared with one among a hundred.
const GROWTH: f64 = 1.25;
/// What CPU times are counted in, in seconds.
const TICK: f64 = 0.01;

/// What one daemon was found to hold and to use.
struct Idle {
    tunnels: f64,
    until_up: Duration,
    /// Resident bytes.
    resident: f64,
    usage: Usage,
    elapsed: Duration,
}

impl Idle {
    /// In % of a core.
    fn cpu(&self) -> f64 {
        self.usage.cpu.as_secs_f64() / self.elapsed.as_secs_f64() * 100.0
    }

    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    fn wake_ups(&self) -> f64 {
        self.usage.wake_ups as f64 / self.elapsed.as_secs_f64()
    }

    /// Resident bytes for each tunnel more than a smaller daemon has.
    fn bytes_per_tunnel(&self, smaller: &Self) -> f64 {
        (self.resident - smaller.resident) / (self.tunnels - smaller.tunnels)
    }

    /// CPU seconds for each tunnel more than a smaller daemon has.
    fn seconds_per_tunnel(&self, smaller: &Self) -> f64 {
        (self.usage.cpu.as_secs_f64() - smaller.usage.cpu.as_secs_f64()) / (self.tunnels - smaller.tunnels)
    }
}

pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let mut watching = JoinSet::new();
    for count in COUNTS {
        let fleet = Fleet::start(bench.server.address(), count).await?;
        watching.spawn(watch(fleet));
    }
    let mut found = Vec::new();
    while let Some(watched) = watching.join_next().await {
        found.push(watched??);
    }
    found.sort_by(|(_, one), (_, other)| one.tunnels.total_cmp(&other.tunnels));
    let [(_, one), (ten_tunnels, ten), (_, hundred), (_, thousand)] = found.as_slice() else {
        anyhow::bail!("not as many daemons as were started")
    };
    for idle in [one, ten, hundred, thousand] {
        rows(idle, one, report)?;
    }
    let per_connection = ten_tunnels.scene().measuring(bytes_per_connection(ten_tunnels)).await?;
    let name = format!("{CONNECTIONS} idle connections of {} tunnels: memory of each", ten.tunnels);
    report.row(Row::alone(name, "KB", per_connection / 1e3))?;
    report.promise(memory(thousand))?;
    report.promise(idle(thousand))?;
    report.promise(linear(ten, hundred, thousand))
}

/// Leaves a fleet alone for five minutes and tells what it is like then.
async fn watch(fleet: Fleet) -> Result<(Fleet, Idle)> {
    let daemon = fleet.scene().daemon()?;
    let watching = async {
        sleep_until(Instant::now() + SETTLING).await;
        let (before, start) = (daemon.usage()?, Instant::now());
        sleep_until(start + WATCHED).await;
        let (after, elapsed) = (daemon.usage()?, start.elapsed());
        let resident = daemon.resident()?;
        fleet.check_undisturbed().await?;
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
        let (tunnels, resident) = (fleet.addresses().count() as f64, resident as f64);
        Ok(Idle { tunnels, until_up: fleet.until_up(), resident, usage: after - before, elapsed })
    };
    let idle = fleet.scene().measuring(watching).await?;
    Ok((fleet, idle))
}

/// Opens connections that have said one byte, and tells what each of them costs.
async fn bytes_per_connection(fleet: &Fleet) -> Result<f64> {
    let daemon = fleet.scene().daemon()?;
    let before = daemon.resident()?;
    let mut open = Vec::new();
    let addresses: Vec<_> = fleet.addresses().collect();
    for address in addresses.iter().cycle().take(CONNECTIONS) {
        let opened = Connection::first_echo(*address).await;
        open.push(opened.with_context(|| format!("after {} connections", open.len()))?.0);
    }
    let more = daemon.resident()?.saturating_sub(before);
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    Ok(more as f64 / open.len() as f64)
}

fn rows(idle: &Idle, one: &Idle, report: &mut Report) -> Result<()> {
    let name = if idle.tunnels > 1.0 { format!("{} tunnels", idle.tunnels) } else { "1 tunnel".to_owned() };
    let mut row =
        |figure: &str, unit, value| report.row(Row::alone(format!("{name}: {figure}"), unit, value));
    row("until all are up", "s", idle.until_up.as_secs_f64())?;
    row("resident memory", "MB", idle.resident / 1e6)?;
    if idle.tunnels > 1.0 {
        row("memory per tunnel beyond the first", "KB", idle.bytes_per_tunnel(one) / 1e3)?;
    }
    row("CPU time", "% of a core", idle.cpu())?;
    row("wake-ups", "per s", idle.wake_ups())
}

fn memory(thousand: &Idle) -> Promise {
    let resident = thousand.resident / 1e6;
    let figure = format!("{resident:.1} MB with {} idle tunnels (limit {MEMORY})", thousand.tunnels);
    Promise { id: "fast.memory", nature: Nature::Counted, figure, holds: resident < MEMORY }
}

fn idle(thousand: &Idle) -> Promise {
    let cpu = thousand.cpu();
    let figure = format!("{cpu:.2} % of a core with {} idle tunnels (limit {CPU})", thousand.tunnels);
    Promise { id: "fast.idle", nature: Nature::Counted, figure, holds: cpu < CPU }
}

/// What each tunnel from the hundredth to the thousandth costs, against each from the tenth to the hundredth: what a
/// daemon needs for itself is in neither. The few ticks of CPU time of a hundred tunnels may be one more or one less.
fn linear(ten: &Idle, hundred: &Idle, thousand: &Idle) -> Promise {
    let bytes = [hundred.bytes_per_tunnel(ten), thousand.bytes_per_tunnel(hundred)];
    let seconds = [hundred.seconds_per_tunnel(ten), thousand.seconds_per_tunnel(hundred)];
    let resolution = TICK / (hundred.tunnels - ten.tunnels);
    let holds = bytes[1] <= bytes[0] * GROWTH && seconds[1] <= (seconds[0] + resolution) * GROWTH;
    let figure = format!(
        "each tunnel beyond 100 takes {:.1} KB and {:.2} ms of CPU time in {} s, each between 10 and 100 {:.1} KB and \
         {:.2} ms (limit {GROWTH} times as much)",
        bytes[1] / 1e3,
        seconds[1] * 1e3,
        WATCHED.as_secs(),
        bytes[0] / 1e3,
        seconds[0] * 1e3,
    );
    Promise { id: "fast.linear", nature: Nature::Counted, figure, holds }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle_with(tunnels: f64, megabytes: f64, millis: u64) -> Idle {
        Idle {
            tunnels,
            until_up: Duration::ZERO,
            resident: megabytes * 1e6,
            usage: Usage { cpu: Duration::from_millis(millis), wake_ups: 240 },
            elapsed: WATCHED,
        }
    }

    #[test]
    fn cost_per_tunnel_may_not_grow_beyond_its_limit() {
        let (ten, hundred) = (idle_with(10.0, 11.0, 20), idle_with(100.0, 20.0, 110));
        assert!(linear(&ten, &hundred, &idle_with(1000.0, 130.0, 1_200)).holds);
        assert!(!linear(&ten, &hundred, &idle_with(1000.0, 140.0, 1_200)).holds, "memory");
        assert!(!linear(&ten, &hundred, &idle_with(1000.0, 130.0, 1_400)).holds, "CPU time");
    }

    #[test]
    fn limits_are_limits() {
        assert!(memory(&idle_with(1000.0, 199.0, 0)).holds && !memory(&idle_with(1000.0, 200.0, 0)).holds);
        assert!(idle(&idle_with(1000.0, 0.0, 1_190)).holds && !idle(&idle_with(1000.0, 0.0, 1_200)).holds);
    }
}
