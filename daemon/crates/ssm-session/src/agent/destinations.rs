//! The agent's streams: dialled one after the other, closed both ways at once.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use smux::Mux;

use super::config::AgentEvent;
use crate::error::{ProtocolError, WriteError};
use crate::event::StreamId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Waits for its dial or is being dialled.
    Undialled,
    Connected,
    /// The destination closed; the client's data is dropped.
    Forgotten,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    stage: Stage,
    /// The client's FIN came and nothing is unread.
    peer_finished: bool,
}

/// All streams of an agent's session.
#[derive(Debug, Default)]
pub(super) struct Destinations {
    mux: Option<Mux>,
    entries: BTreeMap<StreamId, Entry>,
    dial_queue: VecDeque<StreamId>,
    dialling: Option<StreamId>,
    mux_timeout: Option<Instant>,
    pub(super) events: VecDeque<AgentEvent>,
}

impl Destinations {
    pub(super) fn start(&mut self, mux: Mux) {
        self.mux = Some(mux);
        self.pump();
    }

    pub(super) fn handle_input(&mut self, data: Bytes, now: Instant) -> Result<(), ProtocolError> {
        if let Some(mux) = &mut self.mux {
            mux.handle_input(data, now).map_err(ProtocolError::Mux)?;
        }
        self.pump();
        Ok(())
    }

    pub(super) fn is_dialling(&self, stream: StreamId) -> bool {
        self.dialling == Some(stream)
    }

    pub(super) fn dial_succeeded(&mut self, stream: StreamId) {
        if !self.is_dialling(stream) {
            return;
        }
        self.dialling = None;
        if let Some(entry) = self.entries.get_mut(&stream) {
            entry.stage = Stage::Connected;
            let peer_finished = entry.peer_finished;
            if self.mux.as_ref().is_some_and(|mux| mux.unread(inner(stream)) > 0) {
                self.events.push_back(AgentEvent::Readable(stream));
            }
            if peer_finished {
                self.answer_fin(stream);
            }
        }
        self.pump();
    }

    pub(super) fn dial_failed(&mut self, stream: StreamId) {
        self.dialling = None;
        self.finish(stream);
    }

    pub(super) fn write(&mut self, stream: StreamId, data: &mut Bytes) -> Result<usize, WriteError> {
        let connected = self.entries.get(&stream).is_some_and(|entry| entry.stage == Stage::Connected);
        let Some(mux) = self.mux.as_mut().filter(|_| connected) else { return Err(WriteError::Closed) };
        mux.write(inner(stream), data).map_err(|_| WriteError::RemoteFinished)
    }

    pub(super) fn read(&mut self, stream: StreamId) -> Option<Bytes> {
        self.entries.get(&stream).filter(|entry| entry.stage == Stage::Connected)?;
        let data = self.mux.as_mut()?.read(inner(stream));
        self.pump();
        data
    }

    pub(super) fn finish(&mut self, stream: StreamId) {
        if let Some(entry) = self.entries.get_mut(&stream) {
            entry.stage = Stage::Forgotten;
            if let Some(mux) = &mut self.mux {
                mux.finish(inner(stream));
                while mux.read(inner(stream)).is_some() {}
            }
        }
        self.pump();
    }

    pub(super) fn abort(&mut self, stream: StreamId) {
        if self.entries.remove(&stream).is_some() {
            self.dial_queue.retain(|queued| *queued != stream);
            self.dialling = self.dialling.filter(|dialling| *dialling != stream);
            self.events.retain(|event| event.stream() != Some(stream));
            if let Some(mux) = &mut self.mux {
                mux.abort(inner(stream));
            }
        }
        self.pump();
    }

    /// The session is over: whoever owns a connection closes it.
    pub(super) fn clear(&mut self) {
        for stream in std::mem::take(&mut self.entries).into_keys() {
            self.events.push_back(AgentEvent::Closed(stream));
        }
        self.mux = None;
        self.dialling = None;
        self.dial_queue.clear();
    }

    pub(super) fn pending(&self) -> bool {
        self.mux.as_ref().is_some_and(Mux::has_pending)
    }

    pub(super) fn transmit(&mut self, out: &mut BytesMut, limit: usize, now: Instant) {
        if let Some(mux) = &mut self.mux {
            mux.transmit(out, limit, now);
        }
        self.pump();
    }

    pub(super) fn wants_input(&self) -> bool {
        self.mux.as_ref().is_none_or(Mux::wants_input)
    }

    pub(super) fn unread(&self) -> usize {
        self.mux.as_ref().map_or(0, Mux::total_unread)
    }

    pub(super) fn count(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some(mux) = &mut self.mux {
            mux.handle_timeout(now);
        }
        self.pump();
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.mux_timeout
    }

    fn pump(&mut self) {
        while let Some(mux) = &mut self.mux {
            match mux.poll_output() {
                smux::Output::Event(event) => self.translate(event),
                smux::Output::Timeout(at) => {
                    self.mux_timeout = at;
                    break;
                }
            }
        }
        while self.dialling.is_none()
            && let Some(stream) = self.dial_queue.pop_front()
        {
            self.dialling = Some(stream);
            self.events.push_back(AgentEvent::Dial(stream));
        }
    }

    fn translate(&mut self, event: smux::Event) {
        let stream = StreamId(event.id().as_u32());
        if matches!(event, smux::Event::Opened(_)) {
            self.entries.insert(stream, Entry { stage: Stage::Undialled, peer_finished: false });
            self.dial_queue.push_back(stream);
            return;
        }
        let Some(entry) = self.entries.get_mut(&stream) else { return };
        match event {
            smux::Event::Readable(id) => match entry.stage {
                Stage::Connected => self.events.push_back(AgentEvent::Readable(stream)),
                Stage::Undialled => {}
                Stage::Forgotten => {
                    if let Some(mux) = &mut self.mux {
                        while mux.read(id).is_some() {}
                    }
                }
            },
            smux::Event::Writable(_) => self.events.push_back(AgentEvent::Writable(stream)),
            smux::Event::RemoteFinished(_) => {
                entry.peer_finished = true;
                if entry.stage == Stage::Connected {
                    self.answer_fin(stream);
                }
            }
            smux::Event::Closed(_) => {
                self.entries.remove(&stream);
                self.events.push_back(AgentEvent::Closed(stream));
            }
            smux::Event::Opened(_) | smux::Event::Drained(_) => {}
        }
    }

    fn answer_fin(&mut self, stream: StreamId) {
        self.events.push_back(AgentEvent::PeerFinished(stream));
        if let Some(mux) = &mut self.mux {
            mux.finish(inner(stream));
        }
    }
}

fn inner(stream: StreamId) -> smux::StreamId {
    smux::StreamId::from(stream.0)
}
