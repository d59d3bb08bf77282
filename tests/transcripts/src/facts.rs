//! What is compared: sentences about what a program did, the same for AWS's and for ours where both did the same.

use std::collections::{BTreeMap, BTreeSet};

use ssm_session::Message;
use ssm_session::kind::{MessageType, PayloadType};
use ssm_session::payload::Acknowledge;

use crate::wire::{Frame, Reader};

/// Sentences, in no order.
pub type Facts = BTreeSet<String>;

/// Listens to what one side sends and states the facts in the end.
#[derive(Debug, Default)]
pub struct Listener {
    facts: Facts,
    reader: Reader,
    numbers: BTreeSet<i64>,
    acknowledged: BTreeMap<i64, usize>,
    streams: BTreeMap<u32, Stream>,
    order: Vec<String>,
    peer_finished: BTreeSet<u32>,
    begun: bool,
}

#[derive(Debug, Default)]
struct Stream {
    bytes: Vec<u8>,
    syn: usize,
    fin: usize,
}

impl Listener {
    /// Takes a message that the side sent. Publication and session-state messages are left aside.
    ///
    /// # Panics
    /// When the message contradicts the format; there is nothing to compare then.
    pub fn sent(&mut self, message: &Message) {
        match message.message_type {
            MessageType::Acknowledge => self.acknowledgement(message),
            MessageType::InputStreamData | MessageType::OutputStreamData => self.data(message),
            MessageType::ChannelClosed
            | MessageType::PausePublication
            | MessageType::StartPublication
            | MessageType::AgentSessionState
            | MessageType::Other(_) => {}
        }
    }

    /// The other side's FIN for a stream reached this one.
    pub fn peer_finished(&mut self, stream: u32) {
        self.peer_finished.insert(stream);
    }

    fn acknowledgement(&mut self, message: &Message) {
        let body: Acknowledge =
            serde_json::from_slice(&message.payload).unwrap_or_else(|error| panic!("{error}"));
        let header =
            (message.sequence_number, message.flags, u32::from(message.payload_type), message.schema_version);
        self.facts.insert(format!("acknowledgements have sequence, flags, type, schema {header:?}"));
        self.facts.insert(format!(
            "acknowledgements name {} and say sequential {}",
            body.acknowledged_message_type, body.is_sequential_message
        ));
        *self.acknowledged.entry(body.acknowledged_message_sequence_number).or_default() += 1;
    }

    fn data(&mut self, message: &Message) {
        assert!(message.digest_matches(), "digest of number {}", message.sequence_number);
        let number = message.sequence_number;
        if !self.numbers.insert(number) {
            return;
        }
        let kind = message.message_type.name();
        if number == 0 {
            self.facts.insert(format!("{kind} begins with number 0 and flags {}", message.flags));
        } else {
            self.facts.insert(format!("{kind} goes on with flags {}", message.flags));
        }
        let output = message.payload_type == PayloadType::Output;
        if !output {
            self.control(message);
        }
        for frame in self.reader.message(number, output.then_some(&message.payload[..])) {
            self.frame(frame);
        }
    }

    fn control(&mut self, message: &Message) {
        let text = if message.payload_type == PayloadType::Flag {
            format!("flag {:?}", &message.payload[..])
        } else if message.payload_type == PayloadType::HandshakeComplete {
            without_number(&message.payload)
        } else {
            String::from_utf8_lossy(&message.payload).into_owned()
        };
        let kind = u32::from(message.payload_type);
        self.order.push(format!("type {kind}: {text}"));
    }

    fn frame(&mut self, frame: Frame) {
        if !self.begun {
            self.begun = true;
            let first = if frame == Frame::Nop { "a NOP" } else { "a stream's frame" };
            self.facts.insert(format!("the first frame is {first}"));
        }
        match frame {
            Frame::Nop => {}
            Frame::Syn(id) => self.streams.entry(id).or_default().syn += 1,
            Frame::Fin(id) => {
                self.streams.entry(id).or_default().fin += 1;
                let answer = if self.peer_finished.contains(&id) { " as an answer" } else { "" };
                self.order.push(format!("FIN({id}){answer}"));
            }
            Frame::Psh(id, bytes) => self.streams.entry(id).or_default().bytes.extend(bytes),
        }
    }

    /// Something else worth comparing.
    pub fn note(&mut self, fact: impl Into<String>) {
        self.facts.insert(fact.into());
    }

    /// The facts, now that the side has sent everything. `delivered` counts how often each numbered message of the
    /// other side reached this one: each delivery wants an acknowledgement.
    #[must_use]
    pub fn facts(mut self, delivered: &BTreeMap<i64, usize>) -> Facts {
        for (id, stream) in &self.streams {
            let bytes = String::from_utf8_lossy(&stream.bytes);
            self.facts.insert(format!("stream {id}: SYN x{}, FIN x{}", stream.syn, stream.fin));
            self.facts.insert(format!("stream {id} carries {} bytes: {bytes:?}", stream.bytes.len()));
        }
        if !self.order.is_empty() {
            self.facts.insert(format!("in this order: {}", self.order.join("; ")));
        }
        for (number, times) in delivered {
            let answered = self.acknowledged.get(number).copied().unwrap_or_default();
            self.facts.insert(match answered {
                0 => format!("number {number} is never acknowledged"),
                _ if answered == *times => "each delivery of a number is acknowledged once".to_owned(),
                _ => format!("number {number}, delivered {times} times, is acknowledged {answered} times"),
            });
        }
        self.facts
    }
}

/// The handshake's end without the time that it took.
fn without_number(payload: &[u8]) -> String {
    let text = String::from_utf8_lossy(payload);
    text.chars().filter(|character| !character.is_ascii_digit()).collect()
}
