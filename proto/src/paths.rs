//! Where socket, state and settings are. The daemon and every front end must agree, so the rules are here.
//!
//! | what | variable | else |
//! |---|---|---|
//! | socket | `STORMTUNNEL_SOCKET` | `$XDG_RUNTIME_DIR/stormtunnel/daemon.sock`; without that directory the state directory's place |
//! | state | `STORMTUNNEL_STATE_DIR` | `$XDG_STATE_HOME/stormtunnel`, by default `~/.local/state/stormtunnel`; macOS `~/Library/Application Support/StormTunnel` |
//! | settings | `STORMTUNNEL_CONFIG` | `$XDG_CONFIG_HOME/stormtunnel/settings.toml`, by default `~/.config/stormtunnel/settings.toml` |
//!
//! Never below `/tmp`, where others could put something in our place.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Name of the variable that places the socket.
pub const SOCKET_VARIABLE: &str = "STORMTUNNEL_SOCKET";
/// Name of the variable that places the state directory.
pub const STATE_VARIABLE: &str = "STORMTUNNEL_STATE_DIR";
/// Name of the variable that places the settings file.
pub const CONFIG_VARIABLE: &str = "STORMTUNNEL_CONFIG";

/// A path that cannot be used or made out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// The system cannot bind or connect to a socket path of that length.
    #[error(
        "the socket path {} has {length} bytes, the system takes at most {max}; \
         choose a shorter one with --socket or {SOCKET_VARIABLE}",
        path.display()
    )]
    SocketTooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
        /// The most that the system takes.
        max: usize,
    },
    /// A variable holds a relative path, which would mean another place for every working directory.
    #[error("{variable} must be an absolute path, not \"{}\"", path.display())]
    NotAbsolute {
        /// The variable.
        variable: &'static str,
        /// What it holds.
        path: PathBuf,
    },
    /// There is no home directory to begin from.
    #[error("HOME is not set to an absolute path, so there is no place for {what}; set HOME or {variable}")]
    NoHome {
        /// What was to be placed.
        what: &'static str,
        /// The variable that would place it.
        variable: &'static str,
    },
}

/// Conventions of a system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// XDG directories; socket paths of at most 107 bytes.
    Linux,
    /// `~/Library`; socket paths of at most 103 bytes.
    MacOs,
}

impl Platform {
    /// The system this program was built for.
    pub const CURRENT: Self = if cfg!(target_os = "macos") { Self::MacOs } else { Self::Linux };

    /// The longest socket path in bytes: `sun_path` without its closing zero.
    pub fn max_socket_path(self) -> usize {
        match self {
            Self::Linux => 107,
            Self::MacOs => 103,
        }
    }
}

