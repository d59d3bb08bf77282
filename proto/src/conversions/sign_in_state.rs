//! Sign-ins as they are: state, renewal, activity.

use stormtunnel_model::{
    CannotRenew, LoginPage, LoginProgress, LoginReason, Renewal, RenewalRule, SignIn, SignInActivity,
    SignInProfile, SignInState, SignInStatus,
};

use super::{ConversionError, known, parse_timestamp, parsed, required, timestamp};
use crate::v1;
use crate::v1::login_progress::{self, Progress};
use crate::v1::renewal::{self, Renewal as RenewalKind};
use crate::v1::sign_in_activity::{self, Activity};
use crate::v1::sign_in_state::{self, State};

impl From<SignIn> for v1::SignIn {
    fn from(sign_in: SignIn) -> Self {
        let SignIn { name, start_url, region, profiles, status } = sign_in;
        let SignInStatus { state, activity, trouble } = status;
        Self {
            name: name.into(),
            start_url,
            region: region.into(),
            profiles: profiles.into_iter().map(Into::into).collect(),
            state: Some(state.into()),
            activity: activity.map(Into::into),
            trouble: trouble.map(Into::into),
        }
    }
}

impl TryFrom<v1::SignIn> for SignIn {
    type Error = ConversionError;

    fn try_from(sign_in: v1::SignIn) -> Result<Self, Self::Error> {
        let v1::SignIn { name, start_url, region, profiles, state, activity, trouble } = sign_in;
        let profiles = profiles.into_iter().map(|profile| parsed("profiles", Some(profile)));
        Ok(Self {
            name: name.parse()?,
            start_url,
            region: region.parse()?,
            profiles: profiles.collect::<Result<_, _>>()?,
            status: SignInStatus {
                state: parsed("state", state)?,
                activity: activity.map(parse_activity).transpose()?.flatten(),
                trouble: trouble.map(|fault| parsed("trouble", Some(fault))).transpose()?,
            },
        })
    }
}

impl From<SignInProfile> for v1::SignInProfile {
    fn from(profile: SignInProfile) -> Self {
        let SignInProfile { profile, account, role } = profile;
        Self { profile: profile.into(), account, role }
    }
}

impl TryFrom<v1::SignInProfile> for SignInProfile {
    type Error = ConversionError;

    fn try_from(profile: v1::SignInProfile) -> Result<Self, Self::Error> {
        let v1::SignInProfile { profile, account, role } = profile;
        Ok(Self { profile: profile.parse()?, account, role })
    }
}

impl From<SignInState> for v1::SignInState {
    fn from(state: SignInState) -> Self {
        let state = match state {
            SignInState::Unknown => State::Unknown(sign_in_state::Unknown {}),
            SignInState::Authenticated { expires_at, renewal } => {
                let (expires_at, renewal) = (Some(timestamp(expires_at)), Some(renewal.into()));
                State::Authenticated(sign_in_state::Authenticated { expires_at, renewal })
            }
            SignInState::ExpiringSoon { expires_at, renewal } => {
                let (expires_at, renewal) = (Some(timestamp(expires_at)), Some(renewal.into()));
                State::ExpiringSoon(sign_in_state::ExpiringSoon { expires_at, renewal })
            }
            SignInState::Expired { since, renewal } => State::Expired(sign_in_state::Expired {
                since: Some(timestamp(since)),
                renewal: Some(renewal.into()),
            }),
            SignInState::NeedsLogin { reason } => {
                State::NeedsLogin(sign_in_state::NeedsLogin { reason: v1::LoginReason::from(reason).into() })
            }
        };
        Self { state: Some(state) }
    }
}

impl TryFrom<v1::SignInState> for SignInState {
    type Error = ConversionError;

    fn try_from(state: v1::SignInState) -> Result<Self, Self::Error> {
        Ok(match state.state {
            // A state of a newer daemon is not known here.
            Some(State::Unknown(sign_in_state::Unknown {})) | None => Self::Unknown,
            Some(State::Authenticated(sign_in_state::Authenticated { expires_at, renewal })) => {
                let expires_at = parse_timestamp("authenticated.expires_at", expires_at)?;
                Self::Authenticated { expires_at, renewal: parsed("authenticated.renewal", renewal)? }
            }
            Some(State::ExpiringSoon(sign_in_state::ExpiringSoon { expires_at, renewal })) => {
                let expires_at = parse_timestamp("expiring_soon.expires_at", expires_at)?;
                Self::ExpiringSoon { expires_at, renewal: parsed("expiring_soon.renewal", renewal)? }
            }
            Some(State::Expired(sign_in_state::Expired { since, renewal })) => Self::Expired {
                since: parse_timestamp("expired.since", since)?,
                renewal: parsed("expired.renewal", renewal)?,
            },
            Some(State::NeedsLogin(sign_in_state::NeedsLogin { reason })) => {
                Self::NeedsLogin { reason: parse_reason(reason) }
            }
        })
    }
}

