//! Entry shared by the fuzz target and the test that replays its corpus: the data is a program for one [`Mux`], or for
//! two of them that talk to each other.
//!
//! The first byte chooses role and configuration. Then follow operations of one byte and their arguments: input
//! from the peer (raw bytes, or frames put together here, or what the other one sent), and every call that an owner can
//! make.

mod pair;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};

use crate::{Config, Event, Frame, MIN_TRANSMIT, Mux, Output, ReceiveLimits, Role, StreamId};

/// Runs the program in `data`; panics if the multiplexer breaks a promise. `now` is the time at its start.
pub fn fuzz_entry(data: &[u8], now: Instant) {
    let mut program = Program { rest: Bytes::copy_from_slice(data) };
    let choice = program.byte();
    if choice & 128 != 0 {
        return pair::run(choice, &mut program, now);
    }
    let Ok(mut machine) = Machine::new(choice, now) else { return };
    while !program.rest.is_empty() {
        machine.step(&mut program);
        machine.settle();
    }
    while machine.mux.has_pending() {
        machine.transmit(usize::from(u16::MAX));
    }
    machine.settle();
}

/// The unread operations; gives zeros at its end.
struct Program {
    rest: Bytes,
}

impl Program {
    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn size(&mut self) -> usize {
        usize::from(self.byte())
    }

    fn id(&mut self) -> StreamId {
        StreamId::from(u32::from(self.byte() & 15))
    }

    fn take(&mut self, count: usize) -> Bytes {
        self.rest.split_to(count.min(self.rest.len()))
    }
}

struct Machine {
    role: Role,
    frame_payload: usize,
    mux: Mux,
    now: Instant,
    /// Streams between `open` or `Opened` and `Closed`.
    known: BTreeSet<StreamId>,
    /// What was accepted for writing and has not been seen on the wire.
    unsent: BTreeMap<StreamId, BytesMut>,
    /// What the peer saw of each stream of a client.
    wire: BTreeMap<StreamId, Wire>,
    written: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    Opened,
    Finished,
}

impl Machine {
    fn new(choice: u8, now: Instant) -> Result<Self, crate::ConfigError> {
        let role = if choice & 1 == 0 { Role::Client } else { Role::Server };
        let frame_payload = [64, 100, 16 * 1024, 32 * 1024][usize::from(choice >> 1 & 3)];
        let keepalive = (choice & 8 != 0).then_some(Duration::from_secs(10));
        let receive = ReceiveLimits { stream: 65_535, session: 100_000 };
        let stream_send_buffer = frame_payload + 100;
        let config = Config { frame_payload, stream_send_buffer, keepalive, accept_backlog: 4, receive };
        let mux = Mux::new(role, config, now)?;
        let (known, unsent, wire) = Default::default();
        Ok(Self { role, frame_payload, mux, now, known, unsent, wire, written: 0 })
    }

    fn step(&mut self, program: &mut Program) {
        match program.byte() & 15 {
            0 | 1 => {
                let count = program.size();
                self.input(program.take(count));
            }
            2 | 3 => self.frame(program),
            4 => self.open(),
            5 | 6 => {
                let (id, count) = (program.id(), program.size());
                self.write(id, count * count / 4);
            }
            7 => drop(self.mux.read(program.id())),
            8 => {
                let id = program.id();
                while self.mux.read(id).is_some() {}
                assert_eq!(self.mux.unread(id), 0);
            }
            9 => {
                let id = program.id();
                self.mux.tell_when_drained(id);
                self.mux.finish(id);
            }
            10 => self.give_up(program.byte()),
            11 => self.mux.queue_nop(),
            12 => {
                self.now += Duration::from_millis(100 * program.size() as u64);
                self.mux.handle_timeout(self.now);
            }
            13 | 14 => {
                let limit = program.size();
                self.transmit(limit);
            }
            _ => {
                let limit = program.size();
                self.transmit(limit * limit);
            }
        }
    }

    fn input(&mut self, data: Bytes) {
        let before = self.mux.total_unread();
        let most = data.len();
        let broken = self.mux.handle_input(data, self.now).is_err();
        assert!(self.mux.total_unread() <= before + most);
        assert!(!broken || !self.mux.wants_input());
    }

