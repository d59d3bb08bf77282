//! What the actor makes of its sessions' news.

use stormtunnel_model::{Attempt, EventKind, Fault, FaultKind, RemoteHealth};

use super::{Actor, ActorParts};
use crate::tunnel::machine::{self, Input};
use crate::tunnel::node::Hint;
use crate::tunnel::session_driver::News;

impl Actor {
    pub(super) fn on_news(&mut self, session: Attempt, news: News) {
        let current = self.parts.machine.session() == Some(session);
        match news {
            News::Machine(news) => {
                if news == machine::SessionNews::Closed {
                    self.sessions.remove(&session);
                }
                self.input(Input::Session(session, news));
            }
            News::PayloadLimit(limit) => {
                if let Some(session) = self.sessions.get(&session) {
                    let kind = EventKind::PayloadReduced { limit: limit as u64 };
                    self.chronicle.record(self.subject_of(session), kind);
                    self.parts.context.learn_payload_limit(&session.scope, limit);
                }
            }
            News::Agent(version) if current => self.status.agent_version = Some(version),
            News::Remote(health) if current => self.learn_remote(health),
            News::Trouble(fault) if current => {
                if fault.kind == FaultKind::AgentUnresponsive {
                    self.suspect_node(Hint::Silent);
                }
                self.chronicle.trouble(self.subject(), &fault);
                self.status.last_fault = Some(fault);
            }
            News::Paused(true) if current => self.suspect_node(Hint::Paused),
            News::Paused(_) => self.nodes.acquit(session, Hint::Paused),
            News::AgentBack => self.nodes.acquit(session, Hint::Silent),
            News::NodeLost(fault) => {
                self.input(Input::Session(session, machine::SessionNews::Ended { fault, over: false }));
            }
            News::Limit(limit) if current => self.status.limit = limit,
            News::Agent(_) | News::Remote(_) | News::Trouble(_) | News::Limit(_) => {}
        }
    }

    pub(super) fn suspect_node(&mut self, hint: Hint) {
        let ActorParts { context, machine, sender, .. } = &self.parts;
        let current = machine.session().and_then(|current| Some((current, self.sessions.get(&current)?)));
        if let Some((current, session)) = current {
            let subject = (&session.choice, &session.scope);
            self.nodes.suspect(current, hint, subject, (context, sender));
        }
    }

    fn learn_remote(&mut self, health: RemoteHealth) {
        self.status.remote = health;
        if health == RemoteHealth::Refused {
            let remote = self.parts.wanted.spec.remote.to_string();
            let fault = Fault::new(FaultKind::RemoteRefused { remote }, "");
            self.chronicle.record(self.subject(), EventKind::ConnectionRefused { fault: fault.clone() });
            self.status.last_fault = Some(fault);
        }
    }
}
