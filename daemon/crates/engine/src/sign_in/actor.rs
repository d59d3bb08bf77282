//! One sign-in's actor: feeds its machine and carries out what the machine decides.
//!
//! It never waits for the world. Key store and shared file have one task at a time, renewals and logins have tasks of their own,
//! and all of them report to it. Whoever has a handle writes to its mailbox: when nobody has one any more it ends, once what
//! is under way is kept.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use stormtunnel_model::{Attempt, Fault, SignInName, SignInStatus};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::classify::{self, LoginFailure, RefreshFailure};
use super::login::LoginTask;
use super::machine::{Answer, Command, Effect, Input, LoginOrder, Output, SignInMachine, Usable};
use super::policy::SignInPolicy;
use super::ports::{Grant, SignInPorts, SignInSite};
use super::storage::{Operation, Queue};
use super::token::{Generation, SsoToken};
use crate::clock::Now;
use crate::ports::Incident;
use crate::tasks::{Tasks, TasksClosed, panic_message};

/// Messages that may wait for the actor. It answers each at once, so the queue is short; a full one only makes the senders
/// wait.
const MAILBOX_CAPACITY: usize = 64;

/// Reports that may wait for the actor: one operation, one renewal and one login are under way at a time.
const REPORTS_CAPACITY: usize = 16;

/// What an actor is told by those who have a handle.
enum Message {
    Token(oneshot::Sender<Result<UsableToken, Fault>>),
    Rejected(Generation),
    Login(LoginOrder, oneshot::Sender<Result<(), LoginFailure>>),
    CancelLogin,
    /// Somebody who waited for a login does not any more.
    LoginLeft,
    Refresh(oneshot::Sender<Result<(), Fault>>),
    Logout(oneshot::Sender<Result<(), Fault>>),
    SharedChanged,
    Incident(Incident),
    /// The sign-in is not there any more.
    End,
}

/// What an actor is told by its own tasks.
pub(super) enum Report {
    Answer(Attempt, Answer),
    /// The operation on key store or shared file is done, and this is its answer, if it has one.
    Stored(Option<(Attempt, Answer)>),
}

/// A token that is good now.
#[derive(Clone, Debug)]
pub struct UsableToken {
    /// Its number, for [`SignInHandle::rejected`].
    pub generation: Generation,
    /// The token.
    pub token: Arc<SsoToken>,
}

/// A sign-in, for everybody who needs it.
#[derive(Clone, Debug)]
pub struct SignInHandle {
    site: Arc<SignInSite>,
    mailbox: mpsc::Sender<Message>,
    status: watch::Receiver<SignInStatus>,
    tasks: Tasks,
}

impl SignInHandle {
    /// Starts the actor of a sign-in.
    ///
    /// # Errors
    /// [`TasksClosed`] while the daemon stops.
    pub fn start(
        site: SignInSite,
        ports: SignInPorts,
        policy: watch::Receiver<SignInPolicy>,
        tasks: &Tasks,
    ) -> Result<Self, TasksClosed> {
        let (mailbox, inbox) = mpsc::channel(MAILBOX_CAPACITY);
        let (report, reports) = mpsc::channel(REPORTS_CAPACITY);
        let (published, status) = watch::channel(SignInStatus::unknown());
        let site = Arc::new(site);
        let handle = Self { site: Arc::clone(&site), mailbox, status, tasks: tasks.clone() };
        let now = Now::read(ports.clock.as_ref());
        let settings = *policy.borrow();
        let machine = SignInMachine::new(Arc::clone(&site), settings, now, ports.entropy.seed());
        let outside = Outside { site, ports, tasks: tasks.clone(), report };
        let actor = Actor {
            outside,
            machine,
            policy,
            inbox,
            reports,
            published,
            queue: Queue::default(),
            login: None,
            waiting: Waiting::default(),
            due: None,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
        };
        let about = Arc::clone(&actor.outside.site);
        tasks.spawn_within("sign-in", move || span_of(&about.name), actor.run())?;
        Ok(handle)
    }

    /// Its name.
    pub fn name(&self) -> &SignInName {
        &self.site.name
    }

    /// Where it signs in.
    pub fn site(&self) -> &SignInSite {
        &self.site
    }

    /// Where what is done for it runs.
    pub(super) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// What is true of it, from now on.
    pub fn watch(&self) -> watch::Receiver<SignInStatus> {
        self.status.clone()
    }

    /// A token that is good. One that is over is renewed first, once for all who ask.
    ///
    /// # Errors
    /// The fault that a login, a person or time has to end.
    pub async fn token(&self) -> Result<UsableToken, Fault> {
        self.ask(Message::Token).await.unwrap_or_else(|Stopped| Err(stopping()))
    }

