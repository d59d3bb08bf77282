//! The forwarded connections of a session: the multiplexer and what it does not know.
//!
//! Three rules are kept here. Streams are announced to the agent only once the session is up, and never more than it
//! can take ([`Dialling`]). A local half-close is not told to the agent as long as answers may come, because its FIN
//! closes both directions there. A reader that takes nothing may not starve its neighbours: the multiplexer has no
//! window per stream.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use smux::Mux;

use super::dialling::Dialling;
use crate::config::Config;
use crate::error::{OpenError, ProtocolError, WriteError};
use crate::event::{ResetReason, SessionEvent, StreamId};
use crate::statistics::StreamStatistics;
use crate::time::earliest;

/// Received bytes that a session keeps unread over all its streams.
const SESSION_UNREAD: usize = 64 << 20;
/// Unread bytes that make a stream one of those who fill the session.
const FULL_SHARE: usize = 1 << 20;

#[derive(Debug)]
struct Entry {
    /// `None` while held back.
    mux: Option<smux::StreamId>,
    /// Written while held back.
    held: Vec<Bytes>,
    held_bytes: usize,
    opened_at: Instant,
    /// Last byte from the remote.
    heard_at: Instant,
    /// Last `read` that took something.
    read_at: Instant,
    /// The local side has finished.
    finished_at: Option<Instant>,
    bytes_in: u64,
    bytes_out: u64,
}

