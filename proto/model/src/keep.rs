//! How a tunnel holds sessions: when, and how many.

use std::fmt;
use std::num::NonZeroU8;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::InvalidName;

/// When a tunnel holds a session that no local connection uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// It connects when it is started, which proves that it works. Once the service closes a session that nobody uses, the
    /// next one waits for the next local connection.
    #[default]
    Auto,
    /// Always: what the service closes is replaced at once.
    Warm,
    /// Not before the first local connection, and again not once the service has closed an unused session.
    OnDemand,
}

impl Keep {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Warm, Self::OnDemand];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Warm => "warm",
            Self::OnDemand => "on-demand",
        }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Keep {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|keep| keep.name() == text).ok_or_else(|| InvalidName {
            field: "keep",
            value: text.to_owned(),
            rule: "write \"auto\", \"warm\" or \"on-demand\"",
        })
    }
}

/// How many SSM sessions a tunnel may spread its connections over: 1 to 8. AWS's agent sends about a megabyte per second and
/// session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct SessionCount(NonZeroU8);

impl SessionCount {
    /// The greatest.
    pub const MAX: u8 = 8;
    /// The default.
    pub const ONE: Self = Self(NonZeroU8::MIN);

    /// The number.
    pub fn get(self) -> u8 {
        self.0.get()
    }
}

impl Default for SessionCount {
    fn default() -> Self {
        Self::ONE
    }
}

impl From<SessionCount> for u8 {
    fn from(count: SessionCount) -> Self {
        count.get()
    }
}

impl TryFrom<u8> for SessionCount {
    type Error = InvalidName;

    fn try_from(count: u8) -> Result<Self, Self::Error> {
        let valid = NonZeroU8::new(count).filter(|count| count.get() <= Self::MAX);
        valid.map(Self).ok_or_else(|| invalid_count(&count.to_string()))
    }
}

fn invalid_count(text: &str) -> InvalidName {
    InvalidName { field: "sessions", value: text.to_owned(), rule: "a tunnel has 1 to 8 sessions" }
}

impl fmt::Display for SessionCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SessionCount {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<u8>().map_err(|_| invalid_count(text))?.try_into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_reads_back_as_written() {
        for keep in Keep::ALL {
            assert_eq!(keep.to_string().parse(), Ok(keep));
        }
        let error = "cold".parse::<Keep>().unwrap_err();
        assert!(error.to_string().contains("on-demand"), "{error}");
    }

    #[test]
    fn there_are_one_to_eight_sessions() {
        for count in 1..=8 {
            assert_eq!(
                SessionCount::try_from(count).map(|count| count.to_string().parse()),
                Ok(SessionCount::try_from(count))
            );
        }
        for text in ["0", "9", "256", "-1", "", "two"] {
            let error = text.parse::<SessionCount>().unwrap_err();
            assert!(error.to_string().contains("1 to 8"), "{error}");
        }
    }
}
