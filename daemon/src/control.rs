//! What the API may ask of the daemon itself: settings, information, the end.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use stormtunnel_api::{DaemonControl, SettingsControl};
use stormtunnel_engine::EngineHandle;
use stormtunnel_engine::ports::PortFuture;
use stormtunnel_model::settings::SettingError;
use stormtunnel_model::{Fault, FaultKind, Timestamp};
use stormtunnel_proto::API_LEVEL;
use stormtunnel_proto::calls::{
    self, DaemonInfo, ReplacedSettings, SettingChange, SettingState, SettingsProblem, SettingsState,
};
use tokio_util::sync::CancellationToken;

use crate::logging::LogControl;
use crate::program::Program;
use crate::settings_file::document::{Change, EditError, Problem};
use crate::settings_file::{Replaced, SettingValue, SettingsFile, UpdateError};

/// Settings over the API.
pub(crate) struct FileSettings(pub(crate) Arc<SettingsFile>);

impl SettingsControl for FileSettings {
    fn settings(&self, keys: &[String]) -> Result<SettingsState, Fault> {
        let settings = self.0.values(keys).map_err(|error| setting_fault(&error))?;
        let problems = self.0.problems();
        Ok(SettingsState {
            settings: settings.into_iter().map(state).collect(),
            path: self.0.path().display().to_string(),
            problem: (!problems.is_empty()).then(|| problems.join("\n")),
        })
    }

    fn update(&self, changes: Vec<SettingChange>) -> PortFuture<'_, Result<Vec<SettingState>, Fault>> {
        Box::pin(async move {
            let file = Arc::clone(&self.0);
            on_disk(move || update(&file, changes)).await
        })
    }

    fn file(&self) -> PortFuture<'_, Result<calls::SettingsFile, Fault>> {
        Box::pin(async move {
            let file = Arc::clone(&self.0);
            on_disk(move || place(&file)).await
        })
    }

    fn replace(&self, text: String, etag: String) -> PortFuture<'_, Result<ReplacedSettings, Fault>> {
        Box::pin(async move {
            let file = Arc::clone(&self.0);
            on_disk(move || replace(&file, text, &etag)).await
        })
    }
}

/// On a thread of its own, where it goes on when the caller goes away.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Fault::internal(error.to_string()))?
}

fn place(file: &SettingsFile) -> Result<calls::SettingsFile, Fault> {
    let etag = file.etag().map_err(|error| update_fault(&error))?;
    let path = file.path().display().to_string();
    Ok(calls::SettingsFile { path, etag, template: SettingsFile::template() })
}

fn replace(file: &SettingsFile, text: String, etag: &str) -> Result<ReplacedSettings, Fault> {
    Ok(match file.replace(text, etag).map_err(|error| update_fault(&error))? {
        Replaced::Written(changed) => ReplacedSettings::Written(changed.into_iter().map(state).collect()),
        Replaced::Refused(problems) => ReplacedSettings::Refused(problems.into_iter().map(problem).collect()),
        Replaced::ChangedMeanwhile => ReplacedSettings::ChangedMeanwhile,
    })
}

fn problem(Problem { at, message }: Problem) -> SettingsProblem {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    SettingsProblem { at: at.map(|at| (number(at.line), number(at.column))), message }
}

fn update(file: &SettingsFile, changes: Vec<SettingChange>) -> Result<Vec<SettingState>, Fault> {
    let keys: Vec<String> = changes.iter().map(|change| change.key.clone()).collect();
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let change = |SettingChange { key, value }| Change { key, value };
    let changes: Vec<Change> = changes.into_iter().map(change).collect();
    file.update(&changes).map_err(|error| update_fault(&error))?;
    let settings = file.values(&keys).map_err(|error| setting_fault(&error))?;
    Ok(settings.into_iter().map(state).collect())
}

fn state(SettingValue { setting, value, is_set }: SettingValue) -> SettingState {
    SettingState {
        key: setting.key.to_owned(),
        value,
        default_value: setting.default_value(),
        range: setting.range(),
        meaning: setting.meaning.to_owned(),
        is_set,
    }
}

fn update_fault(error: &UpdateError) -> Fault {
    match error {
        UpdateError::Edit(EditError::Setting(error)) => setting_fault(error),
        UpdateError::Edit(error @ (EditError::Unreadable(_) | EditError::NoSection { .. })) => {
            invalid("settings file", error.to_string())
        }
        UpdateError::Read { .. } | UpdateError::Write { .. } => Fault::internal(chain(error)),
    }
}

fn setting_fault(error: &SettingError) -> Fault {
    match error {
        SettingError::UnknownKey { key } => invalid(key, error.to_string()),
        SettingError::InvalidValue { key, value, rule } => {
            invalid(key, format!("\"{value}\" cannot be taken: {rule}"))
        }
    }
}

fn invalid(field: &str, detail: String) -> Fault {
    Fault::new(FaultKind::InvalidArgument { field: field.to_owned() }, detail)
}

/// An error with all its causes, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

/// The daemon over the API.
pub(crate) struct Process {
    pub(crate) started_at: Timestamp,
    pub(crate) engine: EngineHandle,
    pub(crate) log_path: Option<PathBuf>,
    pub(crate) state_dir: PathBuf,
    /// Troubles of the start, which do not go away.
    pub(crate) warnings: Vec<String>,
    pub(crate) settings: Arc<SettingsFile>,
    pub(crate) log: LogControl,
    pub(crate) program: Program,
    pub(crate) stop: CancellationToken,
}

impl Process {
    fn warnings(&self) -> Vec<String> {
        let present = self.settings.problems().into_iter().chain(self.engine.warnings());
        self.warnings.iter().cloned().chain(present).chain(self.program.warning()).collect()
    }
}

/// What stands in parentheses behind the number in `--version`, where the build has a version of its own.
fn build() -> Option<&'static str> {
    build_of(option_env!("STORMTUNNEL_VERSION")?)
}

fn build_of(version: &str) -> Option<&str> {
    version.split_once(" (")?.1.strip_suffix(')')
}

impl DaemonControl for Process {
    fn info(&self) -> DaemonInfo {
        DaemonInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            api_level: API_LEVEL,
            started_at: self.started_at,
            epoch: self.engine.epoch(),
            pid: std::process::id(),
            log_path: self.log_path.as_ref().map(|path| path.display().to_string()),
            state_directory: self.state_dir.display().to_string(),
            warnings: self.warnings(),
            build: build().map(str::to_owned),
            program: self.program.path().map(|path| path.display().to_string()),
            program_replaced: self.program.is_replaced(),
        }
    }

    fn shutdown(&self) {
        self.stop.cancel();
    }

    fn set_log_filter(&self, filter: &str) -> Result<String, Fault> {
        let in_force = self.log.set_filter(filter)?;
        tracing::info!(filter = in_force, "log filter changed");
        Ok(in_force)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_what_stands_behind_the_number() {
        assert_eq!(build_of("0.1.0 (c5b40d1 2026-11-28)"), Some("c5b40d1 2026-11-28"));
        assert_eq!(build_of("0.1.0"), None);
    }
}
