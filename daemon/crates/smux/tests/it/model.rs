//! A client and a server joined by two byte pipes, driven by random operations and compared with a map of byte
//! queues.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use smux::{Config, Event, MIN_TRANSMIT, Mux, Role, StreamId};

use crate::{events, mux, start, transmit};

#[derive(Clone, Copy, Debug)]
enum Op {
    Open,
    Write { side: usize, stream: usize, bytes: usize },
    Read { side: usize, stream: usize },
    Finish { side: usize, stream: usize },
    Abort { side: usize, stream: usize },
    Abandon { side: usize, stream: usize },
    Transmit { side: usize, limit: usize },
    Deliver { side: usize, bytes: usize },
}

fn any_op() -> impl Strategy<Value = Op> {
    let at = (0_usize..2, 0_usize..12);
    prop_oneof![
        3 => Just(Op::Open),
        8 => (at.clone(), 0_usize..4000).prop_map(|((side, stream), bytes)| Op::Write { side, stream, bytes }),
        8 => at.clone().prop_map(|(side, stream)| Op::Read { side, stream }),
        1 => at.clone().prop_map(|(side, stream)| Op::Finish { side, stream }),
        1 => at.clone().prop_map(|(side, stream)| Op::Abort { side, stream }),
        1 => at.prop_map(|(side, stream)| Op::Abandon { side, stream }),
        8 => (0_usize..2, MIN_TRANSMIT..4000).prop_map(|(side, limit)| Op::Transmit { side, limit }),
        8 => (0_usize..2, 1_usize..4000).prop_map(|(side, bytes)| Op::Deliver { side, bytes }),
    ]
}

/// What one side knows of one stream.
#[derive(Debug, Default)]
struct Half {
    /// Accepted here, not read at the other side. This queue is the whole model.
    unread: VecDeque<u8>,
    ended: bool,
    aborted: bool,
    peer_seen_finished: bool,
    closed: bool,
}

struct Pair {
    muxes: [Mux; 2],
    /// Bytes sent by each side, not delivered.
    pipes: [BytesMut; 2],
    halves: [BTreeMap<StreamId, Half>; 2],
    written: u8,
}

impl Pair {
    fn new() -> Self {
        let config = Config { frame_payload: 500, stream_send_buffer: 3000, ..Config::default() };
        Self {
            muxes: [mux(Role::Client, config.clone()), mux(Role::Server, config)],
            pipes: Default::default(),
            halves: Default::default(),
            written: 0,
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Open => {
                let id = self.muxes[0].open().unwrap();
                assert!(self.halves[0].insert(id, Half::default()).is_none());
            }
            Op::Write { side, stream, bytes } => {
                self.on(side, stream, |pair, id| pair.write(side, id, bytes));
            }
            Op::Read { side, stream } => self.on(side, stream, |pair, id| pair.read(side, id)),
            Op::Finish { side, stream } => self.on(side, stream, |pair, id| pair.finish(side, id)),
            Op::Abort { side, stream } => self.on(side, stream, |pair, id| {
                pair.muxes[side].abort(id);
                pair.give_up(side, id);
            }),
            Op::Abandon { side, stream } => self.on(side, stream, |pair, id| {
                pair.muxes[side].abandon(id);
                pair.give_up(side, id);
            }),
            Op::Transmit { side, limit } => {
                let sent = transmit(&mut self.muxes[side], limit);
                self.pipes[side].extend_from_slice(&sent);
            }
            Op::Deliver { side, bytes } => {
                let count = bytes.min(self.pipes[side].len());
                let data = self.pipes[side].split_to(count).freeze();
                self.muxes[1 - side].handle_input(data, start()).unwrap();
            }
        }
        self.settle();
    }

    /// Runs `act` for a stream that `side` knows, if it knows any.
    fn on(&mut self, side: usize, stream: usize, act: impl FnOnce(&mut Self, StreamId)) {
        let open: Vec<_> = self.muxes[side].streams().collect();
        if !open.is_empty() {
            act(self, open[stream % open.len()]);
        }
    }

    fn half(&mut self, side: usize, id: StreamId) -> &mut Half {
        self.halves[side].get_mut(&id).unwrap()
    }

    fn give_up(&mut self, side: usize, id: StreamId) {
        let half = self.half(side, id);
        half.ended = true;
        half.aborted = true;
    }

