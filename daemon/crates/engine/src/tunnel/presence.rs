//! Whether the agent of a quiet session is still there.
//!
//! Pongs come from the gateway, and a message that the agent would have to acknowledge counts as use: it would keep the
//! service from closing sessions that nobody uses. So AWS is asked, and the agent itself only when AWS says that it is
//! not connected, since that may be true of a moment.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use stormtunnel_model::{FaultKind, ResolvedTarget};

use crate::ports::AwsScope;
use crate::retry::Backoff;
use crate::tunnel::context::Context;
use crate::tunnel::shared_session::SharedSession;

/// How often a quiet session's agent is asked about.
const EVERY: Duration = Duration::from_secs(300);
/// Sessions that began together do not ask together: each look comes up to so much later.
const JITTER: Duration = Duration::from_secs(60);
/// How long a call may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long it is not asked again where it is not allowed.
const DENIED_FOR: Duration = Duration::from_secs(3600);

/// What AWS said of nodes lately: all sessions through one node share an answer.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    answers: Mutex<HashMap<(AwsScope, ResolvedTarget), Answer>>,
    /// Where it may not be asked, and until when it is not asked again.
    denied: Mutex<HashMap<AwsScope, Instant>>,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    /// Absent when AWS did not say.
    connected: Option<bool>,
    until: Instant,
}

impl Presence {
    fn known(&self, key: &(AwsScope, ResolvedTarget), now: Instant) -> Option<Answer> {
        let mut denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
        denied.retain(|_, until| now < *until);
        if let Some(until) = denied.get(&key.0) {
            return Some(Answer { connected: None, until: *until });
        }
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|_, answer| now < answer.until);
        answers.get(key).copied()
    }

    fn learn(&self, key: (AwsScope, ResolvedTarget), connected: Option<bool>, now: Instant) {
        let answer = Answer { connected, until: now + EVERY };
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(key, answer);
    }

    fn rest(&self, scope: AwsScope, now: Instant) {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner).insert(scope, now + DENIED_FOR);
    }
}

/// Asks now and then while the session is quiet, for as long as this is polled.
pub(crate) async fn look_after(
    context: Arc<Context>,
    scope: AwsScope,
    node: ResolvedTarget,
    session: Arc<SharedSession>,
) -> Infallible {
    let key = (scope, node);
    let mut jitter = Backoff::new(context.ports.entropy.seed());
    let mut carried = session.meter().traffic();
    loop {
        tokio::time::sleep(EVERY + jitter.spread(JITTER)).await;
        let quiet = std::mem::replace(&mut carried, session.meter().traffic()) == carried;
        if quiet && is_connected(&context, &key).await == Some(false) {
            tracing::info!(node = %key.1, "AWS says that the agent of a quiet session is not connected");
            session.ask_agent(context.now());
        }
    }
}

async fn is_connected(context: &Context, key: &(AwsScope, ResolvedTarget)) -> Option<bool> {
    let now = context.now().mono;
    if let Some(answer) = context.presence.known(key, now) {
        return answer.connected;
    }
    let call = context.ports.ssm.is_connected(&key.0, &key.1);
    let connected = match tokio::time::timeout(TIMEOUT, call).await {
        Ok(Ok(connected)) => Some(connected),
        Ok(Err(fault)) => {
            if matches!(fault.kind, FaultKind::PermissionDenied { .. }) {
                context.presence.rest(key.0.clone(), now);
            }
            None
        }
        Err(_elapsed) => None,
    };
    context.presence.learn(key.clone(), connected, now);
    connected
}
