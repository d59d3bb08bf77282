//! StartSession calls are spread: an account has a request quota that all its users share.
//!
//! Each account and region has a queue, which moves at a rate. Which account a profile is of is learnt with its first session: until
//! then it has a queue of its own. The rate is halved when AWS finds it too high, and grows again
//! with what AWS accepts. Whoever has a local connection waiting goes first.

use std::collections::{BTreeSet, HashMap};
use std::future::Future as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use stormtunnel_model::{Region, Timestamp};
use tokio::time::Sleep;

use crate::clock::Now;
use crate::ports::{AwsScope, Clock};

/// Sustained: five calls a second per account and region.
const INTERVAL: Duration = Duration::from_millis(200);
/// Calls that may leave at once after a quiet time.
const BURST: u32 = 10;
/// However often AWS throttles, the rate is halved three times at most: the quota is shared with others, and each gets some.
const SLOWEST: Duration = Duration::from_millis(1600);
/// After so long without throttling nothing is left of it.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// How often whoever waits looks whether the queue moves faster than it did.
const LOOK: Duration = Duration::from_secs(10);
/// The least change of an expected time that is worth telling.
const WORTH_TELLING: Duration = Duration::from_secs(1);

/// All queues.
#[derive(Debug, Default)]
pub(crate) struct Politeness {
    queues: Mutex<Queues>,
}

#[derive(Debug, Default)]
struct Queues {
    /// What is known of scopes.
    accounts: HashMap<AwsScope, (String, Region)>,
    of_accounts: HashMap<(String, Region), Queue>,
    /// Of scopes whose account is not known.
    of_scopes: HashMap<AwsScope, Queue>,
    /// The next place's number, in whatever queue.
    next: u64,
}

/// The calls that share a quota.
#[derive(Debug)]
struct Queue {
    /// Time between two calls at present.
    interval: Duration,
    /// When AWS throttled last, unless that is forgotten.
    throttled_at: Option<Instant>,
    /// When a whole burst may leave again.
    full_at: Instant,
    waiting: BTreeSet<Place>,
}

/// A place in a queue; lesser ones come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    patient: bool,
    number: u64,
}

impl Queue {
    fn new(now: Instant) -> Self {
        Self { interval: INTERVAL, throttled_at: None, full_at: now, waiting: BTreeSet::new() }
    }

    /// Takes over whoever waits in another queue, which turned out to be of the same account.
    fn merge(&mut self, other: Self) {
        self.waiting.extend(other.waiting);
        self.full_at = self.full_at.max(other.full_at);
        self.interval = self.interval.max(other.interval);
        self.throttled_at = self.throttled_at.max(other.throttled_at);
    }

    /// Takes the turn if it has come, else answers when it will.
    fn take(&mut self, place: Place, now: Instant) -> Result<(), Instant> {
        self.forget(now);
        let before = u32::try_from(self.waiting.range(..place).count()).unwrap_or(u32::MAX);
        // A full bucket has room for the whole burst; each place taken moves the time when it is full again.
        let ahead = self.full_at.saturating_duration_since(now) + self.interval * before;
        let wait = ahead.saturating_sub(self.interval * (BURST - 1));
        if wait.is_zero() {
            self.waiting.remove(&place);
            self.full_at = self.full_at.max(now) + self.interval;
            Ok(())
        } else {
            Err(now + wait)
        }
    }

    /// A call that was sent at that time was one too many. Calls that were sent together count once.
    fn throttled(&mut self, sent: Instant, now: Instant) -> bool {
        if self.throttled_at.is_some_and(|last| sent <= last) {
            return false;
        }
        self.interval = (self.interval * 2).min(SLOWEST);
        self.full_at = now + self.interval * BURST;
        self.throttled_at = Some(now);
        true
    }

    /// AWS took a call: the rate may be a little too low.
    fn accepted(&mut self, now: Instant) {
        self.set_interval((self.interval * 9 / 10).max(INTERVAL), now);
    }

