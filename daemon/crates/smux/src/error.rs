//! What can go wrong, one enum per boundary.

use thiserror::Error;

use crate::{Command, StreamId};

/// The peer broke the framing. The connection cannot be used any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// First byte of a header; only version 1 is spoken.
    #[error("smux version {0}, only version 1 is supported")]
    UnsupportedVersion(u8),
    /// Second byte of a header; 4 is UPD, which belongs to version 2.
    #[error("unknown smux command {0}")]
    UnknownCommand(u8),
    /// A SYN, FIN or NOP that announces a payload: where the next frame begins is anybody's guess.
    #[error("smux {command:?} frame announces a payload of {length} bytes")]
    UnexpectedPayload {
        /// The command of that frame.
        command: Command,
        /// Its length field.
        length: u16,
    },
    /// More SYNs in one piece of input than [`crate::Config::accept_backlog`].
    #[error("more than {0} streams opened at once")]
    AcceptBacklogFull(usize),
}

/// Why no stream could be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// All ids were used (2^31 streams): a new connection is needed.
    #[error("stream ids exhausted, a new connection is needed")]
    IdsExhausted,
    /// Servers accept streams, they open none.
    #[error("only the client opens streams")]
    NotClient,
    /// The peer broke the protocol before; nothing would be received.
    #[error("the connection has failed")]
    Failed,
}

/// Why a write was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StreamError {
    /// Never opened, or closed and forgotten.
    #[error("no stream {0}")]
    Unknown(StreamId),
    /// `finish` was called before.
    #[error("stream {0} is finished on this side")]
    Finished(StreamId),
    /// The peer closed the stream and would drop the bytes. What it sent before can still be read.
    #[error("stream {0} was finished by the peer")]
    RemoteFinished(StreamId),
}

/// A [`crate::Config`] that contradicts itself or the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The peer's own sending limit is 32768, and an empty quantum would never send anything.
    #[error("frame_payload is {0} bytes, allowed are 64 to 32768")]
    FramePayload(usize),
    /// A buffer below the quantum would never fill one frame.
    #[error(
        "stream_send_buffer is {buffer} bytes, it must hold at least one frame payload of {frame_payload}"
    )]
    StreamSendBuffer {
        /// As configured.
        buffer: usize,
        /// As configured.
        frame_payload: usize,
    },
    /// Peers that expect keepalives check every 30 s; zero would never stop sending.
    #[error("keepalive is {0:?}, allowed are 1 ms to 30 s")]
    Keepalive(std::time::Duration),
    /// Not even one stream could be accepted.
    #[error("accept_backlog is 0, at least 1 is needed")]
    AcceptBacklog,
    /// A limit that one legal frame would break, or a stream allowed more than its session.
    #[error(
        "receive limits are {stream} bytes per stream and {session} per session; needed: 65535 <= stream <= session"
    )]
    ReceiveLimits {
        /// As configured.
        stream: usize,
        /// As configured.
        session: usize,
    },
}
