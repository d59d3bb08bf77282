//! What happened to tunnels: the history that people and programs read afterwards.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::ids::{Attempt, Principal, SsmSessionId, Timestamp, TunnelId};
use crate::name::{Profile, Region, TunnelName};
use crate::sign_in::SignInName;
use crate::sign_in_event::SignInEvent;
use crate::state::Intent;
use crate::target::{ResolvedTarget, Target};
use crate::tunnel::Traffic;

/// Numbers events in the order in which they were recorded. Only ever grows, also from one daemon life to the next, and
/// may leave numbers out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventId(pub u64);

/// Something that happened. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number.
    pub id: EventId,
    /// When.
    pub at: Timestamp,
    /// The tunnel it happened to; absent when it happened to the daemon, the machine or a sign-in.
    pub subject: Option<EventSubject>,
    /// What.
    pub kind: EventKind,
}

/// The tunnel of an event, as it was then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSubject {
    /// The tunnel.
    pub tunnel: TunnelId,
    /// Its name.
    pub name: TunnelName,
    /// Its AWS profile; absent where the daemon's default was used.
    pub profile: Option<Profile>,
    /// Its AWS region, as far as it was known.
    pub region: Option<Region>,
    /// Its target.
    pub target: Target,
    /// The session that it is about, or that was in use, where there was one.
    pub session: Option<SsmSessionId>,
    /// The node that the session went through.
    pub node: Option<ResolvedTarget>,
    /// Who opened the session, where AWS had told by then.
    pub principal: Option<Principal>,
}

/// What happened. Order and names are those of the API; the form in JSON is also that of the database, and stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The daemon started.
    DaemonStarted,
    /// The daemon began to stop: what its tunnels go through from here on is its doing.
    DaemonStopping,
    /// Events were not stored, because the disk was too slow or failed.
    EventsLost {
        /// How many.
        count: u64,
    },
    /// The machine was asleep and is awake again.
    Woke {
        /// For how long it slept.
        slept: Duration,
        /// It woke for itself, for a moment; nobody was there.
        dark: bool,
    },
    /// The network changed: addresses, routes or links. A network that goes on changing is told of less and less often.
    NetworkChanged,
    /// The wall clock was set. Told of less and less often while it goes on.
    ClockJumped {
        /// By so many milliseconds; negative is back.
        by_ms: i64,
    },
    /// Something happened to a sign-in, and so to all tunnels that live on it.
    SignIn {
        /// The sign-in.
        sign_in: SignInName,
        /// What.
        event: SignInEvent,
    },
    /// The tunnel was made.
    Created,
    /// Its spec was changed.
    Changed {
        /// The fields, as the API calls them.
        fields: Vec<String>,
    },
    /// It was deleted.
    Deleted,
    /// It was asked to run or to stop.
    IntentChanged {
        /// What is wanted from now on.
        intent: Intent,
    },
    /// Its time to live (`ttl`) is over: it stops by itself.
    TtlOver,
    /// It was asked for a new session.
    Restarted,
    /// It set out for Up.
    Connecting {
        /// Number of the attempt.
        attempt: Attempt,
        /// What the connection before it broke of; absent at a start.
        fault: Option<Fault>,
    },
    /// It came up.
    Up {
        /// Number of the attempt.
        attempt: Attempt,
    },
    /// It listens without a session.
    Idle,
    /// It failed and is tried again by itself. Told once per kind of fault: further tries that fail alike are no news.
    Retrying {
        /// Number of the attempt.
        attempt: Attempt,
        /// Why.
        fault: Fault,
    },
    /// It failed in a way that only a person can mend.
    Blocked {
        /// Why, and what to do.
        fault: Fault,
    },
    /// It stopped, and nothing of it is left.
    Stopped,
    /// Of the nodes that its target stands for, one was chosen for the session that follows.
    NodeChosen {
        /// The node.
        node: ResolvedTarget,
        /// Its name, where it has one.
        name: Option<String>,
        /// How many candidates there were.
        candidates: u32,
    },
    /// A session was started.
    SessionStarted,
    /// The session got a new data channel: local connections noticed nothing.
    SessionResumed,
    /// The session ended.
    SessionEnded {
        /// What ended it; absent when the tunnel was stopped, restarted or changed.
        fault: Option<Fault>,
        /// What it carried.
        traffic: Traffic,
        /// How long it was there, from its start.
        lasted: Duration,
    },
    /// The remote end refused a connection. Told once until it takes one again.
    ConnectionRefused {
        /// The remote end.
        fault: Fault,
    },
    /// A local connection that was not read from was reset, because others waited.
    ReaderReset {
        /// Bytes and time.
        fault: Fault,
    },
    /// The agent stopped confirming what it is sent.
    AgentStalled {
        /// What it did.
        fault: Fault,
    },
    /// Larger payloads break the connection, so that smaller ones are used.
    PayloadReduced {
        /// Largest payload from now on, in bytes.
        limit: u64,
    },
    /// Something of a newer daemon, in its words.
    Unknown {
        /// One sentence.
        headline: String,
    },
}

