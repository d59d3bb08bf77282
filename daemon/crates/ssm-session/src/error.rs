//! Violations of the protocol by the peer, and wrong uses of the stream calls.

use crate::message::DecodeError;

/// The peer broke the rules: the session cannot go on. After it every call is a no-op.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A frame is not a message.
    #[error("the peer sent a malformed message")]
    Malformed(#[from] DecodeError),
    /// More messages with a wrong digest than chance explains.
    #[error("{count} messages within a minute did not match their digest")]
    Digest {
        /// How many.
        count: usize,
    },
    /// A JSON body could not be read.
    #[error("the body of a {body} is malformed")]
    Body {
        /// Which body.
        body: &'static str,
    },
    /// A payload that has no place at this point of the session.
    #[error("unexpected {payload} {when}")]
    Unexpected {
        /// Which payload.
        payload: &'static str,
        /// At which point.
        when: &'static str,
    },
    /// The bytes inside the data messages are not the multiplexer's.
    #[error("the multiplexer stream is broken")]
    Mux(#[source] smux::ProtocolError),
}

/// Why a stream could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The session is over or ending: start a new one.
    #[error("the session is over")]
    SessionOver,
    /// All stream ids of the session are used up: start a new one.
    #[error("the session has no stream ids left")]
    Exhausted,
}

/// Why a stream takes no data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Unknown, closed, reset or finished by ourselves.
    #[error("the stream is closed")]
    Closed,
    /// The remote closed: the agent would throw the data away.
    #[error("the remote end closed the connection")]
    RemoteFinished,
}
