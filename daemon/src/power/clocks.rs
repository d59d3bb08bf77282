//! Sleep and clock changes as the clocks show them, on every system and without anybody's help.
//!
//! A machine has a clock that stands still while it sleeps and one that does not: what the second gains on the first was
//! sleep. What the wall clock gains on the second was somebody who set it; or a virtual machine that was paused, which no
//! other clock shows.
//!
//! Who is told of a waking by the system looks at the same clocks, through the same [`Sleeps`], so that each sleep is
//! reported once, whoever comes first.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use stormtunnel_engine::incidents::Bulletin;
use stormtunnel_engine::ports::{Clock as _, Incident, PortFuture};
use tokio::time::Instant;

use super::Watch;
use crate::system::SystemClock;

/// How often the clocks are compared. One timer for the whole daemon; five seconds are what somebody who opens a laptop
/// waits for its network anyway.
const TICK: Duration = Duration::from_secs(5);
/// A sleep that a tick found is left for so long to those whom the system tells: they know whether it was a dark waking.
const GRACE: Duration = Duration::from_secs(1);
/// The least that counts as sleep. Connections outlive this, and reading two clocks takes time.
const LEAST_SLEEP: Duration = Duration::from_secs(1);
/// The least that counts as a clock that was set, in milliseconds. After a sleep the wall clock may come from one that counts
/// whole seconds.
const LEAST_JUMP_MS: i64 = 2000;
/// macOS tells programs of full wakings only, so that one that the clocks alone show was dark. Linux tells no difference.
const DARK_UNLESS_TOLD: bool = cfg!(target_os = "macos");

/// The clock that counts sleep.
#[cfg(not(target_os = "macos"))]
const ALWAYS: ClockId = ClockId::Boottime;
/// The clock that counts sleep: on this system the monotonic one, while `Instant` reads one that stands still.
#[cfg(target_os = "macos")]
const ALWAYS: ClockId = ClockId::Monotonic;

/// All clocks at one moment. The origins do not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Stands still while the machine sleeps.
    pub awake: Duration,
    /// Runs always.
    pub always: Duration,
    /// The wall clock in milliseconds.
    pub wall_ms: i64,
}

impl Reading {
    fn asleep(&self) -> Duration {
        self.always.saturating_sub(self.awake)
    }

    fn set_by_ms(&self) -> i64 {
        self.wall_ms - i64::try_from(self.always.as_millis()).unwrap_or(i64::MAX)
    }
}

/// Where readings come from.
pub trait Clocks: Send + Sync + fmt::Debug {
    /// All clocks now.
    fn read(&self) -> Reading;
}

/// This machine's.
#[derive(Debug)]
pub struct MachineClocks {
    origin: Instant,
}

impl Default for MachineClocks {
    fn default() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Clocks for MachineClocks {
    fn read(&self) -> Reading {
        let always = clock_gettime(ALWAYS);
        let seconds = u64::try_from(always.tv_sec).unwrap_or_default();
        let nanoseconds = u32::try_from(always.tv_nsec).unwrap_or_default();
        Reading {
            awake: self.origin.elapsed(),
            always: Duration::new(seconds, nanoseconds),
            wall_ms: i64::try_from(SystemClock.wall().as_millis()).unwrap_or(i64::MAX),
        }
    }
}

/// What was reported of the clocks so far. No clock of its own.
#[derive(Clone, Copy, Debug)]
struct Account {
    asleep: Duration,
    set_by_ms: i64,
    /// The last waking was dark.
    dark: bool,
}

impl Account {
    fn new(now: Reading) -> Self {
        Self { asleep: now.asleep(), set_by_ms: now.set_by_ms(), dark: false }
    }

    /// How much sleep has not been reported yet.
    fn unreported(&self, now: Reading) -> Option<Duration> {
        now.asleep().checked_sub(self.asleep).filter(|slept| *slept >= LEAST_SLEEP)
    }

    /// Reports sleep. Without any there is still something to report when a dark waking has become one that is not.
    fn wake(&mut self, dark: bool, now: Reading) -> Option<Incident> {
        let slept = self.unreported(now);
        // The clocks drift against each other: what is too little to be sleep must not add up.
        self.asleep = now.asleep();
        let lit = self.dark && !dark;
        if slept.is_some() || lit {
            self.dark = dark;
        }
        match slept {
            Some(slept) => Some(Incident::Woke { slept, dark }),
            None if lit => Some(Incident::Woke { slept: Duration::ZERO, dark }),
            None => None,
        }
    }

    /// Reports a clock that was set.
    fn set(&mut self, now: Reading) -> Option<Incident> {
        let by_ms = now.set_by_ms().saturating_sub(self.set_by_ms);
        self.set_by_ms = now.set_by_ms();
        (by_ms.saturating_abs() >= LEAST_JUMP_MS).then_some(Incident::ClockJumped { by_ms })
    }
}

/// The sleeps of this machine: each is reported once, whoever notices it.
#[derive(Debug)]
pub struct Sleeps {
    clocks: Arc<dyn Clocks>,
    account: Mutex<Account>,
}

impl Sleeps {
    /// Counts from now on.
    pub fn new(clocks: Arc<dyn Clocks>) -> Self {
        let account = Mutex::new(Account::new(clocks.read()));
        Self { clocks, account }
    }

    /// The system says that the machine woke. Reports the sleep, if the clocks show one that was not reported yet.
    pub fn woke(&self, dark: bool, bulletin: &Bulletin) {
        let woke = self.account().wake(dark, self.clocks.read());
        woke.into_iter().for_each(|incident| bulletin.report(incident));
    }

