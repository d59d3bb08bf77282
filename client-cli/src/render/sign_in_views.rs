//! What programs get of sign-ins with `-o json` and `-o yaml`. Field names are those of the API; stable, only added to.

use serde::Serialize;
use stormtunnel_model::{
    CannotRenew, LoginFlow, LoginPage, LoginProgress, LoginReason, Renewal, RenewalRule, SignIn,
    SignInActivity, SignInProfile, SignInState,
};
use stormtunnel_proto::calls::LoginUpdate;

use super::times::rfc3339;
use super::views::FaultView;

/// A sign-in.
#[derive(Debug, Serialize)]
pub struct SignInView {
    name: String,
    start_url: String,
    region: String,
    profiles: Vec<ProfileView>,
    state: &'static str,
    /// While the token is good.
    expires_at: Option<String>,
    /// When it expired.
    since: Option<String>,
    renewal: Option<RenewalView>,
    /// Why a login is needed.
    reason: Option<&'static str>,
    activity: Option<ActivityView>,
    trouble: Option<FaultView>,
}

#[derive(Debug, Serialize)]
struct ProfileView {
    profile: String,
    account: Option<String>,
    role: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum RenewalView {
    At { at: String, rule: &'static str },
    WhenAwake,
    OnDemand,
    Impossible { reason: &'static str },
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum ActivityView {
    Reading,
    Renewing,
    LoggingIn { progress: ProgressView },
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum ProgressView {
    Starting,
    Waiting { url: String, user_code: Option<String>, page: &'static str },
    Finishing,
}

/// One message of a login.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum LoginView {
    Begun { sign_in: String, flow: &'static str, reason: String },
    Progress { progress: ProgressView },
    SignedIn { sign_in: Box<SignInView> },
}

impl SignInView {
    /// Of a sign-in.
    pub fn of(sign_in: &SignIn) -> Self {
        let state = &sign_in.status.state;
        let (renewal, since, reason) = match state {
            SignInState::Unknown => (None, None, None),
            SignInState::Authenticated { renewal, .. } | SignInState::ExpiringSoon { renewal, .. } => {
                (Some(*renewal), None, None)
            }
            SignInState::Expired { since, renewal } => (Some(*renewal), Some(*since), None),
            SignInState::NeedsLogin { reason } => (None, None, Some(*reason)),
        };
        Self {
            name: sign_in.name.to_string(),
            start_url: sign_in.start_url.clone(),
            region: sign_in.region.to_string(),
            profiles: sign_in.profiles.iter().map(ProfileView::of).collect(),
            state: state_name(state),
            expires_at: state.good_until().map(rfc3339),
            since: since.map(rfc3339),
            renewal: renewal.map(RenewalView::of),
            reason: reason.map(reason_name),
            activity: sign_in.status.activity.as_ref().map(ActivityView::of),
            trouble: sign_in.status.trouble.as_ref().map(FaultView::of),
        }
    }
}

impl ProfileView {
    fn of(profile: &SignInProfile) -> Self {
        let SignInProfile { profile, account, role } = profile.clone();
        Self { profile: profile.to_string(), account, role }
    }
}

impl RenewalView {
    fn of(renewal: Renewal) -> Self {
        match renewal {
            Renewal::At { at, rule } => Self::At { at: rfc3339(at), rule: rule_name(rule) },
            Renewal::WhenAwake => Self::WhenAwake,
            Renewal::OnDemand => Self::OnDemand,
            Renewal::Impossible(reason) => Self::Impossible { reason: cannot_renew_name(reason) },
        }
    }
}

impl ActivityView {
    fn of(activity: &SignInActivity) -> Self {
        match activity {
            SignInActivity::Reading => Self::Reading,
            SignInActivity::Renewing => Self::Renewing,
            SignInActivity::LoggingIn(progress) => Self::LoggingIn { progress: ProgressView::of(progress) },
        }
    }
}

impl ProgressView {
    fn of(progress: &LoginProgress) -> Self {
        match progress.clone() {
            LoginProgress::Starting => Self::Starting,
            LoginProgress::Waiting { url, user_code, page } => {
                let page = match page {
                    LoginPage::Opening => "opening",
                    LoginPage::Opened => "opened",
                    LoginPage::NotOpened => "not_opened",
                    LoginPage::LeftToPerson => "left_to_person",
                };
                Self::Waiting { url, user_code, page }
            }
            LoginProgress::Finishing => Self::Finishing,
        }
    }
}

impl LoginView {
    /// Of a message.
    pub(crate) fn of(update: &LoginUpdate) -> Self {
        match update {
            LoginUpdate::Begun { sign_in, flow, reason } => {
                let flow = match flow {
                    LoginFlow::AuthorizationCode => "authorization_code",
                    LoginFlow::DeviceCode => "device_code",
                };
                Self::Begun { sign_in: sign_in.to_string(), flow, reason: reason.clone() }
            }
            LoginUpdate::Progress(progress) => Self::Progress { progress: ProgressView::of(progress) },
            LoginUpdate::SignedIn(sign_in) => Self::SignedIn { sign_in: Box::new(SignInView::of(sign_in)) },
        }
    }
}

fn state_name(state: &SignInState) -> &'static str {
    match state {
        SignInState::Unknown => "unknown",
        SignInState::Authenticated { .. } => "authenticated",
        SignInState::ExpiringSoon { .. } => "expiring_soon",
        SignInState::Expired { .. } => "expired",
        SignInState::NeedsLogin { .. } => "needs_login",
    }
}

fn rule_name(rule: RenewalRule) -> &'static str {
    match rule {
        RenewalRule::Threshold => "threshold",
        RenewalRule::EarlyTwentyMinutes => "early_twenty_minutes",
        RenewalRule::EarlyThird => "early_third",
        RenewalRule::HalfOfLifetime => "half_of_lifetime",
        RenewalRule::Retry => "retry",
        RenewalRule::Other => "other",
    }
}

fn cannot_renew_name(reason: CannotRenew) -> &'static str {
    match reason {
        CannotRenew::NoRefreshToken => "no_refresh_token",
        CannotRenew::RegistrationExpired => "registration_expired",
        CannotRenew::SessionEnded => "session_ended",
        CannotRenew::Refused => "refused",
        CannotRenew::Other => "other",
    }
}

fn reason_name(reason: LoginReason) -> &'static str {
    match reason {
        LoginReason::NeverSignedIn => "never_signed_in",
        LoginReason::SignedOutHere => "signed_out_here",
        LoginReason::SignedOutElsewhere => "signed_out_elsewhere",
        LoginReason::ExpiredElsewhere => "expired_elsewhere",
        LoginReason::SessionEnded => "session_ended",
        LoginReason::RefreshRefused => "refresh_refused",
        LoginReason::TokenRejected => "token_rejected",
        LoginReason::Other => "other",
    }
}
