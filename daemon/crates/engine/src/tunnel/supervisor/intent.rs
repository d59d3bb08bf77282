//! What is to run, on which terms, and until when.
//!
//! The end of a tunnel's time is a moment of the wall clock: it comes while the machine sleeps, too, and moves when the
//! clock is set. Timers know neither, so they are only a reason to look, like every disturbance.

use std::time::Duration;

use stormtunnel_model::{Etag, EventKind, Fault, Intent, RunTerms, StartOptions, TunnelId};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Supervisor;
use crate::ports::StoredTunnel;
use crate::tunnel::machine::Command;
use crate::tunnel::mailbox::PortChosen;
use crate::tunnel::rules::{check_confirmed, check_port, claim, runs, terms_after};

/// How long not to look at the clock, at most, while some tunnel's time will be over: so late is noticed what no timer and
/// no disturbance told of.
const LOOK_EVERY: Duration = Duration::from_secs(60);

impl Supervisor {
    /// Stores intent and terms, then has the actor follow them. `command` is `Run` or `Restart`.
    pub(super) async fn set_running(
        &mut self,
        id: TunnelId,
        command: Command,
        options: &StartOptions,
    ) -> Result<Option<oneshot::Receiver<()>>, Fault> {
        let stored = &self.tunnels[&id].stored;
        check_confirmed(&stored.spec, options)?;
        let now = self.context.now().wall;
        let (begins, restarts) = (!runs(stored, now), command == Command::Restart);
        let terms = terms_after(stored, options, begins || !restarts, now);
        if begins || terms != stored.terms {
            let etag = Etag(stored.etag.0 + 1);
            self.put(StoredTunnel { intent: Intent::Run, terms, etag, ..stored.clone() }).await?;
        }
        let stored = &self.tunnels[&id].stored;
        if begins {
            self.record(stored, EventKind::IntentChanged { intent: Intent::Run });
        } else if restarts {
            self.record(stored, EventKind::Restarted);
        }
        self.plan_look();
        Ok(self.order(id, command).await)
    }

    /// Stores the intent to stop, then has the actor follow it.
    pub(super) async fn set_stopped(&mut self, id: TunnelId) -> Result<Option<oneshot::Receiver<()>>, Fault> {
        let stored = &self.tunnels[&id].stored;
        if stored.intent != Intent::Stop {
            self.put(stopped(stored)).await?;
            self.record(&self.tunnels[&id].stored, EventKind::IntentChanged { intent: Intent::Stop });
        }
        Ok(self.order(id, Command::Stop).await)
    }

    /// Stops the tunnels whose time is over.
    pub(super) async fn end_overdue(&mut self) {
        let now = self.context.now().wall;
        let is_over = |stored: &&StoredTunnel| stored.intent == Intent::Run && stored.terms.is_over(now);
        let over: Vec<TunnelId> = self.stored().filter(is_over).map(|stored| stored.id).collect();
        for id in over {
            self.end(id).await;
        }
        self.look_at = None;
        self.plan_look();
    }

    /// An end that cannot be stored holds all the same; storing it is tried again with the next look.
    async fn end(&mut self, id: TunnelId) {
        let stored = self.tunnels[&id].stored.clone();
        match self.put(stopped(&stored)).await {
            Ok(()) => self.record(&stored, EventKind::TtlOver),
            Err(fault) => {
                tracing::warn!(tunnel = %stored.spec.name, %fault, "the end of its time could not be stored; it stops");
            }
        }
        drop(self.order(id, Command::Stop).await);
    }

    /// Sees to it that somebody looks at the clock when the next tunnel's time is over.
    pub(super) fn plan_look(&mut self) {
        let now = self.context.now().wall;
        let running = self.stored().filter(|stored| stored.intent == Intent::Run);
        let next = running.filter_map(|stored| stored.terms.stops_at).min().map(|end| {
            let left = end.since(now);
            Instant::now() + if left.is_zero() { LOOK_EVERY } else { left.min(LOOK_EVERY) }
        });
        self.look_at = next.map(|next| self.look_at.map_or(next, |planned| planned.min(next)));
    }

    /// Keeps the port that the system chose, unless another tunnel waits for it, which the system cannot know.
    pub(super) async fn keep_port(&mut self, PortChosen { tunnel: id, port, kept }: PortChosen) {
        let Some(entry) = self.tunnels.get(&id).filter(|entry| entry.deleting.is_none()) else { return };
        let spec = &entry.stored.spec;
        if let Err(fault) = check_port(&claim(&spec.local, Some(port)), Some(id), self.stored()) {
            tracing::info!(tunnel = %spec.name, %fault, "the system chose a port that is claimed; another one is taken");
            let _actor_gone = kept.send(false);
            return;
        }
        // The spec may be another one since the port was bound.
        if spec.local.is_automatic() {
            let name = spec.name.clone();
            let stored = StoredTunnel { kept_port: Some(port), ..entry.stored.clone() };
            if let Some(entry) = self.tunnels.get_mut(&id) {
                entry.stored = stored.clone();
            }
            if let Err(fault) = self.context.ports.store.put_tunnel(stored).await {
                tracing::warn!(tunnel = %name, %fault, "the port could not be stored; the next start may choose another");
            }
        }
        let _actor_gone = kept.send(true);
    }
}

fn stopped(stored: &StoredTunnel) -> StoredTunnel {
    let etag = Etag(stored.etag.0 + 1);
    StoredTunnel { intent: Intent::Stop, terms: RunTerms::default(), etag, ..stored.clone() }
}
