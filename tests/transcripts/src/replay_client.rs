//! AWS's agent's half against our client: the agent's messages verbatim and in order, its acknowledgements derived
//! from what our client sent, the local applications as they were.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ssm_session::kind::{MessageType, PayloadType};
use ssm_session::payload::{Acknowledge, HandshakeResponse};
use ssm_session::{
    Config, Message, Now, Output, PortSession, ResetReason, SessionEvent, StreamId, Token, WsMessage,
};

use crate::facts::{Facts, Listener};
use crate::frame::{Direction, Recording};
use crate::script::{Cue, Progress, acknowledged, for_client, output};
use crate::wire::{Frame, Reader};

/// The way to the agent and back, where acknowledgements are derived.
const ROUND_TRIP: Duration = Duration::from_millis(1);
/// Longest wait for our client to do what AWS's client did.
const PATIENCE: Duration = Duration::from_secs(20);

/// What AWS's client did.
#[must_use]
pub fn theirs(recording: &Recording) -> Facts {
    let mut side = Side::default();
    for line in &recording.lines {
        match (line.direction, line.message()) {
            (Direction::FromClient, Some(message)) => side.listener.sent(&message),
            (Direction::ToClient, Some(message)) => side.delivered(&message),
            _ => {}
        }
    }
    side.facts()
}

/// What our client does in the same place.
///
/// # Panics
/// When it breaks the protocol or waits for ever.
#[must_use]
pub fn ours(recording: &Recording, start: Instant) -> Facts {
    let mut replay = Replay::new(recording, start);
    let mut late = Duration::ZERO;
    for (at, cue) in for_client(recording) {
        replay.run_until(start + at + late);
        if let Cue::AwaitReceived(progress) = cue {
            late += replay.wait_for(&progress);
        } else {
            replay.play(cue);
        }
    }
    let end = replay.now.mono + Duration::from_secs(3);
    replay.run_until(end);
    replay.side.facts()
}

/// What both clients are asked about: what they sent, and what their applications read.
#[derive(Default)]
struct Side {
    listener: Listener,
    deliveries: BTreeMap<i64, usize>,
    received: Reader,
    /// The bytes that the agent sent on each stream: what applications must read.
    down: BTreeMap<u32, Vec<u8>>,
}

