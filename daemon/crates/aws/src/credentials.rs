//! Credentials, cached once for the API calls and the signer together.
//!
//! The SDK's own cache sits inside its client, where the signer cannot reach: with it, every upgrade would fetch
//! credentials of its own.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use stormtunnel_engine::ports::Clock;
use stormtunnel_model::Timestamp;
use tokio::time::timeout;

/// Credentials are fetched anew this long before they expire, or a quarter of their lifetime, if that is less: until then the old
/// ones will do while there are no others.
pub(crate) const EARLY: Duration = Duration::from_secs(5 * 60);

/// The same where a person or a program of somebody else has to be asked: a connection attempt has to fit in.
pub(crate) const LATE: Duration = Duration::from_secs(60);

/// How long one fetch may take, unless it is known to take longer.
pub(crate) const FETCH_TIMEOUT: Duration = Duration::from_secs(20);

/// A provider that keeps what it got until shortly before it expires.
#[derive(Clone)]
pub(crate) struct CachedCredentials(Arc<Cached>);

/// How a provider is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// How long one fetch may take.
    pub(crate) timeout: Duration,
    /// How long before their end credentials are fetched anew; absent where the provider keeps them itself.
    pub(crate) margin: Option<Duration>,
}

struct Cached {
    provider: SharedCredentialsProvider,
    clock: Arc<dyn Clock>,
    manner: Manner,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: Option<Kept>,
    /// For as long as somebody waits for it.
    flight: Option<WeakShared<Flight>>,
    /// What was handed out last.
    last: Option<Credentials>,
}

type Flight = BoxFuture<'static, Result<Credentials, Arc<CredentialsError>>>;

struct Kept {
    credentials: Credentials,
    /// When they expire if the wall clock is wrong by now, and how long they were good for.
    expires: Option<(Instant, Duration)>,
}

/// A failure that several wait for.
#[derive(Debug)]
struct SharedFailure(Arc<CredentialsError>);

impl CachedCredentials {
    pub(crate) fn new(provider: SharedCredentialsProvider, clock: Arc<dyn Clock>, manner: Manner) -> Self {
        Self(Arc::new(Cached { provider, clock, manner, state: Mutex::default() }))
    }

    /// The kept credentials, or fresh ones. Callers that come meanwhile wait for the same fetch, and share its failure; old ones
    /// that still live are better than none.
    pub(crate) async fn current(&self) -> provider::Result {
        let outcome = match self.0.kept_or_flight() {
            Ok(kept) => return Ok(kept),
            Err(flight) => flight.await,
        };
        match (outcome, self.0.alive()) {
            (Ok(credentials), _) => Ok(credentials),
            (Err(error), Some(old)) => {
                tracing::debug!(%error, "no new credentials yet: the old ones still live");
                Ok(old)
            }
            (Err(error), None) => Err(CredentialsError::provider_error(SharedFailure(error))),
        }
    }

    /// What was handed out last, which is what calls were signed with.
    pub(crate) fn last(&self) -> Option<Credentials> {
        self.0.state().last.clone()
    }

    /// Keeps nothing any more: the next who asks gets others.
    pub(crate) fn forget(&self) {
        self.0.state().kept = None;
    }
}

impl Cached {
    fn kept_or_flight(self: &Arc<Self>) -> Result<Credentials, Shared<Flight>> {
        let mut state = self.state();
        if let Some(kept) = state.kept.as_ref().filter(|kept| self.is_fresh(kept)) {
            return Ok(kept.credentials.clone());
        }
        if let Some(flight) = state.flight.as_ref().and_then(WeakShared::upgrade) {
            return Err(flight);
        }
        let flight = Arc::clone(self).fetch().boxed().shared();
        state.flight = flight.downgrade();
        Err(flight)
    }