    /// AWS did not accept that token, though it is not over by the clock.
    pub async fn rejected(&self, generation: Generation) {
        self.tell(Message::Rejected(generation)).await;
    }

    /// Has somebody sign in, or joins the login that runs. It is given up when the last one who waits for it leaves.
    ///
    /// # Errors
    /// Why nobody is signed in after it.
    pub async fn login(&self, order: LoginOrder) -> Result<(), LoginFailure> {
        // Dropped after the answer's receiver, so that the actor finds that closed.
        let _leaving = Leaving(&self.mailbox);
        let outcome = self.ask(|done| Message::Login(order, done)).await;
        outcome.unwrap_or(Err(LoginFailure::Cancelled))
    }

    /// Gives up the login that runs.
    pub async fn cancel_login(&self) {
        self.tell(Message::CancelLogin).await;
    }

    /// Renews the token now.
    ///
    /// # Errors
    /// Why it was not.
    pub async fn refresh(&self) -> Result<(), Fault> {
        self.ask(Message::Refresh).await.unwrap_or_else(|Stopped| Err(stopping()))
    }

    /// Signs out. Nothing of the token is left here when this succeeds; AWS may still be about to revoke it.
    ///
    /// # Errors
    /// Something is left, in the key store or in the shared file. It is not used any more, and its end is tried at each
    /// check.
    pub async fn logout(&self) -> Result<(), Fault> {
        self.ask(Message::Logout).await.unwrap_or_else(|Stopped| Err(stopping()))
    }

    /// The shared file changed, or may have.
    pub async fn shared_changed(&self) {
        self.tell(Message::SharedChanged).await;
    }

    /// Something happened to the machine.
    pub async fn disturbed(&self, incident: Incident) {
        self.tell(Message::Incident(incident)).await;
    }

    /// Ends the actor; a renewal that is under way is kept first. Who still has a handle is told that the daemon stops.
    pub async fn end(&self) {
        self.tell(Message::End).await;
        self.mailbox.closed().await;
    }

    async fn tell(&self, message: Message) {
        // The actor is gone only while the daemon stops.
        let _stopping = self.mailbox.send(message).await;
    }

    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T, Stopped> {
        let (sender, answer) = oneshot::channel();
        self.tell(message(sender)).await;
        answer.await.map_err(|_gone| Stopped)
    }
}

/// Tells the actor that somebody does not wait for a login any more.
struct Leaving<'a>(&'a mpsc::Sender<Message>);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        // A full mailbox costs no more than the time that a login has.
        let _full = self.0.try_send(Message::LoginLeft);
    }
}

/// The actor is gone.
struct Stopped;

fn stopping() -> Fault {
    Fault::new(stormtunnel_model::FaultKind::ShuttingDown, "")
}

/// What the actor's tasks share.
#[derive(Clone)]
pub(super) struct Outside {
    pub(super) site: Arc<SignInSite>,
    pub(super) ports: SignInPorts,
    pub(super) tasks: Tasks,
    /// Not the mailbox: what a task reports counts even when nobody has a handle any more.
    report: mpsc::Sender<Report>,
}

impl Outside {
    pub(super) async fn report(&self, report: Report) {
        // The actor is gone only when it waits for nothing any more.
        let _not_waited_for = self.report.send(report).await;
    }

    /// Runs `work` and reports what it answers; a panic becomes the failure that the machine waits for.
    pub(super) fn run(
        &self,
        name: &'static str,
        failed: impl FnOnce(Fault) -> Report + Send + 'static,
        work: impl Future<Output = Report> + Send + 'static,
    ) {
        let outside = self.clone();
        let task = async move {
            let report = AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| {
                let message = panic_message(panic.as_ref());
                tracing::error!(task = name, %message, "task panicked");
                failed(Fault::internal(message))
            });
            outside.report(report).await;
        };
        // While the daemon stops nobody waits for the answer.
        self.spawn(name, task);
    }

    /// Refused only while the daemon stops.
    pub(super) fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let site = Arc::clone(&self.site);
        let _stopping = self.tasks.spawn_within(name, move || span_of(&site.name), task);
    }
}

/// What the lines of the log about a sign-in say of it.
pub(super) fn span_of(name: &SignInName) -> Span {
    tracing::error_span!(parent: None, "sign_in", sign_in = %name)
}

