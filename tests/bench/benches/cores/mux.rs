//! The multiplexer alone, with one stream and with many.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use smux::{Config, Event, Mux, Output, Role, StreamId};

use crate::{pair, pattern};

const STREAMS: [usize; 3] = [1, 64, 1000];
/// Bytes of an iteration, over all streams.
const BYTES: usize = 256 << 10;
/// What leaves at once: our payload.
const TRANSMIT: usize = 16 << 10;
/// What arrives at once: the agent's payload.
const PIECE: usize = 1 << 10;

/// Writes to each stream in turn, and pulls everything out in messages of 16 KiB.
#[divan::bench(args = STREAMS)]
fn encode(bencher: Bencher, streams: usize) {
    let now = pair::origin().mono;
    let data = pattern(BYTES / streams);
    let (mut mux, ids) = client(streams, now);
    let mut out = BytesMut::with_capacity(TRANSMIT);
    bencher
        .counter(BytesCount::new(data.len() * streams))
        .counter(ItemsCount::new(streams))
        .with_inputs(|| vec![data.clone(); streams])
        .bench_local_refs(|data| {
            for (id, data) in ids.iter().zip(data) {
                mux.write(*id, data).expect("the stream is open");
                assert!(data.is_empty(), "the buffer holds one portion");
            }
            while mux.has_pending() {
                out.clear();
                mux.transmit(&mut out, TRANSMIT, now);
            }
            while let Output::Event(_) = mux.poll_output() {}
        });
}

/// Takes frames in, cut without regard to them, and reads what is in them.
#[divan::bench(args = STREAMS)]
fn decode(bencher: Bencher, streams: usize) {
    let now = pair::origin().mono;
    let data = pattern(BYTES / streams);
    let (mut sender, ids) = client(streams, now);
    for id in &ids {
        sender.write(*id, &mut data.clone()).expect("the stream is open");
    }
    let mut wire = transmitted(&mut sender, now);
    let mut pieces = Vec::new();
    while !wire.is_empty() {
        pieces.push(wire.split_to(PIECE.min(wire.len())));
    }
    let mut mux = server(&ids, now);
    bencher
        .counter(BytesCount::new(data.len() * streams))
        .counter(ItemsCount::new(pieces.len()))
        .with_inputs(|| pieces.clone())
        .bench_local_refs(|pieces| {
            let read: usize = pieces.drain(..).map(|piece| receive(&mut mux, piece, now)).sum();
            assert_eq!(read, data.len() * streams, "bytes are missing");
        });
}

/// A client whose streams are announced.
fn client(streams: usize, now: Instant) -> (Mux, Vec<StreamId>) {
    let mut mux = Mux::new(Role::Client, Config::default(), now).expect("the default is valid");
    let ids = (0..streams).map(|_| mux.open().expect("an id is left")).collect();
    transmitted(&mut mux, now);
    (mux, ids)
}

/// A server with these streams.
fn server(ids: &[StreamId], now: Instant) -> Mux {
    let mut mux = Mux::new(Role::Server, Config::default(), now).expect("the default is valid");
    let mut wire = BytesMut::new();
    for id in ids {
        smux::Frame::Syn(*id).encode(&mut wire);
    }
    receive(&mut mux, wire.freeze(), now);
    assert_eq!(mux.stream_count(), ids.len());
    mux
}

fn transmitted(mux: &mut Mux, now: Instant) -> Bytes {
    let mut wire = BytesMut::new();
    while mux.has_pending() {
        mux.transmit(&mut wire, TRANSMIT, now);
    }
    wire.freeze()
}

/// Takes bytes in and reads all that is there; answers how much.
fn receive(mux: &mut Mux, bytes: Bytes, now: Instant) -> usize {
    mux.handle_input(bytes, now).expect("frames are right");
    let mut read = 0;
    while let Output::Event(event) = mux.poll_output() {
        if let Event::Readable(id) = event {
            while let Some(bytes) = mux.read(id) {
                read += bytes.len();
            }
        }
    }
    read
}
