//! The reliable, ordered message channel inside a session: numbering, acknowledging, resending, pausing.
//!
//! Both roles use it; they differ in the message type they send, in what they resend and in their limits. It outlives
//! the WebSocket: numbers and unacknowledged messages stay, a reconnect only makes everything due again.

mod acks;
mod bucket;
mod gaps;
mod inbox;
mod outbox;
mod window;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use uuid::Uuid;

pub(crate) use self::bucket::RateBucket;
pub(crate) use self::inbox::{Arrival, Inbox};
use self::outbox::Outbox;
pub use self::outbox::Resend;
use crate::ProtocolError;
use crate::ids::IdSource;
use crate::kind::{MessageType, PayloadType};
use crate::message::{FLAG_FIN, FLAG_SYN, Header, Message, PAYLOAD_OFFSET, seal};
use crate::payload::{AcknowledgedNumber, write_acknowledge};
use crate::statistics::{Counters, Statistics};
use crate::time::{Now, earliest};

/// A pause without a word from anybody ends by itself: the official client ignores pauses altogether, and two sides
/// that both wait for the other would wait for ever.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// So many messages with a wrong digest within [`DIGEST_ERRORS_WITHIN`], and the peer counts as broken: it sends one again
/// at least once in two seconds. A session may live for days: what happens now and then on the way must not add up.
const DIGEST_ERRORS: usize = 16;
const DIGEST_ERRORS_WITHIN: Duration = Duration::from_secs(60);
/// Acknowledgements waiting before the channel asks for a break in input.
const ACKS_DUE: usize = 4096;
/// Size of the memory blocks that messages are built in: two of the default payload, or many small ones.
const BLOCK: usize = 2 * (PAYLOAD_OFFSET + (16 << 10));
/// The same for acknowledgements, which are gone as soon as they are written.
const ACK_BLOCK: usize = 8 << 10;

/// How a channel behaves; one value per role.
#[derive(Debug)]
pub(crate) struct Manners {
    /// Type of the data messages sent.
    pub(crate) sends: MessageType,
    pub(crate) resend: Resend,
    /// Limits data messages, resent ones included.
    pub(crate) bucket: Option<RateBucket>,
    /// Whether the window applies.
    pub(crate) windowed: bool,
    /// Messages that it lets be unacknowledged.
    pub(crate) most_unacknowledged: usize,
    /// Flags of message 0.
    pub(crate) first_flags: u64,
    /// Whether digests of received messages are checked.
    pub(crate) checks_digest: bool,
    /// Whether a pause ends by itself.
    pub(crate) pause_expires: bool,
    /// Whether acknowledgements may wait for each other.
    pub(crate) acks_may_wait: bool,
}

/// One direction pair of numbered messages.
#[derive(Debug)]
pub(crate) struct Channel {
    manners: Manners,
    outbox: Outbox,
    pub(crate) inbox: Inbox,
    ids: IdSource,
    blocks: BytesMut,
    ack_blocks: BytesMut,
    paused_at: Option<Instant>,
    /// When the last messages with a wrong digest came, oldest first.
    digest_errors: VecDeque<Instant>,
    pub(crate) counters: Counters,
}

