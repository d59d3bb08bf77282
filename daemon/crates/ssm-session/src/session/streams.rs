//! The forwarded connections of a session: the multiplexer and what it does not know.
//!
//! Three rules are kept here. Streams are announced to the agent only once the session is up, and never more than it
//! can take ([`Dialling`]). A local half-close is not told to the agent as long as answers may come, because its FIN
//! closes both directions there. A reader that takes nothing may not starve its neighbours (`crowding`).

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use smux::Mux;

use super::crowding::Room;
use super::dialling::Dialling;
use super::half_closed::HalfClosed;
use crate::config::Config;
use crate::error::{OpenError, ProtocolError, WriteError};
use crate::event::{ResetReason, SessionEvent, StreamId};
use crate::statistics::StreamStatistics;
use crate::time::earliest;

/// Streams given up while the agent may still be dialling them that are remembered until their FIN: as many as the
/// agent lets wait.
const ABANDONED: usize = 1024;

#[derive(Debug)]
pub(super) struct Entry {
    /// `None` while held back.
    pub(super) mux: Option<smux::StreamId>,
    /// Written while held back.
    held: Vec<Bytes>,
    held_bytes: usize,
    opened_at: Instant,
    /// Last byte from the remote.
    pub(super) heard_at: Instant,
    /// Last `write` that took something.
    pub(super) wrote_at: Instant,
    /// Last `read` that took something, or when there was something to take again.
    pub(super) read_at: Instant,
    /// The local side has finished.
    finished: bool,
    /// When the agent was first known to have all that was written, after that.
    settled_at: Option<Instant>,
    bytes_in: u64,
    bytes_out: u64,
}

/// All streams of one session.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(super) mux: Option<Mux>,
    /// Whether streams may be announced.
    up: bool,
    /// Whether the agent can be heard.
    connected: bool,
    pub(super) entries: BTreeMap<StreamId, Entry>,
    pub(super) by_mux: HashMap<smux::StreamId, StreamId>,
    next: u32,
    /// Not announced yet, oldest first.
    waiting: BTreeSet<StreamId>,
    /// Finished locally, FIN not given to the multiplexer yet.
    half_closed: HalfClosed,
    /// Those of them of which everything has left, but may not have arrived.
    drained: Vec<StreamId>,
    /// Given up locally before the agent was heard of on them.
    abandoned: BTreeSet<smux::StreamId>,
    dialling: Dialling,
    pub(super) room: Room,
    mux_timeout: Option<Instant>,
    pub(crate) events: VecDeque<SessionEvent>,
}

