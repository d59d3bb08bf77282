//! `--purge`: the state directory goes, and what lies beside the socket. Only what a daemon has made: a directory that was
//! chosen by hand may hold other things.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::instance::{Claim, Holder, Instance, InstanceError};
use crate::keystore;
use crate::paths::Paths;

/// What the names of a daemon's files begin with: database, log and lock, with all that is put aside of them.
const OURS: &[&str] = &["stormtunnel.db", "stormtunneld.log", "stormtunneld.lock"];

/// The state stays, or a part of it.
#[derive(Debug, Error)]
pub enum PurgeError {
    /// A daemon uses it.
    #[error("a stormtunneld{} uses {}; end it first with `stctl daemon stop`", pid(.0), .0.lock.display())]
    Used(Holder),
    /// Lock or directory.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// The disk.
    #[error("cannot remove {}", path.display())]
    Remove {
        /// What stays.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn pid(holder: &Holder) -> String {
    holder.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}

/// Removes all that daemons have left in these places but the settings. Does nothing where there is nothing.
///
/// # Errors
/// [`PurgeError`].
pub fn purge(paths: &Paths) -> Result<(), PurgeError> {
    if !paths.state_dir.exists() && !paths.socket_lock().exists() {
        return Ok(());
    }
    // Held to the end: no daemon starts meanwhile. The locks' own files go with the rest.
    let _instance = match Instance::claim(paths)? {
        Claim::Mine(instance) => instance,
        Claim::Held(holder) => return Err(PurgeError::Used(holder)),
    };
    let entries = std::fs::read_dir(&paths.state_dir).map_err(failed(&paths.state_dir))?;
    for entry in entries {
        let entry = entry.map_err(failed(&paths.state_dir))?;
        let (name, path) = (entry.file_name(), entry.path());
        if name == keystore::DIRECTORY {
            gone(&path, std::fs::remove_dir_all(&path))?;
        } else if is_file_of_ours(&name) {
            gone(&path, std::fs::remove_file(&path))?;
        }
    }
    gone(&paths.socket, std::fs::remove_file(&paths.socket))?;
    gone(&paths.socket_lock(), std::fs::remove_file(paths.socket_lock()))?;
    for directory in [Some(paths.state_dir.as_path()), paths.socket.parent()].into_iter().flatten() {
        match std::fs::remove_dir(directory) {
            // Somebody else's files are in it.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            removed => gone(directory, removed)?,
        }
    }
    Ok(())
}

/// Whether that is the name of a file, or of the key store, that a daemon makes in its state directory.
pub(crate) fn is_ours(name: &OsStr) -> bool {
    name == keystore::DIRECTORY || is_file_of_ours(name)
}

fn is_file_of_ours(name: &OsStr) -> bool {
    OURS.iter().any(|start| name.as_bytes().starts_with(start.as_bytes()))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> PurgeError {
    move |source| PurgeError::Remove { path: path.to_owned(), source }
}

fn gone(path: &Path, removed: io::Result<()>) -> Result<(), PurgeError> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(home: &Path) -> Paths {
        Paths {
            socket: home.join("run/daemon.sock"),
            state_dir: home.join("state"),
            settings: home.join("settings.toml"),
        }
    }

    #[test]
    fn all_that_a_daemon_has_left_goes_and_the_settings_stay() {
        let home = tempfile::TempDir::new().unwrap();
        let paths = paths(home.path());
        drop(Instance::claim(&paths).unwrap());
        std::fs::create_dir(paths.state_dir.join(keystore::DIRECTORY)).unwrap();
        std::fs::write(paths.state_dir.join(keystore::DIRECTORY).join("token"), "").unwrap();
        for name in ["stormtunnel.db", "stormtunnel.db-wal", "stormtunnel.db.broken-1", "stormtunneld.log.4"]
        {
            std::fs::write(paths.state_dir.join(name), "").unwrap();
        }
        std::fs::write(&paths.settings, "").unwrap();
        purge(&paths).unwrap();
        let left: Vec<_> =
            std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["settings.toml"]);
        purge(&paths).expect("nothing is left to remove");
        assert!(!paths.state_dir.exists(), "nothing is made to be removed");
    }

    #[test]
    fn other_files_in_a_chosen_directory_stay() {
        let home = tempfile::TempDir::new().unwrap();
        let paths = paths(home.path());
        std::fs::create_dir(&paths.state_dir).unwrap();
        std::fs::write(paths.state_dir.join("letter.txt"), "precious").unwrap();
        std::fs::write(paths.state_dir.join("stormtunnel.db"), "").unwrap();
        purge(&paths).unwrap();
        let left: Vec<_> =
            std::fs::read_dir(&paths.state_dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["letter.txt"]);
    }

    #[test]
    fn nothing_goes_while_a_daemon_runs() {
        let home = tempfile::TempDir::new().unwrap();
        let paths = paths(home.path());
        let Claim::Mine(_instance) = Instance::claim(&paths).unwrap() else { panic!("in use") };
        std::fs::write(paths.database(), "").unwrap();
        let error = purge(&paths).unwrap_err();
        assert!(error.to_string().contains("stctl daemon stop"), "{error}");
        assert!(paths.database().exists());
    }
}
