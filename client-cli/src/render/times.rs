//! Times: exact for programs, short for people.

use std::time::Duration;

use stormtunnel_model::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// RFC 3339 in UTC; milliseconds since 1970 for times that the calendar cannot hold.
pub fn rfc3339(time: Timestamp) -> String {
    let formatted = date_time(time).and_then(|time| time.format(&Rfc3339).ok());
    formatted.unwrap_or_else(|| time.as_millis().to_string())
}

/// Time of day in UTC.
pub fn clock(time: Timestamp) -> String {
    let format = format_description!("[hour]:[minute]:[second]Z");
    let formatted = date_time(time).and_then(|time| time.format(format).ok());
    formatted.unwrap_or_else(|| time.as_millis().to_string())
}

/// Date and time of day in UTC.
pub fn stamp(time: Timestamp) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
    let formatted = date_time(time).and_then(|time| time.format(format).ok());
    formatted.unwrap_or_else(|| time.as_millis().to_string())
}

/// A span in its greatest unit that fits: `9s`, `5m`, `3h`, `12d`.
pub fn span(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..=59 => format!("{seconds}s"),
        seconds @ 60..=3599 => format!("{}m", seconds / 60),
        seconds @ 3600..=86_399 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

fn date_time(time: Timestamp) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(time.as_millis()) * 1_000_000).ok()
}

/// A number of bytes in binary units.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let exponent = count.ilog2() / 10;
    let unit = UNITS[exponent as usize - 1];
    let tenths = u128::from(count) * 10 / (1_u128 << (10 * exponent));
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_keep_their_greatest_unit() {
        for (seconds, shown) in
            [(0, "0s"), (59, "59s"), (60, "1m"), (3599, "59m"), (3600, "1h"), (90_000, "1d")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), shown);
        }
    }

    #[test]
    fn bytes_have_binary_units() {
        for (count, shown) in
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_572_864, "1.5 MiB"), (u64::MAX, "15.9 EiB")]
        {
            assert_eq!(bytes(count), shown);
        }
    }

    #[test]
    fn every_time_has_a_text() {
        assert_eq!(rfc3339(Timestamp::from_millis(1_700_000_000_123)), "2023-11-14T22:13:20.123Z");
        assert_eq!(clock(Timestamp::from_millis(1_700_000_000_123)), "22:13:20Z");
        assert_eq!(stamp(Timestamp::from_millis(1_700_000_000_123)), "2023-11-14 22:13:20Z");
        assert_eq!(rfc3339(Timestamp::from_millis(u64::MAX)), u64::MAX.to_string());
    }
}
