//! Profiles: what the daemon was told.

use std::pin::Pin;

use stormtunnel_model::{
    AwsProfile, CheckedProfile, Fault, FaultKind, Profile, ProfileKind, ProfileList, ProfileRule,
    ProfileState,
};
use stormtunnel_proto::calls::{ProfileWatchEvent, ProfileWatchUpdate};
use stormtunnel_proto::conversions::parse_profile;
use stormtunnel_proto::status::from_fault;
use stormtunnel_proto::v1;
use stormtunnel_proto::v1::profile_service_server::ProfileService;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

use super::{Fake, revision};
use crate::support::now;

/// What the daemon was told of profiles.
#[derive(Default)]
pub(super) struct Told {
    list: ProfileList,
    /// What changes after the snapshot of a watch.
    changes: Vec<ProfileWatchEvent>,
    /// What a question about a profile is answered with.
    checked: Option<Result<CheckedProfile, Fault>>,
}

#[tonic::async_trait]
impl ProfileService for Fake {
    type WatchProfilesStream = Pin<Box<dyn Stream<Item = Result<v1::WatchProfilesResponse, Status>> + Send>>;

    async fn list_profiles(
        &self,
        _: Request<v1::ListProfilesRequest>,
    ) -> Result<Response<v1::ListProfilesResponse>, Status> {
        Ok(Response::new(self.lock().profiles.list.clone().into()))
    }

    /// Tells what the test planned, and then stops.
    async fn watch_profiles(
        &self,
        _: Request<v1::WatchProfilesRequest>,
    ) -> Result<Response<Self::WatchProfilesStream>, Status> {
        let (snapshot, changes) = {
            let told = &self.lock().profiles;
            (ProfileWatchEvent::Snapshot(told.list.clone()), told.changes.clone())
        };
        let events = std::iter::once(snapshot).chain(changes).zip(0..);
        let updates: Vec<_> = events
            .map(|(event, counter)| Ok(ProfileWatchUpdate { revision: revision(counter), event }.into()))
            .collect();
        let end = Err(from_fault(Fault::new(FaultKind::ShuttingDown, "")));
        let stream = tokio_stream::iter(updates).chain(tokio_stream::once(end));
        Ok(Response::new(Box::pin(stream)))
    }

    async fn check_profile(
        &self,
        request: Request<v1::CheckProfileRequest>,
    ) -> Result<Response<v1::CheckProfileResponse>, Status> {
        let profile = parse_profile(request.into_inner().profile)?;
        let asked = profile.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        self.heard(format!("check {asked}"))?;
        let answer = match (&self.lock().profiles.checked, profile) {
            (Some(answer), _) => answer.clone(),
            (None, Some(name)) => Ok(connected(name)),
            (None, None) => panic!("the test tells what comes of it"),
        };
        answer.map(|checked| Response::new(checked.into())).map_err(from_fault)
    }
}

/// What becomes of a profile of which the test says nothing.
fn connected(name: Profile) -> CheckedProfile {
    let principal = "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Admin_aa/ada".parse().unwrap();
    let profile = AwsProfile {
        name,
        kind: Some(ProfileKind::Sso),
        region: None,
        sign_in: Some("corp".parse().unwrap()),
        account: Some("111122223333".to_owned()),
        role: Some("Admin".to_owned()),
        state: ProfileState::Connected { principal, at: now() },
    };
    CheckedProfile { profile, rule: ProfileRule::Asked }
}

impl Fake {
    /// What there is from now on, and what changes while somebody watches.
    pub(crate) fn have_profiles(&self, profiles: ProfileList, changes: Vec<ProfileWatchEvent>) {
        let told = &mut self.lock().profiles;
        (told.list, told.changes) = (profiles, changes);
    }

    /// What comes of asking AWS from now on.
    pub(crate) fn check(&self, checked: Result<CheckedProfile, Fault>) {
        self.lock().profiles.checked = Some(checked);
    }
}
