//! One tunnel's actor: feeds its machine, carries out what the machine decides, owns listener and held connections.
//!
//! It never waits for the world: calls run as tasks ([`Effects`]), sessions and connections have tasks of their own,
//! and all of them report to its mailbox.

mod connections;
mod news;
mod shown;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use stormtunnel_model::{
    Attempt, Fault, FaultKind, Principal, RemoteHealth, TunnelId, TunnelState, TunnelStatus,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Sleep;

use crate::clock::Now;
use crate::history::ledger::Ledger;
use crate::ports::{BindError, BoxChannel, BoxLocalStream, LocalListener, OpenSession, Resumption};
use crate::prompts::{CODE_TIMEOUT, CODES};
use crate::publish::Meter;
use crate::tunnel::about::About;
use crate::tunnel::binding::Binding;
use crate::tunnel::chronicle::Chronicle;
use crate::tunnel::context::Context;
use crate::tunnel::effects::{Effects, Work, abandon};
use crate::tunnel::front::Front;
use crate::tunnel::lanes::{Admission, Lanes};
use crate::tunnel::machine::{self, Answer, Effect, Input, Output, TunnelMachine};
use crate::tunnel::mailbox::{Message, Order, Wanted};
use crate::tunnel::node::{Choice, Hint, Nodes, NotStarted, StartOrder, Started};
use crate::tunnel::session_driver::Connect;
use crate::tunnel::session_task::{SessionHandle, SessionTask, is_unused};

/// What an actor is made of.
pub(crate) struct ActorParts {
    pub(crate) context: Arc<Context>,
    pub(crate) id: TunnelId,
    pub(crate) about: About,
    pub(crate) wanted: Wanted,
    pub(crate) meter: Arc<Meter>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) sender: mpsc::Sender<Message>,
    pub(crate) mailbox: mpsc::Receiver<Message>,
    pub(crate) binding: Binding,
}

/// The actor of one tunnel.
pub(crate) struct Actor {
    parts: ActorParts,
    effects: Effects,
    front: Front,
    lanes: Lanes,
    /// Of all lanes.
    sessions: BTreeMap<Attempt, SessionHandle>,
    nodes: Nodes,
    status: TunnelStatus,
    chronicle: Chronicle,
    /// Who waits for the tunnel to be stopped.
    stop_waiters: Vec<oneshot::Sender<()>>,
    /// When a machine wants to be called, or a held connection has waited long enough.
    due: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    finished: bool,
}

/// What happened next.
enum Happened {
    Cancelled,
    Message(Message),
    Due,
    Admitted(Attempt),
    TurnMoved,
    Accepted(BoxLocalStream),
}

impl Actor {
    pub(crate) fn new(mut machine: TunnelMachine, parts: ActorParts) -> Self {
        machine.set_keep(parts.wanted.spec.keep);
        let effects = Effects::new(Arc::clone(&parts.context), parts.sender.clone());
        let status = TunnelStatus::stopped(parts.context.now().wall);
        let chronicle = Chronicle::new(parts.context.history.clone(), Arc::clone(&parts.ledger));
        Self {
            parts,
            effects,
            front: Front::default(),
            lanes: Lanes::new(machine),
            sessions: BTreeMap::new(),
            nodes: Nodes::default(),
            status,
            chronicle,
            stop_waiters: Vec::new(),
            due: None,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            finished: false,
        }
    }

    /// Runs until the tunnel is deleted or the daemon ends.
    pub(crate) async fn run(mut self) {
        self.carry_out();
        while !self.finished {
            match self.next().await {
                Happened::Cancelled => break,
                Happened::Message(message) => self.on_message(message),
                Happened::Due => self.on_due(),
                Happened::Admitted(attempt) => self.on_admitted(attempt),
                Happened::TurnMoved => {}
                Happened::Accepted(local) => self.on_connection(local),
            }
            self.carry_out();
        }
        self.parts.mailbox.close();
        while let Some(message) = self.parts.mailbox.recv().await {
            abandon(&self.parts.context, &self.parts.about, message).await;
        }
    }

    async fn next(&mut self) -> Happened {
        let lanes = &mut self.lanes;
        let admission = poll_fn(|cx| lanes.poll_admitted(cx));
        tokio::select! {
            biased;
            () = self.parts.context.tasks.cancelled().cancelled() => Happened::Cancelled,
            Some(message) = self.parts.mailbox.recv() => Happened::Message(message),
            () = self.timer.as_mut(), if self.due.is_some() => Happened::Due,
            admitted = admission => admitted.map_or(Happened::TurnMoved, Happened::Admitted),
            local = self.front.accept() => Happened::Accepted(local),
        }
    }

