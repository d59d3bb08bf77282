//! What lines of the log are about: a tunnel, and the attempt and the session where it is one's.

use std::sync::{Arc, Mutex, PoisonError};

use stormtunnel_model::{Attempt, SsmSessionId, TunnelId, TunnelName};
use tracing::Span;

use crate::spans;
use crate::tunnel::machine::LANES;

/// A tunnel, an attempt to connect it, or a session of it. Never a secret: spans are in every line.
#[derive(Clone, Debug)]
pub(crate) struct About {
    tunnel: Arc<Tunnel>,
    attempt: Option<u64>,
    /// Absent of the lane that every tunnel has.
    lane: Option<u64>,
    session: Option<SsmSessionId>,
}

#[derive(Debug)]
struct Tunnel {
    id: TunnelId,
    /// All that is about the tunnel is about it under its new name, too.
    name: Mutex<TunnelName>,
}

impl About {
    pub(crate) fn tunnel(id: TunnelId, name: TunnelName) -> Self {
        let tunnel = Arc::new(Tunnel { id, name: Mutex::new(name) });
        Self { tunnel, attempt: None, lane: None, session: None }
    }

    /// The work that the lane of `work` does in its attempt to connect of that number, which is the one that people see.
    pub(crate) fn attempt(&self, work: Attempt, connects: Attempt) -> Self {
        let lane = Some(work.0 % LANES).filter(|lane| *lane != 0);
        Self { attempt: Some(connects.0), lane, ..self.clone() }
    }

    pub(crate) fn session(&self, id: &SsmSessionId) -> Self {
        Self { session: Some(id.clone()), ..self.clone() }
    }

    pub(crate) fn rename(&self, name: &TunnelName) {
        let mut known = self.tunnel.name.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != *name {
            known.clone_from(name);
            spans::renew();
        }
    }

    /// Of the highest level, so that whatever is logged says what it is about. Never within another one, which would say the
    /// same twice.
    pub(crate) fn span(&self) -> Span {
        let Self { tunnel, attempt, lane, session } = self;
        let name = tunnel.name.lock().unwrap_or_else(PoisonError::into_inner);
        let (id, session) = (&tunnel.id, session.as_ref().map(tracing::field::display));
        tracing::error_span!(parent: None, "tunnel", tunnel = %name, %id, attempt, lane, session)
    }
}
