//! What only a person can tell, and the daemon asks for.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::Timestamp;
use crate::name::Profile;

/// Numbers the prompts of one daemon life. Those of two lives have nothing in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PromptId(pub u64);

/// A question that is open. Never holds its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Its number.
    pub id: PromptId,
    /// What is asked.
    pub kind: PromptKind,
    /// Until when the answer is waited for.
    pub deadline: Timestamp,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromptKind {
    /// The code that an MFA device shows.
    MfaCode {
        /// The AWS profile that needs it.
        profile: Profile,
        /// The device: its serial number, or the ARN of a virtual one.
        serial: String,
        /// A code was typed a moment ago, and AWS did not accept it.
        refused: bool,
    },
    /// Something of a newer daemon, in its words.
    Unknown {
        /// One sentence part.
        headline: String,
    },
}

impl fmt::Display for PromptKind {
    /// The question, as a sentence part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MfaCode { profile, serial, refused } => {
                let again = if *refused { "AWS did not accept that code; another " } else { "" };
                write!(f, "{again}MFA code of {serial} for profile {profile}")
            }
            Self::Unknown { headline } => f.write_str(headline),
        }
    }
}
