//! Signals: the first one that asks to stop stops in order, the second one at once. A hang-up means nothing to a daemon.

use std::io;

use stormtunnel_engine::tasks::{Tasks, TasksClosed};
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Signals cannot be listened to.
#[derive(Debug, Error)]
pub enum SignalsError {
    /// The system refuses.
    #[error("cannot listen to signals")]
    Listen(#[source] io::Error),
    /// The daemon is stopping already.
    #[error(transparent)]
    Stopping(#[from] TasksClosed),
}

/// Fires `stop` on SIGTERM and SIGINT, exits the process on the second one, ignores SIGHUP.
pub(crate) fn listen(tasks: &Tasks, stop: &CancellationToken) -> Result<(), SignalsError> {
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    let [terminate, interrupt, hangup] = kinds.map(signal);
    let mut signals = Signals {
        terminate: terminate.map_err(SignalsError::Listen)?,
        interrupt: interrupt.map_err(SignalsError::Listen)?,
        hangup: hangup.map_err(SignalsError::Listen)?,
    };
    let stop = stop.clone();
    tasks.spawn("signals", async move {
        signals.next().await;
        tracing::info!("a signal asks to stop");
        stop.cancel();
        signals.next().await;
        tracing::warn!("a second signal: exiting at once, sessions may stay open until the next start");
        std::process::exit(1);
    })?;
    Ok(())
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// The next signal that asks to stop.
    async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => tracing::debug!("a terminal was closed; going on"),
            }
        }
    }
}
