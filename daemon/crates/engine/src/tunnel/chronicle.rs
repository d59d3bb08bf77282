//! What of a tunnel's life is an event: what a person wants to know afterwards, once, and nothing else.
//!
//! Attempts that fail like the one before are no news, or a night without a network would push everything else out of
//! the history.

use std::sync::Arc;
use std::time::Instant;

use stormtunnel_model::{
    Attempt, ConnectStep, EventKind, EventSubject, Fault, FaultKind, SessionStatus, Timestamp, TunnelId,
    TunnelSpec, TunnelState,
};

use crate::history::ledger::Ledger;
use crate::history::{History, bounded};
use crate::tunnel::machine::Command;
use crate::tunnel::node::{Choice, Found};

/// A tunnel without a session, as events show it.
pub(crate) fn subject(tunnel: TunnelId, spec: &TunnelSpec) -> EventSubject {
    EventSubject {
        tunnel,
        name: spec.name.clone(),
        profile: spec.profile.clone(),
        region: spec.region.clone(),
        target: spec.target.clone(),
        session: None,
        node: None,
        principal: None,
    }
}

/// Records the life of one tunnel.
#[derive(Debug)]
pub(crate) struct Chronicle {
    history: History,
    ledger: Arc<Ledger>,
    told: Told,
    /// What went wrong since the last state that was told.
    noted: Option<Fault>,
}

/// The state that was told last.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    /// Whatever comes is news.
    Nothing,
    Stopped,
    Connecting,
    Up,
    Idle,
    Retrying(FaultKind),
    Blocked(FaultKind),
}

impl Chronicle {
    /// Of a tunnel that is stopped.
    pub(crate) fn new(history: History, ledger: Arc<Ledger>) -> Self {
        Self { history, ledger, told: Told::Stopped, noted: None }
    }

    /// The tunnel was asked for something.
    pub(crate) fn begin(&mut self, command: Command) {
        match command {
            Command::Run | Command::SpecChanged { session: false, listener: false } => {}
            Command::SpecChanged { session: false, listener: true } => self.told = Told::Nothing,
            Command::Restart | Command::SpecChanged { session: true, .. } => {
                self.told = Told::Nothing;
                self.ledger.begin();
            }
            Command::Stop | Command::Delete => self.ledger.begin(),
        }
    }

    /// Something went wrong; the next state is its consequence.
    pub(crate) fn note(&mut self, fault: Fault) {
        self.noted = Some(fault);
    }

    /// The tunnel is in another state than `before`.
    pub(crate) fn enter(
        &mut self,
        state: &TunnelState,
        before: &TunnelState,
        attempt: Attempt,
        subject: EventSubject,
        now: Instant,
    ) {
        self.ledger.enter(state, now);
        let resumed = *before == TunnelState::Connecting { step: ConnectStep::Resume };
        if resumed && *state == TunnelState::Up {
            self.record(subject.clone(), EventKind::SessionResumed);
        }
        if let Some(kind) = self.told.news(state, attempt, &mut self.noted) {
            self.record(subject, kind);
        }
    }

    /// A session was started, through a node that was chosen for it.
    pub(crate) fn session_started(&self, subject: EventSubject, choice: &Choice) {
        self.ledger.add_session();
        if let Some(Found { name, candidates }) = choice.found.clone() {
            let kind = EventKind::NodeChosen { node: choice.node.clone(), name, candidates };
            self.record(subject.clone(), kind);
        }
        self.record(subject, EventKind::SessionStarted);
    }

    /// A session ended, of that fault or because the user wanted so.
    pub(crate) fn session_ended(
        &self,
        subject: EventSubject,
        fault: Option<Fault>,
        session: &SessionStatus,
        now: Timestamp,
    ) {
        let (traffic, lasted) = (session.traffic, now.since(session.since));
        self.record(subject, EventKind::SessionEnded { fault: fault.map(bounded), traffic, lasted });
    }

    /// Something went wrong that the session survives.
    pub(crate) fn trouble(&self, subject: EventSubject, fault: &Fault) {
        let fault = bounded(fault.clone());
        let kind = if fault.kind == FaultKind::LocalReaderStalled {
            EventKind::ReaderReset { fault }
        } else {
            EventKind::AgentStalled { fault }
        };
        self.record(subject, kind);
    }

