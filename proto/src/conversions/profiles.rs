//! The messages of the profile service.

use stormtunnel_model::{
    AwsProfile, CheckedProfile, Fault, FileProblem, OnDemand, Principal, Profile, ProfileKind, ProfileList,
    ProfileRule, ProfileState, Region, SignInName,
};

use super::{ConversionError, known, parse_timestamp, parsed, required, timestamp};
use crate::calls::{ProfileWatchEvent, ProfileWatchUpdate};
use crate::v1;
use crate::v1::profile_state::{Checking, Connected, Invalid, State, Unchecked, Unknown};
use crate::v1::watch_profiles_response::{Event, Problems, Resumed, Snapshot};

impl From<AwsProfile> for v1::Profile {
    fn from(profile: AwsProfile) -> Self {
        let AwsProfile { name, kind, region, sign_in, account, role, state } = profile;
        Self {
            name: name.into(),
            kind: kind.map_or(v1::ProfileKind::Unspecified, Into::into).into(),
            region: region.map(Into::into),
            sign_in: sign_in.map(Into::into),
            account,
            role,
            state: Some(state.into()),
        }
    }
}

impl TryFrom<v1::Profile> for AwsProfile {
    type Error = ConversionError;

    fn try_from(profile: v1::Profile) -> Result<Self, Self::Error> {
        let v1::Profile { name, kind, region, sign_in, account, role, state } = profile;
        // Of a kind that a newer daemon knows, all else can be shown.
        let kind = v1::ProfileKind::try_from(kind).unwrap_or_default();
        Ok(Self {
            name: name.parse()?,
            kind: parse_kind(kind),
            region: region.map(|region| region.parse::<Region>()).transpose()?,
            sign_in: sign_in.map(|name| name.parse::<SignInName>()).transpose()?,
            account,
            role,
            state: parsed("state", state)?,
        })
    }
}

impl From<ProfileKind> for v1::ProfileKind {
    fn from(kind: ProfileKind) -> Self {
        match kind {
            ProfileKind::Sso => Self::Sso,
            ProfileKind::AssumeRole => Self::AssumeRole,
            ProfileKind::WebIdentity => Self::WebIdentity,
            ProfileKind::Static => Self::Static,
            ProfileKind::Temporary => Self::Temporary,
            ProfileKind::LoginSession => Self::LoginSession,
            ProfileKind::CredentialProcess => Self::CredentialProcess,
            ProfileKind::Environment => Self::Environment,
            ProfileKind::EcsContainer => Self::EcsContainer,
            ProfileKind::Ec2Metadata => Self::Ec2Metadata,
            ProfileKind::Ambient => Self::Ambient,
        }
    }
}

fn parse_kind(kind: v1::ProfileKind) -> Option<ProfileKind> {
    Some(match kind {
        v1::ProfileKind::Unspecified => return None,
        v1::ProfileKind::Sso => ProfileKind::Sso,
        v1::ProfileKind::AssumeRole => ProfileKind::AssumeRole,
        v1::ProfileKind::WebIdentity => ProfileKind::WebIdentity,
        v1::ProfileKind::Static => ProfileKind::Static,
        v1::ProfileKind::Temporary => ProfileKind::Temporary,
        v1::ProfileKind::LoginSession => ProfileKind::LoginSession,
        v1::ProfileKind::CredentialProcess => ProfileKind::CredentialProcess,
        v1::ProfileKind::Environment => ProfileKind::Environment,
        v1::ProfileKind::EcsContainer => ProfileKind::EcsContainer,
        v1::ProfileKind::Ec2Metadata => ProfileKind::Ec2Metadata,
        v1::ProfileKind::Ambient => ProfileKind::Ambient,
    })
}