    fn on_due(&mut self) {
        let now = self.parts.context.now();
        self.lanes.all().for_each(|(_, lane)| lane.machine.handle_timeout(now));
        if self.front.expire(now.mono) > 0 {
            self.tell_waiting();
        }
    }

    fn on_message(&mut self, message: Message) {
        match message {
            Message::Order(order) => self.on_order(*order),
            Message::Disturbed => self.on_disturbed(),
            Message::Bound(attempt, bound) => self.on_bound(attempt, bound),
            Message::Started(attempt, started) => self.on_started(attempt, started),
            Message::Resumed(attempt, resumed) => self.on_resumed(attempt, resumed),
            Message::Dialled(attempt, dialled) => self.on_dialled(attempt, dialled),
            Message::Session(session, news) => self.on_news(session, news),
        }
    }

    fn on_order(&mut self, Order { command, wanted, done }: Order) {
        self.parts.wanted = wanted.keeping_port_of(&self.parts.wanted);
        self.parts.about.rename(&self.parts.wanted.spec.name);
        tracing::debug!(?command, "order");
        self.chronicle.begin(command);
        let main = &mut self.lanes.main.machine;
        main.set_keep(self.parts.wanted.spec.keep);
        main.handle_input(Input::Command(command), self.parts.context.now());
        if command.ends_session() {
            self.lanes.close_all(self.parts.context.now());
        }
        let Some(done) = done else { return };
        match command {
            machine::Command::Stop | machine::Command::Delete => self.stop_waiters.push(done),
            machine::Command::Run | machine::Command::Restart | machine::Command::SpecChanged { .. } => {
                // Carried out before the answer, so that the caller finds its effect.
                self.carry_out();
                let _caller_left = done.send(());
            }
        }
    }

    fn on_disturbed(&mut self) {
        let now = self.parts.context.now();
        self.lanes.all().for_each(|(_, lane)| lane.machine.handle_input(Input::Disturbed, now));
    }

    fn on_bound(&mut self, attempt: Attempt, bound: Result<Box<dyn LocalListener>, BindError>) {
        let answer = match bound {
            Ok(listener) if self.lanes.main.machine.wants_listener(attempt) => {
                self.front.listen(listener);
                let wanted = &mut self.parts.wanted;
                if wanted.spec.local.is_automatic() {
                    wanted.kept_port = self.front.port();
                }
                Answer::ListenerBound
            }
            // Dropping the listener closes it.
            Ok(_late) => return,
            Err(BindError(fault)) => Answer::ListenerFailed(fault),
        };
        self.answer(attempt, answer);
    }

    fn on_admitted(&mut self, attempt: Attempt) {
        if !self.lanes.of(attempt).is_some_and(|lane| lane.machine.wants_session(attempt)) {
            return;
        }
        let spec = &self.parts.wanted.spec;
        let order = StartOrder {
            scope: self.parts.context.scope(spec),
            target: spec.target.clone(),
            remote: spec.remote.clone(),
            local_port: self.front.port(),
            reason: self.parts.wanted.reason.clone(),
            failures: self.nodes.failures(),
        };
        let Context { ports, .. } = self.parts.context.as_ref();
        let asks = ports.profiles.asks_for_code(order.scope.profile.as_ref());
        let patience = if asks { CODE_TIMEOUT * CODES } else { Duration::ZERO };
        let within = self.parts.context.settings().connect_timeout;
        self.answer(attempt, Answer::Admitted { within, patience });
        let work = self.work(attempt);
        self.effects.start_session(work, order);
    }

    fn on_started(&mut self, attempt: Attempt, started: Result<Box<Started>, NotStarted>) {
        let answer = match started.map(|started| *started) {
            Ok(Started { record, grant, choice, principal }) => {
                self.add_session(attempt, (record, choice), principal);
                match self.lanes.of(attempt) {
                    Some(lane) => lane.grant = Some(grant),
                    None => self.end_session(attempt, false, None),
                }
                Answer::SessionStarted
            }
            Err(NotStarted { fault, node }) => {
                self.nodes.failed(node.as_ref(), &fault, self.parts.context.now().mono);
                Answer::SessionFailed(fault)
            }
        };
        self.answer(attempt, answer);
    }

