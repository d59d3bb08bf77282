//! The groups of figures.

mod cpu;
mod latency;
mod memory;
mod restore;
mod resume;
mod sessions;
mod start;
mod throughput;

use anyhow::Result;
use clap::ValueEnum;

use crate::Bench;
use crate::report::Report;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// CPU seconds per 100 MB, wake-ups and acknowledgements
    Cpu,
    /// Bytes per second, up and down
    Throughput,
    /// Round trips of one byte, idle and beside bulk transfers
    Latency,
    /// Commands and new connections, from their beginning to their first answer
    Start,
    /// How soon everything flows after a loss of the data channel or of messages
    Resume,
    /// What several sessions are worth where the agent limits each
    Sessions,
    /// A killed daemon with a thousand tunnels comes back; takes two minutes
    Restore,
    /// What up to a thousand idle tunnels hold and use; takes nine minutes
    Memory,
}

impl Group {
    /// In the order in which they are run.
    pub(crate) const ALL: [Self; 8] = [
        Self::Cpu,
        Self::Throughput,
        Self::Latency,
        Self::Start,
        Self::Resume,
        Self::Sessions,
        Self::Restore,
        Self::Memory,
    ];

    /// The heading of its table.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Throughput => "Throughput",
            Self::Latency => "Latency",
            Self::Start => "Start",
            Self::Resume => "Resume",
            Self::Sessions => "Sessions",
            Self::Restore => "Restore",
            Self::Memory => "Memory",
        }
    }

    pub(crate) async fn run(self, bench: &Bench, report: &mut Report) -> Result<()> {
        match self {
            Self::Cpu => cpu::run(bench, report).await,
            Self::Throughput => throughput::run(bench, report).await,
            Self::Latency => latency::run(bench, report).await,
            Self::Start => start::run(bench, report).await,
            Self::Resume => resume::run(bench, report).await,
            Self::Sessions => sessions::run(bench, report).await,
            Self::Restore => restore::run(bench, report).await,
            Self::Memory => memory::run(bench, report).await,
        }
    }
}
