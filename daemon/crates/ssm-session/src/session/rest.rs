//! When reading may rest for a moment.
//!
//! AWS's agent sends a kilobyte and sleeps for a millisecond. Taken one by one, each of its messages wakes a thread that
//! finds the processor's caches cold: the wake-up costs twenty times what the message does. Nobody misses a bulk download's
//! messages for some milliseconds, so they are left in the socket and taken together.
//!
//! Only in bulk, only in one direction, only at such a pace: a reply must not wait, and a fast agent fills a batch by
//! itself.

use std::time::{Duration, Instant};

use crate::config::SAFE_PAYLOAD;

/// How long: eight messages of an agent that pauses for a millisecond after each, as they come in practice. What rests is
/// acknowledged right afterwards. That is late enough to count in the agent's estimate of the round trip, and early enough
/// that it sends nothing again: it waits for 10 ms more than it has learnt to expect, and looks once in 100 ms.
const REST: Duration = Duration::from_millis(15);
/// Nobody waits for a reply to what was sent so long ago: it has come, or it is the bulk itself.
const ONE_WAY: Duration = Duration::from_millis(200);
/// More messages than this at once are a batch already.
const FEW: u64 = 32;

/// What reading has seen of the traffic.
#[derive(Debug, Default)]
pub(super) struct Rest {
    spoke_at: Option<Instant>,
    heard_at: Option<Instant>,
    /// Time between the last two messages.
    gap: Duration,
    /// The last message was as long as AWS's agent makes them: there may be more behind it.
    full: bool,
    /// Messages since the last break.
    heard: u64,
    /// When the present rest is over.
    until: Option<Instant>,
}

impl Rest {
    /// A local application opened a stream or sent something. That ends a rest: a reply may come.
    pub(super) fn spoke(&mut self, now: Instant) {
        self.spoke_at = Some(now);
        self.until = None;
    }

    /// Time has passed.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.until = self.until.filter(|until| *until > now);
    }

    /// When the present rest is over, if there is one.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Stream data came, in its turn.
    pub(super) fn heard(&mut self, bytes: usize, now: Instant) {
        self.gap = self.heard_at.map_or(Duration::MAX, |at| now - at);
        self.heard_at = Some(now);
        self.full = bytes >= SAFE_PAYLOAD;
        self.heard += 1;
    }

    /// All that had arrived was taken in. Answers whether reading may rest now; `bulk`: a download is under way.
    pub(super) fn begin(&mut self, bulk: bool, now: Instant) -> bool {
        let few = (1..=FEW).contains(&std::mem::take(&mut self.heard));
        let one_way = self.spoke_at.is_none_or(|at| now - at >= ONE_WAY);
        let rests = bulk && few && one_way && self.full && self.gap <= REST;
        self.until = rests.then(|| now + REST);
        rests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any instant serves as the origin of a virtual clock")]
    fn origin() -> Instant {
        Instant::now()
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A download, one full message per millisecond until now.
    fn download(now: Instant) -> Rest {
        let mut rest = Rest::default();
        rest.heard(1024, now - ms(1));
        rest.heard(1024, now);
        rest
    }

    #[test]
    fn a_paced_download_in_bulk_is_taken_in_batches() {
        let start = origin() + ms(1);
        let mut rest = download(start);
        assert!(rest.begin(true, start));
        assert_eq!(rest.until(), Some(start + REST));
        for _ in 0..8 {
            rest.heard(1024, start + REST);
        }
        assert!(rest.begin(true, start + REST));
        assert_eq!(rest.until(), Some(start + REST * 2));
    }

    #[test]
    fn nothing_but_bulk_waits() {
        let now = origin() + ms(1);
        assert!(!download(now).begin(false, now));
        let mut ended = download(now);
        ended.heard(1023, now);
        assert!(!ended.begin(true, now), "the agent had no more to send");
        let mut slow = download(now);
        slow.heard(1024, now + REST + ms(1));
        assert!(!slow.begin(true, now + REST + ms(1)), "there would be nothing to take together");
    }

    #[test]
    fn an_agent_that_fell_silent_is_heard_at_once() {
        let now = origin() + ms(1);
        let mut rest = download(now);
        assert!(rest.begin(true, now));
        assert!(!rest.begin(true, now + REST), "nothing came meanwhile");
        assert_eq!(rest.until(), None);
    }

    #[test]
    fn a_fast_agent_is_read_without_rest() {
        let now = origin() + ms(1);
        let mut rest = download(now);
        (0..FEW).for_each(|_| rest.heard(1024, now));
        assert!(!rest.begin(true, now));
    }

    #[test]
    fn who_just_spoke_waits_for_a_reply() {
        let now = origin() + ms(1);
        for (since, rests) in [(ms(0), false), (ONE_WAY - ms(1), false), (ONE_WAY, true)] {
            let mut rest = download(now);
            rest.spoke(now - since);
            assert_eq!(rest.begin(true, now), rests, "{since:?}");
        }
    }

    #[test]
    fn who_speaks_ends_a_rest() {
        let now = origin() + ms(1);
        let mut rest = download(now);
        assert!(rest.begin(true, now));
        rest.handle_timeout(now + ms(1));
        assert!(rest.until().is_some());
        rest.spoke(now + ms(1));
        assert_eq!(rest.until(), None);
    }

    #[test]
    fn a_rest_that_is_over_is_no_deadline_any_more() {
        let now = origin() + ms(1);
        let mut rest = download(now);
        assert!(rest.begin(true, now));
        rest.handle_timeout(now + REST);
        assert_eq!(rest.until(), None);
    }
}
