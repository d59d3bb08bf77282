//! A multiplexed port session, agent role: answers as amazon-ssm-agent does, with its habits as settings.
//!
//! For emulators and for tests of the client. It owns no connection to the destination: [`AgentEvent::Dial`] asks for
//! one, the owner answers with [`AgentSession::dial_succeeded`] or [`AgentSession::dial_failed`] and moves the bytes.
//! The calling contract is that of [`crate::PortSession`].

mod config;
mod destinations;
mod output;
mod receive;

use std::collections::VecDeque;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

pub use self::config::{AgentConfig, AgentEnd, AgentEvent, Habits};
use self::destinations::Destinations;
use crate::channel::{Channel, Manners, RateBucket};
use crate::error::WriteError;
use crate::event::StreamId;
use crate::kind::{Flag, MessageType, PayloadType};
use crate::message::FLAG_SYN;
use crate::payload::{AgentSessionState, OpenAgent, to_json};
use crate::session::Liveness;
use crate::statistics::Statistics;
use crate::time::Now;
use crate::transport::{SecretText, Token};

/// Where the session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// Until the client's answer; the request leaves with the first connection.
    AwaitResponse { deadline: Option<Instant> },
    /// Handshake complete; stream messages are ignored without acknowledgement until then.
    NotReady { until: Instant },
    /// Streams flow.
    Ready,
    /// Over as soon as everything is acknowledged, or at the deadline.
    Draining { end: AgentEnd, deadline: Instant },
    /// Over.
    Over,
}

/// The agent's side of one SSM port session.
#[derive(Debug)]
pub struct AgentSession {
    config: AgentConfig,
    phase: Phase,
    connected: bool,
    connections: u32,
    channel: Channel,
    destinations: Destinations,
    liveness: Liveness,
    /// Spaces stream data out.
    pacer: Option<RateBucket>,
    /// Multiplexer bytes cut into messages without regard to frames.
    staged: BytesMut,
    greeting: Option<SecretText>,
    /// Service messages to send, not numbered.
    services: VecDeque<Bytes>,
    /// Numbered messages that are not stream data.
    controls: VecDeque<(PayloadType, Bytes)>,
    events: VecDeque<AgentEvent>,
    requested_at: Option<Instant>,
}

impl AgentSession {
    /// An agent that was told to start a session and has no connection yet.
    #[must_use]
    pub fn new(config: AgentConfig, now: Now, seed: [u8; 32]) -> Self {
        let manners = Manners {
            sends: MessageType::OutputStreamData,
            resend: config.habits.resend,
            bucket: None,
            windowed: false,
            most_unacknowledged: usize::MAX,
            first_flags: FLAG_SYN,
            checks_digest: false,
            pause_expires: false,
            acks_may_wait: false,
        };
        Self {
            phase: Phase::AwaitResponse { deadline: None },
            connected: false,
            connections: 0,
            channel: Channel::new(manners, seed, now.mono),
            destinations: Destinations::default(),
            liveness: Liveness::new(config.ping_interval, config.pong_timeout),
            pacer: config.habits.pacing.map(|gap| RateBucket::paced(gap, now.mono)),
            staged: BytesMut::new(),
            greeting: None,
            services: VecDeque::new(),
            controls: VecDeque::new(),
            events: VecDeque::new(),
            requested_at: None,
            config,
        }
    }

    /// A WebSocket is open.
    pub fn handle_connected(&mut self, token: &Token, now: Now) {
        if self.is_over() {
            return;
        }
        let open = OpenAgent {
            message_schema_version: "1.0",
            request_id: self.channel.new_id(),
            token_value: token.expose(),
            client_instance_id: &self.config.instance_id,
            client_id: "",
        };
        self.greeting = Some(SecretText::from_json(to_json(&open)));
        self.connected = true;
        self.connections += 1;
        self.liveness.connected(now.mono + self.config.ping_interval);
        if self.connections == 1 {
            self.announce(now);
        } else {
            self.channel.reconnected(now.mono);
        }
    }

    /// The WebSocket is gone.
    pub fn handle_disconnected(&mut self, _now: Now) {
        self.connected = false;
        self.greeting = None;
        self.liveness.disconnected();
    }

    /// The connection that [`AgentEvent::Dial`] asked for exists.
    pub fn dial_succeeded(&mut self, stream: StreamId, _now: Now) {
        self.destinations.dial_succeeded(stream);
    }

