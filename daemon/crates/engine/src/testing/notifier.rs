//! A notifier that shows nothing.

use tokio::sync::watch;

use super::PATIENCE;
use crate::notifications::{Notification, Notifier};
use crate::ports::PortFuture;

/// Keeps what it is to show.
#[derive(Debug, Default)]
pub struct MemoryNotifier(watch::Sender<Vec<Notification>>);

impl MemoryNotifier {
    /// What was to be shown, in order.
    pub fn shown(&self) -> Vec<Notification> {
        self.0.borrow().clone()
    }

    /// Waits until so many were to be shown.
    ///
    /// # Panics
    /// When they are not within [`PATIENCE`].
    #[expect(clippy::panic, reason = "test support: a panic is the test's failure")]
    pub async fn wait_for(&self, count: usize) -> Vec<Notification> {
        let mut watch = self.0.subscribe();
        let waited = tokio::time::timeout(PATIENCE, watch.wait_for(|shown| shown.len() >= count)).await;
        match waited {
            Ok(Ok(shown)) => shown.clone(),
            Ok(Err(_)) | Err(_) => panic!("only these were shown: {:?}", self.shown()),
        }
    }
}

impl Notifier for MemoryNotifier {
    fn show<'a>(&'a self, notification: &'a Notification) -> PortFuture<'a, ()> {
        Box::pin(async move { self.0.send_modify(|shown| shown.push(notification.clone())) })
    }
}
