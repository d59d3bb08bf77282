//! Start and stop of the engine.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use stormtunnel_model::settings::Settings;
use stormtunnel_model::{Epoch, Fault};
use tokio::sync::{mpsc, watch};

use crate::handle::{Command, EngineHandle};
use crate::ports::{ChannelDialer, Clock, Entropy, LocalNetwork, SsmApi, TunnelStore};
use crate::publish::Publisher;
use crate::tasks::Tasks;

/// Calls that may wait for the supervisor: more than front ends issue at once; the next ones wait in their callers.
const COMMAND_CAPACITY: usize = 64;

/// The ways to the world.
#[derive(Clone)]
pub struct Ports {
    /// Session Manager.
    pub ssm: Arc<dyn SsmApi>,
    /// Data channels.
    pub dialer: Arc<dyn ChannelDialer>,
    /// Local ports.
    pub network: Arc<dyn LocalNetwork>,
    /// Specs, intent, open sessions.
    pub store: Arc<dyn TunnelStore>,
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
    commands: mpsc::Receiver<Command>,
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
        let stored = ports.store.load().await?;
        let seed = ports.entropy.seed();
        let publisher = Publisher::new(Epoch(u64::from_be_bytes(*seed.first_chunk().unwrap_or(&[0; 8]))));
        let (sender, commands) = mpsc::channel(COMMAND_CAPACITY);
        let handle = EngineHandle::new(sender, publisher.clone());
        drop((stored, settings));
        Ok((Self { tasks: Tasks::new(), publisher, commands }, handle))
    }

    /// Ends all sessions and listeners without touching the stored intent, and all tasks. Takes at most `bound`.
    pub async fn shutdown(self, bound: Duration) {
        self.publisher.close();
        drop(self.commands);
        if let Err(remain) = self.tasks.shutdown(bound).await {
            tracing::warn!(%remain, "engine stopped with tasks left");
        }
    }
}
