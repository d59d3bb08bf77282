//! Tunnels that waited for a login go on after it, whoever logged in and with which tool; and those that a profile held up, when it
//! is edited.

use std::collections::BTreeSet;

use stormtunnel_model::{FaultKind, Intent, Profile, SignIn, TunnelId, TunnelState};

use super::Supervisor;
use crate::ports::StoredTunnel;
use crate::tunnel::machine::Command;

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
        let fault = |stored: &StoredTunnel| {
            let state = self.context.publisher.tunnel(stored.id).map(|tunnel| tunnel.status.state);
            let Some(TunnelState::Blocked { fault }) = state else { return None };
            Some(fault.kind)
        };
        let runs = self.stored().filter(|stored| stored.intent == Intent::Run);
        runs.filter(|stored| fault(stored).is_some_and(|kind| meant(self, stored, &kind)))
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
    let of_a_key = |field: &str| field == "region" || field == "endpoint_url";
    if let FaultKind::InvalidArgument { field } = kind {
        return of_a_key(field);
    }
    matches!(
        kind,
        FaultKind::ProfileNotFound { .. }
            | FaultKind::CredentialsInvalid { .. }
            | FaultKind::SignInNeeded { .. }
            | FaultKind::SignInNotFound { .. }
            | FaultKind::PermissionDenied { .. }
    )
}
