//! The receiving half: order, duplicates, and which acknowledgements are due.
//!
//! Every stored message is acknowledged at once, and **every duplicate is acknowledged again**: AWS's agent resends
//! only the oldest message it has no acknowledgement for, so one lost acknowledgement that is not repeated stops its
//! stream for good.

use std::collections::{BTreeMap, VecDeque};

use uuid::Uuid;

use crate::kind::MessageType;
use crate::message::Message;

/// Messages kept that arrived before their turn: as many as the official client keeps.
const EARLY_MESSAGES: usize = 10_000;
/// Bytes kept that arrived before their turn; legal messages reach the other bound first.
const EARLY_BYTES: usize = 64 << 20;

/// An acknowledgement to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AckDue {
    pub(crate) message_type: MessageType,
    pub(crate) id: Uuid,
    pub(crate) number: i64,
}

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
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    expected: i64,
    early: BTreeMap<i64, Message>,
    early_bytes: usize,
    acks: VecDeque<AckDue>,
    last: Option<AckDue>,
}

impl Inbox {
    /// Sorts a data message in.
    pub(crate) fn arrive(&mut self, message: Message) -> Arrival {
        let number = message.sequence_number;
        if number == self.expected {
            return Arrival::Next(message);
        }
        if number < self.expected || self.early.contains_key(&number) {
            self.acknowledge(&message);
            return Arrival::Duplicate;
        }
        let bytes = self.early_bytes + message.payload.len();
        if self.early.len() >= EARLY_MESSAGES || bytes > EARLY_BYTES {
            return Arrival::Refused;
        }
        self.early_bytes = bytes;
        self.acknowledge(&message);
        self.early.insert(number, message);
        Arrival::Early
    }

    /// The message whose turn it was is taken: acknowledge it and move on.
    pub(crate) fn accept(&mut self, message: &Message) {
        self.acknowledge(message);
        self.expected += 1;
    }

    /// The message whose turn it is now, if it came early. It was acknowledged on arrival.
    pub(crate) fn next_early(&mut self) -> Option<Message> {
        if self.early.is_empty() {
            return None;
        }
        let message = self.early.remove(&self.expected)?;
        self.early_bytes -= message.payload.len();
        self.expected += 1;
        Some(message)
    }

    /// The next acknowledgement to send.
    pub(crate) fn pop_ack(&mut self) -> Option<AckDue> {
        self.acks.pop_front()
    }

    /// Acknowledgements waiting.
    pub(crate) fn acks_due(&self) -> usize {
        self.acks.len()
    }

    /// Acknowledges the last message once more: something must be sent at once after a resume, because that is what
    /// makes a paused agent publish again.
    pub(crate) fn repeat_last_ack(&mut self) {
        if let Some(last) = self.last
            && !self.acks.contains(&last)
        {
            self.acks.push_back(last);
        }
    }

    fn acknowledge(&mut self, message: &Message) {
        let ack = AckDue {
            message_type: message.message_type,
            id: message.message_id,
            number: message.sequence_number,
        };
        self.last = Some(ack);
        self.acks.push_back(ack);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::kind::PayloadType;

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

    fn acks(inbox: &mut Inbox) -> Vec<i64> {
        std::iter::from_fn(|| inbox.pop_ack()).map(|ack| ack.number).collect()
    }

    /// The official client ignores duplicates: a lost acknowledgement of its makes the agent resend for ever.
    #[test]
    fn official_bug_duplicates_are_acknowledged_every_time() {
        let mut inbox = Inbox::default();
        inbox.accept(&message(0));
        for _ in 0..3 {
            assert!(matches!(inbox.arrive(message(0)), Arrival::Duplicate));
        }
        assert_eq!(acks(&mut inbox), [0, 0, 0, 0]);
    }

    #[test]
    fn early_messages_are_acknowledged_at_once_and_come_out_in_order() {
        let mut inbox = Inbox::default();
        for number in [2, 1, 2] {
            inbox.arrive(message(number));
        }
        assert_eq!(acks(&mut inbox), [2, 1, 2]);
        assert!(inbox.next_early().is_none(), "0 is missing");
        inbox.accept(&message(0));
        let order: Vec<_> = std::iter::from_fn(|| inbox.next_early()).map(|m| m.sequence_number).collect();
        assert_eq!(order, [1, 2]);
    }

    #[test]
    fn a_message_left_alone_is_neither_acknowledged_nor_passed() {
        let mut inbox = Inbox::default();
        assert!(matches!(inbox.arrive(message(0)), Arrival::Next(_)));
        assert!(matches!(inbox.arrive(message(0)), Arrival::Next(_)));
        assert_eq!(acks(&mut inbox), [0i64; 0]);
    }

    #[test]
    fn room_for_early_messages_is_bounded_and_refusal_is_silent() {
        let mut inbox = Inbox::default();
        for number in 1..=EARLY_MESSAGES as i64 {
            assert!(matches!(inbox.arrive(message(number)), Arrival::Early));
        }
        acks(&mut inbox);
        assert!(matches!(inbox.arrive(message(EARLY_MESSAGES as i64 + 1)), Arrival::Refused));
        assert_eq!(acks(&mut inbox), [0i64; 0]);
    }

    #[test]
    fn the_last_acknowledgement_can_be_repeated() {
        let mut inbox = Inbox::default();
        inbox.repeat_last_ack();
        assert_eq!(inbox.acks_due(), 0, "nothing received yet");
        inbox.accept(&message(0));
        inbox.repeat_last_ack();
        assert_eq!(acks(&mut inbox), [0]);
        inbox.repeat_last_ack();
        assert_eq!(acks(&mut inbox), [0]);
    }
}
