//! Sign-ins and profiles, written into the config file.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use stormtunnel_aws_files::edit::EditError;
use stormtunnel_aws_files::{ConfigureError, Configured, ProfileFile, ReplaceError, configure};
use stormtunnel_engine::ports::{Clock, PortFuture};
use stormtunnel_engine::sign_in::ports::ConfigFile;
use stormtunnel_model::{Fault, FaultKind, SectionChange, SsoConfig, SsoConfigured};

use super::AwsDirectory;
use crate::control::chain;

/// How often a change is made anew when somebody else was faster. Nobody writes this file that often.
const TRIES: usize = 10;

/// Writes into the config file of an [`AwsDirectory`], which knows of it at once.
pub struct ConfigWriter(Arc<Writer>);

struct Writer {
    directory: Arc<AwsDirectory>,
    /// What the copies of the file are named after.
    clock: Arc<dyn Clock>,
    /// Our own changes come one after the other.
    turn: Mutex<()>,
}

impl ConfigWriter {
    /// One for that directory.
    pub fn new(directory: Arc<AwsDirectory>, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Writer { directory, clock, turn: Mutex::default() }))
    }
}

impl ConfigFile for ConfigWriter {
    fn configure<'a>(&'a self, config: &'a SsoConfig) -> PortFuture<'a, Result<SsoConfigured, Fault>> {
        let (writer, config) = (Arc::clone(&self.0), config.clone());
        Box::pin(async move {
            // On a thread of its own it goes on when the caller goes away.
            let write = tokio::task::spawn_blocking(move || writer.configure(&config));
            write.await.map_err(|error| Fault::internal(error.to_string()))?
        })
    }
}

impl Writer {
    fn configure(&self, wanted: &SsoConfig) -> Result<SsoConfigured, Fault> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let paths = self.directory.paths();
        for _ in 0..TRIES {
            let config = read(&paths.config)?;
            let Configured { content, sections } =
                configure(&config, &read(&paths.credentials)?, wanted).map_err(|error| refused(&error))?;
            let file = paths.config.display().to_string();
            if sections.iter().all(|one| one.change == SectionChange::Unchanged) {
                return Ok(SsoConfigured { file, backup: None, sections });
            }
            let backup =
                config.back_up(self.clock.wall()).map_err(|error| unwritable(&paths.config, &error))?;
            match config.replace(&content) {
                Ok(()) => {
                    self.directory.reload();
                    let backup = backup.map(|path| path.display().to_string());
                    return Ok(SsoConfigured { file, backup, sections });
                }
                // The copy is one of a file that is not the last before ours.
                Err(error) => {
                    backup.iter().for_each(|path| drop(std::fs::remove_file(path)));
                    if !matches!(error, ReplaceError::Changed) {
                        return Err(unwritable(&paths.config, &error));
                    }
                }
            }
        }
        Err(Fault::internal(format!("{} is changed by somebody else all the time", paths.config.display())))
    }
}

fn read(path: &Path) -> Result<ProfileFile, Fault> {
    let failed = |error| Fault::internal(format!("{} cannot be read: {error}", path.display()));
    ProfileFile::read(path).map_err(failed)
}

fn unwritable(path: &Path, error: &dyn std::error::Error) -> Fault {
    Fault::internal(format!("{} cannot be written: {}", path.display(), chain(error)))
}

fn refused(error: &ConfigureError) -> Fault {
    let field = match error {
        ConfigureError::Exists(sections) => {
            let section = sections.first().map(|(section, _)| section.to_string()).unwrap_or_default();
            return Fault::new(FaultKind::SectionExists { section }, error.to_string());
        }
        ConfigureError::Edit(EditError::Session { .. }) => "session.name",
        ConfigureError::Edit(EditError::Key { .. } | EditError::Value { .. }) => "session",
        ConfigureError::OtherKeys { .. } | ConfigureError::NotReadBack(_) => "profiles.name",
    };
    Fault::new(FaultKind::InvalidArgument { field: field.to_owned() }, error.to_string())
}
