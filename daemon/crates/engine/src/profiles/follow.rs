//! Tunnels that a profile held up try again when somebody has edited it.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::registry::Profiles;
use crate::handle::Command;

/// Tells the supervisor of each profile that is another one than it was.
pub(crate) async fn follow(profiles: Profiles, supervisor: mpsc::Sender<Command>) {
    let Some(mut configured) = profiles.configured() else { return };
    let mut known = Arc::clone(&configured.borrow_and_update());
    while configured.changed().await.is_ok() {
        let now = Arc::clone(&configured.borrow_and_update());
        let version = |name| known.profiles.get(name).map(|profile| profile.version);
        let edited = now.profiles.iter().filter(|(name, profile)| version(name) != Some(profile.version));
        for (name, _) in edited {
            if supervisor.send(Command::ProfileEdited(name.clone())).await.is_err() {
                return;
            }
        }
        known = now;
    }
}
