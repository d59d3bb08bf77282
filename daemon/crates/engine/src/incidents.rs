//! What happens to the machine under all tunnels: it slept, its network changed, its clock was set.
//!
//! ```text
//! adapters ──report──► Bulletin (one place per kind) ──settle, 0.5 to 2 s──► supervisor ──► every tunnel's actor
//! ```
//!
//! The rule is: **verify first, reconnect only what is dead.** An open data channel is pinged and has a few seconds to
//! answer; one that does notices nothing else. A tunnel that waits for its next try, or for its resume, goes on at once.
//!
//! Disturbances come in bursts: one change of network is dozens of messages of the kernel. They wait for each other in two
//! places of fixed size, and what happens while the supervisor is busy is merged. What is acted on is an event in the
//! history, unless it happens all the time (`told`).

pub(crate) mod told;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stormtunnel_model::EventKind;
use tokio::sync::{Notify, mpsc};

use crate::ports::{Incident, Incidents, PortFuture};

/// How long nothing must happen before what happened is acted on. The messages of one change come within milliseconds of
/// each other; an address of IPv6 is on trial for a second, but routes and IPv4 are there before.
pub const QUIET: Duration = Duration::from_millis(500);
/// The longest that a burst is waited out: an interface that flaps for ever must not keep a dead channel from being found.
pub const LONGEST_BURST: Duration = Duration::from_secs(2);

/// What happened since somebody looked: one place for each kind, so that it is bounded whatever happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Disturbance {
    /// How long the machine slept in all, and whether all its wakings were dark.
    woke: Option<(Duration, bool)>,
    network_changed: bool,
    /// By how many milliseconds in all; absent when the clock was not set, also 0 when it was set to and fro.
    clock_jumped: Option<i64>,
}

impl Disturbance {
    fn add(&mut self, incident: Incident) {
        match incident {
            Incident::Woke { slept, dark } => {
                let (before, all_dark) = self.woke.unwrap_or((Duration::ZERO, true));
                self.woke = Some((before.saturating_add(slept), all_dark && dark));
            }
            Incident::NetworkChanged => self.network_changed = true,
            Incident::ClockJumped { by_ms } => {
                self.clock_jumped = Some(self.clock_jumped.unwrap_or(0).saturating_add(by_ms));
            }
        }
    }

    /// Takes one out. A waking comes first, because it explains the others.
    fn take(&mut self) -> Option<Incident> {
        if let Some((slept, dark)) = self.woke.take() {
            return Some(Incident::Woke { slept, dark });
        }
        if std::mem::take(&mut self.network_changed) {
            return Some(Incident::NetworkChanged);
        }
        self.clock_jumped.take().map(|by_ms| Incident::ClockJumped { by_ms })
    }

    /// All of them, the waking first.
    pub(crate) fn incidents(mut self) -> impl Iterator<Item = Incident> {
        std::iter::from_fn(move || self.take())
    }
}

impl From<Incident> for EventKind {
    fn from(incident: Incident) -> Self {
        match incident {
            Incident::Woke { slept, dark } => Self::Woke { slept, dark },
            Incident::NetworkChanged => Self::NetworkChanged,
            Incident::ClockJumped { by_ms } => Self::ClockJumped { by_ms },
        }
    }
}

/// Where incidents are reported, by anybody, and taken, by the engine.
#[derive(Clone, Debug, Default)]
pub struct Bulletin(Arc<Posted>);

#[derive(Debug, Default)]
struct Posted {
    disturbance: Mutex<Disturbance>,
    news: Notify,
}

impl Bulletin {
    /// Reports an incident. What has not been taken yet is merged with it: times add up, and a waking is dark only if all
    /// were.
    pub fn report(&self, incident: Incident) {
        self.0.disturbance.lock().unwrap_or_else(PoisonError::into_inner).add(incident);
        self.0.news.notify_one();
    }

    fn take(&self) -> Option<Incident> {
        self.0.disturbance.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The next incident, when it happens. Cancel-safe.
    pub async fn next(&self) -> Incident {
        loop {
            // A report between this look and the next line leaves its permit.
            if let Some(incident) = self.take() {
                return incident;
            }
            self.0.news.notified().await;
        }
    }
}

impl Incidents for Bulletin {
    fn next(&self) -> PortFuture<'_, Incident> {
        Box::pin(self.next())
    }
}