    /// It does not: the client is told with a flag that names no stream, then with a FIN.
    pub fn dial_failed(&mut self, stream: StreamId, _now: Now) {
        if self.destinations.is_dialling(stream) {
            self.control(PayloadType::Flag, &Flag::ConnectToPortError.encode());
            self.destinations.dial_failed(stream);
        }
    }

    /// Takes as much of `data` as fits the stream's buffer; [`AgentEvent::Writable`] follows after less than
    /// everything.
    ///
    /// # Errors
    /// The stream takes no data any more.
    pub fn write(&mut self, stream: StreamId, data: &mut Bytes, _now: Now) -> Result<usize, WriteError> {
        self.destinations.write(stream, data)
    }

    /// The next bytes for the destination. `None`: nothing now, [`AgentEvent::Readable`] follows when there is.
    pub fn read(&mut self, stream: StreamId, _now: Now) -> Option<Bytes> {
        self.destinations.read(stream)
    }

    /// The destination closed: its data is sent, then FIN, and what the client still sends is dropped.
    pub fn finish(&mut self, stream: StreamId, _now: Now) {
        self.destinations.finish(stream);
    }

    /// The destination broke: FIN at once. No event follows.
    pub fn abort(&mut self, stream: StreamId, _now: Now) {
        self.destinations.abort(stream);
    }

    /// The session fails with this text (an unresolvable or forbidden host): nothing more is acknowledged, what was
    /// sent is drained, then [`AgentEvent::Ended`]. The gateway's owner puts the text into `channel_closed`.
    pub fn fail(&mut self, output: impl Into<String>, now: Now) {
        self.drain(AgentEnd::Failed { output: output.into() }, now);
    }

    /// Whether the WebSocket should be read: false while destinations have not taken 4 MiB.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.channel.wants_input() && self.destinations.wants_input()
    }

    /// The gateway asked for silence, and nothing has lifted it yet.
    #[must_use]
    pub fn is_paused(&self, now: Now) -> bool {
        self.channel.is_paused(now.mono)
    }

    /// [`AgentEvent::Ended`] was produced, or the client broke the protocol.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Figures of the session.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.channel.statistics((self.destinations.unread(), self.destinations.count()), self.connections)
    }

    /// Time has come to `now`; calling it early or late does no harm.
    pub fn handle_timeout(&mut self, now: Now) {
        self.destinations.handle_timeout(now.mono);
        match self.phase {
            Phase::AwaitResponse { deadline: Some(at) } if at <= now.mono => {
                self.fail(config::HANDSHAKE_TIMED_OUT, now);
            }
            Phase::NotReady { until } if until <= now.mono => {
                self.phase = Phase::Ready;
                self.events.push_back(AgentEvent::Ready);
            }
            Phase::Draining { deadline, .. } if deadline <= now.mono => self.end(),
            Phase::AwaitResponse { .. }
            | Phase::NotReady { .. }
            | Phase::Ready
            | Phase::Draining { .. }
            | Phase::Over => {}
        }
        if self.connected && self.liveness.is_dead(self.wants_input(), now.mono) {
            self.events.push_back(AgentEvent::ChannelDead);
        }
    }

    /// The first words of the first connection.
    fn announce(&mut self, now: Now) {
        let state = AgentSessionState {
            schema_version: 1,
            session_state: "Connected".to_owned(),
            session_id: self.config.session_id.clone(),
        };
        let state = self.channel.service_message(MessageType::AgentSessionState, &to_json(&state), now);
        self.services.push_back(state);
        let request = self.config.request();
        self.control(PayloadType::HandshakeRequest, &to_json(&request));
        self.requested_at = Some(now.mono);
        self.phase = Phase::AwaitResponse { deadline: Some(now.mono + self.config.handshake_timeout) };
    }

    fn control(&mut self, payload_type: PayloadType, payload: &[u8]) {
        self.controls.push_back((payload_type, Bytes::copy_from_slice(payload)));
    }

    fn drain(&mut self, end: AgentEnd, now: Now) {
        if !matches!(self.phase, Phase::Draining { .. } | Phase::Over) {
            self.phase = Phase::Draining { end, deadline: now.mono + self.config.habits.drain };
        }
    }

    fn end(&mut self) {
        if let Phase::Draining { end, .. } = std::mem::replace(&mut self.phase, Phase::Over) {
            self.destinations.clear();
            self.events.push_back(AgentEvent::Ended(end));
        }
    }
}
