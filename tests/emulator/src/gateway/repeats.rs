//! How soon a client acknowledges what had to be sent again: of all acknowledgements, those that an agent waits for.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// What passed the gateway again on its way to one client.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    /// Since when each of them waits for its acknowledgement, by number.
    waiting: BTreeMap<i64, Instant>,
    acknowledged: u64,
    slowest: Duration,
}

impl Repeats {
    /// A message passes that was sent before. One that was repeated already waits for longer.
    pub(crate) fn passed(&mut self, number: i64, now: Instant) {
        self.waiting.entry(number).or_insert(now);
    }

    /// Whether acknowledgements are worth reading.
    pub(crate) fn any_waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The client acknowledged a message.
    pub(crate) fn acknowledged(&mut self, number: i64, now: Instant) {
        if let Some(since) = self.waiting.remove(&number) {
            self.acknowledged += 1;
            self.slowest = self.slowest.max(now - since);
        }
    }

    /// How many were acknowledged, and how long the slowest of them took.
    pub(crate) fn summary(&self) -> (u64, Duration) {
        (self.acknowledged, self.slowest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_counts_from_the_first_repetition() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut repeats = Repeats::default();
        repeats.acknowledged(1, at(0));
        assert_eq!(repeats.summary(), (0, Duration::ZERO), "nobody waited for it");
        repeats.passed(2, at(0));
        repeats.passed(3, at(5));
        repeats.passed(2, at(6));
        assert!(repeats.any_waits());
        repeats.acknowledged(3, at(6));
        repeats.acknowledged(2, at(7));
        repeats.acknowledged(2, at(90));
        assert_eq!(repeats.summary(), (2, Duration::from_millis(7)));
        assert!(!repeats.any_waits());
    }
}
