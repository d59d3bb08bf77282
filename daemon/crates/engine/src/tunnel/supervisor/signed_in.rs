//! Tunnels that waited for a login go on after it, whoever logged in and with which tool; those that a profile held up, when it
//! is edited; and those that settings held up, when they are changed.

use std::collections::BTreeSet;

use stormtunnel_model::{Fault, FaultKind, Intent, Profile, SignIn, TunnelId, TunnelState};

use super::Supervisor;
use crate::ports::StoredTunnel;
use crate::tunnel::machine::Command;
use crate::tunnel::way;

impl Supervisor {
    /// Has the tunnels try again that are blocked until this sign-in is good.
    pub(super) async fn go_on(&mut self, sign_in: &SignIn) {
        let waiting = self.blocked(|supervisor, stored, kind| supervisor.waits_for(stored, kind, sign_in));
        if !waiting.is_empty() {
            let (name, tunnels) = (&sign_in.name, waiting.len());
            tracing::info!(sign_in = %name, tunnels, "signed in: the tunnels that waited for it go on");
        }
        self.run_again(waiting).await;
    }

    /// Has the tunnels try again that were held up by what stood in the profile. Those that work never notice.
    pub(super) async fn try_edited(&mut self, profile: &Profile) {
        let waiting = self.blocked(|supervisor, stored, kind| {
            is_of_profile(kind) && supervisor.profile_of(stored) == profile.as_str()
        });
        if !waiting.is_empty() {
            tracing::info!(%profile, tunnels = waiting.len(), "edited: the tunnels that it held up try again");
        }
        self.run_again(waiting).await;
    }

    /// Has the tunnels try again that settings of the way to AWS may have held up, those too that would try again by themselves.
    pub(super) async fn try_other_way(&mut self) {
        let held_up = |state| match state {
            TunnelState::Blocked { fault } | TunnelState::Retrying { fault, .. } => Some(fault),
            TunnelState::Stopped
            | TunnelState::Connecting { .. }
            | TunnelState::Up
            | TunnelState::Idle
            | TunnelState::Stopping => None,
        };
        let waiting =
            self.waiting(held_up, |_, stored, kind| way::may_end(kind, stored.spec.profile.is_none()));
        if !waiting.is_empty() {
            tracing::info!(
                tunnels = waiting.len(),
                "settings: the tunnels that they may have held up try again"
            );
        }
        self.run_again(waiting).await;
    }

    /// Has AWS asked about the profiles of tunnels that somebody starts. Nothing waits for the answers: the tunnels find out as well.
    pub(super) fn check_profiles_of(&self, tunnels: &[String]) {
        let found = tunnels.iter().filter_map(|tunnel| self.find(tunnel).ok());
        let names: BTreeSet<String> = found.map(|id| self.profile_of(&self.tunnels[&id].stored)).collect();
        for name in names.iter().filter_map(|name| name.parse().ok()) {
            self.context.ports.profiles.check_before_start(&name);
        }
    }

    /// Tunnels that are to run and are blocked by a fault of which `meant` says yes.
    fn blocked(&self, meant: impl Fn(&Self, &StoredTunnel, &FaultKind) -> bool) -> Vec<TunnelId> {
        let blocked = |state| if let TunnelState::Blocked { fault } = state { Some(fault) } else { None };
        self.waiting(blocked, meant)
    }

    /// Tunnels that are to run and do not, because of the fault that `fault` takes out of their state, if `meant` says yes to it.
    fn waiting(
        &self,
        fault: impl Fn(TunnelState) -> Option<Fault>,
        meant: impl Fn(&Self, &StoredTunnel, &FaultKind) -> bool,
    ) -> Vec<TunnelId> {
        let state = |stored: &StoredTunnel| {
            self.context.publisher.tunnel(stored.id).map(|tunnel| tunnel.status.state)
        };
        let runs = self.stored().filter(|stored| stored.intent == Intent::Run);
        runs.filter(|stored| {
            let fault = state(stored).and_then(&fault);
            fault.is_some_and(|fault| meant(self, stored, &fault.kind))
        })
        .map(|stored| stored.id)
        .collect()
    }

    async fn run_again(&mut self, tunnels: Vec<TunnelId>) {
        for id in tunnels {
            drop(self.order(id, Command::Run).await);
        }
    }

    fn waits_for(&self, stored: &StoredTunnel, kind: &FaultKind, sign_in: &SignIn) -> bool {
        // That it was not found was true then: it is there now.
        let (FaultKind::SignInNeeded { sign_in: needed } | FaultKind::SignInNotFound { sign_in: needed }) =
            kind
        else {
            return false;
        };
        if !needed.is_empty() {
            return needed == sign_in.name.as_str();
        }
        // Only the profile is known.
        let profile = self.profile_of(stored);
        sign_in.profiles.iter().any(|one| one.profile.as_str() == profile)
    }

    /// A tunnel without a profile uses that of the AWS CLI.
    fn profile_of(&self, stored: &StoredTunnel) -> String {
        let profile = self.context.scope(&stored.spec).profile;
        profile.map_or_else(|| "default".to_owned(), |profile| profile.to_string())
    }
}

/// Whether an edit of a profile may end it.
fn is_of_profile(kind: &FaultKind) -> bool {
    let of_a_key = |field: &str| matches!(field, "region" | "endpoint_url" | "ca_bundle");
    if let FaultKind::InvalidArgument { field } = kind {
        return of_a_key(field);
    }
    way::is_of_credentials(kind)
}
