//! Time as an argument: one value carries both clocks, so that no part of this crate asks the system.

use std::time::{Duration, Instant};

/// The present as the caller knows it. `mono` never goes backwards between two calls on the same session; `wall_ms`
/// may jump (it only stamps messages).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic clock: every timer runs on it.
    pub mono: Instant,
    /// Unix time in milliseconds: the `CreatedDate` of messages.
    pub wall_ms: u64,
}

impl Now {
    /// Pairs the two clocks.
    #[must_use]
    pub fn new(mono: Instant, wall_ms: u64) -> Self {
        Self { mono, wall_ms }
    }

    /// Both clocks moved on by `step`: the tick of a virtual clock.
    #[must_use]
    pub fn after(self, step: Duration) -> Self {
        let millis = u64::try_from(step.as_millis()).unwrap_or(u64::MAX);
        Self { mono: self.mono + step, wall_ms: self.wall_ms.saturating_add(millis) }
    }
}

/// The earlier of two optional instants; `None` means never.
pub(crate) fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
