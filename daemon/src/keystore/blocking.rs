//! Calls that block, off the runtime's threads and bounded.

use std::sync::Arc;
use std::time::Duration;

use stormtunnel_model::Fault;
use tokio::sync::Mutex;

use super::unavailable;

/// Runs calls one after the other, in the order in which they come. A call that hangs holds one thread, and the calls behind it
/// fail in time.
pub(super) struct Blocking {
    store: String,
    patience: Duration,
    turn: Arc<Mutex<()>>,
}

impl Blocking {
    /// For the calls of that store, which may take so long.
    pub(super) fn new(store: impl Into<String>, patience: Duration) -> Self {
        Self { store: store.into(), patience, turn: Arc::default() }
    }

    /// Runs a call. Once it has begun it goes on when nobody waits for it any more, and so does its turn: a newer one never
    /// overtakes it.
    pub(super) async fn run<T, F>(&self, call: F) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, Fault> + Send + 'static,
    {
        let turn = Arc::clone(&self.turn);
        let done = async move {
            let turn = turn.lock_owned().await;
            let call = move || {
                let outcome = call();
                drop(turn);
                outcome
            };
            tokio::task::spawn_blocking(call).await
        };
        match tokio::time::timeout(self.patience, done).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Err(Fault::internal(error.to_string())),
            Err(_elapsed) => Err(unavailable(&self.store, "it does not answer")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use stormtunnel_model::FaultKind;

    use super::*;

    #[tokio::test]
    async fn a_call_that_hangs_fails_in_time_and_is_not_overtaken() {
        let blocking = Blocking::new("a test", Duration::from_millis(50));
        let (release, wait) = mpsc::sync_channel::<()>(1);
        let hangs = blocking.run(move || wait.recv().map_err(|error| Fault::internal(error.to_string())));
        let fault = hangs.await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::KeyStoreUnavailable { store: "a test".to_owned() });
        let (told, tell) = mpsc::sync_channel(1);
        let behind = blocking.run(move || Ok(told.send(()))).await;
        assert!(behind.is_err() && tell.try_recv().is_err(), "it waits for its turn, and gives up");
        release.send(()).unwrap();
        let patient = Blocking { patience: Duration::from_secs(30), ..blocking };
        assert_eq!(patient.run(|| Ok(7)).await, Ok(7));
    }
}
