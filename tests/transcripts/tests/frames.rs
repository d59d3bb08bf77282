//! Every data and acknowledge frame of both AWS programs decodes, and encodes to the same bytes again.

use ssm_session::Message;
use ssm_session::kind::{MessageType, PayloadType};
use ssm_session::payload::{Acknowledge, HandshakeComplete, HandshakeRequest, HandshakeResponse};
use stormtunnel_transcripts::{Direction, Recording};

/// The frames that AWS's programs themselves sent.
fn frames() -> Vec<(String, Message, bytes::Bytes)> {
    let mut frames = Vec::new();
    for name in Recording::names() {
        let recording = Recording::load(&name);
        for direction in [Direction::FromClient, Direction::FromAgent] {
            for line in recording.data(direction).filter(|line| line.op == "binary") {
                let place = format!("{name}, line {}", line.index);
                let message =
                    Message::decode(line.bytes.clone()).unwrap_or_else(|error| panic!("{place}: {error}"));
                frames.push((place, message, line.bytes.clone()));
            }
        }
    }
    frames
}

#[test]
fn frames_encode_to_the_bytes_they_came_from() {
    let frames = frames();
    for (place, message, bytes) in &frames {
        assert_eq!(message.encode(), *bytes, "{place}");
        assert!(message.digest_matches(), "{place}");
    }
    assert!(frames.len() > 600, "only {} frames", frames.len());
    println!(
        "promise main.transcripts: {} frames of AWS's client and agent re-encode to the same bytes",
        frames.len()
    );
}

/// Bodies too: whoever reads them sees no difference between ours and AWS's.
#[test]
fn bodies_encode_to_the_bytes_they_came_from() {
    fn same<T: serde::de::DeserializeOwned + serde::Serialize>(place: &str, payload: &[u8]) {
        let body: T = serde_json::from_slice(payload).unwrap_or_else(|error| panic!("{place}: {error}"));
        let again = serde_json::to_string(&body).unwrap();
        assert_eq!(again, String::from_utf8_lossy(payload).trim_end(), "{place}");
    }
    let mut seen = 0;
    for (place, message, _) in frames() {
        let payload = &message.payload;
        seen += 1;
        if message.message_type == MessageType::Acknowledge {
            same::<Acknowledge>(&place, payload);
        } else if message.payload_type == PayloadType::HandshakeRequest {
            same::<HandshakeRequest>(&place, payload);
        } else if message.payload_type == PayloadType::HandshakeResponse {
            same::<HandshakeResponse>(&place, payload);
        } else if message.payload_type == PayloadType::HandshakeComplete {
            same::<HandshakeComplete>(&place, payload);
        } else {
            seen -= 1;
        }
    }
    assert!(seen > 350, "only {seen} bodies");
}

/// What the gateway sends on is at least decodable, the nonsense lengths of publication messages included.
#[test]
fn everything_the_gateway_sends_on_decodes() {
    let mut publications = 0;
    for name in Recording::names() {
        let recording = Recording::load(&name);
        for direction in [Direction::ToClient, Direction::ToAgent] {
            for line in recording.data(direction).filter(|line| line.op == "binary") {
                let message = Message::decode(line.bytes.clone());
                let message = message.unwrap_or_else(|error| panic!("{name}, line {}: {error}", line.index));
                let kind = message.message_type;
                publications += usize::from(
                    kind == MessageType::StartPublication || kind == MessageType::PausePublication,
                );
            }
        }
    }
    assert!(publications > 0);
}