    async fn fetch(self: Arc<Self>) -> Result<Credentials, Arc<CredentialsError>> {
        let Manner { timeout: limit, margin } = self.manner;
        let fetched = timeout(limit, self.provider.provide_credentials()).await;
        let fetched = fetched.unwrap_or_else(|_| Err(CredentialsError::provider_timed_out(limit)));
        let credentials = fetched.map_err(Arc::new)?;
        let mut state = self.state();
        state.last = Some(credentials.clone());
        if margin.is_some() {
            let lifetime = credentials.expiry().map(|expiry| remaining(expiry, self.wall()));
            let expires = lifetime.map(|lifetime| (self.clock.mono() + lifetime, lifetime));
            state.kept = Some(Kept { credentials: credentials.clone(), expires });
        }
        Ok(credentials)
    }

    fn is_fresh(&self, kept: &Kept) -> bool {
        let margin = self.manner.margin.unwrap_or_default();
        self.left(kept).is_none_or(|(left, lifetime)| left > margin.min(lifetime / 4))
    }

    /// Kept ones that are not over.
    fn alive(&self) -> Option<Credentials> {
        let state = self.state();
        let alive = |kept: &&Kept| self.left(kept).is_none_or(|(left, _)| !left.is_zero());
        state.kept.as_ref().filter(alive).map(|kept| kept.credentials.clone())
    }

    /// How long they are good, by the clock that says less, and how long they were.
    fn left(&self, kept: &Kept) -> Option<(Duration, Duration)> {
        let (expires, lifetime) = kept.expires?;
        let by_wall =
            kept.credentials.expiry().map_or(Duration::MAX, |expiry| remaining(expiry, self.wall()));
        Some((by_wall.min(expires.saturating_duration_since(self.clock.mono())), lifetime))
    }

    fn wall(&self) -> SystemTime {
        wall_time(self.clock.as_ref())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remaining(expiry: SystemTime, now: SystemTime) -> Duration {
    expiry.duration_since(now).unwrap_or_default()
}

impl fmt::Display for SharedFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for SharedFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.0.as_ref())
    }
}

/// The clock's wall time as the standard library has it.
pub(crate) fn wall_time(clock: &dyn Clock) -> SystemTime {
    system_time(clock.wall())
}

/// A time as the standard library has it.
pub(crate) fn system_time(time: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(time.as_millis())
}

impl ProvideCredentials for CachedCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.current())
    }
}

