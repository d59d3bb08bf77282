//! What several sessions are worth: AWS's agent sends about a megabyte per second into each, and whatever shares a session
//! with a bulk transfer waits behind it.

use std::net::SocketAddr;

use anyhow::Result;
use aws_emulator::AgentHabits;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Bench;
use crate::quantiles::Quantiles;
use crate::report::{Nature, Promise, Report, Row};
use crate::scene::Scene;
use crate::traffic::Direction::Down;
use crate::traffic::{Connection, Pace};

/// Sessions that a tunnel may have, and connections that download at once.
const MOST: u8 = 8;
/// Bytes that each connection downloads.
const EACH: u64 = 3 << 20;
/// Bytes of the bulk connection before echoes count.
const WARM_UP: u64 = 1 << 20;
/// Echoes beside it.
const ECHOES: u64 = 200;

/// Promised: how many times as fast eight sessions are as one, and the round trip beside a bulk download in milliseconds.
const TIMES: f64 = 7.0;
const BESIDE: f64 = 10.0;

pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let mut rates = Vec::new();
    let mut echoes = Vec::new();
    for sessions in [1, MOST] {
        let scene = Scene::spread(bench.server.address(), AgentHabits::default(), &[], sessions).await?;
        let (rate, beside) = scene.measuring(measure(scene.address())).await?;
        let name = if sessions == 1 { "one session".to_owned() } else { format!("{sessions} sessions") };
        report.row(Row::alone(format!("{name}: {MOST} downloads together"), "MB/s", rate))?;
        for (part, quantile) in [("p50", 0.5), ("p99", 0.99)] {
            let millis = beside.millis(quantile);
            report.row(Row::alone(format!("{name}: round trip beside a download, {part}"), "ms", millis))?;
        }
        rates.push(rate);
        echoes.push(beside);
    }
    let times = rates[1] / rates[0];
    let figure = format!(
        "{MOST} sessions {:.2} MB/s, one {:.2} MB/s: {times:.1} times (limit {TIMES})",
        rates[1], rates[0]
    );
    report.promise(Promise { id: "sessions.sum", nature: Nature::Timed, figure, holds: times >= TIMES })?;
    let (own, shared) = (echoes[1].millis(0.5), echoes[0].millis(0.5));
    let figure = format!(
        "p50 {own:.2} ms, p99 {:.2} ms; in the same session {shared:.0} ms (limit {BESIDE})",
        echoes[1].millis(0.99)
    );
    report.promise(Promise { id: "sessions.rtt", nature: Nature::Timed, figure, holds: own <= BESIDE })
}

/// Megabytes per second of all downloads together, and round trips beside one download.
async fn measure(address: SocketAddr) -> Result<(f64, Quantiles)> {
    let mut downloads = JoinSet::new();
    let mut connections = Vec::new();
    for _ in 0..MOST {
        let mut connection = Connection::open(address).await?;
        // Each is in its session before the clock starts.
        connection.echoes(1).await?;
        connections.push(connection);
    }
    let start = Instant::now();
    for mut connection in connections {
        downloads.spawn(async move { connection.carry(Down, EACH, Pace::FULL).await });
    }
    while let Some(download) = downloads.join_next().await {
        download??;
    }
    #[expect(clippy::cast_precision_loss, reason = "some megabytes")]
    let megabytes = (EACH * u64::from(MOST)) as f64 / 1e6;
    let rate = megabytes / start.elapsed().as_secs_f64();

    let mut bulk = Connection::open(address).await?;
    bulk.carry(Down, WARM_UP, Pace::FULL).await?;
    let mut endless = JoinSet::new();
    endless.spawn(async move { bulk.carry(Down, u64::MAX, Pace::FULL).await });
    let mut connection = Connection::open(address).await?;
    connection.echoes(1).await?;
    let mut quantiles = Quantiles::default();
    tokio::select! {
        times = connection.echoes(ECHOES) => quantiles.extend(times?),
        // It never ends well.
        Some(ended) = endless.join_next() => ended??,
    }
    Ok((rate, quantiles))
}