impl From<Renewal> for v1::Renewal {
    fn from(renewal: Renewal) -> Self {
        let renewal = match renewal {
            Renewal::At { at, rule } => RenewalKind::At(renewal::At {
                at: Some(timestamp(at)),
                rule: v1::RenewalRule::from(rule).into(),
            }),
            Renewal::WhenAwake => RenewalKind::WhenAwake(renewal::WhenAwake {}),
            Renewal::OnDemand => RenewalKind::OnDemand(renewal::OnDemand {}),
            Renewal::Impossible(reason) => {
                RenewalKind::Impossible(renewal::Impossible { reason: v1::CannotRenew::from(reason).into() })
            }
        };
        Self { renewal: Some(renewal) }
    }
}

impl TryFrom<v1::Renewal> for Renewal {
    type Error = ConversionError;

    fn try_from(renewal: v1::Renewal) -> Result<Self, Self::Error> {
        Ok(match required("renewal", renewal.renewal)? {
            RenewalKind::At(renewal::At { at, rule }) => {
                Self::At { at: parse_timestamp("at.at", at)?, rule: parse_rule(rule) }
            }
            RenewalKind::WhenAwake(renewal::WhenAwake {}) => Self::WhenAwake,
            RenewalKind::OnDemand(renewal::OnDemand {}) => Self::OnDemand,
            RenewalKind::Impossible(renewal::Impossible { reason }) => {
                Self::Impossible(parse_cannot_renew(reason))
            }
        })
    }
}

impl From<RenewalRule> for v1::RenewalRule {
    fn from(rule: RenewalRule) -> Self {
        match rule {
            RenewalRule::Threshold => Self::Threshold,
            RenewalRule::EarlyTwentyMinutes => Self::EarlyTwentyMinutes,
            RenewalRule::EarlyThird => Self::EarlyThird,
            RenewalRule::HalfOfLifetime => Self::HalfOfLifetime,
            RenewalRule::Retry => Self::Retry,
            RenewalRule::Other => Self::Unspecified,
        }
    }
}

fn parse_rule(number: i32) -> RenewalRule {
    match known(number) {
        v1::RenewalRule::Threshold => RenewalRule::Threshold,
        v1::RenewalRule::EarlyTwentyMinutes => RenewalRule::EarlyTwentyMinutes,
        v1::RenewalRule::EarlyThird => RenewalRule::EarlyThird,
        v1::RenewalRule::HalfOfLifetime => RenewalRule::HalfOfLifetime,
        v1::RenewalRule::Retry => RenewalRule::Retry,
        v1::RenewalRule::Unspecified => RenewalRule::Other,
    }
}

impl From<LoginPage> for v1::LoginPage {
    fn from(page: LoginPage) -> Self {
        match page {
            LoginPage::Opening => Self::Opening,
            LoginPage::Opened => Self::Opened,
            LoginPage::NotOpened => Self::NotOpened,
            LoginPage::LeftToPerson => Self::LeftToPerson,
        }
    }
}

fn parse_page(number: i32) -> LoginPage {
    match known(number) {
        v1::LoginPage::Opening => LoginPage::Opening,
        v1::LoginPage::Opened => LoginPage::Opened,
        v1::LoginPage::NotOpened => LoginPage::NotOpened,
        v1::LoginPage::LeftToPerson => LoginPage::LeftToPerson,
        // The address is shown.
        v1::LoginPage::Unspecified => LoginPage::LeftToPerson,
    }
}

impl From<CannotRenew> for v1::CannotRenew {
    fn from(reason: CannotRenew) -> Self {
        match reason {
            CannotRenew::NoRefreshToken => Self::NoRefreshToken,
            CannotRenew::RegistrationExpired => Self::RegistrationExpired,
            CannotRenew::SessionEnded => Self::SessionEnded,
            CannotRenew::Refused => Self::Refused,
            CannotRenew::Other => Self::Unspecified,
        }
    }
}

fn parse_cannot_renew(number: i32) -> CannotRenew {
    match known(number) {
        v1::CannotRenew::NoRefreshToken => CannotRenew::NoRefreshToken,
        v1::CannotRenew::RegistrationExpired => CannotRenew::RegistrationExpired,
        v1::CannotRenew::SessionEnded => CannotRenew::SessionEnded,
        v1::CannotRenew::Refused => CannotRenew::Refused,
        v1::CannotRenew::Unspecified => CannotRenew::Other,
    }
}

