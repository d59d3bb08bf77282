//! Messages one by one, as AWS's agent sends them, beside streams that do nothing: what those cost all the same.

use std::cell::RefCell;
use std::time::Duration;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::ItemsCount;
use smux::frame::HEADER_LEN;
use ssm_session::{Config, Output, SAFE_PAYLOAD};

use crate::pair::{Pair, UNDER_WAY};
use crate::pattern;

/// Streams, the one that carries data included.
const STREAMS: [usize; 3] = [10, 100, 1000];
/// Messages of an iteration.
const MESSAGES: usize = 10;
/// The agent's pause after each message.
const PAUSE: Duration = Duration::from_millis(1);

/// Connected, and silent.
#[divan::bench(args = STREAMS, sample_count = 200, sample_size = 1)]
fn beside_idle(bencher: Bencher, streams: usize) {
    Crowd::new(Config::default(), streams).measure(bencher);
}

/// Closed by their applications, and kept for an answer that may come.
#[divan::bench(args = STREAMS, sample_count = 200, sample_size = 1)]
fn beside_half_closed(bencher: Bencher, streams: usize) {
    let mut crowd = Crowd::new(Config::default(), streams);
    let Pair { client, streams, now, .. } = &mut crowd.pair;
    streams.iter().skip(1).for_each(|stream| client.finish(*stream, *now));
    crowd.measure(bencher);
}

/// With bytes that nobody reads: as many as the session holds.
#[divan::bench(args = STREAMS, sample_count = 200, sample_size = 1)]
fn at_the_bound(bencher: Bencher, streams: usize) {
    let config = Config {
        session_buffer: (streams - 1) * (SAFE_PAYLOAD - HEADER_LEN),
        // None of them gives way before the end.
        give_way_after: Duration::from_secs(24 * 3600),
        ..Config::default()
    };
    let mut crowd = Crowd::new(config, streams);
    for number in 1..streams {
        let message = crowd.message(number);
        crowd.pair.give_client(message);
    }
    while !matches!(crowd.pair.client.poll_output(crowd.pair.now), Output::Timeout(_)) {}
    assert!(!crowd.pair.client.wants_input(), "the session is not at its bound");
    crowd.measure(bencher);
}

/// A session whose first stream is in use.
struct Crowd {
    pair: Pair,
    /// Fills a message, with its frame's header.
    data: Bytes,
    acks: Vec<Bytes>,
    expected: usize,
}

impl Crowd {
    fn new(config: Config, streams: usize) -> Self {
        let pair = Pair::new(config, SAFE_PAYLOAD, streams);
        let expected = pair.downloaded;
        Self { pair, data: pattern(SAFE_PAYLOAD - HEADER_LEN), acks: Vec::with_capacity(UNDER_WAY), expected }
    }

    fn measure(self, bencher: Bencher) {
        let crowd = RefCell::new(self);
        bencher
            .counter(ItemsCount::new(MESSAGES))
            .with_inputs(|| crowd.borrow_mut().next_messages())
            .bench_local_refs(|messages| crowd.borrow_mut().receive(messages));
    }

    /// The agent's message with data of that stream.
    fn message(&mut self, number: usize) -> Bytes {
        let mut messages = Vec::new();
        let mut data = self.data.clone();
        let pair = &mut self.pair;
        pair.agent.write(pair.remotes[number], &mut data, pair.now).expect("the stream is open");
        pair.drain_agent(&mut messages);
        messages.pop().expect("it leaves at once")
    }

    fn next_messages(&mut self) -> Vec<Bytes> {
        assert_eq!(self.pair.downloaded, self.expected, "bytes are missing");
        self.pair.give_agent(&mut self.acks, &mut Vec::new());
        self.expected += MESSAGES * self.data.len();
        (0..MESSAGES).map(|_| self.message(0)).collect()
    }

    /// What is measured.
    fn receive(&mut self, messages: &mut Vec<Bytes>) {
        for message in messages.drain(..) {
            self.pair.pass(PAUSE);
            self.pair.give_client(message);
            self.pair.drain_client(&mut self.acks);
        }
    }
}
