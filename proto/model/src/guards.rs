//! Local guards: why a tunnel runs, for how long, and whether somebody has to confirm it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::Timestamp;
use crate::label::{Label, Labels};
use crate::name::{InvalidName, checked_name};

/// The key of the label that makes a tunnel ask before it is started. Any value counts but `false`: a guard that is
/// spelled differently must not be none.
pub const CONFIRM_LABEL: &str = "confirm";

/// Of these labels the one that asks for a confirmation, if there is one; see [`CONFIRM_LABEL`].
pub fn confirm_label(labels: &Labels) -> Option<Label> {
    let mut labels = labels.iter();
    let (key, value) =
        labels.find(|(key, value)| key.as_str() == CONFIRM_LABEL && value.as_str() != "false")?;
    Some(Label { key: key.clone(), value: value.clone() })
}

checked_name! {
    /// Why a tunnel is used, for AWS's audit trail: 1 to 256 characters on one line (`Reason` of StartSession).
    Reason, "reason", check_reason
}

fn check_reason(text: &str) -> Result<(), &'static str> {
    match text.chars().count() {
        0 => Err("it is empty"),
        1..=256 if text.chars().any(char::is_control) => {
            Err("it must be one line, without control characters")
        }
        1..=256 => Ok(()),
        _ => Err("it has more than 256 characters"),
    }
}

/// How long a tunnel may run before it stops by itself: 1 minute to 30 days, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Ttl(u32);

impl Ttl {
    /// The shortest, in seconds.
    pub const MIN: u32 = 60;
    /// The longest, in seconds.
    pub const MAX: u32 = 30 * 24 * 60 * 60;

    /// In seconds.
    pub fn as_secs(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Ttl {
    type Error = InvalidName;

    fn try_from(seconds: u32) -> Result<Self, Self::Error> {
        Self::try_from(Duration::from_secs(seconds.into()))
    }
}

impl TryFrom<Duration> for Ttl {
    type Error = InvalidName;

    /// A fraction of a second is left out.
    fn try_from(duration: Duration) -> Result<Self, Self::Error> {
        let seconds = u32::try_from(duration.as_secs()).ok();
        let valid = seconds.filter(|seconds| (Self::MIN..=Self::MAX).contains(seconds));
        let rule = "a tunnel runs for at least 1 minute and at most 30 days";
        valid.map(Self).ok_or_else(|| InvalidName { field: "ttl", value: format!("{duration:?}"), rule })
    }
}

impl From<Ttl> for u32 {
    fn from(ttl: Ttl) -> Self {
        ttl.0
    }
}

impl From<Ttl> for Duration {
    fn from(ttl: Ttl) -> Self {
        Self::from_secs(ttl.0.into())
    }
}

impl fmt::Display for Ttl {
    /// In the greatest unit that divides it, such as `90m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(86_400, "d"), (3600, "h"), (60, "m")];
        let (size, unit) =
            units.into_iter().find(|(size, _)| self.0.is_multiple_of(*size)).unwrap_or((1, "s"));
        write!(f, "{}{unit}", self.0 / size)
    }
}

/// What goes with the wish to start a tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartOptions {
    /// A person confirmed that this tunnel is to be started; see [`CONFIRM_LABEL`].
    pub confirmed: bool,
    /// Why, for this run; absent means the spec's.
    pub reason: Option<Reason>,
    /// For how long, from now on; absent means the spec's.
    pub ttl: Option<Ttl>,
}

/// What a tunnel runs with. Stored with the intent, because a session that is renewed tomorrow needs it as well; empty
/// while the intent is to stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunTerms {
    /// Why it runs.
    pub reason: Option<Reason>,
    /// When it stops by itself, on the wall clock.
    pub stops_at: Option<Timestamp>,
}

impl RunTerms {
    /// Whether its time is over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.stops_at.is_some_and(|end| end <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_of_1_to_256_characters() {
        for text in ["INC-4711: slow queries", "ä", &"ü".repeat(256)] {
            assert_eq!(text.parse::<Reason>().unwrap().as_str(), text);
        }
        for text in ["", "two\nlines", "bell\u{7}", &"x".repeat(257)] {
            let error = text.parse::<Reason>().unwrap_err();
            assert_eq!(error.field, "reason", "{error}");
        }
    }

    #[test]
    fn a_time_to_live_is_1_minute_to_30_days() {
        for (seconds, shown) in
            [(60, "1m"), (61, "61s"), (5400, "90m"), (7200, "2h"), (86_400, "1d"), (2_592_000, "30d")]
        {
            assert_eq!(Ttl::try_from(seconds).unwrap().to_string(), shown);
        }
        assert_eq!(Ttl::try_from(Duration::from_millis(60_900)).map(Ttl::as_secs), Ok(60));
        for seconds in [0, 59, 2_592_001, u32::MAX] {
            let error = Ttl::try_from(seconds).unwrap_err();
            assert!(error.to_string().contains("at least 1 minute and at most 30 days"), "{error}");
        }
        assert!(Ttl::try_from(Duration::MAX).is_err());
    }

    #[test]
    fn the_end_itself_is_over() {
        let terms = RunTerms { stops_at: Some(Timestamp::from_millis(5)), ..RunTerms::default() };
        assert_eq!([4, 5, 6].map(|now| terms.is_over(Timestamp::from_millis(now))), [false, true, true]);
        assert!(!RunTerms::default().is_over(Timestamp::from_millis(u64::MAX)));
    }
}
