//! Finding the node of a session, at each StartSession anew, and watching over it while its agent is silent.
//!
//! A session through an instance that was terminated is not always ended by the service: the gateway goes on answering
//! pings. So when the service asks for silence, what was sent stays unconfirmed, or the session cannot be resumed because
//! its node is not connected, the target is looked up again. Only when the node is gone, or another one can take its place, the session is ended;
//! what follows is a new session, through the node that is right by then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stormtunnel_model::{
    Attempt, Fault, FaultKind, Principal, Reason, RemoteEndpoint, ResolvedTarget, Target,
};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::ports::{AwsScope, OpenSession, SessionGrant, SessionRequest};
use crate::retry::Backoff;
use crate::tunnel::about::About;
use crate::tunnel::candidates::{RecentFailures, choose, lost};
use crate::tunnel::context::Context;
use crate::tunnel::identity;
use crate::tunnel::mailbox::Message;
use crate::tunnel::session_driver::News;

/// Longest wait between two looks at a node whose agent is silent.
const LOOK_CAP: Duration = Duration::from_secs(30);

/// How long a pause lasts before it says something: an agent whose own connection broke is back within a second.
const PAUSE_PATIENCE: Duration = Duration::from_secs(2);
/// How often a node is looked at because of a pause. It may end without a word.
const PAUSE_LOOKS: u32 = 5;

/// What a session is to be started with.
#[derive(Clone, Debug)]
pub(crate) struct StartOrder {
    pub(crate) scope: AwsScope,
    /// As written.
    pub(crate) target: Target,
    pub(crate) remote: RemoteEndpoint,
    pub(crate) local_port: Option<u16>,
    pub(crate) reason: Option<Reason>,
    pub(crate) failures: RecentFailures,
}

/// The node of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// The target as written when it was chosen.
    pub(crate) target: Target,
    pub(crate) node: ResolvedTarget,
    /// How it was found; absent when the target is its id.
    pub(crate) found: Option<Found>,
}

/// How a node was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) name: Option<String>,
    pub(crate) candidates: u32,
}

/// A session that was started and noted as open.
pub(crate) struct Started {
    pub(crate) record: OpenSession,
    pub(crate) grant: SessionGrant,
    pub(crate) choice: Choice,
    /// Who opened it, where that is known already.
    pub(crate) principal: Option<Principal>,
}

/// A session that was not.
pub(crate) struct NotStarted {
    pub(crate) fault: Fault,
    /// The node that was asked for, when it came to that.
    pub(crate) node: Option<ResolvedTarget>,
}

/// Finds the node, starts the session and notes it as open before anybody hears of it.
pub(crate) async fn start(context: &Context, order: StartOrder) -> Result<Started, NotStarted> {
    let choice = find(context, &order).await.map_err(|fault| NotStarted { fault, node: None })?;
    let StartOrder { scope, remote, local_port, reason, .. } = order;
    let request = SessionRequest { scope, node: choice.node.clone(), remote, local_port, reason };
    let sent = context.now().mono;
    let (granted, principal) = identity::start_session(context, &request).await;
    match granted {
        Ok(grant) => {
            context.politeness.accepted(&request.scope, context.now().mono);
            principal
                .iter()
                .for_each(|principal| context.learn_account(&request.scope, principal, &grant.region));
            let record = record_of(request, &grant);
            if let Err(fault) = context.ports.store.put_session(record.clone()).await {
                tracing::warn!(session = %record.id, %fault, "an open session could not be noted");
            }
            Ok(Started { record, grant, choice, principal })
        }
        Err(fault) => {
            if fault.kind == FaultKind::Throttled {
                context.politeness.throttled(&request.scope, sent, context.now().mono);
            }
            Err(NotStarted { fault, node: Some(choice.node) })
        }
    }
}

async fn find(context: &Context, order: &StartOrder) -> Result<Choice, Fault> {
    let target = order.target.clone();
    if let Some(node) = target.as_node() {
        return Ok(Choice { target, node, found: None });
    }
    let found = context.ports.targets.candidates(&order.scope, &target).await?;
    let chosen = choose(&target, &found, &order.failures, context.now().mono)?;
    let candidates = u32::try_from(found.candidates.len()).unwrap_or(u32::MAX);
    let how = Found { name: chosen.name.clone(), candidates };
    Ok(Choice { node: chosen.node.clone(), target, found: Some(how) })
}

