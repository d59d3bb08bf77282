//! Whether the WebSocket still works: a ping right after the open message and every 20 s. It watches our own leg only;
//! pongs come from the service, not from the agent.
//!
//! Silence for 10 s after a ping is death. What else arrives proves that the service reaches us, but not that we reach
//! it: an agent that hears no acknowledgement sends all the more. So a ping wants its pong as well, though with patience:
//! a pong stands behind everything that the service has buffered for us.
//!
//! A connection that may have died unnoticed (the machine slept, its network changed) can be asked for proof at once, see
//! [`Liveness::verify`].

use std::time::{Duration, Instant};

use crate::time::earliest;

/// How much longer than silence a missing pong is borne while other things arrive, as a multiple of the timeout: with 10 s
/// a path of 100 kB/s may be as much as 4 MB behind, which is what a system's socket buffers hold.
const PATIENCE: u32 = 4;

/// How long a connection that is to prove itself may be silent. A pong takes a round trip, and a ping that is lost in the
/// moment in which a network comes up is sent again by TCP after 0.2, 0.6, 1.4 and 3 s. A verdict that is wrong costs a
/// resume and no byte.
pub(crate) const PROOF: Duration = Duration::from_secs(5);

/// Ping schedule of one connection at a time.
#[derive(Debug)]
pub(crate) struct Liveness {
    interval: Duration,
    timeout: Duration,
    /// How long silence is borne at present: `timeout`, or less until a connection has proved itself.
    bearable: Duration,
    next_ping: Option<Instant>,
    /// When silence becomes death. Only while a ping waits for its pong.
    silent_until: Option<Instant>,
    /// When the pong of the first ping without one must have come, whatever else arrives.
    unanswered_until: Option<Instant>,
    /// A ping is to leave as soon as the socket takes one.
    owed: bool,
    /// When the last ping was due.
    pinged_at: Option<Instant>,
    /// When the last ping that was answered was due.
    confirmed_at: Option<Instant>,
}

impl Liveness {
    pub(crate) fn new(interval: Duration, timeout: Duration) -> Self {
        Self {
            interval,
            timeout,
            bearable: timeout,
            next_ping: None,
            silent_until: None,
            unanswered_until: None,
            owed: false,
            pinged_at: None,
            confirmed_at: None,
        }
    }

    /// A connection begins; its first ping leaves at that time.
    pub(crate) fn connected(&mut self, first_ping: Instant) {
        self.disconnected();
        self.next_ping = Some(first_ping);
    }

    /// It is gone.
    pub(crate) fn disconnected(&mut self) {
        self.answered();
        (self.next_ping, self.owed) = (None, false);
        (self.pinged_at, self.confirmed_at) = (None, None);
    }

    /// The connection is to prove that it works: a ping leaves at once, and [`PROOF`] of silence is death. Asking again
    /// before it did gives it no more time.
    pub(crate) fn verify(&mut self, now: Instant) {
        if self.next_ping.is_none() {
            return;
        }
        self.next_ping = Some(now);
        self.tick(now);
        self.bearable = self.bearable.min(PROOF);
        self.silent_until = earliest(self.silent_until, Some(now + self.bearable));
    }

    /// Something arrived.
    pub(crate) fn heard(&mut self, now: Instant) {
        if let Some(until) = &mut self.silent_until {
            *until = now + self.bearable;
        }
    }

    /// A pong arrived.
    pub(crate) fn answered(&mut self) {
        (self.silent_until, self.unanswered_until) = (None, None);
        self.bearable = self.timeout;
        self.confirmed_at = self.pinged_at;
    }

    /// Whether a ping of that time or later was answered: the connection worked both ways.
    pub(crate) fn confirmed_since(&self, time: Instant) -> bool {
        self.confirmed_at.is_some_and(|at| at >= time)
    }

    /// Whether a ping is to leave now; the answer counts as sent.
    pub(crate) fn ping_due(&mut self, now: Instant) -> bool {
        self.tick(now);
        std::mem::take(&mut self.owed)
    }

    /// A ping whose time has come counts from then on, even if the socket takes nothing: that may be the very reason.
    fn tick(&mut self, now: Instant) {
        if self.next_ping.is_some_and(|at| at <= now) {
            self.next_ping = Some(now + self.interval);
            self.pinged_at = Some(now);
            self.silent_until.get_or_insert(now + self.bearable);
            self.unanswered_until.get_or_insert(now + self.timeout * PATIENCE);
            self.owed = true;
        }
    }

    /// Judges the connection; a death is reported once. While we ourselves do not read (`reading` false), silence
    /// proves nothing.
    pub(crate) fn is_dead(&mut self, reading: bool, now: Instant) -> bool {
        self.tick(now);
        let Some(until) = self.deadline() else { return false };
        if until > now {
            return false;
        }
        if !reading {
            self.silent_until = Some(now + self.bearable);
            self.unanswered_until = Some(now + self.timeout * PATIENCE);
            return false;
        }
        self.disconnected();
        true
    }

    fn deadline(&self) -> Option<Instant> {
        earliest(self.silent_until, self.unanswered_until)
    }

    /// When to look again.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        earliest(self.next_ping, self.deadline())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any instant serves as the origin of a virtual clock")]
    fn origin() -> Instant {
        Instant::now()
    }

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn pings_at_once_and_then_regularly() {
        let start = origin();
        let mut liveness = Liveness::new(s(20), s(10));
        assert!(!liveness.ping_due(start));
        liveness.connected(start);
        assert!(liveness.ping_due(start));
        assert!(!liveness.ping_due(start + s(19)));
        assert!(liveness.ping_due(start + s(20)));
    }

