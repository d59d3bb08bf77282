//! Why the daemon cannot be reached, and what to type.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use stormtunnel_model::ExitCode;

use crate::exit::{END_A_HANGING_DAEMON, Problem};

/// A daemon that cannot be reached.
#[derive(Debug)]
pub(crate) enum Unreachable {
    /// There is no socket.
    NotRunning { socket: PathBuf },
    /// There is a socket that nobody listens on: the daemon was killed.
    Stale { socket: PathBuf },
    /// The system does not let us connect.
    NotAllowed { socket: PathBuf },
    /// Somebody listens and does not take connections.
    NotAnswering { socket: PathBuf },
    /// The system says something else.
    NotConnected { socket: PathBuf, source: io::Error },
    /// There is no program to start.
    NoExecutable { searched: Vec<String> },
    /// The program cannot be started.
    NotStarted { executable: PathBuf, source: io::Error },
    /// The service manager does not start the service.
    ServiceNotStarted { said: String },
    /// The daemon ended before it was ready.
    Died { executable: PathBuf, status: ExitStatus, said: String },
    /// The daemon did not get ready in time.
    NotReady { executable: PathBuf, waited: Duration, said: String },
}

impl Unreachable {
    /// From what the system said when connecting.
    pub(crate) fn of_connect(socket: &Path, source: io::Error) -> Self {
        let socket = socket.to_owned();
        let kind = source.kind();
        if kind == io::ErrorKind::NotFound {
            Self::NotRunning { socket }
        } else if kind == io::ErrorKind::ConnectionRefused {
            Self::Stale { socket }
        } else if kind == io::ErrorKind::PermissionDenied {
            Self::NotAllowed { socket }
        } else {
            Self::NotConnected { socket, source }
        }
    }

    /// Whether starting a daemon mends it.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::NotRunning { .. } | Self::Stale { .. })
    }

    /// In words.
    pub(crate) fn problem(&self) -> Problem {
        let (headline, detail, remedy) = self.words();
        let remedy = remedy.to_owned();
        let exit = ExitCode::DaemonUnreachable;
        Problem { exit, detail, remedy, ..Problem::failure("daemon_unreachable", headline) }
    }

    fn words(&self) -> (String, String, &'static str) {
        let none = String::new();
        match self {
            Self::NotRunning { socket } => (
                "the daemon is not running".to_owned(),
                format!("there is no socket {}", socket.display()),
                "start it with any other command, such as `stctl ls` (without STCTL_NO_AUTOSTART), or with \
                 `stctl daemon run`; if it runs elsewhere, name its socket with --socket",
            ),
            Self::Stale { socket } => (
                "the daemon is not running any more".to_owned(),
                format!("it left the socket {} behind", socket.display()),
                "start it with any other command, such as `stctl ls` (without STCTL_NO_AUTOSTART), or with \
                 `stctl daemon run`; it replaces the socket",
            ),
            Self::NotAllowed { socket } => (
                format!("the system does not let you connect to {}", socket.display()),
                none,
                "use the user who started the daemon; each user has a daemon of their own",
            ),
            Self::NotAnswering { socket } => (
                format!("the daemon does not take connections on {}", socket.display()),
                none,
                END_A_HANGING_DAEMON,
            ),
            Self::NotConnected { socket, source } => (
                format!("the daemon cannot be reached on {}", socket.display()),
                source.to_string(),
                "check the path, or choose another with --socket or STORMTUNNEL_SOCKET",
            ),
            Self::NoExecutable { searched } => (
                "the daemon is not running, and stormtunneld was not found to start it".to_owned(),
                format!("looked at {}", searched.join(", ")),
                "install stormtunneld beside stctl, or name it with STCTL_DAEMON=/path/to/stormtunneld",
            ),
            Self::NotStarted { executable, source } => (
                format!("{} cannot be started", executable.display()),
                source.to_string(),
                "check the file and its permissions, or name another with STCTL_DAEMON",
            ),
            Self::ServiceNotStarted { said } => (
                "the service manager does not start the daemon".to_owned(),
                last_lines(said),
                "`stctl daemon status` and `stctl daemon logs` tell more; `stctl daemon install` repairs the service, \
                 `stctl daemon uninstall` does without",
            ),
            Self::Died { executable, status, said } => (
                format!("the daemon ended while it started ({}, {status})", executable.display()),
                last_lines(said),
                "mend what it says, then repeat the command; `stctl daemon run` starts it in this terminal",
            ),
            Self::NotReady { executable, waited, said } => (
                format!("the daemon was not ready after {} s ({})", waited.as_secs(), executable.display()),
                last_lines(said),
                "repeat the command; `stctl daemon run` starts it in this terminal and shows what it does",
            ),
        }
    }
}

/// Lines of the daemon's last words that are shown.
const LAST_LINES: usize = 5;

fn last_lines(said: &str) -> String {
    let lines: Vec<&str> = said.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_reason_decides_the_diagnosis() {
        let of = |kind: io::ErrorKind| Unreachable::of_connect(Path::new("/s"), io::Error::from(kind));
        assert!(matches!(of(io::ErrorKind::NotFound), Unreachable::NotRunning { .. }));
        assert!(matches!(of(io::ErrorKind::ConnectionRefused), Unreachable::Stale { .. }));
        assert!(matches!(of(io::ErrorKind::PermissionDenied), Unreachable::NotAllowed { .. }));
        assert!(matches!(of(io::ErrorKind::NotADirectory), Unreachable::NotConnected { .. }));
        assert!(
            of(io::ErrorKind::NotFound).is_absence() && !of(io::ErrorKind::PermissionDenied).is_absence()
        );
    }

    #[test]
    fn only_the_last_words_of_a_dead_daemon_are_shown() {
        let said = (1..=9).map(|number| format!("line {number}\n")).collect::<String>();
        assert_eq!(last_lines(&said), "line 5\nline 6\nline 7\nline 8\nline 9");
        assert_eq!(last_lines(""), "");
    }
}
