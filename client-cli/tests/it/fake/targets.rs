//! What tunnels can go through: what the daemon was told.

use stormtunnel_proto::calls::{ListTargets, TargetList};
use stormtunnel_proto::v1;
use stormtunnel_proto::v1::target_service_server::TargetService;
use tonic::{Request, Response, Status};

use super::Fake;

#[tonic::async_trait]
impl TargetService for Fake {
    async fn list_targets(
        &self,
        request: Request<v1::ListTargetsRequest>,
    ) -> Result<Response<v1::ListTargetsResponse>, Status> {
        let ListTargets { profile, region, target } = request.into_inner().try_into()?;
        let text = |part: Option<String>| part.unwrap_or_else(|| "-".to_owned());
        let (profile, region) = (profile.map(|name| name.to_string()), region.map(|name| name.to_string()));
        let target = target.map(|target| target.to_string());
        self.heard(format!("targets {} {} {}", text(profile), text(region), text(target)))?;
        let found = self.lock().targets.clone().expect("the test tells what there is");
        Ok(Response::new(found.into()))
    }
}

impl Fake {
    /// What is found from now on.
    pub(crate) fn find(&self, found: TargetList) {
        self.lock().targets = Some(found);
    }
}