impl From<ProfileState> for v1::ProfileState {
    fn from(state: ProfileState) -> Self {
        let state = match state {
            ProfileState::Connected { principal, at } => {
                let part = |part: Option<&str>| part.map(str::to_owned);
                State::Connected(Connected {
                    at: Some(timestamp(at)),
                    account: part(principal.account()),
                    role: part(principal.role()),
                    user: part(principal.user()),
                    principal: principal.into(),
                })
            }
            ProfileState::Checking => State::Checking(Checking {}),
            ProfileState::Invalid { fault } => State::Invalid(Invalid { fault: Some(fault.into()) }),
            ProfileState::Unknown { fault } => State::Unknown(Unknown { fault: Some(fault.into()) }),
            ProfileState::Unchecked { why } => {
                State::Unchecked(Unchecked { why: v1::CheckedOnDemand::from(why).into() })
            }
        };
        Self { state: Some(state) }
    }
}

impl TryFrom<v1::ProfileState> for ProfileState {
    type Error = ConversionError;

    fn try_from(state: v1::ProfileState) -> Result<Self, Self::Error> {
        let Some(state) = state.state else {
            let detail = "its state is one that this program does not know: the daemon is newer";
            return Ok(Self::Unknown { fault: Fault::internal(detail) });
        };
        Ok(match state {
            // What is read out of the ARN is read out of it here as well.
            State::Connected(Connected { principal, at, .. }) => {
                Self::Connected { principal: principal.parse::<Principal>()?, at: parse_timestamp("at", at)? }
            }
            State::Checking(Checking {}) => Self::Checking,
            State::Invalid(Invalid { fault }) => Self::Invalid { fault: parsed("fault", fault)? },
            State::Unknown(Unknown { fault }) => Self::Unknown { fault: parsed("fault", fault)? },
            State::Unchecked(Unchecked { why }) => Self::Unchecked { why: parse_why(why) },
        })
    }
}

impl From<OnDemand> for v1::CheckedOnDemand {
    fn from(why: OnDemand) -> Self {
        match why {
            OnDemand::AsksForCode => Self::AsksForCode,
            OnDemand::RunsProgram => Self::RunsProgram,
            OnDemand::RenewsToken => Self::RenewsToken,
            OnDemand::Other => Self::Unspecified,
        }
    }
}

fn parse_why(number: i32) -> OnDemand {
    match known(number) {
        v1::CheckedOnDemand::AsksForCode => OnDemand::AsksForCode,
        v1::CheckedOnDemand::RunsProgram => OnDemand::RunsProgram,
        v1::CheckedOnDemand::RenewsToken => OnDemand::RenewsToken,
        v1::CheckedOnDemand::Unspecified => OnDemand::Other,
    }
}

impl From<FileProblem> for v1::FileProblem {
    fn from(FileProblem { file, line, text }: FileProblem) -> Self {
        Self { file, line, text }
    }
}

impl From<v1::FileProblem> for FileProblem {
    fn from(v1::FileProblem { file, line, text }: v1::FileProblem) -> Self {
        Self { file, line, text }
    }
}

impl From<ProfileList> for v1::ListProfilesResponse {
    fn from(list: ProfileList) -> Self {
        Self { profiles: written(list.profiles), problems: written(list.problems) }
    }
}

impl TryFrom<v1::ListProfilesResponse> for ProfileList {
    type Error = ConversionError;

    fn try_from(response: v1::ListProfilesResponse) -> Result<Self, Self::Error> {
        let v1::ListProfilesResponse { profiles, problems } = response;
        Ok(Self { profiles: parse_profiles(profiles)?, problems: written(problems) })
    }
}

impl From<ProfileWatchUpdate> for v1::WatchProfilesResponse {
    fn from(update: ProfileWatchUpdate) -> Self {
        let event = match update.event {
            ProfileWatchEvent::Snapshot(ProfileList { profiles, problems }) => {
                Event::Snapshot(Snapshot { profiles: written(profiles), problems: written(problems) })
            }
            ProfileWatchEvent::Changed(profile) => Event::Changed((*profile).into()),
            ProfileWatchEvent::Removed(name) => Event::Removed(name.into()),
            ProfileWatchEvent::Problems(problems) => {
                Event::Problems(Problems { problems: written(problems) })
            }
            ProfileWatchEvent::Resumed => Event::Resumed(Resumed {}),
        };
        Self { revision: Some(update.revision.into()), event: Some(event) }
    }
}

