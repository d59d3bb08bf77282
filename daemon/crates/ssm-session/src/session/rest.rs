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

/// How long: four or five messages of an agent that pauses for a millisecond after each, as they come in practice. What
/// rests is acknowledged right afterwards, so that this and a timer that is late stay below 10 ms, before which an agent
/// sends nothing again.
const REST: Duration = Duration::from_millis(8);
/// Nobody waits for a reply to what was sent so long ago: it has come, or it is the bulk itself.
const ONE_WAY: Duration = Duration::from_millis(200);
/// More messages than this at once are a batch already.
const FEW: u64 = 16;

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
}

impl Rest {
    /// A local application opened a stream or sent something.
    pub(super) fn spoke(&mut self, now: Instant) {
        self.spoke_at = Some(now);
    }

    /// Stream data came, in its turn.
    pub(super) fn heard(&mut self, bytes: usize, now: Instant) {
        self.gap = self.heard_at.map_or(Duration::MAX, |at| now - at);
        self.heard_at = Some(now);
        self.full = bytes >= SAFE_PAYLOAD;
        self.heard += 1;
    }

    /// All that had arrived was taken in. Answers until when reading may rest, if it may; `bulk`: a download is under way.
    pub(super) fn begin(&mut self, bulk: bool, now: Instant) -> Option<Instant> {
        let few = (1..=FEW).contains(&std::mem::take(&mut self.heard));
        let one_way = self.spoke_at.is_none_or(|at| now - at >= ONE_WAY);
        (bulk && few && one_way && self.full && self.gap <= REST).then(|| now + REST)
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
        assert_eq!(rest.begin(true, start), Some(start + REST));
        for _ in 0..3 {
            rest.heard(1024, start + REST);
        }
        assert_eq!(rest.begin(true, start + REST), Some(start + REST * 2));
    }

    #[test]
    fn nothing_but_bulk_waits() {
        let now = origin() + ms(1);
        assert_eq!(download(now).begin(false, now), None);
        let mut ended = download(now);
        ended.heard(1023, now);
        assert_eq!(ended.begin(true, now), None, "the agent had no more to send");
        let mut slow = download(now);
        slow.heard(1024, now + REST + ms(1));
        assert_eq!(slow.begin(true, now + REST + ms(1)), None, "there would be nothing to take together");
    }

    #[test]
    fn an_agent_that_fell_silent_is_heard_at_once() {
        let now = origin() + ms(1);
        let mut rest = download(now);
        assert!(rest.begin(true, now).is_some());
        assert_eq!(rest.begin(true, now + REST), None, "nothing came meanwhile");
    }

    #[test]
    fn a_fast_agent_is_read_without_rest() {
        let now = origin() + ms(1);
        let mut rest = download(now);
        (0..FEW).for_each(|_| rest.heard(1024, now));
        assert_eq!(rest.begin(true, now), None);
    }

    #[test]
    fn who_just_spoke_waits_for_a_reply() {
        let now = origin() + ms(1);
        for (since, rests) in [(ms(0), false), (ONE_WAY - ms(1), false), (ONE_WAY, true)] {
            let mut rest = download(now);
            rest.spoke(now - since);
            assert_eq!(rest.begin(true, now).is_some(), rests, "{since:?}");
        }
    }
}
