//! Numbers for the promises, and the rule that a fault must have happened.

use anyhow::{Result, ensure};
use aws_emulator::{Counter, Counters};

/// The values of counters of faults.
///
/// # Errors
/// One is 0: what the run was to show, it did not show.
pub(crate) fn must_have_happened<const N: usize>(
    counters: &Counters,
    faults: [Counter; N],
) -> Result<[u64; N]> {
    for fault in faults {
        ensure!(counters.value(fault) > 0, "{fault} is 0: the fault never happened");
    }
    Ok(faults.map(|fault| counters.value(fault)))
}

/// A number of bytes, for people.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}