impl TryFrom<v1::WatchProfilesResponse> for ProfileWatchUpdate {
    type Error = ConversionError;

    fn try_from(response: v1::WatchProfilesResponse) -> Result<Self, Self::Error> {
        let event = match required("event", response.event)? {
            Event::Snapshot(Snapshot { profiles, problems }) => {
                let profiles = parse_profiles(profiles)?;
                ProfileWatchEvent::Snapshot(ProfileList { profiles, problems: written(problems) })
            }
            Event::Changed(profile) => {
                ProfileWatchEvent::Changed(Box::new(parsed("changed", Some(profile))?))
            }
            Event::Removed(name) => ProfileWatchEvent::Removed(name.parse()?),
            Event::Problems(Problems { problems }) => ProfileWatchEvent::Problems(written(problems)),
            Event::Resumed(Resumed {}) => ProfileWatchEvent::Resumed,
        };
        Ok(Self { revision: required("revision", response.revision)?.into(), event })
    }
}

impl From<CheckedProfile> for v1::CheckProfileResponse {
    fn from(CheckedProfile { profile, rule }: CheckedProfile) -> Self {
        let rule = match rule {
            ProfileRule::Asked => v1::ProfileRule::Asked,
            ProfileRule::Setting => v1::ProfileRule::Setting,
            ProfileRule::Default => v1::ProfileRule::Default,
            ProfileRule::Other => v1::ProfileRule::Unspecified,
        };
        Self { profile: Some(profile.into()), rule: rule.into() }
    }
}

impl TryFrom<v1::CheckProfileResponse> for CheckedProfile {
    type Error = ConversionError;

    fn try_from(response: v1::CheckProfileResponse) -> Result<Self, Self::Error> {
        let rule = match known(response.rule) {
            v1::ProfileRule::Asked => ProfileRule::Asked,
            v1::ProfileRule::Setting => ProfileRule::Setting,
            v1::ProfileRule::Default => ProfileRule::Default,
            v1::ProfileRule::Unspecified => ProfileRule::Other,
        };
        Ok(Self { profile: parsed("profile", response.profile)?, rule })
    }
}

/// The profile that a request names, if any.
///
/// # Errors
/// [`ConversionError`].
pub fn parse_profile(profile: Option<String>) -> Result<Option<Profile>, ConversionError> {
    Ok(profile.map(|profile| profile.parse::<Profile>()).transpose()?)
}

fn parse_profiles(profiles: Vec<v1::Profile>) -> Result<Vec<AwsProfile>, ConversionError> {
    profiles.into_iter().map(|profile| parsed("profiles", Some(profile))).collect()
}

