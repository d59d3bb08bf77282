//! Our client and our agent, and between them a gateway that loses, doubles, reorders, spoils and disconnects, and two
//! owners that do anything at any time. Whatever happens, what is read is the front of what was written; and once the
//! faults stop, all of it arrives.

mod gateway;
mod owners;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use uuid::Uuid;

use super::Program;
use super::wire::{Reader, Wire};
use crate::time::earliest;
use crate::{
    AgentConfig, AgentEnd, AgentEvent, AgentSession, Config, Habits, Message, MessageRate, MessageType, Now,
    Output, PortSession, Resend, SessionEnd, SessionEvent, StreamId, WsMessage,
};

/// Outputs of one side in one step beyond which it spins.
const MOST_OUTPUTS: usize = 20_000;
/// Streams of one program.
const MOST_STREAMS: usize = 12;
/// Virtual time within which everything must arrive once the faults have stopped.
const HEALING: Duration = Duration::from_secs(3600);

pub(super) fn run(choice: u8, program: &mut Program, now: Instant) {
    let mut pair = Pair::new(choice, now);
    while !program.is_over() {
        pair.step(program);
        pair.settle();
    }
    pair.heal();
}

/// One stream as both owners see it.
#[derive(Debug, Default)]
struct Stream {
    /// Its name at the agent, once a byte has told.
    at_agent: Option<StreamId>,
    /// What the agent read of it.
    upload: usize,
    /// What the client read of it.
    download: Reader,
    /// The local application closed its side, or both.
    finished: bool,
    /// Nothing is promised any more.
    lost: bool,
}

/// One connection as the agent's owner sees it.
#[derive(Debug, Default)]
struct Destination {
    upload: Reader,
    written: usize,
    /// The destination closed: the client's bytes are dropped.
    finished: bool,
    /// Reset, never connected, or over.
    lost: bool,
}

struct Pair {
    now: Now,
    client: PortSession,
    agent: AgentSession,
    client_on: bool,
    agent_on: bool,
    client_sink: bool,
    agent_sink: bool,
    up: VecDeque<Bytes>,
    down: VecDeque<Bytes>,
    wire: Wire,
    /// Data messages that the agent got.
    arrived: BTreeSet<(i64, Uuid)>,
    order: Vec<StreamId>,
    streams: BTreeMap<StreamId, Stream>,
    destinations: BTreeMap<StreamId, Destination>,
    dialling: Option<StreamId>,
    spoilt: usize,
    over: bool,
}

impl Pair {
    fn new(choice: u8, now: Instant) -> Self {
        let now = Now::new(now, 1_700_000_000_000);
        let rate = MessageRate { per_second: 50, burst: 5 };
        let config = Config {
            payload_size: if choice & 1 == 0 { 16 << 10 } else { 0 },
            message_rate: (choice & 2 != 0).then_some(rate),
            stream_buffer: if choice & 4 == 0 { 16 << 20 } else { 65_535 },
            max_undialled: if choice & 8 == 0 { 64 } else { 1 },
            // Time passes in leaps here: what this would end could not heal.
            agent_lost_after: HEALING * 2,
            ..Config::default()
        };
        let head = Resend::HeadOnly { tick: Duration::from_millis(100) };
        let habits = Habits {
            message_bytes: if choice & 16 == 0 { 16 << 10 } else { 1024 },
            pacing: (choice & 16 != 0).then_some(Duration::from_millis(1)),
            resend: if choice & 32 == 0 { Resend::AllOverdue } else { head },
            not_ready: Duration::from_millis(u64::from(choice & 64)),
            ..Habits::default()
        };
        let agent = AgentConfig { habits, ..AgentConfig::default() };
        let mut pair = Self {
            now,
            client: PortSession::new(config, now, [1; 32]),
            agent: AgentSession::new(agent, now, [2; 32]),
            client_on: false,
            agent_on: false,
            client_sink: true,
            agent_sink: true,
            up: VecDeque::new(),
            down: VecDeque::new(),
            wire: Wire::default(),
            arrived: BTreeSet::new(),
            order: Vec::new(),
            streams: BTreeMap::new(),
            destinations: BTreeMap::new(),
            dialling: None,
            spoilt: 0,
            over: false,
        };
        pair.switch_agent();
        pair.switch_client();
        pair.settle();
        pair
    }

