//! What a client session tells its owner.

use std::fmt;
use std::time::{Duration, Instant};

use crate::WsMessage;
use crate::version::Version;

/// One forwarded connection of a session. Never reused within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub(crate) u32);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Answer of `poll_output`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<E> {
    /// Put this on the WebSocket.
    Send(WsMessage),
    /// Something the owner should know.
    Event(E),
    /// Nothing more to do before that instant; `None`: before the next input.
    Timeout(Option<Instant>),
}

/// Events of a [`crate::PortSession`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// The agent finished the handshake. The session is not proven to work yet: see [`SessionEvent::Up`].
    HandshakeComplete {
        /// What the agent announced.
        agent_version: Version,
        /// Text for the user; may be empty.
        customer_message: String,
    },
    /// A message sent after the handshake was acknowledged. Emitted once per session.
    Up,
    /// `read` will give data or the end. Repeated only after a `read` found nothing.
    Readable(StreamId),
    /// `write` takes data again after it answered less than it was given.
    Writable(StreamId),
    /// The remote closed. What was received before stays readable; nothing written from now on can arrive.
    RemoteFinished(StreamId),
    /// Both directions are over; the id is gone once its data is read.
    Closed(StreamId),
    /// The stream failed: the local connection deserves an RST. The id and its unread data are gone.
    Reset {
        /// Which.
        stream: StreamId,
        /// Why.
        reason: ResetReason,
    },
    /// The agent could not connect to the remote port. Its message names no stream; the reset of the right one
    /// follows.
    RemoteConnectFailed,
    /// Data is outstanding and nothing was acknowledged for a while.
    AgentStalled {
        /// Last sign of progress.
        since: Instant,
        /// It may be waiting for a destination that takes nothing: nobody can tell. Otherwise it is the agent's own doing.
        maybe_remote: bool,
    },
    /// The stalled agent acknowledged again.
    AgentRecovered,
    /// The service asks for silence, which it does when the agent is away, among other things. Data waits for it, though not
    /// for long.
    Paused,
    /// The service takes it back.
    Unpaused,
    /// Messages were lost, and what came after them waits for the agent, which sends only its oldest unacknowledged
    /// message again, one per 100 ms. Figures of the moment; see [`crate::PortSession::statistics`] for later ones.
    AgentResendsSlowly {
        /// Messages still to come.
        missing: u64,
        /// Bytes that wait for them.
        waiting: usize,
    },
    /// Nothing has waited like that for a while.
    AgentCaughtUp,
    /// Large payloads seem to break the connection: the rest of this session, and the next ones on the same path
    /// (`Config::payload_limit`), should use `limit`.
    PayloadReduced {
        /// Bytes per message from now on.
        limit: usize,
    },
    /// No pong in time: drop the WebSocket, call `handle_disconnected`, resume.
    ChannelDead,
    /// The session is over. Nothing follows.
    Ended(SessionEnd),
}

impl SessionEvent {
    /// The stream that it is about.
    #[must_use]
    pub fn stream(&self) -> Option<StreamId> {
        match self {
            Self::Readable(stream)
            | Self::Writable(stream)
            | Self::RemoteFinished(stream)
            | Self::Closed(stream)
            | Self::Reset { stream, .. } => Some(*stream),
            Self::HandshakeComplete { .. }
            | Self::Up
            | Self::RemoteConnectFailed
            | Self::AgentStalled { .. }
            | Self::AgentRecovered
            | Self::Paused
            | Self::Unpaused
            | Self::AgentResendsSlowly { .. }
            | Self::AgentCaughtUp
            | Self::PayloadReduced { .. }
            | Self::ChannelDead
            | Self::Ended(_) => None,
        }
    }
}

/// Why a single stream was reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetReason {
    /// The agent could not connect it.
    RefusedByRemote,
    /// Its local reader took nothing for [`crate::Config::stalled_reader_grace`] while other streams were open.
    StalledReader(Backlog),
    /// The session had reached its bound of unread bytes, another stream waited for data, and of the streams whose
    /// reader took nothing for [`crate::Config::give_way_after`] this one held the most.
    GaveWay(Backlog),
    /// The session ended under it.
    SessionEnded,
}

/// How far a local reader was behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Received bytes that it left, now dropped.
    pub unread: usize,
    /// Since it last took something.
    pub idle: Duration,
}

/// Which answer of the agent did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeStep {
    /// Its first message.
    Request,
    /// The end of the handshake.
    Complete,
    /// The acknowledgement of the first message after it.
    Ready,
}

/// How a session ended without anybody breaking the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionEnd {
    /// The service closed the channel.
    #[error("the service closed the session{}{output}", if output.is_empty() { "" } else { ": " })]
    ServiceClosed {
        /// The reason as free text; may be empty.
        output: String,
    },
    /// The agent did not answer.
    #[error(
        "the agent did not answer in time ({step:?}); it may be starting or overloaded: a new session can succeed"
    )]
    HandshakeTimeout {
        /// What was awaited.
        step: HandshakeStep,
    },
    /// The handshake asks for something a port session does not do.
    #[error("the handshake was refused: {reason}")]
    HandshakeRejected {
        /// What was asked for, and what to do.
        reason: String,
    },
    /// The agent cannot multiplex connections.
    #[error(
        "agent {agent_version} is too old to forward several connections; update it to 3.0.222.0 or later"
    )]
    AgentTooOld {
        /// What it announced.
        agent_version: Version,
    },
    /// The agent confirmed nothing for [`crate::Config::agent_lost_after`], while the gateway answered. Less was sent than it
    /// takes in for destinations that read nothing, so it is not waiting for one: it is gone, or stuck for good.
    #[error("the agent has confirmed nothing for {} s although the gateway answers", silence.as_secs())]
    AgentLost {
        /// For how long.
        silence: Duration,
    },
    /// `terminate` was called.
    #[error("ended by the user")]
    UserTerminated {
        /// Whether the agent confirmed. If not, only the TerminateSession call ends it.
        confirmed: bool,
    },
}