/// Who waits for what.
#[derive(Default)]
struct Waiting {
    token: Vec<oneshot::Sender<Result<UsableToken, Fault>>>,
    login: Vec<oneshot::Sender<Result<(), LoginFailure>>>,
    renewal: Vec<oneshot::Sender<Result<(), Fault>>>,
    logout: Vec<oneshot::Sender<Result<(), Fault>>>,
}

fn answer_all<T: Clone>(waiting: &mut Vec<oneshot::Sender<T>>, answer: &T) {
    for waiter in waiting.drain(..) {
        let _caller_left = waiter.send(answer.clone());
    }
}

struct Actor {
    outside: Outside,
    machine: SignInMachine,
    policy: watch::Receiver<SignInPolicy>,
    inbox: mpsc::Receiver<Message>,
    reports: mpsc::Receiver<Report>,
    published: watch::Sender<SignInStatus>,
    queue: Queue,
    /// The login that runs, and how to stop it.
    login: Option<(Attempt, CancellationToken)>,
    waiting: Waiting,
    due: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl Actor {
    /// Runs until nobody has a handle any more, or the sign-in or the daemon ends.
    async fn run(mut self) {
        let cancelled = self.outside.tasks.cancelled().clone();
        self.carry_out();
        loop {
            tokio::select! {
                biased;
                () = cancelled.cancelled() => return self.finish().await,
                Some(report) = self.reports.recv() => self.on_report(report),
                message = self.inbox.recv() => match message {
                    Some(Message::End) | None => return self.finish().await,
                    Some(message) => self.on_message(message),
                },
                Ok(()) = self.policy.changed() => {
                    let policy = *self.policy.borrow_and_update();
                    self.input(Input::Policy(policy));
                }
                () = self.timer.as_mut(), if self.due.is_some() => self.machine.handle_timeout(self.now()),
            }
            self.carry_out();
        }
    }

    /// A renewal that is under way is waited for, and kept: AWS has taken the refresh token, its answer holds the only other
    /// one. Nothing new is begun.
    async fn finish(mut self) {
        self.stop_login();
        self.waiting = Waiting::default();
        let mut renewing = self.machine.is_renewing();
        while renewing || !self.queue.is_idle() {
            let report = match self.queue.next() {
                Some(operation) => Report::Stored(operation.perform(&self.outside).await),
                None => match self.reports.recv().await {
                    Some(report) => report,
                    None => return,
                },
            };
            renewing &= !matches!(report, Report::Answer(_, Answer::Refreshed(_) | Answer::RefreshFailed(_)));
            self.on_report(report);
            while let Output::Effect(effect) = self.machine.poll_output() {
                if !matches!(effect, Effect::Refresh(..) | Effect::BeginLogin { .. }) {
                    self.perform(effect);
                }
            }
        }
    }

    fn stop_login(&mut self) {
        if let Some((_, cancel)) = self.login.take() {
            cancel.cancel();
        }
    }

    fn now(&self) -> Now {
        Now::read(self.outside.ports.clock.as_ref())
    }

    fn input(&mut self, input: Input) {
        self.machine.handle_input(input, self.now());
    }

    fn on_message(&mut self, message: Message) {
        match message {
            Message::Token(answer) => {
                self.waiting.token.push(answer);
                self.input(Input::Needed);
            }
            Message::Rejected(generation) => self.input(Input::Rejected(generation)),
            Message::Login(order, done) => {
                // Before the machine is asked: it may answer at once.
                self.waiting.login.push(done);
                self.input(Input::Command(Command::Login(order)));
            }
            Message::CancelLogin => self.input(Input::Command(Command::CancelLogin)),
            Message::LoginLeft => self.on_login_left(),
            Message::Refresh(done) => {
                self.waiting.renewal.push(done);
                self.input(Input::Command(Command::Refresh));
            }
            Message::Logout(done) => {
                self.waiting.logout.push(done);
                self.input(Input::Command(Command::Logout));
            }
            Message::SharedChanged => self.input(Input::SharedChanged),
            Message::Incident(incident) => self.input(Input::Incident(incident)),
            // Taken by the loop.
            Message::End => {}
        }
    }

    fn on_report(&mut self, report: Report) {
        match report {
            Report::Answer(attempt, answer) => self.input(Input::Answer(attempt, answer)),
            Report::Stored(answer) => {
                self.queue.done();
                if let Some((attempt, answer)) = answer {
                    self.input(Input::Answer(attempt, answer));
                }
            }
        }
    }

    /// A login that nobody waits for would leave a page open for nobody.
    fn on_login_left(&mut self) {
        let waited_for = !self.waiting.login.is_empty();
        self.waiting.login.retain(|waiter| !waiter.is_closed());
        if waited_for && self.waiting.login.is_empty() {
            self.input(Input::Command(Command::CancelLogin));
        }
    }

    /// Everything that the machine wants, then everybody who waited for it.
    fn carry_out(&mut self) {
        loop {
            match self.machine.poll_output() {
                Output::Effect(effect) => self.perform(effect),
                Output::Timeout(due) => {
                    self.set_timer(due);
                    break;
                }
            }
        }
        if let Some(operation) = self.queue.next() {
            operation.start(&self.outside);
        }
        self.serve_tokens();
    }

    fn perform(&mut self, effect: Effect) {
        let ports = &self.outside.ports;
        match effect {
            Effect::Load(attempt) => self.queue.push(Operation::Load(attempt)),
            Effect::ReadShared(attempt) => self.queue.push(Operation::Read(attempt)),
            Effect::Store(attempt, stored) => self.queue.push(Operation::Store(attempt, stored)),
            Effect::Wipe(attempt) => self.queue.push(Operation::Wipe(attempt)),
            Effect::WriteShared(attempt, token, sharing) => {
                self.queue.push(Operation::Write(attempt, token, sharing));
            }
            Effect::DeleteShared(attempt) => self.queue.push(Operation::Delete(attempt)),
            Effect::ForgetClients => self.queue.push(Operation::ForgetClients),
            Effect::Refresh(attempt, token) => self.refresh(attempt, token),
            Effect::Revoke(token) => self.revoke(token),
            Effect::ForgetCredentials => ports.observer.forget_credentials(&self.outside.site.name),
            Effect::Notify(notice) => ports.observer.notify(&self.outside.site.name, &notice),
            Effect::Record(event) => ports.observer.record(&self.outside.site.name, &event),
            Effect::BeginLogin { attempt, plan, register } => {
                let cancel = CancellationToken::new();
                LoginTask::new(attempt, plan, register, self.outside.clone()).start(cancel.clone());
                self.login = Some((attempt, cancel));
            }
            Effect::EndLogin(attempt) => self.end_login(attempt),
            Effect::LoginEnded(outcome) => answer_all(&mut self.waiting.login, &outcome),
            Effect::RenewalEnded(outcome) => answer_all(&mut self.waiting.renewal, &outcome),
            Effect::LoggedOut(outcome) => answer_all(&mut self.waiting.logout, &outcome),
            Effect::Publish(status) => self.publish(status),
        }
    }

    fn publish(&self, status: SignInStatus) {
        let label = status.state.label();
        let before = self.published.send_replace(status).state.label();
        if before != label {
            tracing::info!("{label}, was {before}");
        }
    }

    fn set_timer(&mut self, due: Option<Instant>) {
        self.due = due;
        if let Some(due) = due {
            let at = self.now().timer_at(due);
            self.timer.as_mut().reset(at);
        }
    }

    fn serve_tokens(&mut self) {
        self.waiting.token.retain(|waiter| !waiter.is_closed());
        if self.waiting.token.is_empty() {
            return;
        }
        let outcome = match self.machine.usable(self.now()) {
            Usable::Token(generation, token) => Ok(UsableToken { generation, token }),
            Usable::No(fault) => Err(fault),
            Usable::Wait => return,
        };
        answer_all(&mut self.waiting.token, &outcome);
    }

    fn refresh(&self, attempt: Attempt, token: Arc<SsoToken>) {
        let outside = self.outside.clone();
        let failed =
            move |fault| Report::Answer(attempt, Answer::RefreshFailed(RefreshFailure::Unreachable(fault)));
        self.outside.run("renew token", failed, async move {
            let Some(grant) = &token.refresh else {
                return Report::Answer(attempt, Answer::RefreshFailed(RefreshFailure::GrantGone));
            };
            let issued = outside.ports.oidc.create_token(&outside.site, Grant::Refresh(grant)).await;
            let failed = |error| Answer::RefreshFailed(classify::refresh_failure(error));
            Report::Answer(attempt, issued.map_or_else(failed, Answer::Refreshed))
        });
    }

    /// Nobody waits for it, and nothing can be done if AWS does not: the token is forgotten here.
    fn revoke(&self, token: Arc<SsoToken>) {
        let outside = self.outside.clone();
        let task = async move {
            if let Err(error) = outside.ports.oidc.logout(&outside.site, &token).await {
                tracing::info!("AWS did not revoke the token: {:?}", classify::portal_failure(error));
            }
        };
        self.outside.spawn("revoke token", task);
    }

    fn end_login(&mut self, attempt: Attempt) {
        if let Some((_, cancel)) = self.login.take_if(|(current, _)| *current == attempt) {
            cancel.cancel();
        }
    }
}
