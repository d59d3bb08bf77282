//! The settings file: read at the start, watched, edited through the API with its comments kept.
//!
//! What is in force is published as one immutable [`Settings`]; whoever needs a value subscribes. A wrong value, or a
//! file that is no TOML, leaves the old values in force and shows as a problem.

pub mod document;
#[cfg(test)]
pub mod fuzz;
mod template;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use stormtunnel_engine::tasks::{Tasks, TasksClosed};
use stormtunnel_model::settings::{Setting, SettingError, Settings};
use thiserror::Error;
use tokio::sync::watch as channel;

use self::document::{Change, EditError, Problem, Reading};
use crate::file_watch;

use crate::atomic_file;

/// A change of the settings file that was not made.
#[derive(Debug, Error)]
pub enum UpdateError {
    /// The change or the file is wrong.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The file cannot be read.
    #[error("cannot read the settings file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write the settings file {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What became of another text for the file.
#[derive(Clone, Debug)]
pub enum Replaced {
    /// It is in the file and in force; these settings are not as they were.
    Written(Vec<SettingValue>),
    /// It says something wrong, and the file is as it was.
    Refused(Vec<Problem>),
    /// The file was not the one any more that the text was made from.
    ChangedMeanwhile,
}

/// One setting as it is now.
#[derive(Clone, Debug)]
pub struct SettingValue {
    /// Its row in the settings table.
    pub setting: &'static Setting,
    /// The value in force, as text.
    pub value: String,
    /// The file sets it.
    pub is_set: bool,
}

/// A settings file and what it says.
#[derive(Debug)]
pub struct SettingsFile {
    path: PathBuf,
    state: Mutex<State>,
    settings: channel::Sender<Arc<Settings>>,
}

#[derive(Debug)]
struct State {
    seen: Seen,
    reading: Reading,
}

/// What the file was when it was last read or written.
#[derive(PartialEq, Eq)]
enum Seen {
    Text(String),
    Missing,
    Unreadable,
}

impl SettingsFile {
    /// Reads the file. It need not exist, and nothing that is wrong with it is fatal.
    pub fn open(path: &Path) -> Arc<Self> {
        let state = State { seen: Seen::Missing, reading: Reading::default() };
        let settings = channel::Sender::new(Arc::new(Settings::default()));
        let file = Self { path: path.to_owned(), state: Mutex::new(state), settings };
        file.reload();
        Arc::new(file)
    }

    /// The settings that the file says, for what comes before the log and everything else. What is wrong with it is told by
    /// [`SettingsFile::open`]. Blocks for the disk.
    pub fn peek(path: &Path) -> Settings {
        let seen = look(path).unwrap_or(Seen::Unreadable);
        document::read(seen.text(), &Reading::default()).settings
    }

    /// Where the file is, or would be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The settings in force, now and after each change.
    pub fn subscribe(&self) -> channel::Receiver<Arc<Settings>> {
        self.settings.subscribe()
    }

    /// What is wrong with the file as it is, from top to bottom; empty when nothing is.
    pub fn problems(&self) -> Vec<String> {
        self.state().reading.problems.iter().map(|problem| problem.in_file(&self.path)).collect()
    }

    /// The settings of those names, or all when none is named.
    ///
    /// # Errors
    /// [`SettingError::UnknownKey`].
    pub fn values(&self, keys: &[String]) -> Result<Vec<SettingValue>, SettingError> {
        let state = self.state();
        if keys.is_empty() {
            return Ok(document::all().map(|setting| value(&state.reading, setting)).collect());
        }
        keys.iter().map(|key| Setting::by_key(key).map(|setting| value(&state.reading, setting))).collect()
    }

    /// Writes changes into the file and puts them in force: all of them or none. Blocks for the disk.
    ///
    /// # Errors
    /// [`UpdateError`]; nothing was changed then.
    pub fn update(&self, changes: &[Change]) -> Result<(), UpdateError> {
        let mut state = self.state();
        let edited = document::edit(self.look()?.text(), changes)?;
        self.write(&edited)?;
        self.take(&mut state, Seen::Text(edited));
        Ok(())
    }

