//! What happens to a sign-in, once for all that live on it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::ids::Timestamp;
use crate::sign_in::SignInName;

/// What happened to a sign-in. Never holds a secret. The form in JSON is that of the database, and stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignInEvent {
    /// Somebody signed in.
    SignedIn {
        /// With another tool.
        elsewhere: bool,
    },
    /// Somebody signed out.
    SignedOut {
        /// With another tool.
        elsewhere: bool,
    },
    /// Only a person can get the next token. Told once per loss, however many tunnels need it.
    LoginNeeded {
        /// Why, as a sentence part.
        reason: String,
        /// The present token is good until then; absent when there is none any more.
        before: Option<Timestamp>,
    },
    /// The token was renewed.
    TokenRenewed {
        /// When the new one expires.
        expires_at: Timestamp,
    },
    /// A renewal failed, and is tried again by itself. Told once per kind of fault.
    RenewalFailed {
        /// Why.
        fault: Fault,
    },
}

impl SignInEvent {
    /// Its name in the API, such as `signed_in`; stable.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SignedIn { .. } => "signed_in",
            Self::SignedOut { .. } => "signed_out",
            Self::LoginNeeded { .. } => "login_needed",
            Self::TokenRenewed { .. } => "token_renewed",
            Self::RenewalFailed { .. } => "renewal_failed",
        }
    }

    /// The fault that it tells of.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::RenewalFailed { fault } => Some(fault),
            Self::SignedIn { .. }
            | Self::SignedOut { .. }
            | Self::LoginNeeded { .. }
            | Self::TokenRenewed { .. } => None,
        }
    }

    /// What happened to `sign_in` in words, without the fault.
    pub(crate) fn write(&self, f: &mut fmt::Formatter<'_>, sign_in: &SignInName) -> fmt::Result {
        let how = |elsewhere: bool| if elsewhere { " with another tool" } else { "" };
        match self {
            Self::SignedIn { elsewhere } => write!(f, "signed in to \"{sign_in}\"{}", how(*elsewhere)),
            Self::SignedOut { elsewhere } => write!(f, "signed out of \"{sign_in}\"{}", how(*elsewhere)),
            Self::LoginNeeded { reason, before } => {
                let when = if before.is_some() { "will be needed soon" } else { "is needed" };
                write!(f, "an SSO login to \"{sign_in}\" {when}: {reason}")
            }
            Self::TokenRenewed { .. } => write!(f, "token of \"{sign_in}\" renewed"),
            Self::RenewalFailed { .. } => write!(f, "token of \"{sign_in}\" not renewed"),
        }
    }
}
