//! The messages of the settings service.

use super::{ConversionError, non_empty, required};
use crate::calls::{SettingChange, SettingState, SettingsState};
use crate::v1;

impl From<SettingState> for v1::Setting {
    fn from(setting: SettingState) -> Self {
        let SettingState { key, value, default_value, range, meaning, is_set } = setting;
        Self { key, value, default_value, range, meaning, is_set }
    }
}

impl From<v1::Setting> for SettingState {
    fn from(setting: v1::Setting) -> Self {
        let v1::Setting { key, value, default_value, range, meaning, is_set } = setting;
        Self { key, value, default_value, range, meaning, is_set }
    }
}

impl From<SettingsState> for v1::GetSettingsResponse {
    fn from(state: SettingsState) -> Self {
        let settings = state.settings.into_iter().map(Into::into).collect();
        Self { settings, path: state.path, problem: state.problem }
    }
}

impl From<v1::GetSettingsResponse> for SettingsState {
    fn from(response: v1::GetSettingsResponse) -> Self {
        let settings = response.settings.into_iter().map(Into::into).collect();
        Self { settings, path: response.path, problem: response.problem }
    }
}

impl From<SettingChange> for v1::update_settings_request::Change {
    fn from(change: SettingChange) -> Self {
        Self { key: change.key, value: change.value }
    }
}

impl TryFrom<v1::update_settings_request::Change> for SettingChange {
    type Error = ConversionError;

    fn try_from(change: v1::update_settings_request::Change) -> Result<Self, Self::Error> {
        Ok(Self { key: required("changes.key", non_empty(change.key))?, value: change.value })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::strategies;
    use super::*;

    proptest! {
        #[test]
        fn settings_read_back_as_written(state in strategies::settings(), change in strategies::setting_change()) {
            prop_assert_eq!(SettingsState::from(v1::GetSettingsResponse::from(state.clone())), state);
            let message = v1::update_settings_request::Change::from(change.clone());
            prop_assert_eq!(SettingChange::try_from(message), Ok(change));
        }
    }
}
