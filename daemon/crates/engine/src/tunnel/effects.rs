//! The machine's effects as tasks: each makes one call to the world and sends its answer to the actor.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use stormtunnel_model::{Attempt, Fault, LocalEndpoint, SsmSessionId};
use tokio::sync::mpsc;
use tracing::Instrument as _;

use crate::ports::{AwsScope, BindError, SessionGrant};
use crate::tasks::panic_message;
use crate::tunnel::about::About;
use crate::tunnel::binding::Binding;
use crate::tunnel::context::Context;
use crate::tunnel::identity;
use crate::tunnel::mailbox::Message;
use crate::tunnel::node::{self, NotStarted, StartOrder};
use crate::tunnel::session_task::{SessionHandle, see_out};

/// Starts tasks for one actor.
#[derive(Clone)]
pub(crate) struct Effects {
    context: Arc<Context>,
    mailbox: mpsc::Sender<Message>,
}

/// An attempt, and what its lines in the log are about.
pub(crate) struct Work {
    pub(crate) attempt: Attempt,
    pub(crate) about: About,
}

impl Effects {
    pub(crate) fn new(context: Arc<Context>, mailbox: mpsc::Sender<Message>) -> Self {
        Self { context, mailbox }
    }

    pub(crate) fn bind(&self, work: Work, binding: Binding, local: LocalEndpoint) {
        let Work { attempt, about } = work;
        let failed = move |fault| Message::Bound(attempt, Err(BindError(fault)));
        self.run("bind", about, failed, async move { Message::Bound(attempt, binding.bind(local).await) });
    }

    /// Finds a node and starts a session through it.
    pub(crate) fn start_session(&self, work: Work, order: StartOrder) {
        let Work { attempt, about } = work;
        let context = Arc::clone(&self.context);
        let failed = move |fault| Message::Started(attempt, Err(NotStarted { fault, node: None }));
        self.run("start session", about, failed, async move {
            Message::Started(attempt, node::start(&context, order).await.map(Box::new))
        });
    }

    pub(crate) fn resume_session(&self, work: Work, scope: AwsScope, id: SsmSessionId) {
        let Work { attempt, about } = work;
        let context = Arc::clone(&self.context);
        let failed = move |fault| Message::Resumed(attempt, Err(fault));
        self.run("resume session", about.session(&id), failed, async move {
            Message::Resumed(attempt, context.ports.ssm.resume_session(&scope, &id).await)
        });
    }

    pub(crate) fn dial(&self, work: Work, scope: AwsScope, grant: SessionGrant) {
        let Work { attempt, about } = work;
        let context = Arc::clone(&self.context);
        let failed = move |fault| Message::Dialled(attempt, Err(fault));
        self.run("dial", about.session(&grant.id), failed, async move {
            let dialled = context.ports.dialer.dial(&scope, &grant).await;
            Message::Dialled(attempt, dialled.map(|channel| (channel, grant.token)))
        });
    }

    /// Finds out who opened a session, as long as it lives.
    pub(crate) fn find_opener(&self, attempt: Attempt, session: &SessionHandle) {
        let subject = (attempt, session.scope.clone());
        let asking = identity::find_out(
            Arc::clone(&self.context),
            subject,
            session.ended.clone(),
            self.mailbox.clone(),
        );
        // Refused only while the daemon stops, which ends the session too.
        let about = session.about.clone();
        let _stopping = self.context.tasks.spawn_within("find opener", move || about.span(), asking);
    }

    /// Runs `work` and sends its message; a panic becomes the failure that the machine waits for.
    fn run(
        &self,
        name: &'static str,
        about: About,
        failed: impl FnOnce(Fault) -> Message + Send + 'static,
        work: impl Future<Output = Message> + Send + 'static,
    ) {
        let (context, mailbox, lost) = (Arc::clone(&self.context), self.mailbox.clone(), about.clone());
        let task = async move {
            let message = AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| {
                let message = panic_message(panic.as_ref());
                tracing::error!(task = name, %message, "task panicked");
                failed(Fault::internal(message))
            });
            if let Err(mpsc::error::SendError(message)) = mailbox.send(message).await {
                abandon(&context, &lost, message).await;
            }
        };
        // Refused only while the daemon stops, when nobody waits for the answer.
        let _stopping = self.context.tasks.spawn_within(name, move || about.span(), task);
    }
}

/// Undoes what an answer brought that nobody takes any more: a session would stay open at AWS.
pub(crate) async fn abandon(context: &Arc<Context>, about: &About, message: Message) {
    let Message::Started(_, Ok(started)) = message else { return };
    // A task, since that may take as long as the network is away, and a deletion waits for the actor.
    let (ending, record) = (Arc::clone(context), started.record.clone());
    let about = about.session(&record.id);
    let span = about.span();
    let ending = async move { see_out(&ending, &record, false).await };
    let ending = context.tasks.spawn_within("end session", move || about.span(), ending);
    if ending.is_err() {
        see_out(context, &started.record, false).instrument(span).await;
    }
}