    fn has_slept(&self) -> bool {
        self.account().unreported(self.clocks.read()).is_some()
    }

    fn look(&self, bulletin: &Bulletin) {
        self.woke(DARK_UNLESS_TOLD, bulletin);
        let set = self.account().set(self.clocks.read());
        set.into_iter().for_each(|incident| bulletin.report(incident));
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Compares the clocks every few seconds.
#[derive(Debug)]
pub struct ClockWatch {
    sleeps: Arc<Sleeps>,
}

impl ClockWatch {
    /// Reports what `sleeps` has not reported yet.
    pub fn new(sleeps: Arc<Sleeps>) -> Self {
        Self { sleeps }
    }
}

impl Watch for ClockWatch {
    fn name(&self) -> &'static str {
        "watch clocks"
    }

    fn watch(self: Box<Self>, bulletin: Bulletin) -> PortFuture<'static, ()> {
        Box::pin(async move {
            loop {
                tokio::time::sleep(TICK).await;
                if self.sleeps.has_slept() {
                    tokio::time::sleep(GRACE).await;
                }
                self.sleeps.look(&bulletin);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Reading = Reading {
        awake: Duration::from_secs(100),
        always: Duration::from_secs(500),
        wall_ms: 1_700_000_000_000,
    };

    fn awake(reading: Reading, ms: u64) -> Reading {
        let step = Duration::from_millis(ms);
        Reading { awake: reading.awake + step, ..asleep(reading, ms) }
    }

    fn asleep(reading: Reading, ms: u64) -> Reading {
        let always = reading.always + Duration::from_millis(ms);
        Reading { always, wall_ms: reading.wall_ms + i64::try_from(ms).unwrap(), ..reading }
    }

    fn set(reading: Reading, by_ms: i64) -> Reading {
        Reading { wall_ms: reading.wall_ms + by_ms, ..reading }
    }

    fn woke(ms: u64, dark: bool) -> Option<Incident> {
        Some(Incident::Woke { slept: Duration::from_millis(ms), dark })
    }

    #[test]
    fn sleep_is_what_one_clock_gains_on_the_other_and_is_reported_once() {
        let mut account = Account::new(START);
        let before = awake(START, 5000);
        assert_eq!((account.wake(false, before), account.set(before)), (None, None));
        let after = awake(asleep(before, 3_600_000), 1000);
        assert_eq!(account.unreported(after), Some(Duration::from_secs(3600)));
        assert_eq!(account.wake(false, after), woke(3_600_000, false));
        assert_eq!((account.wake(false, after), account.set(after)), (None, None), "no clock was set");
    }

    #[test]
    fn a_nap_is_no_sleep_and_drift_does_not_add_up() {
        let mut account = Account::new(START);
        let mut now = START;
        for _ in 0..1000 {
            now = awake(asleep(now, 900), 5000);
            assert_eq!(account.wake(false, now), None);
        }
        assert_eq!(account.wake(false, asleep(now, 1000)), woke(1000, false));
    }

    #[test]
    fn a_clock_that_runs_behind_is_no_sleep() {
        let mut account = Account::new(START);
        let behind = Reading { awake: START.awake + Duration::from_secs(50), ..START };
        assert_eq!(account.wake(false, behind), None);
        let before = Reading { awake: Duration::from_secs(900), ..START };
        assert_eq!(account.wake(false, before), None, "not even when it is ahead of the other");
    }

    #[test]
    fn a_dark_waking_that_becomes_a_full_one_is_told_again() {
        let mut account = Account::new(START);
        let dark = asleep(START, 60_000);
        assert_eq!(account.wake(true, dark), woke(60_000, true));
        assert_eq!(account.wake(true, awake(dark, 1000)), None);
        assert_eq!(account.wake(false, awake(dark, 2000)), woke(0, false));
        assert_eq!(account.wake(false, awake(dark, 3000)), None);
        assert_eq!(account.wake(false, asleep(dark, 60_000)), woke(60_000, false), "and asleep again");
    }

    #[test]
    fn a_clock_that_is_set_jumps_by_so_much_in_either_direction() {
        let mut account = Account::new(START);
        let forward = set(awake(START, 5000), 3_600_000);
        assert_eq!(account.set(forward), Some(Incident::ClockJumped { by_ms: 3_600_000 }));
        let back = set(awake(forward, 5000), -7_200_000);
        assert_eq!(account.set(back), Some(Incident::ClockJumped { by_ms: -7_200_000 }));
        assert_eq!(account.set(awake(back, 5000)), None);
    }

    #[test]
    fn a_clock_that_is_corrected_has_not_jumped() {
        let mut account = Account::new(START);
        let mut now = START;
        for _ in 0..1000 {
            now = set(awake(now, 5000), -1999);
            assert_eq!(account.set(now), None);
        }
        let slept = set(asleep(now, 3_600_000), 999);
        assert_eq!(account.set(slept), None, "a clock of whole seconds after a sleep");
    }

    #[test]
    fn the_machine_has_clocks_that_run_together() {
        let clocks = MachineClocks::default();
        let (first, second) = (clocks.read(), clocks.read());
        let mut account = Account::new(first);
        assert_eq!((account.wake(false, second), account.set(second)), (None, None));
        assert!(second.always >= first.always && first.always > Duration::ZERO);
    }
}