    fn forget(&mut self, now: Instant) {
        if self.throttled_at.is_some_and(|last| now >= last + FORGOTTEN_AFTER) {
            self.throttled_at = None;
            self.set_interval(INTERVAL, now);
        }
    }

    /// What has been taken of the burst stays taken.
    fn set_interval(&mut self, interval: Duration, now: Instant) {
        let ahead = self.full_at.saturating_duration_since(now);
        self.full_at = now + ahead.mul_f64(interval.as_secs_f64() / self.interval.as_secs_f64());
        self.interval = interval;
    }
}

impl Politeness {
    /// Queues up for a call.
    pub(crate) fn queue(self: &Arc<Self>, scope: AwsScope, clock: Arc<dyn Clock>, hurried: bool) -> Turn {
        let now = Now::read(clock.as_ref());
        let place = Place { patient: !hurried, number: self.number() };
        self.with(&scope, now.mono, |queue| queue.waiting.insert(place));
        let sleep = Box::pin(tokio::time::sleep(Duration::ZERO));
        Turn { politeness: Arc::clone(self), scope, clock, place, sleep, expected: None }
    }

    /// AWS found that a call that was sent at that time was one too many.
    pub(crate) fn throttled(&self, scope: &AwsScope, sent: Instant, now: Instant) {
        let slower = self.with(scope, now, |queue| queue.throttled(sent, now).then_some(queue.interval));
        if let Some(interval) = slower {
            tracing::info!(?scope, ?interval, "AWS throttles: sessions are started more slowly");
        }
    }

    /// AWS took a call.
    pub(crate) fn accepted(&self, scope: &AwsScope, now: Instant) {
        self.with(scope, now, |queue| queue.accepted(now));
    }

    /// The calls of that scope are of that account.
    pub(crate) fn learn(&self, scope: &AwsScope, account: &str, region: &Region, now: Instant) {
        let mut queues = self.queues();
        let Queues { accounts, of_accounts, of_scopes, .. } = &mut *queues;
        let key = (account.to_owned(), region.clone());
        accounts.insert(scope.clone(), key.clone());
        if let Some(own) = of_scopes.remove(scope) {
            of_accounts.entry(key).or_insert_with(|| Queue::new(now)).merge(own);
        }
    }

    fn number(&self) -> u64 {
        let mut queues = self.queues();
        queues.next += 1;
        queues.next
    }

    fn with<T>(&self, scope: &AwsScope, now: Instant, work: impl FnOnce(&mut Queue) -> T) -> T {
        let mut queues = self.queues();
        let Queues { accounts, of_accounts, of_scopes, .. } = &mut *queues;
        work(match accounts.get(scope) {
            Some(key) => of_accounts.entry(key.clone()).or_insert_with(|| Queue::new(now)),
            None => of_scopes.entry(scope.clone()).or_insert_with(|| Queue::new(now)),
        })
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in a queue. Dropped, it is given up.
#[derive(Debug)]
pub(crate) struct Turn {
    politeness: Arc<Politeness>,
    scope: AwsScope,
    clock: Arc<dyn Clock>,
    place: Place,
    sleep: Pin<Box<Sleep>>,
    expected: Option<(Instant, Timestamp)>,
}

/// News of a place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turned {
    /// It is the first, and the call may be sent.
    Now,
    /// It is expected at another time than before.
    Moved,
}

impl Turn {
    /// When it is expected to come, unless that is now.
    pub(crate) fn expected(&self) -> Option<Timestamp> {
        self.expected.map(|(_, shown)| shown)
    }

    /// Somebody waits for it: it goes before all who have time.
    pub(crate) fn hurry(&mut self) {
        let hurried = Place { patient: false, ..self.place };
        let now = self.clock.mono();
        self.politeness.with(&self.scope, now, |queue| {
            if queue.waiting.remove(&self.place) {
                queue.waiting.insert(hurried);
            }
        });
        self.place = hurried;
    }

