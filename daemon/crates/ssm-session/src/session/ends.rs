//! How a session ends, and the clocks that can end it.

use std::time::Instant;

use bytes::Bytes;

use super::{Control, Phase, PortSession};
use crate::event::{HandshakeStep, SessionEnd, SessionEvent};
use crate::kind::{Flag, PayloadType};
use crate::statistics::Statistics;
use crate::time::{Now, earliest};

/// What AWS's agent takes in for all destinations of a session before it stops reading: the bucket of its multiplexer.
const AGENT_BUFFER: u64 = 4 << 20;

impl PortSession {
    /// Ends the session on the user's behalf. [`SessionEvent::Ended`] follows within [`crate::Config::terminate_wait`];
    /// the TerminateSession call should be made in any case.
    pub fn terminate(&mut self, now: Now) {
        match self.phase {
            Phase::Over | Phase::Terminating { .. } => return,
            Phase::AwaitRequest | Phase::AwaitComplete | Phase::Refusing(_) => {
                // Anything sent before the end of the handshake would be thrown away.
                return self.end(SessionEnd::UserTerminated { confirmed: false });
            }
            Phase::AwaitReady { .. } | Phase::Up => {}
        }
        let understood = self.agent_version.as_ref().is_some_and(crate::Version::understands_terminate);
        if !self.connected || !understood {
            return self.end(SessionEnd::UserTerminated { confirmed: false });
        }
        let payload = Bytes::copy_from_slice(&Flag::TerminateSession.encode());
        self.controls.push_back(Control { payload_type: PayloadType::Flag, payload });
        self.step_deadline = None;
        self.phase = Phase::Terminating { flag: None, deadline: now.mono + self.config.terminate_wait };
    }

    /// Time has come to `now`; calling it early or late does no harm.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.is_over() {
            return;
        }
        self.streams.handle_timeout(now.mono);
        self.judge_silence(now.mono);
        self.rest.handle_timeout(now.mono);
        if let Phase::Terminating { deadline, .. } = self.phase
            && deadline <= now.mono
        {
            return self.end(SessionEnd::UserTerminated { confirmed: false });
        }
        if self.step_deadline.is_some_and(|at| at <= now.mono) {
            return self.give_up_handshake();
        }
        self.notice_resends(now);
        if self.connected {
            self.watch_connection(now);
        }
    }

    /// Tells when the agent's way of sending again begins to be what a download waits for, and when it ends.
    pub(super) fn notice_resends(&mut self, now: Now) {
        let slowly = self.channel.waits_for_resends(now.mono);
        if std::mem::replace(&mut self.resends_slowly, slowly) == slowly || self.is_over() {
            return;
        }
        self.events.push_back(if slowly {
            let Statistics { missing_messages, early_bytes, .. } = self.statistics();
            SessionEvent::AgentResendsSlowly { missing: missing_messages, waiting: early_bytes }
        } else {
            SessionEvent::AgentCaughtUp
        });
    }

    pub(super) fn next_timeout(&mut self, now: Now) -> Option<Instant> {
        if self.is_over() {
            return None;
        }
        let terminate = match self.phase {
            Phase::Terminating { deadline, .. } => Some(deadline),
            Phase::AwaitRequest
            | Phase::AwaitComplete
            | Phase::Refusing(_)
            | Phase::AwaitReady { .. }
            | Phase::Up
            | Phase::Over => None,
        };
        let own =
            earliest(earliest(self.step_deadline, terminate), self.streams.next_timeout(self.may_ask()));
        let own = earliest(own, self.channel.resends_awaited_until());
        let own = earliest(own, self.rest.until());
        if !self.connected {
            return own;
        }
        let wants_to_send = self.wants_to_send();
        let channel = self.channel.next_timeout(wants_to_send, self.hurries(), now.mono);
        let channel = earliest(channel, self.channel.acks_held_until());
        let stall = self.stall_deadline();
        earliest(own, earliest(earliest(self.liveness.next_timeout(), stall), channel))
    }

    /// Ends the session: every stream is reset, nothing follows.
    pub(super) fn end(&mut self, end: SessionEnd) {
        self.close();
        self.events.push_back(SessionEvent::Ended(end));
    }

    /// Stops everything; the streams' resets remain to be told.
    pub(super) fn close(&mut self) {
        self.streams.reset_all();
        self.channel.clear();
        self.events.append(&mut self.streams.events);
        self.phase = Phase::Over;
        self.controls.clear();
        self.greeting = None;
        self.step_deadline = None;
        self.liveness.disconnected();
    }

    fn give_up_handshake(&mut self) {
        let step = match self.phase.clone() {
            Phase::AwaitRequest => HandshakeStep::Request,
            Phase::AwaitComplete => HandshakeStep::Complete,
            Phase::AwaitReady { .. } => HandshakeStep::Ready,
            Phase::Refusing(end) => return self.end(end),
            Phase::Up | Phase::Terminating { .. } | Phase::Over => {
                self.step_deadline = None;
                return;
            }
        };
        self.end(SessionEnd::HandshakeTimeout { step });
    }

    fn watch_connection(&mut self, now: Now) {
        let reading = self.wants_input();
        if self.liveness.is_dead(reading, now.mono) {
            self.events.push_back(SessionEvent::ChannelDead);
        }
        if self.stall_deadline().is_none_or(|at| at > now.mono) {
            return;
        }
        if !reading {
            self.channel.excuse_peer(now.mono);
        } else if let Some(since) = self.channel.outbox().waiting_since() {
            if std::mem::replace(&mut self.stalled, true) {
                return self.end(SessionEnd::AgentLost { silence: now.mono - since });
            }
            let maybe_remote = self.may_wait_for_remote();
            self.events.push_back(SessionEvent::AgentStalled { since, maybe_remote });
        }
    }

    /// When the agent counts as stalled, and once it does, when it counts as lost; `None` while it owes nothing, or may
    /// have a reason.
    fn stall_deadline(&self) -> Option<Instant> {
        let since = self.channel.outbox().waiting_since()?;
        if !self.stalled {
            return Some(since + self.config.agent_stalled_after);
        }
        // The path is proven: otherwise the agent may have confirmed everything.
        let is_lost = self.is_up() && !self.may_wait_for_remote() && self.liveness.confirmed_since(since);
        is_lost.then(|| since + self.config.agent_lost_after)
    }

    /// Whether the agent may have taken in all that it can for destinations that read nothing.
    fn may_wait_for_remote(&self) -> bool {
        self.channel.counters.bytes_out >= AGENT_BUFFER
    }
}
