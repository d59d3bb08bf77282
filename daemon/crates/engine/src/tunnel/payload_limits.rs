//! Payload sizes that sessions learnt the hard way, for the sessions after them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::ports::AwsScope;

/// How long a learnt limit counts. Two breaks of the network at the wrong moment look like a path that takes no large
/// payloads, and must not slow a region down for the rest of the daemon's life.
const LIFETIME: Duration = Duration::from_secs(3600);

/// The largest payload that the path to a region's gateway takes, and when that was learnt.
#[derive(Debug, Default)]
pub(crate) struct PayloadLimits(Mutex<HashMap<AwsScope, (usize, Instant)>>);

impl PayloadLimits {
    pub(crate) fn learn(&self, scope: &AwsScope, limit: usize, now: Instant) {
        self.lock().insert(scope.clone(), (limit, now));
    }

    pub(crate) fn of(&self, scope: &AwsScope, now: Instant) -> Option<usize> {
        let learnt = self.lock().get(scope).copied();
        learnt.filter(|(_, at)| now < *at + LIFETIME).map(|(limit, _)| limit)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AwsScope, (usize, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_counts_for_its_scope_and_for_an_hour() {
        let scope = |region: &str| AwsScope { profile: None, region: Some(region.parse().unwrap()) };
        let start = tokio::time::Instant::now().into_std();
        let limits = PayloadLimits::default();
        limits.learn(&scope("eu-west-1"), 1024, start);
        let just_before = start + LIFETIME - Duration::from_millis(1);
        assert_eq!(limits.of(&scope("eu-west-1"), just_before), Some(1024));
        assert_eq!(limits.of(&scope("eu-west-1"), start + LIFETIME), None);
        assert_eq!(limits.of(&scope("eu-west-2"), start), None);
    }
}
