//! What tunnels carried and went through, in numbers.

use std::time::Duration;

use crate::ids::{Timestamp, TunnelId};
use crate::name::TunnelName;
use crate::tunnel::Traffic;

/// Figures over some span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Payload bytes.
    pub traffic: Traffic,
    /// Local connections that were forwarded.
    pub connections: u64,
    /// Sessions that were started.
    pub sessions: u64,
    /// How often it came up again after it had lost its data channel or its session.
    pub reconnects: u64,
    /// How long it was up.
    pub uptime: Duration,
}

impl Statistics {
    /// The figures of both spans together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            traffic: Traffic {
                sent: self.traffic.sent.saturating_add(other.traffic.sent),
                received: self.traffic.received.saturating_add(other.traffic.received),
            },
            connections: self.connections.saturating_add(other.connections),
            sessions: self.sessions.saturating_add(other.sessions),
            reconnects: self.reconnects.saturating_add(other.reconnects),
            uptime: self.uptime.saturating_add(other.uptime),
        }
    }
}

/// The figures of one tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelStatistics {
    /// The tunnel.
    pub id: TunnelId,
    /// Its name.
    pub name: TunnelName,
    /// When it was created.
    pub created_at: Timestamp,
    /// Since then.
    pub since_created: Statistics,
    /// Since the daemon started.
    pub since_started: Statistics,
}
