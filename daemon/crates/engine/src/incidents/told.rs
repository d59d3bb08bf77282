//! Which incidents are events in the history.
//!
//! A link that flaps for a night would push everything else out of a history of bounded length, and tell nothing by it:
//! an incident of a kind that goes on happening is told after ever longer pauses.

use std::time::{Duration, Instant};

use stormtunnel_model::EventKind;

use super::Disturbance;
use crate::history::History;
use crate::ports::Incident;

/// The shortest pause between two incidents of a kind that are told. A person who changes networks takes longer.
const SHORTEST_PAUSE: Duration = Duration::from_secs(10);
/// The longest one: what flaps for a month costs a tenth of the history.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// What was told of incidents.
#[derive(Debug, Default)]
pub(crate) struct Told {
    network: Pace,
    clock: Pace,
}

/// When a kind of incident was told, and how soon it is told again.
#[derive(Debug, Default)]
struct Pace(Option<(Instant, Duration)>);

impl Told {
    /// Logs what happened, and records what of it is news.
    pub(crate) fn tell(&mut self, disturbance: Disturbance, history: &History, tunnels: usize, now: Instant) {
        for incident in disturbance.incidents() {
            let kind = EventKind::from(incident);
            tracing::info!(tunnels, "{kind}: tunnels that are up are verified, others try again now");
            if self.is_news(incident, now) {
                history.record(None, kind);
            }
        }
    }

    /// A sleep is always news: it ends no more often than somebody, or the system, puts the machine to sleep.
    fn is_news(&mut self, incident: Incident, now: Instant) -> bool {
        match incident {
            Incident::Woke { .. } => true,
            Incident::NetworkChanged => self.network.is_due(now),
            Incident::ClockJumped { .. } => self.clock.is_due(now),
        }
    }
}

impl Pace {
    /// Whether to tell it now. The pause doubles while it goes on, and is short again after twice its length in peace.
    fn is_due(&mut self, now: Instant) -> bool {
        let pause = match self.0 {
            None => SHORTEST_PAUSE,
            Some((told, pause)) => {
                let passed = now.saturating_duration_since(told);
                if passed < pause {
                    return false;
                }
                if passed < 2 * pause { (2 * pause).min(LONGEST_PAUSE) } else { SHORTEST_PAUSE }
            }
        };
        self.0 = Some((now, pause));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the changes at these seconds are told.
    fn told(seconds: impl Iterator<Item = u64>) -> usize {
        let (mut told, start) = (Told::default(), tokio::time::Instant::now().into_std());
        let at = |second| start + Duration::from_secs(second);
        seconds.filter(|second| told.is_news(Incident::NetworkChanged, at(*second))).count()
    }

    #[test]
    fn a_link_that_flaps_for_a_month_leaves_room_for_everything_else() {
        assert_eq!(told(0..60), 3, "at 0, 10 and 30 s");
        let month = told((0..30 * 24 * 3600).step_by(2));
        assert!((700..1000).contains(&month), "{month} of 10000 events");
    }

    #[test]
    fn changes_that_are_apart_are_all_told() {
        assert_eq!(told((0..100).map(|change| change * 20)), 100);
        assert_eq!(told([0, 5, 10, 60, 3600, 7200].into_iter()), 5, "the second one belongs to the first");
    }

    #[test]
    fn every_sleep_is_told_and_kinds_do_not_hide_each_other() {
        let (mut told, now) = (Told::default(), tokio::time::Instant::now().into_std());
        let woke = Incident::Woke { slept: Duration::from_secs(60), dark: true };
        for _ in 0..2 {
            assert!(told.is_news(woke, now));
        }
        assert!(told.is_news(Incident::NetworkChanged, now));
        assert!(told.is_news(Incident::ClockJumped { by_ms: 5 }, now));
        assert!(!told.is_news(Incident::ClockJumped { by_ms: 5 }, now));
    }
}
