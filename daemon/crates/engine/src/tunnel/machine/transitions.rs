//! The rows of the table in [`super`], one function per kind of input.

use super::{
    Answer, Command, Effect, Keep, LANES, Listener, PORT_RECHECK, PROVED_AFTER, RESUME_AT_ONCE_AFTER,
    RETRY_CAP, RETRY_CAP_WAITING, Resume, SIGN_IN_RECHECK, STOP_WAIT, Session, SessionNews, State, Then,
    TunnelMachine,
};
use super::{Attempt, Duration, Fault, FaultKind, Instant, Recovery, TunnelState};
use crate::clock::Now;

impl TunnelMachine {
    pub(super) fn handle_command(&mut self, command: Command, now: Now) {
        match command {
            Command::Run => self.run(),
            Command::Restart => self.restart(),
            Command::Stop => self.stop(Then::Rest, now),
            Command::Delete => self.stop(Then::Delete, now),
            Command::SpecChanged { session, listener } => self.change_spec(session, listener),
        }
    }

    fn run(&mut self) {
        match &mut self.state {
            State::Stopped | State::Retrying { .. } | State::Blocked { .. } => self.connect(),
            State::Idle if self.keep == Keep::OnDemand => {}
            State::Idle => self.connect(),
            State::Stopping { then, .. } => then.run_again(),
            State::Binding
            | State::Starting { .. }
            | State::Opening { .. }
            | State::Up { .. }
            | State::Resuming { .. } => {}
        }
    }

    fn restart(&mut self) {
        if let State::Stopping { then, .. } = &mut self.state {
            return then.run_again();
        }
        self.end_session(false, None);
        self.backoff.reset();
        if self.listener == Listener::Bound && self.waits_for_demand() {
            self.state = State::Idle;
        } else {
            self.connect();
        }
    }

    fn stop(&mut self, then: Then, now: Now) {
        match &mut self.state {
            State::Stopped if then == Then::Delete => self.effects.push_back(Effect::Finished),
            State::Stopped => {}
            State::Stopping { then: Then::Delete, .. } => {}
            State::Stopping { then: planned, .. } => *planned = then,
            State::Binding
            | State::Idle
            | State::Starting { .. }
            | State::Opening { .. }
            | State::Up { .. }
            | State::Resuming { .. }
            | State::Retrying { .. }
            | State::Blocked { .. } => {
                self.close_listener();
                self.effects.push_back(Effect::ResetHeld);
                self.end_session(false, None);
                self.backoff.reset();
                self.state = State::Stopping { then, deadline: now.mono + STOP_WAIT };
            }
        }
    }

    fn change_spec(&mut self, session: bool, listener: bool) {
        if matches!(self.state, State::Stopped | State::Stopping { .. }) {
            return;
        }
        if listener {
            self.close_listener();
        }
        if session {
            self.restart();
        } else if self.state == State::Idle && self.keep == Keep::Warm && !listener {
            self.connect();
        } else if listener {
            // A tunnel that waits for its next try binds with that try.
            match self.state {
                State::Retrying { .. } | State::Blocked { .. } => self.connect(),
                State::Stopped
                | State::Binding
                | State::Idle
                | State::Starting { .. }
                | State::Opening { .. }
                | State::Up { .. }
                | State::Resuming { .. }
                | State::Stopping { .. } => self.bind(),
            }
        }
    }

    pub(super) fn handle_answer(&mut self, attempt: Attempt, answer: Answer, now: Now) {
        match answer {
            Answer::ListenerBound if self.wants_listener(attempt) => {
                self.listener = Listener::Bound;
                if matches!(self.state, State::Binding | State::Blocked { .. }) {
                    self.listener_bound();
                }
            }
            Answer::ListenerFailed(fault) if self.wants_listener(attempt) => {
                self.listener = Listener::Closed;
                self.fail(fault, now);
            }
            Answer::ListenerBound | Answer::ListenerFailed(_) => {}
            Answer::Admitted { within, patience } => self.admitted(attempt, (within, patience), now),
            Answer::SessionStarted => self.session_started(attempt, now),
            Answer::SessionFailed(fault) => {
                self.starting.remove(&attempt);
                if self.wants_session(attempt) {
                    self.fail(fault, now);
                }
            }
            Answer::Resumed => self.resumed(attempt, now),
            Answer::ResumeFailed(fault) if self.wants_resumption(attempt) => self.resume_later(fault, now),
            Answer::SessionGone { unused } if self.wants_resumption(attempt) => {
                let fault = Fault::new(FaultKind::SessionEnded, "it was over when its connection came back");
                self.session_over(fault, true, unused, now);
            }
            Answer::ResumeFailed(_) | Answer::SessionGone { .. } => {}
            Answer::ChannelOpened if self.wants_channel(attempt).is_some() => {
                self.channel_opened(attempt, now);
            }
            Answer::ChannelFailed(fault) if self.wants_channel(attempt).is_some() => {
                self.channel_failed(fault, now);
            }
            Answer::ChannelOpened | Answer::ChannelFailed(_) => {}
        }
    }

