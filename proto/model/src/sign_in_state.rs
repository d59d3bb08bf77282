//! What is true of a sign-in now.

use crate::fault::{Fault, FaultKind};
use crate::ids::Timestamp;
use crate::sign_in::SignInName;

/// What is true of a sign-in now; never stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInStatus {
    /// Whether there is a token, and for how long.
    pub state: SignInState,
    /// What runs now.
    pub activity: Option<SignInActivity>,
    /// What failed last and is tried again by itself.
    pub trouble: Option<Fault>,
}

/// Whether there is a token, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignInState {
    /// Not known yet: the key store has not answered.
    Unknown,
    /// The token is good.
    Authenticated {
        /// When it expires.
        expires_at: Timestamp,
        /// What happens before.
        renewal: Renewal,
    },
    /// The token is good, and not for long.
    ExpiringSoon {
        /// When it expires.
        expires_at: Timestamp,
        /// What happens before.
        renewal: Renewal,
    },
    /// The token is of no use any more.
    Expired {
        /// Since when.
        since: Timestamp,
        /// Whether it may still be renewed.
        renewal: Renewal,
    },
    /// There is no token, and only a person can get one.
    NeedsLogin {
        /// What became of the last one.
        reason: LoginReason,
    },
}

/// How a token is to be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// By itself.
    At {
        /// When.
        at: Timestamp,
        /// What set that time.
        rule: RenewalRule,
    },
    /// By itself, as soon as the machine is awake for a person: it woke for itself.
    WhenAwake,
    /// When somebody needs it: `auto_refresh` is off.
    OnDemand,
    /// Only by a login.
    Impossible(CannotRenew),
}

/// What set the time of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewalRule {
    /// `refresh_threshold`.
    Threshold,
    /// `early_renewal`: 20 minutes before the end, ahead of every other tool.
    EarlyTwentyMinutes,
    /// `early_renewal`: a third of the token's lifetime before the end, which is less than 20 minutes.
    EarlyThird,
    /// Half of the token's lifetime: the other rules would renew it all the time.
    HalfOfLifetime,
    /// The last try failed.
    Retry,
    /// One that only a newer daemon knows. No daemon says it.
    Other,
}

/// Why a token cannot be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotRenew {
    /// It came without a refresh token, as those of profiles without an `[sso-session]` do.
    NoRefreshToken,
    /// The client that it was given to is not registered any more.
    RegistrationExpired,
    /// Its refresh token is not accepted any more: the session at the access portal is over.
    SessionEnded,
    /// AWS refused to renew it.
    Refused,
    /// One that only a newer daemon knows. No daemon says it.
    Other,
}

/// Why a login is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginReason {
    /// Nobody signed in yet.
    NeverSignedIn,
    /// Somebody signed out here.
    SignedOutHere,
    /// Another tool signed out: it deleted the shared token file.
    SignedOutElsewhere,
    /// The login of another tool was found, and had expired.
    ExpiredElsewhere,
    /// The session at the access portal is over.
    SessionEnded,
    /// AWS refused to renew the token.
    RefreshRefused,
    /// AWS does not accept the token, although it should still be good: it was revoked, or the clock is wrong.
    TokenRejected,
    /// One that only a newer daemon knows. No daemon says it.
    Other,
}

/// What is being done for a sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignInActivity {
    /// The key store or the shared token file is read.
    Reading,
    /// The token is being renewed.
    Renewing,
    /// A person signs in.
    LoggingIn(LoginProgress),
}

/// How far a login is. It holds what a person needs to see; none of it opens anything without that person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginProgress {
    /// It is being prepared.
    Starting,
    /// The person signs in at this address.
    Waiting {
        /// The address to open.
        url: String,
        /// The code to compare or to type, of a device login.
        user_code: Option<String>,
        /// What becomes of the page.
        page: LoginPage,
    },
    /// The person is done; the token is fetched.
    Finishing,
}

/// What becomes of a page that a person is to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginPage {
    /// A browser is being started.
    Opening,
    /// It seems to have opened.
    Opened,
    /// What was to open it failed, or there is no display.
    NotOpened,
    /// Nothing opens it: the person does.
    LeftToPerson,
}

impl SignInStatus {
    /// The status before anything was read.
    pub fn unknown() -> Self {
        Self { state: SignInState::Unknown, activity: None, trouble: None }
    }
}

