//! A multiplexed port session, client role: the machine that everything else in this crate serves.
//!
//! It lives as long as the SSM session, across any number of WebSocket connections: `handle_disconnected` and
//! `handle_connected` on the same value are a resume. It sends nothing by itself: the driver pulls with
//! [`PortSession::poll_output`] while its WebSocket has room, so that new data is framed as late as possible and a
//! new connection's first byte overtakes what a bulk upload has waiting.

mod crowding;
mod dialling;
mod ends;
mod half_closed;
mod liveness;
mod output;
mod payload_size;
mod receive;
mod rest;
mod silence;
mod streams;

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use uuid::Uuid;

pub(crate) use self::liveness::Liveness;
pub(crate) use self::payload_size::NOP;
use self::payload_size::{Consequence, PayloadSize};
use self::rest::Rest;
use self::silence::Silence;
use self::streams::Streams;
use crate::channel::{Channel, Manners, RateBucket, Resend};
use crate::config::{Config, MessageRate, SAFE_PAYLOAD};
use crate::error::{OpenError, WriteError};
use crate::event::{SessionEnd, SessionEvent, StreamId};
use crate::kind::{MessageType, PayloadType};
use crate::payload::{OpenClient, to_json};
use crate::statistics::{Statistics, StreamStatistics};
use crate::time::Now;
use crate::transport::{SecretText, Token};
use crate::version::Version;

/// Where the session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// Before the agent's first message.
    AwaitRequest,
    /// It was answered.
    AwaitComplete,
    /// The session cannot be; the answer that says so must still leave.
    Refusing(SessionEnd),
    /// The handshake is complete; the NOP of this number (once sent) must be acknowledged.
    AwaitReady { probe: Option<i64> },
    /// Streams flow.
    Up,
    /// The terminate flag of this number (once sent) must be acknowledged before the deadline.
    Terminating { flag: Option<i64>, deadline: Instant },
    /// Over; nothing moves any more.
    Over,
}

/// A numbered message that is not multiplexer data.
#[derive(Debug)]
struct Control {
    payload_type: PayloadType,
    payload: Bytes,
}

/// The client's side of one SSM port session. See the crate documentation for the calling contract.
#[derive(Debug)]
pub struct PortSession {
    config: Config,
    client_id: Uuid,
    phase: Phase,
    connected: bool,
    connections: u32,
    channel: Channel,
    streams: Streams,
    payload: PayloadSize,
    liveness: Liveness,
    rest: Rest,
    silence: Silence,
    agent_version: Option<Version>,
    /// To be sent before anything else on this connection.
    greeting: Option<SecretText>,
    controls: VecDeque<Control>,
    events: VecDeque<SessionEvent>,
    /// When the current step of the handshake gives up.
    step_deadline: Option<Instant>,
    /// The agent was reported as stalled.
    stalled: bool,
    /// The agent was reported as what a download waits for.
    resends_slowly: bool,
}

impl PortSession {
    /// A session that has a token but no connection yet. `seed` must come from a secure random source and be used
    /// once: message ids and the client id follow from it.
    #[must_use]
    pub fn new(config: Config, now: Now, seed: [u8; 32]) -> Self {
        let manners = Manners {
            sends: MessageType::InputStreamData,
            resend: Resend::AllOverdue,
            bucket: config.message_rate.map(|rate| RateBucket::new(rate, now.mono)),
            windowed: true,
            most_unacknowledged: config.message_rate.map_or(usize::MAX, MessageRate::most_unacknowledged),
            first_flags: 0,
            checks_digest: true,
            pause_expires: true,
            acks_may_wait: true,
        };
        let mut channel = Channel::new(manners, seed, now.mono);
        Self {
            client_id: channel.new_id(),
            phase: Phase::AwaitRequest,
            connected: false,
            connections: 0,
            channel,
            streams: Streams::new(&config),
            payload: PayloadSize::new(config.target_payload()),
            liveness: Liveness::new(config.ping_interval, config.pong_timeout),
            rest: Rest::default(),
            silence: Silence::default(),
            agent_version: None,
            greeting: None,
            controls: VecDeque::new(),
            events: VecDeque::new(),
            step_deadline: None,
            stalled: false,
            resends_slowly: false,
            config,
        }
    }

