//! A tunnel as front ends see it: spec, intent and what is true now.

use serde::{Deserialize, Serialize};

use crate::endpoint::BoundAddress;
use crate::fault::Fault;
use crate::guards::RunTerms;
use crate::ids::{Attempt, Etag, Principal, SsmSessionId, Timestamp, TunnelId};
use crate::spec::TunnelSpec;
use crate::state::{Intent, RemoteHealth, TunnelLimit, TunnelState};
use crate::target::ResolvedTarget;

/// A tunnel, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Its id.
    pub id: TunnelId,
    /// Version of spec and intent.
    pub etag: Etag,
    /// When it was created.
    pub created_at: Timestamp,
    /// What it is to be.
    pub spec: TunnelSpec,
    /// What the user wants of it.
    pub intent: Intent,
    /// What it runs with; empty when it is not to run.
    pub terms: RunTerms,
    /// What is true now.
    pub status: TunnelStatus,
}

/// What is true of a tunnel now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelStatus {
    /// Its state.
    pub state: TunnelState,
    /// Since when it has been in that state.
    pub since: Timestamp,
    /// Number of the current or last attempt to connect.
    pub attempt: Attempt,
    /// What connections told of the remote end in this session.
    pub remote: RemoteHealth,
    /// Where it listens; empty when it does not.
    pub listening: Vec<BoundAddress>,
    /// The SSM session in use; of several the main one.
    pub session: Option<SsmSessionId>,
    /// The node that the session goes through.
    pub node: Option<ResolvedTarget>,
    /// All SSM sessions that are open, the main one first.
    pub sessions: Vec<SessionStatus>,
    /// Version of the agent at the other end, once known.
    pub agent_version: Option<String>,
    /// Local connections open now.
    pub connections: u32,
    /// Bytes carried in this daemon life.
    pub traffic: Traffic,
    /// The last fault, even when the tunnel has recovered since.
    pub last_fault: Option<Fault>,
    /// What holds its transfers up at this moment.
    pub limit: Option<TunnelLimit>,
    /// When its next StartSession is expected to have its turn among all those of its profile and region; absent when it
    /// waits for none.
    pub turn_at: Option<Timestamp>,
}

impl TunnelStatus {
    /// The status of a tunnel of which nothing runs.
    pub fn stopped(since: Timestamp) -> Self {
        Self {
            state: TunnelState::Stopped,
            since,
            attempt: Attempt::default(),
            remote: RemoteHealth::Unknown,
            listening: Vec::new(),
            session: None,
            node: None,
            sessions: Vec::new(),
            agent_version: None,
            connections: 0,
            traffic: Traffic::default(),
            last_fault: None,
            limit: None,
            turn_at: None,
        }
    }
}

/// What is true of one SSM session now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionStatus {
    /// The session.
    pub id: SsmSessionId,
    /// The node that it goes through.
    pub node: ResolvedTarget,
    /// Who opened it, once AWS has told.
    pub principal: Option<Principal>,
    /// When it was started.
    pub since: Timestamp,
    /// Local connections in it now.
    pub connections: u32,
    /// Bytes it carried so far.
    pub traffic: Traffic,
}

/// Payload bytes carried, not counting protocol overhead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// From local applications to the remote end.
    pub sent: u64,
    /// From the remote end to local applications.
    pub received: u64,
}
