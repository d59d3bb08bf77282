//! Key store and shared file: one operation after the other, in the order in which the machine wants them. An old token must
//! not be written over a new one.

use std::collections::VecDeque;
use std::sync::Arc;

use stormtunnel_model::{Attempt, Fault};

use super::actor::{Outside, Report};
use super::flow::LoginFlow;
use super::machine::Answer;
use super::policy::Sharing;
use super::ports::SharedFile;
use super::token::{SsoToken, StoredToken};

/// An operation on key store or shared file.
pub(super) enum Operation {
    Load(Attempt),
    Read(Attempt),
    Store(Attempt, StoredToken),
    Wipe(Attempt),
    Write(Attempt, Arc<SsoToken>, Sharing),
    Delete(Attempt),
    ForgetClients,
}

/// Operations to come. The machine reads only when the last read was answered, so that there are never many.
#[derive(Default)]
pub(super) struct Queue {
    waiting: VecDeque<Operation>,
    busy: bool,
}

impl Queue {
    pub(super) fn push(&mut self, operation: Operation) {
        self.waiting.push_back(operation);
    }

    /// The next one, if none runs.
    pub(super) fn next(&mut self) -> Option<Operation> {
        let next = if self.busy { None } else { self.waiting.pop_front() };
        self.busy |= next.is_some();
        next
    }

    /// The one that ran is done.
    pub(super) fn done(&mut self) {
        self.busy = false;
    }

    pub(super) fn is_idle(&self) -> bool {
        !self.busy && self.waiting.is_empty()
    }
}

impl Operation {
    pub(super) fn start(self, outside: &Outside) {
        let failed = self.failure();
        let world = outside.clone();
        let work = async move { Report::Stored(self.perform(&world).await) };
        outside.run("sign-in storage", move |fault| Report::Stored(failed(fault)), work);
    }

    /// The answer if it comes to nothing.
    fn failure(&self) -> impl FnOnce(Fault) -> Option<(Attempt, Answer)> + use<> {
        type Failed = fn(Fault) -> Answer;
        let answer: Option<(Attempt, Failed)> = match self {
            Self::Load(attempt) => Some((*attempt, Answer::LoadFailed)),
            Self::Read(attempt) => Some((*attempt, |fault| Answer::Shared(SharedFile::Failed(fault)))),
            Self::Store(attempt, _) => Some((*attempt, |fault| Answer::Stored(Err(fault)))),
            Self::Write(attempt, ..) => Some((*attempt, |fault| Answer::Written(Err(fault)))),
            Self::Wipe(attempt) => Some((*attempt, |fault| Answer::Wiped(Err(fault)))),
            Self::Delete(attempt) => Some((*attempt, |fault| Answer::Deleted(Err(fault)))),
            Self::ForgetClients => None,
        };
        move |fault| answer.map(|(attempt, failed)| (attempt, failed(fault)))
    }

    pub(super) async fn perform(self, outside: &Outside) -> Option<(Attempt, Answer)> {
        let (site, ports) = (&outside.site, &outside.ports);
        match self {
            Self::Load(attempt) => {
                let loaded = ports.keys.token(&site.name).await;
                Some((attempt, loaded.map_or_else(Answer::LoadFailed, Answer::Loaded)))
            }
            Self::Read(attempt) => Some((attempt, Answer::Shared(ports.cache.read(site).await))),
            Self::Store(attempt, stored) => {
                let stored = ports.keys.put_token(&site.name, Some(stored)).await;
                Some((attempt, Answer::Stored(stored)))
            }
            Self::Write(attempt, token, sharing) => {
                Some((attempt, Answer::Written(ports.cache.write(site, &token, sharing).await)))
            }
            Self::Wipe(attempt) => {
                let wiped = ports.keys.put_token(&site.name, None).await;
                Some((attempt, Answer::Wiped(tell("wipe the key store", wiped))))
            }
            Self::Delete(attempt) => {
                let deleted = ports.cache.delete(site).await;
                Some((attempt, Answer::Deleted(tell("delete the shared token file", deleted))))
            }
            Self::ForgetClients => {
                for flow in [LoginFlow::AuthorizationCode, LoginFlow::DeviceCode] {
                    let forgotten = ports.keys.put_client(&site.name, flow, None).await;
                    // The next login registers another one, whatever is left of this.
                    let _logged = tell("forget a client registration", forgotten);
                }
                None
            }
        }
    }
}

/// Logs what failed. The token is not used any more, whatever is left of it.
fn tell(what: &str, outcome: Result<(), Fault>) -> Result<(), Fault> {
    outcome.inspect_err(|fault| {
        tracing::warn!("could not {what}: {fault}");
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_operation_at_a_time_and_in_order() {
        let mut queue = Queue::default();
        assert!(queue.is_idle());
        queue.push(Operation::Wipe(Attempt(1)));
        queue.push(Operation::Delete(Attempt(2)));
        assert!(matches!(queue.next(), Some(Operation::Wipe(_))));
        assert!(queue.next().is_none(), "the first one runs");
        queue.done();
        assert!(!queue.is_idle());
        assert!(matches!(queue.next(), Some(Operation::Delete(_))));
        assert!(!queue.is_idle());
        queue.done();
        assert!(queue.is_idle() && queue.next().is_none());
    }
}
