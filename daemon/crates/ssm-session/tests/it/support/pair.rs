//! The pair: client, agent, gateway, clock.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ssm_session::{
    AgentConfig, AgentEvent, AgentSession, Config, Message, MessageType, Now, Output, PayloadType,
    PortSession, ResetReason, SessionEvent, StreamId, Token, WsMessage,
};

use super::apps::{Apps, Job, LocalApp, RemoteApp};
use super::leg::{Faults, Leg};
use super::{Rng, ms, origin};

/// Outputs at one instant beyond which the session is taken to spin.
const LIVELOCK: usize = 50_000;

pub(crate) struct Pair {
    pub(crate) now: Now,
    pub(crate) start: Instant,
    pub(crate) client: PortSession,
    pub(crate) agent: AgentSession,
    pub(crate) up: Leg,
    pub(crate) down: Leg,
    pub(crate) local: Apps<LocalApp>,
    pub(crate) remote: Apps<RemoteApp>,
    pub(crate) events: Vec<(Duration, SessionEvent)>,
    pub(crate) agent_events: Vec<(Duration, AgentEvent)>,
    /// Everything the client put on its WebSocket, with the time.
    pub(crate) sent: Vec<(Duration, Message)>,
    /// Numbers of the agent's messages, as the client got them, with the time.
    pub(crate) received: Vec<(Duration, i64)>,
    pub(crate) pings: u32,
    /// Pongs withheld by the gateway.
    pub(crate) mute_pongs: bool,
    /// Answers dials by itself.
    pub(crate) dials: bool,
    /// Takes read events to the applications.
    pub(crate) reads: bool,
    /// Drops a connection that carries a larger payload upward.
    pub(crate) largest_payload: Option<usize>,
    /// Whether the gateway tells the agent when the client is back, or that a pause is over.
    pub(crate) starts_publication: bool,
    client_back_at: Option<Instant>,
    agent_back_at: Option<Instant>,
    pause_over_at: Option<Instant>,
    pub(crate) drops: u32,
    pongs: Vec<Instant>,
    rng: Rng,
}

