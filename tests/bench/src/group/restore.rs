//! A daemon that was killed comes back: how soon all of a thousand ports listen, and how their sessions follow.
//!
//! Ports are looked at in `/proc`: a connection that waits would have its tunnel's session started first.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_emulator::Counter;
use rustix::process::Signal;
use serde_json::Value;
use stormtunnel_harness::Place;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::Bench;
use crate::fleet;
use crate::quantiles::Quantiles;
use crate::report::{Nature, Promise, Report, Row};
use crate::scene::{self, Scene, unpaced};

/// Tunnels, and how often their daemon is killed.
const TUNNELS: usize = 1000;
const ROUNDS: usize = 5;
/// How often is looked whether all listen. The kernel takes milliseconds to write its table.
const LOOK: Duration = Duration::from_millis(20);
/// Longest wait for anything here.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long sessions are counted, once the first burst of them has left.
const COUNTED: Duration = Duration::from_secs(20);
/// The burst, and the rate behind it, in sessions per second.
const BURST: u64 = 10;
const RATE: f64 = 5.0;

/// Promised, in seconds.
const LISTENING: f64 = 3.0;

pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let scene = Scene::start(bench.server.address(), unpaced(1024), &[]).await?;
    scene.measuring(Box::pin(measure(&scene, report))).await
}

async fn measure(scene: &Scene, report: &mut Report) -> Result<()> {
    let place = scene.place();
    fleet::add_tunnels(place, TUNNELS - 1).await?;
    place.stctl_ok(&["up", "--all", "--no-wait"]).await?;
    let ports = ports(place).await?;
    let (mut listening, mut bare) = (Quantiles::default(), Quantiles::default());
    for _ in 0..ROUNDS {
        bare.extend([bind(TUNNELS)?]);
        kill(place, &ports).await?;
        listening.extend([restored(place, &ports).await?]);
    }
    let queue = place.stctl(&["ls"]).await?.stderr;
    let queue =
        queue.lines().find(|line| line.contains("wait for their turn")).context("no queue is shown")?;
    let rate = rate(scene).await?;

    let seconds = |quantiles: &Quantiles, part| quantiles.at(part).as_secs_f64();
    for (part, quantile) in [("p50", 0.5), ("worst", 1.0)] {
        let name = format!("{TUNNELS} tunnels: from the first command until all listen, {part}");
        report.row(Row::alone(name, "s", seconds(&listening, quantile)))?;
        let name = format!("{TUNNELS} pairs of sockets bound bare, {part}");
        report.row(Row::alone(name, "s", seconds(&bare, quantile)))?;
    }
    report.row(Row::alone("sessions started behind the first burst", "per s", rate))?;
    let (worst, bare) = (seconds(&listening, 1.0), seconds(&bare, 0.5));
    let figure = format!(
        "all {TUNNELS} listen {worst:.2} s after the command that starts the killed daemon, the worst of {ROUNDS} (limit {LISTENING}; as many \
         sockets bound bare: {bare:.3} s); {rate:.1} sessions/s follow; ls: \"{queue}\""
    );
    let holds = worst <= LISTENING && (rate - RATE).abs() < 0.5;
    report.promise(Promise { id: "restore.thousand", nature: Nature::Timed, figure, holds })
}

/// The ports of all tunnels, once all of them listen.
async fn ports(place: &Place) -> Result<BTreeSet<u16>> {
    let mut looks = interval(Duration::from_millis(200));
    let all = async {
        loop {
            looks.tick().await;
            let listed: Vec<Value> = serde_json::from_str(&place.stctl_ok(&["ls", "-o", "json"]).await?)?;
            let ports: BTreeSet<u16> =
                listed.iter().filter_map(|tunnel| Some(scene::listening(tunnel).ok()?.port())).collect();
            if ports.len() == TUNNELS {
                return Ok(ports);
            }
        }
    };
    timeout(DEADLINE, all).await.context("not all tunnels listen")?
}

/// Binds so many ports of the system's choice, each on both loopback addresses; answers how long that took.
fn bind(count: usize) -> Result<Duration> {
    let start = Instant::now();
    let mut bound = Vec::with_capacity(2 * count);
    for _ in 0..count {
        bound.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
        bound.push(TcpListener::bind((Ipv6Addr::LOCALHOST, 0))?);
    }
    Ok(start.elapsed())
}

async fn kill(place: &Place, ports: &BTreeSet<u16>) -> Result<()> {
    ensure!(place.signal_daemon(Signal::KILL), "the daemon is gone");
    until(|| Ok(listening()?.is_disjoint(ports) && place.daemon_pid().is_none())).await
}

/// From a command that finds no daemon until all ports listen.
async fn restored(place: &Place, ports: &BTreeSet<u16>) -> Result<Duration> {
    let start = Instant::now();
    let (listed, restored) = tokio::join!(place.stctl_ok(&["ls"]), async {
        until(|| Ok(listening()?.is_superset(ports))).await.map(|()| start.elapsed())
    });
    listed.and(restored)
}

async fn until(mut reached: impl FnMut() -> Result<bool>) -> Result<()> {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let looking = async {
        while !reached()? {
            looks.tick().await;
        }
        Ok(())
    };
    timeout(DEADLINE, looking).await.context("it takes too long")?
}

/// The ports on which anybody listens, over IPv4.
fn listening() -> Result<BTreeSet<u16>> {
    let path = Path::new("/proc/self/net/tcp");
    let table =
        std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(table.lines().filter_map(listening_port).collect())
}

/// The local port of a socket that listens, which is state 0A.
fn listening_port(line: &str) -> Option<u16> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, _remote, state) = (fields.next()?, fields.next()?, fields.next()?);
    let (_, port) = local.split_once(':').filter(|_| state == "0A")?;
    u16::from_str_radix(port, 16).ok()
}

/// Sessions per second, behind the first burst.
async fn rate(scene: &Scene) -> Result<f64> {
    let aws = scene.aws();
    let started = aws.count(Counter::ApiStartSession).await?;
    aws.wait(Counter::ApiStartSession, started + BURST).await?;
    let (start, before) = (Instant::now(), aws.count(Counter::ApiStartSession).await?);
    let mut counted = interval(COUNTED);
    counted.tick().await;
    counted.tick().await;
    let more = u32::try_from(aws.count(Counter::ApiStartSession).await? - before)?;
    Ok(f64::from(more) / start.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_that_listen_count() {
        let listens =
            "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1";
        assert_eq!(listening_port(listens), Some(8080));
        assert_eq!(listening_port(&listens.replace(" 0A ", " 01 ")), None);
        assert_eq!(listening_port("  sl  local_address rem_address   st tx_queue rx_queue"), None);
    }

    #[test]
    fn a_bound_port_is_seen() {
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(listening().unwrap().contains(&bound.local_addr().unwrap().port()));
    }
}
