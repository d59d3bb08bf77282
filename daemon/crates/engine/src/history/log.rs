//! The events in memory: those that wait for the disk, and the newest ones for watchers.

use std::collections::VecDeque;
use std::sync::Arc;

use stormtunnel_model::{Event, EventId, EventKind, EventSubject, Timestamp, TunnelId};

use crate::ports::EventQuery;

/// Events that are kept in memory. Those of a restart with 1000 tunnels fit, and the disk may pause for as long.
pub(super) const LENGTH: usize = 2048;

/// The log.
#[derive(Debug)]
pub(super) struct Log {
    /// The newest ones, without gaps.
    kept: VecDeque<Arc<Event>>,
    /// Those that the keeper is storing at present. They may have left `kept` already.
    taken: Vec<Arc<Event>>,
    /// Number of the last event.
    last: EventId,
    /// The last one that left `kept`; before the first one does, that before the first.
    evicted: EventId,
    /// All up to this one are stored or were lost.
    stored: EventId,
    /// How many fell out before they could be stored.
    lost: u64,
}

impl Log {
    /// Goes on after `last`.
    pub(super) fn new(last: EventId) -> Self {
        Self { kept: VecDeque::new(), taken: Vec::new(), last, evicted: last, stored: last, lost: 0 }
    }

    pub(super) fn push(&mut self, at: Timestamp, subject: Option<EventSubject>, kind: EventKind) -> EventId {
        if self.kept.len() == LENGTH
            && let Some(oldest) = self.kept.pop_front()
        {
            self.evicted = oldest.id;
            if oldest.id > self.held() {
                self.lost += 1;
            }
        }
        self.last = EventId(self.last.0 + 1);
        self.kept.push_back(Arc::new(Event { id: self.last, at, subject, kind }));
        self.last
    }

    /// The last event that is stored or in the keeper's hands.
    fn held(&self) -> EventId {
        self.taken.last().map_or(self.stored, |event| event.id)
    }

    /// Events for the keeper to store: the same ones until it says that they are stored.
    pub(super) fn take(&mut self, most: usize) -> Vec<Arc<Event>> {
        if self.taken.is_empty() {
            let stored = self.stored;
            self.taken = self.kept.iter().filter(|event| event.id > stored).take(most).cloned().collect();
        }
        self.taken.clone()
    }

    /// What was taken is stored. Answers how many events were lost since the last time.
    pub(super) fn put_away(&mut self) -> u64 {
        self.stored = self.held();
        self.taken.clear();
        std::mem::take(&mut self.lost)
    }

    pub(super) fn last(&self) -> EventId {
        self.last
    }

    /// Everything after this event is in memory, as far as it was not lost.
    pub(super) fn covers_after(&self) -> EventId {
        if self.taken.is_empty() { self.evicted } else { self.evicted.min(self.stored) }
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Event>> {
        let first = self.kept.front().map(|event| event.id);
        let taken = self.taken.iter().filter(move |event| first.is_none_or(|first| event.id < first));
        taken.chain(&self.kept)
    }

    /// All that a query wants, whatever its limit.
    pub(super) fn matching(&self, query: &EventQuery) -> Vec<Arc<Event>> {
        self.iter().filter(|event| query.admits(event)).cloned().collect()
    }

    /// Up to `most` events after `id`, whoever they are of.
    pub(super) fn after(&self, id: EventId, most: usize) -> Vec<Arc<Event>> {
        self.iter().filter(|event| event.id > id).take(most).cloned().collect()
    }

    /// The tunnel that the newest event under this name or id tells of.
    pub(super) fn find(&self, name_or_id: &str) -> Option<TunnelId> {
        let id: Option<TunnelId> = name_or_id.parse().ok();
        let subjects = self.iter().rev().filter_map(|event| event.subject.as_ref());
        let mut named = subjects
            .filter(|subject| subject.name.as_str() == name_or_id || Some(subject.tunnel) == id)
            .map(|subject| subject.tunnel);
        named.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(log: &mut Log) -> EventId {
        log.push(Timestamp::from_millis(1), None, EventKind::DaemonStarted)
    }

    fn ids(events: &[Arc<Event>]) -> Vec<u64> {
        events.iter().map(|event| event.id.0).collect()
    }

    #[test]
    fn what_was_taken_is_taken_again_until_it_is_stored() {
        let mut log = Log::new(EventId(10));
        for _ in 0..3 {
            push(&mut log);
        }
        assert_eq!(ids(&log.take(2)), [11, 12]);
        push(&mut log);
        assert_eq!(ids(&log.take(2)), [11, 12], "not stored yet");
        assert_eq!(log.put_away(), 0);
        assert_eq!(ids(&log.take(9)), [13, 14]);
        assert_eq!(log.put_away(), 0);
        assert!(log.take(9).is_empty());
        assert_eq!(log.put_away(), 0, "nothing was taken, nothing was lost");
    }

    #[test]
    fn what_falls_out_before_it_is_stored_is_counted_once() {
        let mut log = Log::new(EventId(0));
        for _ in 0..3 {
            push(&mut log);
        }
        assert_eq!(log.take(2).len(), 2);
        for _ in 0..LENGTH + 5 {
            push(&mut log);
        }
        // 8 left the log: two are in the keeper's hands.
        assert_eq!(log.put_away(), 6);
        assert_eq!(ids(&log.take(1)), [9]);
        assert_eq!(log.put_away(), 0);
    }

    #[test]
    fn what_the_keeper_holds_is_still_in_memory() {
        let mut log = Log::new(EventId(0));
        for _ in 0..3 {
            push(&mut log);
        }
        log.take(2);
        for _ in 0..LENGTH {
            push(&mut log);
        }
        assert_eq!(log.covers_after(), EventId(0));
        assert_eq!(ids(&log.after(EventId(0), 3)), [1, 2, 4], "the third was lost");
        log.put_away();
        assert_eq!(log.covers_after(), EventId(3));
        assert_eq!(ids(&log.after(EventId(0), 1)), [4]);
    }
}
