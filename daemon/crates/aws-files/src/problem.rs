//! What is wrong in a file, where, and what to do about it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as it was given.
    pub file: Arc<Path>,
    /// Number of the line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    /// `FILE:LINE`, as compilers write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// Something that the user should mend, and that hides nothing else. It quotes names, never values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What.
    pub kind: ProblemKind,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.kind, self.kind.remedy())
    }
}

/// What can be wrong without making a profile invalid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProblemKind {
    /// Some editors write one.
    #[error("the file begins with a byte order mark")]
    ByteOrderMark,
    /// The line is skipped, be it a section with all its keys.
    #[error("the line is not UTF-8")]
    NotUtf8,
    /// A key that belongs to nothing; later ones are not reported.
    #[error("the line stands before any section")]
    BeforeAnySection,
    /// Neither a section nor a key.
    #[error("the line is neither a section nor KEY = VALUE")]
    NotAProperty,
    /// The keys of both are taken together.
    #[error("[{section}] stands here once more")]
    SectionTwice {
        /// What stands between the brackets.
        section: String,
    },
    /// The later value counts.
    #[error("{} stands here once more", key.unwrap_or("a key"))]
    KeyTwice {
        /// The key, if it is a known one.
        key: Option<&'static str>,
    },
    /// A line of a nested block.
    #[error("a line indented under the key is not KEY = VALUE")]
    NotNested,
    /// `[profile my p]`, `[sso-session]`, `[profile it's]`.
    #[error("[{section}] does not have exactly one name")]
    SectionName {
        /// What stands between the brackets.
        section: String,
    },
    /// Two sections of the config file stand for one name: `[default]` and `[profile default]`, or one with quotes.
    #[error("[{section}] replaces an earlier section of the same name")]
    SectionReplaced {
        /// The later one.
        section: String,
    },
    /// `[p]` or `[ profile p ]`, with keys of a profile, in the config file.
    #[error("[{section}] is not a profile")]
    NotAProfile {
        /// What stands between the brackets.
        section: String,
    },
    /// `[profile p]` or `[sso-session s]` in the credentials file, where that is a profile of this very name.
    #[error("[{section}] belongs in the config file")]
    BelongsInConfig {
        /// What stands between the brackets.
        section: String,
    },
    /// A profile that cannot be asked for.
    #[error("the profile's name cannot be used: {rule}")]
    ProfileName {
        /// What the name breaks.
        rule: &'static str,
    },
    /// A session that cannot be asked for.
    #[error("the session's name cannot be used: {rule}")]
    SessionName {
        /// What the name breaks.
        rule: &'static str,
    },
    /// The profile then has no region.
    #[error("region is not the name of an AWS region")]
    Region,
    /// The AWS CLI has comments on lines of their own only.
    #[error("the value of {key} holds a comment")]
    CommentInValue {
        /// The key.
        key: &'static str,
    },
    /// As the AWS CLI does.
    #[error("duration_seconds is not a whole number and is ignored")]
    Duration,
    /// Two profiles, one token.
    #[error("sso_region is not that of other profiles with this sso_start_url")]
    SsoRegionsDiffer,
}

impl ProblemKind {
    /// What to do, as a sentence part.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::ByteOrderMark => "save it as UTF-8 without one; the AWS CLI reads nothing of it as it is",
            Self::NotUtf8 => "save the file as UTF-8; the AWS CLI reads nothing of it as it is",
            Self::BeforeAnySection => "put it under a section such as [default]",
            Self::NotAProperty => "correct it, or make it a comment with \"#\"",
            Self::SectionTwice { .. } => "merge the two; the AWS CLI reads nothing of the file as it is",
            Self::KeyTwice { .. } => "remove one of them; the AWS CLI reads nothing of the file as it is",
            Self::NotNested => "correct it; the AWS CLI reads nothing of the file as it is",
            Self::SectionName { .. } => "write one name, and quotes around one with spaces",
            Self::SectionReplaced { .. } => "merge the two sections; only the later one counts",
            Self::NotAProfile { .. } => "write [profile NAME], with no space behind the first bracket",
            Self::BelongsInConfig { .. } => "move it there; sections of the credentials file are [NAME]",
            Self::ProfileName { .. } => "rename the section",
            Self::SessionName { .. } => "rename the section, and the sso_session that names it",
            Self::Region => "write a name such as eu-west-1, and nothing behind it",
            Self::CommentInValue { .. } => {
                "put the comment on a line of its own; to the AWS CLI it is a part of the value"
            }
            Self::Duration => "write seconds, 900 to 43200",
            Self::SsoRegionsDiffer => "write the region of IAM Identity Center in all of them",
        }
    }
}
