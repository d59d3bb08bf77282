//! StartSession calls are spread: an account has a request quota that all its users share.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ports::AwsScope;

/// Sustained: five calls a second per profile and region.
const INTERVAL: Duration = Duration::from_millis(200);
/// Calls that may leave at once after a quiet time.
const BURST: u32 = 10;

/// Hands out places in time, per profile and region.
#[derive(Debug, Default)]
pub(crate) struct Politeness {
    /// When each scope's bucket is full again.
    full_at: Mutex<HashMap<AwsScope, Instant>>,
}

impl Politeness {
    /// Takes a place and answers when it is: now, or later.
    pub(crate) fn reserve(&self, scope: &AwsScope, now: Instant) -> Instant {
        let mut buckets = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry(scope.clone()).or_insert(now);
        let full_at = (*bucket).max(now);
        *bucket = full_at + INTERVAL;
        // A full bucket has room for the whole burst; each place taken moves the time when it is full again.
        let ahead = full_at - now;
        now + ahead.saturating_sub(INTERVAL * (BURST - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(region: &str) -> AwsScope {
        AwsScope { profile: None, region: Some(region.parse().unwrap()) }
    }

    #[test]
    fn a_burst_leaves_at_once_and_the_rest_at_the_rate() {
        let politeness = Politeness::default();
        let now = tokio::time::Instant::now().into_std();
        let waits: Vec<_> = (0..15).map(|_| politeness.reserve(&scope("eu-west-1"), now) - now).collect();
        assert!(waits[..10].iter().all(Duration::is_zero), "{waits:?}");
        assert_eq!(waits[10..], [1, 2, 3, 4, 5].map(|place| INTERVAL * place));
        assert_eq!(politeness.reserve(&scope("eu-west-2"), now), now, "another region has its own quota");
    }

    #[test]
    fn quiet_time_fills_the_bucket_but_not_beyond_the_burst() {
        let politeness = Politeness::default();
        let start = tokio::time::Instant::now().into_std();
        (0..10).for_each(|_| assert_eq!(politeness.reserve(&scope("eu-west-1"), start), start));
        let later = start + Duration::from_secs(3600);
        let at_once = (0..20).filter(|_| politeness.reserve(&scope("eu-west-1"), later) == later).count();
        assert_eq!(at_once, 10);
    }
}
