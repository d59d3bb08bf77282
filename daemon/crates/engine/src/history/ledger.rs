//! The figures of one tunnel: what its meter counts, and what its actor tells.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use stormtunnel_model::{Statistics, TunnelState};

use super::lock;
use crate::publish::Meter;

/// Time up that is worth a write to the disk by itself: an idle tunnel must not keep a laptop's disk awake.
const UPTIME_STEP: Duration = Duration::from_secs(600);

/// The figures of one tunnel.
#[derive(Debug)]
pub(crate) struct Ledger {
    meter: Arc<Meter>,
    /// Of earlier daemon lives.
    earlier: Statistics,
    life: Mutex<Life>,
}

/// What the meter does not count, in this daemon life.
#[derive(Debug, Default)]
struct Life {
    sessions: u64,
    reconnects: u64,
    up: Duration,
    up_since: Option<Instant>,
    /// It was up since it was last asked for something.
    was_up: bool,
    /// As stored last.
    stored: Statistics,
}

impl Ledger {
    pub(super) fn new(meter: Arc<Meter>, earlier: Statistics) -> Self {
        Self { meter, earlier, life: Mutex::new(Life { stored: earlier, ..Life::default() }) }
    }

    /// A session was started.
    pub(crate) fn add_session(&self) {
        lock(&self.life).sessions += 1;
    }

    /// The tunnel was asked for something: when it comes up next, that is no reconnect.
    pub(crate) fn begin(&self) {
        lock(&self.life).was_up = false;
    }

    /// The tunnel is in another state.
    pub(crate) fn enter(&self, state: &TunnelState, now: Instant) {
        let mut life = lock(&self.life);
        match state {
            TunnelState::Up => {
                life.reconnects += u64::from(life.was_up && life.up_since.is_none());
                life.was_up = true;
                life.up_since.get_or_insert(now);
            }
            TunnelState::Stopped
            | TunnelState::Connecting { .. }
            | TunnelState::Idle
            | TunnelState::Retrying { .. }
            | TunnelState::Blocked { .. }
            | TunnelState::Stopping => {
                let since = life.up_since.take();
                life.up += since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
            }
        }
    }

    /// In this daemon life.
    pub(crate) fn since_started(&self, now: Instant) -> Statistics {
        let life = lock(&self.life);
        let up_now = life.up_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        Statistics {
            traffic: self.meter.traffic(),
            connections: self.meter.opened(),
            sessions: life.sessions,
            reconnects: life.reconnects,
            uptime: life.up + up_now,
        }
    }

    /// In all daemon lives.
    pub(crate) fn since_created(&self, now: Instant) -> Statistics {
        self.earlier.plus(self.since_started(now))
    }

    /// What is to be stored; nothing when that would be hardly different from what is.
    pub(super) fn unstored(&self, now: Instant) -> Option<Statistics> {
        let figures = self.since_created(now);
        let life = lock(&self.life);
        let settled = life.up_since.is_none() || figures.uptime >= life.stored.uptime + UPTIME_STEP;
        let compared = if settled { figures } else { Statistics { uptime: life.stored.uptime, ..figures } };
        (compared != life.stored).then_some(figures)
    }

    /// These figures are stored.
    pub(super) fn put_away(&self, figures: Statistics) {
        lock(&self.life).stored = figures;
    }
}

#[cfg(test)]
mod tests {
    use stormtunnel_model::{ConnectStep, Traffic};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn connecting() -> TunnelState {
        TunnelState::Connecting { step: ConnectStep::Resume }
    }

    #[test]
    fn coming_up_again_is_a_reconnect_unless_it_was_asked_for() {
        let start = tokio::time::Instant::now().into_std();
        let ledger = Ledger::new(Arc::default(), Statistics::default());
        ledger.enter(&TunnelState::Up, start);
        assert_eq!(ledger.since_started(start + SECOND).reconnects, 0, "the first time");
        ledger.enter(&connecting(), start + SECOND);
        ledger.enter(&TunnelState::Up, start + 2 * SECOND);
        ledger.enter(&TunnelState::Stopped, start + 5 * SECOND);
        ledger.begin();
        ledger.enter(&TunnelState::Up, start + 9 * SECOND);
        let figures = ledger.since_started(start + 10 * SECOND);
        assert_eq!((figures.reconnects, figures.uptime), (1, 5 * SECOND));
    }

    #[test]
    fn earlier_lives_count_since_the_creation_only() {
        let now = tokio::time::Instant::now().into_std();
        let earlier =
            Statistics { traffic: Traffic { sent: 7, received: 8 }, sessions: 2, ..Statistics::default() };
        let meter = Arc::new(Meter::default());
        let ledger = Ledger::new(Arc::clone(&meter), earlier);
        meter.add_sent(3);
        drop(meter.connect());
        ledger.add_session();
        assert_eq!(ledger.since_started(now).traffic, Traffic { sent: 3, received: 0 });
        let all = ledger.since_created(now);
        assert_eq!((all.traffic, all.connections, all.sessions), (Traffic { sent: 10, received: 8 }, 1, 3));
    }

    #[test]
    fn time_alone_is_stored_rarely_and_everything_else_at_once() {
        let start = tokio::time::Instant::now().into_std();
        let meter = Arc::new(Meter::default());
        let ledger = Ledger::new(Arc::clone(&meter), Statistics::default());
        assert_eq!(ledger.unstored(start), None);
        ledger.enter(&TunnelState::Up, start);
        assert_eq!(ledger.unstored(start + 599 * SECOND), None);
        assert!(ledger.unstored(start + 600 * SECOND).is_some());
        meter.add_received(1);
        let figures = ledger.unstored(start + SECOND).unwrap();
        ledger.put_away(figures);
        assert_eq!(ledger.unstored(start + 2 * SECOND), None);
        ledger.enter(&TunnelState::Stopped, start + 2 * SECOND);
        assert_eq!(ledger.unstored(start + 9 * SECOND).unwrap().uptime, 2 * SECOND);
    }
}