/// Where the socket is. `env` looks a variable up; empty ones count as absent.
///
/// # Errors
/// [`PathError`] when no place can be made out or the path is too long for a socket.
pub fn socket(platform: Platform, env: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, PathError> {
    let path = match (explicit(&env, SOCKET_VARIABLE)?, runtime_dir(platform, &env)) {
        (Some(path), _) => path,
        (None, Some(runtime)) => runtime.join("stormtunnel").join(SOCKET_NAME),
        (None, None) => own_state_dir(platform, &env, "the socket", SOCKET_VARIABLE)?.join(SOCKET_NAME),
    };
    check_socket(platform, &path)?;
    Ok(path)
}

/// Where the database and the log are.
///
/// # Errors
/// [`PathError`] when no place can be made out.
pub fn state_dir(platform: Platform, env: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, PathError> {
    let path = explicit(&env, STATE_VARIABLE)?;
    path.map_or_else(|| own_state_dir(platform, &env, "the state", STATE_VARIABLE), Ok)
}

/// The log of a daemon in the background that keeps its state in that directory. Full ones are beside it, as `*.1` and so on.
pub fn log_file(state_dir: &Path) -> PathBuf {
    state_dir.join("stormtunneld.log")
}

/// Where the settings file is, whether it exists or not.
///
/// # Errors
/// [`PathError`] when no place can be made out.
pub fn config_file(env: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, PathError> {
    if let Some(path) = explicit(&env, CONFIG_VARIABLE)? {
        return Ok(path);
    }
    let config = match absolute(&env, "XDG_CONFIG_HOME") {
        Some(config) => config,
        None => home(&env, "the settings", CONFIG_VARIABLE)?.join(".config"),
    };
    Ok(config.join("stormtunnel").join("settings.toml"))
}

/// Checks a socket path that came from elsewhere, such as a flag.
///
/// # Errors
/// [`PathError::SocketTooLong`].
pub fn check_socket(platform: Platform, path: &Path) -> Result<(), PathError> {
    let (length, max) = (path.as_os_str().as_bytes().len(), platform.max_socket_path());
    if length > max { Err(PathError::SocketTooLong { path: path.to_owned(), length, max }) } else { Ok(()) }
}

const SOCKET_NAME: &str = "daemon.sock";

fn explicit(
    env: &impl Fn(&str) -> Option<OsString>,
    variable: &'static str,
) -> Result<Option<PathBuf>, PathError> {
    match env(variable).filter(|value| !value.is_empty()).map(PathBuf::from) {
        Some(path) if !path.is_absolute() => Err(PathError::NotAbsolute { variable, path }),
        path => Ok(path),
    }
}

/// A variable's path if it is absolute; the XDG specification says to ignore it otherwise.
fn absolute(env: &impl Fn(&str) -> Option<OsString>, variable: &str) -> Option<PathBuf> {
    env(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// macOS has no directory of this kind that the user alone may enter and whose path is short.
fn runtime_dir(platform: Platform, env: &impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    match platform {
        Platform::Linux => absolute(env, "XDG_RUNTIME_DIR"),
        Platform::MacOs => None,
    }
}

fn own_state_dir(
    platform: Platform,
    env: &impl Fn(&str) -> Option<OsString>,
    what: &'static str,
    variable: &'static str,
) -> Result<PathBuf, PathError> {
    match platform {
        Platform::Linux => {
            let state = match absolute(env, "XDG_STATE_HOME") {
                Some(state) => state,
                None => home(env, what, variable)?.join(".local/state"),
            };
            Ok(state.join("stormtunnel"))
        }
        Platform::MacOs => Ok(home(env, what, variable)?.join("Library/Application Support/StormTunnel")),
    }
}

fn home(
    env: &impl Fn(&str) -> Option<OsString>,
    what: &'static str,
    variable: &'static str,
) -> Result<PathBuf, PathError> {
    absolute(env, "HOME").ok_or(PathError::NoHome { what, variable })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<OsString> + Copy + 'a {
        move |name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
    }

    fn shown(path: Result<PathBuf, PathError>) -> String {
        path.unwrap().display().to_string()
    }

    #[test]
    fn variables_of_our_own_come_first() {
        let variables = [
            (SOCKET_VARIABLE, "/a/s.sock"),
            (STATE_VARIABLE, "/a/state"),
            (CONFIG_VARIABLE, "/a/c.toml"),
            ("XDG_RUNTIME_DIR", "/run/user/1"),
            ("HOME", "/home/u"),
        ];
        for platform in [Platform::Linux, Platform::MacOs] {
            assert_eq!(shown(socket(platform, env(&variables))), "/a/s.sock");
            assert_eq!(shown(state_dir(platform, env(&variables))), "/a/state");
        }
        assert_eq!(shown(config_file(env(&variables))), "/a/c.toml");
    }

    #[test]
    fn linux_follows_xdg() {
        let full = [
            ("XDG_RUNTIME_DIR", "/run/user/1"),
            ("XDG_STATE_HOME", "/s"),
            ("XDG_CONFIG_HOME", "/c"),
            ("HOME", "/home/u"),
        ];
        assert_eq!(shown(socket(Platform::Linux, env(&full))), "/run/user/1/stormtunnel/daemon.sock");
        assert_eq!(shown(state_dir(Platform::Linux, env(&full))), "/s/stormtunnel");
        assert_eq!(shown(config_file(env(&full))), "/c/stormtunnel/settings.toml");

        let bare = [("HOME", "/home/u"), ("XDG_STATE_HOME", "relative"), (SOCKET_VARIABLE, "")];
        assert_eq!(
            shown(socket(Platform::Linux, env(&bare))),
            "/home/u/.local/state/stormtunnel/daemon.sock"
        );
        assert_eq!(shown(state_dir(Platform::Linux, env(&bare))), "/home/u/.local/state/stormtunnel");
        assert_eq!(shown(config_file(env(&bare))), "/home/u/.config/stormtunnel/settings.toml");
    }

    #[test]
    fn macos_uses_application_support() {
        let home = [("HOME", "/Users/u"), ("XDG_RUNTIME_DIR", "/run/user/1")];
        let support = "/Users/u/Library/Application Support/StormTunnel";
        assert_eq!(shown(socket(Platform::MacOs, env(&home))), format!("{support}/daemon.sock"));
        assert_eq!(shown(state_dir(Platform::MacOs, env(&home))), support);
        assert_eq!(shown(config_file(env(&home))), "/Users/u/.config/stormtunnel/settings.toml");
    }

    #[test]
    fn what_cannot_be_used_says_what_to_set() {
        let relative = [(SOCKET_VARIABLE, "run/s.sock")];
        let error = socket(Platform::Linux, env(&relative)).unwrap_err().to_string();
        assert_eq!(error, "STORMTUNNEL_SOCKET must be an absolute path, not \"run/s.sock\"");
        let error = state_dir(Platform::Linux, env(&[])).unwrap_err().to_string();
        assert!(error.ends_with("set HOME or STORMTUNNEL_STATE_DIR"), "{error}");
    }

    #[test]
    fn a_socket_path_may_fill_sun_path_but_for_its_zero() {
        for (platform, max) in [(Platform::Linux, 107), (Platform::MacOs, 103)] {
            let fits = format!("/{}", "s".repeat(max - 1));
            assert_eq!(check_socket(platform, Path::new(&fits)), Ok(()));
            let long = format!("{fits}s");
            let error = check_socket(platform, Path::new(&long)).unwrap_err();
            assert!(error.to_string().contains("choose a shorter one"), "{error}");
        }
    }
}
