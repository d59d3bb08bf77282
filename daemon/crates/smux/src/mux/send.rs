//! The way out: which frame leaves next.
//!
//! Control frames first. Then *sparse* streams: those that had nothing queued when they were written to and still
//! have credit. Then the round of *bulk* streams, one quantum each. A sparse stream that has been served is put into
//! the bulk round too, even with nothing left: its credit comes back when the round reaches it, not before, so that
//! small writes without end cannot starve anybody (the idea of `fq_codel`'s new and old flows).

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use bytes::{BufMut, BytesMut};

use super::{Event, Mux};
use crate::{
    Command, Header, StreamId,
    frame::HEADER_LEN,
    stream::{LocalHalf, Stream, Turn},
};

/// The least `limit` with which [`Mux::transmit`] can send anything: a header and one byte.
pub const MIN_TRANSMIT: usize = HEADER_LEN + 1;

/// Data is not cut to pieces smaller than this just to fill the end of a transmission or the end of a credit.
const MIN_PART: usize = 64;

impl Mux {
    /// Appends the next frames, always whole ones, of together at most `limit` bytes to `out`; answers how many
    /// bytes. With a `limit` below [`MIN_TRANSMIT`] nothing is sent; otherwise something is if
    /// [`has_pending`](Self::has_pending).
    pub fn transmit(&mut self, out: &mut BytesMut, limit: usize, now: Instant) -> usize {
        if limit < MIN_TRANSMIT || !self.has_pending() {
            return 0;
        }
        let start = out.len();
        out.reserve(limit.min(self.pending_bytes() + HEADER_LEN));
        while let Some(room) = (start + limit).checked_sub(out.len())
            && room >= HEADER_LEN
        {
            if let Some(header) = self.order.next_control() {
                self.send_control(header, out);
                continue;
            }
            let Some((id, sparse)) = self.order.pick(&mut self.streams, self.config.frame_payload) else {
                break;
            };
            let first = out.len() == start;
            if !self.send_data(id, sparse, room - HEADER_LEN, first, out) {
                break;
            }
        }
        self.rearm_keepalive(now);
        out.len() - start
    }

    /// Whether [`transmit`](Self::transmit) has something to send.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        self.pending_bytes() > 0
    }

    /// Bytes waiting to be sent: payload and control frames, without the headers that payload will get.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.order.payload + self.order.control.len() * HEADER_LEN
    }

    /// Whether something other than bulk data waits to leave: control frames, or streams that had nothing queued when
    /// they were written to and have not used up their credit.
    #[must_use]
    pub fn hurries(&self) -> bool {
        !self.order.control.is_empty() || !self.order.sparse.is_empty()
    }

    fn send_control(&mut self, header: Header, out: &mut BytesMut) {
        out.put_slice(&header.encode());
        match header.command {
            Command::Syn => {
                if let Some(stream) = self.streams.get_mut(&header.id) {
                    stream.syn_queued = false;
                    self.events.extend(stream.take_drained().then_some(Event::Drained(header.id)));
                }
            }
            Command::Nop => self.order.nop_queued = false,
            Command::Fin | Command::Psh => {}
        }
    }

    /// Sends one PSH of the stream that `pick` chose; false if the rest of this transmission is too small for it.
    fn send_data(
        &mut self,
        id: StreamId,
        sparse: bool,
        room: usize,
        first: bool,
        out: &mut BytesMut,
    ) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else { return true };
        let wanted = stream.outbox.len().min(stream.turn.credit).min(self.config.frame_payload);
        if room < wanted && room < MIN_PART && !first {
            return false;
        }
        let part = wanted.min(room);
        // `Config` keeps `frame_payload` within the length field.
        let length = u16::try_from(part).unwrap_or(u16::MAX);
        out.put_slice(&Header { command: Command::Psh, length, id }.encode());
        stream.outbox.drain_into(out, part);
        self.order.served(id, stream, sparse, part);

        if stream.write_blocked && stream.outbox.len() <= self.config.stream_send_buffer / 2 {
            stream.write_blocked = false;
            self.events.push_back(Event::Writable(id));
        }
        self.events.extend(stream.take_drained().then_some(Event::Drained(id)));
        if stream.outbox.is_empty() && stream.local == LocalHalf::Finishing {
            stream.local = LocalHalf::Finished;
            self.order.control(Header::control(Command::Fin, id));
            self.forget_if_over(id);
        }
        true
    }
}