impl From<LoginReason> for v1::LoginReason {
    fn from(reason: LoginReason) -> Self {
        match reason {
            LoginReason::NeverSignedIn => Self::NeverSignedIn,
            LoginReason::SignedOutHere => Self::SignedOutHere,
            LoginReason::SignedOutElsewhere => Self::SignedOutElsewhere,
            LoginReason::ExpiredElsewhere => Self::ExpiredElsewhere,
            LoginReason::SessionEnded => Self::SessionEnded,
            LoginReason::RefreshRefused => Self::RefreshRefused,
            LoginReason::TokenRejected => Self::TokenRejected,
            LoginReason::Other => Self::Unspecified,
        }
    }
}

fn parse_reason(number: i32) -> LoginReason {
    match known(number) {
        v1::LoginReason::NeverSignedIn => LoginReason::NeverSignedIn,
        v1::LoginReason::SignedOutHere => LoginReason::SignedOutHere,
        v1::LoginReason::SignedOutElsewhere => LoginReason::SignedOutElsewhere,
        v1::LoginReason::ExpiredElsewhere => LoginReason::ExpiredElsewhere,
        v1::LoginReason::SessionEnded => LoginReason::SessionEnded,
        v1::LoginReason::RefreshRefused => LoginReason::RefreshRefused,
        v1::LoginReason::TokenRejected => LoginReason::TokenRejected,
        v1::LoginReason::Unspecified => LoginReason::Other,
    }
}

impl From<SignInActivity> for v1::SignInActivity {
    fn from(activity: SignInActivity) -> Self {
        let activity = match activity {
            SignInActivity::Reading => Activity::Reading(sign_in_activity::Reading {}),
            SignInActivity::Renewing => Activity::Renewing(sign_in_activity::Renewing {}),
            SignInActivity::LoggingIn(progress) => Activity::LoggingIn(progress.into()),
        };
        Self { activity: Some(activity) }
    }
}

/// What a newer daemon may do for a sign-in is left out.
fn parse_activity(activity: v1::SignInActivity) -> Result<Option<SignInActivity>, ConversionError> {
    Ok(match activity.activity {
        Some(Activity::Reading(sign_in_activity::Reading {})) => Some(SignInActivity::Reading),
        Some(Activity::Renewing(sign_in_activity::Renewing {})) => Some(SignInActivity::Renewing),
        Some(Activity::LoggingIn(progress)) => {
            Some(SignInActivity::LoggingIn(parsed("activity.logging_in", Some(progress))?))
        }
        None => None,
    })
}

impl From<LoginProgress> for v1::LoginProgress {
    fn from(progress: LoginProgress) -> Self {
        let progress = match progress {
            LoginProgress::Starting => Progress::Starting(login_progress::Starting {}),
            LoginProgress::Waiting { url, user_code, page } => {
                let page = v1::LoginPage::from(page).into();
                Progress::Waiting(login_progress::Waiting { url, user_code, page })
            }
            LoginProgress::Finishing => Progress::Finishing(login_progress::Finishing {}),
        };
        Self { progress: Some(progress) }
    }
}

impl TryFrom<v1::LoginProgress> for LoginProgress {
    type Error = ConversionError;

    fn try_from(progress: v1::LoginProgress) -> Result<Self, Self::Error> {
        Ok(match required("progress", progress.progress)? {
            Progress::Starting(login_progress::Starting {}) => Self::Starting,
            Progress::Waiting(login_progress::Waiting { url, user_code, page }) => {
                Self::Waiting { url, user_code, page: parse_page(page) }
            }
            Progress::Finishing(login_progress::Finishing {}) => Self::Finishing,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_newer_daemon_has_does_not_hide_the_rest() {
        assert_eq!((parse_rule(99), parse_cannot_renew(99)), (RenewalRule::Other, CannotRenew::Other));
        assert_eq!((parse_reason(99), parse_page(99)), (LoginReason::Other, LoginPage::LeftToPerson));
        let message = v1::SignIn {
            name: "corp".to_owned(),
            region: "eu-west-1".to_owned(),
            state: Some(v1::SignInState { state: None }),
            activity: Some(v1::SignInActivity { activity: None }),
            ..Default::default()
        };
        let status = SignIn::try_from(message).unwrap().status;
        assert_eq!((status.state, status.activity), (SignInState::Unknown, None));
    }
}
