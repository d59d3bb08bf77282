//! Locally finished streams to which the agent may still answer, and when each is looked at for its FIN.
//!
//! There may be thousands, and each byte that comes puts a FIN off. So a timer stays as it was set, and what was heard
//! since is noticed once it expires: silence only ever begins later than was thought, so that no timer is ever late.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::event::StreamId;

#[derive(Debug)]
pub(super) struct HalfClosed {
    grace: Duration,
    /// Each with its entry in `timers`, if it has one.
    streams: BTreeMap<StreamId, Option<Instant>>,
    timers: BTreeSet<(Instant, StreamId)>,
}

impl HalfClosed {
    pub(super) fn new(grace: Duration) -> Self {
        Self { grace, streams: BTreeMap::new(), timers: BTreeSet::new() }
    }

    /// Sets the timer of a stream by the silence of its remote end. `None`: it is not silent, and has no timer until
    /// it is.
    pub(super) fn watch(&mut self, id: StreamId, silent_since: Option<Instant>) {
        self.remove(id);
        let timer = silent_since.map(|since| since + self.grace);
        self.streams.insert(id, timer);
        self.timers.extend(timer.map(|at| (at, id)));
    }

    pub(super) fn remove(&mut self, id: StreamId) {
        if let Some(Some(timer)) = self.streams.remove(&id) {
            self.timers.remove(&(timer, id));
        }
    }

    pub(super) fn clear(&mut self) {
        self.streams.clear();
        self.timers.clear();
    }

    /// Whether it is one of them, and has no timer.
    pub(super) fn is_untimed(&self, id: StreamId) -> bool {
        self.streams.get(&id).is_some_and(Option::is_none)
    }

    pub(super) fn ids(&self) -> Vec<StreamId> {
        self.streams.keys().copied().collect()
    }

    /// Streams whose timers have expired.
    pub(super) fn expired(&self, now: Instant) -> Vec<StreamId> {
        self.timers.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect()
    }

    /// When the next timer expires.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(30);

    #[expect(clippy::disallowed_methods, reason = "any instant serves as the origin of a virtual clock")]
    fn origin() -> Instant {
        Instant::now()
    }

    #[test]
    fn streams_of_one_instant_are_all_kept_and_expire_together() {
        let start = origin();
        let mut half_closed = HalfClosed::new(GRACE);
        let ids: Vec<_> = (1..=1000).map(StreamId).collect();
        ids.iter().for_each(|id| half_closed.watch(*id, Some(start)));
        let at = start + GRACE;
        assert_eq!(half_closed.next_timeout(), Some(at));
        assert_eq!(half_closed.expired(at - Duration::from_nanos(1)), []);
        half_closed.remove(StreamId(500));
        assert_eq!(half_closed.expired(at).len(), 999);
        assert_eq!(half_closed.ids(), half_closed.expired(at));
    }

    #[test]
    fn a_stream_has_one_timer_at_most() {
        let start = origin();
        let mut half_closed = HalfClosed::new(GRACE);
        let id = StreamId(1);
        for second in [0, 5, 5, 9] {
            half_closed.watch(id, Some(start + Duration::from_secs(second)));
            assert_eq!(half_closed.timers.len(), 1);
        }
        assert!(!half_closed.is_untimed(id));
        half_closed.watch(id, None);
        assert_eq!((half_closed.next_timeout(), half_closed.ids().len()), (None, 1));
        assert!(half_closed.is_untimed(id));
        half_closed.remove(id);
        assert!(!half_closed.is_untimed(id), "it is none of them any more");
    }
}
