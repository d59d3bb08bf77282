//! Both clocks in one value, so that machines never ask the system.

use std::time::{Duration, Instant};

use stormtunnel_model::Timestamp;

use crate::ports::Clock;

/// The present as the caller knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic clock: all timers run on it.
    pub mono: Instant,
    /// Wall clock: only shown.
    pub wall: Timestamp,
}

impl Now {
    /// Reads both clocks.
    pub fn read(clock: &dyn Clock) -> Self {
        Self { mono: clock.mono(), wall: clock.wall() }
    }

    /// The wall-clock time of a monotonic instant that is not in the past.
    pub fn wall_at(&self, at: Instant) -> Timestamp {
        self.wall.plus(at.saturating_duration_since(self.mono))
    }

    /// Both clocks moved on by `step`: the tick of a virtual clock.
    #[must_use]
    pub fn after(self, step: Duration) -> Self {
        Self { mono: self.mono + step, wall: self.wall.plus(step) }
    }

    /// The same for the session state machine.
    pub fn for_session(&self) -> ssm_session::Now {
        ssm_session::Now::new(self.mono, self.wall.as_millis())
    }

    /// When the runtime's timer has to fire for `at`. The clock's instants and the timer's need not share an origin.
    pub fn timer_at(&self, at: Instant) -> tokio::time::Instant {
        tokio::time::Instant::now() + at.saturating_duration_since(self.mono)
    }
}