    fn step(&mut self, program: &mut Program) {
        match program.byte() & 31 {
            0 => self.open(),
            1 | 2 => self.write(program),
            3 => self.read(program),
            4 => {
                let stream = self.stream(program);
                self.client.finish(stream, self.now);
                self.streams.entry(stream).and_modify(|stream| stream.finished = true);
            }
            5 => {
                let stream = self.stream(program);
                self.client.abort(stream, self.now);
                self.streams.entry(stream).and_modify(|stream| stream.lost = true);
            }
            6 | 7 => self.answer(program),
            8 => self.take(program),
            9 => {
                let id = self.destination(program);
                // Before the connection exists there is no destination that could close it.
                if self.dialling != Some(id) {
                    self.agent.finish(id, self.now);
                    self.destinations.entry(id).and_modify(|destination| destination.finished = true);
                }
            }
            10 => {
                let id = self.destination(program);
                self.agent.abort(id, self.now);
                // Nobody waits for the answer to that dial any more.
                self.dialling = self.dialling.filter(|dialling| *dialling != id);
                self.destinations.entry(id).and_modify(|destination| destination.lost = true);
            }
            11 | 12 => self.dialled(true),
            13 => self.dialled(false),
            14 | 15 => self.deliver_up(0),
            16 | 17 => self.deliver_down(0),
            18 => self.deliver_up(program.size()),
            19 => self.deliver_down(program.size()),
            20 => self.lose(program),
            21 => self.double(program),
            22 => self.spoil(program),
            23 => self.switch_client(),
            24 => self.switch_agent(),
            25 => self.pass(program.byte()),
            26 => self.jump(),
            27 => self.publication(program.byte()),
            28 => self.client_sink ^= true,
            29 => self.agent_sink ^= true,
            30 if program.byte() == 255 => self.client.terminate(self.now),
            _ => drop(self.exchange()),
        }
    }

    fn pass(&mut self, amount: u8) {
        let amount = u64::from(amount);
        self.advance(Duration::from_micros(amount * amount * 200));
    }

    fn jump(&mut self) {
        if let Some(at) = self.next_timeout() {
            self.advance(at.saturating_duration_since(self.now.mono));
        }
    }

    fn advance(&mut self, step: Duration) {
        self.now = self.now.after(step);
        self.client.handle_timeout(self.now);
        self.agent.handle_timeout(self.now);
    }

    fn next_timeout(&mut self) -> Option<Instant> {
        let Output::Timeout(client) = self.client.poll_event(self.now) else { panic!("not settled") };
        let Output::Timeout(agent) = self.agent.poll_event(self.now) else { panic!("not settled") };
        earliest(client, agent)
    }

    /// Drains both ends.
    fn settle(&mut self) {
        self.client.handle_timeout(self.now);
        self.agent.handle_timeout(self.now);
        self.drain_client();
        self.drain_agent();
        self.wire.check_buffers(Config::default().send_buffer);
    }

    fn drain_client(&mut self) {
        for _ in 0..MOST_OUTPUTS {
            let output = if self.client_sink {
                self.client.poll_output(self.now)
            } else {
                self.client.poll_event(self.now)
            };
            match output {
                Output::Send(WsMessage::Binary(frame)) => {
                    assert!(self.client_on, "sent without a connection");
                    self.wire.leaves(&frame);
                    if self.agent_on {
                        self.up.push_back(frame);
                    }
                }
                Output::Send(WsMessage::Ping(_)) => {
                    let pong = WsMessage::Pong(Bytes::new());
                    assert!(self.client.handle_message(pong, self.now).is_ok());
                }
                Output::Send(WsMessage::Text(_) | WsMessage::Pong(_)) => {}
                Output::Event(event) => self.client_says(&event),
                Output::Timeout(at) => {
                    assert!(at.is_none_or(|at| at > self.now.mono), "a timeout that is over already");
                    return;
                }
            }
        }
        panic!("the client spins");
    }

    fn client_says(&mut self, event: &SessionEvent) {
        if let SessionEvent::Ended(end) = event {
            self.over = true;
            let excused =
                matches!(end, SessionEnd::HandshakeTimeout { .. } | SessionEnd::UserTerminated { .. });
            assert!(excused, "{end:?}");
        }
        if let SessionEvent::Closed(stream) | SessionEvent::Reset { stream, .. } = event {
            let known = self.streams.get_mut(stream);
            assert!(
                known.is_some_and(|stream| !std::mem::replace(&mut stream.lost, true)),
                "{stream} is gone already"
            );
        }
    }