impl Side {
    fn delivered(&mut self, message: &Message) {
        if message.message_type != MessageType::OutputStreamData {
            return;
        }
        *self.deliveries.entry(message.sequence_number).or_default() += 1;
        for frame in self.received.message(message.sequence_number, output(message)) {
            match frame {
                Frame::Psh(id, bytes) => self.down.entry(id).or_default().extend(bytes),
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
    session: PortSession,
    now: Now,
    side: Side,
    /// The recording's stream ids and ours.
    streams: BTreeMap<u32, StreamId>,
    read: BTreeMap<u32, Vec<u8>>,
    unwritten: BTreeMap<u32, Bytes>,
    /// As the agent sees it.
    agent: Reader,
    progress: Progress,
    connected: bool,
    listening: bool,
    lose_next_data: bool,
    /// Acknowledgements on their way.
    answers: VecDeque<(Instant, Bytes)>,
    over: bool,
    numbers: BTreeSet<i64>,
}

impl Replay {
    fn new(recording: &Recording, start: Instant) -> Self {
        let now = Now::new(start, 1_760_000_000_000);
        let config = Config { client_version: client_version(recording), ..Config::default() };
        Self {
            session: PortSession::new(config, now, [7; 32]),
            now,
            side: Side::default(),
            streams: BTreeMap::new(),
            read: BTreeMap::new(),
            unwritten: BTreeMap::new(),
            agent: Reader::default(),
            progress: Progress::new(),
            connected: false,
            listening: false,
            lose_next_data: false,
            answers: VecDeque::new(),
            over: false,
            numbers: BTreeSet::new(),
        }
    }

    fn play(&mut self, cue: Cue) {
        match cue {
            Cue::Connect => {
                self.connected = true;
                self.session.handle_connected(&Token::new("token"), self.now);
            }
            Cue::Disconnect => {
                self.connected = false;
                self.answers.clear();
                self.session.handle_disconnected(self.now);
            }
            Cue::Deliver(bytes) => self.deliver(bytes),
            Cue::Open(id) => {
                let ours = self.session.open(self.now).unwrap_or_else(|error| panic!("open {id}: {error}"));
                self.streams.insert(id, ours);
            }
            Cue::Write(id, bytes) => {
                self.unwritten.insert(id, bytes.into());
                self.write(id);
            }
            Cue::HalfClose(id) => self.session.finish(self.streams[&id], self.now),
            Cue::Close(id) => self.session.abort(self.streams[&id], self.now),
            Cue::Terminate => self.session.terminate(self.now),
            Cue::LoseNextData => self.lose_next_data = true,
            Cue::PeerListens(listening) => self.listening = listening,
            Cue::AwaitReceived(_) | Cue::AwaitSent(_) | Cue::Fail(_) => panic!("{cue:?} is not for a client"),
        }
        self.drain();
    }

    fn deliver(&mut self, bytes: Bytes) {
        if self.over {
            return;
        }
        if let Ok(message) = Message::decode(bytes.clone()) {
            self.side.delivered(&message);
        }
        let taken = self.session.handle_message(WsMessage::Binary(bytes), self.now);
        taken.unwrap_or_else(|error| panic!("AWS's agent broke the protocol? {error}"));
    }

    fn write(&mut self, id: u32) {
        if let Some(bytes) = self.unwritten.get_mut(&id) {
            let taken = self.session.write(self.streams[&id], bytes, self.now);
            taken.unwrap_or_else(|error| panic!("write to stream {id}: {error}"));
        }
    }

    fn drain(&mut self) -> Option<Instant> {
        loop {
            match self.session.poll_output(self.now) {
                Output::Send(WsMessage::Binary(bytes)) => self.sent(bytes),
                Output::Send(_) => {}
                Output::Event(event) => self.event(event),
                Output::Timeout(at) => return at,
            }
        }
    }

    fn sent(&mut self, bytes: Bytes) {
        let message = Message::decode(bytes).unwrap_or_else(|error| panic!("our client sent: {error}"));
        self.side.listener.sent(&message);
        if message.message_type != MessageType::InputStreamData || !self.connected {
            return;
        }
        let number = message.sequence_number;
        let is_new = self.numbers.insert(number);
        if is_new && self.lose_next_data && message.payload_type == PayloadType::Output {
            self.lose_next_data = false;
            return;
        }
        // Before the session's plugin is ready the real agent neither acknowledges nor keeps what it gets, but for
        // the handshake.
        if self.listening || message.payload_type == PayloadType::HandshakeResponse {
            self.received_by_agent(&message);
        }
    }

    fn received_by_agent(&mut self, message: &Message) {
        for frame in self.agent.message(message.sequence_number, output(message)) {
            match frame {
                Frame::Syn(id) => drop(self.progress.insert(id, 0)),
                Frame::Psh(id, bytes) => *self.progress.entry(id).or_default() += bytes.len(),
                Frame::Fin(_) | Frame::Nop => {}
            }
        }
        self.answers.push_back((self.now.mono + ROUND_TRIP, acknowledgement(message, self.now)));
    }

    fn event(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Readable(stream) | SessionEvent::RemoteFinished(stream) => self.read(stream),
            SessionEvent::Writable(stream) => {
                if let Some(id) = self.name_of(stream) {
                    self.write(id);
                }
            }
            SessionEvent::Reset { stream, reason: ResetReason::RefusedByRemote } => {
                let id = self.name_of(stream).unwrap_or_default();
                self.side.listener.note(format!("the application of stream {id} sees a refusal"));
            }
            SessionEvent::Ended(end) => {
                self.over = true;
                self.check_reads();
                drop(end);
            }
            SessionEvent::HandshakeComplete { .. }
            | SessionEvent::Up
            | SessionEvent::Closed(_)
            | SessionEvent::Reset { .. }
            | SessionEvent::RemoteConnectFailed
            | SessionEvent::AgentStalled { .. }
            | SessionEvent::AgentRecovered
            | SessionEvent::Paused
            | SessionEvent::Unpaused
            | SessionEvent::AgentResendsSlowly { .. }
            | SessionEvent::AgentCaughtUp
            | SessionEvent::PayloadReduced { .. }
            | SessionEvent::ChannelDead => {}
        }
    }

    fn read(&mut self, stream: StreamId) {
        let Some(id) = self.name_of(stream) else { return };
        while let Some(bytes) = self.session.read(stream, self.now) {
            self.read.entry(id).or_default().extend(bytes);
        }
    }

    fn name_of(&self, stream: StreamId) -> Option<u32> {
        self.streams.iter().find(|(_, ours)| **ours == stream).map(|(id, _)| *id)
    }

    /// Whatever the agent sent to a stream that was open reached its application.
    fn check_reads(&self) {
        for (id, read) in &self.read {
            assert_eq!(Some(read), self.side.down.get(id), "stream {id}");
        }
    }

    /// Lets time pass, with answers and timeouts at their moments.
    fn run_until(&mut self, end: Instant) {
        loop {
            let timeout = self.drain();
            let answer = self.answers.front().map(|(at, _)| *at);
            let next = [timeout, answer].into_iter().flatten().min().filter(|at| *at <= end);
            let Some(at) = next else { break };
            self.advance(at);
            if answer == Some(at) {
                if let Some((_, bytes)) = self.answers.pop_front() {
                    self.deliver(bytes);
                }
            } else {
                self.session.handle_timeout(self.now);
            }
        }
        self.advance(end);
    }

    fn advance(&mut self, to: Instant) {
        self.now = self.now.after(to.saturating_duration_since(self.now.mono));
    }

    /// Until the agent has got as much as it got of the other client; answers how long it took.
    fn wait_for(&mut self, progress: &Progress) -> Duration {
        let begin = self.now.mono;
        let reached =
            |have: &Progress| progress.iter().all(|(id, bytes)| have.get(id).is_some_and(|n| n >= bytes));
        while !reached(&self.progress) {
            let waited = self.now.mono - begin;
            assert!(waited < PATIENCE, "our client sent {:?}, the other {progress:?}", self.progress);
            self.run_until(self.now.mono + ROUND_TRIP);
        }
        self.now.mono - begin
    }
}

/// The version that AWS's client announced: ours announces the same, so that the rest can be compared to the letter.
fn client_version(recording: &Recording) -> String {
    let response = recording.data(Direction::FromClient).find_map(|line| {
        line.message().filter(|message| message.payload_type == PayloadType::HandshakeResponse)
    });
    let version = response.and_then(|message| serde_json::from_slice(&message.payload).ok());
    version.map_or(Config::default().client_version, |response: HandshakeResponse| response.client_version)
}

/// The acknowledgement that AWS's agent sends for a message.
fn acknowledgement(message: &Message, now: Now) -> Bytes {
    let body = Acknowledge {
        acknowledged_message_type: message.message_type.name().to_owned(),
        acknowledged_message_id: message.message_id,
        acknowledged_message_sequence_number: message.sequence_number,
        is_sequential_message: true,
    };
    let payload = serde_json::to_vec(&body).unwrap_or_else(|error| panic!("{error}"));
    let answer = Message::service(
        MessageType::Acknowledge,
        PayloadType::None,
        message.message_id,
        now.wall_ms,
        &payload,
    );
    debug_assert_eq!(acknowledged(&answer), Some(message.sequence_number));
    answer.encode()
}