    fn admitted(&mut self, attempt: Attempt, (within, patience): (Duration, Duration), now: Now) {
        if let State::Starting { attempt: current, deadline } = &mut self.state
            && *current == attempt
        {
            self.starting.insert(attempt);
            *deadline = Some(now.mono + within + patience);
            self.step_timeout = within;
        }
    }

    fn session_started(&mut self, attempt: Attempt, now: Now) {
        self.starting.remove(&attempt);
        match self.state {
            State::Starting { attempt: current, deadline: Some(deadline) } if current == attempt => {
                self.session = Some(Session { started: attempt, channel: attempt, was_up: false });
                // Nobody has to type anything any more.
                let deadline = deadline.min(now.mono + self.step_timeout);
                self.state = State::Opening { attempt, dialling: true, deadline };
                self.effects.push_back(Effect::Dial(attempt));
            }
            // Too late for us, but it exists and costs money and attention.
            State::Stopped
            | State::Binding
            | State::Idle
            | State::Starting { .. }
            | State::Opening { .. }
            | State::Up { .. }
            | State::Resuming { .. }
            | State::Retrying { .. }
            | State::Blocked { .. }
            | State::Stopping { .. } => self.close(attempt, false, None),
        }
    }

    fn resumed(&mut self, attempt: Attempt, now: Now) {
        if self.wants_resumption(attempt)
            && let State::Resuming { step, .. } = &mut self.state
        {
            *step = Resume::Dialling { attempt, deadline: now.mono + self.step_timeout };
            self.effects.push_back(Effect::Dial(attempt));
        }
    }

    fn channel_opened(&mut self, attempt: Attempt, now: Now) {
        let Some(session) = &mut self.session else { return };
        session.channel = attempt;
        let deadline = match self.state {
            State::Opening { deadline, .. } => deadline,
            State::Resuming { up_by: Some(up_by), .. } if !session.was_up => up_by,
            State::Stopped
            | State::Binding
            | State::Idle
            | State::Starting { .. }
            | State::Up { .. }
            | State::Resuming { .. }
            | State::Retrying { .. }
            | State::Blocked { .. }
            | State::Stopping { .. } => return self.up(now),
        };
        self.state = State::Opening { attempt, dialling: false, deadline };
    }

    fn channel_failed(&mut self, fault: Fault, now: Now) {
        match self.state {
            State::Resuming { .. } => self.resume_later(fault, now),
            State::Stopped
            | State::Binding
            | State::Idle
            | State::Starting { .. }
            | State::Opening { .. }
            | State::Up { .. }
            | State::Retrying { .. }
            | State::Blocked { .. }
            | State::Stopping { .. } => self.fail(fault, now),
        }
    }

    /// The session may live on: only its connection fails.
    fn resume_later(&mut self, fault: Fault, now: Now) {
        if fault.recovery() != Recovery::Retry {
            return self.fail(fault, now);
        }
        self.effects.push_back(Effect::Note(fault));
        let at = now.mono + self.resume_backoff.next_wait(RETRY_CAP);
        if let State::Resuming { step, .. } = &mut self.state {
            *step = Resume::Waiting { at };
        }
    }

    pub(super) fn handle_news(&mut self, session: Attempt, news: SessionNews, now: Now) {
        if news == SessionNews::Closed {
            self.closing.remove(&session);
            return;
        }
        let Some(current) = self.session.as_mut().filter(|current| current.started == session) else {
            return;
        };
        match news {
            SessionNews::HandshakeUp => {
                current.was_up = true;
                if matches!(self.state, State::Opening { .. }) {
                    self.up(now);
                }
            }
            SessionNews::ChannelLost { channel, proven, fault } => {
                if current.channel == channel {
                    self.channel_lost(proven, fault, now);
                }
            }
            SessionNews::Ended { fault, over, unused } => self.session_over(fault, over, unused, now),
            SessionNews::Closed => {}
        }
    }

