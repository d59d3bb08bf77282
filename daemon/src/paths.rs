//! Where the daemon keeps its things: flags first, then the rules that it shares with the front ends.

use std::io;
use std::path::{Path, PathBuf};

use stormtunnel_proto::paths::{self, PathError, Platform};
use thiserror::Error;

use crate::args::Args;

/// All paths of one daemon, absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The API's socket.
    pub socket: PathBuf,
    /// Database, lock and log.
    pub state_dir: PathBuf,
    /// The settings file; need not exist.
    pub settings: PathBuf,
}

/// Paths that cannot be worked out.
#[derive(Debug, Error)]
pub enum PathsError {
    /// A default or a variable is of no use.
    #[error(transparent)]
    Rule(#[from] PathError),
    /// A flag holds a relative path and the working directory is gone.
    #[error("cannot make {} absolute", path.display())]
    Relative {
        /// The path as given.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Paths {
    /// What the flags name, else what the environment and the system's conventions say.
    ///
    /// # Errors
    /// [`PathsError`] for a socket path that is too long, a relative variable, or an unknown home directory.
    pub fn resolve(args: &Args) -> Result<Self, PathsError> {
        let env = |name: &str| std::env::var_os(name);
        let platform = Platform::CURRENT;
        let socket = flag(args.socket.as_deref())?.map_or_else(|| paths::socket(platform, env), Ok)?;
        paths::check_socket(platform, &socket)?;
        let state_dir =
            flag(args.state_dir.as_deref())?.map_or_else(|| paths::state_dir(platform, env), Ok)?;
        let settings = flag(args.config.as_deref())?.map_or_else(|| paths::config_file(env), Ok)?;
        Ok(Self { socket, state_dir, settings })
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.state_dir.join("stormtunnel.db")
    }

    /// The log of a daemon in the background.
    pub fn log(&self) -> PathBuf {
        paths::log_file(&self.state_dir)
    }

    /// Held by the one daemon that uses the state directory.
    pub fn state_lock(&self) -> PathBuf {
        self.state_dir.join("stormtunneld.lock")
    }

    /// Held by the one daemon that owns the socket, whatever its state directory.
    pub fn socket_lock(&self) -> PathBuf {
        let mut name = self.socket.clone().into_os_string();
        name.push(".lock");
        PathBuf::from(name)
    }
}

fn flag(path: Option<&Path>) -> Result<Option<PathBuf>, PathsError> {
    let absolute = |path: &Path| {
        std::path::absolute(path).map_err(|source| PathsError::Relative { path: path.to_owned(), source })
    };
    path.map(absolute).transpose()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn resolve(arguments: &[&str]) -> Result<Paths, PathsError> {
        Paths::resolve(&Args::parse_from([&["stormtunneld"], arguments].concat()))
    }

    #[test]
    fn flags_beat_everything_and_become_absolute() {
        let paths =
            resolve(&["--socket", "/s/d.sock", "--state-dir", "state", "--config", "/c.toml"]).unwrap();
        assert_eq!(paths.state_dir, std::env::current_dir().unwrap().join("state"));
        assert_eq!((paths.socket, paths.settings), ("/s/d.sock".into(), "/c.toml".into()));
    }

    #[test]
    fn a_long_socket_path_is_refused_with_advice() {
        let socket = format!("/{}", "s".repeat(200));
        let error = resolve(&["--socket", &socket, "--state-dir", "/s", "--config", "/c"]).unwrap_err();
        assert!(error.to_string().contains("choose a shorter one with --socket"), "{error}");
    }
}
