//! Both ends, joined by two byte pipes that are cut anywhere, and their owners calling in any order; compared with a
//! byte queue for each direction of each stream.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::Program;
use crate::{Config, ConfigError, Event, KEEPALIVE_INTERVAL, Mux, Output, ReceiveLimits, Role, StreamId};

/// Streams of one program.
const MOST_STREAMS: usize = 12;
/// Rounds in which both pipes must run empty once nobody writes any more.
const MOST_ROUNDS: usize = 10_000;

pub(super) fn run(choice: u8, program: &mut Program, now: Instant) {
    let Ok(mut pair) = Pair::new(choice, now) else { return };
    while !program.rest.is_empty() {
        pair.step(program);
        pair.settle();
    }
    pair.flush();
    pair.assert_all_arrived();
    for side in 0..2 {
        for id in pair.open_streams(side) {
            pair.finish(side, id);
        }
    }
    pair.flush();
    pair.assert_all_arrived();
    for side in 0..2 {
        assert_eq!(pair.muxes[side].stream_count(), 0);
        assert!(pair.halves[side].values().all(|half| half.closed));
    }
}

/// What one side knows of one stream.
#[derive(Debug, Default)]
struct Half {
    /// Accepted here, not read at the other side. This queue is the whole model.
    unread: VecDeque<u8>,
    ended: bool,
    given_up: bool,
    peer_seen_finished: bool,
    closed: bool,
}

struct Pair {
    muxes: [Mux; 2],
    /// Bytes sent by each side, not delivered.
    pipes: [BytesMut; 2],
    halves: [BTreeMap<StreamId, Half>; 2],
    now: Instant,
    written: u8,
}

impl Pair {
    fn new(choice: u8, now: Instant) -> Result<Self, ConfigError> {
        let frame_payload = [64, 500, 4096, 32 * 1024][usize::from(choice >> 1 & 3)];
        let config = Config {
            frame_payload,
            stream_send_buffer: frame_payload * 2 + 100,
            keepalive: (choice & 8 != 0).then_some(KEEPALIVE_INTERVAL),
            accept_backlog: MOST_STREAMS,
            receive: ReceiveLimits { stream: 65_535, session: 100_000 },
        };
        Ok(Self {
            muxes: [Mux::new(Role::Client, config.clone(), now)?, Mux::new(Role::Server, config, now)?],
            pipes: Default::default(),
            halves: Default::default(),
            now,
            written: 0,
        })
    }

    fn step(&mut self, program: &mut Program) {
        let operation = program.byte();
        let side = usize::from(operation >> 7);
        match operation & 15 {
            0 => self.open(),
            1..=3 => {
                let (id, size) = (self.stream(side, program), program.size());
                id.into_iter().for_each(|id| self.write(side, id, size * size / 4));
            }
            4 | 5 => {
                let id = self.stream(side, program);
                id.into_iter().for_each(|id| self.read(side, id));
            }
            6 => {
                let id = self.stream(side, program);
                id.into_iter().for_each(|id| self.finish(side, id));
            }
            7 => {
                let id = self.stream(side, program);
                id.into_iter().for_each(|id| self.give_up(side, id, Mux::abort));
            }
            8 => {
                let id = self.stream(side, program);
                id.into_iter().for_each(|id| self.give_up(side, id, Mux::abandon));
            }
            9 => self.muxes[side].queue_nop(),
            10 => {
                self.now += Duration::from_millis(100 * program.size() as u64);
                self.muxes[side].handle_timeout(self.now);
            }
            11 | 12 => {
                let limit = program.size();
                self.transmit(side, limit * limit);
            }
            _ => {
                let count = program.size();
                self.deliver(side, count * count);
            }
        }
    }

    fn open_streams(&self, side: usize) -> Vec<StreamId> {
        self.muxes[side].streams().collect()
    }

    /// A stream that `side` knows, if it knows any.
    fn stream(&self, side: usize, program: &mut Program) -> Option<StreamId> {
        let choice = program.size();
        let mut streams = self.muxes[side].streams();
        let count = streams.len().max(1);
        streams.nth(choice % count)
    }

    fn half(&mut self, side: usize, id: StreamId) -> &mut Half {
        self.halves[side].entry(id).or_default()
    }

    fn open(&mut self) {
        if self.halves[0].len() < MOST_STREAMS
            && let Ok(id) = self.muxes[0].open()
        {
            assert!(self.halves[0].insert(id, Half::default()).is_none(), "id {id} given out twice");
        }
    }

