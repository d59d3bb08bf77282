//! The doctor service.

use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use stormtunnel_engine::doctor::Doctor;
use stormtunnel_proto::status::from_fault;
use stormtunnel_proto::v1;
use stormtunnel_proto::v1::doctor_service_server::DoctorService;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// Most lines of the log in one answer.
const MAX_LINES: u32 = 2000;

pub(crate) struct DoctorApi {
    doctor: Doctor,
    stopping: CancellationToken,
}

impl DoctorApi {
    pub(crate) fn new(doctor: Doctor, stopping: CancellationToken) -> Self {
        Self { doctor, stopping }
    }
}

#[tonic::async_trait]
impl DoctorService for DoctorApi {
    type RunChecksStream = Pin<Box<dyn Stream<Item = Result<v1::RunChecksResponse, Status>> + Send>>;

    async fn run_checks(
        &self,
        request: Request<v1::RunChecksRequest>,
    ) -> Result<Response<Self::RunChecksStream>, Status> {
        let findings = self.doctor.clone().run(request.into_inner().fix).map(|finding| Ok(finding.into()));
        Ok(Response::new(Box::pin(findings.take_until(self.stopping.clone().cancelled_owned()))))
    }

    async fn get_log(
        &self,
        request: Request<v1::GetLogRequest>,
    ) -> Result<Response<v1::GetLogResponse>, Status> {
        let wanted = Some(request.into_inner().lines).filter(|lines| (1..=MAX_LINES).contains(lines));
        let lines = wanted.unwrap_or(MAX_LINES) as usize;
        let lines = self.doctor.log(lines).await.map_err(from_fault)?;
        Ok(Response::new(v1::GetLogResponse { lines }))
    }
}
