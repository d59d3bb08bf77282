//! What `stctl doctor` finds: one finding per check.

use std::fmt;

/// What came of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which check, such as `files.aws`. Stable; `docs/doctor.md` has one row for each.
    pub id: String,
    /// What was looked at, in a few words.
    pub title: String,
    /// How it is.
    pub outcome: Outcome,
    /// What was seen, one sentence part per line.
    pub detail: String,
    /// What a person can do; empty when there is nothing to do.
    pub remedy: String,
    /// `stctl doctor --fix` mends it.
    pub fixable: bool,
    /// What was mended just now, one sentence part per line; empty when nothing was.
    pub fixed: String,
}

/// How a check ended, the harmless ends first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It does not apply here, or could not be looked at.
    Skipped,
    /// It is as it should be.
    Pass,
    /// It works, and a person should know of it.
    Warn,
    /// Something does not work because of it.
    Fail,
}

impl Finding {
    /// A finding with nothing to do about it.
    pub fn new(id: &str, title: &str, outcome: Outcome, detail: impl Into<String>) -> Self {
        Self {
            id: id.to_owned(),
            title: title.to_owned(),
            outcome,
            detail: detail.into(),
            remedy: String::new(),
            fixable: false,
            fixed: String::new(),
        }
    }

    /// The same with what a person can do.
    #[must_use]
    pub fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Skipped, Self::Pass, Self::Warn, Self::Fail];

    /// Its name in documents for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