    fn write(&mut self, side: usize, id: StreamId, count: usize) {
        let first = self.written;
        let data: Bytes = (0..count).map(|at| first.wrapping_add((at % 251) as u8)).collect();
        self.written = first.wrapping_mul(5).wrapping_add(1);
        let room = self.muxes[side].writable(id);
        let ended = self.half(side, id).ended;
        let mut rest = data.clone();
        match self.muxes[side].write(id, &mut rest) {
            Ok(accepted) => {
                assert!(!ended && accepted == room.min(count) && rest.len() == count - accepted);
                self.half(side, id).unread.extend(&data[..accepted]);
            }
            Err(_) => assert!(ended || self.half(1 - side, id).ended, "nobody has ended {id}"),
        }
    }

    /// What is read is the front of what the other side wrote.
    fn read(&mut self, side: usize, id: StreamId) {
        let before = self.muxes[side].unread(id);
        let Some(data) = self.muxes[side].read(id) else { return assert_eq!(before, 0) };
        assert_eq!(self.muxes[side].unread(id), before - data.len());
        let queue = &mut self.half(1 - side, id).unread;
        assert!(data.len() <= queue.len(), "more was read than written");
        assert!(queue.drain(..data.len()).eq(data), "other bytes were read than written");
    }

    fn finish(&mut self, side: usize, id: StreamId) {
        self.muxes[side].tell_when_drained(id);
        self.muxes[side].finish(id);
        self.half(side, id).ended = true;
    }

    fn give_up(&mut self, side: usize, id: StreamId, how: impl Fn(&mut Mux, StreamId)) {
        how(&mut self.muxes[side], id);
        let half = self.half(side, id);
        (half.ended, half.given_up) = (true, true);
        assert_eq!((self.muxes[side].unread(id), self.muxes[side].writable(id)), (0, 0));
    }

    fn transmit(&mut self, side: usize, limit: usize) {
        let before = self.pipes[side].len();
        let sent = self.muxes[side].transmit(&mut self.pipes[side], limit, self.now);
        assert!(sent <= limit && self.pipes[side].len() == before + sent);
    }

    /// The other side gets the next bytes that `side` sent.
    fn deliver(&mut self, side: usize, count: usize) {
        let count = count.min(self.pipes[side].len());
        let data = self.pipes[side].split_to(count).freeze();
        let result = self.muxes[1 - side].handle_input(data, self.now);
        assert_eq!(result, Ok(()), "our own bytes are well-formed");
    }

    fn settle(&mut self) {
        for side in 0..2 {
            while let Output::Event(event) = self.muxes[side].poll_output() {
                self.event(side, event);
            }
            self.muxes[side].assert_consistent();
        }
    }

    fn event(&mut self, side: usize, event: Event) {
        let id = event.id();
        match event {
            Event::Opened(_) => {
                assert!(side == 1 && self.halves[0].contains_key(&id));
                assert!(self.halves[1].insert(id, Half::default()).is_none(), "{id} opened twice");
            }
            Event::RemoteFinished(_) => {
                let peer = self.half(1 - side, id);
                assert!(peer.ended && !std::mem::replace(&mut peer.peer_seen_finished, true));
            }
            Event::Closed(_) => {
                let half = self.half(side, id);
                assert!(half.ended && !std::mem::replace(&mut half.closed, true), "{id} closed");
            }
            Event::Readable(_) => assert!(self.muxes[side].unread(id) > 0),
            Event::Writable(_) | Event::Drained(_) => assert!(!self.half(side, id).closed),
        }
    }

    /// Moves and reads everything until nothing is on its way.
    fn flush(&mut self) {
        for _ in 0..MOST_ROUNDS {
            let idle = !self.muxes.iter().any(Mux::has_pending) && self.pipes.iter().all(BytesMut::is_empty);
            for side in 0..2 {
                self.transmit(side, usize::from(u16::MAX));
                self.deliver(side, usize::MAX);
                self.settle();
            }
            for side in 0..2 {
                for id in self.open_streams(side) {
                    while self.muxes[side].unread(id) > 0 {
                        self.read(side, id);
                        self.settle();
                    }
                }
                assert_eq!(self.muxes[side].total_unread(), 0);
            }
            if idle {
                return;
            }
        }
        panic!("the pipes never run empty");
    }

    /// After `flush`: bytes are missing only where giving up or the receiver's own end excuses it.
    fn assert_all_arrived(&self) {
        for side in 0..2 {
            for (id, half) in &self.halves[side] {
                let Some(peer) = self.halves[1 - side].get(id) else {
                    assert!(side == 0 && half.given_up, "the SYN of {id} was lost");
                    continue;
                };
                assert!(half.unread.is_empty() || half.given_up || peer.ended, "bytes of {id} were lost");
                assert!(half.peer_seen_finished == half.ended || peer.given_up, "the FIN of {id} was lost");
            }
        }
    }
}
