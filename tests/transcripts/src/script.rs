//! What the world around the protocol did in a recording: local applications, remote servers, the gateway. The same
//! is done to our own client and agent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use ssm_session::Message;
use ssm_session::kind::{MessageType, PayloadType};
use ssm_session::payload::ChannelClosed;

use crate::frame::{Direction, Line, Recording};
use crate::wire::{Frame, Reader};

/// Something that happens to the program under test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cue {
    /// Its WebSocket opens.
    Connect,
    /// Its WebSocket is lost.
    Disconnect,
    /// It receives this frame, verbatim.
    Deliver(Bytes),
    /// A local application connects (client).
    Open(u32),
    /// The application, or the server, writes.
    Write(u32, Vec<u8>),
    /// The application finishes sending and goes on reading (client).
    HalfClose(u32),
    /// The application, or the server, closes.
    Close(u32),
    /// The user ends the session (client).
    Terminate,
    /// The first transmission of its next data message is lost on the way (client).
    LoseNextData,
    /// From now on the other side takes in and acknowledges what this one sends, or does not (client).
    PeerListens(bool),
    /// Wait until the other side has received so much (client).
    AwaitReceived(Progress),
    /// Wait until that number was sent (agent).
    AwaitSent(i64),
    /// The remote host turns out to be unusable (agent).
    Fail(String),
}

/// How far each stream got, as its receiver sees it: bytes by stream; a stream without bytes counts as opened.
pub type Progress = BTreeMap<u32, usize>;

/// Cues with the time of each.
pub type Script = Vec<(Duration, Cue)>;

/// What happened to AWS's client, for ours.
#[must_use]
pub fn for_client(recording: &Recording) -> Script {
    let mut writer =
        ClientWriter { half_closes: recording.name.starts_with("b2-"), ..ClientWriter::default() };
    for line in &recording.lines {
        writer.line(line);
    }
    writer.script
}

#[derive(Default)]
struct ClientWriter {
    script: Script,
    half_closes: bool,
    sent: Reader,
    received: Reader,
    remote_finished: BTreeSet<u32>,
    progress: Progress,
    progress_at: BTreeMap<i64, Progress>,
    awaited: BTreeSet<i64>,
    listening: bool,
    agent_ready: bool,
    terminating: bool,
}

impl ClientWriter {
    fn push(&mut self, line: &Line, cue: Cue) {
        self.script.push((line.at, cue));
    }

    fn line(&mut self, line: &Line) {
        match (line.direction, line.op.as_str()) {
            (Direction::FromClient, "open") => self.push(line, Cue::Connect),
            (Direction::FromAgent, "open") if self.agent_ready => self.listen(line, true),
            (Direction::FromAgent, "closed") => self.listen(line, false),
            (Direction::Note, "drop_conn") if line.note.contains("client") => {
                self.push(line, Cue::Disconnect);
            }
            (Direction::Note, "drop_conn") if line.note.contains("agent") => self.listen(line, false),
            (Direction::Note, "drop") if line.note.contains("c2a input_stream_data") => {
                self.lose_last_write(line);
            }
            (Direction::FromClient, "binary") => self.sent_by_client(line),
            (Direction::ToClient, "binary") => self.delivered_to_client(line),
            (Direction::FromAgent, "binary") => self.sent_by_agent(line),
            _ => {}
        }
    }

    fn listen(&mut self, line: &Line, listening: bool) {
        if self.listening != listening {
            self.listening = listening;
            self.push(line, Cue::PeerListens(listening));
        }
    }

    /// The loss is noted behind the message: the cue belongs in front of what made the message.
    fn lose_last_write(&mut self, line: &Line) {
        let at = self
            .script
            .iter()
            .rposition(|(_, cue)| matches!(cue, Cue::Write(..)))
            .unwrap_or(self.script.len());
        self.script.insert(at, (line.at, Cue::LoseNextData));
        self.script[at].0 = self.script.get(at + 1).map_or(line.at, |next| next.0);
    }

    fn sent_by_client(&mut self, line: &Line) {
        let Some(message) =
            line.message().filter(|message| message.message_type == MessageType::InputStreamData)
        else {
            return;
        };
        if message.payload_type == PayloadType::Flag && !self.terminating {
            self.terminating = true;
            self.push(line, Cue::Terminate);
        }
        for frame in self.sent.message(message.sequence_number, output(&message)) {
            self.application(line, frame);
        }
        self.progress_at.entry(message.sequence_number).or_insert_with(|| self.progress.clone());
    }

    fn application(&mut self, line: &Line, frame: Frame) {
        match frame {
            Frame::Syn(id) => {
                self.progress.insert(id, 0);
                self.push(line, Cue::Open(id));
            }
            Frame::Psh(id, bytes) => {
                *self.progress.entry(id).or_default() += bytes.len();
                self.push(line, Cue::Write(id, bytes));
            }
            // An answer to the remote end's FIN is the program's own doing.
            Frame::Fin(id) if self.remote_finished.contains(&id) => {}
            Frame::Fin(id) if self.half_closes => self.push(line, Cue::HalfClose(id)),
            Frame::Fin(id) => self.push(line, Cue::Close(id)),
            Frame::Nop => {}
        }
    }

    fn delivered_to_client(&mut self, line: &Line) {
        let Some(message) = line.message() else { return };
        // The acknowledgements of the recording belong to the other client's messages.
        if message.message_type == MessageType::Acknowledge {
            return;
        }
        if message.message_type == MessageType::OutputStreamData {
            for frame in self.received.message(message.sequence_number, output(&message)) {
                if let Frame::Fin(id) = frame {
                    self.remote_finished.insert(id);
                }
            }
        }
        self.push(line, Cue::Deliver(line.bytes.clone()));
    }

