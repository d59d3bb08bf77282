//! Profiles: what the daemon was told.

use std::pin::Pin;

use stormtunnel_model::{CheckedProfile, Fault, FaultKind, ProfileList};
use stormtunnel_proto::calls::{ProfileWatchEvent, ProfileWatchUpdate};
use stormtunnel_proto::conversions::parse_profile;
use stormtunnel_proto::status::from_fault;
use stormtunnel_proto::v1;
use stormtunnel_proto::v1::profile_service_server::ProfileService;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

use super::{Fake, revision};

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
        let asked = profile.map_or_else(|| "-".to_owned(), |profile| profile.to_string());
        self.heard(format!("check {asked}"))?;
        let answer = self.lock().profiles.checked.clone().expect("the test tells what comes of it");
        answer.map(|checked| Response::new(checked.into())).map_err(from_fault)
    }
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
