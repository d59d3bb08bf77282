//! The real daemon under every fault, for as long as you like.
//!
//! Real processes, the emulator in this one. A scenario orders faults, moves bytes that only a seed decides, and checks
//! every one of them; a fault that never happened fails the run. What fails names the seed and the command that repeats
//! it: the same faults are ordered in the same order, though two runs of real processes never interleave alike.
//!
//! Reading order: `plan` (what a run is), `footprint` (what the daemon holds), then one file per scenario.

mod bulk;
mod chaos;
mod clock;
mod dice;
mod faults;
mod figures;
mod footprint;
mod job;
mod line_feeds;
mod lost_acks;
mod plan;
mod remote;
mod scenario;
mod stalled;
mod upload;

use std::io::{self, Write as _};
use std::pin::pin;

use anyhow::{Result, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::plan::Plan;
use crate::scenario::Scenario;

/// Runs the real daemon under every fault.
#[derive(Parser)]
#[command(
    name = "stormtunnel-soak",
    after_help = "Examples:\n  cargo run -p stormtunnel-soak -- --short\n  cargo run -p stormtunnel-soak -- faults --seed 7 --minutes 60"
)]
struct Arguments {
    /// What to run; everything when left out
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,
    /// Decides bytes and faults
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long the random faults last
    #[arg(long, value_name = "N")]
    minutes: Option<u32>,
    /// Smaller sizes: all scenarios together take at most five minutes on two busy cores
    #[arg(long)]
    short: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { scenarios, seed, minutes, short } = Arguments::parse();
    let scenarios = if scenarios.is_empty() { Scenario::ALL.to_vec() } else { scenarios };
    let plan = Plan { seed, minutes, short };
    let mut stopped = pin!(stopped());
    let mut failed = Vec::new();
    for scenario in scenarios {
        let start = Instant::now();
        let outcome = tokio::select! {
            outcome = Box::pin(scenario.run(plan)) => outcome,
            // What the scenario started ends with it.
            signal = &mut stopped => bail!("stopped by {}", signal?),
        };
        let took = start.elapsed().as_secs();
        match outcome {
            Ok(figure) => say(&format!("promise {}: {figure}", scenario.promise()))?,
            Err(error) => {
                say(&format!(
                    "{} FAILED after {took} s: {error:#}\nrepeat it: {}",
                    scenario.name(),
                    plan.command(scenario)
                ))?;
                failed.push(scenario.name());
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("failed with seed {seed}: {}", failed.join(", ")) }
}

/// Waits until somebody wants the run to end.
async fn stopped() -> Result<&'static str> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => Ok("SIGINT"),
        _ = terminate.recv() => Ok("SIGTERM"),
    }
}

fn say(text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}
