//! The multiplexer. Here: its state and the owner's side; `receive` holds the way in, `send` the way out.

mod check;
mod receive;
mod send;

use std::{
    collections::{BTreeMap, VecDeque, btree_map::Entry},
    time::Instant,
};

use bytes::Bytes;

pub use self::send::MIN_TRANSMIT;
use self::send::SendOrder;
use crate::{
    Command, Config, ConfigError, Header, OpenError, OverLimit, ProtocolError, ReceiveBudget, Role,
    StreamError, StreamId,
    decoder::Decoder,
    stream::{LocalHalf, RemoteHalf, Stream},
};

/// The client's first id. The Go implementation counts from 1 in steps of 2 and adds before use.
const FIRST_CLIENT_ID: u32 = 3;

/// Something that the owner of a [`Mux`] should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The peer opened a stream (server role only).
    Opened(StreamId),
    /// Bytes can be read. Not repeated until [`Mux::read`] answered `None`.
    Readable(StreamId),
    /// The send buffer was full and is at most half full now, or the next write would fail.
    Writable(StreamId),
    /// Nothing of the stream waits to leave any more. Only after [`Mux::tell_when_drained`], and once.
    Drained(StreamId),
    /// The peer closed the stream and everything it sent has been read.
    RemoteFinished(StreamId),
    /// The stream is over and forgotten. Always the last event of a stream.
    Closed(StreamId),
}

impl Event {
    /// The stream that it is about.
    #[must_use]
    pub const fn id(self) -> StreamId {
        match self {
            Self::Opened(id)
            | Self::Readable(id)
            | Self::Writable(id)
            | Self::Drained(id)
            | Self::RemoteFinished(id)
            | Self::Closed(id) => id,
        }
    }
}

/// Answer of [`Mux::poll_output`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Handle it and poll again.
    Event(Event),
    /// Nothing more to tell; call [`Mux::handle_timeout`] at that time, if any.
    Timeout(Option<Instant>),
}

/// One end of a multiplexed connection. The crate's documentation has the contract.
#[derive(Debug)]
pub struct Mux {
    role: Role,
    config: Config,
    streams: BTreeMap<StreamId, Stream>,
    /// What `open` hands out next; `None` when all are used.
    next_id: Option<u32>,
    decoder: Decoder,
    budget: ReceiveBudget,
    order: SendOrder,
    events: VecDeque<Event>,
    /// `Opened` events among them.
    unpolled_opens: usize,
    next_nop: Option<Instant>,
    failed: Option<ProtocolError>,
}

