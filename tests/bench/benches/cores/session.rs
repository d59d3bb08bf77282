//! A client session in the middle of its work, over against the agent's role.

use std::cell::RefCell;
use std::time::Duration;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use smux::frame::HEADER_LEN;
use ssm_session::{Config, Output, Token, WsMessage};

use crate::pair::{ONE_WAY, Pair, UNDER_WAY};
use crate::pattern;

/// Messages of one round of a download.
const MESSAGES: usize = 100;
/// Messages of one round of an upload: as many as the window has before it grew.
const UPLOADED: usize = 10;
/// Messages that the daemon takes from its WebSocket before it sends what they caused.
const RECEIVE_BATCH: usize = 32;
/// Streams that carry the data in turn.
const STREAMS: [usize; 2] = [1, 64];
/// Our payload.
const PAYLOAD: usize = 16 << 10;
/// Of a message's payload this much may stay empty, because frames are not cut to crumbs.
const SLACK: usize = 128;
/// The largest window.
const LARGEST_WINDOW: usize = 4 << 20;

/// Messages in order, in bulk: taken in, read, acknowledged.
#[divan::bench(consts = [1024, 32_768], args = STREAMS, sample_count = 200, sample_size = 1)]
fn download<const MESSAGE: usize>(bencher: Bencher, streams: usize) {
    let download = RefCell::new(Download::new(MESSAGE, streams));
    bencher
        .counter(BytesCount::new(MESSAGES * MESSAGE))
        .counter(ItemsCount::new(MESSAGES))
        .with_inputs(|| download.borrow_mut().next_messages())
        .bench_local_refs(|messages| download.borrow_mut().receive(messages));
}

/// Acknowledgements of the round before are taken in; data is written, and pulled out in messages of 16 KiB.
#[divan::bench(args = STREAMS, sample_count = 500, sample_size = 1)]
fn upload(bencher: Bencher, streams: usize) {
    let upload = RefCell::new(Upload::new(streams));
    let bytes = upload.borrow().data.len() * streams;
    bencher
        .counter(BytesCount::new(bytes))
        .counter(ItemsCount::new(UPLOADED))
        .with_inputs(|| upload.borrow_mut().next_acks())
        .bench_local_refs(|acks| upload.borrow_mut().send(acks));
}

/// The WebSocket breaks with the largest window full, and is back: everything leaves again.
#[divan::bench(args = [1024, PAYLOAD], sample_count = 200, sample_size = 1)]
fn resend_after_reconnect(bencher: Bencher, payload: usize) {
    let config = Config {
        payload_size: payload,
        message_rate: None,
        send_buffer: 2 * LARGEST_WINDOW,
        ..Config::default()
    };
    let mut pair = Pair::new(config, 1024, 1);
    pair.grow(payload, LARGEST_WINDOW);
    pair.write_all(&pattern(LARGEST_WINDOW));
    let mut sent = Vec::with_capacity(UNDER_WAY);
    pair.drain_client(&mut sent);
    let statistics = pair.client.statistics();
    assert!(statistics.outstanding_bytes >= LARGEST_WINDOW, "the window is not full");
    let token = Token::new("resumed");
    bencher
        .counter(BytesCount::new(statistics.outstanding_bytes))
        .counter(ItemsCount::new(statistics.outstanding_messages))
        .bench_local(|| {
            sent.clear();
            pair.pass(Duration::from_secs(1));
            pair.client.handle_disconnected(pair.now);
            pair.client.handle_connected(&token, pair.now);
            pair.drain_client(&mut sent);
            // And the last acknowledgement, so that a paused agent goes on.
            assert_eq!(sent.len(), statistics.outstanding_messages + 1, "something stays behind");
        });
}

/// One acknowledgement that is due, as the message that leaves.
#[divan::bench]
fn encode_acknowledgement(bencher: Bencher) {
    let mut download = Download::new(1024, 1);
    let duplicate = download.next_messages().swap_remove(0);
    let now = download.pair.now;
    let client = RefCell::new(download.pair.client);
    bencher
        .counter(ItemsCount::new(1_usize))
        .with_inputs(|| {
            let message = WsMessage::Binary(duplicate.clone());
            let mut client = client.borrow_mut();
            client.handle_message(message, now).expect("a duplicate is legal");
            while let Output::Event(_) = client.poll_event(now) {}
        })
        .bench_local_values(|()| match client.borrow_mut().poll_output(now) {
            Output::Send(ack) => ack,
            output @ (Output::Event(_) | Output::Timeout(_)) => panic!("{output:?} and no acknowledgement"),
        });
}

