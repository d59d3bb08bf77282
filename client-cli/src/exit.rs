//! Failures as a person meets them: what went wrong, what to do, and the exit code. Codes are documented and stable.

use std::io;

use stormtunnel_model::{ExitCode, Fault, Selector, SpecError, Tunnel};
pub use stormtunnel_model::{Subject, quoted};
use stormtunnel_proto::CallError;
use stormtunnel_proto::paths::PathError;

/// How a command ends other than with an exit code of its own.
#[derive(Debug)]
pub enum Failure {
    /// To be told.
    Problem(Box<Problem>),
    /// Whoever read our output has gone, and wants to hear nothing more.
    ClosedPipe,
}

/// Something to tell a person, or a program that reads `-o json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What the program returns.
    pub exit: ExitCode,
    /// For programs: the name of the fault's kind, or one of `call_failed`, `changed_meanwhile`, `daemon_older`,
    /// `daemon_unreachable`, `no_editor`, `no_log`, `not_assigned`, `not_checked`, `not_confirmed`, `not_up`, `nothing_selected`, `paths`,
    /// `runtime`, `service`, `timeout`, `usage`.
    pub kind: String,
    /// The tunnel it is about, where the sentence does not name it.
    pub tunnel: Option<String>,
    /// What went wrong, in one sentence part.
    pub headline: String,
    /// What the failing side said; may be empty.
    pub detail: String,
    /// What to do; may be empty.
    pub remedy: String,
    /// What else is worth knowing; may be empty.
    pub note: String,
}

impl Problem {
    /// A problem without remedy that has no exit code of its own.
    pub fn failure(kind: &str, headline: impl Into<String>) -> Self {
        Self {
            exit: ExitCode::Failure,
            kind: kind.to_owned(),
            tunnel: None,
            headline: headline.into(),
            detail: String::new(),
            remedy: String::new(),
            note: String::new(),
        }
    }

    /// A command line that cannot be right.
    pub fn usage(headline: impl Into<String>, remedy: &str) -> Self {
        Self { exit: ExitCode::Usage, remedy: remedy.to_owned(), ..Self::failure("usage", headline) }
    }

    /// The same, as the parser says it: its first sentence without the usage.
    pub(crate) fn of_usage(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        let sentence = text.split("\n\n").next().unwrap_or_default();
        let sentence = sentence.strip_prefix("error: ").unwrap_or(sentence);
        let headline = sentence.split_whitespace().collect::<Vec<_>>().join(" ");
        Self::usage(headline, "`stctl --help` shows the commands, and COMMAND --help how each is used")
    }

    /// No tunnel has the labels asked for.
    pub(crate) fn nothing_selected(selector: &Selector) -> Self {
        Self {
            exit: ExitCode::NotFound,
            remedy:
                "`stctl tunnel show NAME` shows the labels of a tunnel, and `stctl ls -o json` those of all"
                    .to_owned(),
            ..Self::failure("nothing_selected", format!("no tunnel is selected by the labels {selector}"))
        }
    }

    /// A fault that a call failed with.
    pub fn of_fault(fault: &Fault, subject: Subject<'_>) -> Self {
        Self {
            exit: fault.kind.exit_code(),
            kind: fault.kind.name().to_owned(),
            tunnel: None,
            headline: fault.kind.to_string(),
            detail: fault.detail_for(subject),
            remedy: fault.kind.remedy_for(subject),
            note: String::new(),
        }
    }

    /// The fault that a tunnel's state carries.
    pub fn of_tunnel(fault: &Fault, tunnel: &Tunnel) -> Self {
        Self { tunnel: Some(tunnel.spec.name.to_string()), ..Self::of_fault(fault, Subject::of(tunnel)) }
    }

    /// A daemon that said nothing in the time that the user allowed.
    pub(crate) fn unanswered_in_time() -> Self {
        Self {
            exit: ExitCode::Timeout,
            remedy: END_A_HANGING_DAEMON.to_owned(),
            ..Self::failure("timeout", "the time ran out; the daemon does not answer")
        }
    }

    /// A call that failed.
    pub fn of_call(error: &CallError, subject: Subject<'_>) -> Self {
        let unreachable =
            Self { exit: ExitCode::DaemonUnreachable, ..Self::failure("daemon_unreachable", "") };
        match error {
            CallError::Fault(fault) => Self::of_fault(fault, subject),
            CallError::DeadlineExceeded => Self {
                headline: "the daemon does not answer".to_owned(),
                remedy: END_A_HANGING_DAEMON.to_owned(),
                ..unreachable
            },
            CallError::Disconnected(detail) => Self {
                headline: "the connection to the daemon was lost".to_owned(),
                detail: detail.clone(),
                remedy: "repeat the command: it starts the daemon when it is gone".to_owned(),
                ..unreachable
            },
            CallError::Unimplemented | CallError::OlderDaemon { .. } => Self {
                headline: "the daemon is older than stctl and cannot do this".to_owned(),
                detail: error.to_string(),
                ..Self::failure(OLDER_DAEMON, "")
            },
            CallError::Malformed(cause) => Self {
                detail: cause.to_string(),
                remedy: "update stctl: the daemon is newer, or not sound (`stctl daemon status` shows the levels of both)"
                    .to_owned(),
                ..Self::failure("call_failed", error.to_string())
            },
            CallError::Other { .. } => Self {
                remedy: "look at the daemon's log (`stctl daemon status` names it)".to_owned(),
                ..Self::failure("call_failed", error.to_string())
            },
        }
    }
}

