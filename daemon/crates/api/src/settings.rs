//! The settings service.

use std::sync::Arc;

use stormtunnel_proto::status::from_fault;
use stormtunnel_proto::v1::settings_service_server::SettingsService;
use stormtunnel_proto::v1::{
    GetSettingsFileRequest, GetSettingsFileResponse, GetSettingsRequest, GetSettingsResponse,
    ReplaceSettingsFileRequest, ReplaceSettingsFileResponse, UpdateSettingsRequest, UpdateSettingsResponse,
};
use tonic::{Request, Response, Status};

use crate::SettingsControl;

pub(crate) struct SettingsApi {
    settings: Arc<dyn SettingsControl>,
}

impl SettingsApi {
    pub(crate) fn new(settings: Arc<dyn SettingsControl>) -> Self {
        Self { settings }
    }
}

#[tonic::async_trait]
impl SettingsService for SettingsApi {
    async fn get_settings(
        &self,
        request: Request<GetSettingsRequest>,
    ) -> Result<Response<GetSettingsResponse>, Status> {
        let state = self.settings.settings(&request.into_inner().keys).map_err(from_fault)?;
        Ok(Response::new(state.into()))
    }

    async fn update_settings(
        &self,
        request: Request<UpdateSettingsRequest>,
    ) -> Result<Response<UpdateSettingsResponse>, Status> {
        let changes =
            request.into_inner().changes.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        let settings = self.settings.update(changes).await.map_err(from_fault)?;
        Ok(Response::new(UpdateSettingsResponse { settings: settings.into_iter().map(Into::into).collect() }))
    }

    async fn get_settings_file(
        &self,
        _request: Request<GetSettingsFileRequest>,
    ) -> Result<Response<GetSettingsFileResponse>, Status> {
        Ok(Response::new(self.settings.file().await.map_err(from_fault)?.into()))
    }

    async fn replace_settings_file(
        &self,
        request: Request<ReplaceSettingsFileRequest>,
    ) -> Result<Response<ReplaceSettingsFileResponse>, Status> {
        let ReplaceSettingsFileRequest { text, etag } = request.into_inner();
        Ok(Response::new(self.settings.replace(text, etag).await.map_err(from_fault)?.into()))
    }
}
