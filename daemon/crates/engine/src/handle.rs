//! What front ends can ask of the engine: one async method per use case.
//!
//! Every change is made by the supervisor's task and is durable before the answer: a caller that goes away undoes
//! nothing.

use std::fmt;
use std::sync::Arc;

use stormtunnel_model::{
    Epoch, Etag, Event, EventId, Fault, FaultKind, Profile, RequestId, Revision, SignIn, StartOptions,
    Target, Timestamp, Tunnel, TunnelId, TunnelSpec, TunnelSpecPatch, TunnelStatistics,
};
use tokio::sync::{mpsc, oneshot};

use crate::history::History;
use crate::history::watch::{EventWatcher, EventsWatched};
use crate::ports::{AwsScope, Candidates, TargetDirectory};
use crate::profiles::registry::Profiles;
use crate::publish::{Publisher, Watcher};
use crate::sign_in::registry::SignIns;

/// What an update did, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updated {
    /// The tunnel with the change.
    pub tunnel: Tunnel,
    /// The change ends the session; a new one is started.
    pub reconnects: bool,
    /// The change closes the listener; it is bound anew.
    pub rebinds: bool,
}

/// What became of one of several tunnels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelResult {
    /// Name or id, as asked for.
    pub requested: String,
    /// The tunnel afterwards, or why not.
    pub outcome: Result<Tunnel, Fault>,
}

/// What to do with tunnels that exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Start(StartOptions),
    Stop,
    Restart(StartOptions),
    Delete,
}

/// What the supervisor is asked.
pub(crate) enum Command {
    Create {
        request_id: Option<RequestId>,
        spec: TunnelSpec,
        start: bool,
        reply: Reply<Result<Tunnel, Fault>>,
    },
    Update {
        change: Update,
        reply: Reply<Result<Updated, Fault>>,
    },
    Act {
        verb: Verb,
        tunnels: Vec<String>,
        reply: Reply<Vec<TunnelResult>>,
    },
    /// Not a front end's: the token of this sign-in is good, so that tunnels that waited for it go on.
    SignedIn(Box<SignIn>),
    /// Not a front end's: this profile is another one, so that tunnels that it held up go on.
    ProfileEdited(Profile),
    /// Not a front end's: settings of the way to AWS are others, so that tunnels that they held up go on.
    WayChanged,
}

/// A change of a spec.
pub(crate) struct Update {
    pub(crate) tunnel: String,
    pub(crate) patch: TunnelSpecPatch,
    pub(crate) etag: Option<Etag>,
    pub(crate) validate_only: bool,
}

pub(crate) type Reply<T> = oneshot::Sender<T>;

/// The engine as front ends see it. Cheap to clone.
#[derive(Clone)]
pub struct EngineHandle {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) publisher: Publisher,
    pub(crate) history: History,
    pub(crate) targets: Arc<dyn TargetDirectory>,
    pub(crate) sign_ins: SignIns,
    pub(crate) profiles: Profiles,
}

impl fmt::Debug for EngineHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineHandle").field("epoch", &self.publisher.epoch()).finish_non_exhaustive()
    }
}

impl EngineHandle {
    /// Makes a tunnel. With a `request_id` that was used before, or for a name that exists with the same spec, the
    /// answer is the tunnel that exists. One whose start has to be confirmed is not started here.
    ///
    /// # Errors
    /// `TunnelExists`, `PortInUse` (another tunnel has the port), `ConfirmationNeeded`, `InvalidArgument`, `Internal`,
    /// `ShuttingDown`.
    pub async fn create(
        &self,
        request_id: Option<RequestId>,
        spec: TunnelSpec,
        start: bool,
    ) -> Result<Tunnel, Fault> {
        self.ask(|reply| Command::Create { request_id, spec, start, reply }).await?
    }

    /// Changes a spec; a running tunnel follows at once.
    ///
    /// # Errors
    /// `TunnelNotFound`, `EtagMismatch`, `TunnelExists`, `PortInUse`, `InvalidArgument`, `Internal`, `ShuttingDown`.
    pub async fn update(
        &self,
        tunnel: &str,
        patch: TunnelSpecPatch,
        etag: Option<Etag>,
        validate_only: bool,
    ) -> Result<Updated, Fault> {
        let change = Update { tunnel: tunnel.to_owned(), patch, etag, validate_only };
        self.ask(|reply| Command::Update { change, reply }).await?
    }

    /// Ends and forgets tunnels, by name or id. Answers when they are gone; shows each as it was last.
    pub async fn delete(&self, tunnels: Vec<String>) -> Vec<TunnelResult> {
        self.act(Verb::Delete, tunnels).await
    }

    /// Sets the intent to run, on the terms asked for. Answers when that is under way, not when the tunnel is up.
    pub async fn start(&self, tunnels: Vec<String>, options: StartOptions) -> Vec<TunnelResult> {
        self.act(Verb::Start(options), tunnels).await
    }

    /// Sets the intent to stop. Answers when the tunnels are stopped, or after a bound.
    pub async fn stop(&self, tunnels: Vec<String>) -> Vec<TunnelResult> {
        self.act(Verb::Stop, tunnels).await
    }

