//! Whether the WebSocket still works: a ping right after the open message and every 20 s, and any sign of life within
//! 10 s of one. It watches our own leg only; pongs come from the service, not from the agent.

use std::time::{Duration, Instant};

use crate::time::earliest;

/// Ping schedule of one connection at a time.
#[derive(Debug)]
pub(crate) struct Liveness {
    interval: Duration,
    timeout: Duration,
    next_ping: Option<Instant>,
    deadline: Option<Instant>,
    /// A ping is to leave as soon as the socket takes one.
    owed: bool,
}

impl Liveness {
    pub(crate) fn new(interval: Duration, timeout: Duration) -> Self {
        Self { interval, timeout, next_ping: None, deadline: None, owed: false }
    }

    /// A connection begins; its first ping leaves at that time.
    pub(crate) fn connected(&mut self, first_ping: Instant) {
        self.next_ping = Some(first_ping);
        (self.deadline, self.owed) = (None, false);
    }

    /// It is gone.
    pub(crate) fn disconnected(&mut self) {
        (self.next_ping, self.deadline, self.owed) = (None, None, false);
    }

    /// Something arrived: data proves as much as a pong.
    pub(crate) fn heard(&mut self) {
        self.deadline = None;
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
            self.deadline.get_or_insert(now + self.timeout);
            self.owed = true;
        }
    }

    /// Judges the connection; a death is reported once. While we ourselves do not read (`reading` false), silence
    /// proves nothing.
    pub(crate) fn is_dead(&mut self, reading: bool, now: Instant) -> bool {
        self.tick(now);
        if self.deadline.is_none_or(|at| at > now) {
            return false;
        }
        if !reading {
            self.deadline = Some(now + self.timeout);
            return false;
        }
        self.disconnected();
        true
    }

    /// When to look again.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        earliest(self.next_ping, self.deadline)
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
        liveness.heard();
        assert!(!liveness.is_dead(true, start + s(20)));
        assert_eq!(liveness.next_timeout(), Some(start + s(30)));
        assert!(liveness.is_dead(true, start + s(30)));
    }

    #[test]
    fn any_arrival_is_a_sign_of_life() {
        let start = origin();
        let mut liveness = Liveness::new(s(20), s(10));
        liveness.connected(start);
        liveness.ping_due(start);
        liveness.heard();
        assert!(!liveness.is_dead(true, start + s(15)));
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