/// The kind of problem that a newer daemon is the remedy for. How to get it depends on what starts it, which
/// [`Context`](crate::context::Context) knows.
pub(crate) const OLDER_DAEMON: &str = "daemon_older";

/// What to do about a daemon that takes connections, or holds its socket, and says nothing. A process that is suspended
/// reacts to no other signal than the last.
pub(crate) const END_A_HANGING_DAEMON: &str = "repeat the command when the machine is less busy; if that does not help, \
     `pgrep stormtunneld` shows the daemon's PID: `kill PID`, or else `kill -9 PID`, ends it, and the next command starts \
     it anew";

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Problem::of_call(&error, Subject::default()).into()
    }
}

impl From<PathError> for Problem {
    fn from(error: PathError) -> Self {
        Self { exit: ExitCode::Usage, ..Self::failure("paths", error.to_string()) }
    }
}

impl From<SpecError> for Problem {
    fn from(error: SpecError) -> Self {
        Self::usage(error.to_string(), "")
    }
}

impl From<io::Error> for Failure {
    /// An error of writing our own output.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::ClosedPipe
        } else {
            Problem::failure("runtime", format!("the output cannot be written: {error}")).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use stormtunnel_model::FaultKind;

    use super::*;

    #[test]
    fn a_profile_that_is_left_to_the_daemon_is_not_guessed() {
        let sign_in = Fault::new(FaultKind::SignInNeeded { sign_in: String::new() }, "");
        let remedy = |profile| Problem::of_fault(&sign_in, Subject { tunnel: Some("db"), profile }).remedy;
        assert_eq!(
            remedy(Some("prod")),
            "log in with `stctl sso login --profile prod`; the tunnel goes on by itself"
        );
        assert_eq!(remedy(None), "log in with `stctl sso login`; the tunnel goes on by itself");
    }

    /// The exit codes that scripts rely on, kind by kind. A change here is a change of the documented interface.
    #[test]
    fn every_kind_keeps_its_exit_code() {
        let expected = [
            ("profile_not_found", 6),
            ("credentials_invalid", 4),
            ("sign_in_needed", 4),
            ("permission_denied", 8),
            ("target_not_connected", 6),
            ("target_not_found", 6),
            ("remote_refused", 3),
            ("remote_unresolvable", 6),
            ("remote_forbidden", 8),
            ("agent_unresponsive", 3),
            ("agent_unsupported", 1),
            ("local_reader_stalled", 1),
            ("port_in_use", 7),
            ("network", 3),
            ("throttled", 3),
            ("peer_violation", 3),
            ("session_ended", 3),
            ("internal", 1),
            ("invalid_argument", 2),
            ("tunnel_not_found", 6),
            ("tunnel_exists", 7),
            ("etag_mismatch", 7),
            ("shutting_down", 5),
            ("confirmation_needed", 2),
            ("key_store_unavailable", 1),
            ("sign_in_not_found", 6),
            ("login_failed", 4),
            ("section_exists", 7),
        ];
        let problem = |kind: FaultKind| Problem::of_fault(&Fault::new(kind, ""), Subject::default());
        let actual: Vec<(String, u8)> = FaultKind::one_of_each()
            .into_iter()
            .map(problem)
            .map(|problem| (problem.kind, problem.exit as u8))
            .collect();
        let expected: Vec<(String, u8)> = expected.map(|(kind, code)| (kind.to_owned(), code)).to_vec();
        assert_eq!(actual, expected);
    }

    #[test]
    fn a_lost_daemon_has_its_own_code() {
        for error in [CallError::DeadlineExceeded, CallError::Disconnected("gone".to_owned())] {
            let problem = Problem::of_call(&error, Subject::default());
            assert_eq!((problem.exit as u8, problem.remedy.is_empty()), (5, false));
        }
        for error in [CallError::Unimplemented, CallError::OlderDaemon { needs: 4, has: 3 }] {
            let problem = Problem::of_call(&error, Subject::default());
            assert_eq!((problem.exit as u8, problem.kind.as_str()), (1, OLDER_DAEMON));
        }
    }
}