impl Streams {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            mux: None,
            up: false,
            connected: false,
            entries: BTreeMap::new(),
            by_mux: HashMap::new(),
            next: 1,
            waiting: BTreeSet::new(),
            half_closed: HalfClosed::new(config.half_close_grace),
            drained: Vec::new(),
            abandoned: BTreeSet::new(),
            dialling: Dialling::new(config.max_undialled, config.dial_grace),
            room: Room::new(config),
            mux_timeout: None,
            events: VecDeque::new(),
        }
    }

    /// The handshake is complete: the multiplexer exists, and its first frame is a NOP.
    pub(crate) fn start(&mut self, mut mux: Mux) {
        mux.queue_nop();
        self.mux = Some(mux);
    }

    /// The agent can be heard, or heard again: its silence counts from now on.
    pub(crate) fn connected(&mut self, now: Instant) {
        self.connected = true;
        for id in self.half_closed.ids() {
            self.entries.entry(id).and_modify(|entry| entry.heard_at = now);
            self.half_closed.watch(id, self.silent_since(id));
        }
        self.dialling.reconnected(now);
        self.pump(now);
    }

    /// The agent cannot be heard.
    pub(crate) fn disconnected(&mut self) {
        self.connected = false;
    }

    /// The agent acknowledged the NOP: streams may be announced.
    pub(crate) fn up(&mut self, now: Instant) {
        self.up = true;
        self.pump(now);
    }

    pub(crate) fn open(&mut self, now: Instant) -> Result<StreamId, OpenError> {
        let next = self.next.checked_add(1).ok_or(OpenError::Exhausted)?;
        let id = StreamId(self.next);
        self.next = next;
        let entry = Entry {
            mux: None,
            held: Vec::new(),
            held_bytes: 0,
            opened_at: now,
            heard_at: now,
            wrote_at: now,
            read_at: now,
            finished: false,
            settled_at: None,
            bytes_in: 0,
            bytes_out: 0,
        };
        self.entries.insert(id, entry);
        self.waiting.insert(id);
        self.pump(now);
        Ok(id)
    }

    pub(crate) fn write(
        &mut self,
        id: StreamId,
        data: &mut Bytes,
        capacity: usize,
        now: Instant,
    ) -> Result<usize, WriteError> {
        let entry = self.entries.get_mut(&id).ok_or(WriteError::Closed)?;
        if entry.finished {
            return Err(WriteError::Closed);
        }
        let accepted = match (&mut self.mux, entry.mux) {
            (Some(mux), Some(inner)) => mux.write(inner, data).map_err(|_| WriteError::RemoteFinished)?,
            _ => {
                let room = (capacity - entry.held_bytes).min(data.len());
                if room > 0 {
                    entry.held.push(data.split_to(room));
                    entry.held_bytes += room;
                }
                room
            }
        };
        if accepted > 0 {
            entry.bytes_out += accepted as u64;
            entry.wrote_at = now;
            self.pump(now);
        }
        Ok(accepted)
    }

    pub(crate) fn read(&mut self, id: StreamId, now: Instant) -> Option<Bytes> {
        let entry = self.entries.get_mut(&id)?;
        let data = self.mux.as_mut()?.read(entry.mux?);
        if let Some(data) = &data {
            entry.bytes_in += data.len() as u64;
            (entry.read_at, entry.heard_at) = (now, now);
            self.may_fall_silent(id);
        }
        self.pump(now);
        data
    }

    pub(crate) fn finish(&mut self, id: StreamId, now: Instant) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if std::mem::replace(&mut entry.finished, true) {
            return;
        }
        self.half_closed.watch(id, None);
        if let (Some(mux), Some(inner)) = (&mut self.mux, entry.mux) {
            mux.tell_when_drained(inner);
        }
        self.pump(now);
    }

    pub(crate) fn abort(&mut self, id: StreamId, now: Instant) {
        self.forget(id);
        self.pump(now);
    }

    /// Ends every stream, and the multiplexer with them: there may be thousands, and nobody is left to be told.
    pub(crate) fn reset_all(&mut self) {
        let entries = std::mem::take(&mut self.entries);
        self.events.retain(|event| event.stream().is_none_or(|id| !entries.contains_key(&id)));
        let reset = |stream| SessionEvent::Reset { stream, reason: ResetReason::SessionEnded };
        self.events.extend(entries.into_keys().map(reset));
        self.mux = None;
        self.mux_timeout = None;
        self.by_mux.clear();
        self.waiting.clear();
        self.half_closed.clear();
        self.drained.clear();
        self.abandoned.clear();
        self.up = false;
    }

    /// Bytes from the agent.
    pub(crate) fn handle_input(&mut self, data: Bytes, now: Instant) -> Result<(), ProtocolError> {
        let Some(mux) = &mut self.mux else {
            return Err(ProtocolError::Unexpected {
                payload: "data",
                when: "before the end of the handshake",
            });
        };
        mux.handle_input(data, now).map_err(ProtocolError::Mux)?;
        self.pump(now);
        Ok(())
    }

    /// The agent reports a failed connect.
    pub(crate) fn connect_failed(&mut self, now: Instant) {
        self.dialling.failed(now);
        self.events.push_back(SessionEvent::RemoteConnectFailed);
    }

    /// Bytes that wait to be sent.
    pub(crate) fn pending(&self) -> usize {
        self.mux.as_ref().map_or(0, Mux::pending_bytes)
    }

    /// Whether some of them should not wait for each other: it is no bulk.
    pub(crate) fn hurry(&self) -> bool {
        self.mux.as_ref().is_some_and(Mux::hurries)
    }

    /// Appends the next frames to a message.
    pub(crate) fn transmit(&mut self, out: &mut BytesMut, limit: usize, now: Instant) {
        if let Some(mux) = &mut self.mux {
            mux.transmit(out, limit, now);
        }
        self.pump(now);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if let Some(mux) = &mut self.mux {
            mux.handle_timeout(now);
        }
        self.pump(now);
    }

    /// `silence`: whether somebody wants to know of a stream that falls silent.
    pub(crate) fn next_timeout(&self, silence: bool) -> Option<Instant> {
        let fin = self.half_closed.next_timeout().filter(|_| self.connected && silence);
        let announces = self.up && self.connected && !self.waiting.is_empty();
        let dial = self.dialling.next_timeout().filter(|_| announces);
        earliest(earliest(self.mux_timeout, fin), earliest(self.next_relief(), dial))
    }

    pub(crate) fn count(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn unread(&self) -> usize {
        self.mux.as_ref().map_or(0, Mux::total_unread)
    }

    pub(crate) fn statistics(&self, id: StreamId) -> Option<StreamStatistics> {
        let entry = self.entries.get(&id)?;
        let unread = self.mux.as_ref().zip(entry.mux).map_or(0, |(mux, inner)| mux.unread(inner));
        Some(StreamStatistics {
            opened_at: entry.opened_at,
            bytes_in: entry.bytes_in,
            bytes_out: entry.bytes_out,
            unread,
        })
    }

    /// Whether the remote end of a locally finished stream seems to have been silent for the grace.
    pub(crate) fn has_silent(&mut self, now: Instant) -> bool {
        self.connected && !self.silent(now).is_empty()
    }

    /// The agent has heard all that we sent until `then`, and we all that it sent: lets the FIN of locally finished
    /// streams leave whose remote end had been silent for the grace by then, and is silent still.
    pub(crate) fn give_up_silent(&mut self, then: Instant, now: Instant) {
        for id in self.silent(then) {
            self.half_closed.remove(id);
            if let (Some(mux), Some(inner)) = (&mut self.mux, self.entries.get(&id).and_then(|e| e.mux)) {
                mux.finish(inner);
            }
        }
        self.pump(now);
    }

    fn silent(&mut self, now: Instant) -> Vec<StreamId> {
        for id in self.half_closed.expired(now) {
            self.half_closed.watch(id, self.silent_since(id));
        }
        self.half_closed.expired(now)
    }

    /// Locally finished streams of which everything has left since the last call.
    pub(crate) fn take_drained(&mut self) -> Vec<StreamId> {
        std::mem::take(&mut self.drained)
    }

    /// The agent has all that was written to these streams.
    pub(crate) fn settled(&mut self, streams: &[StreamId], now: Instant) {
        for id in streams {
            let Some(entry) = self.entries.get_mut(id) else { continue };
            entry.settled_at = Some(now);
            self.may_fall_silent(*id);
        }
    }

    /// A stream was read, or is settled: if it is locally finished and had no timer, it may get one.
    fn may_fall_silent(&mut self, id: StreamId) {
        if self.half_closed.is_untimed(id) {
            self.half_closed.watch(id, self.silent_since(id));
        }
    }

    /// Since when the remote end of a locally finished stream is silent. It is not before it has all that was written,
    /// nor while its own bytes wait for a slow reader.
    fn silent_since(&self, id: StreamId) -> Option<Instant> {
        let entry = self.entries.get(&id)?;
        let settled_at = entry.settled_at?;
        let unread = self.mux.as_ref()?.unread(entry.mux?);
        (unread == 0).then(|| settled_at.max(entry.heard_at))
    }

    /// Takes in what the multiplexer has to say, announces waiting streams, and resets those whose time is over, which
    /// gives the multiplexer something to say.
    pub(super) fn pump(&mut self, now: Instant) {
        loop {
            self.absorb(now);
            self.announce(now);
            if !self.make_room(now) {
                return;
            }
        }
    }

    fn absorb(&mut self, now: Instant) {
        while let Some(mux) = &mut self.mux {
            match mux.poll_output() {
                smux::Output::Event(event) => {
                    if let Some(id) = self.by_mux.get(&event.id()).copied() {
                        self.translate(id, event, now);
                    } else if self.abandoned.remove(&event.id()) {
                        // Its FIN: if a failed connect was reported, it was this one's.
                        self.dialling.is_refusal(event.id(), now);
                        self.dialling.heard_of(event.id());
                    }
                }
                smux::Output::Timeout(at) => {
                    self.mux_timeout = at;
                    break;
                }
            }
        }
    }

    fn translate(&mut self, id: StreamId, event: smux::Event, now: Instant) {
        match event {
            smux::Event::Readable(inner) => {
                self.dialling.heard_of(inner);
                if let Some(entry) = self.entries.get_mut(&id) {
                    (entry.read_at, entry.heard_at) = (now, now);
                }
                self.events.push_back(SessionEvent::Readable(id));
            }
            smux::Event::Writable(_) => self.events.push_back(SessionEvent::Writable(id)),
            smux::Event::Drained(_) => self.drained.push(id),
            smux::Event::RemoteFinished(inner) => self.remote_finished(id, inner, now),
            smux::Event::Closed(inner) => {
                self.by_mux.remove(&inner);
                self.half_closed.remove(id);
                self.entries.remove(&id);
                self.events.push_back(SessionEvent::Closed(id));
            }
            // A client's multiplexer accepts no streams.
            smux::Event::Opened(_) => {}
        }
    }

    fn remote_finished(&mut self, id: StreamId, inner: smux::StreamId, now: Instant) {
        let silent = self.mux.as_ref().is_some_and(|mux| mux.received(inner) == 0);
        let refused = silent && self.dialling.is_refusal(inner, now);
        self.dialling.heard_of(inner);
        if refused {
            self.reset(id, ResetReason::RefusedByRemote);
            return;
        }
        self.events.push_back(SessionEvent::RemoteFinished(id));
        self.half_closed.remove(id);
        if let Some(mux) = &mut self.mux {
            // The agent has forgotten the stream; nothing that we could still send would arrive.
            mux.finish(inner);
        }
    }

    fn announce(&mut self, now: Instant) {
        while self.up
            && self.connected
            && !self.waiting.is_empty()
            && self.dialling.has_room(now)
            && let Some(mux) = &mut self.mux
            && let Some(id) = self.waiting.pop_first()
            && let Some(entry) = self.entries.get_mut(&id)
        {
            let Ok(inner) = mux.open() else {
                self.reset(id, ResetReason::SessionEnded);
                continue;
            };
            entry.mux = Some(inner);
            for mut data in std::mem::take(&mut entry.held) {
                // The multiplexer's buffer is at least as large as the one for held streams.
                let _ = mux.write(inner, &mut data);
            }
            self.by_mux.insert(inner, id);
            self.dialling.announced(inner, now);
            if entry.finished {
                mux.tell_when_drained(inner);
            }
            self.absorb(now);
        }
    }

    pub(super) fn reset(&mut self, id: StreamId, reason: ResetReason) {
        self.forget(id);
        self.events.push_back(SessionEvent::Reset { stream: id, reason });
    }

    /// Removes a stream; the multiplexer's farewell event finds no one.
    fn forget(&mut self, id: StreamId) {
        let Some(entry) = self.entries.remove(&id) else { return };
        self.half_closed.remove(id);
        match entry.mux {
            None => {
                self.waiting.remove(&id);
            }
            Some(inner) => {
                self.by_mux.remove(&inner);
                self.give_up(inner);
            }
        }
        // Events already queued for it would confuse the owner: the id is gone.
        self.events.retain(|event| event.stream() != Some(id));
    }

    /// Ends a stream toward the agent. One that it may still be dialling is remembered until its FIN: a failed connect
    /// that is reported meanwhile is this stream's, and must not be taken for that of another.
    fn give_up(&mut self, inner: smux::StreamId) {
        let Some(mux) = &mut self.mux else { return };
        if !mux.is_announced(inner) {
            self.dialling.retracted(inner);
        } else if self.dialling.is_open(inner) && self.abandoned.len() < ABANDONED {
            self.abandoned.insert(inner);
            return mux.abandon(inner);
        }
        mux.abort(inner);
    }
}

/// The multiplexer's settings that follow from the session's.
pub(crate) fn mux_config(config: &Config, keepalive: bool) -> smux::Config {
    let frame_payload = config.target_payload();
    smux::Config {
        frame_payload,
        stream_send_buffer: config.send_buffer.max(frame_payload),
        keepalive: keepalive.then_some(smux::KEEPALIVE_INTERVAL),
        receive: smux::ReceiveLimits {
            stream: config.stream_buffer.max(usize::from(u16::MAX)),
            // Bounds of the session are this crate's: see `crowding`.
            session: usize::MAX,
        },
        ..smux::Config::default()
    }
}
