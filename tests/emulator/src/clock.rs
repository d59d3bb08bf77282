//! The one place that looks at the clocks.

use ssm_session::Now;
use time::OffsetDateTime;
use time::macros::format_description;

/// Both clocks as the protocol core wants them.
pub(crate) fn now() -> Now {
    let wall_ms = wall().unix_timestamp_nanos() / 1_000_000;
    Now::new(tokio::time::Instant::now().into_std(), u64::try_from(wall_ms).unwrap_or(1))
}

/// A time as AWS writes it: whole seconds, UTC.
pub(crate) fn stamp(at: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    at.to_offset(time::UtcOffset::UTC).format(format).unwrap_or_default()
}

/// Wall-clock time in UTC.
pub(crate) fn wall() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
