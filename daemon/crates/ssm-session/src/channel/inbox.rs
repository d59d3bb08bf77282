//! The receiving half: order, duplicates, and which acknowledgements are due.
//!
//! Every stored message is acknowledged, and **every duplicate is acknowledged again**: AWS's agent resends only the
//! oldest message it has no acknowledgement for, so one lost acknowledgement that is not repeated stops its stream for
//! good.

use std::collections::BTreeMap;
use std::time::Instant;

use super::acks::Acks;
use super::gaps::GapWatch;
use crate::message::{Message, PAYLOAD_OFFSET};

/// Messages kept that arrived before their turn. What is refused has to be sent again at the agent's pace of one per
/// 100 ms, while it goes on sending 900 new ones per second: refusing is the beginning of the end of a download. This
/// is more than a minute of it; the official client keeps 10 000.
const EARLY_MESSAGES: usize = 65_536;
/// Bytes kept that arrived before their turn, headers included.
const EARLY_BYTES: usize = 64 << 20;

/// What became of an arrived data message.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// It is its turn: process it, after [`Inbox::accept`] (or leave it: then the peer sends it again).
    Next(Message),
    /// Kept for later and acknowledged.
    Early,
    /// Known already; acknowledged again.
    Duplicate,
    /// No room: not acknowledged, the peer sends it again.
    Refused,
}

/// The receiving half of a channel.
#[derive(Debug)]
pub(crate) struct Inbox {
    expected: i64,
    /// With the time of arrival.
    early: BTreeMap<i64, (Message, Instant)>,
    early_bytes: usize,
    pub(crate) acks: Acks,
    pub(super) gaps: GapWatch,
}

impl Inbox {
    /// `acks_may_wait`: for each other, in bulk.
    pub(crate) fn new(acks_may_wait: bool) -> Self {
        Self {
            expected: 0,
            early: BTreeMap::new(),
            early_bytes: 0,
            acks: Acks::new(acks_may_wait),
            gaps: GapWatch::default(),
        }
    }

    /// Sorts a data message in. One that comes before its turn is kept if all such messages fit `room`.
    pub(crate) fn arrive(&mut self, message: Message, room: usize, now: Instant) -> Arrival {
        let number = message.sequence_number;
        if number == self.expected {
            return Arrival::Next(message);
        }
        if number < self.expected || self.early.contains_key(&number) {
            self.acks.out_of_turn(&message);
            return Arrival::Duplicate;
        }
        let bytes = self.early_bytes + cost(&message);
        if self.early.len() >= EARLY_MESSAGES || bytes > room.min(EARLY_BYTES) {
            return Arrival::Refused;
        }
        self.early_bytes = bytes;
        self.acks.out_of_turn(&message);
        self.early.insert(number, (message, now));
        Arrival::Early
    }

    /// The message whose turn it was is taken: acknowledge it and move on.
    pub(crate) fn accept(&mut self, message: &Message, now: Instant) {
        self.acks.in_turn(message, now);
        self.expected += 1;
        if let Some((_, (_, arrived_at))) = self.early.first_key_value() {
            let waited = now - *arrived_at;
            let successors = (self.expected..).zip(self.early.keys());
            let another = successors.take_while(|(wanted, kept)| wanted == *kept).count() < self.early.len();
            self.gaps.filled(waited, another, now);
        }
    }

    /// The message whose turn it is now, if it came early. It was acknowledged on arrival.
    pub(crate) fn next_early(&mut self) -> Option<Message> {
        if self.early.is_empty() {
            return None;
        }
        let (message, _) = self.early.remove(&self.expected)?;
        self.early_bytes -= cost(&message);
        self.expected += 1;
        Some(message)
    }

    /// Drops the messages that wait for their turn.
    pub(crate) fn clear(&mut self) {
        self.early.clear();
        self.early_bytes = 0;
    }

    /// Messages that wait for their turn, and their bytes, headers included.
    pub(crate) fn early(&self) -> (usize, usize) {
        (self.early.len(), self.early_bytes)
    }

