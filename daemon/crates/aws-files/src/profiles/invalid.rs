//! Why a profile or a sign-in is of no use.

use std::fmt;

use thiserror::Error;

use crate::problem::Place;

/// What makes a profile or a sign-in invalid, and where. Two are equal when they say the same, wherever the line has
/// moved to.
#[derive(Clone, Debug)]
pub struct Invalid {
    /// Where: the key's line, or that of the section which lacks it.
    pub place: Place,
    /// The key.
    pub key: &'static str,
    /// What is wrong with it.
    pub kind: InvalidKind,
}

/// What is wrong with a key. Names are quoted, other values are not.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidKind {
    /// It is needed beside what is there.
    #[error("is missing")]
    Missing,
    /// It is there and has no value.
    #[error("is empty")]
    Empty,
    /// Its value cannot be right.
    #[error("is not valid: {rule}")]
    Malformed {
        /// What would be right.
        rule: &'static str,
    },
    /// It names what neither file has.
    #[error("names [{section}], which does not exist")]
    Unknown {
        /// The section.
        section: String,
    },
    /// It is none of the three sources that there are.
    #[error("is \"{name}\", which is no source of credentials")]
    UnknownSource {
        /// What was written.
        name: String,
    },
    /// `source_profile` beside `credential_source`.
    #[error("stands beside source_profile")]
    TwoSources,
    /// A chain that comes back to itself.
    #[error("leads in a circle: {}", profiles.join(" -> "))]
    Circle {
        /// The profiles, the first one twice.
        profiles: Vec<String>,
    },
    /// The profile at the end of the chain.
    #[error("names the profile \"{profile}\", which has no credentials")]
    NoCredentials {
        /// Its name.
        profile: String,
    },
    /// The profile and its session say different things.
    #[error("is another one in [sso-session {session}]")]
    Inconsistent {
        /// The session.
        session: String,
    },
}

impl InvalidKind {
    /// What to do, as a sentence part.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Missing => "add it",
            Self::Empty => "give it a value, or remove the line",
            Self::Malformed { .. } => "correct it",
            Self::Unknown { .. } => "add that section, or correct the name",
            Self::UnknownSource { .. } => "write Environment, EcsContainer or Ec2InstanceMetadata",
            Self::TwoSources => "remove one of the two",
            Self::Circle { .. } => "let one of them have credentials of its own",
            Self::NoCredentials { .. } => "give that profile credentials, or name another one",
            Self::Inconsistent { .. } => "remove it from the profile",
        }
    }
}

impl PartialEq for Invalid {
    fn eq(&self, other: &Self) -> bool {
        (&self.place.file, self.key, &self.kind) == (&other.place.file, other.key, &other.kind)
    }
}

impl Eq for Invalid {}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}: {}", self.place, self.key, self.kind, self.kind.remedy())
    }
}
