//! What the applications at both ends do, and what they must see.

use super::super::Program;
use super::super::wire::pattern;
use super::{MOST_STREAMS, Pair, Stream};
use crate::event::StreamId;

impl Pair {
    pub(super) fn stream(&self, program: &mut Program) -> StreamId {
        let choice = program.size();
        self.order.get(choice % self.order.len().max(1)).copied().unwrap_or(StreamId(u32::MAX))
    }

    pub(super) fn destination(&self, program: &mut Program) -> StreamId {
        let choice = program.size() % self.destinations.len().max(1);
        self.destinations.keys().nth(choice).copied().unwrap_or(StreamId(u32::MAX))
    }

    pub(super) fn open(&mut self) {
        if self.order.len() < MOST_STREAMS
            && let Ok(stream) = self.client.open(self.now)
        {
            self.order.push(stream);
            self.streams.insert(stream, Stream::default());
        }
    }

    pub(super) fn write(&mut self, program: &mut Program) {
        let (stream, size) = (self.stream(program), program.size());
        let mut data = self.wire.to_write(stream, size * size);
        if let Ok(taken) = self.client.write(stream, &mut data, self.now) {
            assert_eq!(taken + data.len(), size * size);
            self.wire.wrote(stream, taken);
        }
    }

    pub(super) fn read(&mut self, program: &mut Program) {
        let stream = self.stream(program);
        self.read_some(stream, program.size());
    }

    /// The client's owner reads at most so many pieces.
    pub(super) fn read_some(&mut self, id: StreamId, pieces: usize) {
        for _ in 0..pieces {
            let Some(data) = self.client.read(id, self.now) else { return };
            let Some(stream) = self.streams.get_mut(&id) else { panic!("data of no stream") };
            stream.download.take(&data);
            let Some(writer) = stream.download.writer() else { continue };
            assert!(stream.at_agent.is_none_or(|at_agent| at_agent == writer), "another stream's data");
            stream.at_agent = Some(writer);
            let written = self.destinations.get(&writer).map_or(0, |destination| destination.written);
            assert!(stream.download.received <= written, "more was read than written");
        }
    }

    pub(super) fn answer(&mut self, program: &mut Program) {
        let (id, size) = (self.destination(program), program.size());
        let Some(destination) = self.destinations.get_mut(&id) else { return };
        let mut data = pattern(id, destination.written, size * size);
        if let Ok(taken) = self.agent.write(id, &mut data, self.now) {
            assert_eq!(taken + data.len(), size * size);
            destination.written += taken;
        }
    }

    pub(super) fn take(&mut self, program: &mut Program) {
        let id = self.destination(program);
        self.take_some(id, program.size());
    }

    /// The agent's owner reads at most so many pieces.
    pub(super) fn take_some(&mut self, id: StreamId, pieces: usize) {
        for _ in 0..pieces {
            let Some(data) = self.agent.read(id, self.now) else { return };
            let Some(destination) = self.destinations.get_mut(&id) else { panic!("data of no stream") };
            destination.upload.take(&data);
            let Some(writer) = destination.upload.writer() else { continue };
            assert!(destination.upload.received <= self.wire.accepted(writer), "more was read than written");
            let Some(stream) = self.streams.get_mut(&writer) else {
                panic!("data of stream {writer}, which is not")
            };
            assert!(stream.at_agent.is_none_or(|at_agent| at_agent == id), "another stream's data");
            (stream.at_agent, stream.upload) = (Some(id), destination.upload.received);
        }
    }

    pub(super) fn dialled(&mut self, succeeded: bool) {
        let Some(id) = self.dialling.take() else { return };
        if succeeded {
            self.agent.dial_succeeded(id, self.now);
        } else {
            self.agent.dial_failed(id, self.now);
            self.destinations.entry(id).and_modify(|destination| destination.lost = true);
        }
    }
}