    fn channel_lost(&mut self, proven: bool, fault: Fault, now: Now) {
        let (lived, up_by) = match self.state {
            State::Opening { dialling: false, deadline, .. } => (Duration::ZERO, Some(deadline)),
            State::Up { since, .. } => (now.mono.saturating_duration_since(since), None),
            State::Stopped
            | State::Binding
            | State::Idle
            | State::Starting { .. }
            | State::Opening { .. }
            | State::Resuming { .. }
            | State::Retrying { .. }
            | State::Blocked { .. }
            | State::Stopping { .. } => return,
        };
        self.effects.push_back(Effect::Note(fault));
        // An idle channel carries nothing, and proves itself by its age.
        let proven = proven || lived >= RESUME_AT_ONCE_AFTER;
        if proven {
            self.resume_backoff.reset();
        }
        let wait = if proven && lived >= RESUME_AT_ONCE_AFTER {
            Duration::ZERO
        } else {
            self.resume_backoff.next_wait(RETRY_CAP)
        };
        self.state = State::Resuming { step: Resume::Waiting { at: now.mono + wait }, up_by };
        self.expire(now);
    }

    /// The session is over without our doing. One that had worked is replaced at once, the first time; one that AWS closed
    /// because nobody used it, when somebody wants to.
    fn session_over(&mut self, fault: Fault, over: bool, unused: bool, now: Now) {
        let was_up = self.session.as_ref().is_some_and(|session| session.was_up);
        self.end_session(over, Some(fault.clone()));
        let rests = over && unused && !self.waiting && self.keep != Keep::Warm;
        if was_up && rests && self.listener == Listener::Bound {
            self.state = State::Idle;
        } else if was_up && self.backoff.failures() == 0 && fault.recovery() == Recovery::Retry {
            self.backoff.note_failure();
            self.effects.push_back(Effect::Note(fault));
            self.connect();
        } else {
            self.fail(fault, now);
        }
    }

    pub(super) fn handle_waiting(&mut self, waiting: bool, now: Now) {
        self.waiting = waiting;
        match &mut self.state {
            State::Retrying { at, shown, .. } if waiting => {
                *at = (*at).min(now.mono + RETRY_CAP_WAITING);
                *shown = now.wall_at(*at);
            }
            State::Idle if waiting => self.connect(),
            // Who asked has given up; the next one asks again.
            State::Retrying { .. } if self.keep == Keep::OnDemand && self.listener == Listener::Bound => {
                self.state = State::Idle;
            }
            State::Stopped
            | State::Binding
            | State::Idle
            | State::Starting { .. }
            | State::Opening { .. }
            | State::Up { .. }
            | State::Resuming { .. }
            | State::Retrying { .. }
            | State::Blocked { .. }
            | State::Stopping { .. } => {}
        }
    }

    pub(super) fn expire(&mut self, now: Now) {
        if self.next_timeout().is_none_or(|due| due > now.mono) {
            return;
        }
        let connect_seconds = self.step_timeout.as_secs();
        let network =
            |what| Fault::new(FaultKind::Network, format!("{what} took longer than {connect_seconds} s"));
        let no_answer = || {
            let detail = format!("no answer to the handshake within {connect_seconds} s");
            Fault::new(FaultKind::AgentUnresponsive, detail)
        };
        match self.state {
            State::Starting { .. } => self.fail(network("starting the session"), now),
            State::Opening { dialling: true, .. } => self.fail(network("opening the data channel"), now),
            State::Opening { .. } => self.fail(no_answer(), now),
            State::Resuming { up_by: Some(up_by), .. } if up_by <= now.mono => self.fail(no_answer(), now),
            State::Resuming { step: Resume::Waiting { .. }, up_by } => self.resume(up_by, now),
            State::Resuming { .. } => self.resume_later(network("resuming the session"), now),
            State::Up { since, .. } => {
                self.backoff.reset();
                self.state = State::Up { since, proved_at: None };
            }
            State::Blocked { fault: Fault { kind: FaultKind::PortInUse { .. }, .. }, ref mut recheck } => {
                // It stays Blocked while it looks: whoever watches is not told every five seconds.
                *recheck = None;
                self.bind();
            }
            State::Retrying { .. } | State::Blocked { .. } => self.connect(),
            State::Stopping { .. } => {
                // What AWS does not confirm is not waited for a second time.
                self.closing.clear();
                self.rest();
            }
            State::Stopped | State::Binding | State::Idle => {}
        }
    }

