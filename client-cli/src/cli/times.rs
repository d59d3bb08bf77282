//! Spans of time as they are typed.

use std::time::Duration;

use stormtunnel_model::Ttl;

/// Units of time and their seconds.
const UNITS: [(&str, f64); 5] = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0)];

/// Parses a time such as `30`, `1.5`, `30s`, `2m`, `1h` or `500ms`.
pub(super) fn parse_timeout(text: &str) -> Result<Duration, String> {
    parse_time(text, &UNITS[..4], "ms, s, m or h")
}

/// The same with days, such as `7d`: history is longer than any wait.
pub(super) fn parse_age(text: &str) -> Result<Duration, String> {
    parse_time(text, &UNITS, "ms, s, m, h or d")
}

/// How long a tunnel may run, such as `90m` or `7d`.
pub(super) fn parse_ttl(text: &str) -> Result<Ttl, String> {
    Ttl::try_from(parse_age(text)?).map_err(|error| error.to_string())
}

fn parse_time(text: &str, units: &[(&str, f64)], known: &str) -> Result<Duration, String> {
    let rule = || format!("\"{text}\" is not a time; write seconds, or a number with {known}");
    let with_unit = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)));
    let (number, seconds) = with_unit.unwrap_or((text, 1.0));
    let number: f64 = number.parse().map_err(|_| rule())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| rule())
}
