//! Properties of the multiplexer, seen through its public API only.
#![expect(clippy::unwrap_used, reason = "a helper that fails shall fail its test")]

mod corpus;
mod drained;
mod fairness;
mod model;
mod splits;

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use smux::{Config, Event, Frame, Mux, Output, Role};

#[expect(
    clippy::disallowed_methods,
    reason = "an Instant can only be had from the clock; no test depends on its value"
)]
fn start() -> Instant {
    Instant::now()
}

fn mux(role: Role, config: Config) -> Mux {
    Mux::new(role, config, start()).unwrap()
}

fn transmit(mux: &mut Mux, limit: usize) -> Bytes {
    let mut out = BytesMut::new();
    let sent = mux.transmit(&mut out, limit, start());
    assert!(sent == out.len() && sent <= limit);
    out.freeze()
}

/// The frames of one transmission; fails if the last one was cut.
fn frames(mut wire: Bytes) -> Vec<Frame> {
    let frames = std::iter::from_fn(|| Frame::decode(&mut wire).unwrap()).collect();
    assert!(wire.is_empty(), "a frame was cut");
    frames
}

fn events(mux: &mut Mux) -> impl Iterator<Item = Event> + '_ {
    std::iter::from_fn(|| match mux.poll_output() {
        Output::Event(event) => Some(event),
        Output::Timeout(_) => None,
    })
}
