//! Who opened a session, for the history. Asked beside StartSession, which never waits for the answer; where it is not
//! there in time, asked again while the session lives.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use stormtunnel_model::{Attempt, Fault, Principal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::ports::{AwsScope, SessionGrant, SessionRequest};
use crate::tunnel::context::Context;
use crate::tunnel::mailbox::Message;
use crate::tunnel::session_driver::News;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Questions per session. One that stays unanswered costs a name in the history, no more.
const TRIES: u32 = 3;
/// How long after a question that failed the next one comes.
const PAUSE: Duration = Duration::from_secs(120);

/// Starts a session. The principal is there if AWS told it no later than it opened the session.
pub(crate) async fn start_session(
    context: &Context,
    request: &SessionRequest,
) -> (Result<SessionGrant, Fault>, Option<Principal>) {
    let mut start = context.ports.ssm.start_session(request);
    let mut caller = context.ports.identity.caller(&request.scope);
    tokio::select! {
        // What is wrong with the credentials is StartSession's to find out.
        biased;
        granted = &mut start => {
            let told = granted.is_ok().then(|| caller.now_or_never()).flatten();
            (granted, told.and_then(Result::ok))
        }
        told = &mut caller => (start.await, told.ok()),
    }
}

/// Asks until somebody knows, a few times, or `ended`.
pub(crate) async fn find_out(
    context: Arc<Context>,
    (session, scope): (Attempt, AwsScope),
    ended: CancellationToken,
    mailbox: mpsc::Sender<Message>,
) {
    let stopping = context.tasks.cancelled();
    let found = tokio::select! {
        biased;
        () = ended.cancelled() => return,
        () = stopping.cancelled() => return,
        found = ask(&context, &scope) => found,
    };
    if let Some(principal) = found {
        let _actor_gone = mailbox.send(Message::Session(session, News::Opener(principal))).await;
    }
}

async fn ask(context: &Context, scope: &AwsScope) -> Option<Principal> {
    for attempt in 1..=TRIES {
        match tokio::time::timeout(PATIENCE, context.ports.identity.caller(scope)).await {
            Ok(Ok(principal)) => return Some(principal),
            Ok(Err(fault)) => tracing::debug!(%fault, "who opened a session is not known"),
            Err(_elapsed) => tracing::debug!("who opened a session is not known: no answer"),
        }
        if attempt < TRIES {
            tokio::time::sleep(PAUSE).await;
        }
    }
    None
}