impl Channel {
    pub(crate) fn new(manners: Manners, seed: [u8; 32], now: Instant) -> Self {
        Self {
            outbox: Outbox::new(manners.resend, manners.most_unacknowledged, now),
            inbox: Inbox::new(manners.acks_may_wait),
            manners,
            ids: IdSource::new(seed),
            blocks: BytesMut::new(),
            ack_blocks: BytesMut::new(),
            paused_at: None,
            digest_errors: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    pub(crate) fn new_id(&mut self) -> Uuid {
        self.ids.next()
    }

    /// Whether a message may be trusted. Wrong digests are dropped without acknowledgement, so that the peer sends the
    /// message again.
    ///
    /// # Errors
    /// Too many of them: this is no accident on the way.
    pub(crate) fn check_digest(&mut self, message: &Message, now: Instant) -> Result<bool, ProtocolError> {
        if !self.manners.checks_digest || message.digest_matches() {
            return Ok(true);
        }
        self.counters.digest_errors += 1;
        self.digest_errors.push_back(now);
        self.digest_errors.retain(|at| now - *at < DIGEST_ERRORS_WITHIN);
        if self.digest_errors.len() >= DIGEST_ERRORS {
            return Err(ProtocolError::Digest { count: self.digest_errors.len() });
        }
        Ok(false)
    }

    /// Sorts a data message in; see [`Inbox::arrive`].
    pub(crate) fn arrive(&mut self, message: Message, room: usize, now: Instant) -> Arrival {
        self.paused_at = None;
        self.counters.messages_in += 1;
        self.counters.bytes_in += message.payload.len() as u64;
        let arrival = self.inbox.arrive(message, room, now);
        match arrival {
            Arrival::Next(_) => {}
            Arrival::Early => self.counters.early += 1,
            Arrival::Duplicate => self.counters.duplicates += 1,
            Arrival::Refused => self.counters.refused += 1,
        }
        arrival
    }

    /// Takes an acknowledgement in; answers the number if something was waiting for it.
    ///
    /// # Errors
    /// The body is not an acknowledgement's.
    pub(crate) fn acknowledged(
        &mut self,
        payload: &[u8],
        now: Instant,
    ) -> Result<Option<i64>, ProtocolError> {
        let body: AcknowledgedNumber =
            serde_json::from_slice(payload).map_err(|_| ProtocolError::Body { body: "acknowledgement" })?;
        self.paused_at = None;
        self.counters.acks_in += 1;
        let number = body.acknowledged_message_sequence_number;
        Ok(self.outbox.acknowledged(number, now).then_some(number))
    }

    /// The service asks for silence; answers whether that is news.
    pub(crate) fn pause(&mut self, now: Instant) -> bool {
        // A pause that has expired does not shield from the next one.
        let begins = !self.is_paused(now);
        if begins {
            self.paused_at = Some(now);
        }
        begins
    }

    /// The service takes it back; answers whether there was a pause, expired or not.
    pub(crate) fn unpause(&mut self) -> bool {
        self.paused_at.take().is_some()
    }

    pub(crate) fn is_paused(&self, now: Instant) -> bool {
        self.paused_at.is_some_and(|at| !self.manners.pause_expires || now < at + LONGEST_PAUSE)
    }

    /// A new connection: everything unacknowledged is due, and something leaves in any case.
    pub(crate) fn reconnected(&mut self, now: Instant) {
        self.paused_at = None;
        self.outbox.reconnected(now);
        // Something must be sent at once: that is what makes a paused agent publish again.
        self.inbox.acks.repeat_last();
    }

    /// Nothing is sent or awaited any more: messages that wait, in either direction, are dropped.
    pub(crate) fn clear(&mut self) {
        self.outbox.clear();
        self.inbox.clear();
    }

    /// Room for the acknowledgements that more input would cause.
    pub(crate) fn wants_input(&self) -> bool {
        self.acks_due() < ACKS_DUE
    }

    /// Acknowledgements waiting.
    pub(crate) fn acks_due(&self) -> usize {
        self.inbox.acks.len()
    }

    /// Something leaves anyway: acknowledgements that wait for each other leave before it.
    pub(crate) fn release_acks(&mut self) {
        self.inbox.acks.release();
    }

    /// When acknowledgements that wait for each other leave.
    pub(crate) fn acks_held_until(&self) -> Option<Instant> {
        self.inbox.acks.held_until()
    }

    /// The next acknowledgement, ready to leave.
    pub(crate) fn next_ack(&mut self, now: Now) -> Option<Bytes> {
        let ack = self.inbox.acks.pop(now.mono)?;
        self.counters.acks_out += 1;
        let header = Header {
            message_type: MessageType::Acknowledge,
            created_date: now.wall_ms,
            sequence_number: 0,
            flags: FLAG_SYN | FLAG_FIN,
            message_id: self.ids.next(),
            payload_type: PayloadType::None,
        };
        let name = ack.message_type;
        Some(build(&mut self.ack_blocks, ACK_BLOCK, 256, &header, |out| {
            write_acknowledge(out, name.name(), ack.id, ack.number);
        }))
    }

    /// The next message to send again, if one is overdue and may leave.
    pub(crate) fn next_resend(&mut self, now: Instant) -> Option<Bytes> {
        if !self.may_send(true, now) {
            return None;
        }
        let frame = self.outbox.next_resend(now)?;
        self.take_token(now);
        self.counters.retransmissions += 1;
        Some(frame)
    }

    /// Whether [`Channel::next_resend`] would answer something.
    pub(crate) fn has_resend(&mut self, now: Instant) -> bool {
        self.may_send(true, now) && self.outbox.has_overdue(now)
    }

    /// Whether the agent's way of sending again is what a download waits for.
    pub(crate) fn waits_for_resends(&mut self, now: Instant) -> bool {
        self.inbox.gaps.is_limited(now)
    }

    /// When that ends, if nothing happens before.
    pub(crate) fn resends_awaited_until(&self) -> Option<Instant> {
        self.inbox.gaps.ends_at()
    }

    /// Whether a message may leave now: no pause, and inside the message rate. One without hurry leaves with others.
    pub(crate) fn may_send(&self, hurry: bool, now: Instant) -> bool {
        !self.is_paused(now) && self.bucket_opens_at(hurry, now).is_none()
    }

    /// Whether the window takes new stream data.
    pub(crate) fn has_room(&self) -> bool {
        !self.manners.windowed || self.outbox.has_room()
    }

    /// Numbers and remembers a new data message; `fill` appends its payload, at most `limit` bytes and at least one.
    pub(crate) fn send(
        &mut self,
        payload_type: PayloadType,
        limit: usize,
        quick: bool,
        now: Now,
        fill: impl FnOnce(&mut BytesMut),
    ) -> Bytes {
        let header = self.data_header(payload_type, self.outbox.next_number(), now);
        let frame = build(&mut self.blocks, BLOCK, limit, &header, fill);
        self.counters.messages_out += 1;
        self.counters.bytes_out += (frame.len() - PAYLOAD_OFFSET) as u64;
        self.take_token(now.mono);
        self.outbox.sent(frame.clone(), quick, now.mono);
        frame
    }

    /// Exchanges the payload of an unacknowledged message. Only for payloads whose content means nothing: the peer may
    /// have processed either.
    pub(crate) fn replace(
        &mut self,
        number: i64,
        payload_type: PayloadType,
        payload: &[u8],
        now: Now,
    ) -> bool {
        let header = self.data_header(payload_type, number, now);
        let frame =
            build(&mut self.blocks, BLOCK, payload.len(), &header, |out| out.extend_from_slice(payload));
        self.outbox.replace(number, frame)
    }

    /// A service message of our own: not numbered, not acknowledged.
    #[cfg(feature = "agent")]
    pub(crate) fn service_message(&mut self, message_type: MessageType, payload: &[u8], now: Now) -> Bytes {
        Message::service(message_type, PayloadType::None, self.ids.next(), now.wall_ms, payload).encode()
    }

    /// The figures that a channel knows; `streams` are unread bytes and count.
    pub(crate) fn statistics(&self, streams: (usize, usize), connections: u32) -> Statistics {
        let outbox = &self.outbox;
        let (outstanding_messages, outstanding_bytes) = outbox.outstanding();
        let (early_messages, early_bytes) = self.inbox.early();
        Statistics {
            counters: self.counters,
            smoothed_rtt: outbox.rtt().smoothed(),
            min_rtt: outbox.window().min_rtt(),
            retransmission_timeout: outbox.rtt().rto(),
            window: outbox.window().limit(),
            outstanding_messages,
            outstanding_bytes,
            last_ack: outbox.last_ack(),
            unread_bytes: streams.0,
            early_messages,
            early_bytes,
            missing_messages: self.inbox.missing(),
            streams: streams.1,
            connections,
        }
    }

    /// There was room and nothing to send.
    pub(crate) fn starve(&mut self) {
        self.outbox.starve();
    }

    /// See [`Outbox::excuse_peer`].
    pub(crate) fn excuse_peer(&mut self, now: Instant) {
        self.outbox.excuse_peer(now);
    }

    /// When something that cannot leave now can; `wants_to_send`: new data is waiting, perhaps in a hurry.
    pub(crate) fn next_timeout(&mut self, wants_to_send: bool, hurry: bool, now: Instant) -> Option<Instant> {
        if self.is_paused(now) {
            return self.paused_at.filter(|_| self.manners.pause_expires).map(|at| at + LONGEST_PAUSE);
        }
        let overdue = self.outbox.has_overdue(now);
        let resend = if overdue { None } else { self.outbox.next_deadline(now) };
        let bucket = self.bucket_opens_at(overdue || hurry, now);
        earliest(resend, bucket.filter(|_| overdue || wants_to_send))
    }

    fn data_header(&mut self, payload_type: PayloadType, number: i64, now: Now) -> Header {
        Header {
            message_type: self.manners.sends,
            created_date: now.wall_ms,
            sequence_number: number,
            flags: if number == 0 { self.manners.first_flags } else { 0 },
            message_id: self.ids.next(),
            payload_type,
        }
    }

    fn bucket_opens_at(&self, hurry: bool, now: Instant) -> Option<Instant> {
        self.manners.bucket.as_ref()?.ready_at(hurry, now)
    }

    fn take_token(&mut self, now: Instant) {
        if let Some(bucket) = &mut self.manners.bucket {
            bucket.take(now);
        }
    }
}

/// Builds a message in place at the front of a shared block.
fn build(
    blocks: &mut BytesMut,
    block: usize,
    limit: usize,
    header: &Header,
    fill: impl FnOnce(&mut BytesMut),
) -> Bytes {
    let size = PAYLOAD_OFFSET + limit;
    if blocks.capacity() < size {
        *blocks = BytesMut::with_capacity(block.max(size));
    }
    blocks.resize(PAYLOAD_OFFSET, 0);
    fill(blocks);
    seal(blocks, header);
    blocks.split().freeze()
}