    fn drain_agent(&mut self) {
        for _ in 0..MOST_OUTPUTS {
            let output = if self.agent_sink {
                self.agent.poll_output(self.now)
            } else {
                self.agent.poll_event(self.now)
            };
            match output {
                Output::Send(WsMessage::Binary(frame)) => self.agent_sends(frame),
                Output::Send(WsMessage::Ping(_)) => {
                    let pong = WsMessage::Pong(Bytes::new());
                    assert!(self.agent.handle_message(pong, self.now).is_ok());
                }
                Output::Send(WsMessage::Text(_) | WsMessage::Pong(_)) => {}
                Output::Event(event) => self.agent_says(&event),
                Output::Timeout(at) => {
                    assert!(at.is_none_or(|at| at > self.now.mono), "a timeout that is over already");
                    return;
                }
            }
        }
        panic!("the agent spins");
    }

    fn agent_sends(&mut self, frame: Bytes) {
        assert!(self.agent_on, "sent without a connection");
        let Ok(message) = Message::decode(frame.clone()) else { panic!("our own message is malformed") };
        if message.message_type == MessageType::Acknowledge {
            let Ok(body) = serde_json::from_slice::<crate::payload::Acknowledge>(&message.payload) else {
                panic!("our own acknowledgement is malformed")
            };
            let named = (body.acknowledged_message_sequence_number, body.acknowledged_message_id);
            assert!(self.arrived.contains(&named), "acknowledged and never received: {named:?}");
        }
        if self.client_on && message.message_type != MessageType::AgentSessionState {
            self.down.push_back(frame);
        }
    }

    fn agent_says(&mut self, event: &AgentEvent) {
        match event {
            AgentEvent::Dial(id) => {
                assert!(self.dialling.replace(*id).is_none(), "dials come one after the other");
                assert!(self.destinations.insert(*id, Destination::default()).is_none(), "dialled twice");
            }
            AgentEvent::Closed(id) => {
                // One that was never dialled is not known; a dial is answered even so.
                self.destinations.entry(*id).and_modify(|destination| destination.lost = true);
            }
            AgentEvent::Ended(end) => {
                self.over = true;
                assert!(matches!(end, AgentEnd::Terminated | AgentEnd::Failed { .. }), "{end:?}");
            }
            AgentEvent::PeerFinished(id) => {
                self.destinations.entry(*id).and_modify(|destination| destination.finished = true);
            }
            AgentEvent::HandshakeComplete { .. }
            | AgentEvent::Ready
            | AgentEvent::Readable(_)
            | AgentEvent::Writable(_)
            | AgentEvent::Terminated
            | AgentEvent::ChannelDead => {}
        }
    }

    /// The faults stop, both owners read: all that was promised arrives.
    fn heal(&mut self) {
        (self.client_sink, self.agent_sink) = (true, true);
        if !self.agent_on {
            self.switch_agent();
        }
        if !self.client_on {
            self.switch_client();
        }
        self.publication(1);
        self.publication(3);
        let deadline = self.now.mono + HEALING;
        while !self.over && !self.is_whole() {
            self.settle();
            self.dialled(true);
            let moved = self.exchange();
            for id in self.order.clone() {
                self.read_some(id, usize::MAX);
            }
            for id in self.destinations.keys().copied().collect::<Vec<_>>() {
                self.take_some(id, usize::MAX);
            }
            self.settle();
            // A dial that succeeded may have been all that was waited for, or have made room for the next.
            if !moved && self.dialling.is_none() && !self.is_whole() {
                let next = self.next_timeout().filter(|at| *at <= deadline);
                assert!(next.is_some() || self.over, "never healed: {}", self.describe());
                self.jump();
            }
        }
    }

    /// Nothing is outstanding, and everything arrived that nobody gave up.
    fn is_whole(&self) -> bool {
        let client = self.client.statistics();
        let agent = self.agent.statistics();
        let quiet = client.outstanding_messages == 0 && agent.outstanding_messages == 0;
        self.client.is_up() && quiet && self.streams.iter().all(|(id, stream)| self.has_arrived(*id, stream))
    }

    fn has_arrived(&self, id: StreamId, stream: &Stream) -> bool {
        let accepted = self.wire.accepted(id);
        if stream.lost || accepted < 4 {
            return true;
        }
        let Some(destination) = stream.at_agent.and_then(|at_agent| self.destinations.get(&at_agent)) else {
            return false;
        };
        let uploaded = destination.finished || destination.lost || stream.upload == accepted;
        let downloaded = stream.finished
            || destination.lost && !destination.finished
            || destination.written < 4
            || stream.download.received == destination.written;
        uploaded && downloaded
    }

    fn describe(&self) -> String {
        let accepted: Vec<_> = self.streams.keys().map(|id| (*id, self.wire.accepted(*id))).collect();
        format!(
            "accepted {accepted:?}\n{:?}\n{:?}\nclient {:?}\nagent {:?}",
            self.streams,
            self.destinations,
            self.client.statistics(),
            self.agent.statistics()
        )
    }
}
