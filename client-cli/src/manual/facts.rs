//! What topics and manual pages both tell: exit codes, variables, files.

use std::collections::BTreeSet;

use stormtunnel_model::{ExitCode, FaultKind};

/// The exit codes, in order.
pub(super) const EXIT_CODES: [ExitCode; 11] = [
    ExitCode::Ok,
    ExitCode::Failure,
    ExitCode::Usage,
    ExitCode::NotUp,
    ExitCode::LoginNeeded,
    ExitCode::DaemonUnreachable,
    ExitCode::NotFound,
    ExitCode::Conflict,
    ExitCode::PermissionDenied,
    ExitCode::Timeout,
    ExitCode::Interrupted,
];

/// What an exit code says.
pub(super) fn meaning(code: ExitCode) -> &'static str {
    match code {
        ExitCode::Ok => "All that was asked for is done.",
        ExitCode::Failure => "It failed, in a way that has no code of its own.",
        ExitCode::Usage => {
            "The command line cannot be right, or a start needs to be confirmed. Nothing was done about that."
        }
        ExitCode::NotUp => "A tunnel is not up, and waiting alone does not help.",
        ExitCode::LoginNeeded => "Somebody has to sign in: `stctl sso login`.",
        ExitCode::DaemonUnreachable => "The daemon cannot be reached or started.",
        ExitCode::NotFound => "There is no such tunnel, profile, target or sign-in.",
        ExitCode::Conflict => "Something is in the way: a name, a port, another version.",
        ExitCode::PermissionDenied => "AWS refused what the credentials may not do.",
        ExitCode::Timeout => "The time allowed ran out. What was asked for goes on in the daemon.",
        ExitCode::Interrupted => "Ctrl-C. What was asked for goes on in the daemon.",
    }
}

/// The names of the faults that end with a code, as `-o json` has them in `kind`.
pub(super) fn faults(code: ExitCode) -> Vec<&'static str> {
    let kinds = FaultKind::one_of_each();
    let names: BTreeSet<_> =
        kinds.iter().filter(|kind| kind.exit_code() == code).map(FaultKind::name).collect();
    names.into_iter().collect()
}

/// The variables that the program reads.
pub(super) const VARIABLES: [(&str, &str); 14] = [
    ("STORMTUNNEL_SOCKET", "The daemon's socket, as --socket."),
    ("STORMTUNNEL_STATE_DIR", "The state directory of a daemon that is started, as --state-dir."),
    ("STORMTUNNEL_CONFIG", "The settings file of a daemon that is started, as --config."),
    ("STCTL_PROFILE", "The AWS profile, as --profile."),
    ("AWS_PROFILE", "Likewise, where STCTL_PROFILE is not set."),
    ("AWS_REGION", "The AWS region, as --region; AWS_DEFAULT_REGION where it is not set."),
    ("STCTL_NO_AUTOSTART", "When set, no daemon is started."),
    ("STCTL_NO_INPUT", "When set, nothing is asked, as with --no-input."),
    ("STCTL_OUTPUT_VERSION", "The version of the output that a script was written for: 1."),
    ("STCTL_DAEMON", "The program of the daemon; else stormtunneld beside stctl, else on PATH."),
    ("NO_COLOR", "When set, no colours; so CLICOLOR=0."),
    ("CLICOLOR_FORCE", "Other than 0: colours, also where the output is no terminal."),
    ("COLUMNS", "The width of tables in a terminal."),
    ("BROWSER", "What opens the page of a login."),
];

/// The files, on Linux; and on macOS where they are elsewhere.
pub(super) const FILES: [(&str, &str); 5] = [
    (
        "~/.config/stormtunnel/settings.toml",
        "The daemon's settings, changed with `stctl settings` or an editor. Below XDG_CONFIG_HOME where that is set.",
    ),
    (
        "$XDG_RUNTIME_DIR/stormtunnel/daemon.sock",
        "The daemon's socket. On macOS, and without XDG_RUNTIME_DIR, it is in the state directory.",
    ),
    (
        "~/.local/state/stormtunnel/",
        "The daemon's state: tunnels, history, keys. Below XDG_STATE_HOME where that is set; on macOS \
         ~/Library/Application Support/StormTunnel.",
    ),
    (
        "stormtunneld.log",
        "In the state directory: the log of a daemon that no service manager keeps a journal for.",
    ),
    ("~/.aws/config, ~/.aws/credentials", "Profiles and sso-sessions, which the AWS CLI shares."),
];

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn each_exit_code_is_in_its_place() {
        assert!(EXIT_CODES.windows(2).all(|pair| pair[0] < pair[1]));
        for kind in FaultKind::one_of_each() {
            assert!(EXIT_CODES.contains(&kind.exit_code()), "{} has a code that is not listed", kind.name());
        }
    }

    /// What `--help` says of variables is said again in full.
    #[test]
    fn each_variable_of_the_help_is_listed() {
        let listed: String = VARIABLES.iter().map(|(name, said)| format!("{name} {said}\n")).collect();
        let help = Cli::command().render_long_help().to_string();
        let is_variable = |word: &&str| {
            word.len() > 6 && word.contains('_') && word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
        };
        let named: Vec<&str> =
            help.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(is_variable).collect();
        assert!(named.len() > 8, "{named:?}");
        for name in named {
            assert!(listed.contains(name), "{name} is not listed");
        }
    }
}
