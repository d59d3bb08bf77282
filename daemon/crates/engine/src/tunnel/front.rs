//! The local side of a tunnel: its listener, and the connections that wait for the tunnel to be up.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use stormtunnel_model::BoundAddress;

use crate::ports::{BoxLocalStream, LocalListener};

/// A connection that is reset, not closed, unless somebody takes it over: its application must see a failure.
pub(crate) struct Held(Option<BoxLocalStream>);

impl Held {
    fn new(stream: BoxLocalStream) -> Self {
        Self(Some(stream))
    }

    fn release(mut self) -> Option<BoxLocalStream> {
        self.0.take()
    }
}

/// How long a connection waits for the tunnel. Longer than applications wait for a connection to be made, but this one is
/// made already: what they wait for now is an answer, for which many have no limit.
const HOLD: Duration = Duration::from_secs(60);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.iter().for_each(|stream| stream.reset_on_close());
    }
}

/// Listener and held connections.
#[derive(Default)]
pub(crate) struct Front {
    listener: Option<Box<dyn LocalListener>>,
    /// Each with the time it came.
    held: VecDeque<(Instant, Held)>,
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front").field("listening", &self.addresses()).field("held", &self.held.len()).finish()
    }
}

impl Front {
    /// Takes over a bound listener.
    pub(crate) fn listen(&mut self, listener: Box<dyn LocalListener>) {
        self.listener = Some(listener);
    }

    /// Closes the listener: port or socket are free when this returns.
    pub(crate) fn close(&mut self) {
        self.listener = None;
    }

    /// Where it listens.
    pub(crate) fn addresses(&self) -> Vec<BoundAddress> {
        self.listener.as_ref().map(|listener| listener.addresses()).unwrap_or_default()
    }

    /// The TCP port it listens on.
    pub(crate) fn port(&self) -> Option<u16> {
        self.addresses().first().and_then(BoundAddress::port)
    }

    /// The next connection; never comes without a listener. Cancel-safe, as the port promises.
    pub(crate) async fn accept(&mut self) -> BoxLocalStream {
        match &mut self.listener {
            Some(listener) => listener.accept().await,
            None => std::future::pending().await,
        }
    }

    /// Lets a connection wait, unless `limit` wait already: then it is reset.
    pub(crate) fn hold(&mut self, stream: BoxLocalStream, limit: usize, now: Instant) {
        let held = Held::new(stream);
        if self.held.len() < limit {
            self.held.push_back((now, held));
        }
    }

    /// Since when the one has waited that has waited longest.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        self.held.front().map(|(since, _)| *since)
    }

    /// Resets those that have waited for too long; answers how many.
    pub(crate) fn expire(&mut self, now: Instant) -> usize {
        let before = self.held.len();
        while self.waiting_since().is_some_and(|since| since + HOLD <= now) {
            self.held.pop_front();
        }
        before - self.held.len()
    }

    /// When the next one will have waited for too long.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.waiting_since().map(|since| since + HOLD)
    }

    /// How many wait.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// Resets a connection.
    pub(crate) fn refuse(stream: BoxLocalStream) {
        drop(Held::new(stream));
    }

    /// The connection that has waited longest.
    pub(crate) fn release(&mut self) -> Option<BoxLocalStream> {
        self.held.pop_front().and_then(|(_, held)| held.release())
    }

    /// Resets all that wait.
    pub(crate) fn reset_held(&mut self) {
        self.held.clear();
    }

    /// Whether somebody waits.
    pub(crate) fn has_held(&self) -> bool {
        !self.held.is_empty()
    }
}
