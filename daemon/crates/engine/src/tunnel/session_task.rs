//! One SSM session from its grant to its end at AWS.
//!
//! Whatever happens to the tunnel's actor, this task sees the session out: it ends it in the data channel, then with
//! TerminateSession, then forgets it in the store.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use ssm_session::PortSession;
use stormtunnel_model::{
    Fault, FaultKind, Principal, ResolvedTarget, SessionStatus, SsmSessionId, Timestamp, TunnelSpec,
};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::clock::Now;
use crate::ports::{AwsScope, OpenSession};
use crate::publish::Meter;
use crate::retry::Backoff;
use crate::spans::Within;
use crate::tasks::panic_message;
use crate::tunnel::about::About;
use crate::tunnel::context::Context;
use crate::tunnel::effects::Work;
use crate::tunnel::machine::SessionNews;
use crate::tunnel::mailbox::Message;
use crate::tunnel::node::Choice;
use crate::tunnel::presence::look_after;
use crate::tunnel::session_driver::{Connect, Driver, News, Step};
use crate::tunnel::session_end::Ending;
use crate::tunnel::shared_session::SharedSession;

/// The shortest idle timeout that an account may set for its sessions; without a setting it is 20 minutes.
const SHORTEST_IDLE: Duration = Duration::from_secs(60);
/// How long one call to TerminateSession may take.
const TERMINATE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait between the first few of them, and between all others: until AWS confirms, a session is open to whoever holds
/// its token. What the daemon does not live to see is left to the next one.
const TERMINATE_CAP: Duration = Duration::from_secs(5);
const TERMINATE_LATER_CAP: Duration = Duration::from_secs(60);
const FIRST_FEW: u32 = 5;
/// How long a call may take that is under way when the daemon ends.
const TERMINATE_AT_END: Duration = Duration::from_secs(3);
/// The service ends every session after this time at the latest, and one without a channel long before it.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);
/// A session gets one WebSocket at a time; the second place is for one that replaces an unread one.
const CONNECT_CAPACITY: usize = 2;

/// The actor's end of a session. Dropping it ends the session.
#[derive(Debug)]
pub(crate) struct SessionHandle {
    pub(crate) id: SsmSessionId,
    pub(crate) scope: AwsScope,
    pub(crate) choice: Choice,
    /// Who opened it, once known.
    pub(crate) principal: Option<Principal>,
    /// When it was started.
    pub(crate) since: Timestamp,
    pub(crate) shared: Arc<SharedSession>,
    /// What its lines in the log are about.
    pub(crate) about: About,
    connects: mpsc::Sender<Connect>,
    gone: CancellationToken,
    /// Fires when the session is to end.
    pub(crate) ended: CancellationToken,
    _end: DropGuard,
}

impl SessionHandle {
    /// The session as it is shown.
    pub(crate) fn status(&self) -> SessionStatus {
        let meter = self.shared.meter();
        SessionStatus {
            id: self.id.clone(),
            node: self.choice.node.clone(),
            principal: self.principal.clone(),
            since: self.since,
            connections: meter.connections(),
            traffic: meter.traffic(),
        }
    }

    /// Gives the session a WebSocket. One that is over takes none: its end is on the way to the actor already.
    pub(crate) fn connect(&self, connect: Connect) {
        let _over = self.connects.try_send(connect);
    }

    /// Ends the session: here alone when AWS ended it already.
    pub(crate) fn end(self, over: bool) {
        if over {
            self.gone.cancel();
        }
    }
}

/// A session about to be driven.
pub(crate) struct SessionTask {
    context: Arc<Context>,
    record: OpenSession,
    node: ResolvedTarget,
    work: Work,
    driver: Driver,
    shared: Arc<SharedSession>,
    gone: CancellationToken,
    end: CancellationToken,
    mailbox: mpsc::Sender<Message>,
}

impl SessionTask {
    /// The session that was started by `started`.
    pub(crate) fn new(
        context: Arc<Context>,
        (record, choice): (OpenSession, Choice),
        spec: &TunnelSpec,
        meter: &Arc<Meter>,
        started: &Work,
        mailbox: mpsc::Sender<Message>,
    ) -> (Self, SessionHandle) {
        let work = Work { attempt: started.attempt, about: started.about.session(&record.id) };
        let config = context.session_config(&record.scope);
        let seed = context.ports.entropy.seed();
        let now = context.now();
        let session = PortSession::new(config, now.for_session(), seed);
        let shared = Arc::new(SharedSession::new(session, context.unread.share(), now));
        meter.add_session(record.id.clone(), shared.meter());
        let (connects, connects_receiver) = mpsc::channel(CONNECT_CAPACITY);
        let (gone, end) = (CancellationToken::new(), CancellationToken::new());
        let clock = Arc::clone(&context.ports.clock);
        let driver = Driver::new(
            Arc::clone(&shared),
            clock,
            spec.clone(),
            Arc::clone(meter),
            connects_receiver,
            end.clone(),
            work.about.clone(),
        );
        let node = choice.node.clone();
        let handle = SessionHandle {
            id: record.id.clone(),
            scope: record.scope.clone(),
            choice,
            principal: None,
            since: now.wall,
            shared: Arc::clone(&shared),
            about: work.about.clone(),
            connects,
            gone: gone.clone(),
            ended: end.clone(),
            _end: end.clone().drop_guard(),
        };
        (Self { context, record, node, work, driver, shared, gone, end, mailbox }, handle)
    }

