//! [`Event::Drained`]: nothing of a stream waits to leave.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use smux::{Config, Event, Mux, Output, Role, StreamId};

#[expect(clippy::disallowed_methods, reason = "any instant serves as the origin of a virtual clock")]
fn client() -> (Mux, Instant) {
    let now = Instant::now();
    let mut mux = Mux::new(Role::Client, Config::default(), now).unwrap();
    mux.transmit(&mut BytesMut::new(), 100, now);
    (mux, now)
}

fn drained(mux: &mut Mux) -> Vec<StreamId> {
    let mut drained = Vec::new();
    while let Output::Event(event) = mux.poll_output() {
        if let Event::Drained(id) = event {
            drained.push(id);
        }
    }
    drained
}

#[test]
fn it_comes_once_with_the_last_byte() {
    let (mut mux, now) = client();
    let id = mux.open().unwrap();
    mux.write(id, &mut Bytes::from_static(&[1; 1000])).unwrap();
    mux.tell_when_drained(id);
    mux.transmit(&mut BytesMut::new(), 500, now);
    assert_eq!(drained(&mut mux), []);
    mux.transmit(&mut BytesMut::new(), 600, now);
    assert_eq!(drained(&mut mux), [id]);
    mux.write(id, &mut Bytes::from_static(b"x")).unwrap();
    mux.transmit(&mut BytesMut::new(), 600, now);
    assert_eq!(drained(&mut mux), []);
    mux.tell_when_drained(id);
    assert_eq!(drained(&mut mux), [id], "nothing waits");
}

#[test]
fn a_stream_without_a_byte_is_drained_when_its_syn_has_left() {
    let (mut mux, now) = client();
    let id = mux.open().unwrap();
    mux.tell_when_drained(id);
    assert_eq!(drained(&mut mux), []);
    mux.transmit(&mut BytesMut::new(), 100, now);
    assert_eq!(drained(&mut mux), [id]);
}

#[test]
fn of_a_stream_that_was_given_up_it_does_not_come() {
    for give_up in [Mux::abort, Mux::abandon] {
        let (mut mux, now) = client();
        let id = mux.open().unwrap();
        mux.transmit(&mut BytesMut::new(), 100, now);
        mux.write(id, &mut Bytes::from_static(b"x")).unwrap();
        mux.tell_when_drained(id);
        give_up(&mut mux, id);
        mux.transmit(&mut BytesMut::new(), 100, now);
        assert_eq!(drained(&mut mux), []);
    }
}
