//! How large messages may be: 1024 bytes until one probe of the configured size was acknowledged.
//!
//! Whether the service relays large messages is undocumented, and a message that was numbered cannot be cut smaller
//! afterwards: the agent may have processed it. So the probe carries nothing but NOPs of the multiplexer, and if the
//! connection breaks right after it, the same number is sent again with a single NOP. One such break may be chance;
//! the second one settles it for the rest of the session.

use std::time::{Duration, Instant};

use crate::config::SAFE_PAYLOAD;

/// A NOP frame of the multiplexer.
pub(crate) const NOP: [u8; 8] = [1, 3, 0, 0, 0, 0, 0, 0];
/// A connection that breaks within this time of an unacknowledged first large message may have broken because of it.
const SUSPICION: Duration = Duration::from_millis(500);
/// Suspicious breaks before large messages are given up.
const STRIKES: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not tried yet.
    Untried,
    /// The probe with this number waits for its acknowledgement.
    Probing(i64),
    /// The probe went through; no real large message has left yet.
    Proven,
    /// The first real large message has this number.
    FirstLarge(i64),
    /// It was acknowledged.
    Large,
    /// 1024 bytes for the rest of the session.
    Small,
}

/// What a break of the connection means for the payload size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consequence {
    /// Nothing to change.
    Unrelated,
    /// Suspicious: replace this probe by a single NOP, try again later.
    Withdraw(i64),
    /// Suspicious again: replace the probe, if there is one, and stay small.
    GiveUp(Option<i64>),
}

/// The payload size of one session.
#[derive(Debug)]
pub(crate) struct PayloadSize {
    target: usize,
    state: State,
    strikes: u32,
}

impl PayloadSize {
    pub(crate) fn new(target: usize) -> Self {
        let state = if target > SAFE_PAYLOAD { State::Untried } else { State::Small };
        Self { target, state, strikes: 0 }
    }

    /// Bytes per message now.
    pub(crate) fn current(&self) -> usize {
        match self.state {
            State::Proven | State::FirstLarge(_) | State::Large => self.target,
            State::Untried | State::Probing(_) | State::Small => SAFE_PAYLOAD,
        }
    }

    /// The probe to send now, if `pending` bytes are worth it.
    pub(crate) fn probe(&self, pending: usize) -> Option<Vec<u8>> {
        (self.state == State::Untried && pending >= self.target).then(|| NOP.repeat(self.target / NOP.len()))
    }

    /// The probe left under this number.
    pub(crate) fn probe_sent(&mut self, number: i64) {
        self.state = State::Probing(number);
    }

    /// A data message of `bytes` left under this number.
    pub(crate) fn sent(&mut self, bytes: usize, number: i64) {
        if self.state == State::Proven && bytes > SAFE_PAYLOAD {
            self.state = State::FirstLarge(number);
        }
    }

    /// A message was acknowledged.
    pub(crate) fn acknowledged(&mut self, number: i64) {
        if self.state == State::Probing(number) {
            self.state = State::Proven;
        } else if self.state == State::FirstLarge(number) {
            self.state = State::Large;
        }
    }

    /// The connection broke. `last_sent` tells when an unacknowledged message last left.
    pub(crate) fn disconnected(
        &mut self,
        last_sent: impl Fn(i64) -> Option<Instant>,
        now: Instant,
    ) -> Consequence {
        let suspicious =
            |number| last_sent(number).is_some_and(|at| now.saturating_duration_since(at) <= SUSPICION);
        let probe = match self.state {
            State::Probing(number) if suspicious(number) => Some(number),
            State::FirstLarge(number) if suspicious(number) => None,
            State::Untried
            | State::Probing(_)
            | State::Proven
            | State::FirstLarge(_)
            | State::Large
            | State::Small => return Consequence::Unrelated,
        };
        self.strikes += 1;
        match probe {
            Some(number) if self.strikes < STRIKES => {
                self.state = State::Untried;
                Consequence::Withdraw(number)
            }
            // It holds real data and leaves again as it is.
            None if self.strikes < STRIKES => Consequence::Unrelated,
            probe => {
                self.state = State::Small;
                Consequence::GiveUp(probe)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any instant serves as the origin of a virtual clock")]
    fn origin() -> Instant {
        Instant::now()
    }

    const LARGE: usize = 16 << 10;

    fn proven() -> PayloadSize {
        let mut size = PayloadSize::new(LARGE);
        size.probe_sent(7);
        size.acknowledged(7);
        size
    }

    #[test]
    fn grows_only_after_the_probe_was_acknowledged() {
        let mut size = PayloadSize::new(LARGE);
        assert!(size.probe(LARGE - 1).is_none(), "not worth it");
        assert_eq!(size.probe(LARGE).unwrap().len(), LARGE);
        size.probe_sent(7);
        assert!(size.probe(LARGE).is_none(), "one at a time");
        size.acknowledged(6);
        assert_eq!(size.current(), SAFE_PAYLOAD);
        size.acknowledged(7);
        assert_eq!(size.current(), LARGE);
    }

    #[test]
    fn two_breaks_right_after_the_probe_make_it_small_for_good() {
        let now = origin();
        let mut size = PayloadSize::new(LARGE);
        size.probe_sent(7);
        assert_eq!(size.disconnected(|_| Some(now), now + SUSPICION * 2), Consequence::Unrelated);
        assert_eq!(size.disconnected(|_| Some(now), now + SUSPICION), Consequence::Withdraw(7));
        assert!(size.probe(LARGE).is_some(), "once more");
        size.probe_sent(9);
        assert_eq!(size.disconnected(|_| Some(now), now), Consequence::GiveUp(Some(9)));
        assert_eq!((size.current(), size.probe(1 << 20)), (SAFE_PAYLOAD, None));
    }

    #[test]
    fn two_breaks_right_after_the_first_real_large_message_make_it_small_too() {
        let now = origin();
        let mut size = proven();
        size.sent(100, 8);
        assert_eq!(size.disconnected(|_| Some(now), now), Consequence::Unrelated);
        size.sent(LARGE, 9);
        assert_eq!(size.disconnected(|_| Some(now), now), Consequence::Unrelated);
        assert_eq!(size.current(), LARGE);
        assert_eq!(size.disconnected(|_| Some(now), now), Consequence::GiveUp(None));
        assert_eq!(size.current(), SAFE_PAYLOAD);
    }

    #[test]
    fn a_break_after_its_acknowledgement_is_not_blamed_on_the_size() {
        let now = origin();
        let mut size = proven();
        size.sent(LARGE, 8);
        size.acknowledged(8);
        size.sent(LARGE, 9);
        assert_eq!(size.disconnected(|_| Some(now), now), Consequence::Unrelated);
        assert_eq!(size.current(), LARGE);
    }
}
