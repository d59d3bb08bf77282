//! What a login is asked for with, and how it fails.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::codes::{ExitCode, Recovery};
use crate::name::{Profile, Region};
use crate::sign_in::SignInName;

/// Which sign-in is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SignInChoice {
    /// The only one that there is.
    #[default]
    Only,
    /// The one of that name.
    Named(SignInName),
    /// The one that this profile uses.
    OfProfile(Profile),
    /// The one at that address, whether a profile uses it or not.
    At {
        /// Its start URL.
        start_url: SignInName,
        /// The region of its IAM Identity Center instance.
        region: Region,
    },
}

/// The two ways to sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LoginFlow {
    /// Authorization code with PKCE: the browser comes back to an address of this machine.
    AuthorizationCode,
    /// Device code: the browser may be anywhere.
    DeviceCode,
}

/// What the person asked for on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginWishes {
    /// A way, if one was named.
    pub flow: Option<LoginFlow>,
    /// How to show the page.
    pub opener: Opener,
}

/// How the login page is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Opener {
    /// The system's browser.
    #[default]
    Default,
    /// This command, with the address as its last argument.
    Command(String),
    /// Not at all: the address is printed.
    Nobody,
}

/// Where the person sits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoginSurroundings {
    /// The command came through SSH.
    pub remote: bool,
    /// It runs in a container.
    pub container: bool,
    /// It runs in the Windows Subsystem for Linux.
    pub wsl: bool,
    /// There is a display to show a browser on.
    pub display: bool,
}

/// Why nobody is signed in after a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoginEnd {
    /// Somebody cancelled it, or nobody waited for it any more.
    Cancelled,
    /// Nobody finished it in time.
    TimedOut,
    /// The person, or the identity provider, said no.
    Declined,
    /// The browser came back with the answer to another question.
    Mismatch,
    /// Nobody is there to sign in.
    NobodyThere,
    /// Logins do not last, and no other one is begun for a while.
    DoesNotLast,
    /// Another reason, which the fault's detail names.
    Other,
}

impl LoginEnd {
    /// Who can end it.
    pub(crate) fn recovery(self) -> Recovery {
        match self {
            Self::DoesNotLast => Recovery::FixByUser,
            Self::Cancelled
            | Self::TimedOut
            | Self::Declined
            | Self::Mismatch
            | Self::NobodyThere
            | Self::Other => Recovery::SignIn,
        }
    }

    /// Exit code of a command that waited for the login.
    pub(crate) fn exit_code(self) -> ExitCode {
        match self {
            Self::Cancelled => ExitCode::Interrupted,
            Self::TimedOut => ExitCode::Timeout,
            Self::Declined | Self::Mismatch | Self::NobodyThere | Self::DoesNotLast | Self::Other => {
                ExitCode::LoginNeeded
            }
        }
    }

    /// What a person can do about it.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::Declined => {
                "log in as somebody whom IAM Identity Center lets in, or ask its administrator to let you in"
            }
            Self::DoesNotLast => {
                "check the start URL, the clock of this machine and the session of the identity provider, \
                 then repeat `stctl sso login`"
            }
            Self::Cancelled | Self::TimedOut | Self::Mismatch | Self::NobodyThere | Self::Other => {
                "repeat `stctl sso login`; with --use-device-code the browser may be on another machine"
            }
        }
    }

    /// What went wrong with the login to `sign_in`, as a sentence.
    pub(crate) fn write(self, f: &mut fmt::Formatter<'_>, sign_in: &str) -> fmt::Result {
        match self {
            Self::Cancelled => write!(f, "the login to \"{sign_in}\" was cancelled"),
            Self::TimedOut => write!(f, "nobody finished the login to \"{sign_in}\" in time"),
            Self::Declined => write!(f, "the login to \"{sign_in}\" was declined"),
            Self::Mismatch => write!(f, "the browser answered to another login than that to \"{sign_in}\""),
            Self::NobodyThere => write!(f, "nobody is there to log in to \"{sign_in}\""),
            Self::DoesNotLast => write!(f, "logins to \"{sign_in}\" do not last"),
            Self::Other => write!(f, "the login to \"{sign_in}\" failed"),
        }
    }
}
