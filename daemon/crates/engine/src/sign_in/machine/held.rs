//! The token in use.

use super::super::policy::USUAL_LIFETIME;
use super::{Arc, Duration, Generation, Instant, Now, SsoToken, Timestamp};

/// A difference between the clocks that means something.
const CLOCKS_DIFFER: Duration = Duration::from_secs(2);

/// Where a token came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The key store or the shared file: nobody saw when it was issued.
    Found,
    /// Issued to us, for so long.
    Issued(Duration),
    /// The same, in place of one that AWS did not accept.
    IssuedAfterRejection(Duration),
}

/// The token in use.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) token: Arc<SsoToken>,
    pub(super) generation: Generation,
    pub(super) lifetime: Duration,
    /// When it expires if the wall clock is wrong by now.
    pub(super) expires: Instant,
    /// How far the wall clock was set back since the token came.
    set_back: Duration,
    /// When AWS first did not accept it.
    pub(super) rejected_at: Option<Timestamp>,
    /// It replaced, at that time, one that AWS did not accept.
    pub(super) after_rejection: Option<Instant>,
}

impl Held {
    pub(super) fn new(token: Arc<SsoToken>, generation: Generation, source: Source, now: Now) -> Self {
        let remaining = token.expires_at.since(now.wall);
        let lifetime = match source {
            Source::Found => remaining.max(USUAL_LIFETIME),
            Source::Issued(lifetime) | Source::IssuedAfterRejection(lifetime) => lifetime,
        };
        let after_rejection = matches!(source, Source::IssuedAfterRejection(_)).then_some(now.mono);
        Self {
            generation,
            lifetime,
            expires: now.mono + remaining,
            set_back: Duration::ZERO,
            rejected_at: None,
            after_rejection,
            token,
        }
    }

    /// How long it is good for: what the sooner of the two clocks says.
    pub(super) fn remaining(&self, now: Now) -> Duration {
        if self.rejected_at.is_some() {
            return Duration::ZERO;
        }
        self.by_wall(now).min(self.by_mono(now))
    }

    pub(super) fn is_usable(&self, now: Now) -> bool {
        !self.remaining(now).is_zero()
    }

    /// When it expires, by the wall clock as it is now.
    pub(super) fn expires_at(&self) -> Timestamp {
        self.before_expiry(Duration::ZERO)
    }

    /// So long before.
    pub(super) fn before_expiry(&self, lead: Duration) -> Timestamp {
        let earlier = u64::try_from((self.set_back + lead).as_millis()).unwrap_or(u64::MAX);
        Timestamp::from_millis(self.token.expires_at.as_millis().saturating_sub(earlier))
    }

    /// Keeps what is shown in step with the clocks. Computed when the difference changes, or each look would differ by a
    /// rounding.
    pub(super) fn notice_clock_set_back(&mut self, now: Now) {
        let ahead = self.by_wall(now).saturating_sub(self.by_mono(now));
        if ahead.abs_diff(self.set_back) >= CLOCKS_DIFFER {
            self.set_back = if ahead < CLOCKS_DIFFER { Duration::ZERO } else { ahead };
        }
    }

    fn by_wall(&self, now: Now) -> Duration {
        self.token.expires_at.since(now.wall)
    }

    fn by_mono(&self, now: Now) -> Duration {
        self.expires.saturating_duration_since(now.mono)
    }
}
