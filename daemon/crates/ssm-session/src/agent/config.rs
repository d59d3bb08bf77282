//! Settings, habits and events of the agent role.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::channel::Resend;
use crate::event::StreamId;
use crate::payload::{ActionParameters, HandshakeRequest, RequestedAction, SessionTypeParameters};
use crate::version::Version;

/// The agent's words when the client does not answer.
pub(super) const HANDSHAKE_TIMED_OUT: &str = "Encountered error while initiating handshake. Handshake timed out. Please ensure that you have the latest version of the session manager plugin.";
/// The agent's words when the client could not do what was asked.
pub(super) const HANDSHAKE_REFUSED: &str =
    "Encountered error while initiating handshake. Failed to process action";

/// What amazon-ssm-agent does that nothing obliges it to; each can be changed to see what a client makes of it.
#[derive(Clone, Debug)]
pub struct Habits {
    /// Multiplexer bytes per message.
    pub message_bytes: usize,
    /// Pause after each message of stream data.
    pub pacing: Option<Duration>,
    /// Which messages are sent again.
    pub resend: Resend,
    /// How long after the handshake stream messages are ignored without acknowledgement.
    pub not_ready: Duration,
    /// Longest wait for the client's acknowledgements at the end.
    pub drain: Duration,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            message_bytes: 1024,
            pacing: Some(Duration::from_millis(1)),
            resend: Resend::HeadOnly { tick: Duration::from_millis(100) },
            not_ready: Duration::from_millis(2),
            drain: Duration::from_secs(2),
        }
    }
}

/// Settings of an [`crate::AgentSession`].
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// Announced in the handshake; decides what the client believes the agent can do.
    pub agent_version: String,
    /// The target's id.
    pub instance_id: String,
    /// The session's id.
    pub session_id: String,
    /// `Port` for port forwarding.
    pub session_type: String,
    /// The document's properties, e.g. `portNumber` and `type`; `None` for shells.
    pub properties: Option<BTreeMap<String, String>>,
    /// See [`Habits`].
    pub habits: Habits,
    /// Longest wait for the client's answer.
    pub handshake_timeout: Duration,
    /// Interval of WebSocket pings, the first after one interval.
    pub ping_interval: Duration,
    /// Silence after a ping that means the connection is dead.
    pub pong_timeout: Duration,
    /// Bytes that destinations may leave untaken over all streams before nothing is read any more. At least 64 KiB.
    pub receive_buffer: usize,
    /// Bytes taken from one destination before `write` answers 0. At least 32 KiB.
    pub send_buffer: usize,
}

impl Default for AgentConfig {
    fn default() -> Self {
        let property = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Self {
            agent_version: "3.3.1142.0".to_owned(),
            instance_id: "i-0123456789abcdef0".to_owned(),
            session_id: "session".to_owned(),
            session_type: "Port".to_owned(),
            properties: Some(BTreeMap::from([
                property("localPortNumber", "0"),
                property("portNumber", "80"),
                property("type", "LocalPortForwarding"),
            ])),
            habits: Habits::default(),
            handshake_timeout: Duration::from_secs(15),
            ping_interval: Duration::from_secs(54),
            pong_timeout: Duration::from_secs(60),
            receive_buffer: 4 << 20,
            send_buffer: 64 << 10,
        }
    }
}

impl AgentConfig {
    pub(super) fn request(&self) -> HandshakeRequest {
        let properties = self.properties.as_ref().map(|properties| {
            properties.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect()
        });
        let session = SessionTypeParameters { session_type: self.session_type.clone(), properties };
        HandshakeRequest {
            agent_version: self.agent_version.clone(),
            requested_client_actions: vec![RequestedAction {
                action_type: "SessionType".to_owned(),
                action_parameters: ActionParameters::SessionType(session),
            }],
        }
    }

    /// Whether this agent and that client both choose the multiplexer; there is no field for it.
    pub(super) fn multiplexes(&self, client: &Version) -> bool {
        let local = self
            .properties
            .as_ref()
            .is_some_and(|p| p.get("type").is_some_and(|kind| kind == "LocalPortForwarding"));
        local && client.reaches([1, 1, 70, 0]) && Version::new(self.agent_version.as_str()).multiplexes()
    }
}

/// Events of an [`crate::AgentSession`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentEvent {
    /// The client answered the handshake.
    HandshakeComplete {
        /// What it announced.
        client_version: Version,
    },
    /// Stream messages are processed from now on.
    Ready,
    /// Connect to the destination. The next one is asked for only after the answer, as the agent dials serially.
    Dial(StreamId),
    /// `read` will give data.
    Readable(StreamId),
    /// `write` takes data again.
    Writable(StreamId),
    /// The client closed and all its data was read: close the destination both ways. The session answers with FIN.
    PeerFinished(StreamId),
    /// The stream is over.
    Closed(StreamId),
    /// The client asked for the end; [`AgentEvent::Ended`] follows after the drain.
    Terminated,
    /// No pong in time: drop the WebSocket and reconnect.
    ChannelDead,
    /// The session is over: drop the WebSocket, let the gateway send `channel_closed`.
    Ended(AgentEnd),
}

impl AgentEvent {
    /// The stream that it is about.
    #[must_use]
    pub fn stream(&self) -> Option<StreamId> {
        match self {
            Self::Dial(stream)
            | Self::Readable(stream)
            | Self::Writable(stream)
            | Self::PeerFinished(stream)
            | Self::Closed(stream) => Some(*stream),
            Self::HandshakeComplete { .. }
            | Self::Ready
            | Self::Terminated
            | Self::ChannelDead
            | Self::Ended(_) => None,
        }
    }
}

/// How an agent's session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentEnd {
    /// By the client's flag.
    Terminated,
    /// With a text for the user.
    Failed {
        /// To be shown.
        output: String,
    },
    /// By the service.
    ServiceClosed {
        /// Its reason; may be empty.
        output: String,
    },
}
