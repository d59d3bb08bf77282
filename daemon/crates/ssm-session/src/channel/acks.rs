//! Acknowledgements that are due, and how long they may wait for each other.
//!
//! In a bulk download of 1 KiB messages, a WebSocket message, a TLS record and a system call for each acknowledgement
//! would cost more than the data. AWS's agent looks at an acknowledgement only to decide what to send again, after
//! 200 ms at the earliest. So in bulk they leave in batches, each at most [`HOLD`] after its message. Everything else
//! is acknowledged at once: the handshake, the first messages of a transfer, what came twice or before its turn. And
//! whatever else leaves takes those that wait along.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::kind::MessageType;
use crate::message::Message;

/// Longest wait of an acknowledgement: four messages of an agent that pauses for a millisecond after each, as they come
/// in practice; and well below 10 ms with a timer that is late.
const HOLD: Duration = Duration::from_millis(6);
/// So many that wait leave together.
const BATCH: usize = 16;
/// So many messages in order, each at most [`FLOW`] after the one before it, are the beginning of a bulk download.
const BULK: u32 = 16;
/// Reading rests for some milliseconds at a time, see `session::rest`: that is no pause of the agent's.
const FLOW: Duration = Duration::from_millis(30);

/// An acknowledgement to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AckDue {
    pub(crate) message_type: MessageType,
    pub(crate) id: Uuid,
    pub(crate) number: i64,
}

impl AckDue {
    fn of(message: &Message) -> Self {
        Self { message_type: message.message_type, id: message.message_id, number: message.sequence_number }
    }
}

/// The acknowledgements of one receiver, oldest first.
#[derive(Debug)]
pub(crate) struct Acks {
    /// Whether they may wait at all.
    may_wait: bool,
    due: VecDeque<AckDue>,
    last: Option<AckDue>,
    /// Until when all of `due` may wait; `None`: they leave now.
    held_until: Option<Instant>,
    /// Messages in order without a pause so far.
    run: u32,
    arrived_at: Option<Instant>,
}

impl Acks {
    pub(super) fn new(may_wait: bool) -> Self {
        Self { may_wait, due: VecDeque::new(), last: None, held_until: None, run: 0, arrived_at: None }
    }

    /// A message came in its turn.
    pub(super) fn in_turn(&mut self, message: &Message, now: Instant) {
        let flows = self.arrived_at.is_some_and(|at| now - at <= FLOW);
        self.run = if flows { self.run.saturating_add(1) } else { 0 };
        self.arrived_at = Some(now);
        if self.due.is_empty() && self.may_wait && self.in_bulk() {
            self.held_until = Some(now + HOLD);
        } else if !self.in_bulk() || self.due.len() + 1 >= BATCH {
            self.release();
        }
        self.push(AckDue::of(message));
    }

    /// A bulk download is under way.
    pub(crate) fn in_bulk(&self) -> bool {
        self.run >= BULK
    }

    /// A message came again, or before its turn.
    pub(super) fn out_of_turn(&mut self, message: &Message) {
        self.run = 0;
        self.release();
        self.push(AckDue::of(message));
    }

    /// The last one once more.
    pub(super) fn repeat_last(&mut self) {
        self.release();
        if let Some(last) = self.last
            && !self.due.contains(&last)
        {
            self.due.push_back(last);
        }
    }

    /// None of those that are due now waits any longer.
    pub(super) fn release(&mut self) {
        self.held_until = None;
    }

    /// The next one that leaves.
    pub(super) fn pop(&mut self, now: Instant) -> Option<AckDue> {
        if self.held_until.is_some_and(|until| until > now) {
            return None;
        }
        self.release();
        self.due.pop_front()
    }