    fn write(&mut self, side: usize, id: StreamId, bytes: usize) {
        let data: Vec<u8> = (0..bytes).map(|_| self.next_byte()).collect();
        let (room, ended) = (self.muxes[side].writable(id), self.half(side, id).ended);
        match self.muxes[side].write(id, &mut Bytes::from(data.clone())) {
            Ok(accepted) => {
                assert!(!ended && accepted == room.min(bytes));
                self.half(side, id).unread.extend(&data[..accepted]);
            }
            Err(_) => assert!(ended || self.halves[1 - side][&id].ended),
        }
    }

    fn next_byte(&mut self) -> u8 {
        self.written = self.written.wrapping_mul(5).wrapping_add(1);
        self.written
    }

    /// What is read is the front of what the other side wrote.
    fn read(&mut self, side: usize, id: StreamId) {
        let before = self.muxes[side].unread(id);
        let Some(data) = self.muxes[side].read(id) else { return assert_eq!(before, 0) };
        let queue = &mut self.half(1 - side, id).unread;
        assert!(data.len() <= queue.len(), "more was read than written");
        assert!(queue.drain(..data.len()).eq(data), "other bytes were read than written");
    }

    fn finish(&mut self, side: usize, id: StreamId) {
        self.muxes[side].finish(id);
        self.half(side, id).ended = true;
    }

    fn settle(&mut self) {
        for side in 0..2 {
            let seen: Vec<_> = events(&mut self.muxes[side]).collect();
            for event in seen {
                let id = event.id();
                match event {
                    Event::Opened(_) => {
                        assert!(side == 1 && self.halves[0].contains_key(&id));
                        assert!(self.halves[1].insert(id, Half::default()).is_none());
                    }
                    Event::RemoteFinished(_) => {
                        let peer = self.half(1 - side, id);
                        assert!(peer.ended && !peer.peer_seen_finished);
                        peer.peer_seen_finished = true;
                    }
                    Event::Closed(_) => {
                        let half = self.half(side, id);
                        assert!(half.ended && !half.closed);
                        half.closed = true;
                    }
                    Event::Readable(_) => assert!(self.muxes[side].unread(id) > 0),
                    Event::Writable(_) | Event::Drained(_) => assert!(!self.half(side, id).closed),
                }
            }
        }
    }

    /// Moves and reads everything until nothing is on its way.
    fn flush(&mut self) {
        while self.muxes.iter().any(Mux::has_pending) || self.pipes.iter().any(|pipe| !pipe.is_empty()) {
            for side in 0..2 {
                self.apply(Op::Transmit { side, limit: 2000 });
                self.apply(Op::Deliver { side, bytes: usize::MAX });
            }
        }
        for side in 0..2 {
            let open: Vec<_> = self.muxes[side].streams().collect();
            for id in open {
                while self.muxes[side].unread(id) > 0 {
                    self.read(side, id);
                    self.settle();
                }
            }
            assert_eq!(self.muxes[side].total_unread(), 0);
        }
    }

    /// After `flush`: bytes are missing only where an abort or the receiver's own end excuses it.
    fn assert_all_arrived(&self) {
        for side in 0..2 {
            for (id, half) in &self.halves[side] {
                let Some(peer) = self.halves[1 - side].get(id) else {
                    assert!(side == 0 && half.aborted, "the SYN of {id} was lost");
                    continue;
                };
                assert!(half.unread.is_empty() || half.aborted || peer.ended, "bytes of {id} were lost");
                assert!(half.peer_seen_finished == half.ended || peer.aborted, "the FIN of {id} was lost");
            }
        }
    }
}

proptest! {
    #[test]
    fn both_sides_agree_with_a_map_of_byte_queues(ops in prop::collection::vec(any_op(), 0..300)) {
        let mut pair = Pair::new();
        for op in ops {
            pair.apply(op);
        }
        pair.flush();
        pair.assert_all_arrived();

        for side in 0..2 {
            let open: Vec<_> = pair.muxes[side].streams().collect();
            for id in open {
                pair.finish(side, id);
            }
        }
        pair.flush();
        pair.assert_all_arrived();
        for side in 0..2 {
            prop_assert_eq!(pair.muxes[side].stream_count(), 0);
            prop_assert!(pair.halves[side].values().all(|half| half.closed));
        }
    }
}
