//! Every task of an emulator: tracked, named in its span, ended by one token.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

/// The tasks of one emulator.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Runs `task` until it ends or the emulator stops. A task holds nothing that needs more than being dropped.
    pub(crate) fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        let task = async move {
            stop.run_until_cancelled(task).await;
        };
        // The tracker's own spawn: the only one in this crate.
        self.tracker.spawn(task.instrument(tracing::info_span!("task", name)));
    }

    /// Ends when [`Tasks::cancel`] or [`Tasks::shutdown`] is called.
    pub(crate) fn token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Asks every task to end.
    pub(crate) fn cancel(&self) {
        self.stop.cancel();
    }

    /// Asks every task to end and waits for all of them.
    pub(crate) async fn shutdown(&self) {
        self.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
