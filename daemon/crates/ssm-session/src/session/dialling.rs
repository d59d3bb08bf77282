//! What can be inferred about connects on the agent's side, which the protocol never reports.
//!
//! The agent connects one stream after the other, in the order of their SYNs, each for as long as the system's connect
//! takes, and stops reading everything once 1024 wait. There is no reply to a SYN, and a failed connect is a flag
//! that names no stream, followed by a FIN. But order is knowledge: data or FIN of one stream proves that every
//! earlier one is past its connect.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A FIN this long after the flag is not about the same connect. The agent sends one right behind the other, but the second
/// may be lost, and be sent again later than once.
const FLAG_LIFETIME: Duration = Duration::from_secs(30);

/// Streams that may still wait for their connect.
#[derive(Debug)]
pub(crate) struct Dialling {
    most: usize,
    grace: Duration,
    waiting: VecDeque<(smux::StreamId, Instant)>,
    /// Everything up to this id is past its connect.
    proven: Option<smux::StreamId>,
    /// Failed connects whose FIN has not come yet.
    failures: VecDeque<Instant>,
}

impl Dialling {
    pub(crate) fn new(most: usize, grace: Duration) -> Self {
        Self { most: most.max(1), grace, waiting: VecDeque::new(), proven: None, failures: VecDeque::new() }
    }

    /// Whether one more stream may be announced.
    pub(crate) fn has_room(&mut self, now: Instant) -> bool {
        while self.waiting.front().is_some_and(|(_, since)| *since + self.grace <= now) {
            self.waiting.pop_front();
        }
        self.waiting.len() < self.most
    }

    /// When a stream stops counting by age.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.waiting.front().map(|(_, since)| *since + self.grace)
    }

    /// Whether the agent may still be connecting this stream, for all that is known.
    pub(crate) fn is_open(&self, id: smux::StreamId) -> bool {
        self.proven.is_none_or(|proven| id > proven)
    }

    /// The WebSocket is a new one: what was announced may leave only now, and the FIN behind a flag may come only now.
    pub(crate) fn reconnected(&mut self, now: Instant) {
        self.waiting.iter_mut().for_each(|(_, since)| *since = now);
        self.failures.iter_mut().for_each(|at| *at = now);
    }

    /// A stream is announced.
    pub(crate) fn announced(&mut self, id: smux::StreamId, now: Instant) {
        self.waiting.push_back((id, now));
    }

    /// A stream was given up before the agent heard of it.
    pub(crate) fn retracted(&mut self, id: smux::StreamId) {
        self.waiting.retain(|(waiting, _)| *waiting != id);
    }

    /// The agent sent something on this stream.
    pub(crate) fn heard_of(&mut self, id: smux::StreamId) {
        if !self.is_open(id) {
            return;
        }
        self.proven = Some(id);
        while self.waiting.front().is_some_and(|(waiting, _)| *waiting <= id) {
            self.waiting.pop_front();
        }
    }

    /// The flag arrived.
    pub(crate) fn failed(&mut self, now: Instant) {
        self.failures.push_back(now);
        if self.failures.len() > self.most {
            self.failures.pop_front();
        }
    }

    /// Whether the FIN of a stream that never brought a byte means that its connect failed.
    pub(crate) fn is_refusal(&mut self, id: smux::StreamId, now: Instant) -> bool {
        while self.failures.front().is_some_and(|at| *at + FLAG_LIFETIME <= now) {
            self.failures.pop_front();
        }
        self.is_open(id) && self.failures.pop_front().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any instant serves as the origin of a virtual clock")]
    fn origin() -> Instant {
        Instant::now()
    }

    fn dialling(most: usize, streams: &[u32], now: Instant) -> Dialling {
        let mut dialling = Dialling::new(most, Duration::from_secs(10));
        for id in streams {
            dialling.announced((*id).into(), now);
        }
        dialling
    }

    #[test]
    fn data_of_a_later_stream_frees_the_earlier_ones() {
        let now = origin();
        let mut dialling = dialling(3, &[3, 5, 7], now);
        assert!(!dialling.has_room(now));
        dialling.heard_of(5.into());
        dialling.announced(9.into(), now);
        assert!(dialling.has_room(now), "7 and 9 wait");
        dialling.announced(11.into(), now);
        assert!(!dialling.has_room(now));
    }

    #[test]
    fn silent_streams_stop_counting_after_the_grace() {
        let now = origin();
        let mut dialling = dialling(1, &[3], now);
        let at = dialling.next_timeout().unwrap();
        assert!(!dialling.has_room(at - Duration::from_millis(1)));
        assert!(dialling.has_room(at));
    }

    #[test]
    fn a_fin_after_the_flag_is_a_refusal_once() {
        let now = origin();
        let mut dialling = dialling(64, &[3, 5], now);
        assert!(!dialling.is_refusal(3.into(), now));
        dialling.failed(now);
        assert!(dialling.is_refusal(3.into(), now));
        assert!(!dialling.is_refusal(5.into(), now));
    }

    #[test]
    fn a_stream_known_to_be_connected_is_not_taken_for_the_refused_one() {
        let now = origin();
        let mut dialling = dialling(64, &[3, 5, 7], now);
        dialling.heard_of(5.into());
        dialling.failed(now);
        assert!(!dialling.is_refusal(3.into(), now), "5 answered, so 3 is connected");
        assert!(dialling.is_refusal(7.into(), now));
    }

    #[test]
    fn an_old_flag_is_forgotten() {
        let now = origin();
        let mut dialling = dialling(64, &[3], now);
        dialling.failed(now);
        assert!(!dialling.is_refusal(3.into(), now + FLAG_LIFETIME));
    }

    #[test]
    fn an_outage_does_not_come_between_a_flag_and_its_fin() {
        let now = origin();
        let mut dialling = dialling(64, &[3], now);
        dialling.failed(now);
        let back = now + FLAG_LIFETIME * 2;
        dialling.reconnected(back);
        assert!(dialling.is_refusal(3.into(), back + FLAG_LIFETIME - Duration::from_millis(1)));
    }
}
