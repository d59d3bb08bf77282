//! Wall-clock time, which all processes of a machine share.

use std::time::{Duration, SystemTime};

/// Now.
#[expect(clippy::disallowed_methods, reason = "a program at the edge reads the clock itself")]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// Now, since 1970.
pub(crate) fn since_epoch() -> Duration {
    wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
