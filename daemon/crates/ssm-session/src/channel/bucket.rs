//! The message rate: at most so many data messages per second, with a burst after a quiet time.
//!
//! A virtual-scheduling token bucket (GCRA): one instant instead of a counter that has to be refilled. A sender that has
//! emptied it goes on only after some milliseconds, with several messages at once: a wake-up, a TLS record and a system
//! call for each of 900 messages a second would cost more than the messages. Whatever is in a hurry does not wait for that.

use std::time::{Duration, Instant};

use crate::config::MessageRate;

/// What an empty bucket saves up before the next message of a bulk upload leaves.
const SAVING: Duration = Duration::from_millis(12);

/// Spaces messages out.
#[derive(Clone, Debug)]
pub(crate) struct RateBucket {
    /// Time that one message costs.
    interval: Duration,
    /// How far `full_at` may run ahead of the clock.
    tolerance: Duration,
    /// Further messages to wait for once it is empty, as time.
    saving: Duration,
    /// It was emptied, and saves up.
    empty: bool,
    /// When the bucket would be full again.
    full_at: Instant,
}

impl RateBucket {
    pub(crate) fn new(rate: MessageRate, now: Instant) -> Self {
        let interval = Duration::from_secs(1) / rate.per_second.max(1);
        let tolerance = interval * (rate.burst.max(1) - 1);
        let messages = u32::try_from(SAVING.as_nanos() / interval.as_nanos().max(1)).unwrap_or(u32::MAX);
        let saving = (interval * messages).min(tolerance);
        Self { interval, tolerance, saving, empty: false, full_at: now }
    }

    /// One message per `interval`, no burst.
    #[cfg(feature = "agent")]
    pub(crate) fn paced(interval: Duration, now: Instant) -> Self {
        Self { interval, tolerance: Duration::ZERO, saving: Duration::ZERO, empty: false, full_at: now }
    }

    /// When the next message may leave; `None`: now. One in a hurry takes of what is being saved.
    pub(crate) fn ready_at(&self, hurry: bool, now: Instant) -> Option<Instant> {
        let saving = if self.empty && !hurry { self.saving } else { Duration::ZERO };
        let earliest = (self.full_at + saving).checked_sub(self.tolerance)?;
        (earliest > now).then_some(earliest)
    }

    /// One message leaves.
    pub(crate) fn take(&mut self, now: Instant) {
        let saves = self.ready_at(false, now).is_some();
        self.full_at = self.full_at.max(now) + self.interval;
        self.empty = saves || self.full_at > now + self.tolerance;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn count(bucket: &mut RateBucket, now: Instant) -> usize {
        let mut sent = 0;
        while bucket.ready_at(false, now).is_none() {
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
        let mut bucket = RateBucket::new(MessageRate { per_second: 900, burst: 180 }, start);
        assert_eq!(count(&mut bucket, start), 180);
        assert_eq!(count(&mut bucket, start + Duration::from_millis(100)), 90);
        let quiet = start + Duration::from_secs(60);
        assert_eq!(count(&mut bucket, quiet), 180, "a quiet minute saves up one burst, not sixty");
    }

    /// 14 MB/s of 16 KiB payloads need 855 messages a second.
    #[test]
    fn an_empty_bucket_gives_several_at_once_and_the_rate_in_the_long_run() {
        let start = origin();
        let mut bucket = RateBucket::new(MessageRate { per_second: 900, burst: 180 }, start);
        assert_eq!(count(&mut bucket, start), 180);
        let (mut sent, mut wake_ups, mut now) = (0, 0, start);
        while let Some(at) = bucket.ready_at(false, now).filter(|at| *at <= start + Duration::from_secs(10)) {
            now = at;
            let batch = count(&mut bucket, now);
            assert!((1..=12).contains(&batch), "{batch} at once");
            (sent, wake_ups) = (sent + batch, wake_ups + 1);
        }
        assert!((8990..=9000).contains(&sent), "{sent} in ten seconds");
        assert!(wake_ups <= 830, "{wake_ups} wake-ups");
    }

    #[test]
    fn one_in_a_hurry_does_not_wait_until_enough_is_saved_and_lets_nobody_else_pass() {
        let start = origin();
        let mut bucket = RateBucket::new(MessageRate { per_second: 1000, burst: 200 }, start);
        assert_eq!(count(&mut bucket, start), 200);
        let bulk_at = bucket.ready_at(false, start).unwrap();
        assert_eq!(bucket.ready_at(true, start), Some(start + Duration::from_millis(1)));
        let soon = start + Duration::from_millis(3);
        assert_eq!(bucket.ready_at(true, soon), None);
        bucket.take(soon);
        assert_eq!(bucket.ready_at(true, soon), None);
        assert_eq!(bucket.ready_at(false, soon), Some(bulk_at + Duration::from_millis(1)), "it took one");
    }

    proptest! {
        /// Whatever the sender does, whenever it wakes: the service is reported to end channels beyond 2000.
        #[test]
        fn no_two_seconds_see_more_than_2000_messages(
            visits in prop::collection::vec((0..400u64, 0..400usize, prop::bool::ANY), 1..200),
        ) {
            let mut now = origin();
            let mut bucket = RateBucket::new(MessageRate::default(), now);
            let mut sent: VecDeque<Instant> = VecDeque::new();
            for (wait, wanted, hurry) in visits {
                now += Duration::from_millis(wait);
                for _ in 0..wanted {
                    if bucket.ready_at(hurry, now).is_none() {
                        bucket.take(now);
                        sent.push_back(now);
                    }
                }
                while sent.front().is_some_and(|at| now - *at > Duration::from_secs(2)) {
                    sent.pop_front();
                }
                prop_assert!(sent.len() <= 2000, "{} in two seconds", sent.len());
            }
        }
    }
}