    /// What stands for the text of the file as it is now. Blocks for the disk.
    ///
    /// # Errors
    /// [`UpdateError::Read`].
    pub fn etag(&self) -> Result<String, UpdateError> {
        Ok(self.look()?.etag())
    }

    /// What a new file may begin with: all settings in comments.
    pub fn template() -> String {
        template::of_all()
    }

    /// Puts another text in the place of the one that `etag` stands for, if nothing in it is wrong. Blocks for the disk.
    ///
    /// # Errors
    /// [`UpdateError`]; nothing was changed then.
    pub fn replace(&self, text: String, etag: &str) -> Result<Replaced, UpdateError> {
        let mut state = self.state();
        if self.look()?.etag() != etag {
            return Ok(Replaced::ChangedMeanwhile);
        }
        let reading = document::read(&text, &state.reading);
        if !reading.problems.is_empty() {
            return Ok(Replaced::Refused(reading.problems));
        }
        self.write(&text)?;
        let before = state.reading.clone();
        self.take(&mut state, Seen::Text(text));
        let now = &state.reading;
        // By the values themselves: two passwords look the same.
        let said = |reading: &Reading, setting: &Setting| {
            (setting.value(&reading.settings), reading.set.contains(setting.key))
        };
        let changed = document::all().filter(|setting| said(now, setting) != said(&before, setting));
        Ok(Replaced::Written(changed.map(|setting| value(now, setting)).collect()))
    }

    /// Reads the file again. One with the same text, such as what [`SettingsFile::update`] has just written, changes
    /// nothing. Blocks for the disk.
    pub fn reload(&self) {
        let mut state = self.state();
        match look(&self.path) {
            Ok(seen) if seen == state.seen => {}
            Ok(seen) => self.take(&mut state, seen),
            Err(error) => {
                let problem = Problem { at: None, message: format!("cannot be read: {error}") };
                if state.seen != Seen::Unreadable {
                    tracing::warn!("{}", problem.in_file(&self.path));
                }
                state.seen = Seen::Unreadable;
                state.reading.problems = vec![problem];
            }
        }
    }

    /// Follows the file until the tasks are cancelled.
    ///
    /// # Errors
    /// [`TasksClosed`].
    pub fn watch(self: &Arc<Self>, tasks: &Tasks) -> Result<(), TasksClosed> {
        let file = Arc::clone(self);
        file_watch::spawn("settings file", vec![self.path.clone()], tasks, move || {
            file.reload();
            None
        })
    }

    fn look(&self) -> Result<Seen, UpdateError> {
        look(&self.path).map_err(|source| UpdateError::Read { path: self.path.clone(), source })
    }

    fn write(&self, text: &str) -> Result<(), UpdateError> {
        let written = atomic_file::replace(&self.path, text.as_bytes());
        written.map_err(|source| UpdateError::Write { path: self.path.clone(), source })
    }

    fn take(&self, state: &mut State, seen: Seen) {
        state.reading = document::read(seen.text(), &state.reading);
        state.seen = seen;
        for problem in &state.reading.problems {
            tracing::warn!("{}", problem.in_file(&self.path));
        }
        let settings = &state.reading.settings;
        self.settings.send_if_modified(|current| {
            let changed = **current != *settings;
            if changed {
                *current = Arc::new(settings.clone());
            }
            changed
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs between two changes of the state: it is whole even after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn value(reading: &Reading, setting: &'static Setting) -> SettingValue {
    let value = setting.shown(&reading.settings);
    SettingValue { setting, value, is_set: reading.set.contains(setting.key) }
}

/// A proxy's password may be in the text.
impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text(..)",
            Self::Missing => "Missing",
            Self::Unreadable => "Unreadable",
        })
    }
}

impl Seen {
    /// A file that is not there says as much as an empty one.
    fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Missing | Self::Unreadable => "",
        }
    }

    /// A file that is empty is another one than none.
    fn etag(&self) -> String {
        match self {
            Self::Text(text) => BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes())),
            Self::Missing | Self::Unreadable => "none".to_owned(),
        }
    }
}

fn look(path: &Path) -> io::Result<Seen> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Seen::Text(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Seen::Missing),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