/// Pins the region that the session was opened in: the profile's or the settings' may be another one by the time the
/// session is resumed or ended.
fn record_of(request: SessionRequest, grant: &SessionGrant) -> OpenSession {
    let SessionRequest { scope, node, .. } = request;
    let scope = AwsScope { region: Some(grant.region.clone()), ..scope };
    OpenSession { id: grant.id.clone(), scope, target: node.into() }
}

/// Why a node may be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    /// The service asks for silence. Most pauses mean nothing.
    Paused,
    /// The agent confirms nothing, or AWS says that it is not connected.
    Silent,
}

/// What an actor knows of the nodes that its sessions go through.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    failures: RecentFailures,
    /// By session.
    suspicions: BTreeMap<Attempt, Suspicion>,
}

/// A node that is being looked at, until this is dropped.
#[derive(Debug)]
struct Suspicion {
    hint: Hint,
    _acquitted: DropGuard,
}

impl Nodes {
    pub(crate) fn failures(&self) -> RecentFailures {
        self.failures.clone()
    }

    /// A session through the node came to an end, or to nothing.
    pub(crate) fn failed(&mut self, node: Option<&ResolvedTarget>, fault: &Fault, now: Instant) {
        if let Some(node) = node {
            self.failures.note(node, fault, now);
        }
    }

    /// What the hint said of that session holds no longer. The end of a pause does not end a silence.
    pub(crate) fn acquit(&mut self, session: Attempt, hint: Hint) {
        if self.suspicions.get(&session).is_some_and(|suspicion| !outweighs(suspicion.hint, hint)) {
            self.suspicions.remove(&session);
        }
    }

    /// From now on the node of that session is looked at, unless the target names it.
    pub(crate) fn suspect(
        &mut self,
        session: Attempt,
        hint: Hint,
        (choice, scope, about): (&Choice, &AwsScope, &About),
        (context, mailbox): (&Arc<Context>, &mpsc::Sender<Message>),
    ) {
        let weaker = |suspicion: &Suspicion| outweighs(hint, suspicion.hint);
        if choice.found.is_none() || !self.suspicions.get(&session).is_none_or(weaker) {
            return;
        }
        let acquitted = CancellationToken::new();
        let look = Look { context: Arc::clone(context), scope: scope.clone(), choice: choice.clone(), hint };
        let task = look.tell(session, mailbox.clone(), acquitted.clone());
        // Refused only while the daemon stops, which ends the session too.
        let about = about.clone();
        let _stopping = context.tasks.spawn_within("look at node", move || about.span(), task);
        self.suspicions.insert(session, Suspicion { hint, _acquitted: acquitted.drop_guard() });
    }
}

fn outweighs(one: Hint, other: Hint) -> bool {
    one == Hint::Silent && other == Hint::Paused
}

/// Looks at a node again and again.
struct Look {
    context: Arc<Context>,
    scope: AwsScope,
    choice: Choice,
    hint: Hint,
}

impl Look {
    async fn tell(self, session: Attempt, mailbox: mpsc::Sender<Message>, acquitted: CancellationToken) {
        let lost = tokio::select! {
            biased;
            () = acquitted.cancelled() => return,
            () = self.context.tasks.cancelled().cancelled() => return,
            lost = self.until_lost() => lost,
        };
        if let Some(fault) = lost {
            let _actor_gone = mailbox.send(Message::Session(session, News::NodeLost(fault))).await;
        }
    }

    /// Nothing when nothing was found in the time that the hint is worth.
    async fn until_lost(&self) -> Option<Fault> {
        let (patience, looks) = match self.hint {
            Hint::Paused => (PAUSE_PATIENCE, PAUSE_LOOKS),
            Hint::Silent => (Duration::ZERO, u32::MAX),
        };
        tokio::time::sleep(patience).await;
        let mut backoff = Backoff::new(self.context.ports.entropy.seed());
        for _ in 0..looks {
            if let Some(fault) = self.look().await {
                return Some(fault);
            }
            tokio::time::sleep(backoff.next_wait(LOOK_CAP)).await;
        }
        None
    }

    /// A look that fails tells nothing of the node: as likely it is our own network that is silent.
    async fn look(&self) -> Option<Fault> {
        let Choice { target, node, .. } = &self.choice;
        match self.context.ports.targets.candidates(&self.scope, target).await {
            Ok(found) => lost(target, node, &found),
            Err(fault) => {
                tracing::debug!(%node, %fault, "a silent node cannot be looked up");
                None
            }
        }
    }
}
