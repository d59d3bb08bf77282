//! The target service.

use stormtunnel_engine::EngineHandle;
use stormtunnel_engine::ports::{AwsScope, Candidates};
use stormtunnel_proto::calls::{ListTargets, TargetList};
use stormtunnel_proto::status::from_fault;
use stormtunnel_proto::v1;
use stormtunnel_proto::v1::target_service_server::TargetService;
use tonic::{Request, Response, Status};

pub(crate) struct TargetApi {
    engine: EngineHandle,
}

impl TargetApi {
    pub(crate) fn new(engine: EngineHandle) -> Self {
        Self { engine }
    }
}

#[tonic::async_trait]
impl TargetService for TargetApi {
    async fn list_targets(
        &self,
        request: Request<v1::ListTargetsRequest>,
    ) -> Result<Response<v1::ListTargetsResponse>, Status> {
        let ListTargets { profile, region, target } = request.into_inner().try_into()?;
        let scope = AwsScope { profile, region };
        let found = self.engine.targets(&scope, target.as_ref()).await.map_err(from_fault)?;
        let Candidates { region, candidates, notes } = found;
        Ok(Response::new(TargetList { region, candidates, notes }.into()))
    }
}
