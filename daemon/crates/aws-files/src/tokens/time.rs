//! Times in the files of the cache.

use stormtunnel_model::Timestamp;
use time::{Date, Month, OffsetDateTime, Time, UtcOffset};

/// Written when a time is later than can be written.
const LATEST: &str = "9999-12-31T23:59:59Z";

/// Whole seconds and `Z`: the one form that every tool reads.
pub(crate) fn format(time: Timestamp) -> String {
    let seconds = i64::try_from(time.as_millis() / 1000).ok();
    let Some(t) = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok()) else {
        return LATEST.to_owned();
    };
    let (date, time) = (t.date(), t.time());
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    let (hour, minute, second) = time.as_hms();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// A time in any form that some tool has written: with a fraction, with `Z`, `UTC` or an offset. Without any of these it is
/// taken for UTC, and before 1970 for 1970.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.trim().split_at_checked(10)?;
    let (time, rest) = rest.strip_prefix(['T', 't', ' '])?.split_at_checked(8)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let (millis, zone) = fraction(rest)?;
    let date = Date::from_calendar_date(
        i32::from(year),
        Month::try_from(u8::try_from(month).ok()?).ok()?,
        u8::try_from(day).ok()?,
    );
    let time = Time::from_hms_milli(
        u8::try_from(hour).ok()?,
        u8::try_from(minute).ok()?,
        u8::try_from(second).ok()?,
        millis,
    );
    let moment = date.ok()?.with_time(time.ok()?).assume_offset(offset(zone)?);
    let millis = moment.unix_timestamp_nanos() / 1_000_000;
    Some(Timestamp::from_millis(u64::try_from(millis).unwrap_or_default()))
}

fn numbers(text: &str, between: char, lengths: [usize; 3]) -> Option<[u16; 3]> {
    let mut parts = text.split(between);
    let mut numbers = [0; 3];
    for (number, length) in numbers.iter_mut().zip(lengths) {
        let digits = parts.next().filter(|part| part.len() == length && is_digits(part))?;
        *number = digits.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// Milliseconds, and what follows the fraction.
fn fraction(text: &str) -> Option<(u16, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, rest) = rest.split_at(end);
    let millis: String = digits.chars().chain("000".chars()).take(3).collect();
    if digits.is_empty() { None } else { Some((millis.parse().ok()?, rest)) }
}

fn offset(zone: &str) -> Option<UtcOffset> {
    let sign = match zone {
        "" | "Z" | "z" | "UTC" => return Some(UtcOffset::UTC),
        _ if zone.starts_with('+') => 1,
        _ if zone.starts_with('-') => -1,
        _ => return None,
    };
    let digits = zone[1..].replace(':', "");
    let (hours, minutes) = digits.split_at_checked(2).filter(|(_, minutes)| minutes.len() == 2)?;
    let number = |text: &str| if is_digits(text) { text.parse::<i8>().ok() } else { None };
    UtcOffset::from_hms(sign * number(hours)?, sign * number(minutes)?, 0).ok()
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2030-01-02T03:04:05Z.
    const MOMENT: u64 = 1_893_553_445_000;

    #[test]
    fn every_form_that_tools_write_is_read() {
        for (text, millis) in [
            ("2030-01-02T03:04:05Z", MOMENT),
            ("2030-01-02T03:04:05.678Z", MOMENT + 678),
            ("2030-01-02T03:04:05.678901Z", MOMENT + 678),
            ("2030-01-02T03:04:05.6Z", MOMENT + 600),
            ("2030-01-02T03:04:05UTC", MOMENT),
            ("2030-01-02T03:04:05+00:00", MOMENT),
            ("2030-01-02T05:04:05+02:00", MOMENT),
            ("2030-01-01T22:34:05-0430", MOMENT),
            ("2030-01-02T03:04:05", MOMENT),
            ("2030-01-02 03:04:05Z", MOMENT),
            ("1960-01-01T00:00:00Z", 0),
        ] {
            assert_eq!(parse(text), Some(Timestamp::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "soon",
            "2030-01-02",
            "2030-01-02T03:04Z",
            "2030-13-02T03:04:05Z",
            "2030-02-30T03:04:05Z",
            "2030-01-02T24:04:05Z",
            "2030-01-02T03:04:05.Z",
            "2030-01-02T03:04:05 CET",
            "2030-01-02T03:04:05+2",
            "2030-01-02T03:04:05+é:",
            "203é-01-02T03:04:05Z",
            "+030-01-02T03:04:05Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn times_are_written_in_whole_seconds() {
        assert_eq!(format(Timestamp::from_millis(MOMENT + 999)), "2030-01-02T03:04:05Z");
        assert_eq!(format(Timestamp::from_millis(0)), "1970-01-01T00:00:00Z");
        assert_eq!(format(Timestamp::from_millis(u64::MAX)), LATEST);
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in ".*") {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_written_reads_back(seconds in 0..253_402_300_800_u64) {
            let time = Timestamp::from_millis(seconds * 1000);
            prop_assert_eq!(parse(&format(time)), Some(time));
        }
    }
}
