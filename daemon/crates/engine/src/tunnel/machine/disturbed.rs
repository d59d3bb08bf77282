//! Something happened to the machine: it slept, its network changed, its clock was set.

use super::{Duration, Effect, Instant, Resume, State, TunnelMachine};
use crate::clock::Now;

/// Over how much time tunnels that are disturbed together spread what they try again.
pub const RETURN_WITHIN: Duration = Duration::from_secs(1);
/// A step of a resume that is older than this may be waiting for an answer that never comes, because it left through what
/// was the network before. One as young as this left through the network as it is now.
pub(super) const STEP_IS_YOUNG: Duration = Duration::from_secs(2);

impl TunnelMachine {
    /// What is open is to prove itself, what waits goes on. What is under way for the first time has its deadline.
    pub(super) fn disturbed(&mut self, now: Now) {
        let soon = now.mono + self.backoff.spread(RETURN_WITHIN);
        let young = |deadline: Instant| deadline + STEP_IS_YOUNG >= now.mono + self.step_timeout;
        match &mut self.state {
            State::Up { .. } | State::Opening { dialling: false, .. } => {
                let session = self.session.as_ref().map(|session| session.started);
                self.effects.extend(session.map(Effect::Verify));
            }
            State::Resuming { step, .. } => {
                let goes_on = match *step {
                    Resume::Waiting { at } => at <= soon,
                    Resume::Asking { deadline, .. } | Resume::Dialling { deadline, .. } => young(deadline),
                };
                if !goes_on {
                    *step = Resume::Waiting { at: soon };
                }
            }
            State::Retrying { at, shown, .. } if *at > soon => {
                *at = soon;
                *shown = now.wall_at(soon);
            }
            State::Stopped
            | State::Binding
            | State::Idle
            | State::Starting { .. }
            | State::Opening { .. }
            | State::Retrying { .. }
            | State::Blocked { .. }
            | State::Stopping { .. } => {}
        }
    }
}