    fn sent_by_agent(&mut self, line: &Line) {
        let Some(number) = line.message().as_ref().and_then(acknowledged) else { return };
        if number > 0 {
            self.agent_ready = true;
            self.listen(line, true);
        }
        let progress = self.progress_at.get(&number).cloned().unwrap_or_default();
        if self.awaited.insert(number) && !progress.is_empty() {
            self.push(line, Cue::AwaitReceived(progress));
        }
    }
}

/// What happened to AWS's agent, for ours.
#[must_use]
pub fn for_agent(recording: &Recording) -> Script {
    let mut writer = AgentWriter::default();
    for (at, line) in recording.lines.iter().enumerate() {
        writer.line(line, &recording.lines[at + 1..]);
    }
    writer.script
}

#[derive(Default)]
struct AgentWriter {
    script: Script,
    sent: Reader,
    received: Reader,
    client_finished: BTreeSet<u32>,
    connected: bool,
    /// Where in the script the frame began that is still incomplete, and when.
    frame_began: Option<(usize, Duration)>,
}

impl AgentWriter {
    fn push(&mut self, line: &Line, cue: Cue) {
        self.script.push((line.at, cue));
    }

    fn line(&mut self, line: &Line, rest: &[Line]) {
        if let Some(connected) = connection_change(line) {
            self.connection(connected, line, rest);
            return;
        }
        match (line.direction, line.op.as_str(), line.channel.as_str()) {
            // What the gateway wrote into a connection that was gone never arrived.
            (Direction::ToAgent, "binary", "data") if self.connected => self.delivered_to_agent(line),
            (Direction::FromAgent, "binary", "data") => self.sent_by_agent(line),
            _ => {}
        }
    }

    fn connection(&mut self, connected: bool, line: &Line, rest: &[Line]) {
        if self.connected == connected {
            return;
        }
        self.connected = connected;
        if connected {
            self.push(line, Cue::Connect);
        } else {
            self.closed(line, rest);
        }
    }

    /// An agent that closes for good ended by itself, and where the service gives a reason, the agent gave it first.
    fn closed(&mut self, line: &Line, rest: &[Line]) {
        let opens_again = |line: &Line| {
            line.direction == Direction::FromAgent && line.op == "open" && line.channel == "data"
        };
        if rest.iter().any(opens_again) {
            self.push(line, Cue::Disconnect);
        } else if let Some(output) = rest.iter().find_map(closing_words) {
            self.push(line, Cue::Fail(output));
        }
    }

    fn delivered_to_agent(&mut self, line: &Line) {
        let Some(message) = line.message() else { return };
        if let Some(number) = acknowledged(&message) {
            self.push(line, Cue::AwaitSent(number));
        }
        if message.message_type == MessageType::InputStreamData {
            for frame in self.received.message(message.sequence_number, output(&message)) {
                if let Frame::Fin(id) = frame {
                    self.client_finished.insert(id);
                }
            }
        }
        self.push(line, Cue::Deliver(line.bytes.clone()));
    }

    fn sent_by_agent(&mut self, line: &Line) {
        let Some(message) =
            line.message().filter(|message| message.message_type == MessageType::OutputStreamData)
        else {
            return;
        };
        let here = (self.script.len(), line.at);
        for frame in self.sent.message(message.sequence_number, output(&message)) {
            // A frame that spans messages was written when its first byte left.
            let (place, at) = self.frame_began.take().unwrap_or((self.script.len(), line.at));
            match frame {
                Frame::Psh(id, bytes) => self.script.insert(place, (at, Cue::Write(id, bytes))),
                Frame::Fin(id) if !self.client_finished.contains(&id) => self.push(line, Cue::Close(id)),
                Frame::Fin(_) | Frame::Syn(_) | Frame::Nop => {}
            }
        }
        if self.sent.in_frame() {
            self.frame_began.get_or_insert(here);
        }
    }
}

/// Whether the line opens (true) or ends (false) the agent's data connection.
#[must_use]
pub fn connection_change(line: &Line) -> Option<bool> {
    match (line.direction, line.op.as_str()) {
        (Direction::FromAgent, "open") if line.channel == "data" => Some(true),
        (Direction::FromAgent, "closed") if line.channel == "data" => Some(false),
        (Direction::Note, "drop_conn") if line.note.contains("agent") => Some(false),
        _ => None,
    }
}

/// The payload, where it is the multiplexer's.
#[must_use]
pub fn output(message: &Message) -> Option<&[u8]> {
    (message.payload_type == PayloadType::Output).then_some(&message.payload[..])
}

/// The number that an acknowledgement confirms.
#[must_use]
pub fn acknowledged(message: &Message) -> Option<i64> {
    if message.message_type != MessageType::Acknowledge {
        return None;
    }
    let body: ssm_session::payload::Acknowledge = serde_json::from_slice(&message.payload).ok()?;
    Some(body.acknowledged_message_sequence_number)
}

/// The reason in a `channel_closed`, where one is given.
fn closing_words(line: &Line) -> Option<String> {
    let message = line.message().filter(|message| message.message_type == MessageType::ChannelClosed)?;
    let body: ChannelClosed = serde_json::from_slice(&message.payload).ok()?;
    (line.direction == Direction::ToClient && !body.output.is_empty()).then_some(body.output)
}