    /// A well-formed frame from the peer, in two pieces.
    fn frame(&mut self, program: &mut Program) {
        let (command, id) = (program.byte(), program.id());
        let mut wire = BytesMut::new();
        match command & 7 {
            0 | 1 => Frame::Syn(id).encode(&mut wire),
            2 => Frame::Fin(id).encode(&mut wire),
            3 => Frame::Nop.encode(&mut wire),
            _ => Frame::Psh(id, Bytes::from(vec![command; program.size() * 257])).encode(&mut wire),
        }
        let mut wire = wire.freeze();
        let cut = program.size().min(wire.len());
        self.input(wire.split_to(cut));
        self.settle();
        self.input(wire);
    }

    fn open(&mut self) {
        if let Ok(id) = self.mux.open() {
            assert_eq!(self.role, Role::Client);
            assert!(self.known.insert(id), "id {id} given out twice");
        }
    }

    fn give_up(&mut self, choice: u8) {
        let id = StreamId::from(u32::from(choice & 15));
        if choice & 16 == 0 {
            self.mux.abort(id);
            assert!(!self.mux.streams().any(|other| other == id));
        } else {
            self.mux.abandon(id);
            assert_eq!((self.mux.unread(id), self.mux.writable(id)), (0, 0));
        }
    }

    fn write(&mut self, id: StreamId, count: usize) {
        self.written = self.written.wrapping_add(1);
        let original = Bytes::from(vec![self.written; count]);
        let mut data = original.clone();
        let room = self.mux.writable(id);
        let Ok(accepted) = self.mux.write(id, &mut data) else { return assert_eq!(room, 0) };
        assert_eq!(accepted, room.min(count));
        assert_eq!(data.len(), count - accepted);
        self.unsent.entry(id).or_default().extend_from_slice(&original[..accepted]);
    }

    fn transmit(&mut self, limit: usize) {
        let mut out = BytesMut::new();
        let pending = self.mux.has_pending();
        let sent = self.mux.transmit(&mut out, limit, self.now);
        assert_eq!(sent, out.len());
        assert!(sent <= limit);
        assert_eq!(sent > 0, pending && limit >= MIN_TRANSMIT, "{limit} bytes allowed, {sent} sent");
        let mut wire = out.freeze();
        while let Ok(Some(frame)) = Frame::decode(&mut wire) {
            self.sent(&frame);
        }
        assert!(wire.is_empty(), "a frame was cut");
    }

    /// Ids of a server may be used again by a hostile client; only a client's streams are followed.
    fn sent(&mut self, frame: &Frame) {
        if let Frame::Psh(_, payload) = frame {
            assert!((1..=self.frame_payload).contains(&payload.len()));
        }
        if self.role == Role::Server {
            assert!(!matches!(frame, Frame::Syn(_)));
            return;
        }
        match frame {
            Frame::Syn(id) => assert_eq!(self.wire.insert(*id, Wire::Opened), None),
            Frame::Fin(id) => assert_eq!(self.wire.insert(*id, Wire::Finished), Some(Wire::Opened)),
            Frame::Psh(id, payload) => {
                assert_eq!(self.wire.get(id), Some(&Wire::Opened));
                let expected = self.unsent.get_mut(id).map(|queue| queue.split_to(payload.len()));
                assert_eq!(expected.as_deref(), Some(&payload[..]));
            }
            Frame::Nop => {}
        }
    }

    /// Drains the events and checks the state.
    fn settle(&mut self) {
        while let Output::Event(event) = self.mux.poll_output() {
            let id = event.id();
            match event {
                Event::Opened(_) => assert!(self.role == Role::Server && self.known.insert(id)),
                Event::Closed(_) => assert!(self.known.remove(&id), "{id} closed twice"),
                Event::Readable(_) => assert!(self.mux.unread(id) > 0),
                Event::Writable(_) | Event::Drained(_) | Event::RemoteFinished(_) => {
                    assert!(self.known.contains(&id));
                }
            }
        }
        assert!(self.mux.streams().eq(self.known.iter().copied()));
        self.mux.assert_consistent();
    }
}