impl EventKind {
    /// The kind's name in the API, such as `session_started`; stable.
    pub fn name(&self) -> &'static str {
        match self {
            Self::DaemonStarted => "daemon_started",
            Self::DaemonStopping => "daemon_stopping",
            Self::EventsLost { .. } => "events_lost",
            Self::Woke { .. } => "woke",
            Self::NetworkChanged => "network_changed",
            Self::ClockJumped { .. } => "clock_jumped",
            Self::SignIn { event, .. } => event.name(),
            Self::Created => "created",
            Self::Changed { .. } => "changed",
            Self::Deleted => "deleted",
            Self::IntentChanged { .. } => "intent_changed",
            Self::TtlOver => "ttl_over",
            Self::Restarted => "restarted",
            Self::Connecting { .. } => "connecting",
            Self::Up { .. } => "up",
            Self::Idle => "idle",
            Self::Retrying { .. } => "retrying",
            Self::Blocked { .. } => "blocked",
            Self::Stopped => "stopped",
            Self::NodeChosen { .. } => "node_chosen",
            Self::SessionStarted => "session_started",
            Self::SessionResumed => "session_resumed",
            Self::SessionEnded { .. } => "session_ended",
            Self::ConnectionRefused { .. } => "connection_refused",
            Self::ReaderReset { .. } => "reader_reset",
            Self::AgentStalled { .. } => "agent_stalled",
            Self::PayloadReduced { .. } => "payload_reduced",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// The fault that it tells of.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Connecting { fault, .. } | Self::SessionEnded { fault, .. } => fault.as_ref(),
            Self::Retrying { fault, .. }
            | Self::Blocked { fault }
            | Self::ConnectionRefused { fault }
            | Self::ReaderReset { fault }
            | Self::AgentStalled { fault } => Some(fault),
            Self::SignIn { event, .. } => event.fault(),
            Self::DaemonStarted
            | Self::DaemonStopping
            | Self::EventsLost { .. }
            | Self::Woke { .. }
            | Self::NetworkChanged
            | Self::ClockJumped { .. }
            | Self::Created
            | Self::Changed { .. }
            | Self::Deleted
            | Self::IntentChanged { .. }
            | Self::TtlOver
            | Self::Restarted
            | Self::Up { .. }
            | Self::Idle
            | Self::Stopped
            | Self::NodeChosen { .. }
            | Self::SessionStarted
            | Self::SessionResumed
            | Self::PayloadReduced { .. }
            | Self::Unknown { .. } => None,
        }
    }
}

impl fmt::Display for EventKind {
    /// What happened in words, without its fault.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DaemonStarted => "the daemon started",
            Self::DaemonStopping => "the daemon stops",
            Self::EventsLost { count } => return write!(f, "{count} events were lost"),
            Self::Woke { slept, dark } => {
                let dark = if *dark { ", for itself" } else { "" };
                return write!(f, "the machine woke after {} s{dark}", slept.as_secs());
            }
            Self::NetworkChanged => "the network changed",
            Self::ClockJumped { by_ms } => {
                let direction = if *by_ms < 0 { "back" } else { "forward" };
                return write!(f, "the clock was set {direction} by {} ms", by_ms.unsigned_abs());
            }
            Self::SignIn { sign_in, event } => return event.write(f, sign_in),
            Self::Created => "made",
            Self::Changed { fields } => return write!(f, "changed: {}", fields.join(", ")),
            Self::Deleted => "removed",
            Self::IntentChanged { intent: Intent::Run } => "asked to run",
            Self::IntentChanged { intent: Intent::Stop } => "asked to stop",
            Self::TtlOver => "its time (ttl) is over: it stops",
            Self::Restarted => "asked for a new session",
            Self::Connecting { fault: None, .. } => "connecting",
            Self::Connecting { fault: Some(_), .. } => "connecting again",
            Self::Up { .. } => "up",
            Self::Idle => "idle",
            Self::Retrying { .. } => "retrying",
            Self::Blocked { .. } => "blocked",
            Self::Stopped => "stopped",
            Self::NodeChosen { node, name, candidates } => {
                write!(f, "node {node}")?;
                name.iter().try_for_each(|name| write!(f, " ({name})"))?;
                return if *candidates > 1 {
                    write!(f, " chosen of {candidates}")
                } else {
                    f.write_str(" found")
                };
            }
            Self::SessionStarted => "session started",
            Self::SessionResumed => "session resumed",
            Self::SessionEnded { .. } => "session ended",
            Self::ConnectionRefused { .. } => "connection refused",
            Self::ReaderReset { .. } => "stalled local connection reset",
            Self::AgentStalled { .. } => "agent stalled",
            Self::PayloadReduced { limit } => return write!(f, "payloads reduced to {limit} bytes"),
            Self::Unknown { headline } => headline,
        })
    }
}
