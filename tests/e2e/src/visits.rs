//! Somebody who connects to tunnels all the time, with an echo service behind them.

use std::io;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use crate::local;

/// Between two visits.
const PAUSE: Duration = Duration::from_millis(20);

/// Longest wait of a visitor: connections are held for a minute.
const PATIENCE: Duration = Duration::from_secs(70);

/// One connection.
#[derive(Debug)]
pub struct Visit {
    /// When it was begun.
    pub at: Instant,
    /// How long it took, to its echo or its end.
    pub took: Duration,
    end: End,
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Its bytes came back.
    Carried,
    /// Nobody listened.
    Refused,
    /// It was taken and ended without a byte.
    Ended,
}

impl Visit {
    /// Whether nobody listened.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.end == End::Refused
    }

    /// How long its echo took, if it came.
    #[must_use]
    pub fn carried(&self) -> Option<Duration> {
        (self.end == End::Carried).then_some(self.took)
    }

    async fn pay(port: u16, number: usize) -> Self {
        let at = Instant::now();
        let end = match local::connect(port, PATIENCE).await {
            Ok(mut stream) => match local::echo(&mut stream, &format!("visit {number}\n"), PATIENCE).await {
                Ok(()) => End::Carried,
                Err(_) => End::Ended,
            },
            Err(error) if is_refusal(&error) => End::Refused,
            Err(_) => End::Ended,
        };
        Self { at, took: at.elapsed(), end }
    }
}

fn is_refusal(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
}

/// Visits that go on until [`Visits::end`].
#[derive(Debug)]
pub struct Visits {
    over: oneshot::Sender<()>,
    visitor: JoinSet<Vec<Visit>>,
}

impl Visits {
    /// Begins to connect to these ports, one after the other, again and again.
    #[must_use]
    pub fn start(ports: Vec<u16>) -> Self {
        let (over, mut end) = oneshot::channel();
        let mut visitor = JoinSet::new();
        visitor.spawn(async move {
            let (mut visits, mut ticks) = (JoinSet::new(), interval(PAUSE));
            for (number, port) in ports.into_iter().cycle().enumerate() {
                tokio::select! {
                    _ = &mut end => break,
                    _ = ticks.tick() => visits.spawn(Visit::pay(port, number)),
                };
            }
            let mut visits = visits.join_all().await;
            visits.sort_by_key(|visit| visit.at);
            visits
        });
        Self { over, visitor }
    }

    /// Begins no more, waits for the last one, and answers all, by the time they were begun.
    ///
    /// # Errors
    /// The visitor failed.
    pub async fn end(mut self) -> Result<Vec<Visit>> {
        // A visitor that has failed hears nothing any more.
        let _ = self.over.send(());
        Ok(self.visitor.join_next().await.context("the visitor is gone")??)
    }
}
