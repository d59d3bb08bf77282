//! AWS's client's half against our agent: the client's messages verbatim and in order, the remote servers as they
//! were. What the emulator's agent answers must be what AWS's agent answered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ssm_session::kind::{MessageType, PayloadType};
use ssm_session::payload::{ActionParameters, HandshakeRequest};
use ssm_session::{
    AgentConfig, AgentEvent, AgentSession, Habits, Message, Now, Output, StreamId, Token, WsMessage,
};

use crate::facts::{Facts, Listener};
use crate::frame::{Direction, Recording};
use crate::script::{Cue, acknowledged, connection_change, for_agent, output};
use crate::wire::{Frame, Reader};

/// Longest wait for our agent to send what AWS's agent had sent.
const PATIENCE: Duration = Duration::from_secs(20);

/// What AWS's agent did.
#[must_use]
pub fn theirs(recording: &Recording) -> Facts {
    let mut side = Side::default();
    let mut connected = false;
    for line in &recording.lines {
        match connection_change(line) {
            Some(change) => connected = change,
            None if line.channel != "data" => {}
            None => match (line.direction, line.message()) {
                (Direction::FromAgent, Some(message)) => side.listener.sent(&message),
                (Direction::ToAgent, Some(message)) if connected => side.delivered(&message),
                _ => {}
            },
        }
    }
    side.facts()
}

/// What our agent does in the same place.
///
/// # Panics
/// When it breaks the protocol or waits for ever.
#[must_use]
pub fn ours(recording: &Recording, start: Instant) -> Facts {
    let mut replay = Replay::new(recording, start);
    let mut late = Duration::ZERO;
    for (at, cue) in for_agent(recording) {
        replay.run_until(start + at + late);
        if let Cue::AwaitSent(number) = cue {
            late += replay.wait_for(number);
        } else {
            replay.play(cue);
        }
    }
    let end = replay.now.mono + Duration::from_secs(3);
    replay.run_until(end);
    replay.side.facts()
}

#[derive(Default)]
struct Side {
    listener: Listener,
    deliveries: BTreeMap<i64, usize>,
    received: Reader,
    up: BTreeMap<u32, Vec<u8>>,
}

impl Side {
    fn delivered(&mut self, message: &Message) {
        if message.message_type != MessageType::InputStreamData {
            return;
        }
        *self.deliveries.entry(message.sequence_number).or_default() += 1;
        for frame in self.received.message(message.sequence_number, output(message)) {
            match frame {
                Frame::Psh(id, bytes) => self.up.entry(id).or_default().extend(bytes),
                Frame::Fin(id) => self.listener.peer_finished(id),
                Frame::Syn(_) | Frame::Nop => {}
            }
        }
    }

    fn facts(self) -> Facts {
        self.listener.facts(&self.deliveries)
    }
}

struct Replay {
    name: String,
    session: AgentSession,
    now: Now,
    side: Side,
    refuses: bool,
    streams: BTreeMap<u32, StreamId>,
    opened: u32,
    unwritten: Vec<(u32, Bytes)>,
    unclosed: Vec<u32>,
    read: BTreeMap<u32, Vec<u8>>,
    numbers: BTreeSet<i64>,
    over: bool,
}

impl Replay {
    fn new(recording: &Recording, start: Instant) -> Self {
        let now = Now::new(start, 1_760_000_000_000);
        Self {
            name: recording.name.clone(),
            session: AgentSession::new(agent_config(recording), now, [9; 32]),
            now,
            side: Side::default(),
            refuses: sent_by_agent(recording).any(|message| message.payload_type == PayloadType::Flag),
            streams: BTreeMap::new(),
            opened: 0,
            unwritten: Vec::new(),
            unclosed: Vec::new(),
            read: BTreeMap::new(),
            numbers: BTreeSet::new(),
            over: false,
        }
    }

    fn play(&mut self, cue: Cue) {
        match cue {
            Cue::Connect => self.session.handle_connected(&Token::new("token"), self.now),
            Cue::Disconnect => self.session.handle_disconnected(self.now),
            Cue::Deliver(bytes) => self.deliver(bytes),
            Cue::Write(id, bytes) => self.unwritten.push((id, bytes.into())),
            Cue::Close(id) => self.unclosed.push(id),
            Cue::Fail(output) if !self.over => self.session.fail(output, self.now),
            Cue::Fail(_) => {}
            Cue::Open(_)
            | Cue::HalfClose(_)
            | Cue::Terminate
            | Cue::LoseNextData
            | Cue::PeerListens(_)
            | Cue::AwaitReceived(_)
            | Cue::AwaitSent(_) => panic!("{cue:?} is not for an agent"),
        }
        self.serve();
    }

    fn deliver(&mut self, bytes: Bytes) {
        if self.over {
            return;
        }
        if let Ok(message) = Message::decode(bytes.clone()) {
            self.side.delivered(&message);
        }
        let taken = self.session.handle_message(WsMessage::Binary(bytes), self.now);
        taken.unwrap_or_else(|error| panic!("AWS's client broke the protocol? {error}"));
    }

    /// The remote servers write and close as soon as they are connected.
    fn serve(&mut self) {
        self.drain();
        for (id, mut bytes) in std::mem::take(&mut self.unwritten) {
            let Some(stream) = self.streams.get(&id) else {
                self.unwritten.push((id, bytes));
                continue;
            };
            if self.session.write(*stream, &mut bytes, self.now).is_ok() {
                assert!(bytes.is_empty(), "the agent takes what fits its buffer");
            }
        }
        for id in std::mem::take(&mut self.unclosed) {
            match self.streams.get(&id) {
                Some(stream) if self.unwritten.iter().all(|(waiting, _)| *waiting != id) => {
                    self.session.finish(*stream, self.now);
                }
                _ => self.unclosed.push(id),
            }
        }
        self.drain();
    }

