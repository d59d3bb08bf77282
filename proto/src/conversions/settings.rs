//! The messages of the settings service.

use std::fmt;

use super::{ConversionError, non_empty, required};
use crate::calls::{
    ReplacedSettings, SettingChange, SettingState, SettingsFile, SettingsProblem, SettingsState,
};
use crate::v1;
use crate::v1::replace_settings_file_response::{ChangedMeanwhile, Outcome, Refused, Written};

/// A proxy's password may be in it.
impl fmt::Debug for v1::ReplaceSettingsFileRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplaceSettingsFileRequest").finish_non_exhaustive()
    }
}

/// Likewise.
impl fmt::Debug for v1::update_settings_request::Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change").field("key", &self.key).finish_non_exhaustive()
    }
}

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

impl From<SettingsFile> for v1::GetSettingsFileResponse {
    fn from(file: SettingsFile) -> Self {
        let SettingsFile { path, etag, template } = file;
        Self { path, etag, template }
    }
}

impl From<v1::GetSettingsFileResponse> for SettingsFile {
    fn from(response: v1::GetSettingsFileResponse) -> Self {
        let v1::GetSettingsFileResponse { path, etag, template } = response;
        Self { path, etag, template }
    }
}

impl From<SettingsProblem> for v1::SettingsProblem {
    fn from(problem: SettingsProblem) -> Self {
        let (line, column) = problem.at.unzip();
        Self { line, column, message: problem.message }
    }
}

impl From<v1::SettingsProblem> for SettingsProblem {
    fn from(problem: v1::SettingsProblem) -> Self {
        Self { at: problem.line.zip(problem.column), message: problem.message }
    }
}

impl From<ReplacedSettings> for v1::ReplaceSettingsFileResponse {
    fn from(replaced: ReplacedSettings) -> Self {
        let outcome = match replaced {
            ReplacedSettings::Written(changed) => {
                Outcome::Written(Written { changed: changed.into_iter().map(Into::into).collect() })
            }
            ReplacedSettings::Refused(problems) => {
                Outcome::Refused(Refused { problems: problems.into_iter().map(Into::into).collect() })
            }
            ReplacedSettings::ChangedMeanwhile => Outcome::ChangedMeanwhile(ChangedMeanwhile {}),
        };
        Self { outcome: Some(outcome) }
    }
}

impl TryFrom<v1::ReplaceSettingsFileResponse> for ReplacedSettings {
    type Error = ConversionError;

    fn try_from(response: v1::ReplaceSettingsFileResponse) -> Result<Self, Self::Error> {
        Ok(match required("outcome", response.outcome)? {
            Outcome::Written(Written { changed }) => {
                Self::Written(changed.into_iter().map(Into::into).collect())
            }
            Outcome::Refused(Refused { problems }) => {
                Self::Refused(problems.into_iter().map(Into::into).collect())
            }
            Outcome::ChangedMeanwhile(ChangedMeanwhile {}) => Self::ChangedMeanwhile,
        })
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

        #[test]
        fn the_file_and_what_became_of_it_read_back_as_written(
            file in strategies::settings_file(),
            replaced in strategies::replaced_settings(),
        ) {
            prop_assert_eq!(SettingsFile::from(v1::GetSettingsFileResponse::from(file.clone())), file);
            let message = v1::ReplaceSettingsFileResponse::from(replaced.clone());
            prop_assert_eq!(ReplacedSettings::try_from(message), Ok(replaced));
        }
    }
}
