//! The service manager that started this process, if one did: systemd or launchd.
//!
//! It holds the API's socket, so that a connection starts the daemon, and waits while one restarts. systemd also wants to
//! hear that the daemon serves and lives on, and keeps the listeners of the tunnels ([`keeper`]).

pub mod keeper;
#[cfg(target_os = "macos")]
mod launchd;
mod systemd;

use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use stormtunnel_engine::EngineHandle;
use stormtunnel_engine::tasks::{Tasks, TasksClosed};

use keeper::Keeper;

/// The name of the API's socket in the unit and in the LaunchAgent.
pub const API_SOCKET: &str = "api";

/// How long the tunnels that run have to ask for the listeners of the daemon before. They do so as soon as they are
/// restored; what nobody asks for by then belongs to a tunnel that is gone.
const ADOPTION: Duration = Duration::from_secs(10);

/// What a service manager wants to hear. Nothing, unless it says otherwise. Never fails: a manager that does not listen must
/// not end a daemon that serves.
pub trait Supervisor: fmt::Debug + Send + Sync {
    /// The daemon serves.
    fn ready(&self) {}

    /// The daemon begins to stop.
    fn stopping(&self) {}

    /// The longest silence between two signs of life before the manager takes the daemon for hung.
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// A sign of life.
    fn alive(&self) {}

    /// Asks the manager to hold a listener under a name of its own, for the next life of the daemon. Answers whether it was
    /// asked.
    fn keep(&self, _name: &str, _listener: BorrowedFd<'_>) -> bool {
        false
    }

    /// Asks the manager to close what it holds under that name.
    fn release(&self, _name: &str) {}
}

/// Nobody: the daemon was started from a terminal.
#[derive(Clone, Copy, Debug)]
pub struct Unsupervised;

impl Supervisor for Unsupervised {}

/// What a service manager gave this process.
#[derive(Debug)]
pub struct Service {
    /// The API's socket, bound and listening. Its path is the manager's.
    pub(crate) api: Option<UnixListener>,
    /// The listeners of the tunnels.
    pub(crate) keeper: Arc<Keeper>,
    supervisor: Arc<dyn Supervisor>,
}

/// Takes what the service manager left in the environment and in descriptors, and removes the variables: children must not
/// speak in the daemon's name. Call it once, while there is one thread.
pub fn inherit() -> Service {
    let (supervisor, descriptors) = systemd::inherit();
    #[cfg(target_os = "macos")]
    let descriptors = descriptors.into_iter().chain(launchd::inherit(API_SOCKET)).collect();
    Service::new(supervisor, descriptors)
}

impl Service {
    /// Of a daemon that no manager started.
    pub fn none() -> Self {
        Self::new(Arc::new(Unsupervised), Vec::new())
    }

    fn new(supervisor: Arc<dyn Supervisor>, descriptors: Vec<(String, OwnedFd)>) -> Self {
        let (mut api, kept): (Vec<_>, Vec<_>) =
            descriptors.into_iter().partition(|(name, _)| name == API_SOCKET);
        let api = api.pop().map(|(_, descriptor)| UnixListener::from(descriptor));
        let keeper = Arc::new(Keeper::new(Arc::clone(&supervisor), kept));
        Self { api, keeper, supervisor }
    }

    /// Says that the daemon serves, and from now on that it lives.
    pub(crate) fn ready(&self, tasks: &Tasks, engine: EngineHandle) -> Result<(), TasksClosed> {
        self.supervisor.ready();
        let (keeper, cancel) = (Arc::clone(&self.keeper), tasks.cancelled().clone());
        tasks.spawn("unclaimed listeners", async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(ADOPTION) => keeper.close_unclaimed(),
            }
        })?;
        let Some(patience) = self.supervisor.patience() else { return Ok(()) };
        let (supervisor, cancel) = (Arc::clone(&self.supervisor), tasks.cancelled().clone());
        tasks.spawn("watchdog", async move {
            let mut signs = tokio::time::interval(patience / 2);
            loop {
                tokio::select! {
                    () = cancel.cancelled() => return,
                    _ = signs.tick() => {}
                }
                // A daemon whose engine cannot be asked any more is as good as hung.
                let _ = engine.list();
                supervisor.alive();
            }
        })?;
        Ok(())
    }

    /// Says that the daemon begins to stop. What the manager keeps stays with it: the daemon may be about to start again.
    pub(crate) fn stopping(&self) {
        self.keeper.freeze();
        self.supervisor.stopping();
    }
}

#[cfg(test)]
mod tests;
