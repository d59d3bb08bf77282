//! A store that forgets everything with the process.

use std::sync::{Mutex, PoisonError};

use stormtunnel_model::{Fault, SsmSessionId, TunnelId};
use tokio::sync::watch;

use super::PATIENCE;
use crate::ports::{OpenSession, PortFuture, StoredState, StoredTunnel, TunnelStore};

/// Tunnels and open sessions in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: watch::Sender<StoredState>,
    broken: Mutex<Option<Fault>>,
}

impl MemoryStore {
    /// A store that holds something already.
    pub fn with(state: StoredState) -> Self {
        Self { state: watch::Sender::new(state), broken: Mutex::default() }
    }

    /// What is stored now.
    pub fn state(&self) -> StoredState {
        self.state.borrow().clone()
    }

    /// Waits until what is stored is as wanted.
    ///
    /// # Panics
    /// When it is not within [`PATIENCE`].
    pub async fn wait_until(&self, wanted: impl Fn(&StoredState) -> bool) {
        let mut state = self.state.subscribe();
        let waited = tokio::time::timeout(PATIENCE, state.wait_for(|state| wanted(state))).await.is_ok();
        assert!(waited, "the store never got there; it holds {:?}", self.state());
    }

    /// From now on every change fails with `fault`; `None` mends it.
    pub fn break_with(&self, fault: Option<Fault>) {
        *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    fn change(&self, change: impl FnOnce(&mut StoredState)) -> PortFuture<'_, Result<(), Fault>> {
        let broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let outcome = match broken {
            Some(fault) => Err(fault),
            None => {
                self.state.send_modify(change);
                Ok(())
            }
        };
        Box::pin(std::future::ready(outcome))
    }
}

impl TunnelStore for MemoryStore {
    fn load(&self) -> PortFuture<'_, Result<StoredState, Fault>> {
        Box::pin(std::future::ready(Ok(self.state())))
    }

    fn put_tunnel(&self, tunnel: StoredTunnel) -> PortFuture<'_, Result<(), Fault>> {
        self.change(|state| {
            state.tunnels.retain(|stored| stored.id != tunnel.id);
            state.tunnels.push(tunnel);
        })
    }

    fn delete_tunnel(&self, id: TunnelId) -> PortFuture<'_, Result<(), Fault>> {
        self.change(|state| state.tunnels.retain(|stored| stored.id != id))
    }

    fn put_session(&self, session: OpenSession) -> PortFuture<'_, Result<(), Fault>> {
        self.change(|state| {
            state.open_sessions.retain(|stored| stored.id != session.id);
            state.open_sessions.push(session);
        })
    }

    fn delete_session(&self, id: SsmSessionId) -> PortFuture<'_, Result<(), Fault>> {
        self.change(|state| state.open_sessions.retain(|stored| stored.id != id))
    }
}