impl Pair {
    pub(crate) fn new(config: Config, agent: AgentConfig, faults: Faults, seed: u64) -> Self {
        let now = origin();
        let mut rng = Rng(seed);
        let client = PortSession::new(config, now, [rng.next() as u8; 32]);
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&rng.next().to_be_bytes());
        let agent = AgentSession::new(agent, now, seed);
        let mut pair = Self {
            now,
            start: now.mono,
            client,
            agent,
            up: Leg::new(faults, rng.next(), now.mono),
            down: Leg::new(faults, rng.next(), now.mono),
            local: Apps::new(),
            remote: Apps::new(),
            events: Vec::new(),
            agent_events: Vec::new(),
            sent: Vec::new(),
            received: Vec::new(),
            pings: 0,
            mute_pongs: false,
            dials: true,
            reads: true,
            largest_payload: None,
            starts_publication: true,
            client_back_at: None,
            agent_back_at: None,
            pause_over_at: None,
            drops: 0,
            pongs: Vec::new(),
            rng,
        };
        pair.agent.handle_connected(&Token::new("agent-token"), now);
        pair.client.handle_connected(&Token::new("client-token"), now);
        pair
    }

    pub(crate) fn clean() -> Self {
        Self::new(Config::default(), AgentConfig::default(), Faults::NONE, 1)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now.mono - self.start
    }

    pub(crate) fn open(&mut self, job: Job) -> StreamId {
        let stream = self.client.open(self.now).expect("session takes streams");
        let mut app = LocalApp::start(job);
        app.write(stream, &mut self.client, self.now);
        self.local.insert(stream, app);
        stream
    }

    /// The client's WebSocket breaks; it is back after `outage`.
    pub(crate) fn drop_client(&mut self, outage: Duration) {
        if !self.client.is_connected() {
            return;
        }
        self.drops += 1;
        self.client.handle_disconnected(self.now);
        self.up.clear(self.now.mono);
        self.down.clear(self.now.mono);
        self.pongs.clear();
        self.client_back_at = Some(self.now.mono + outage);
    }

    /// The agent's WebSocket breaks; it is back after `outage`.
    pub(crate) fn drop_agent(&mut self, outage: Duration) {
        if self.agent_back_at.is_some() {
            return;
        }
        self.drops += 1;
        self.agent.handle_disconnected(self.now);
        self.up.clear(self.now.mono);
        self.down.clear(self.now.mono);
        self.agent_back_at = Some(self.now.mono + outage);
    }

    /// Pauses the agent, for two seconds unless something lifts it before or the gateway forgets.
    pub(crate) fn pause_agent(&mut self) {
        self.tell_agent(MessageType::PausePublication);
        self.pause_over_at = self.starts_publication.then_some(self.now.mono + ms(2000));
    }

    fn tell_agent(&mut self, kind: MessageType) {
        let frame = service(kind, &mut self.rng, b"");
        let _ = self.agent.handle_message(WsMessage::Binary(frame), self.now);
    }

    /// A service message to the client.
    pub(crate) fn tell_client(&mut self, kind: MessageType, body: &[u8]) {
        let frame = service(kind, &mut self.rng, body);
        self.client.handle_message(WsMessage::Binary(frame), self.now).expect("service messages are legal");
    }

    /// Runs until `done`, at most `limit` of virtual time.
    pub(crate) fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) {
        let deadline = self.now.mono + limit;
        loop {
            self.settle();
            if done(self) {
                return;
            }
            let next = self.next_instant().filter(|at| *at <= deadline);
            let Some(next) = next else {
                panic!("not done after {limit:?}: {}", self.describe());
            };
            self.advance_to(next);
        }
    }

    /// Runs for `time`, whatever happens.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now.mono + time;
        loop {
            self.settle();
            match self.next_instant().filter(|at| *at <= end) {
                Some(next) => self.advance_to(next),
                None => break,
            }
        }
        self.advance_to(end);
        self.settle();
    }

    pub(crate) fn run_until_up(&mut self) {
        self.run_until(Duration::from_secs(60), |pair| pair.client.is_up());
    }

    pub(crate) fn all_done(&self) -> bool {
        self.local.values().all(LocalApp::is_done)
    }

    pub(crate) fn seen(&self, wanted: impl Fn(&SessionEvent) -> bool) -> bool {
        self.events.iter().any(|(_, event)| wanted(event))
    }

    /// Hands the client one message, without asking it what it makes of it; answers whether there was one.
    pub(crate) fn next_message_to_client(&mut self) -> bool {
        let Some(at) = self.down.next_arrival() else { return false };
        self.now = self.now.after(at.saturating_duration_since(self.now.mono));
        let Some(frame) = self.down.arrived(self.now.mono) else { return false };
        self.client.handle_message(WsMessage::Binary(frame), self.now).expect("the agent keeps the rules");
        true
    }

    /// Streams that the agent was asked to connect, by its own ids.
    pub(crate) fn dialled(&self) -> Vec<StreamId> {
        let dial =
            |event: &AgentEvent| if let AgentEvent::Dial(stream) = event { Some(*stream) } else { None };
        self.agent_events.iter().filter_map(|(_, event)| dial(event)).collect()
    }

    pub(crate) fn resets(&self) -> Vec<(StreamId, ResetReason)> {
        let reset = |event: &SessionEvent| match event {
            SessionEvent::Reset { stream, reason } => Some((*stream, *reason)),
            _ => None,
        };
        self.events.iter().filter_map(|(_, event)| reset(event)).collect()
    }

    pub(crate) fn describe(&self) -> String {
        let open: Vec<_> = self.local.values().filter(|app| !app.is_done()).collect();
        format!(
            "at {:?}, open {open:?}\nclient {:?}\nagent {:?}",
            self.elapsed(),
            self.client.statistics(),
            self.agent.statistics()
        )
    }

    fn advance_to(&mut self, at: Instant) {
        assert!(at >= self.now.mono, "time goes forward");
        self.now = self.now.after(at - self.now.mono);
        if self.client_back_at.is_some_and(|back| back <= at) {
            self.client_back_at = None;
            self.client.handle_connected(&Token::new("resumed"), self.now);
            if self.starts_publication {
                self.tell_agent(MessageType::StartPublication);
            }
        }
        if self.agent_back_at.is_some_and(|back| back <= at) {
            self.agent_back_at = None;
            self.agent.handle_connected(&Token::new("resumed"), self.now);
        }
        if self.pause_over_at.is_some_and(|over| over <= at) {
            self.pause_over_at = None;
            self.tell_agent(MessageType::StartPublication);
        }
        self.client.handle_timeout(self.now);
        self.agent.handle_timeout(self.now);
    }

    fn next_instant(&mut self) -> Option<Instant> {
        let now = self.now.mono;
        let client = match self.client.poll_event(self.now) {
            Output::Timeout(at) => at,
            Output::Event(_) | Output::Send(_) => panic!("settled"),
        };
        let agent = match self.agent.poll_event(self.now) {
            Output::Timeout(at) => at,
            Output::Event(_) | Output::Send(_) => panic!("settled"),
        };
        let arrivals = [
            self.up.next_arrival().filter(|_| self.agent.wants_input()),
            self.down.next_arrival().filter(|_| self.client.wants_input()),
        ];
        let sockets = [self.up.full_until(now), self.down.full_until(now)];
        let others = [client, agent, self.client_back_at, self.agent_back_at, self.pause_over_at];
        let pong = [self.pongs.first().copied()];
        arrivals.into_iter().chain(sockets).chain(others).chain(pong).flatten().min().map(|at| at.max(now))
    }

    /// Delivers what has arrived and drains both sides until nothing happens any more at this instant.
    fn settle(&mut self) {
        for _ in 0..LIVELOCK {
            let busy = self.deliver() | self.drain_client() | self.drain_agent();
            if !busy {
                return;
            }
        }
        panic!("livelock: {}", self.describe());
    }

    fn deliver(&mut self) -> bool {
        let mut busy = false;
        let now = self.now;
        if self.pongs.first().is_some_and(|at| *at <= now.mono) {
            self.pongs.remove(0);
            self.client.handle_message(WsMessage::Pong(Bytes::new()), now).expect("a pong is legal");
            busy = true;
        }
        if self.client_back_at.is_none()
            && self.client.wants_input()
            && let Some(frame) = self.down.arrived(now.mono)
        {
            let message = Message::decode(frame.clone()).expect("the agent's messages are legal");
            if message.message_type == MessageType::OutputStreamData {
                self.received.push((self.elapsed(), message.sequence_number));
            }
            self.client.handle_message(WsMessage::Binary(frame), now).expect("the agent keeps the rules");
            busy = true;
        }
        if self.agent_back_at.is_none()
            && self.agent.wants_input()
            && let Some(frame) = self.up.arrived(now.mono)
        {
            self.agent.handle_message(WsMessage::Binary(frame), now).expect("the client keeps the rules");
            busy = true;
        }
        busy
    }

    fn drain_client(&mut self) -> bool {
        let mut busy = false;
        for _ in 0..LIVELOCK {
            let full = self.up.full_until(self.now.mono).is_some() || self.up.is_blocked(self.now.mono);
            let output =
                if full { self.client.poll_event(self.now) } else { self.client.poll_output(self.now) };
            match output {
                Output::Send(message) => self.client_sends(message),
                Output::Event(event) => self.client_says(event),
                Output::Timeout(at) => {
                    assert!(at.is_none_or(|at| at > self.now.mono), "a timeout that is over already");
                    return busy;
                }
            }
            busy = true;
        }
        panic!("client spins: {}", self.describe());
    }

    fn client_sends(&mut self, message: WsMessage) {
        match message {
            WsMessage::Binary(frame) => {
                let message = Message::decode(frame.clone()).expect("our own messages are legal");
                assert!(message.digest_matches());
                assert!(!message.payload.is_empty(), "never an empty payload");
                let large = self.largest_payload.is_some_and(|largest| message.payload.len() > largest);
                self.sent.push((self.elapsed(), message));
                if large {
                    self.drop_client(ms(50));
                } else if self.agent_back_at.is_none() {
                    self.up.send(&frame, self.now.mono);
                }
            }
            WsMessage::Ping(_) => {
                self.pings += 1;
                if !self.mute_pongs {
                    self.pongs.push(self.now.mono + self.up.faults.delay);
                }
            }
            WsMessage::Text(_) | WsMessage::Pong(_) => {}
        }
    }

    fn client_says(&mut self, event: SessionEvent) {
        let now = self.now;
        if let Some(stream) = event.stream()
            && let Some(app) = self.local.get_mut(&stream)
        {
            match &event {
                SessionEvent::Readable(_) if self.reads => app.read(stream, &mut self.client, now),
                SessionEvent::Writable(_) => app.write(stream, &mut self.client, now),
                SessionEvent::RemoteFinished(_) => app.finished = true,
                SessionEvent::Closed(_) => app.closed = true,
                _ => {}
            }
        }
        self.events.push((self.elapsed(), event));
    }

    fn drain_agent(&mut self) -> bool {
        let mut busy = false;
        for _ in 0..LIVELOCK {
            let full = self.down.full_until(self.now.mono).is_some() || self.down.is_blocked(self.now.mono);
            let output =
                if full { self.agent.poll_event(self.now) } else { self.agent.poll_output(self.now) };
            match output {
                Output::Send(WsMessage::Binary(frame)) => self.agent_sends(&frame),
                Output::Send(WsMessage::Ping(_)) => {
                    let pong = WsMessage::Pong(Bytes::new());
                    self.agent.handle_message(pong, self.now).expect("a pong is legal");
                }
                Output::Send(WsMessage::Text(_) | WsMessage::Pong(_)) => {}
                Output::Event(event) => self.agent_says(event),
                Output::Timeout(at) => {
                    assert!(at.is_none_or(|at| at > self.now.mono), "a timeout that is over already");
                    return busy;
                }
            }
            busy = true;
        }
        panic!("agent spins: {}", self.describe());
    }

    fn agent_sends(&mut self, frame: &Bytes) {
        let message = Message::decode(frame.clone()).expect("our own messages are legal");
        let relayed = message.message_type != MessageType::AgentSessionState;
        if relayed && self.client.is_connected() {
            self.down.send(frame, self.now.mono);
        }
    }

    fn agent_says(&mut self, event: AgentEvent) {
        let now = self.now;
        match &event {
            AgentEvent::Dial(stream) if self.dials => {
                self.remote.insert(*stream, RemoteApp::default());
                self.agent.dial_succeeded(*stream, now);
            }
            AgentEvent::Readable(stream) => {
                if let Some(app) = self.remote.get_mut(stream) {
                    app.read(*stream, &mut self.agent, now);
                }
            }
            AgentEvent::Writable(stream) => {
                if let Some(app) = self.remote.get_mut(stream) {
                    app.write(*stream, &mut self.agent, now);
                }
            }
            _ => {}
        }
        self.agent_events.push((self.elapsed(), event));
    }
}

fn service(kind: MessageType, rng: &mut Rng, body: &[u8]) -> Bytes {
    let id = uuid::Uuid::from_u128(u128::from(rng.next()));
    Message::service(kind, PayloadType::None, id, 1, body).encode()
}
