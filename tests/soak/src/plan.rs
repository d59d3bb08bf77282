//! What one run is asked for.

use crate::scenario::Scenario;

/// The choices of the command line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Decides bytes and faults.
    pub(crate) seed: u64,
    /// Length of the random faults, when it was given.
    pub(crate) minutes: Option<u32>,
    /// Sizes for a gate instead of a night.
    pub(crate) short: bool,
}

impl Plan {
    /// The first of a million numbers of jobs that are this run's own.
    pub(crate) fn job_numbers(self) -> u64 {
        self.seed.wrapping_mul(1 << 20)
    }

    /// The one of two sizes that this run takes.
    pub(crate) fn size<T>(self, short: T, full: T) -> T {
        if self.short { short } else { full }
    }

    /// The command that repeats a scenario.
    pub(crate) fn command(self, scenario: Scenario) -> String {
        let short = if self.short { " --short" } else { "" };
        let minutes = self.minutes.map(|minutes| format!(" --minutes {minutes}")).unwrap_or_default();
        format!("cargo run -p stormtunnel-soak -- {} --seed {}{minutes}{short}", scenario.name(), self.seed)
    }
}
