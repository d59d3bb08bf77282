//! Single messages, through what the crate offers to everybody. What sessions build in place is in [`crate::session`].

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use ssm_session::payload::HandshakeRequest;
use ssm_session::{Message, MessageType, PayloadType};
use uuid::Uuid;

use crate::pattern;

/// Payloads of the agent and of the official client, ours, and the largest.
const PAYLOADS: [usize; 3] = [1 << 10, 16 << 10, 32 << 10];

/// The agent's first message, as recorded.
const REQUEST: &str = concat!(
    r#"{"AgentVersion":"3.3.1142.0","RequestedClientActions":[{"ActionType":"SessionType","ActionParameters":"#,
    r#"{"SessionType":"Port","Properties":{"localPortNumber":"0","portNumber":"80","#,
    r#""type":"LocalPortForwarding"}}}]}"#
);

/// From a payload to the bytes of a message. It copies the payload twice, where a session fills its messages in place.
#[divan::bench(args = PAYLOADS)]
fn encode(bencher: Bencher, bytes: usize) {
    let payload = pattern(bytes);
    bencher
        .counter(BytesCount::new(bytes))
        .bench(|| message(PayloadType::Output, black_box(&payload)).encode());
}

/// From the bytes of a message to a payload that is proven.
#[divan::bench(args = PAYLOADS)]
fn decode(bencher: Bencher, bytes: usize) {
    let frame = message(PayloadType::Output, &pattern(bytes)).encode();
    bencher.counter(BytesCount::new(bytes)).with_inputs(|| frame.clone()).bench_values(decoded);
}

/// SHA-256 alone: most of either.
#[divan::bench(args = PAYLOADS)]
fn digest(bencher: Bencher, bytes: usize) {
    let message = message(PayloadType::Output, &pattern(bytes));
    bencher.counter(BytesCount::new(bytes)).bench(|| assert!(black_box(&message).digest_matches()));
}

/// The agent's first message, down to its properties.
#[divan::bench]
fn decode_handshake(bencher: Bencher) {
    let frame = message(PayloadType::HandshakeRequest, REQUEST.as_bytes()).encode();
    bencher.counter(ItemsCount::new(1_usize)).with_inputs(|| frame.clone()).bench_values(|frame| {
        serde_json::from_slice::<HandshakeRequest>(&decoded(frame).payload).expect("a request")
    });
}

fn message(payload_type: PayloadType, payload: &[u8]) -> Message {
    let id = Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
    Message::service(MessageType::OutputStreamData, payload_type, id, 1_700_000_000_000, payload)
}

fn decoded(frame: Bytes) -> Message {
    let message = Message::decode(frame).expect("a message");
    assert!(message.digest_matches());
    message
}