/// Everything that waits to be sent, in the order in which it will be. The payload itself lies in the streams.
#[derive(Debug, Default)]
pub(super) struct SendOrder {
    pub(super) control: VecDeque<Header>,
    pub(super) nop_queued: bool,
    /// Streams that leave before bulk data.
    pub(super) sparse: VecDeque<StreamId>,
    /// The round of bulk streams, without the one whose turn it is.
    pub(super) bulk: VecDeque<StreamId>,
    /// Whose turn it is in that round.
    pub(super) holder: Option<StreamId>,
    /// Bytes queued in all streams.
    pub(super) payload: usize,
}

impl SendOrder {
    /// Queues a frame without payload.
    pub(super) fn control(&mut self, header: Header) {
        self.control.push_back(header);
    }

    /// Queues a NOP unless there is one already: a carrier that stands still must not collect them.
    pub(super) fn nop(&mut self) {
        if !self.nop_queued {
            self.nop_queued = true;
            self.control(Header::control(Command::Nop, StreamId::from(0)));
        }
    }

    /// Takes back the control frames of a stream that the peer has not heard of.
    pub(super) fn retract(&mut self, id: StreamId) {
        self.control.retain(|header| header.id != id);
    }

    /// `bytes` were put into some stream's outbox.
    pub(super) fn queued(&mut self, bytes: usize) {
        self.payload += bytes;
    }

    /// `bytes` were dropped from some stream's outbox.
    pub(super) fn dropped(&mut self, bytes: usize) {
        self.payload -= bytes;
    }

    /// A stream that had nothing queued now has.
    pub(super) fn schedule(&mut self, id: StreamId, turn: &mut Turn) {
        if turn.in_sparse {
            return;
        }
        if turn.credit >= MIN_PART {
            turn.in_sparse = true;
            self.sparse.push_back(id);
        } else if !turn.in_bulk {
            turn.in_bulk = true;
            self.bulk.push_back(id);
        }
    }

    /// The stream exists no longer.
    pub(super) fn forget(&mut self, id: StreamId, turn: &Turn) {
        if turn.in_sparse {
            self.sparse.retain(|&queued| queued != id);
        }
        if turn.in_bulk {
            self.bulk.retain(|&queued| queued != id);
            self.holder = self.holder.filter(|&holder| holder != id);
        }
    }

    fn next_control(&mut self) -> Option<Header> {
        self.control.pop_front()
    }

    /// The stream to serve next (it has data and credit) and whether it comes from the sparse queue.
    fn pick(&mut self, streams: &mut BTreeMap<StreamId, Stream>, quantum: usize) -> Option<(StreamId, bool)> {
        while let Some(&id) = self.sparse.front() {
            let stream = streams.get_mut(&id)?;
            if !stream.outbox.is_empty() {
                return Some((id, true));
            }
            // The peer's FIN emptied it.
            stream.turn.in_sparse = false;
            self.sparse.pop_front();
        }
        if let Some(id) = self.holder {
            let stream = streams.get_mut(&id)?;
            if !stream.outbox.is_empty() {
                return Some((id, false));
            }
            stream.turn.in_bulk = false;
            self.holder = None;
        }
        while let Some(id) = self.bulk.pop_front() {
            let stream = streams.get_mut(&id)?;
            if !stream.outbox.is_empty() {
                // A crumb of credit that was too small to use is carried over, or bulk streams would drift apart.
                let crumb = if stream.turn.credit < MIN_PART { stream.turn.credit } else { 0 };
                stream.turn.credit = quantum + crumb;
                self.holder = Some(id);
                return Some((id, false));
            }
            stream.turn.credit = quantum;
            stream.turn.in_bulk = false;
        }
        None
    }

    /// `part` bytes of the stream that `pick` chose were sent.
    fn served(&mut self, id: StreamId, stream: &mut Stream, sparse: bool, part: usize) {
        self.payload -= part;
        let turn = &mut stream.turn;
        turn.credit -= part;
        let goes_on = turn.credit >= MIN_PART && !stream.outbox.is_empty();
        if sparse {
            self.sparse.pop_front();
            if goes_on {
                // Others that wait there are probably shorter.
                self.sparse.push_back(id);
                return;
            }
            turn.in_sparse = false;
            if !turn.in_bulk {
                turn.in_bulk = true;
                self.bulk.push_back(id);
            }
        } else if !goes_on {
            self.holder = None;
            self.bulk.push_back(id);
        }
    }
}