    /// Drives the session, then ends it.
    ///
    /// The span is around the end alone: to enter and leave it with every message would cost more than some messages do.
    pub(crate) async fn run(mut self) {
        let looking = self.look_after();
        let driven = AssertUnwindSafe(self.drive()).catch_unwind().await;
        drop(looking);
        let about = self.work.about.clone();
        let ending = driven.unwrap_or_else(|panic| {
            let message = panic_message(panic.as_ref());
            about.span().in_scope(|| tracing::error!(%message, "session driver panicked"));
            Ending { fault: Fault::internal(message), over: false }
        });
        Within::new(move || about.span(), self.end(ending)).await;
    }

    async fn end(mut self, Ending { fault, over }: Ending) {
        let unused = is_unused(&self.shared, self.context.now());
        self.shared.end();
        if !self.end.is_cancelled() {
            tracing::info!(%fault, "session ended");
            self.tell(News::Machine(SessionNews::Ended { fault, over, unused })).await;
        }
        self.driver.close().await;
        // Nothing is held for as long as AWS may take to confirm.
        let Self { context, record, work, gone, mailbox, .. } = self;
        see_out(&context, &record, over || gone.is_cancelled()).await;
        let _gone = mailbox.send(Message::Session(work.attempt, News::Machine(SessionNews::Closed))).await;
    }

    /// Has the agent looked after until the answer is dropped: a task of its own, not a burden on every message.
    fn look_after(&self) -> DropGuard {
        let ended = CancellationToken::new();
        let (context, shared) = (Arc::clone(&self.context), Arc::clone(&self.shared));
        let looking = look_after(context, self.record.scope.clone(), self.node.clone(), shared);
        let looking = ended.clone().run_until_cancelled_owned(looking);
        // Refused only while the daemon stops.
        let about = self.work.about.clone();
        let span = move || about.span();
        let _stopping = self.context.tasks.spawn_within("look after agent", span, looking.map(drop));
        ended.drop_guard()
    }

    async fn drive(&mut self) -> Ending {
        let gone = self.gone.clone();
        loop {
            let step = tokio::select! {
                biased;
                () = gone.cancelled() => {
                    let fault = Fault::new(FaultKind::SessionEnded, "");
                    return Ending { fault, over: true };
                }
                step = self.driver.step() => step,
            };
            match step {
                Step::News(news) => self.tell(news).await,
                Step::Ended(ending) => return ending,
            }
        }
    }

    /// An actor that is gone needs no news.
    async fn tell(&mut self, news: News) {
        let _gone = self.mailbox.send(Message::Session(self.work.attempt, news)).await;
    }
}

/// Whether nobody used a session for so long that AWS may have closed it for that.
pub(crate) fn is_unused(session: &SharedSession, now: Now) -> bool {
    session.unused_for(now) >= SHORTEST_IDLE
}

/// Ends a session at AWS, unless it is `over`, and forgets it in the store once that is certain.
pub(crate) async fn see_out(context: &Context, record: &OpenSession, over: bool) {
    if !over && !terminate(context, record).await {
        return;
    }
    if let Err(fault) = context.ports.store.delete_session(record.id.clone()).await {
        tracing::warn!(%fault, "an ended session stays noted as open");
    }
}

/// Answers whether the session is over: AWS confirmed, or nothing can be left of it. Without the right to end sessions, or
/// when the daemon ends, it may not be.
async fn terminate(context: &Context, record: &OpenSession) -> bool {
    let mut backoff = Backoff::new(context.ports.entropy.seed());
    let cancelled = context.tasks.cancelled();
    let start = context.now().mono;
    let mut told = None;
    while context.now().mono.saturating_duration_since(start) < LONGEST_LIFE {
        let Err(fault) = terminate_once(context, record).await else { return true };
        if told.replace(fault.kind.clone()).as_ref() != Some(&fault.kind) {
            tracing::warn!(%fault, "session could not be terminated");
        }
        if matches!(fault.kind, FaultKind::PermissionDenied { .. }) {
            return false;
        }
        let cap = if backoff.failures() < FIRST_FEW { TERMINATE_CAP } else { TERMINATE_LATER_CAP };
        let stopping = tokio::time::timeout(backoff.next_wait(cap), cancelled.cancelled()).await.is_ok();
        if stopping {
            return false;
        }
    }
    tracing::warn!("AWS never confirmed the end of a session, which must have ended by itself");
    true
}

/// One call, in its turn. A daemon that ends has little time for it, and waits for no turn.
async fn terminate_once(context: &Context, record: &OpenSession) -> Result<(), Fault> {
    let ending = context.tasks.cancelled();
    let _place = ending.run_until_cancelled(context.endings.acquire()).await;
    let little_time = async {
        ending.cancelled().await;
        tokio::time::sleep(TERMINATE_AT_END).await;
    };
    let call = context.ports.ssm.terminate_session(&record.scope, &record.id);
    tokio::select! {
        answer = tokio::time::timeout(TERMINATE_TIMEOUT, call) => answer.unwrap_or_else(|_elapsed| Err(no_answer())),
        () = little_time => Err(no_answer()),
    }
}

fn no_answer() -> Fault {
    Fault::new(FaultKind::Network, "TerminateSession got no answer in time")
}