fn written<T: Into<U>, U>(values: Vec<T>) -> Vec<U> {
    values.into_iter().map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::super::sign_in_strategies::name as sign_in_name;
    use super::super::strategies::{fault, profile as profile_name, region, revision, time};
    use super::*;

    const TEXT: &str = "\\PC{0,20}";

    fn state() -> impl Strategy<Value = ProfileState> {
        let reasons = vec![OnDemand::AsksForCode, OnDemand::RunsProgram, OnDemand::RenewsToken];
        let principal = "arn:aws:sts::[0-9]{12}:assumed-role/[A-Za-z_]{1,9}/[a-z]{1,9}";
        prop_oneof![
            (principal, time()).prop_map(|(principal, at)| ProfileState::Connected {
                principal: principal.parse().unwrap(),
                at
            }),
            Just(ProfileState::Checking),
            fault().prop_map(|fault| ProfileState::Invalid { fault }),
            fault().prop_map(|fault| ProfileState::Unknown { fault }),
            select(reasons).prop_map(|why| ProfileState::Unchecked { why }),
        ]
    }

    fn profile() -> impl Strategy<Value = AwsProfile> {
        let kind = option::of(select(ProfileKind::ALL.to_vec()));
        let (region, sign_in) = (option::of(region()), option::of(sign_in_name()));
        let (account, role) = (option::of("[0-9]{12}"), option::of(TEXT));
        (profile_name(), kind, region, sign_in, account, role, state()).prop_map(
            |(name, kind, region, sign_in, account, role, state)| AwsProfile {
                name,
                kind,
                region,
                sign_in,
                account,
                role,
                state,
            },
        )
    }

    fn problems() -> impl Strategy<Value = Vec<FileProblem>> {
        let problem = (TEXT, option::of(any::<u32>()), TEXT).prop_map(|(file, line, text)| FileProblem {
            file,
            line,
            text,
        });
        vec(problem, 0..3)
    }

    fn list() -> impl Strategy<Value = ProfileList> {
        (vec(profile(), 0..3), problems()).prop_map(|(profiles, problems)| ProfileList { profiles, problems })
    }

    fn watch_update() -> impl Strategy<Value = ProfileWatchUpdate> {
        let event = prop_oneof![
            list().prop_map(ProfileWatchEvent::Snapshot),
            profile().prop_map(|profile| ProfileWatchEvent::Changed(Box::new(profile))),
            profile_name().prop_map(ProfileWatchEvent::Removed),
            problems().prop_map(ProfileWatchEvent::Problems),
            Just(ProfileWatchEvent::Resumed),
        ];
        (revision(), event).prop_map(|(revision, event)| ProfileWatchUpdate { revision, event })
    }

    proptest! {
        #[test]
        fn answers_read_back_as_written(
            list in list(),
            update in watch_update(),
            profile in profile(),
            rule in select(vec![ProfileRule::Asked, ProfileRule::Setting, ProfileRule::Default]),
        ) {
            prop_assert_eq!(ProfileList::try_from(v1::ListProfilesResponse::from(list.clone())), Ok(list));
            let message = v1::WatchProfilesResponse::from(update.clone());
            prop_assert_eq!(ProfileWatchUpdate::try_from(message), Ok(update));
            let checked = CheckedProfile { profile, rule };
            let message = v1::CheckProfileResponse::from(checked.clone());
            prop_assert_eq!(CheckedProfile::try_from(message), Ok(checked));
        }
    }

    #[test]
    fn what_a_client_needs_of_an_arn_is_taken_out_of_it() {
        let principal =
            "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Admin_0abc/ada@x".parse().unwrap();
        let at = stormtunnel_model::Timestamp::from_millis(1);
        let message = v1::ProfileState::from(ProfileState::Connected { principal, at });
        let Some(State::Connected(connected)) = message.state else { panic!("{message:?}") };
        let parts = [connected.account, connected.role, connected.user].map(Option::unwrap);
        assert_eq!(parts, ["123456789012", "Admin", "ada@x"]);
    }

    #[test]
    fn states_and_reasons_of_a_newer_daemon_are_unknown_ones() {
        let newer = ProfileState::try_from(v1::ProfileState { state: None }).unwrap();
        let ProfileState::Unknown { fault } = newer else { panic!("{newer:?}") };
        assert!(fault.detail.contains("the daemon is newer"), "{fault}");
        assert_eq!(parse_why(9), OnDemand::Other);
        let profile = v1::Profile {
            name: "p".to_owned(),
            state: Some(v1::ProfileState::default()),
            ..Default::default()
        };
        let checked = v1::CheckProfileResponse { profile: Some(profile), rule: 9 };
        assert_eq!(CheckedProfile::try_from(checked).unwrap().rule, ProfileRule::Other);
    }

    #[test]
    fn a_kind_of_a_newer_daemon_hides_nothing_else() {
        let state = Some(v1::ProfileState::from(ProfileState::Checking));
        let message = v1::Profile { name: "p".to_owned(), kind: 99, state, ..Default::default() };
        assert_eq!(AwsProfile::try_from(message).unwrap().kind, None);
        let nameless = parse_profile(Some(String::new())).unwrap_err();
        assert_eq!(nameless.field(), "profile");
        assert_eq!(parse_profile(None), Ok(None));
    }
}
