//! Two settings, and their file.

use std::fs;
use std::path::PathBuf;

use stormtunnel_model::{Fault, FaultKind};
use stormtunnel_proto::calls::{
    ReplacedSettings, SettingState, SettingsFile, SettingsProblem, SettingsState,
};
use stormtunnel_proto::status::from_fault;
use stormtunnel_proto::v1;
use stormtunnel_proto::v1::settings_service_server::SettingsService;
use tonic::{Request, Response, Status};

use super::Fake;

/// What a new file begins with.
pub(crate) const TEMPLATE: &str = "# All settings\n[tunnels]\n#connect_timeout = 30\n";

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

    async fn get_settings_file(
        &self,
        _request: Request<v1::GetSettingsFileRequest>,
    ) -> Result<Response<v1::GetSettingsFileResponse>, Status> {
        let path = self.settings_file().display().to_string();
        let etag = fs::read_to_string(self.settings_file()).unwrap_or_default();
        Ok(Response::new(SettingsFile { path, etag, template: TEMPLATE.to_owned() }.into()))
    }

    async fn replace_settings_file(
        &self,
        request: Request<v1::ReplaceSettingsFileRequest>,
    ) -> Result<Response<v1::ReplaceSettingsFileResponse>, Status> {
        let v1::ReplaceSettingsFileRequest { text, etag } = request.into_inner();
        let before = fs::read_to_string(self.settings_file()).unwrap_or_default();
        let replaced = if before != etag {
            ReplacedSettings::ChangedMeanwhile
        } else if text.contains("= 5\n") {
            let message = "\"5\": whole seconds from 10 to 120".to_owned();
            ReplacedSettings::Refused(vec![SettingsProblem { at: Some((2, 19)), message }])
        } else {
            fs::write(self.settings_file(), &text).unwrap();
            let sets = text.contains("\nconnect_timeout = 60\n");
            let changed = sets.then(|| setting("tunnels.connect_timeout", Some("60")));
            ReplacedSettings::Written(changed.into_iter().collect())
        };
        Ok(Response::new(replaced.into()))
    }
}

impl Fake {
    /// Beside the socket, where `settings edit` finds it.
    pub(crate) fn settings_file(&self) -> PathBuf {
        self.socket().with_file_name("settings.toml")
    }
}