    /// Waits for news.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Turned> {
        loop {
            let now = Now::read(self.clock.as_ref());
            let place = self.place;
            let Err(at) = self.politeness.with(&self.scope, now.mono, |queue| queue.take(place, now.mono))
            else {
                return Poll::Ready(Turned::Now);
            };
            if self.tells(at, now) {
                return Poll::Ready(Turned::Moved);
            }
            self.sleep.as_mut().reset(now.timer_at(at.min(now.mono + LOOK)));
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Notes an expected time, if it is news.
    fn tells(&mut self, at: Instant, now: Now) -> bool {
        let difference = |told: Instant| at.max(told) - at.min(told);
        let news = self.expected.is_none_or(|(told, _)| difference(told) >= WORTH_TELLING);
        if news {
            self.expected = Some((at, now.wall_at(at)));
        }
        news
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let now = self.clock.mono();
        self.politeness.with(&self.scope, now, |queue| queue.waiting.remove(&self.place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn enter(queue: &mut Queue) -> Place {
        let last = queue.waiting.last().map_or(0, |last| last.number);
        let place = Place { patient: true, number: last + 1 };
        queue.waiting.insert(place);
        place
    }

    /// How long each of so many waits that come at once.
    fn waits(queue: &mut Queue, count: usize, now: Instant) -> Vec<Duration> {
        let places: Vec<_> = (0..count).map(|_| enter(queue)).collect();
        places
            .into_iter()
            .map(|place| queue.take(place, now).map_or_else(|at| at - now, |()| Duration::ZERO))
            .collect()
    }

    fn leaving(queue: &mut Queue, now: Instant) -> usize {
        let places: Vec<_> = queue.waiting.iter().copied().collect();
        places.into_iter().filter(|place| queue.take(*place, now).is_ok()).count()
    }

    #[test]
    fn a_burst_leaves_at_once_and_the_rest_at_the_rate() {
        let now = start();
        let mut queue = Queue::new(now);
        let waits = waits(&mut queue, 15, now);
        assert!(waits[..10].iter().all(Duration::is_zero), "{waits:?}");
        assert_eq!(waits[10..], [1, 2, 3, 4, 5].map(|place| INTERVAL * place));
        for second in 1..=5 {
            assert_eq!(leaving(&mut queue, now + INTERVAL * second), 1, "each when it was told");
        }
    }

    #[test]
    fn quiet_time_fills_the_bucket_but_not_beyond_the_burst() {
        let now = start();
        let mut queue = Queue::new(now);
        assert_eq!(waits(&mut queue, 10, now), [Duration::ZERO; 10]);
        let later = now + Duration::from_secs(3600);
        assert_eq!(waits(&mut queue, 20, later).iter().filter(|wait| wait.is_zero()).count(), 10);
    }

    #[test]
    fn throttling_halves_the_rate_once_for_all_calls_that_were_sent_together() {
        let now = start();
        let mut queue = Queue::new(now);
        waits(&mut queue, 12, now);
        let answered = now + Duration::from_millis(50);
        assert!(queue.throttled(now, answered));
        assert!(!queue.throttled(now, answered), "it was sent before the rate was halved");
        assert_eq!(leaving(&mut queue, now + INTERVAL * 2), 0, "what was told before holds no longer");
        assert_eq!(leaving(&mut queue, answered + INTERVAL * 2), 1);
        assert_eq!(leaving(&mut queue, answered + INTERVAL * 3), 0);
        assert_eq!(leaving(&mut queue, answered + INTERVAL * 4), 1);
        for call in 5..25 {
            assert!(queue.throttled(answered + INTERVAL * call, answered + INTERVAL * call));
        }
        assert_eq!(queue.interval, SLOWEST, "it never stands still");
    }

    #[test]
    fn the_rate_grows_with_what_is_accepted_and_throttling_is_forgotten() {
        let now = start();
        let mut queue = Queue::new(now);
        for step in 0..3 {
            queue.throttled(now + INTERVAL * step, now + INTERVAL * step);
        }
        assert_eq!(queue.interval, SLOWEST);
        let places: Vec<_> = (0..100).map(|_| enter(&mut queue)).collect();
        let (mut moment, mut left) = (now, 0);
        for place in &places {
            while let Err(at) = queue.take(*place, moment) {
                moment = at;
            }
            queue.accepted(moment);
            left += u32::from(moment < now + Duration::from_secs(20));
        }
        assert!((40..60).contains(&left), "{left} in the first 20 s");
        assert_eq!(queue.interval, INTERVAL);

        let later = moment + FORGOTTEN_AFTER;
        queue.throttled(later, later);
        let place = enter(&mut queue);
        assert!(queue.take(place, later).is_err());
        assert!(queue.take(place, later + FORGOTTEN_AFTER).is_ok());
        assert_eq!((queue.interval, queue.throttled_at), (INTERVAL, None));
    }

    #[test]
    fn who_is_waited_for_goes_first_and_who_leaves_makes_room() {
        let (now, politeness) = (start(), Arc::new(Politeness::default()));
        let scope = AwsScope { profile: None, region: Some("eu-west-1".parse().unwrap()) };
        let waiting = |turn: &Turn| {
            politeness.with(&scope, now, |queue| {
                queue.take(turn.place, now).map_or_else(|at| at - now, |()| Duration::ZERO)
            })
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _inside = runtime.enter();
        let clock: Arc<dyn Clock> = Arc::new(crate::testing::TestClock::default());
        politeness.with(&scope, now, |queue| waits(queue, 10, now));
        let queue = || politeness.queue(scope.clone(), Arc::clone(&clock), false);
        let (first, second, mut third) = (queue(), queue(), queue());
        assert_eq!([&first, &second, &third].map(waiting), [1, 2, 3].map(|place| INTERVAL * place));
        third.hurry();
        assert_eq!([&third, &first, &second].map(waiting), [1, 2, 3].map(|place| INTERVAL * place));
        drop(first);
        assert_eq!([&third, &second].map(waiting), [1, 2].map(|place| INTERVAL * place));
        let other = AwsScope { profile: None, region: Some("eu-west-2".parse().unwrap()) };
        let elsewhere = politeness.queue(other.clone(), clock, false);
        assert!(
            politeness.with(&other, now, |queue| queue.take(elsewhere.place, now)).is_ok(),
            "its own quota"
        );
    }

    #[test]
    fn profiles_of_one_account_share_its_quota_once_that_is_known() {
        let (now, politeness) = (start(), Politeness::default());
        let region: Region = "eu-west-1".parse().unwrap();
        let scope = |profile: &str| AwsScope { profile: Some(profile.parse().unwrap()), region: None };
        let (dev, admin, other) = (scope("dev"), scope("admin"), scope("other"));
        for (scope, first) in [(&dev, 0), (&admin, 100), (&other, 200)] {
            politeness.with(scope, now, |queue| {
                (0..10).for_each(|_| drop(waits(queue, 1, now)));
                queue.waiting.extend((first..first + 5).map(|number| Place { patient: true, number }));
            });
        }
        let last = |scope: &AwsScope, number| {
            politeness
                .with(scope, now, |queue| queue.take(Place { patient: true, number }, now).unwrap_err() - now)
        };
        assert_eq!([last(&dev, 4), last(&admin, 104)], [INTERVAL * 5; 2], "each for itself");
        politeness.learn(&dev, "111111111111", &region, now);
        politeness.learn(&admin, "111111111111", &region, now);
        politeness.learn(&other, "222222222222", &region, now);
        assert_eq!([last(&dev, 4), last(&admin, 104)], [INTERVAL * 5, INTERVAL * 10], "one after the other");
        assert_eq!(last(&other, 204), INTERVAL * 5, "another account");
    }
}
