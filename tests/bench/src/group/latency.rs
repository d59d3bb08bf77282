//! Round trips of one byte: idle, beside a bulk transfer, and on a path of 20 ms.
//!
//! Idle, the tunnel, the relays and the emulator alone take turns, so that whatever else the machine does hits all of
//! them. Beside a bulk transfer each path carries its own.

use std::net::SocketAddr;

use anyhow::Result;
use aws_emulator::{AgentHabits, Direction as Way, Injection, LineFaults};
use tokio::task::JoinSet;

use crate::Bench;
use crate::quantiles::Quantiles;
use crate::reference::Reference;
use crate::report::{Nature, Promise, Report, Row};
use crate::scene::{LIFTED, Scene, unpaced};
use crate::traffic::Direction::{self, Down, Up};
use crate::traffic::{Connection, Pace};

/// Turns that each path takes, and echoes per turn.
const TURNS: (u32, u64) = (20, 200);
/// Echoes beside a bulk transfer.
const BESIDE_BULK: u64 = 1000;
/// Echoes where one takes many milliseconds.
const ALONE: u64 = 250;
/// Bytes of the bulk connection before echoes count: its window has grown, its allowance is used up.
const WARM_UP: u64 = 16 << 20;
/// The same where the agent needs a second for a megabyte.
const PACED_WARM_UP: u64 = 1 << 20;
/// What is told of echoes.
const QUANTILES: [(&str, f64); 2] = [("p50", 0.5), ("p99", 0.99)];
/// The long path, in milliseconds each way.
const FAR_ONE_WAY: u64 = 10;

/// Promised beyond the emulator's own round trip, in milliseconds.
const ADDED: f64 = 0.3;
/// Promised beyond the long path's round trip during an upload, in milliseconds.
const QUEUED: f64 = 25.0;

pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let scene = Scene::start(bench.server.address(), unpaced(1024), &[]).await?;
    let default_settings = Box::pin(async {
        idle(&scene, bench, report).await?;
        beside_bulk(&scene, bench, "default settings", report).await?;
        far(&scene, report).await
    });
    scene.measuring(default_settings).await?;
    drop(scene);
    let scene = Scene::start(bench.server.address(), unpaced(32 << 10), LIFTED).await?;
    scene.measuring(beside_bulk(&scene, bench, "32 KiB, no rate limit", report)).await?;
    drop(scene);
    let scene = Scene::start(bench.server.address(), AgentHabits::default(), &[]).await?;
    scene.measuring(alone(&scene, "pacing on", PACED_WARM_UP, report)).await.map(drop)
}

async fn idle(scene: &Scene, bench: &Bench, report: &mut Report) -> Result<()> {
    let mut reference = Reference::start(scene.aws()).await?;
    let mut connections = Vec::new();
    for address in paths(scene, bench) {
        connections.push(Connection::open(address).await?);
    }
    let mut own = Quantiles::default();
    let mut idle = vec![Quantiles::default(); connections.len()];
    let (turns, echoes) = TURNS;
    for _ in 0..turns {
        own.extend(reference.echoes(echoes).await?);
        for (connection, quantiles) in connections.iter_mut().zip(&mut idle) {
            quantiles.extend(connection.echoes(echoes).await?);
        }
    }
    rows("idle", &idle, report)?;
    report.row(Row::alone("idle, the emulator's own, p50", "ms", own.millis(0.5)))?;
    report.row(Row::alone("idle, the emulator's own, p99", "ms", own.millis(0.99)))?;
    let added = idle[0].millis(0.5) - own.millis(0.5);
    let figure = format!(
        "p50 {:.2} ms, {added:.2} ms over the emulator's own {:.2} (limit {ADDED})",
        idle[0].millis(0.5),
        own.millis(0.5)
    );
    report.promise(Promise { id: "fast.rtt", nature: Nature::Timed, figure, holds: added <= ADDED })
}

async fn beside_bulk(scene: &Scene, bench: &Bench, name: &str, report: &mut Report) -> Result<()> {
    for (direction, bulk) in [(Up, "an upload"), (Down, "a download")] {
        let mut found = Vec::new();
        for address in paths(scene, bench) {
            found.push(busy(address, direction, WARM_UP, BESIDE_BULK).await?);
        }
        rows(&format!("beside {bulk}, {name}"), &found, report)?;
    }
    Ok(())
}

/// On a path of 20 ms.
async fn far(scene: &Scene, report: &mut Report) -> Result<()> {
    for direction in [Way::ToAgent, Way::ToClient] {
        let faults = LineFaults { latency_ms: FAR_ONE_WAY, ..LineFaults::default() };
        scene.aws().inject(&Injection::Line { direction, faults }).await?;
    }
    let p99 = alone(scene, "20 ms away", WARM_UP, report).await?;
    #[expect(clippy::cast_precision_loss, reason = "a few milliseconds")]
    let limit = (2 * FAR_ONE_WAY) as f64 + QUEUED;
    let figure = format!("p99 {p99:.1} ms beside an upload, 20 ms away (limit {limit})");
    report.promise(Promise { id: "fast.rtt-bulk", nature: Nature::Timed, figure, holds: p99 <= limit })
}

/// Round trips that relays do not have. Answers the p99 beside an upload, in milliseconds.
async fn alone(scene: &Scene, name: &str, warm_up: u64, report: &mut Report) -> Result<f64> {
    let mut idle = Quantiles::default();
    idle.extend(Connection::open(scene.address()).await?.echoes(ALONE).await?);
    let up = busy(scene.address(), Up, warm_up, ALONE).await?;
    let down = busy(scene.address(), Down, warm_up, ALONE).await?;
    for (load, quantiles) in [("idle", &idle), ("beside an upload", &up), ("beside a download", &down)] {
        for (part, quantile) in QUANTILES {
            report.row(Row::alone(format!("{name}, {load}, {part}"), "ms", quantiles.millis(quantile)))?;
        }
    }
    Ok(up.millis(0.99))
}

/// Echoes while another connection is never done.
async fn busy(address: SocketAddr, direction: Direction, warm_up: u64, echoes: u64) -> Result<Quantiles> {
    let mut bulk = Connection::open(address).await?;
    bulk.carry(direction, warm_up, Pace::FULL).await?;
    let mut endless = JoinSet::new();
    endless.spawn(async move { bulk.carry(direction, u64::MAX, Pace::FULL).await });
    let mut connection = Connection::open(address).await?;
    let mut quantiles = Quantiles::default();
    tokio::select! {
        times = connection.echoes(echoes) => quantiles.extend(times?),
        // It never ends well.
        Some(ended) = endless.join_next() => ended??,
    }
    Ok(quantiles)
}

/// Tunnel, relay, TLS relay.
fn paths(scene: &Scene, bench: &Bench) -> [SocketAddr; 3] {
    [scene.address(), bench.relays.plain.address(), bench.relays.near.address()]
}

fn rows(name: &str, found: &[Quantiles], report: &mut Report) -> Result<()> {
    for (part, quantile) in QUANTILES {
        let of = |path: usize| found.get(path).map_or(0.0, |quantiles| quantiles.millis(quantile));
        report.row(Row::beside(format!("{name}, {part}"), "ms", [of(0), of(1), of(2)]))?;
    }
    Ok(())
}