    /// From here on the session's own task sees to its end, wanted or not.
    fn add_session(
        &mut self,
        attempt: Attempt,
        session: (OpenSession, Choice),
        principal: Option<Principal>,
    ) {
        let work = self.work(attempt);
        let ActorParts { context, wanted, meter, sender, .. } = &self.parts;
        let (task, mut handle) =
            SessionTask::new(Arc::clone(context), session, &wanted.spec, meter, &work, sender.clone());
        handle.principal = principal;
        if handle.principal.is_none() {
            self.effects.find_opener(attempt, &handle);
        }
        self.chronicle.session_started(self.subject_of(&handle), &handle.choice);
        self.sessions.insert(attempt, handle);
        if context.tasks.spawn("session", task.run()).is_err() {
            tracing::warn!("a session that was started while the daemon ends is left to the next one");
        }
    }

    fn on_resumed(&mut self, attempt: Attempt, resumed: Result<Resumption, Fault>) {
        let now = self.parts.context.now();
        let Some(lane) = self.lanes.of(attempt).filter(|lane| lane.machine.wants_resumption(attempt)) else {
            return;
        };
        let answer = match resumed {
            Ok(Resumption::Granted(grant)) => {
                lane.grant = Some(grant);
                Answer::Resumed
            }
            Ok(Resumption::Gone) => {
                let session = lane.machine.session().and_then(|session| self.sessions.get(&session));
                Answer::SessionGone { unused: session.is_some_and(|session| is_unused(&session.shared, now)) }
            }
            Err(fault) => {
                let session = lane.machine.session();
                if matches!(fault.kind, FaultKind::TargetNotConnected { .. }) {
                    session.into_iter().for_each(|session| self.suspect_node(session, Hint::Silent));
                }
                Answer::ResumeFailed(fault)
            }
        };
        self.answer(attempt, answer);
    }

    fn on_dialled(&mut self, attempt: Attempt, dialled: Result<(BoxChannel, SecretString), Fault>) {
        let lane = self.lanes.of(attempt);
        let Some(session) = lane.and_then(|lane| lane.machine.wants_channel(attempt)) else { return };
        let answer = match dialled {
            Ok((channel, token)) => {
                if let Some(session) = self.sessions.get(&session) {
                    session.connect(Connect { attempt, channel, token });
                }
                Answer::ChannelOpened
            }
            Err(fault) => Answer::ChannelFailed(fault),
        };
        self.answer(attempt, answer);
    }

    /// With what its lines in the log are about.
    fn work(&mut self, attempt: Attempt) -> Work {
        let connects = self.lanes.of(attempt).map(|lane| lane.machine.connects());
        Work { attempt, about: self.parts.about.attempt(attempt, connects.unwrap_or_default()) }
    }

    fn answer(&mut self, attempt: Attempt, answer: Answer) {
        self.input(attempt, Input::Answer(attempt, answer));
    }

    /// For the lane that `attempt` is of.
    fn input(&mut self, attempt: Attempt, input: Input) {
        let now = self.parts.context.now();
        if let Some(lane) = self.lanes.of(attempt) {
            tracing::debug!(?input, "in");
            lane.machine.handle_input(input, now);
        }
    }

    /// Does everything that the machine wants done, and shows the result.
    fn carry_out(&mut self) {
        self.forward_held();
        self.drain(0);
        for number in 1..machine::LANES {
            self.drain(number);
        }
        self.lanes.leave_queue();
        let now = self.parts.context.now();
        self.due = self.next_due(now);
        self.due.into_iter().for_each(|due| self.timer.as_mut().reset(now.timer_at(due)));
        self.refresh_status();
        // The board compares: only what changed is published.
        self.parts.context.publisher.set_status(self.parts.id, &self.status);
        if self.lanes.main.machine.is_stopped() {
            self.tell_stop_waiters();
        }
    }

    /// Does what the machine of a lane wants done.
    fn drain(&mut self, number: u64) {
        while let Some(lane) = self.lanes.of(Attempt(number)) {
            match lane.machine.poll_output() {
                // What a further lane says of listener and state is not the tunnel's.
                Output::Effect(effect) if number == 0 || effect.is_of_session() => self.carry_out_one(effect),
                Output::Effect(Effect::Note(fault)) => {
                    let attempt = lane.machine.connects().0;
                    tracing::info!(lane = number, attempt, %fault, "trouble with one of several sessions");
                }
                Output::Effect(_) => {}
                Output::Timeout(due) => {
                    lane.due = due;
                    return;
                }
            }
        }
    }

