//! The way in: from bytes to streams.

use std::time::Instant;

use bytes::Bytes;

use super::{Event, Mux};
use crate::{
    Command, Header, ProtocolError, Role, StreamId,
    decoder::Item,
    stream::{LocalHalf, RemoteHalf, Stream},
};

impl Mux {
    /// Takes the next bytes from the peer, cut anywhere. Payload is kept as slices of `data` and can be read as it
    /// arrives, before its frame is complete.
    ///
    /// # Errors
    /// The peer broke the framing. The error stays: every later call answers the same. What arrived before it can
    /// still be read.
    pub fn handle_input(&mut self, mut data: Bytes, now: Instant) -> Result<(), ProtocolError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.parse(&mut data, now).inspect_err(|&error| self.failed = Some(error))
    }

    fn parse(&mut self, data: &mut Bytes, now: Instant) -> Result<(), ProtocolError> {
        while let Some(item) = self.decoder.next(data)? {
            match item {
                Item::Syn(id) => self.syn_received(id)?,
                Item::Fin(id) => self.fin_received(id),
                Item::Data(id, payload) => self.data_received(id, payload, now),
            }
        }
        Ok(())
    }

    fn syn_received(&mut self, id: StreamId) -> Result<(), ProtocolError> {
        if self.role == Role::Client || self.streams.contains_key(&id) {
            return Ok(());
        }
        if self.unpolled_opens >= self.config.accept_backlog {
            return Err(ProtocolError::AcceptBacklogFull(self.config.accept_backlog));
        }
        self.streams.insert(id, Stream::new(self.config.frame_payload, false));
        self.unpolled_opens += 1;
        self.events.push_back(Event::Opened(id));
        Ok(())
    }

    fn data_received(&mut self, id: StreamId, payload: Bytes, now: Instant) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.remote != RemoteHalf::Open {
            return;
        }
        let bytes = payload.len();
        stream.received += bytes as u64;
        stream.inbox.push(payload);
        self.budget.received(id, bytes, stream.inbox.len(), now);
        if !stream.readable_told {
            stream.readable_told = true;
            self.events.push_back(Event::Readable(id));
        }
    }

    fn fin_received(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        match stream.remote {
            RemoteHalf::Open => {}
            RemoteHalf::Ignored => {
                stream.remote = RemoteHalf::Finished;
                return self.forget_if_over(id);
            }
            RemoteHalf::Unread | RemoteHalf::Finished => return,
        }
        // The peer has forgotten the stream: sending the rest would only cost bandwidth.
        self.order.dropped(stream.outbox.clear());
        if stream.local == LocalHalf::Finishing {
            stream.local = LocalHalf::Finished;
            self.order.control(Header::control(Command::Fin, id));
        }
        if std::mem::take(&mut stream.write_blocked) {
            self.events.push_back(Event::Writable(id));
        }
        if stream.inbox.is_empty() {
            stream.remote = RemoteHalf::Finished;
            self.events.push_back(Event::RemoteFinished(id));
            self.forget_if_over(id);
        } else {
            stream.remote = RemoteHalf::Unread;
        }
    }
}
