//! Start and stop of the engine.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use stormtunnel_model::settings::Settings;
use stormtunnel_model::{Epoch, EventKind, Fault};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::handle::EngineHandle;
use crate::history::History;
use crate::incidents;
use crate::ports::{
    ChannelDialer, Clock, Entropy, HistoryStore, Identity, Incidents, LocalNetwork, SsmApi, StoredState,
    TargetDirectory, TunnelStore,
};
use crate::profiles::registry::Profiles;
use crate::publish::Publisher;
use crate::sign_in::follow::follow;
use crate::sign_in::registry::SignIns;
use crate::tasks::{Task, Tasks, TasksClosed};
use crate::tunnel::context::Context;
use crate::tunnel::payload_limits::PayloadLimits;
use crate::tunnel::politeness::Politeness;
use crate::tunnel::presence::Presence;
use crate::tunnel::supervisor::Supervisor;
use crate::tunnel::unread_budget::UnreadBudget;
use crate::tunnel::way;

/// Calls that may wait for the supervisor: more than front ends issue at once; the next ones wait in their callers.
const COMMAND_CAPACITY: usize = 64;

/// Received bytes that all sessions together may hold until local applications take them: two sessions of which nobody
/// reads, or any number of busy ones.
const UNREAD_BYTES: usize = 128 << 20;

/// Disturbances that may wait for the supervisor. More are merged where they are reported.
const DISTURBANCE_CAPACITY: usize = 1;

/// Calls to TerminateSession at a time: a daemon that stops a thousand tunnels is through in seconds.
const ENDINGS: usize = 64;

/// How long storing the last events may take.
const FLUSH_BOUND: Duration = Duration::from_secs(1);

/// The ways to the world.
#[derive(Clone)]
pub struct Ports {
    /// Session Manager.
    pub ssm: Arc<dyn SsmApi>,
    /// Who we are.
    pub identity: Arc<dyn Identity>,
    /// Nodes.
    pub targets: Arc<dyn TargetDirectory>,
    /// Data channels.
    pub dialer: Arc<dyn ChannelDialer>,
    /// Local ports.
    pub network: Arc<dyn LocalNetwork>,
    /// Specs, intent, open sessions.
    pub store: Arc<dyn TunnelStore>,
    /// Events and statistics.
    pub history: Arc<dyn HistoryStore>,
    /// SSO sign-ins.
    pub sign_ins: SignIns,
    /// Profiles of the AWS files.
    pub profiles: Profiles,
    /// Sleep, network, clock of the machine.
    pub incidents: Arc<dyn Incidents>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Seeds.
    pub entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ports").finish_non_exhaustive()
    }
}

/// The running engine. Whoever holds it must shut it down, or sessions stay open.
#[derive(Debug)]
pub struct Engine {
    tasks: Tasks,
    publisher: Publisher,
    history: History,
    sign_ins: SignIns,
    profiles: Profiles,
    /// Tells the supervisor to stop.
    stop: CancellationToken,
    supervisor: Task<()>,
}

impl Engine {
    /// Restores what is stored and starts what is to run.
    ///
    /// # Errors
    /// What the store answers when it cannot be read.
    pub async fn start(
        ports: Ports,
        settings: watch::Receiver<Arc<Settings>>,
    ) -> Result<(Self, EngineHandle), Fault> {
        Self::start_within(UNREAD_BYTES, ports, settings).await
    }

