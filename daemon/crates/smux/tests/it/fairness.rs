//! Who leaves first, and that nobody waits for ever.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use smux::{Config, Frame, MIN_TRANSMIT, Mux, Role, StreamId};

use crate::{events, frames, mux, transmit};

const QUANTUM: usize = 1000;

/// Credit too small to use is carried into the next turn.
const CRUMB: usize = 63;

fn client() -> Mux {
    mux(
        Role::Client,
        Config { frame_payload: QUANTUM, stream_send_buffer: 64 * QUANTUM, ..Config::default() },
    )
}

/// Streams whose SYN has left, with full send buffers.
fn bulk(mux: &mut Mux, count: usize) -> Vec<StreamId> {
    let ids: Vec<_> = (0..count).map(|_| mux.open().unwrap()).collect();
    transmit(mux, 1024);
    ids.iter().for_each(|&id| fill(mux, id));
    ids
}

fn fill(mux: &mut Mux, id: StreamId) {
    let room = mux.writable(id);
    mux.write(id, &mut Bytes::from(vec![b'b'; room])).unwrap();
}

fn write(mux: &mut Mux, id: StreamId, bytes: usize) {
    assert_eq!(mux.write(id, &mut Bytes::from(vec![b's'; bytes])), Ok(bytes));
}

/// Payload bytes per stream in one transmission.
fn shares(mux: &mut Mux, limit: usize) -> BTreeMap<StreamId, usize> {
    let mut shares = BTreeMap::new();
    for frame in frames(transmit(mux, limit)) {
        if let Frame::Psh(id, data) = frame {
            *shares.entry(id).or_default() += data.len();
        }
    }
    shares
}

#[test]
fn a_small_write_leaves_before_all_bulk_data() {
    for limit in [100, 1024, 16 * 1024] {
        let mut mux = client();
        bulk(&mut mux, 8);
        shares(&mut mux, 30 * QUANTUM);
        let small = mux.open().unwrap();
        write(&mut mux, small, 10);
        let sent = frames(transmit(&mut mux, limit));
        assert_eq!(sent[0], Frame::Syn(small));
        assert_eq!(sent[1], Frame::Psh(small, Bytes::from_static(&[b's'; 10])));
    }
}

#[test]
fn an_interactive_stream_keeps_its_place_for_ever() {
    let mut mux = client();
    let ids = bulk(&mut mux, 1);
    let interactive = mux.open().unwrap();
    transmit(&mut mux, 4 * QUANTUM);
    for turn in 0..100 {
        fill(&mut mux, ids[0]);
        write(&mut mux, interactive, 100);
        let sent = frames(transmit(&mut mux, 2 * QUANTUM));
        let expected = Frame::Psh(interactive, Bytes::from_static(&[b's'; 100]));
        assert_eq!(sent[0], expected, "after {} bytes", 100 * turn);
    }
}

#[test]
fn the_fin_of_a_drained_stream_leaves_before_all_bulk_data() {
    let mut mux = client();
    let done = mux.open().unwrap();
    bulk(&mut mux, 8);
    shares(&mut mux, 5 * QUANTUM);
    mux.finish(done);
    assert_eq!(frames(transmit(&mut mux, 1024))[0], Frame::Fin(done));
}

#[test]
fn small_writes_of_one_stream_share_a_frame() {
    let mut mux = client();
    let id = mux.open().unwrap();
    (0..50).for_each(|_| write(&mut mux, id, 3));
    let sent = frames(transmit(&mut mux, 1024));
    assert_eq!(sent, [Frame::Syn(id), Frame::Psh(id, Bytes::from_static(&[b's'; 150]))]);
}

#[test]
fn bulk_streams_share_the_line_evenly() {
    for limit in [100, 1024, 5000] {
        let mut mux = client();
        let ids = bulk(&mut mux, 5);
        let mut total: BTreeMap<StreamId, usize> = BTreeMap::new();
        for _ in 0..200 {
            for (id, bytes) in shares(&mut mux, limit) {
                *total.entry(id).or_default() += bytes;
            }
            ids.iter().for_each(|&id| fill(&mut mux, id));
            let (least, most) = (total.values().min().unwrap(), total.values().max().unwrap());
            assert!(total.len() < 5 || most - least <= QUANTUM + CRUMB, "{total:?}");
        }
        assert_eq!(total.len(), 5);
    }
}

#[test]
fn small_writes_without_end_do_not_starve_bulk_data() {
    let mut mux = client();
    let ids = bulk(&mut mux, 1);
    let chatty: Vec<_> = (0..4).map(|_| mux.open().unwrap()).collect();
    transmit(&mut mux, 4 * QUANTUM);
    let mut bulk_bytes = 0;
    for _ in 0..500 {
        for &id in &chatty {
            // Together they would fill the line and find their queues empty each time, were they always served first.
            let bytes = mux.writable(id).min(240);
            write(&mut mux, id, bytes);
        }
        bulk_bytes += shares(&mut mux, 1024).get(&ids[0]).copied().unwrap_or(0);
        fill(&mut mux, ids[0]);
        events(&mut mux).for_each(drop);
    }
    // One quantum for at most two of each of the four others: a ninth of the line.
    assert!(bulk_bytes >= 500 * 1000 / 10, "{bulk_bytes}");
}

proptest! {
    /// Streams write in bursts at random times; a write of at most one credit waits for at most two quanta of each
    /// other stream, whatever the others do.
    #[test]
    fn a_small_write_waits_for_two_quanta_of_each_other_stream_at_most(
        bursts in prop::collection::vec(prop::collection::vec((0_usize..6, 1_usize..3000), 0..4), 1..60),
        limit in 200_usize..3000,
    ) {
        let mut mux = client();
        let others = bulk(&mut mux, 6);
        let small = mux.open().unwrap();
        transmit(&mut mux, MIN_TRANSMIT);
        let mut overtaken: BTreeMap<StreamId, usize> = BTreeMap::new();
        for burst in bursts {
            for (stream, size) in burst {
                mux.write(others[stream], &mut Bytes::from(vec![b'b'; size])).unwrap();
            }
            if mux.writable(small) == 64 * QUANTUM {
                overtaken.clear();
                write(&mut mux, small, 50);
            }
            for (id, bytes) in shares(&mut mux, limit) {
                if id == small {
                    overtaken.clear();
                } else {
                    *overtaken.entry(id).or_default() += bytes;
                }
            }
            if mux.writable(small) < 64 * QUANTUM {
                prop_assert!(overtaken.values().all(|&bytes| bytes <= 2 * QUANTUM + CRUMB), "{:?}", overtaken);
            }
        }
    }
}