    /// The official client never looks for the pong and hangs for ever on a dead connection.
    #[test]
    fn official_bug_silence_after_a_ping_is_death() {
        let start = origin();
        let mut liveness = Liveness::new(s(20), s(10));
        liveness.connected(start);
        liveness.ping_due(start);
        assert!(!liveness.is_dead(true, start + s(9)));
        assert!(liveness.is_dead(true, start + s(10)));
        assert_eq!(liveness.next_timeout(), None, "reported once");
    }

    /// A black hole fills the socket's buffers: the ping never leaves, and the silence counts all the same.
    #[test]
    fn a_ping_that_cannot_leave_counts_as_well() {
        let start = origin();
        let mut liveness = Liveness::new(s(20), s(10));
        liveness.connected(start);
        liveness.ping_due(start);
        liveness.answered();
        assert!(!liveness.is_dead(true, start + s(20)));
        assert_eq!(liveness.next_timeout(), Some(start + s(30)));
        assert!(liveness.is_dead(true, start + s(30)));
    }

    /// A pong stands behind all that the service has buffered for us.
    #[test]
    fn a_pong_may_be_late_while_other_things_arrive() {
        let start = origin();
        let mut liveness = Liveness::new(s(20), s(10));
        liveness.connected(start);
        for second in 0..40 {
            liveness.ping_due(start + s(second));
            liveness.heard(start + s(second));
            assert!(!liveness.is_dead(true, start + s(second)));
        }
        liveness.answered();
        assert!(!liveness.is_dead(true, start + s(40)));
    }

    /// An agent to which nothing comes through sends the same messages again and again: that is no sign of life.
    #[test]
    fn arrivals_without_any_pong_do_not_hide_that_nothing_comes_through() {
        let start = origin();
        let mut liveness = Liveness::new(s(20), s(10));
        liveness.connected(start);
        let mut dies_at = |second: u64| {
            liveness.ping_due(start + s(second));
            liveness.heard(start + s(second));
            liveness.is_dead(true, start + s(second))
        };
        assert_eq!((0..100).find(|second| dies_at(*second)), Some(40));
    }

    #[test]
    fn silence_counts_from_the_last_arrival() {
        let start = origin();
        let mut liveness = Liveness::new(s(20), s(10));
        liveness.connected(start);
        liveness.ping_due(start);
        liveness.heard(start + s(4));
        assert!(!liveness.is_dead(true, start + s(13)));
        assert!(liveness.is_dead(true, start + s(14)));
    }

    #[test]
    fn a_connection_that_is_to_prove_itself_is_asked_at_once_and_has_seconds() {
        let start = origin();
        let mut liveness = Liveness::new(s(20), s(10));
        liveness.connected(start);
        liveness.ping_due(start);
        liveness.answered();
        liveness.verify(start + s(7));
        assert_eq!(liveness.next_timeout(), Some(start + s(7) + PROOF));
        assert!(liveness.ping_due(start + s(7)));
        liveness.verify(start + s(9));
        assert!(!liveness.is_dead(true, start + s(11)));
        assert!(liveness.is_dead(true, start + s(7) + PROOF), "asking again gives it no more time");
        liveness.verify(start + s(13));
        assert_eq!(liveness.next_timeout(), None, "reported once");
    }

    #[test]
    fn a_connection_that_proved_itself_has_the_usual_time_again() {
        let start = origin();
        let mut liveness = Liveness::new(s(20), s(10));
        liveness.connected(start);
        liveness.ping_due(start);
        liveness.verify(start + s(1));
        assert!(liveness.ping_due(start + s(1)));
        liveness.answered();
        assert!(!liveness.is_dead(true, start + s(20)));
        assert!(liveness.ping_due(start + s(21)), "the next one, an interval later");
        assert!(!liveness.is_dead(true, start + s(30)));
        assert!(liveness.is_dead(true, start + s(31)));
    }

    /// A ping that is on its way already may have been lost: it does not stand for the one that is asked for.
    #[test]
    fn proof_is_asked_for_even_while_a_pong_is_awaited() {
        let start = origin();
        let mut liveness = Liveness::new(s(20), s(10));
        liveness.connected(start);
        assert!(liveness.ping_due(start));
        liveness.verify(start + s(2));
        assert!(liveness.ping_due(start + s(2)));
        liveness.verify(start + s(8));
        assert!(liveness.is_dead(true, start + s(8)), "silent since before");
    }

    /// A path that still carries a download is not dead because the pong stands behind it.
    #[test]
    fn arrivals_are_proof_enough_for_as_long_as_ever() {
        let start = origin();
        let mut liveness = Liveness::new(s(20), s(10));
        liveness.connected(start);
        liveness.ping_due(start);
        liveness.answered();
        liveness.verify(start);
        let mut dies_at = |second: u64| {
            liveness.ping_due(start + s(second));
            liveness.heard(start + s(second));
            liveness.is_dead(true, start + s(second))
        };
        assert_eq!((0..100).find(|second| dies_at(*second)), Some(40));
    }

    #[test]
    fn without_a_connection_there_is_nothing_to_prove() {
        let start = origin();
        let mut liveness = Liveness::new(s(20), s(10));
        liveness.verify(start);
        assert!(!liveness.ping_due(start));
        assert_eq!(liveness.next_timeout(), None);
    }

    #[test]
    fn silence_while_not_reading_proves_nothing() {
        let start = origin();
        let mut liveness = Liveness::new(s(20), s(10));
        liveness.connected(start);
        liveness.ping_due(start);
        assert!(!liveness.is_dead(false, start + s(10)));
        assert!(liveness.is_dead(true, start + s(20)));
    }
}