/// Waits out bursts and passes on what they come to, until nobody listens.
pub(crate) async fn settle(source: Arc<dyn Incidents>, settled: mpsc::Sender<Disturbance>) {
    loop {
        let mut disturbance = Disturbance::default();
        disturbance.add(source.next().await);
        let latest = tokio::time::Instant::now() + LONGEST_BURST;
        loop {
            let quiet = tokio::time::Instant::now() + QUIET;
            match tokio::time::timeout_at(quiet.min(latest), source.next()).await {
                Ok(incident) => disturbance.add(incident),
                Err(_quiet) => break,
            }
            // A source that is always ready would never let the timeout be looked at.
            if tokio::time::Instant::now() >= latest {
                break;
            }
        }
        if settled.send(disturbance).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use tokio::time::Instant;

    fn woke(seconds: u64, dark: bool) -> Incident {
        Incident::Woke { slept: Duration::from_secs(seconds), dark }
    }

    #[tokio::test]
    async fn what_nobody_has_taken_is_merged() {
        let bulletin = Bulletin::default();
        (0..1000).for_each(|_| bulletin.report(Incident::NetworkChanged));
        bulletin.report(Incident::ClockJumped { by_ms: -1500 });
        bulletin.report(woke(60, true));
        bulletin.report(woke(3, false));
        bulletin.report(Incident::ClockJumped { by_ms: 500 });
        assert_eq!(bulletin.next().await, woke(63, false));
        assert_eq!(bulletin.next().await, Incident::NetworkChanged);
        assert_eq!(bulletin.next().await, Incident::ClockJumped { by_ms: -1000 });
        assert_eq!(bulletin.next().now_or_never(), None);
    }

    #[test]
    fn a_waking_is_dark_only_if_all_were() {
        let merged = |wakings: [bool; 2]| {
            let mut disturbance = Disturbance::default();
            wakings.into_iter().for_each(|dark| disturbance.add(woke(1, dark)));
            disturbance.take()
        };
        assert_eq!(merged([true, true]), Some(woke(2, true)));
        assert_eq!(merged([true, false]), Some(woke(2, false)));
        assert_eq!(merged([false, true]), Some(woke(2, false)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_one_disturbance_half_a_second_after_its_end() {
        let (bulletin, sender, mut settled) = bench();
        let burst = async {
            for _ in 0..5 {
                tokio::time::advance(Duration::from_millis(100)).await;
                bulletin.report(Incident::NetworkChanged);
            }
            Instant::now()
        };
        let settle = settle(Arc::new(bulletin.clone()), sender);
        let told = async {
            let (ended, told) = tokio::join!(burst, settled.recv());
            (Instant::now() - ended, told)
        };
        let (after, told) = tokio::select! { told = told => told, () = settle => unreachable!() };
        assert_eq!(told, Some(Disturbance { network_changed: true, ..Disturbance::default() }));
        assert!((QUIET..QUIET + Duration::from_millis(10)).contains(&after), "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_without_end_is_acted_on_all_the_same() {
        let (bulletin, sender, mut settled) = bench();
        let start = Instant::now();
        let mut again = tokio::time::interval(QUIET / 2);
        let flapping = async {
            loop {
                again.tick().await;
                bulletin.report(Incident::NetworkChanged);
            }
        };
        let settle = settle(Arc::new(bulletin.clone()), sender);
        let told =
            tokio::select! { told = settled.recv() => told, () = settle => None, () = flapping => None };
        assert!(told.is_some_and(|told| told.network_changed));
        let after = start.elapsed();
        assert!((LONGEST_BURST..LONGEST_BURST + QUIET).contains(&after), "{after:?}");
    }

    /// The twin, as an engine has it, and where the settled ones arrive.
    fn bench() -> (Bulletin, mpsc::Sender<Disturbance>, mpsc::Receiver<Disturbance>) {
        let (sender, settled) = mpsc::channel(1);
        (Bulletin::default(), sender, settled)
    }

    #[test]
    fn incidents_read_well() {
        let text = |incident: Incident| EventKind::from(incident).to_string();
        assert_eq!(text(woke(90, false)), "the machine woke after 90 s");
        assert_eq!(text(woke(90, true)), "the machine woke after 90 s, for itself");
        assert_eq!(text(Incident::NetworkChanged), "the network changed");
        assert_eq!(text(Incident::ClockJumped { by_ms: -1500 }), "the clock was set back by 1500 ms");
    }
}