    /// A WebSocket is open, with the token of StartSession (first time) or of the latest ResumeSession.
    pub fn handle_connected(&mut self, token: &Token, now: Now) {
        if self.is_over() {
            return;
        }
        let open = OpenClient {
            message_schema_version: "1.0",
            request_id: self.channel.new_id(),
            token_value: token.expose(),
            client_id: self.client_id,
            client_version: &self.config.client_version,
        };
        self.greeting = Some(SecretText::from_json(to_json(&open)));
        self.connected = true;
        self.connections += 1;
        self.liveness.connected(now.mono);
        self.streams.connected(now.mono);
        if self.connections > 1 {
            self.channel.reconnected(now.mono);
        }
        if self.is_shaking_hands() {
            self.step_deadline = Some(now.mono + self.config.handshake_timeout);
        }
    }

    /// The WebSocket is gone, for whatever reason.
    pub fn handle_disconnected(&mut self, now: Now) {
        if !self.connected || self.is_over() {
            return;
        }
        self.connected = false;
        self.rest = Rest::default();
        self.greeting = None;
        self.step_deadline = None;
        self.liveness.disconnected();
        self.streams.disconnected();
        match self.phase.clone() {
            Phase::Terminating { .. } => self.end(SessionEnd::UserTerminated { confirmed: false }),
            Phase::Refusing(end) => self.end(end),
            Phase::AwaitRequest
            | Phase::AwaitComplete
            | Phase::AwaitReady { .. }
            | Phase::Up
            | Phase::Over => {
                self.judge_payload_size(now);
            }
        }
    }

    /// The WebSocket may have died without a word, because the machine slept or its network changed: a ping leaves at once,
    /// and [`SessionEvent::ChannelDead`] follows within seconds if nothing comes back. One that works is not disturbed.
    pub fn verify(&mut self, now: Now) {
        self.liveness.verify(now.mono);
    }

    /// The agent may be gone although the gateway answers pings: it is asked with a message that says nothing. If that stays
    /// unacknowledged, [`SessionEvent::AgentStalled`] follows. Nothing happens while the session is not up.
    pub fn ask_agent(&mut self, now: Now) {
        self.rest.spoke(now.mono);
        self.ask(now.mono);
    }

    /// Opens a stream. It may be written at once; it reaches the agent when the session is up and the agent is not
    /// busy connecting too many others.
    ///
    /// # Errors
    /// The session is over or ending.
    pub fn open(&mut self, now: Now) -> Result<StreamId, OpenError> {
        if matches!(self.phase, Phase::Over | Phase::Terminating { .. } | Phase::Refusing(_)) {
            return Err(OpenError::SessionOver);
        }
        self.rest.spoke(now.mono);
        self.streams.open(now.mono)
    }

    /// Takes as much of `data` as fits the stream's buffer and cuts that off its front; answers how much. After less
    /// than everything, [`SessionEvent::Writable`] follows.
    ///
    /// # Errors
    /// The stream takes no data any more.
    pub fn write(&mut self, stream: StreamId, data: &mut Bytes, now: Now) -> Result<usize, WriteError> {
        self.rest.spoke(now.mono);
        self.streams.write(stream, data, self.config.send_buffer, now.mono)
    }

    /// The next received bytes of a stream. `None`: nothing now, [`SessionEvent::Readable`] follows when there is.
    pub fn read(&mut self, stream: StreamId, now: Now) -> Option<Bytes> {
        self.streams.read(stream, now.mono)
    }

