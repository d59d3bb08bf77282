//! What happens to sign-ins, as the history has it.

use std::sync::Arc;

use stormtunnel_model::{EventKind, SignInEvent, SignInName};
use tokio::sync::mpsc;

use super::machine::Notice;
use super::ports::SignInObserver;
use crate::history::bounded;

/// Events that may wait for the history, which takes them at once: those of a hundred sign-ins whose network comes back.
const WAITING: usize = 256;

/// Why no browser is opened for logins that do not last.
const DO_NOT_LAST: &str = "three logins in ten minutes were lost at once; no browser is opened for a while. \
     Check the start URL, the clock of this machine and the session of the identity provider";

/// Passes on what happens, and notes it for the history.
pub(super) struct Recorder {
    history: mpsc::Sender<EventKind>,
    next: Arc<dyn SignInObserver>,
}

impl Recorder {
    /// In front of `next`; the events come out at the other end.
    pub(super) fn new(next: Arc<dyn SignInObserver>) -> (Self, mpsc::Receiver<EventKind>) {
        let (history, happened) = mpsc::channel(WAITING);
        (Self { history, next }, happened)
    }

    fn note(&self, name: &SignInName, event: SignInEvent) {
        if let Err(error) = self.history.try_send(EventKind::SignIn { sign_in: name.clone(), event }) {
            tracing::warn!(sign_in = %name, "an event is not in the history: {error}");
        }
    }
}

impl SignInObserver for Recorder {
    fn notify(&self, name: &SignInName, notice: &Notice) {
        let (reason, before) = match notice {
            Notice::LoginNeeded { reason, before } => (*reason, *before),
            Notice::LoginsDoNotLast => (DO_NOT_LAST, None),
        };
        self.note(name, SignInEvent::LoginNeeded { reason: reason.to_owned(), before });
        self.next.notify(name, notice);
    }

    fn record(&self, name: &SignInName, event: &SignInEvent) {
        let mut noted = event.clone();
        if let SignInEvent::RenewalFailed { fault } = &mut noted {
            *fault = bounded(fault.clone());
        }
        self.note(name, noted);
        self.next.record(name, event);
    }

    fn forget_credentials(&self, name: &SignInName) {
        self.next.forget_credentials(name);
    }
}
