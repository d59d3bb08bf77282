//! The SSM Session Manager data channel, sans-IO: the client's half, and with the feature `agent` the agent's.
//!
//! A port session forwards TCP connections through AWS's message gateway to an agent on the target. Client and agent
//! never talk directly; each has a WebSocket to the gateway, and everything reliable happens between the two ends:
//! numbered messages, acknowledgements, retransmission. Inside the numbered messages runs a multiplexer ([`smux`]).
//!
//! This crate has no sockets, no clock, no entropy, no async. Bytes and time are arguments; randomness is a seed.
//!
//! # Contract
//!
//! 1. Make **one mutation**: any `handle_*`, or a stream call.
//! 2. **Drain** [`PortSession::poll_output`] until it answers [`Output::Timeout`], as long as the WebSocket takes
//!    messages; while it does not, drain [`PortSession::poll_event`] instead. What `poll_output` hands out counts as
//!    sent at that moment, so pulling ahead of the socket would only make a queue that nobody controls.
//! 3. Call [`PortSession::handle_timeout`] at that time if nothing happened before, and drain again.
//! 4. `now` never goes backwards.
//! 5. Read the WebSocket only while [`PortSession::wants_input`].
//!
//! # A session's life
//!
//! `new`, [`handle_connected`](PortSession::handle_connected), messages, [`SessionEvent::HandshakeComplete`],
//! [`SessionEvent::Up`], streams, [`SessionEvent::Ended`]. When the WebSocket breaks:
//! [`handle_disconnected`](PortSession::handle_disconnected), ResumeSession, `handle_connected` with the new token on
//! the **same** value. Numbers, unacknowledged messages and streams survive; the local connections never notice.
//! After a [`ProtocolError`] or `Ended` only a new session helps.
//!
//! # Better than the official client, on purpose
//!
//! Every duplicate is acknowledged again. Every overdue message is resent, with back-off, not one per 100 ms. A byte
//! window stops the sender instead of evicting the oldest message. Pauses and pongs are honoured. A payload of one LF
//! stays an LF. A local half-close is not turned into a full close. Each of these has a test named `official_bug_*`.
//!
//! Read next: [`message`] for the bytes, `channel` for reliability, `session` for the machine.

#[cfg(feature = "agent")]
mod agent;
mod channel;
mod config;
mod digest;
mod error;
mod event;
#[doc(hidden)]
pub mod fuzz;
mod handshake;
mod ids;
pub mod kind;
pub mod message;
pub mod payload;
mod rtt;
mod session;
mod statistics;
mod time;
mod transport;
mod version;

#[cfg(feature = "agent")]
pub use agent::{AgentConfig, AgentEnd, AgentEvent, AgentSession, Habits};
pub use channel::Resend;
pub use config::{Config, MAX_PAYLOAD, MessageRate, SAFE_PAYLOAD};
pub use error::{OpenError, ProtocolError, WriteError};
pub use event::{Backlog, HandshakeStep, Output, ResetReason, SessionEnd, SessionEvent, StreamId};
pub use kind::{Flag, MessageType, PayloadType};
pub use message::{DecodeError, Message};
pub use rtt::RttEstimator;
pub use session::PortSession;
pub use statistics::{Counters, Statistics, StreamStatistics};
pub use time::Now;
pub use transport::{SecretText, Token, WsMessage};
pub use version::{CLIENT_VERSION, Version};
