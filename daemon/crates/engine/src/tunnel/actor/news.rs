//! What the actor makes of its sessions' news.

use stormtunnel_model::{Attempt, EventKind, Fault, FaultKind, RemoteHealth};

use super::{Actor, ActorParts};
use crate::tunnel::machine::{self, Input};
use crate::tunnel::node::Hint;
use crate::tunnel::session_driver::News;

impl Actor {
    pub(super) fn on_news(&mut self, session: Attempt, news: News) {
        let lane = self.lanes.of(session);
        let current = lane.is_some_and(|lane| lane.machine.session() == Some(session));
        match news {
            News::Machine(news) => {
                if news == machine::SessionNews::Closed {
                    self.sessions.remove(&session);
                }
                self.input(session, Input::Session(session, news));
            }
            News::PayloadLimit(limit) => {
                if let Some(session) = self.sessions.get(&session) {
                    let kind = EventKind::PayloadReduced { limit: limit as u64 };
                    self.chronicle.record(self.subject_of(session), kind);
                    self.parts.context.learn_payload_limit(&session.scope, limit);
                }
            }
            News::Agent(version) if current => self.status.agent_version = Some(version),
            News::Remote(health) if current => self.learn_remote(session, health),
            News::Trouble(fault) if current => {
                if fault.kind == FaultKind::AgentUnresponsive {
                    self.suspect_node(session, Hint::Silent);
                }
                self.chronicle.trouble(self.subject_in(session), &fault);
                self.status.last_fault = Some(fault);
            }
            News::Paused(true) if current => self.suspect_node(session, Hint::Paused),
            News::Paused(_) => self.nodes.acquit(session, Hint::Paused),
            News::AgentBack => self.nodes.acquit(session, Hint::Silent),
            News::NodeLost(fault) => {
                let ended = machine::SessionNews::Ended { fault, over: false, unused: false };
                self.input(session, Input::Session(session, ended));
            }
            News::Limit(limit) if current => self.status.limit = limit,
            News::Opener(principal) => {
                let context = &self.parts.context;
                if let Some(session) = self.sessions.get_mut(&session) {
                    if let Some(region) = &session.scope.region {
                        context.learn_account(&context.scope(&self.parts.wanted.spec), &principal, region);
                    }
                    session.principal = Some(principal);
                }
            }
            News::Agent(_) | News::Remote(_) | News::Trouble(_) | News::Limit(_) => {}
        }
    }

    pub(super) fn suspect_node(&mut self, session: Attempt, hint: Hint) {
        let ActorParts { context, sender, .. } = &self.parts;
        if let Some(handle) = self.sessions.get(&session) {
            let subject = (&handle.choice, &handle.scope, &handle.about);
            self.nodes.suspect(session, hint, subject, (context, sender));
        }
    }

    fn learn_remote(&mut self, session: Attempt, health: RemoteHealth) {
        self.status.remote = health;
        if health == RemoteHealth::Refused {
            let remote = self.parts.wanted.spec.remote.to_string();
            let fault = Fault::new(FaultKind::RemoteRefused { remote }, "");
            let kind = EventKind::ConnectionRefused { fault: fault.clone() };
            self.chronicle.record(self.subject_in(session), kind);
            self.status.last_fault = Some(fault);
        }
    }
}