    /// The local application will write no more. The agent is told only when no answer can be expected any longer:
    /// its own FIN came, or nothing arrived for [`Config::half_close_grace`].
    pub fn finish(&mut self, stream: StreamId, now: Now) {
        self.streams.finish(stream, now.mono);
        self.judge_silence(now.mono);
    }

    /// The local connection is gone both ways. Everything unsent and unread is dropped; no event follows.
    pub fn abort(&mut self, stream: StreamId, now: Now) {
        self.streams.abort(stream, now.mono);
    }

    /// Whether the WebSocket should be read. False while enough received bytes are unread: not reading is what slows
    /// the agent down. Input handed in nevertheless is processed.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.channel.wants_input() && self.streams.wants_input()
    }

    /// All input that there was has been handed in: whether the WebSocket may be left alone until
    /// [`PortSession::rests_until`], because there is something to be gained by that. In a bulk download from an agent that
    /// pauses after each message, a few of them are cheaper to take together. What came so far is acknowledged at once.
    pub fn rest(&mut self, now: Now) -> bool {
        let rests = self.rest.begin(self.channel.inbox.acks.in_bulk(), now.mono);
        if rests {
            self.channel.release_acks();
        }
        rests
    }

    /// When a rest that [`PortSession::rest`] began is over. Whatever a local application says ends it before.
    #[must_use]
    pub fn rests_until(&self) -> Option<Instant> {
        self.rest.until()
    }

    /// Bounds what this session keeps unread further than [`Config::session_buffer`] does, until the next call: for an
    /// owner whose sessions share memory. Below the bound nothing changes; at it, see `wants_input`.
    pub fn limit_unread(&mut self, bytes: usize, now: Now) {
        self.streams.limit_unread(bytes.min(self.config.session_buffer), now.mono);
    }

    /// Received bytes that no reader has taken yet: what [`PortSession::limit_unread`] bounds.
    #[must_use]
    pub fn unread_bytes(&self) -> usize {
        self.streams.unread()
    }

    /// Bytes of messages that came before their turn, headers included.
    #[must_use]
    pub fn early_bytes(&self) -> usize {
        self.channel.inbox.early().1
    }

    /// Up and not ending.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.phase == Phase::Up
    }

    /// [`SessionEvent::Ended`] was produced, or the peer broke the protocol.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Between `handle_connected` and `handle_disconnected`.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// What the agent announced, once it did.
    #[must_use]
    pub fn agent_version(&self) -> Option<&Version> {
        self.agent_version.as_ref()
    }

    /// Bytes per message now: 1024, or the configured size once the path has proven to take it.
    #[must_use]
    pub fn payload_size(&self) -> usize {
        self.payload.current()
    }

    /// Open streams, those held back included.
    #[must_use]
    pub fn stream_count(&self) -> usize {
        self.streams.count()
    }

    /// Figures of the session.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let streams = (self.streams.unread(), self.streams.count());
        self.channel.statistics(streams, self.connections)
    }

    /// Figures of one stream; `None` when it is gone.
    #[must_use]
    pub fn stream_statistics(&self, stream: StreamId) -> Option<StreamStatistics> {
        self.streams.statistics(stream)
    }

    fn is_shaking_hands(&self) -> bool {
        matches!(self.phase, Phase::AwaitRequest | Phase::AwaitComplete | Phase::AwaitReady { .. })
    }

    fn judge_payload_size(&mut self, now: Now) {
        let outbox = self.channel.outbox();
        let probe = match self.payload.disconnected(|number| outbox.last_sent(number), now.mono) {
            Consequence::Unrelated => None,
            Consequence::Withdraw(number) => Some(number),
            Consequence::GiveUp(probe) => {
                self.events.push_back(SessionEvent::PayloadReduced { limit: SAFE_PAYLOAD });
                probe
            }
        };
        if let Some(number) = probe {
            self.channel.replace(number, PayloadType::Output, &NOP, now);
        }
    }
}
