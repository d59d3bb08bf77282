//! The daemon service.

use std::sync::Arc;

use stormtunnel_proto::status::from_fault;
use stormtunnel_proto::v1::daemon_service_server::DaemonService;
use stormtunnel_proto::v1::{
    GetInfoRequest, GetInfoResponse, SetLogFilterRequest, SetLogFilterResponse, ShutdownRequest,
    ShutdownResponse,
};
use tonic::{Request, Response, Status};

use crate::DaemonControl;

pub(crate) struct DaemonApi {
    daemon: Arc<dyn DaemonControl>,
}

impl DaemonApi {
    pub(crate) fn new(daemon: Arc<dyn DaemonControl>) -> Self {
        Self { daemon }
    }
}

#[tonic::async_trait]
impl DaemonService for DaemonApi {
    async fn get_info(&self, _request: Request<GetInfoRequest>) -> Result<Response<GetInfoResponse>, Status> {
        Ok(Response::new(self.daemon.info().into()))
    }

    async fn shutdown(
        &self,
        _request: Request<ShutdownRequest>,
    ) -> Result<Response<ShutdownResponse>, Status> {
        tracing::info!("asked to stop");
        self.daemon.shutdown();
        Ok(Response::new(ShutdownResponse {}))
    }

    async fn set_log_filter(
        &self,
        request: Request<SetLogFilterRequest>,
    ) -> Result<Response<SetLogFilterResponse>, Status> {
        let filter = self.daemon.set_log_filter(&request.into_inner().filter).map_err(from_fault)?;
        Ok(Response::new(SetLogFilterResponse { filter }))
    }
}
