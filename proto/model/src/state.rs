//! What the user wants of a tunnel, and what is true of it now.

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::ids::Timestamp;

/// What the user wants; stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Intent {
    /// Keep it running.
    Run,
    /// Leave it alone.
    Stop,
}

/// What is true now; never stored. A failure either retries itself or names the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TunnelState {
    /// Not wanted, and nothing of it is left.
    Stopped,
    /// On the way up.
    Connecting {
        /// What is being done.
        step: ConnectStep,
    },
    /// The handshake is complete and the agent acknowledged a message sent after it.
    Up,
    /// Listening without a session; the next local connection starts one.
    Idle,
    /// Failed, and tried again by itself.
    Retrying {
        /// When.
        at: Timestamp,
        /// Why.
        fault: Fault,
    },
    /// Failed in a way that only a person can mend.
    Blocked {
        /// Why, and what to do.
        fault: Fault,
    },
    /// Ending the session and closing the listener.
    Stopping,
}

impl TunnelState {
    /// The fault that this state carries.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Retrying { fault, .. } | Self::Blocked { fault } => Some(fault),
            Self::Stopped | Self::Connecting { .. } | Self::Up | Self::Idle | Self::Stopping => None,
        }
    }

    /// The state's name, as shown to people.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Stopped => "Stopped",
            Self::Connecting { .. } => "Connecting",
            Self::Up => "Up",
            Self::Idle => "Idle",
            Self::Retrying { .. } => "Retrying",
            Self::Blocked { .. } => "Blocked",
            Self::Stopping => "Stopping",
        }
    }
}

/// Steps on the way up, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectStep {
    /// Binding the local port.
    Listener,
    /// Asking Session Manager for a session.
    Session,
    /// Opening the data channel, handshake included.
    Channel,
    /// Opening a new data channel for the session that lost its old one.
    Resume,
    /// One that only a newer daemon knows. No daemon says it.
    Other,
}

/// What holds a tunnel's transfers up although nothing has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelLimit {
    /// Messages of a download were lost on their way, and the SSM agent sends one of them again per 100 ms; what came
    /// after them waits.
    AgentResend {
        /// Bytes that wait here.
        waiting_bytes: u64,
    },
}

/// What connections told of the remote end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RemoteHealth {
    /// No connection was tried in this session.
    #[default]
    Unknown,
    /// The last connection was accepted.
    Ok,
    /// The last connection was refused.
    Refused,
}