impl Mux {
    /// A multiplexer at the start of a connection.
    ///
    /// # Errors
    /// The configuration contradicts itself or the protocol.
    pub fn new(role: Role, config: Config, now: Instant) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            role,
            streams: BTreeMap::new(),
            next_id: Some(FIRST_CLIENT_ID),
            decoder: Decoder::default(),
            budget: ReceiveBudget::new(config.receive),
            order: SendOrder::default(),
            events: VecDeque::new(),
            unpolled_opens: 0,
            next_nop: config.keepalive.map(|interval| now + interval),
            failed: None,
            config,
        })
    }

    /// Opens a stream and queues its SYN. It can be written at once: there is no reply to wait for.
    ///
    /// # Errors
    /// In the server role, after a protocol error, and when all ids (2^31) were used.
    pub fn open(&mut self) -> Result<StreamId, OpenError> {
        if self.role == Role::Server {
            return Err(OpenError::NotClient);
        }
        if self.failed.is_some() {
            return Err(OpenError::Failed);
        }
        let number = self.next_id.ok_or(OpenError::IdsExhausted)?;
        self.next_id = number.checked_add(2);
        let id = StreamId::from(number);
        self.streams.insert(id, Stream::new(self.config.frame_payload, true));
        self.order.control(Header::control(Command::Syn, id));
        Ok(id)
    }

    /// Queues as much of `data` as fits the stream's send buffer and cuts that off its front; answers how much.
    /// When the buffer is full afterwards, [`Event::Writable`] follows.
    ///
    /// # Errors
    /// The stream is unknown, was finished, or the peer has closed it.
    pub fn write(&mut self, id: StreamId, data: &mut Bytes) -> Result<usize, StreamError> {
        let stream = self.streams.get_mut(&id).ok_or(StreamError::Unknown(id))?;
        stream.check_writable(id)?;
        let room = self.config.stream_send_buffer - stream.outbox.len();
        let accepted = room.min(data.len());
        stream.write_blocked |= accepted == room;
        if accepted > 0 {
            let was_empty = stream.outbox.is_empty();
            stream.outbox.push(data.split_to(accepted));
            self.order.queued(accepted);
            if was_empty {
                self.order.schedule(id, &mut stream.turn);
            }
        }
        Ok(accepted)
    }

    /// Bytes that [`write`](Self::write) would accept now; 0 also for streams that take no writes any more.
    #[must_use]
    pub fn writable(&self, id: StreamId) -> usize {
        match self.streams.get(&id) {
            Some(stream) if stream.check_writable(id).is_ok() => {
                self.config.stream_send_buffer - stream.outbox.len()
            }
            Some(_) | None => 0,
        }
    }

    /// Asks for [`Event::Drained`] once nothing of a stream waits to leave, its SYN included: maybe at once.
    pub fn tell_when_drained(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.drain_awaited = true;
            self.events.extend(stream.take_drained().then_some(Event::Drained(id)));
        }
    }

    /// Takes the next unread bytes; `None` when there are none (which arms [`Event::Readable`] again) and for unknown
    /// streams.
    pub fn read(&mut self, id: StreamId) -> Option<Bytes> {
        let stream = self.streams.get_mut(&id)?;
        let Some(data) = stream.inbox.pop() else {
            stream.readable_told = false;
            return None;
        };
        self.budget.released(id, data.len(), stream.inbox.len());
        if stream.inbox.is_empty() && stream.remote == RemoteHalf::Unread {
            stream.remote = RemoteHalf::Finished;
            self.events.push_back(Event::RemoteFinished(id));
            self.forget_if_over(id);
        }
        Some(data)
    }

    /// Queues a FIN behind the data written so far. Reading goes on. Does nothing if already finished or unknown.
    pub fn finish(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.local != LocalHalf::Open {
            return;
        }
        stream.write_blocked = false;
        if !stream.outbox.is_empty() {
            stream.local = LocalHalf::Finishing;
            return;
        }
        stream.local = LocalHalf::Finished;
        self.order.control(Header::control(Command::Fin, id));
        self.forget_if_over(id);
    }

    /// Drops what is queued and what is unread, tells the peer with a FIN and forgets the stream at once
    /// ([`Event::Closed`] is then its only event). Does nothing if unknown.
    pub fn abort(&mut self, id: StreamId) {
        let Some(mut stream) = self.streams.remove(&id) else { return };
        self.order.forget(id, &stream.turn);
        self.order.dropped(stream.outbox.clear());
        let unread = stream.inbox.clear();
        self.budget.released(id, unread, 0);
        if stream.syn_queued {
            self.order.retract(id);
        } else if stream.local != LocalHalf::Finished {
            self.order.control(Header::control(Command::Fin, id));
        }
        let opens = &mut self.unpolled_opens;
        self.events.retain(|event| {
            *opens -= usize::from(*event == Event::Opened(id));
            event.id() != id
        });
        self.events.push_back(Event::Closed(id));
    }

    /// Drops what is queued and what is unread and tells the peer with a FIN, as [`abort`](Self::abort), but keeps the
    /// id until the peer's FIN has come: [`Event::Closed`] tells that, and is the stream's only event. The same as
    /// `abort` where no FIN is to be expected: before the SYN has left, and after the peer's FIN.
    pub fn abandon(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.syn_queued || stream.remote != RemoteHalf::Open {
            return self.abort(id);
        }
        self.order.dropped(stream.outbox.clear());
        let unread = stream.inbox.clear();
        self.budget.released(id, unread, 0);
        if stream.local != LocalHalf::Finished {
            self.order.control(Header::control(Command::Fin, id));
        }
        (stream.local, stream.remote) = (LocalHalf::Finished, RemoteHalf::Ignored);
        (stream.write_blocked, stream.drain_awaited) = (false, false);
        self.events.retain(|event| event.id() != id);
    }

    /// Queues a NOP, for instance to see whether the peer acknowledges anything; at most one is queued at a time.
    pub fn queue_nop(&mut self) {
        self.order.nop();
    }

    /// Next event, or when to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_output(&mut self) -> Output {
        let Some(event) = self.events.pop_front() else { return Output::Timeout(self.next_nop) };
        if let Event::Opened(_) = event {
            self.unpolled_opens -= 1;
        }
        Output::Event(event)
    }

    /// Time has come to `now`; calling it early or late does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.next_nop.is_some_and(|at| at <= now) {
            self.order.nop();
            self.rearm_keepalive(now);
        }
    }

    /// Whether more input is welcome: false when the session's limit of unread bytes is reached and after a protocol
    /// error. Input that comes nevertheless is processed.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.failed.is_none() && self.budget.has_room()
    }

    /// The account of unread bytes.
    #[must_use]
    pub const fn receive_budget(&self) -> &ReceiveBudget {
        &self.budget
    }

    /// Unread bytes of a stream.
    #[must_use]
    pub fn unread(&self, id: StreamId) -> usize {
        self.streams.get(&id).map_or(0, |stream| stream.inbox.len())
    }

    /// Unread bytes of all streams.
    #[must_use]
    pub const fn total_unread(&self) -> usize {
        self.budget.unread()
    }

    /// Streams with more unread bytes than the limit per stream, by id, and since when.
    pub fn over_limit_streams(&self) -> impl Iterator<Item = OverLimit> + '_ {
        self.budget.over_limit()
    }

    /// Payload bytes that ever arrived for a stream; 0 also if unknown.
    #[must_use]
    pub fn received(&self, id: StreamId) -> u64 {
        self.streams.get(&id).map_or(0, |stream| stream.received)
    }

    /// Whether the peer has heard of a stream: its SYN has left, or came from there. False also if unknown.
    #[must_use]
    pub fn is_announced(&self, id: StreamId) -> bool {
        self.streams.get(&id).is_some_and(|stream| !stream.syn_queued)
    }

    /// Streams that are not closed, by id.
    pub fn streams(&self) -> impl ExactSizeIterator<Item = StreamId> + '_ {
        self.streams.keys().copied()
    }

    /// How many streams are not closed.
    #[must_use]
    pub fn stream_count(&self) -> usize {
        self.streams.len()
    }

    fn forget_if_over(&mut self, id: StreamId) {
        if let Entry::Occupied(entry) = self.streams.entry(id)
            && entry.get().is_over()
        {
            self.order.forget(id, &entry.remove().turn);
            self.events.push_back(Event::Closed(id));
        }
    }

    fn rearm_keepalive(&mut self, now: Instant) {
        self.next_nop = self.config.keepalive.map(|interval| now + interval);
    }
}

#[cfg(test)]
mod tests;
