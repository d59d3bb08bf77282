//! What the product costs and how fast it is.
//!
//! Whole processes are measured: the release builds of `stormtunneld` and `stctl`, against the emulator in a process of
//! its own, over TLS. Wall times depend on the machine and on what else runs there, so every figure stands beside the
//! same one of plain TCP through user-space relays, taken in the same run: the ratios are the record. CPU seconds,
//! bytes and counts are compared with what `docs/performance.md` promises.

mod aws;
mod clock;
mod descriptors;
mod fleet;
mod group;
mod http;
mod load;
mod part;
mod process;
mod quantiles;
mod reference;
mod relay;
mod report;
mod scene;
mod tls;
mod traffic;

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use clap::Parser;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::group::Group;
use crate::relay::Relays;
use crate::report::Report;
use crate::traffic::Server;

/// Measures StormTunnel beside plain TCP relays.
#[derive(Parser)]
#[command(
    name = "stormtunnel-bench",
    after_help = "Example:\n  cargo run --release -p stormtunnel-bench -- cpu throughput"
)]
struct Arguments {
    /// What to measure; everything when left out
    #[arg(value_enum)]
    groups: Vec<Group>,
    /// Write the figures to this file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fail when a limit of CPU time, memory or counts is exceeded; limits of time never fail a run
    #[arg(long)]
    check: bool,
    /// What the program starts itself as: the emulator or a relay, in a process of its own.
    #[arg(long, hide = true, exclusive = true)]
    part: bool,
}

/// What all groups measure with.
struct Bench {
    server: Server,
    relays: Relays,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    descriptors::raise_limit()?;
    if arguments.part { part::serve() } else { Runtime::new()?.block_on(run(arguments)) }
}

async fn run(Arguments { groups, json, check, .. }: Arguments) -> Result<()> {
    ensure!(!cfg!(debug_assertions), "only release builds are worth measuring: cargo run --release ...");
    let groups = if groups.is_empty() { Group::ALL.to_vec() } else { groups };
    // A daemon is in a session of its own: it would outlive a run that just died.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let report = tokio::select! {
        report = Box::pin(measure(groups)) => report?,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("terminated"),
    };
    if let Some(path) = json {
        report.write_json(&path)?;
    }
    ensure!(
        !check || report.is_within_limits(),
        "a limit is exceeded: see the lines that begin with \"missed\""
    );
    Ok(())
}

async fn measure(groups: Vec<Group>) -> Result<Report> {
    let server = Server::start().await?;
    let relays = Relays::start(server.address()).await?;
    let bench = Bench { server, relays };
    let mut report = Report::default();
    for group in groups {
        report.begin(group.title())?;
        group.run(&bench, &mut report).await?;
        report.end()?;
    }
    Ok(report)
}
