//! Waiting between attempts: exponential with full jitter, so that many tunnels that fell together do not come back
//! together.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore as _, SeedableRng as _};

/// The least wait.
pub const FLOOR: Duration = Duration::from_millis(100);

/// Decides how long to wait before the next attempt. The waits are a function of the seed.
#[derive(Debug)]
pub struct Backoff {
    rng: ChaCha8Rng,
    failures: u32,
}

impl Backoff {
    /// A backoff that has seen no failure.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { rng: ChaCha8Rng::from_seed(seed), failures: 0 }
    }

    /// Counts a failure and answers how long to wait: somewhere between [`FLOOR`] and a ceiling that begins at twice
    /// the floor, doubles with each failure, and never exceeds `cap`.
    pub fn next_wait(&mut self, cap: Duration) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let ceiling = FLOOR.saturating_mul(1 << self.failures.min(20)).min(cap).max(FLOOR);
        let span = u64::try_from((ceiling - FLOOR).as_millis()).unwrap_or(u64::MAX);
        FLOOR + Duration::from_millis(self.rng.next_u64() % span.saturating_add(1))
    }

    /// Somewhere between now and `within`, for what is to happen soon but not everywhere at once. Counts nothing.
    pub fn spread(&mut self, within: Duration) -> Duration {
        let span = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.rng.next_u64() % span.saturating_add(1))
    }

    /// Counts a failure without a wait.
    pub fn note_failure(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// Failures since the last reset.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Forgets the failures.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAP: Duration = Duration::from_secs(15);

    #[test]
    fn waits_stay_between_floor_and_a_doubling_ceiling() {
        for seed in 0..64 {
            let mut backoff = Backoff::new([seed; 32]);
            let mut ceiling = FLOOR;
            for _ in 0..40 {
                ceiling = (ceiling * 2).min(CAP);
                let wait = backoff.next_wait(CAP);
                assert!((FLOOR..=ceiling).contains(&wait), "{wait:?} is outside {FLOOR:?}..={ceiling:?}");
            }
        }
    }

    #[test]
    fn jitter_is_full_and_seeded() {
        let waits = |seed| {
            let mut backoff = Backoff::new([seed; 32]);
            (0..20).map(|_| backoff.next_wait(CAP)).collect::<Vec<_>>()
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
        let late = (0..200).map(|seed| waits(seed)[19]);
        let (short, long) = late.partition::<Vec<_>, _>(|wait| *wait < CAP / 2);
        assert!(short.len() > 60 && long.len() > 60, "half of the waits lie in each half of the range");
    }

    #[test]
    fn a_reset_begins_anew() {
        let mut backoff = Backoff::new([3; 32]);
        (0..10).for_each(|_| backoff.note_failure());
        backoff.reset();
        assert!(backoff.next_wait(CAP) <= FLOOR * 2);
        assert_eq!(backoff.failures(), 1);
    }
}
