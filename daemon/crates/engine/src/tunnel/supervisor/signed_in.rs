//! Tunnels that waited for a login go on after it, whoever logged in and with which tool.

use stormtunnel_model::{Fault, FaultKind, Intent, SignIn, TunnelId, TunnelState};

use super::Supervisor;
use crate::ports::StoredTunnel;
use crate::tunnel::machine::Command;

impl Supervisor {
    /// Has the tunnels try again that are blocked until this sign-in is good.
    pub(super) async fn go_on(&mut self, sign_in: &SignIn) {
        let runs = |stored: &&StoredTunnel| stored.intent == Intent::Run;
        let waiting: Vec<TunnelId> = self
            .stored()
            .filter(runs)
            .filter(|stored| self.waits_for(stored, sign_in))
            .map(|stored| stored.id)
            .collect();
        if !waiting.is_empty() {
            let (name, tunnels) = (&sign_in.name, waiting.len());
            tracing::info!(sign_in = %name, tunnels, "signed in: the tunnels that waited for it go on");
        }
        for id in waiting {
            drop(self.order(id, Command::Run).await);
        }
    }

    fn waits_for(&self, stored: &StoredTunnel, sign_in: &SignIn) -> bool {
        let state = self.context.publisher.tunnel(stored.id).map(|tunnel| tunnel.status.state);
        let Some(TunnelState::Blocked {
            fault: Fault { kind: FaultKind::SignInNeeded { sign_in: needed }, .. },
        }) = state
        else {
            return false;
        };
        if !needed.is_empty() {
            return needed == sign_in.name.as_str();
        }
        // Only the profile is known; a tunnel without one uses that of the AWS CLI.
        let profile = self.context.scope(&stored.spec).profile;
        let profile = profile.as_ref().map_or("default", |profile| profile.as_str());
        sign_in.profiles.iter().any(|one| one.profile.as_str() == profile)
    }
}
