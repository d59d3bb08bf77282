//! Credentials, cached once for the API calls and the signer together.
//!
//! The SDK's own cache sits inside its client, where the signer cannot reach: with it, every upgrade would fetch
//! credentials of its own.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use stormtunnel_engine::ports::Clock;
use stormtunnel_model::Timestamp;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// Credentials are fetched anew this long before they expire: a connection attempt has to fit in.
const EXPIRY_MARGIN: Duration = Duration::from_secs(60);

/// How long one fetch may take, unless it is known to take longer; a `credential_process` that the SDK runs has no limit of
/// its own.
pub(crate) const FETCH_TIMEOUT: Duration = Duration::from_secs(20);

/// A provider that keeps what it got until shortly before it expires.
#[derive(Clone)]
pub(crate) struct CachedCredentials {
    provider: SharedCredentialsProvider,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    kept: Arc<Mutex<Option<Credentials>>>,
}

impl CachedCredentials {
    pub(crate) fn new(provider: SharedCredentialsProvider, clock: Arc<dyn Clock>) -> Self {
        Self { provider, clock, timeout: FETCH_TIMEOUT, kept: Arc::default() }
    }

    /// The same, where one fetch may take that long.
    pub(crate) fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The kept credentials, or fresh ones. Callers that come meanwhile wait for the same fetch.
    pub(crate) async fn current(&self) -> provider::Result {
        let mut kept = self.kept.lock().await;
        let now = wall_time(self.clock.as_ref());
        if let Some(credentials) = kept.as_ref().filter(|credentials| is_fresh(credentials, now)) {
            return Ok(credentials.clone());
        }
        let fetched = timeout(self.timeout, self.provider.provide_credentials()).await;
        let credentials = fetched.map_err(|_| CredentialsError::provider_timed_out(self.timeout))??;
        *kept = Some(credentials.clone());
        Ok(credentials)
    }
}

fn is_fresh(credentials: &Credentials, now: SystemTime) -> bool {
    credentials.expiry().is_none_or(|expiry| expiry > now + EXPIRY_MARGIN)
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

    #[tokio::test]
    async fn credentials_are_kept_until_a_minute_before_they_expire() {
        let clock = Arc::new(StandingClock::default());
        let provider = SharedCredentialsProvider::new(Hourly(Arc::clone(&clock), AtomicU64::new(0)));
        let cached = CachedCredentials::new(provider, Arc::clone(&clock) as Arc<dyn Clock>);
        for (second, key) in [(0, "AKIA1"), (3539, "AKIA1"), (3540, "AKIA2"), (3541, "AKIA2"), (0, "AKIA2")] {
            clock.0.store(second * 1000, Ordering::Relaxed);
            assert_eq!(cached.current().await.unwrap().access_key_id(), key, "at {second} s");
        }
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
        let clock = Arc::new(StandingClock::default());
        let cached = CachedCredentials::new(SharedCredentialsProvider::new(Hanging), clock);
        assert!(matches!(cached.current().await, Err(CredentialsError::ProviderTimedOut(_))));
    }
}