    fn next_due(&self, now: Now) -> Option<Instant> {
        let place = self.next_place(now);
        let lingers = self.lanes.lingers().map(|lingers| now.mono + lingers);
        [self.lanes.due(), self.front.next_expiry(), place, lingers].into_iter().flatten().min()
    }

    fn carry_out_one(&mut self, effect: Effect) {
        tracing::debug!(?effect, "out");
        match effect {
            Effect::BindListener(attempt) => {
                let binding = self.parts.binding.clone();
                let work = self.work(attempt);
                self.effects.bind(work, binding, self.parts.wanted.local());
            }
            Effect::CloseListener => self.front.close(),
            Effect::StartSession(attempt) => self.queue_start(attempt),
            Effect::Dial(attempt) => self.dial(attempt),
            Effect::ResumeSession(attempt) => {
                let work = self.work(attempt);
                let session = self.lanes.of(attempt).and_then(|lane| lane.machine.session());
                let session = session.and_then(|session| self.sessions.get(&session));
                if let Some(session) = session {
                    self.effects.resume_session(work, session.scope.clone(), session.id.clone());
                }
            }
            Effect::Verify(session) => {
                if let Some(session) = self.sessions.get(&session) {
                    session.shared.verify(self.parts.context.now());
                }
            }
            Effect::EndSession { session, over, fault } => self.end_session(session, over, fault),
            Effect::ResetHeld => self.front.reset_held(),
            Effect::Note(fault) => {
                self.chronicle.note(fault.clone());
                self.status.last_fault = Some(fault);
            }
            Effect::Publish(state) => self.show(state),
            Effect::Finished => self.finished = true,
        }
    }

    fn end_session(&mut self, session: Attempt, over: bool, fault: Option<Fault>) {
        self.nodes.acquit(session, Hint::Silent);
        if let Some(session) = self.sessions.remove(&session) {
            let (node, now) = (&session.choice.node, self.parts.context.now());
            fault.iter().for_each(|fault| self.nodes.failed(Some(node), fault, now.mono));
            let subject = self.subject_of(&session);
            self.chronicle.session_ended(subject, fault, &session.status(), now.wall);
            session.end(over);
        }
    }

    /// Queues up among the StartSession calls of the account.
    fn queue_start(&mut self, attempt: Attempt) {
        let context = &self.parts.context;
        let scope = context.scope(&self.parts.wanted.spec);
        let turn = context.politeness.queue(scope, Arc::clone(&context.ports.clock), self.front.has_held());
        let Some(lane) = self.lanes.of(attempt) else { return };
        lane.admission = Some(Admission { attempt, turn });
        if !attempt.0.is_multiple_of(machine::LANES) {
            return;
        }
        self.status.remote = RemoteHealth::Unknown;
        self.status.agent_version = None;
        self.status.limit = None;
    }

    fn dial(&mut self, attempt: Attempt) {
        let work = self.work(attempt);
        let Some(lane) = self.lanes.of(attempt) else { return };
        let session = lane.machine.session().and_then(|session| self.sessions.get(&session));
        if let (Some(session), Some(grant)) = (session, lane.grant.take()) {
            self.effects.dial(work, session.scope.clone(), grant);
        }
    }

    fn show(&mut self, state: TunnelState) {
        let (attempt, now) = (self.lanes.main.machine.connects(), self.parts.context.now());
        self.chronicle.enter(&state, &self.status.state, attempt, self.subject(), now.mono);
        if state.label() != self.status.state.label() {
            self.status.since = now.wall;
            let attempt = Some(attempt.0).filter(|attempt| *attempt > 0);
            match state.fault() {
                Some(fault) => tracing::info!(attempt, %fault, "tunnel is {}", state.label()),
                None => tracing::info!(attempt, "tunnel is {}", state.label()),
            }
        }
        if state == TunnelState::Stopped {
            self.tell_stop_waiters();
        }
        self.status.state = state;
    }

    fn tell_stop_waiters(&mut self) {
        if !self.lanes.is_one() {
            return;
        }
        for waiter in self.stop_waiters.drain(..) {
            let _caller_left = waiter.send(());
        }
    }
}