    /// Ends the session and starts a new one; the listener stays bound. Sets the intent to run.
    pub async fn restart(&self, tunnels: Vec<String>, options: StartOptions) -> Vec<TunnelResult> {
        self.act(Verb::Restart(options), tunnels).await
    }

    /// One tunnel, by name or id.
    ///
    /// # Errors
    /// `TunnelNotFound`.
    pub fn get(&self, tunnel: &str) -> Result<Tunnel, Fault> {
        let not_found = || Fault::new(FaultKind::TunnelNotFound { tunnel: tunnel.to_owned() }, "");
        self.publisher.find(tunnel).ok_or_else(not_found)
    }

    /// All tunnels, ordered by name.
    pub fn list(&self) -> Vec<Tunnel> {
        self.publisher.list()
    }

    /// The tunnels as they are, then each change. With a `since` of this daemon life that is still remembered, only
    /// the changes. `tunnels` (names or ids) limits both; empty means all.
    pub fn watch(&self, since: Option<Revision>, tunnels: Vec<String>) -> Watcher {
        self.publisher.watch(since, tunnels)
    }

    /// The newest events, oldest first, of these tunnels (names or ids, also of tunnels that are gone) or of all, and the
    /// daemon's own. At most `limit`, or a default when that is 0, and never more than 1000.
    ///
    /// # Errors
    /// `TunnelNotFound` when no tunnel and no event has that name, `Internal` when the store cannot be read.
    pub async fn events(
        &self,
        tunnels: &[String],
        since: Option<Timestamp>,
        limit: u32,
        before: Option<EventId>,
    ) -> Result<Vec<Event>, Fault> {
        self.history.newest(self.resolve(tunnels).await?, since, limit, before).await
    }

    /// The newest events, as in [`EngineHandle::events`], then each one as it happens. With an `after` that is still kept,
    /// only what came after it.
    ///
    /// # Errors
    /// `TunnelNotFound` when no tunnel and no event has that name, `Internal` when the store cannot be read.
    pub async fn watch_events(
        &self,
        tunnels: &[String],
        after: Option<EventId>,
        since: Option<Timestamp>,
        limit: u32,
    ) -> Result<EventWatcher, Fault> {
        let tunnels = self.resolve(tunnels).await?;
        Ok(self.history.watch(EventsWatched { tunnels, after, since, limit }))
    }

    /// What these tunnels (names or ids) carried, or all of them, ordered by name.
    ///
    /// # Errors
    /// `TunnelNotFound`.
    pub fn statistics(&self, tunnels: &[String]) -> Result<Vec<TunnelStatistics>, Fault> {
        let tunnels = match tunnels {
            [] => self.list(),
            named => named.iter().map(|tunnel| self.get(tunnel)).collect::<Result<_, _>>()?,
        };
        Ok(tunnels.iter().filter_map(|tunnel| self.history.statistics(tunnel)).collect())
    }

    /// The nodes that a tunnel could go through, or only what `target` stands for; those whose agent is online first.
    ///
    /// # Errors
    /// Faults of the profile, its credentials and permissions, and of the network.
    pub async fn targets(&self, scope: &AwsScope, target: Option<&Target>) -> Result<Candidates, Fault> {
        let mut found = match target {
            Some(target) => self.targets.candidates(scope, target).await?,
            None => self.targets.reachable(scope).await?,
        };
        found.candidates.sort_by(|one, other| {
            (one.agent, &one.name, &one.node).cmp(&(other.agent, &other.name, &other.node))
        });
        Ok(found)
    }

    /// The sign-ins that tunnels live on.
    pub fn sign_ins(&self) -> &SignIns {
        &self.sign_ins
    }

    /// The profiles of the AWS files.
    pub fn profiles(&self) -> &Profiles {
        &self.profiles
    }

    /// Troubles that a person should know of, one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        self.history.warning().into_iter().collect()
    }

    /// A name goes to the tunnel that has it now, else to the one that had it last.
    async fn resolve(&self, tunnels: &[String]) -> Result<Vec<TunnelId>, Fault> {
        let mut ids = Vec::with_capacity(tunnels.len());
        for tunnel in tunnels {
            ids.push(match self.publisher.find(tunnel) {
                Some(tunnel) => tunnel.id,
                None => self.history.find(tunnel).await?,
            });
        }
        Ok(ids)
    }

    /// This daemon life.
    pub fn epoch(&self) -> Epoch {
        self.publisher.epoch()
    }

    async fn act(&self, verb: Verb, tunnels: Vec<String>) -> Vec<TunnelResult> {
        let requested = tunnels.clone();
        let failed = |fault: Fault| {
            let outcome = |requested| TunnelResult { requested, outcome: Err(fault.clone()) };
            requested.into_iter().map(outcome).collect()
        };
        self.ask(|reply| Command::Act { verb, tunnels, reply }).await.unwrap_or_else(failed)
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Fault> {
        let (reply, answer) = oneshot::channel();
        let stopping = || Fault::new(FaultKind::ShuttingDown, "");
        self.commands.send(command(reply)).await.map_err(|_closed| stopping())?;
        answer.await.map_err(|_dropped| stopping())
    }
}