    /// The tunnel listens: the rest of the way up, or not before it is needed.
    fn listener_bound(&mut self) {
        if self.waits_for_demand() {
            self.state = State::Idle;
        } else {
            self.start_session();
        }
    }

    /// Whether nobody needs a session, and none is to be held.
    fn waits_for_demand(&self) -> bool {
        self.keep == Keep::OnDemand && !self.waiting
    }

    fn resume(&mut self, up_by: Option<Instant>, now: Now) {
        let attempt = self.next_attempt();
        let step = Resume::Asking { attempt, deadline: now.mono + self.step_timeout };
        self.state = State::Resuming { step, up_by };
        self.effects.push_back(Effect::ResumeSession(attempt));
    }

    /// Sets out for Up, from wherever.
    fn connect(&mut self) {
        self.connects = self.connects.next();
        match self.listener {
            Listener::Bound => self.start_session(),
            Listener::Binding(_) => self.state = State::Binding,
            Listener::Closed => {
                self.state = State::Binding;
                self.bind();
            }
        }
    }

    fn bind(&mut self) {
        let attempt = self.next_attempt();
        self.listener = Listener::Binding(attempt);
        self.effects.push_back(Effect::BindListener(attempt));
    }

    fn start_session(&mut self) {
        let attempt = self.next_attempt();
        self.state = State::Starting { attempt, deadline: None };
        self.effects.push_back(Effect::StartSession(attempt));
    }

    fn up(&mut self, now: Now) {
        self.state = State::Up { since: now.mono, proved_at: Some(now.mono + PROVED_AFTER) };
    }

    /// What was tried did not work.
    pub(super) fn fail(&mut self, fault: Fault, now: Now) {
        self.end_session(false, Some(fault.clone()));
        self.effects.push_back(Effect::Note(fault.clone()));
        self.state = match fault.recovery() {
            Recovery::Retry if self.listener == Listener::Bound && self.waits_for_demand() => State::Idle,
            Recovery::Retry => {
                let cap = if self.waiting { RETRY_CAP_WAITING } else { RETRY_CAP };
                let at = now.mono + self.backoff.next_wait(cap);
                State::Retrying { at, shown: now.wall_at(at), fault }
            }
            Recovery::SignIn => self.blocked(fault, Some(now.mono + SIGN_IN_RECHECK)),
            Recovery::FixByUser => {
                let taken = matches!(fault.kind, FaultKind::PortInUse { .. });
                self.blocked(fault, taken.then(|| now.mono + PORT_RECHECK))
            }
        };
    }

    fn blocked(&mut self, fault: Fault, recheck: Option<Instant>) -> State {
        self.effects.push_back(Effect::ResetHeld);
        State::Blocked { fault, recheck }
    }

    fn close_listener(&mut self) {
        if self.listener != Listener::Closed {
            self.listener = Listener::Closed;
            self.effects.push_back(Effect::CloseListener);
        }
    }

    fn end_session(&mut self, over: bool, fault: Option<Fault>) {
        if let Some(session) = self.session.take() {
            self.close(session.started, over, fault);
        }
        self.resume_backoff.reset();
    }

    fn close(&mut self, session: Attempt, over: bool, fault: Option<Fault>) {
        self.closing.insert(session);
        self.effects.push_back(Effect::EndSession { session, over, fault });
    }

    /// What follows from an input as a whole: the end of Stopping, and what is shown.
    pub(super) fn settle(&mut self) {
        let nothing_left = self.closing.is_empty() && self.starting.is_empty();
        if matches!(self.state, State::Stopping { .. }) && nothing_left {
            self.rest();
        }
        self.publish();
    }

    fn rest(&mut self) {
        let State::Stopping { then, .. } = self.state else { return };
        self.state = State::Stopped;
        match then {
            Then::Rest => {}
            Then::Restart => {
                // Whoever waits for the stop sees it happen.
                self.effects.push_back(Effect::Publish(TunnelState::Stopped));
                self.connect();
            }
            Then::Delete => self.effects.push_back(Effect::Finished),
        }
    }

    pub(super) fn publish(&mut self) {
        let shown = self.shown();
        if self.published.as_ref() != Some(&shown) {
            self.published = Some(shown.clone());
            self.effects.push_back(Effect::Publish(shown));
        }
    }

    fn next_attempt(&mut self) -> Attempt {
        self.attempt = Attempt(self.attempt.0 + LANES);
        self.attempt
    }
}

impl Then {
    /// A deletion is final; everything else gives way to a new start.
    fn run_again(&mut self) {
        if *self != Self::Delete {
            *self = Self::Restart;
        }
    }
}