    fn drain(&mut self) -> Option<Instant> {
        loop {
            match self.session.poll_output(self.now) {
                Output::Send(WsMessage::Binary(bytes)) => self.sent(bytes),
                Output::Send(_) => {}
                Output::Event(event) => self.event(&event),
                Output::Timeout(at) => return at,
            }
        }
    }

    fn sent(&mut self, bytes: Bytes) {
        let message = Message::decode(bytes).unwrap_or_else(|error| panic!("our agent sent: {error}"));
        if message.message_type == MessageType::OutputStreamData {
            self.numbers.insert(message.sequence_number);
        }
        self.side.listener.sent(&message);
    }

    fn event(&mut self, event: &AgentEvent) {
        match event {
            AgentEvent::Dial(stream) if self.refuses => self.session.dial_failed(*stream, self.now),
            AgentEvent::Dial(stream) => {
                // Both programs number streams 3, 5, 7.
                self.streams.insert(3 + 2 * self.opened, *stream);
                self.opened += 1;
                self.session.dial_succeeded(*stream, self.now);
            }
            AgentEvent::Readable(stream) | AgentEvent::PeerFinished(stream) => self.read(*stream),
            AgentEvent::Ended(_) => {
                self.over = true;
                self.check_reads();
            }
            AgentEvent::HandshakeComplete { .. }
            | AgentEvent::Ready
            | AgentEvent::Writable(_)
            | AgentEvent::Closed(_)
            | AgentEvent::Terminated
            | AgentEvent::ChannelDead => {}
        }
    }

    fn read(&mut self, stream: StreamId) {
        let Some(id) = self.streams.iter().find(|(_, ours)| **ours == stream).map(|(id, _)| *id) else {
            return;
        };
        while let Some(bytes) = self.session.read(stream, self.now) {
            self.read.entry(id).or_default().extend(bytes);
        }
    }

    /// Whatever the client sent reached the server.
    fn check_reads(&self) {
        for (id, sent) in &self.side.up {
            assert_eq!(Some(sent), self.read.get(id), "stream {id}");
        }
    }

    fn run_until(&mut self, end: Instant) {
        loop {
            self.serve();
            let Some(at) = self.drain().filter(|at| *at <= end) else { break };
            self.advance(at);
            self.session.handle_timeout(self.now);
        }
        self.advance(end);
    }

    fn advance(&mut self, to: Instant) {
        self.now = self.now.after(to.saturating_duration_since(self.now.mono));
    }

    fn wait_for(&mut self, number: i64) -> Duration {
        let begin = self.now.mono;
        while !self.numbers.contains(&number) {
            assert!(self.now.mono - begin < PATIENCE, "{}: our agent never sent number {number}", self.name);
            self.run_until(self.now.mono + Duration::from_millis(1));
        }
        self.now.mono - begin
    }
}

/// The agent of the recording: its version, the document's properties, and how long it was not ready.
fn agent_config(recording: &Recording) -> AgentConfig {
    let request =
        sent_by_agent(recording).find(|message| message.payload_type == PayloadType::HandshakeRequest);
    let request = request.unwrap_or_else(|| panic!("{} has no handshake", recording.name));
    let request: HandshakeRequest =
        serde_json::from_slice(&request.payload).unwrap_or_else(|error| panic!("handshake request: {error}"));
    let Some(ActionParameters::SessionType(parameters)) =
        request.requested_client_actions.into_iter().map(|action| action.action_parameters).next()
    else {
        panic!("{} asks for no session type", recording.name);
    };
    let text = |(key, value): (String, serde_json::Value)| Some((key, value.as_str()?.to_owned()));
    AgentConfig {
        agent_version: request.agent_version,
        session_type: parameters.session_type,
        properties: parameters.properties.map(|all| all.into_iter().filter_map(text).collect()),
        habits: Habits { not_ready: not_ready(recording), ..Habits::default() },
        ..AgentConfig::default()
    }
}

/// From the handshake's end to the last message that the agent passed over: one that the client had to send again.
fn not_ready(recording: &Recording) -> Duration {
    let complete = |message: &Message| message.payload_type == PayloadType::HandshakeComplete;
    let mut agent_lines = recording.data(Direction::FromAgent);
    let begin = agent_lines.find(|line| line.message().as_ref().is_some_and(complete));
    let taken = |message: &Message| acknowledged(message).is_some_and(|number| number > 0);
    let end = agent_lines.find(|line| line.message().as_ref().is_some_and(taken));
    let Some(begin) = begin else { return Duration::ZERO };
    // An agent that took nothing in before its session failed was never ready.
    let Some(end) = end else { return Duration::from_secs(3600) };
    let number = |line: &crate::Line| {
        let message =
            line.message().filter(|message| message.message_type == MessageType::InputStreamData)?;
        Some((line.at, message.sequence_number))
    };
    let sent: Vec<(Duration, i64)> = recording.data(Direction::ToAgent).filter_map(number).collect();
    let sent_again =
        |at: Duration, number: i64| sent.iter().any(|&(later, same)| later > at && same == number);
    let before = sent.iter().filter(|&&(at, number)| at > begin.at && at < end.at && sent_again(at, number));
    before.map(|&(at, _)| at - begin.at + Duration::from_millis(1)).max().unwrap_or_default()
}

fn sent_by_agent(recording: &Recording) -> impl Iterator<Item = Message> {
    recording
        .data(Direction::FromAgent)
        .filter_map(crate::Line::message)
        .filter(|message| message.message_type == MessageType::OutputStreamData)
}
