//! The one place that looks at the clocks.

use ssm_session::Now;
use time::OffsetDateTime;

/// Both clocks as the protocol core wants them.
pub(crate) fn now() -> Now {
    let wall_ms = wall().unix_timestamp_nanos() / 1_000_000;
    Now::new(tokio::time::Instant::now().into_std(), u64::try_from(wall_ms).unwrap_or(1))
}

/// Wall-clock time in UTC.
pub(crate) fn wall() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