    /// The same with another bound, in bytes, on what all sessions together hold of received data.
    ///
    /// # Errors
    /// Those of [`Engine::start`].
    pub async fn start_within(
        unread_bytes: usize,
        ports: Ports,
        settings: watch::Receiver<Arc<Settings>>,
    ) -> Result<(Self, EngineHandle), Fault> {
        let StoredState { tunnels, open_sessions } = ports.store.load().await?;
        let history = History::open(Arc::clone(&ports.history), Arc::clone(&ports.clock)).await?;
        history.record(None, EventKind::DaemonStarted);
        let (seed, keeper_seed) = (ports.entropy.seed(), ports.entropy.seed());
        let (targets, sign_ins) = (Arc::clone(&ports.targets), ports.sign_ins.clone());
        let profiles = ports.profiles.clone();
        let publisher = Publisher::new(Epoch(u64::from_be_bytes(*seed.first_chunk().unwrap_or(&[0; 8]))));
        let tasks = Tasks::new();
        let source = Arc::clone(&ports.incidents);
        let followed = settings.clone();
        let context = Arc::new(Context {
            ports,
            settings,
            publisher: publisher.clone(),
            history: history.clone(),
            tasks: tasks.clone(),
            politeness: Arc::new(Politeness::default()),
            presence: Presence::default(),
            endings: Semaphore::new(ENDINGS),
            payload_limits: PayloadLimits::default(),
            unread: UnreadBudget::new(unread_bytes),
        });
        let (sender, commands) = mpsc::channel(COMMAND_CAPACITY);
        let stop = CancellationToken::new();
        let (settled, disturbances) = mpsc::channel(DISTURBANCE_CAPACITY);
        let mut supervisor = Supervisor::new(context, commands, disturbances, stop.clone());
        supervisor.restore(tunnels, open_sessions).await;
        let supervisor = tasks.spawn("supervisor", supervisor.run()).map_err(|error| internal(&error))?;
        let settle = until_cancelled(tasks.clone(), incidents::settle(source, settled));
        tasks.spawn("incidents", settle).map_err(|error| internal(&error))?;
        let statistics = until_cancelled(tasks.clone(), publisher.clone().publish_statistics());
        tasks.spawn("statistics", statistics).map_err(|error| internal(&error))?;
        let keeper = until_cancelled(tasks.clone(), history.clone().keep(keeper_seed));
        tasks.spawn("history", keeper).map_err(|error| internal(&error))?;
        let follow = follow(sign_ins.clone(), history.clone(), sender.clone());
        tasks
            .spawn("follow sign-ins", until_cancelled(tasks.clone(), follow))
            .map_err(|error| internal(&error))?;
        let edits = crate::profiles::follow::follow(profiles.clone(), sender.clone());
        tasks
            .spawn("follow profiles", until_cancelled(tasks.clone(), edits))
            .map_err(|error| internal(&error))?;
        let way = until_cancelled(tasks.clone(), way::follow(followed, sender.clone()));
        tasks.spawn("follow settings", way).map_err(|error| internal(&error))?;
        let handle = EngineHandle {
            commands: sender,
            publisher: publisher.clone(),
            history: history.clone(),
            targets,
            sign_ins: sign_ins.clone(),
            profiles: profiles.clone(),
        };
        Ok((Self { tasks, publisher, history, sign_ins, profiles, stop, supervisor }, handle))
    }

    /// Ends all sessions and listeners without touching the stored intent, and all tasks. Takes at most `bound`, and a
    /// second for the last events.
    pub async fn shutdown(self, bound: Duration) {
        let end = tokio::time::Instant::now() + bound;
        self.history.record(None, EventKind::DaemonStopping);
        self.stop.cancel();
        if tokio::time::timeout_at(end, self.supervisor).await.is_err() {
            tracing::warn!("the tunnels did not stop in time");
        }
        self.publisher.close();
        self.history.close();
        self.sign_ins.close();
        self.profiles.close();
        let left = end.saturating_duration_since(tokio::time::Instant::now());
        if let Err(remain) = self.tasks.shutdown(left).await {
            tracing::warn!(%remain, "engine stopped with tasks left");
        }
        if tokio::time::timeout(FLUSH_BOUND, self.history.flush()).await.is_err() {
            tracing::warn!("the last events were not stored in time");
        }
    }
}

async fn until_cancelled(tasks: Tasks, work: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = tasks.cancelled().cancelled() => {}
        () = work => {}
    }
}

fn internal(error: &TasksClosed) -> Fault {
    Fault::internal(error.to_string())
}
