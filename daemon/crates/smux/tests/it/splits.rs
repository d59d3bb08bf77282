//! Where the byte stream is cut, on either side, makes no difference.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use smux::{Config, Event, Frame, Header, MIN_TRANSMIT, Mux, Role, StreamId};

use crate::{events, frames, mux, start, transmit};

fn any_frame() -> impl Strategy<Value = Frame> {
    let id = (0_u32..6).prop_map(StreamId::from);
    prop_oneof![
        2 => id.clone().prop_map(Frame::Syn),
        1 => id.clone().prop_map(Frame::Fin),
        1 => Just(Frame::Nop),
        6 => (id, prop::collection::vec(any::<u8>(), 0..1500)).prop_map(|(id, data)| Frame::Psh(id, data.into())),
    ]
}

fn cut(mut wire: Bytes, sizes: &[usize]) -> Vec<Bytes> {
    let mut sizes = sizes.iter().cycle();
    let mut pieces = Vec::new();
    while !wire.is_empty() {
        pieces.push(wire.split_to((*sizes.next().unwrap()).min(wire.len())));
    }
    pieces
}

type Seen = (Vec<Event>, BTreeMap<StreamId, Vec<u8>>, Vec<Event>);

/// The events while nothing is read, what can be read then, and the events of that.
fn seen(mux: &mut Mux, pieces: Vec<Bytes>) -> Seen {
    let mut first = Vec::new();
    for piece in pieces {
        mux.handle_input(piece, start()).unwrap();
        first.extend(events(mux));
    }
    let ids: Vec<_> = mux.streams().collect();
    let mut data: BTreeMap<_, Vec<u8>> = BTreeMap::new();
    for id in ids {
        while let Some(piece) = mux.read(id) {
            data.entry(id).or_default().extend_from_slice(&piece);
        }
    }
    assert_eq!(mux.total_unread(), 0);
    (first, data, events(mux).collect())
}

proptest! {
    #[test]
    fn input_cut_anywhere_gives_the_same_events_and_data(
        frames in prop::collection::vec(any_frame(), 0..40),
        sizes in prop::collection::vec(1_usize..1200, 1..20),
        server: bool,
    ) {
        let mut wire = BytesMut::new();
        frames.iter().for_each(|frame| frame.encode(&mut wire));
        let wire = wire.freeze();
        let fresh = || {
            let mut mux = mux(if server { Role::Server } else { Role::Client }, Config::default());
            if !server {
                mux.open().unwrap();
                mux.open().unwrap();
            }
            mux
        };
        let whole = seen(&mut fresh(), vec![wire.clone()]);
        prop_assert_eq!(&seen(&mut fresh(), cut(wire.clone(), &sizes)), &whole);
        prop_assert_eq!(&seen(&mut fresh(), cut(wire, &[1])), &whole);
    }

    #[test]
    fn frames_survive_encoding(frames_in in prop::collection::vec(any_frame(), 0..20)) {
        let mut wire = BytesMut::new();
        frames_in.iter().for_each(|frame| frame.encode(&mut wire));
        prop_assert_eq!(frames(wire.freeze()), frames_in);
    }

    #[test]
    fn a_header_that_decodes_encodes_to_the_same_bytes(bytes: [u8; 8]) {
        if let Ok(header) = Header::decode(bytes) {
            prop_assert_eq!(header.encode(), bytes);
        }
    }

    #[test]
    fn every_transmission_keeps_its_limit_and_holds_whole_frames(
        writes in prop::collection::vec((0_usize..5, 0_usize..5000), 0..30),
        limits in prop::collection::vec(MIN_TRANSMIT..3000, 1..20),
        frame_payload in 64_usize..2000,
    ) {
        let mut mux = mux(Role::Client, Config { frame_payload, ..Config::default() });
        let ids: Vec<_> = (0..5).map(|_| mux.open().unwrap()).collect();
        let mut expected: BTreeMap<StreamId, Vec<u8>> = BTreeMap::new();
        for (number, (stream, size)) in writes.into_iter().enumerate() {
            let data = vec![number.to_le_bytes()[0]; size];
            let accepted = mux.write(ids[stream], &mut Bytes::from(data.clone())).unwrap();
            expected.entry(ids[stream]).or_default().extend_from_slice(&data[..accepted]);
        }
        expected.retain(|_, data| !data.is_empty());
        let mut arrived: BTreeMap<StreamId, Vec<u8>> = BTreeMap::new();
        let mut limits = limits.iter().cycle();
        while mux.has_pending() {
            let wire = transmit(&mut mux, *limits.next().unwrap());
            prop_assert!(!wire.is_empty());
            for frame in frames(wire) {
                if let Frame::Psh(id, data) = frame {
                    prop_assert!((1..=frame_payload).contains(&data.len()));
                    arrived.entry(id).or_default().extend_from_slice(&data);
                }
            }
        }
        prop_assert_eq!(arrived, expected);
    }
}
