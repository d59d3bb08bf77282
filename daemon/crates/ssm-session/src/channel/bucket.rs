//! The message rate: at most so many data messages per second, with a burst after a quiet time.
//!
//! A virtual-scheduling token bucket (GCRA): one instant instead of a counter that has to be refilled.

use std::time::{Duration, Instant};

use crate::config::MessageRate;

/// Spaces messages out.
#[derive(Clone, Debug)]
pub(crate) struct RateBucket {
    /// Time that one message costs.
    interval: Duration,
    /// How far `full_at` may run ahead of the clock.
    tolerance: Duration,
    /// When the bucket would be full again.
    full_at: Instant,
}

impl RateBucket {
    pub(crate) fn new(rate: MessageRate, now: Instant) -> Self {
        let interval = Duration::from_secs(1) / rate.per_second.max(1);
        Self { interval, tolerance: interval * (rate.burst.max(1) - 1), full_at: now }
    }

    /// One message per `interval`, no burst.
    #[cfg(feature = "agent")]
    pub(crate) fn paced(interval: Duration, now: Instant) -> Self {
        Self { interval, tolerance: Duration::ZERO, full_at: now }
    }

    /// When the next message may leave; `None`: now.
    pub(crate) fn ready_at(&self, now: Instant) -> Option<Instant> {
        let earliest = self.full_at.checked_sub(self.tolerance)?;
        (earliest > now).then_some(earliest)
    }

    /// One message leaves.
    pub(crate) fn take(&mut self, now: Instant) {
        self.full_at = self.full_at.max(now) + self.interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(bucket: &mut RateBucket, now: Instant) -> usize {
        let mut sent = 0;
        while bucket.ready_at(now).is_none() {
            bucket.take(now);
            sent += 1;
        }
        sent
    }

    #[expect(clippy::disallowed_methods, reason = "any instant serves as the origin of a virtual clock")]
    fn origin() -> Instant {
        Instant::now()
    }

    #[test]
    fn burst_then_rate() {
        let start = origin();
        let mut bucket = RateBucket::new(MessageRate { per_second: 900, burst: 900 }, start);
        assert_eq!(count(&mut bucket, start), 900);
        let next = bucket.ready_at(start).unwrap();
        assert!(next - start < Duration::from_millis(2));
        assert_eq!(count(&mut bucket, start + Duration::from_secs(1)), 900);
        let quiet = start + Duration::from_secs(60);
        assert_eq!(count(&mut bucket, quiet), 900, "a quiet minute saves up one burst, not sixty");
    }
}
