//! Accounting of received bytes that nobody has read yet.

use std::{collections::BTreeMap, time::Instant};

use crate::{ConfigError, StreamId, frame::MAX_PAYLOAD};

/// How much may lie unread, in bytes. Limits are soft: input in flight may exceed them, nothing is ever dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveLimits {
    /// Per stream: above it the stream is reported by [`crate::Mux::over_limit_streams`].
    pub stream: usize,
    /// Per session: at it [`crate::Mux::wants_input`] turns false.
    pub session: usize,
}

impl Default for ReceiveLimits {
    fn default() -> Self {
        Self { stream: 16 * 1024 * 1024, session: 128 * 1024 * 1024 }
    }
}

impl ReceiveLimits {
    pub(crate) fn validate(self) -> Result<(), ConfigError> {
        if self.stream < MAX_PAYLOAD || self.session < self.stream {
            return Err(ConfigError::ReceiveLimits { stream: self.stream, session: self.session });
        }
        Ok(())
    }
}

/// A stream whose reader lags behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverLimit {
    /// The stream.
    pub id: StreamId,
    /// When it went over its limit; it has not been at or below the limit since.
    pub since: Instant,
}

/// Counts unread bytes of one session against [`ReceiveLimits`] and remembers which streams are over theirs.
#[derive(Debug)]
pub struct ReceiveBudget {
    limits: ReceiveLimits,
    unread: usize,
    over: BTreeMap<StreamId, Instant>,
}

impl ReceiveBudget {
    /// An empty account.
    #[must_use]
    pub const fn new(limits: ReceiveLimits) -> Self {
        Self { limits, unread: 0, over: BTreeMap::new() }
    }

    /// `bytes` arrived for `id`, which now holds `stream_unread`.
    pub fn received(&mut self, id: StreamId, bytes: usize, stream_unread: usize, now: Instant) {
        self.unread += bytes;
        if stream_unread > self.limits.stream {
            self.over.entry(id).or_insert(now);
        }
    }

    /// `bytes` of `id` were read or dropped; it now holds `stream_unread`.
    pub fn released(&mut self, id: StreamId, bytes: usize, stream_unread: usize) {
        self.unread = self.unread.saturating_sub(bytes);
        if stream_unread <= self.limits.stream && !self.over.is_empty() {
            self.over.remove(&id);
        }
    }

    /// Unread bytes of all streams.
    #[must_use]
    pub const fn unread(&self) -> usize {
        self.unread
    }

    /// Whether the session is below its limit.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.unread < self.limits.session
    }

    /// The limits in force.
    #[must_use]
    pub const fn limits(&self) -> ReceiveLimits {
        self.limits
    }

    /// Streams over their limit, by id.
    pub fn over_limit(&self) -> impl Iterator<Item = OverLimit> + '_ {
        self.over.iter().map(|(&id, &since)| OverLimit { id, since })
    }
}
