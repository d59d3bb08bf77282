//! Two settings.

use stormtunnel_model::{Fault, FaultKind};
use stormtunnel_proto::calls::{SettingState, SettingsState};
use stormtunnel_proto::status::from_fault;
use stormtunnel_proto::v1;
use stormtunnel_proto::v1::settings_service_server::SettingsService;
use tonic::{Request, Response, Status};

use super::Fake;

fn setting(key: &str, value: Option<&str>) -> SettingState {
    SettingState {
        key: key.to_owned(),
        value: value.unwrap_or("30").to_owned(),
        default_value: "30".to_owned(),
        range: "whole seconds from 10 to 120".to_owned(),
        meaning: "how long one attempt to connect may take".to_owned(),
        is_set: value.is_some(),
    }
}

#[tonic::async_trait]
impl SettingsService for Fake {
    async fn get_settings(
        &self,
        request: Request<v1::GetSettingsRequest>,
    ) -> Result<Response<v1::GetSettingsResponse>, Status> {
        let keys = request.into_inner().keys;
        let all = [setting("tunnels.connect_timeout", Some("60")), setting("tunnels.half_close_grace", None)];
        let settings =
            all.into_iter().filter(|setting| keys.is_empty() || keys.contains(&setting.key)).collect();
        let state = SettingsState {
            settings,
            path: "/home/u/.config/stormtunnel/settings.toml".to_owned(),
            problem: None,
        };
        Ok(Response::new(state.into()))
    }

    async fn update_settings(
        &self,
        request: Request<v1::UpdateSettingsRequest>,
    ) -> Result<Response<v1::UpdateSettingsResponse>, Status> {
        let changes = request.into_inner().changes;
        if changes.iter().any(|change| change.value.as_deref() == Some("5")) {
            let kind = FaultKind::InvalidArgument { field: changes[0].key.clone() };
            return Err(from_fault(Fault::new(kind, "\"5\": whole seconds from 10 to 120")));
        }
        let settings =
            changes.iter().map(|change| setting(&change.key, change.value.as_deref()).into()).collect();
        Ok(Response::new(v1::UpdateSettingsResponse { settings }))
    }
}
