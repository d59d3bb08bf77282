//! The scenarios, and the promise that each of them shows.

use anyhow::Result;
use clap::ValueEnum;

use crate::plan::Plan;
use crate::{bulk, chaos, faults, line_feeds, lost_acks, stalled, upload};

/// What can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Bulk both ways over a bad line with drops: every byte, every connection, no growth
    Bulk,
    /// The same against an agent with the real one's habits: a message per millisecond, one resend at a time
    BulkHabits,
    /// One local application that does not read, among 20 busy ones
    Stalled,
    /// One that is alone and reads later
    PausedClient,
    /// Line feeds where the official client changes them
    Lf,
    /// Acknowledgements lost in both directions
    LostAck,
    /// One upload through many losses of the connection
    UploadResumes,
    /// Every fault at random times under connections of every kind
    Faults,
    /// Many tunnels, random faults, and the daemon killed in the middle of it
    Chaos,
}

impl Scenario {
    /// All of them.
    pub(crate) const ALL: &'static [Self] = &[
        Self::Bulk,
        Self::BulkHabits,
        Self::Stalled,
        Self::PausedClient,
        Self::Lf,
        Self::LostAck,
        Self::UploadResumes,
        Self::Faults,
        Self::Chaos,
    ];

    /// The name on the command line.
    pub(crate) fn name(self) -> &'static str {
        self.promise().trim_start_matches("soak.")
    }

    /// The id of the promise.
    pub(crate) fn promise(self) -> &'static str {
        match self {
            Self::Bulk => "soak.bulk",
            Self::BulkHabits => "soak.bulk-habits",
            Self::Stalled => "soak.stalled",
            Self::PausedClient => "soak.paused-client",
            Self::Lf => "soak.lf",
            Self::LostAck => "soak.lost-ack",
            Self::UploadResumes => "soak.upload-resumes",
            Self::Faults => "soak.faults",
            Self::Chaos => "soak.chaos",
        }
    }

    /// Runs it and answers the figure of the promise.
    pub(crate) async fn run(self, plan: Plan) -> Result<String> {
        match self {
            Self::Bulk => bulk::without_brakes(plan).await,
            Self::BulkHabits => bulk::with_habits(plan).await,
            Self::Stalled => stalled::among_others(plan).await,
            Self::PausedClient => stalled::alone(plan).await,
            Self::Lf => line_feeds::run(plan).await,
            Self::LostAck => lost_acks::run(plan).await,
            Self::UploadResumes => upload::run(plan).await,
            Self::Faults => faults::run(plan).await,
            Self::Chaos => chaos::run(plan).await,
        }
    }
}