/// One acknowledgement that arrives, for a message that another one has confirmed.
#[divan::bench]
fn decode_acknowledgement(bencher: Bencher) {
    let mut upload = Upload::new(1);
    upload.send(&mut Vec::new());
    let ack = upload.next_acks().swap_remove(0);
    let (mut client, now) = (upload.pair.client, upload.pair.now);
    bencher
        .counter(ItemsCount::new(1_usize))
        .with_inputs(|| WsMessage::Binary(ack.clone()))
        .bench_local_values(|ack| {
            client.handle_message(ack, now).expect("an acknowledgement may come twice");
        });
}

/// A download that the agent's destinations never run out of data for.
struct Download {
    pair: Pair,
    /// Fills a message, with its frame's header.
    data: Bytes,
    acks: Vec<Bytes>,
    /// Whose turn it is.
    turn: usize,
    sent: usize,
}

impl Download {
    fn new(message_bytes: usize, streams: usize) -> Self {
        let pair = Pair::new(Config::default(), message_bytes, streams);
        let data = pattern(message_bytes - HEADER_LEN);
        let sent = pair.downloaded;
        Self { pair, data, acks: Vec::with_capacity(UNDER_WAY), turn: 0, sent }
    }

    /// The agent takes the acknowledgements of the last round and sends the next one: in each message a frame of
    /// another stream.
    fn next_messages(&mut self) -> Vec<Bytes> {
        assert_eq!(self.pair.downloaded, self.sent, "bytes are missing");
        let pair = &mut self.pair;
        let mut messages = Vec::with_capacity(MESSAGES);
        pair.pass(Duration::from_millis(1));
        pair.give_agent(&mut self.acks, &mut messages);
        for number in 1..=MESSAGES {
            self.turn = (self.turn + 1) % pair.remotes.len();
            let mut data = self.data.clone();
            self.sent +=
                pair.agent.write(pair.remotes[self.turn], &mut data, pair.now).expect("the stream is open");
            pair.drain_agent(&mut messages);
            assert_eq!(messages.len(), number, "a message is a frame");
        }
        messages
    }

    /// What is measured.
    fn receive(&mut self, messages: &mut Vec<Bytes>) {
        let mut messages = messages.drain(..);
        while messages.len() > 0 {
            for message in messages.by_ref().take(RECEIVE_BATCH) {
                self.pair.give_client(message);
            }
            self.pair.drain_client(&mut self.acks);
        }
    }
}

/// An upload whose applications write so much in each round that it fills [`UPLOADED`] messages.
struct Upload {
    pair: Pair,
    /// Of each stream.
    data: Bytes,
    sent: Vec<Bytes>,
}

impl Upload {
    fn new(streams: usize) -> Self {
        let mut pair = Pair::new(Config::default(), 1024, streams);
        pair.grow(PAYLOAD, UPLOADED * 2 * PAYLOAD);
        let data = pattern(UPLOADED * (PAYLOAD - SLACK) / streams - HEADER_LEN);
        Self { pair, data, sent: Vec::with_capacity(UNDER_WAY) }
    }

    /// The agent takes the messages of the last round and acknowledges them.
    fn next_acks(&mut self) -> Vec<Bytes> {
        let mut acks = Vec::new();
        let sent = self.sent.len();
        self.pair.pass(ONE_WAY);
        self.pair.give_agent(&mut self.sent, &mut acks);
        self.pair.pass(ONE_WAY);
        assert_eq!(self.pair.uploaded, self.pair.written, "bytes are missing");
        assert_eq!(acks.len(), sent, "each message is acknowledged");
        assert!(sent == 0 || sent == UPLOADED, "{sent} messages");
        acks
    }

    /// What is measured.
    fn send(&mut self, acks: &mut Vec<Bytes>) {
        let pair = &mut self.pair;
        for ack in acks.drain(..) {
            pair.give_client(ack);
        }
        pair.drain_client(&mut self.sent);
        for stream in &pair.streams {
            let mut data = self.data.clone();
            pair.written += pair.client.write(*stream, &mut data, pair.now).expect("the stream is open");
        }
        pair.drain_client(&mut self.sent);
    }
}