impl fmt::Debug for CachedCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedCredentials").finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Instant;

    use super::*;
    use crate::classify::causes;

    /// A clock that stands until it is moved.
    #[derive(Debug, Default)]
    pub(crate) struct StandingClock(pub(crate) AtomicU64);

    impl Clock for StandingClock {
        fn mono(&self) -> Instant {
            tokio::time::Instant::now().into_std()
        }
        fn wall(&self) -> Timestamp {
            Timestamp::from_millis(self.0.load(Ordering::Relaxed))
        }
    }

    /// Counts its calls; credentials live for an hour of the standing clock.
    #[derive(Debug)]
    struct Hourly(Arc<StandingClock>, AtomicU64);

    impl ProvideCredentials for Hourly {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let fetched = self.1.fetch_add(1, Ordering::Relaxed) + 1;
            let expiry = wall_time(self.0.as_ref()) + Duration::from_secs(3600);
            let credentials =
                Credentials::new(format!("AKIA{fetched}"), "secret", None, Some(expiry), "test");
            future::ProvideCredentials::ready(Ok(credentials))
        }
    }

    fn cached(provider: impl ProvideCredentials + 'static, clock: &Arc<StandingClock>) -> CachedCredentials {
        let manner = Manner { timeout: FETCH_TIMEOUT, margin: Some(EARLY) };
        CachedCredentials::new(SharedCredentialsProvider::new(provider), Arc::clone(clock) as _, manner)
    }

    #[tokio::test]
    async fn credentials_are_kept_until_five_minutes_before_they_expire() {
        let clock = Arc::new(StandingClock::default());
        let cached = cached(Hourly(Arc::clone(&clock), AtomicU64::new(0)), &clock);
        for (second, key) in [(0, "AKIA1"), (3299, "AKIA1"), (3300, "AKIA2"), (3301, "AKIA2"), (0, "AKIA2")] {
            clock.0.store(second * 1000, Ordering::Relaxed);
            assert_eq!(cached.current().await.unwrap().access_key_id(), key, "at {second} s");
        }
        cached.forget();
        assert_eq!(cached.current().await.unwrap().access_key_id(), "AKIA3");
        assert_eq!(cached.last().unwrap().access_key_id(), "AKIA3");
    }

    #[tokio::test]
    async fn where_the_provider_keeps_them_it_is_asked_each_time() {
        let clock = Arc::new(StandingClock::default());
        let provider = SharedCredentialsProvider::new(Hourly(Arc::clone(&clock), AtomicU64::new(0)));
        let manner = Manner { timeout: FETCH_TIMEOUT, margin: None };
        let passing = CachedCredentials::new(provider, clock, manner);
        for key in ["AKIA1", "AKIA2"] {
            assert_eq!(passing.current().await.unwrap().access_key_id(), key);
        }
    }

    /// Good once, for an hour; then it takes a second to fail.
    #[derive(Debug)]
    struct Failing(Arc<StandingClock>, AtomicU64);

    impl ProvideCredentials for Failing {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let fetched = self.1.fetch_add(1, Ordering::Relaxed);
            let expiry = wall_time(self.0.as_ref()) + Duration::from_secs(3600);
            future::ProvideCredentials::new(async move {
                if fetched == 0 {
                    return Ok(Credentials::new("AKIA", "secret", None, Some(expiry), "test"));
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
                Err(CredentialsError::provider_error("the service is down"))
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_wait_share_one_failure_and_old_ones_are_better_than_none() {
        let clock = Arc::new(StandingClock::default());
        let provider = Arc::new(Failing(Arc::clone(&clock), AtomicU64::new(0)));
        let cached = cached(Arc::clone(&provider) as Arc<dyn ProvideCredentials>, &clock);
        cached.current().await.unwrap();
        clock.0.store(3_400_000, Ordering::Relaxed);
        assert_eq!(cached.current().await.unwrap().access_key_id(), "AKIA", "they live for 200 s more");
        clock.0.store(3_600_000, Ordering::Relaxed);
        let begun = tokio::time::Instant::now();
        let asked = (0..100).map(|_| cached.current());
        for outcome in futures_util::future::join_all(asked).await {
            let error = outcome.unwrap_err();
            assert!(causes(&error).map(ToString::to_string).any(|text| text.contains("the service is down")));
        }
        assert_eq!((begun.elapsed(), provider.1.load(Ordering::Relaxed)), (Duration::from_secs(1), 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fetch_for_which_nobody_waits_any_more_is_given_up() {
        let clock = Arc::new(StandingClock::default());
        let provider = Arc::new(Failing(Arc::clone(&clock), AtomicU64::new(1)));
        let cached = cached(Arc::clone(&provider) as Arc<dyn ProvideCredentials>, &clock);
        assert!(timeout(Duration::from_millis(500), cached.current()).await.is_err());
        cached.current().await.unwrap_err();
        assert_eq!(provider.1.load(Ordering::Relaxed), 3, "the second is another one");
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_does_not_make_them_live_longer() {
        let clock = Arc::new(StandingClock::default());
        clock.0.store(7_200_000, Ordering::Relaxed);
        let cached = cached(Hourly(Arc::clone(&clock), AtomicU64::new(0)), &clock);
        cached.current().await.unwrap();
        clock.0.store(0, Ordering::Relaxed);
        let kept = cached.0.state();
        let (left, _) = cached.0.left(kept.kept.as_ref().unwrap()).unwrap();
        assert!(left <= Duration::from_secs(3600), "{left:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_hangs_is_given_up() {
        #[derive(Debug)]
        struct Hanging;
        impl ProvideCredentials for Hanging {
            fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
            where
                Self: 'a,
            {
                future::ProvideCredentials::new(std::future::pending())
            }
        }
        let error = cached(Hanging, &Arc::default()).current().await.unwrap_err();
        let stalled = |error: &(dyn Error + 'static)| {
            matches!(error.downcast_ref(), Some(CredentialsError::ProviderTimedOut(_)))
        };
        assert!(causes(&error).any(stalled));
    }
}