    /// Messages that those wait for.
    pub(crate) fn missing(&self) -> u64 {
        let span = self.early.last_key_value().map_or(0, |(last, _)| last.abs_diff(self.expected) + 1);
        span - self.early.len() as u64
    }
}

fn cost(message: &Message) -> usize {
    PAYLOAD_OFFSET + message.payload.len()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use uuid::Uuid;

    use super::*;
    use crate::kind::{MessageType, PayloadType};

    #[expect(clippy::disallowed_methods, reason = "any instant serves as the origin of a virtual clock")]
    fn origin() -> Instant {
        Instant::now()
    }

    fn message(number: i64) -> Message {
        Message {
            message_type: MessageType::OutputStreamData,
            schema_version: 1,
            created_date: 1,
            sequence_number: number,
            flags: 0,
            message_id: Uuid::from_u128(number.unsigned_abs().into()),
            digest: [0; 32],
            payload_type: PayloadType::Output,
            payload: Bytes::from_static(b"x"),
        }
    }

    fn inbox() -> Inbox {
        Inbox::new(true)
    }

    fn arrive(inbox: &mut Inbox, number: i64) -> Arrival {
        inbox.arrive(message(number), usize::MAX, origin())
    }

    fn acks(inbox: &mut Inbox) -> Vec<i64> {
        std::iter::from_fn(|| inbox.acks.pop(origin())).map(|ack| ack.number).collect()
    }

    /// The official client ignores duplicates: a lost acknowledgement of its makes the agent resend for ever.
    #[test]
    fn official_bug_duplicates_are_acknowledged_every_time() {
        let mut inbox = inbox();
        inbox.accept(&message(0), origin());
        for _ in 0..3 {
            assert!(matches!(arrive(&mut inbox, 0), Arrival::Duplicate));
        }
        assert_eq!(acks(&mut inbox), [0, 0, 0, 0]);
    }

    #[test]
    fn early_messages_are_acknowledged_at_once_and_come_out_in_order() {
        let mut inbox = inbox();
        for number in [2, 1, 2] {
            arrive(&mut inbox, number);
        }
        assert_eq!(acks(&mut inbox), [2, 1, 2]);
        assert!(inbox.next_early().is_none(), "0 is missing");
        inbox.accept(&message(0), origin());
        let order: Vec<_> = std::iter::from_fn(|| inbox.next_early()).map(|m| m.sequence_number).collect();
        assert_eq!(order, [1, 2]);
    }

    #[test]
    fn a_message_left_alone_is_neither_acknowledged_nor_passed() {
        let mut inbox = inbox();
        assert!(matches!(arrive(&mut inbox, 0), Arrival::Next(_)));
        assert!(matches!(arrive(&mut inbox, 0), Arrival::Next(_)));
        assert_eq!(acks(&mut inbox), [0i64; 0]);
    }

    #[test]
    fn room_for_early_messages_is_bounded_and_refusal_is_silent() {
        let mut inbox = inbox();
        for number in 1..=EARLY_MESSAGES as i64 {
            assert!(matches!(arrive(&mut inbox, number), Arrival::Early));
        }
        acks(&mut inbox);
        assert!(matches!(arrive(&mut inbox, EARLY_MESSAGES as i64 + 1), Arrival::Refused));
        assert_eq!(acks(&mut inbox), [0i64; 0]);
    }

    #[test]
    fn the_owner_can_leave_less_room_for_early_messages() {
        let mut inbox = inbox();
        let cost = cost(&message(0));
        assert!(matches!(inbox.arrive(message(1), cost, origin()), Arrival::Early));
        assert!(matches!(inbox.arrive(message(2), cost, origin()), Arrival::Refused));
        assert_eq!((inbox.early(), inbox.missing()), ((1, cost), 1));
        assert!(matches!(inbox.arrive(message(0), 0, origin()), Arrival::Next(_)), "what is awaited, never");
    }
}
