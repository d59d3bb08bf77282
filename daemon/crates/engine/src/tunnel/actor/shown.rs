//! The tunnel as events and its status show it.

use stormtunnel_model::{Attempt, EventSubject, SessionStatus};

use super::Actor;
use crate::tunnel::chronicle::subject;
use crate::tunnel::machine;
use crate::tunnel::session_task::SessionHandle;

impl Actor {
    /// The tunnel as events show it.
    pub(super) fn subject(&self) -> EventSubject {
        let session = self.lanes.main.machine.session().and_then(|session| self.sessions.get(&session));
        match session {
            Some(session) => self.subject_of(session),
            None => subject(self.parts.id, &self.parts.wanted.spec),
        }
    }

    /// The same for something that happened in that session.
    pub(super) fn subject_in(&self, session: Attempt) -> EventSubject {
        let session = self.sessions.get(&session);
        session.map_or_else(|| self.subject(), |session| self.subject_of(session))
    }

    /// The same with a session, whose scope and target may be those of an earlier spec.
    pub(super) fn subject_of(&self, session: &SessionHandle) -> EventSubject {
        EventSubject {
            profile: session.scope.profile.clone(),
            region: session.scope.region.clone(),
            target: session.choice.target.clone(),
            session: Some(session.id.clone()),
            node: Some(session.choice.node.clone()),
            principal: session.principal.clone(),
            ..subject(self.parts.id, &self.parts.wanted.spec)
        }
    }

    pub(super) fn refresh_status(&mut self) {
        let machine = &self.lanes.main.machine;
        self.status.attempt = machine.connects();
        self.status.listening = self.front.addresses();
        let session = machine.session().and_then(|session| self.sessions.get(&session));
        self.status.session = session.map(|session| session.id.clone());
        self.status.node = session.map(|session| session.choice.node.clone());
        self.status.sessions = self.open_sessions();
        self.status.limit = self.status.limit.filter(|_| session.is_some());
        let admission = self.lanes.main.admission.as_ref();
        let admission = admission.filter(|admission| machine.wants_session(admission.attempt));
        self.status.turn_at = admission.and_then(|admission| admission.turn.expected());
    }

    /// The main one first: attempts of a lane tell its number.
    fn open_sessions(&self) -> Vec<SessionStatus> {
        let mut sessions: Vec<_> = self.sessions.iter().collect();
        sessions.sort_by_key(|(attempt, _)| attempt.0 % machine::LANES);
        sessions.into_iter().map(|(_, session)| session.status()).collect()
    }
}
