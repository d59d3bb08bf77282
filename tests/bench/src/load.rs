//! Bulk traffic over one path, with what it took.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::process::{Process, Usage};
use crate::traffic::{Connection, Direction, Pace};

/// Longest time for one load: the slowest (a paced agent) takes a tenth of it.
const DEADLINE: Duration = Duration::from_secs(600);

/// So many bytes, over so many connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) direction: Direction,
    pub(crate) connections: u64,
    /// Over all connections together.
    pub(crate) bytes: u64,
    /// Carried before, over the same connections: windows have grown and allowances are used up when it counts.
    pub(crate) warm_up: u64,
    pub(crate) pace: Pace,
}

/// What a load took.
#[derive(Clone, Debug)]
pub(crate) struct Took {
    bytes: u64,
    elapsed: Duration,
    /// Of each process that was watched.
    usages: Vec<Usage>,
}

impl Took {
    /// Millions of bytes per second.
    pub(crate) fn megabytes_per_second(&self) -> f64 {
        self.megabytes() / self.elapsed.as_secs_f64()
    }

    /// CPU seconds per hundred million bytes, of the process watched at that place.
    pub(crate) fn cpu_per_100_megabytes(&self, process: usize) -> f64 {
        self.usages[process].cpu.as_secs_f64() / self.megabytes() * 100.0
    }

    /// Wake-ups of threads per million bytes, of the first process watched.
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    pub(crate) fn wake_ups_per_megabyte(&self) -> f64 {
        self.usages[0].wake_ups as f64 / self.megabytes()
    }

    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    fn megabytes(&self) -> f64 {
        self.bytes as f64 / 1e6
    }
}

/// Carries a load to what listens at `address`, and tells what it took and what these processes used.
pub(crate) async fn carry(load: Load, address: SocketAddr, processes: &[Process]) -> Result<Took> {
    let usages = || processes.iter().map(|process| process.usage()).collect::<Result<Vec<_>>>();
    let work = async {
        let mut connections = Vec::new();
        for _ in 0..load.connections {
            connections.push(Connection::open(address).await?);
        }
        let connections = share(connections, load, load.warm_up).await?;
        let (before, start) = (usages()?, Instant::now());
        let connections = share(connections, load, load.bytes).await?;
        let elapsed = start.elapsed();
        let usages = usages()?.into_iter().zip(before).map(|(after, before)| after - before).collect();
        for connection in connections {
            connection.end().await?;
        }
        Ok(Took { bytes: load.bytes, elapsed, usages })
    };
    timeout(DEADLINE, work).await.with_context(|| format!("{load:?} takes longer than {DEADLINE:?}"))?
}

/// Lets all connections carry their share at once.
async fn share(connections: Vec<Connection>, load: Load, bytes: u64) -> Result<Vec<Connection>> {
    let each = bytes / load.connections;
    let mut carrying = JoinSet::new();
    for mut connection in connections {
        carrying.spawn(async move {
            connection.carry(load.direction, each, load.pace).await.map(|()| connection)
        });
    }
    let mut connections = Vec::new();
    while let Some(carried) = carrying.join_next().await {
        connections.push(carried??);
    }
    Ok(connections)
}
