//! What programs get of profiles with `-o json` and `-o yaml`. Field names are those of the API; stable, only added to.

use serde::Serialize;
use stormtunnel_model::{AwsProfile, FileProblem, OnDemand, Principal, ProfileList, ProfileState};
use stormtunnel_proto::calls::{ProfileWatchEvent, ProfileWatchUpdate};

use super::times::rfc3339;
use super::views::{FaultView, RevisionView};

/// All profiles.
#[derive(Debug, Serialize)]
pub struct ProfileListView {
    profiles: Vec<ProfileView>,
    problems: Vec<ProblemView>,
}

/// A profile.
#[derive(Debug, Serialize)]
pub struct ProfileView {
    name: String,
    kind: Option<&'static str>,
    region: Option<String>,
    sign_in: Option<String>,
    account: Option<String>,
    role: Option<String>,
    user: Option<String>,
    state: &'static str,
    principal: Option<String>,
    /// When AWS said who it is.
    checked_at: Option<String>,
    fault: Option<FaultView>,
    /// Why it is not checked by itself.
    unchecked: Option<&'static str>,
}

/// Something in the AWS files that a person should mend.
#[derive(Debug, Serialize)]
pub(crate) struct ProblemView {
    file: String,
    line: Option<u32>,
    text: String,
}

/// The answer of `whoami`.
#[derive(Debug, Serialize)]
pub struct WhoamiView {
    #[serde(flatten)]
    profile: ProfileView,
    /// What chose the profile.
    chosen_by: String,
}

/// One message of a watch.
#[derive(Debug, Serialize)]
pub(crate) struct ProfileWatchView {
    revision: RevisionView,
    #[serde(flatten)]
    event: EventView,
}

#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum EventView {
    Snapshot(ProfileListView),
    Changed { profile: Box<ProfileView> },
    Removed { name: String },
    Problems { problems: Vec<ProblemView> },
    Resumed,
}

impl ProfileListView {
    /// Of a list.
    pub fn of(list: &ProfileList) -> Self {
        Self {
            profiles: list.profiles.iter().map(ProfileView::of).collect(),
            problems: list.problems.iter().map(ProblemView::of).collect(),
        }
    }
}

impl ProfileView {
    fn of(profile: &AwsProfile) -> Self {
        let (checked_at, unchecked) = match &profile.state {
            ProfileState::Connected { at, .. } => (Some(*at), None),
            ProfileState::Unchecked { why } => (None, Some(why_name(*why))),
            ProfileState::Checking | ProfileState::Invalid { .. } | ProfileState::Unknown { .. } => {
                (None, None)
            }
        };
        let principal = profile.state.principal();
        Self {
            name: profile.name.to_string(),
            kind: profile.kind.map(|kind| kind.name()),
            region: profile.region.as_ref().map(ToString::to_string),
            sign_in: profile.sign_in.as_ref().map(ToString::to_string),
            account: profile.shown_account().map(str::to_owned),
            role: profile.shown_role().map(str::to_owned),
            user: principal.and_then(Principal::user).map(str::to_owned),
            state: state_name(&profile.state),
            principal: principal.map(ToString::to_string),
            checked_at: checked_at.map(rfc3339),
            fault: profile.state.fault().map(FaultView::of),
            unchecked,
        }
    }
}

impl ProblemView {
    fn of(problem: &FileProblem) -> Self {
        let FileProblem { file, line, text } = problem.clone();
        Self { file, line, text }
    }
}

impl WhoamiView {
    /// Of a profile, and of what chose it.
    pub fn of(profile: &AwsProfile, rule: &str) -> Self {
        Self { profile: ProfileView::of(profile), chosen_by: rule.to_owned() }
    }
}

impl ProfileWatchView {
    /// Of a message.
    pub(crate) fn of(update: &ProfileWatchUpdate) -> Self {
        let event = match &update.event {
            ProfileWatchEvent::Snapshot(list) => EventView::Snapshot(ProfileListView::of(list)),
            ProfileWatchEvent::Changed(profile) => {
                EventView::Changed { profile: Box::new(ProfileView::of(profile)) }
            }
            ProfileWatchEvent::Removed(name) => EventView::Removed { name: name.to_string() },
            ProfileWatchEvent::Problems(problems) => {
                EventView::Problems { problems: problems.iter().map(ProblemView::of).collect() }
            }
            ProfileWatchEvent::Resumed => EventView::Resumed,
        };
        Self { revision: RevisionView::of(update.revision), event }
    }
}

fn state_name(state: &ProfileState) -> &'static str {
    match state {
        ProfileState::Connected { .. } => "connected",
        ProfileState::Checking => "checking",
        ProfileState::Invalid { .. } => "invalid",
        ProfileState::Unknown { .. } => "unknown",
        ProfileState::Unchecked { .. } => "unchecked",
    }
}

fn why_name(why: OnDemand) -> &'static str {
    match why {
        OnDemand::AsksForCode => "asks_for_code",
        OnDemand::RunsProgram => "runs_program",
        OnDemand::RenewsToken => "renews_token",
        OnDemand::Other => "other",
    }
}