impl SignInState {
    /// The state's name, as shown to people.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Authenticated { .. } => "Authenticated",
            Self::ExpiringSoon { .. } => "Expiring soon",
            Self::Expired { .. } => "Expired",
            Self::NeedsLogin { .. } => "Needs login",
        }
    }

    /// When the token expires, while it is good.
    pub fn good_until(&self) -> Option<Timestamp> {
        match self {
            Self::Authenticated { expires_at, .. } | Self::ExpiringSoon { expires_at, .. } => {
                Some(*expires_at)
            }
            Self::Unknown | Self::Expired { .. } | Self::NeedsLogin { .. } => None,
        }
    }

    /// Why nothing but a login helps, as a sentence part; absent while the token is good or may still be renewed.
    pub fn needs_login(&self) -> Option<&'static str> {
        match self {
            Self::Expired { renewal: Renewal::Impossible(why), .. } => Some(why.in_words()),
            Self::NeedsLogin { reason } => Some(reason.in_words()),
            Self::Unknown
            | Self::Authenticated { .. }
            | Self::ExpiringSoon { .. }
            | Self::Expired {
                renewal: Renewal::At { .. } | Renewal::WhenAwake | Renewal::OnDemand, ..
            } => None,
        }
    }

    /// The fault of whoever needs the token, if only a login helps.
    pub fn fault(&self, sign_in: &SignInName) -> Option<Fault> {
        let kind = FaultKind::SignInNeeded { sign_in: sign_in.to_string() };
        self.needs_login().map(|reason| Fault::new(kind, reason))
    }
}

impl CannotRenew {
    /// The reason, as a sentence part.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::NoRefreshToken => "the token came without a refresh token",
            Self::RegistrationExpired => "the client registration that the token belongs to has expired",
            Self::SessionEnded => "the session at the AWS access portal is over",
            Self::Refused => "AWS refused to renew the token",
            Self::Other => "the token cannot be renewed",
        }
    }
}

impl LoginReason {
    /// The reason, as a sentence part.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::NeverSignedIn => "nobody signed in yet",
            Self::SignedOutHere => "you signed out",
            Self::SignedOutElsewhere => "another tool signed out: the shared token file was deleted",
            Self::ExpiredElsewhere => "the login of another tool has expired",
            Self::SessionEnded => "the session at the AWS access portal is over",
            Self::RefreshRefused => "AWS refused to renew the token",
            Self::TokenRejected => {
                "AWS does not accept the token although it has not expired: it was revoked, or the clock is wrong"
            }
            Self::Other => "there is no token",
        }
    }
}

impl RenewalRule {
    /// The rule, in words.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Threshold => "refresh_threshold",
            Self::EarlyTwentyMinutes => "early_renewal: 20 minutes before the end, ahead of other tools",
            Self::EarlyThird => "early_renewal: a third of the lifetime before the end, ahead of other tools",
            Self::HalfOfLifetime => "half of the lifetime, which is short",
            Self::Retry => "the last try failed",
            Self::Other => "as the daemon decides",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_millis(1_000);

    #[test]
    fn a_login_is_needed_only_when_nothing_else_helps() {
        let needed = |state: SignInState| state.needs_login().is_some();
        let expired = |renewal| SignInState::Expired { since: AT, renewal };
        assert!(needed(SignInState::NeedsLogin { reason: LoginReason::NeverSignedIn }));
        assert!(needed(expired(Renewal::Impossible(CannotRenew::NoRefreshToken))));
        assert!(!needed(expired(Renewal::OnDemand)));
        assert!(!needed(expired(Renewal::At { at: AT, rule: RenewalRule::Retry })));
        assert!(!needed(SignInState::Unknown));
        let renewal = Renewal::Impossible(CannotRenew::SessionEnded);
        assert!(!needed(SignInState::ExpiringSoon { expires_at: AT, renewal }), "it is still good");
    }

    #[test]
    fn the_fault_names_the_sign_in_and_the_reason() {
        let corp: SignInName = "corp".parse().unwrap();
        let state = SignInState::NeedsLogin { reason: LoginReason::SignedOutElsewhere };
        let text = state.fault(&corp).unwrap().to_string();
        let expected =
            "an SSO login to \"corp\" is needed: another tool signed out: the shared token file was deleted";
        assert_eq!(text, expected);
        assert_eq!(SignInState::Unknown.fault(&corp), None);
    }
}
