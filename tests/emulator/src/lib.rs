//! AWS in a box: the Session Manager API, the message gateway and an agent with multiplexed port sessions, in one
//! process on loopback, plain or with TLS from a certificate authority of its own.
//!
//! Start with [`Emulator::start`]; what goes wrong on the way is ordered with [`Emulator::inject`], and everything that
//! happened is counted ([`Counters`]), so that a test waits for an event and never for time.
//!
//! ```text
//!   client --HTTP--> api ----.            .--- control (HTTP JSON: injections, counters)
//!          --WebSocket--> gateway <-> lines (faults per frame) <-> agent --TCP--> hosts "in the VPC"
//!          --HTTP--> sign_in (token service, portal), STS at the API's address; metadata at its own
//! ```
//!
//! Credentials come from everywhere that AWS gives them: a login at a portal of IAM Identity Center (`sign_in`), roles
//! (`api::sts`), the metadata services of an instance and of a container (`metadata`). All of them are keys of one
//! keyring, which every API checks.
//!
//! The data-channel protocol itself is not here: the agent drives `ssm_session::AgentSession`, the gateway relays
//! whole messages and looks at their headers only to count them.
//!
//! Reading order: `config`, `inject`, `world` (what all parts share), `api`, `gateway`, `agent`, `sign_in`, `metadata`,
//! `emulator`.

mod agent;
mod api;
mod clock;
mod config;
mod control;
mod counters;
mod credentials;
mod emulator;
mod gateway;
mod hosts;
mod inject;
mod metadata;
mod proxy;
mod sign_in;
mod sigv4;
mod tasks;
mod tls;
mod trouble;
mod world;

pub use config::{AgentHabits, Config, Container, Instance, Role};
pub use counters::{Counter, Counters, Snapshot, WaitError};
pub use credentials::AccessKey;
pub use emulator::{Emulator, StartError};
pub use gateway::session::SessionInfo;
pub use inject::{Corruption, Direction, FrameKind, Injection, LineFaults, ResumeAnswer};
pub use sign_in::{
    Account, Consent, Issued, Lifetimes, Portal, RefreshAttempt, RefreshOutcome, Rotation, SignInHabits,
    SignInOrder,
};
pub use trouble::{Operation, Trouble};
