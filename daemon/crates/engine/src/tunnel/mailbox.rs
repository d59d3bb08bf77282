//! What a tunnel's actor is told, and by whom.

use secrecy::SecretString;
use stormtunnel_model::{Attempt, Fault, LocalEndpoint, Reason, TunnelId, TunnelSpec};
use tokio::sync::oneshot;

use crate::ports::{BindError, BoxChannel, LocalListener, Resumption, StoredTunnel};
use crate::tunnel::machine;
use crate::tunnel::node::{NotStarted, Started};
use crate::tunnel::rules::claim;
use crate::tunnel::session_driver::News;

/// Messages that may wait for the actor. It answers each at once, so the queue is short; a full one only makes the
/// senders, which are tasks of their own, wait.
pub(crate) const MAILBOX_CAPACITY: usize = 64;

/// What an actor is told.
pub(crate) enum Message {
    /// By the supervisor.
    Order(Box<Order>),
    /// By the supervisor: something happened to the machine (see `incidents`).
    Disturbed,
    /// The answer of a bind.
    Bound(Attempt, Result<Box<dyn LocalListener>, BindError>),
    /// The answer of a StartSession; the session is noted as open.
    Started(Attempt, Result<Box<Started>, NotStarted>),
    /// The answer of a ResumeSession.
    Resumed(Attempt, Result<Resumption, Fault>),
    /// The answer of a dial.
    Dialled(Attempt, Result<(BoxChannel, SecretString), Fault>),
    /// News of the session started in that attempt.
    Session(Attempt, News),
}

/// An order of the supervisor.
pub(crate) struct Order {
    pub(crate) command: machine::Command,
    /// The spec from now on.
    pub(crate) wanted: Wanted,
    /// Told when the order is carried out: for Stop and Delete when nothing is left of the tunnel, else at once.
    pub(crate) done: Option<oneshot::Sender<()>>,
}

/// What a tunnel is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) spec: TunnelSpec,
    pub(crate) kept_port: Option<u16>,
    /// Why it runs.
    pub(crate) reason: Option<Reason>,
}

impl Wanted {
    /// Of a tunnel as it is stored.
    pub(crate) fn of(stored: &StoredTunnel) -> Self {
        let StoredTunnel { spec, kept_port, terms, .. } = stored;
        Self { spec: spec.clone(), kept_port: *kept_port, reason: terms.reason.clone() }
    }

    /// A port that the system chose a moment ago is kept, even if the supervisor does not know it yet.
    pub(crate) fn keeping_port_of(mut self, before: &Self) -> Self {
        if self.spec.local.is_automatic() && before.spec.local.is_automatic() {
            self.kept_port = self.kept_port.or(before.kept_port);
        }
        self
    }

    /// What to bind.
    pub(crate) fn local(&self) -> LocalEndpoint {
        claim(&self.spec.local, self.kept_port)
    }
}

/// A port that the system chose, to be kept.
pub(crate) struct PortChosen {
    pub(crate) tunnel: TunnelId,
    pub(crate) port: u16,
    /// Whether it is kept: not when another tunnel claims it, which only does not listen now.
    pub(crate) kept: oneshot::Sender<bool>,
}