    /// Something else happened.
    pub(crate) fn record(&self, subject: EventSubject, kind: EventKind) {
        self.history.record(Some(subject), kind);
    }
}

impl Told {
    /// The event of a state, if there is something new in it.
    fn news(
        &mut self,
        state: &TunnelState,
        attempt: Attempt,
        noted: &mut Option<Fault>,
    ) -> Option<EventKind> {
        let next = match state {
            TunnelState::Stopped => Self::Stopped,
            TunnelState::Stopping => return None,
            TunnelState::Connecting { .. } => match self {
                Self::Nothing | Self::Stopped | Self::Up | Self::Idle => Self::Connecting,
                // Another try, which is news when it ends differently.
                Self::Connecting | Self::Retrying(_) | Self::Blocked(_) => return None,
            },
            TunnelState::Up => Self::Up,
            TunnelState::Idle => Self::Idle,
            TunnelState::Retrying { fault, .. } => Self::Retrying(fault.kind.clone()),
            TunnelState::Blocked { fault } => Self::Blocked(fault.kind.clone()),
        };
        let noted = noted.take().map(bounded);
        if *self == next {
            return None;
        }
        *self = next;
        match state {
            TunnelState::Stopped => Some(EventKind::Stopped),
            TunnelState::Stopping => None,
            TunnelState::Connecting { .. } => Some(EventKind::Connecting { attempt, fault: noted }),
            TunnelState::Up => Some(EventKind::Up { attempt }),
            TunnelState::Idle => Some(EventKind::Idle),
            TunnelState::Retrying { fault, .. } => {
                Some(EventKind::Retrying { attempt, fault: bounded(fault.clone()) })
            }
            TunnelState::Blocked { fault } => Some(EventKind::Blocked { fault: bounded(fault.clone()) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connecting(step: ConnectStep) -> TunnelState {
        TunnelState::Connecting { step }
    }

    fn retrying(kind: FaultKind, at: u64) -> TunnelState {
        let fault = Fault::new(kind, format!("request {at}"));
        TunnelState::Retrying { at: Timestamp::from_millis(at), fault }
    }

    /// Names of the events of a tunnel that goes through these states.
    fn told(states: &[TunnelState]) -> Vec<&'static str> {
        let (mut told, mut noted) = (Told::Stopped, None);
        let news = states.iter().filter_map(|state| told.news(state, Attempt(1), &mut noted));
        news.map(|kind| kind.name()).collect()
    }

    #[test]
    fn steps_and_tries_that_fail_alike_are_told_once() {
        let mut states = vec![connecting(ConnectStep::Listener), connecting(ConnectStep::Session)];
        for at in 0..100 {
            states.push(retrying(FaultKind::Network, at));
            states.push(connecting(ConnectStep::Session));
        }
        states.push(retrying(FaultKind::Throttled, 100));
        states.extend([connecting(ConnectStep::Channel), TunnelState::Up, TunnelState::Stopping]);
        states.push(TunnelState::Stopped);
        assert_eq!(told(&states), ["connecting", "retrying", "retrying", "up", "stopped"]);
    }

    #[test]
    fn what_blocks_is_told_once_however_often_it_is_looked_at() {
        let fault = Fault::new(FaultKind::SignInNeeded { sign_in: "corp".to_owned() }, "");
        let blocked = TunnelState::Blocked { fault };
        let look = [connecting(ConnectStep::Session), blocked];
        let states: Vec<TunnelState> = look.iter().cycle().take(20).cloned().collect();
        assert_eq!(told(&states), ["connecting", "blocked"]);
    }

    #[test]
    fn a_new_connection_names_what_the_last_one_broke_of() {
        let fault = Fault::new(FaultKind::Network, "reset");
        let (mut told, mut noted) = (Told::Up, Some(fault.clone()));
        let news = told.news(&connecting(ConnectStep::Resume), Attempt(1), &mut noted);
        assert_eq!(news, Some(EventKind::Connecting { attempt: Attempt(1), fault: Some(fault) }));
        assert_eq!(
            told.news(&TunnelState::Up, Attempt(1), &mut noted),
            Some(EventKind::Up { attempt: Attempt(1) })
        );
        let news = told.news(&connecting(ConnectStep::Session), Attempt(2), &mut noted);
        assert_eq!(news, Some(EventKind::Connecting { attempt: Attempt(2), fault: None }), "told already");
    }
}