    /// When the next one leaves, if it waits.
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.held_until
    }

    pub(super) fn len(&self) -> usize {
        self.due.len()
    }

    fn push(&mut self, ack: AckDue) {
        self.last = Some(ack);
        self.due.push_back(ack);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::kind::PayloadType;

    #[expect(clippy::disallowed_methods, reason = "any instant serves as the origin of a virtual clock")]
    fn origin() -> Instant {
        Instant::now()
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn message(number: i64) -> Message {
        let id = Uuid::from_u128(number.unsigned_abs().into());
        let mut message =
            Message::service(MessageType::OutputStreamData, PayloadType::Output, id, 1, &Bytes::new());
        message.sequence_number = number;
        message
    }

    fn leaving(acks: &mut Acks, now: Instant) -> Vec<i64> {
        std::iter::from_fn(|| acks.pop(now)).map(|ack| ack.number).collect()
    }

    /// A download in bulk whose acknowledgements have left up to now, and the number of its next message.
    fn bulk(now: Instant) -> (Acks, i64) {
        let mut acks = Acks::new(true);
        for number in 0..i64::from(BULK) {
            acks.in_turn(&message(number), now);
            assert_eq!(leaving(&mut acks, now), [number], "the first ones are acknowledged at once");
        }
        (acks, i64::from(BULK))
    }

    #[test]
    fn in_bulk_they_leave_together_some_milliseconds_after_the_first() {
        let start = origin();
        let (mut acks, next) = bulk(start);
        for step in 0..6i64 {
            let now = start + ms(step.unsigned_abs());
            acks.in_turn(&message(next + step), now);
            assert_eq!(leaving(&mut acks, now), [0i64; 0]);
            assert_eq!(acks.held_until(), Some(start + HOLD));
        }
        assert_eq!(leaving(&mut acks, start + HOLD), (next..next + 6).collect::<Vec<_>>());
        assert_eq!(acks.held_until(), None);
    }

    #[test]
    fn sixteen_do_not_wait() {
        let now = origin();
        let (mut acks, next) = bulk(now);
        for number in next..next + 15 {
            acks.in_turn(&message(number), now);
        }
        assert_eq!(leaving(&mut acks, now), [0i64; 0]);
        acks.in_turn(&message(next + 15), now);
        assert_eq!(leaving(&mut acks, now).len(), 16);
    }

    #[test]
    fn one_out_of_turn_takes_all_along() {
        let now = origin();
        let (mut acks, next) = bulk(now);
        acks.in_turn(&message(next), now);
        acks.out_of_turn(&message(next + 2));
        assert_eq!(leaving(&mut acks, now), [next, next + 2]);
        acks.in_turn(&message(next + 1), now);
        assert_eq!(leaving(&mut acks, now), [next + 1], "bulk begins anew");
    }

    #[test]
    fn a_pause_ends_the_bulk() {
        let start = origin();
        let (mut acks, next) = bulk(start);
        let now = start + FLOW + ms(1);
        acks.in_turn(&message(next), now);
        assert_eq!(leaving(&mut acks, now), [next]);
    }

    #[test]
    fn the_last_can_be_repeated_and_then_does_not_wait() {
        let now = origin();
        let mut acks = Acks::new(true);
        acks.repeat_last();
        assert_eq!(acks.len(), 0, "nothing received yet");
        let (mut acks, next) = bulk(now);
        acks.in_turn(&message(next), now);
        acks.repeat_last();
        assert_eq!(leaving(&mut acks, now), [next]);
        acks.repeat_last();
        assert_eq!(leaving(&mut acks, now), [next]);
    }

    proptest! {
        #[test]
        fn none_waits_too_long_and_all_leave_in_order(
            arrivals in prop::collection::vec((0..3_000u64, 0..20u32), 1..300),
        ) {
            let mut now = origin();
            let mut acks = Acks::new(true);
            let mut arrived: VecDeque<(i64, Instant)> = VecDeque::new();
            for (number, (micros, kind)) in (0..).zip(arrivals) {
                let next = now + Duration::from_micros(micros);
                for at in acks.held_until().filter(|at| *at < next).into_iter().chain([next]) {
                    now = at;
                    if now == next {
                        arrived.push_back((number, now));
                        match kind {
                            0 => acks.out_of_turn(&message(number)),
                            _ => acks.in_turn(&message(number), now),
                        }
                    }
                    for ack in leaving(&mut acks, now) {
                        let (expected, since) = arrived.pop_front().unwrap();
                        prop_assert_eq!(ack, expected);
                        prop_assert!(now - since <= HOLD, "{:?}", now - since);
                    }
                }
            }
        }
    }
}