/// All streams of one session.
#[derive(Debug)]
pub(crate) struct Streams {
    mux: Option<Mux>,
    /// Whether streams may be announced.
    up: bool,
    /// Whether the agent can be heard.
    connected: bool,
    entries: BTreeMap<StreamId, Entry>,
    by_mux: HashMap<smux::StreamId, StreamId>,
    next: u32,
    /// Not announced yet, oldest first.
    waiting: VecDeque<StreamId>,
    /// Finished locally, FIN not given to the multiplexer yet.
    half_closed: BTreeSet<StreamId>,
    dialling: Dialling,
    /// Since when the session's limit of unread bytes has been reached.
    full_since: Option<Instant>,
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
            waiting: VecDeque::new(),
            half_closed: BTreeSet::new(),
            dialling: Dialling::new(config.max_undialled, config.dial_grace),
            full_since: None,
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
        for id in &self.half_closed {
            self.entries.entry(*id).and_modify(|entry| entry.heard_at = now);
        }
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
            read_at: now,
            finished_at: None,
            bytes_in: 0,
            bytes_out: 0,
        };
        self.entries.insert(id, entry);
        self.waiting.push_back(id);
        self.pump(now);
        Ok(id)
    }

    pub(crate) fn write(
        &mut self,
        id: StreamId,
        data: &mut Bytes,
        capacity: usize,
    ) -> Result<usize, WriteError> {
        let entry = self.entries.get_mut(&id).ok_or(WriteError::Closed)?;
        if entry.finished_at.is_some() {
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
        entry.bytes_out += accepted as u64;
        Ok(accepted)
    }

    pub(crate) fn read(&mut self, id: StreamId, now: Instant) -> Option<Bytes> {
        let entry = self.entries.get_mut(&id)?;
        let data = self.mux.as_mut()?.read(entry.mux?);
        if let Some(data) = &data {
            entry.bytes_in += data.len() as u64;
            (entry.read_at, entry.heard_at) = (now, now);
        }
        self.pump(now);
        data
    }

    pub(crate) fn finish(&mut self, id: StreamId, now: Instant) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.finished_at.is_none() {
            entry.finished_at = Some(now);
            self.half_closed.insert(id);
        }
    }

    pub(crate) fn abort(&mut self, id: StreamId, now: Instant) {
        self.forget(id);
        self.pump(now);
    }

    /// Ends every stream.
    pub(crate) fn reset_all(&mut self) {
        for id in self.entries.keys().copied().collect::<Vec<_>>() {
            self.reset(id, ResetReason::SessionEnded);
        }
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

    /// Appends the next frames to a message.
    pub(crate) fn transmit(&mut self, out: &mut BytesMut, limit: usize, now: Instant) {
        if let Some(mux) = &mut self.mux {
            mux.transmit(out, limit, now);
        }
        self.pump(now);
    }

    pub(crate) fn wants_input(&self, config: &Config) -> bool {
        let Some(mux) = &self.mux else { return true };
        let limit = if self.entries.len() > 1 { config.crowded_stream_buffer } else { config.stream_buffer };
        mux.wants_input() && mux.over_limit_streams().all(|over| mux.unread(over.id) < limit)
    }

    pub(crate) fn handle_timeout(&mut self, config: &Config, now: Instant) {
        if let Some(mux) = &mut self.mux {
            mux.handle_timeout(now);
        }
        let due: Vec<_> = self.fin_times(config).filter(|(_, at)| *at <= now).map(|(id, _)| id).collect();
        for id in due {
            self.half_closed.remove(&id);
            if let (Some(mux), Some(inner)) = (&mut self.mux, self.entries.get(&id).and_then(|e| e.mux)) {
                mux.finish(inner);
            }
        }
        let stalled: Vec<_> =
            self.stall_times(config).filter(|(_, at)| *at <= now).map(|(id, _)| id).collect();
        for id in stalled {
            self.reset(id, ResetReason::StalledReader);
        }
        self.pump(now);
    }

    pub(crate) fn next_timeout(&self, config: &Config) -> Option<Instant> {
        let fin = self.fin_times(config).map(|(_, at)| at).min();
        let stall = self.stall_times(config).map(|(_, at)| at).min();
        let dial = self.dialling.next_timeout().filter(|_| self.up && !self.waiting.is_empty());
        earliest(earliest(self.mux_timeout, fin), earliest(stall, dial))
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

    /// When the FIN of each locally finished stream leaves. The remote end is not silent while the connection is
    /// down, nor while its bytes wait for a slow reader.
    fn fin_times<'a>(&'a self, config: &'a Config) -> impl Iterator<Item = (StreamId, Instant)> + 'a {
        self.half_closed.iter().filter(|_| self.connected).filter_map(|id| {
            let entry = self.entries.get(id)?;
            let unread = self.mux.as_ref()?.unread(entry.mux?);
            (unread == 0).then_some(())?;
            Some((*id, entry.finished_at?.max(entry.heard_at) + config.half_close_grace))
        })
    }

    /// When each stream whose reader stands in the way of others is reset. A stream alone on its session never is: a
    /// paused application is legitimate, and nobody else waits.
    fn stall_times<'a>(&'a self, config: &'a Config) -> impl Iterator<Item = (StreamId, Instant)> + 'a {
        let crowded = self.mux.as_ref().filter(|_| self.entries.len() > 1);
        let over = crowded.into_iter().flat_map(Mux::over_limit_streams).map(|over| (over.id, over.since));
        let full = crowded.zip(self.full_since).into_iter().flat_map(|(mux, since)| {
            mux.streams().filter(|id| mux.unread(*id) >= FULL_SHARE).map(move |id| (id, since))
        });
        over.chain(full).filter_map(|(inner, since)| {
            let id = *self.by_mux.get(&inner)?;
            let entry = self.entries.get(&id)?;
            Some((id, since.max(entry.read_at) + config.stalled_reader_grace))
        })
    }

    /// Takes in what the multiplexer has to say and announces waiting streams.
    fn pump(&mut self, now: Instant) {
        while let Some(mux) = &mut self.mux {
            match mux.poll_output() {
                smux::Output::Event(event) => {
                    if let Some(id) = self.by_mux.get(&event.id()).copied() {
                        self.translate(id, event, now);
                    }
                }
                smux::Output::Timeout(at) => {
                    self.mux_timeout = at;
                    self.full_since = if mux.wants_input() { None } else { self.full_since.or(Some(now)) };
                    break;
                }
            }
        }
        self.announce(now);
    }

    fn translate(&mut self, id: StreamId, event: smux::Event, now: Instant) {
        match event {
            smux::Event::Readable(inner) => {
                self.dialling.heard_of(inner);
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.heard_at = now;
                }
                self.events.push_back(SessionEvent::Readable(id));
            }
            smux::Event::Writable(_) => self.events.push_back(SessionEvent::Writable(id)),
            smux::Event::RemoteFinished(inner) => self.remote_finished(id, inner, now),
            smux::Event::Closed(inner) => {
                self.by_mux.remove(&inner);
                self.half_closed.remove(&id);
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
        self.half_closed.remove(&id);
        if let Some(mux) = &mut self.mux {
            // The agent has forgotten the stream; nothing that we could still send would arrive.
            mux.finish(inner);
        }
    }

    fn announce(&mut self, now: Instant) {
        while self.up
            && !self.waiting.is_empty()
            && self.dialling.has_room(now)
            && let Some(mux) = &mut self.mux
            && let Some(id) = self.waiting.pop_front()
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
        }
    }

    fn reset(&mut self, id: StreamId, reason: ResetReason) {
        self.forget(id);
        self.events.push_back(SessionEvent::Reset { stream: id, reason });
    }

    /// Removes a stream; the multiplexer's farewell event finds no one.
    fn forget(&mut self, id: StreamId) {
        let Some(entry) = self.entries.remove(&id) else { return };
        self.half_closed.remove(&id);
        match entry.mux {
            None => self.waiting.retain(|waiting| *waiting != id),
            Some(inner) => {
                self.by_mux.remove(&inner);
                if let Some(mux) = &mut self.mux {
                    mux.abort(inner);
                }
            }
        }
        // Events already queued for it would confuse the owner: the id is gone.
        self.events.retain(|event| event.stream() != Some(id));
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
            session: SESSION_UNREAD.max(config.crowded_stream_buffer).max(config.stream_buffer),
        },
        ..smux::Config::default()
    }
}
