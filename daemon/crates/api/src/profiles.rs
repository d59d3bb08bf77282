//! The profile service.

use futures_util::StreamExt;
use stormtunnel_engine::EngineHandle;
use stormtunnel_engine::profiles::board::{ProfileChange, ProfileNews};
use stormtunnel_engine::profiles::registry::Profiles;
use stormtunnel_model::Revision;
use stormtunnel_proto::calls::{ProfileWatchEvent, ProfileWatchUpdate};
use stormtunnel_proto::conversions::parse_profile;
use stormtunnel_proto::status::from_fault;
use stormtunnel_proto::v1;
use stormtunnel_proto::v1::profile_service_server::ProfileService;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::watch::{Messages, watch};

type Answer<T> = Result<Response<T>, Status>;

pub(crate) struct ProfileApi {
    profiles: Profiles,
    stopping: CancellationToken,
}

impl ProfileApi {
    pub(crate) fn new(engine: &EngineHandle, stopping: CancellationToken) -> Self {
        Self { profiles: engine.profiles().clone(), stopping }
    }
}

#[tonic::async_trait]
impl ProfileService for ProfileApi {
    type WatchProfilesStream = Messages<v1::WatchProfilesResponse>;

    async fn list_profiles(&self, _: Request<v1::ListProfilesRequest>) -> Answer<v1::ListProfilesResponse> {
        Ok(Response::new(self.profiles.list().into()))
    }

    async fn watch_profiles(
        &self,
        request: Request<v1::WatchProfilesRequest>,
    ) -> Answer<Self::WatchProfilesStream> {
        let since = request.into_inner().since.map(Revision::from);
        let news = self.profiles.watch(since).map(|news| Ok(update(news).into()));
        Ok(Response::new(watch(news, self.stopping.clone())))
    }

    async fn check_profile(
        &self,
        request: Request<v1::CheckProfileRequest>,
    ) -> Answer<v1::CheckProfileResponse> {
        let profile = parse_profile(request.into_inner().profile)?;
        let checked = self.profiles.check(profile).await.map_err(from_fault)?;
        Ok(Response::new(checked.into()))
    }
}

fn update(ProfileNews { revision, change }: ProfileNews) -> ProfileWatchUpdate {
    let event = match change {
        ProfileChange::Snapshot(list) => ProfileWatchEvent::Snapshot(list),
        ProfileChange::Changed(profile) => ProfileWatchEvent::Changed(profile),
        ProfileChange::Removed(name) => ProfileWatchEvent::Removed(name),
        ProfileChange::Problems(problems) => ProfileWatchEvent::Problems(problems),
        ProfileChange::Resumed => ProfileWatchEvent::Resumed,
    };
    ProfileWatchUpdate { revision, event }
}
