//! The command line of `stormtunneld`. Variables are read where the paths are worked out, by the rules that the front
//! ends follow too.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Parser, ValueEnum};

use crate::environment::AwsVariables;

/// The number and the commit, from the build script; the fuzzer of the settings compiles this file without it.
const VERSION: &str = match option_env!("STORMTUNNEL_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// The per-user daemon that owns AWS Session Manager tunnels. `stctl` starts it when it is needed.
#[derive(Clone, Debug, Parser)]
#[command(name = "stormtunneld", version = VERSION)]
pub struct Args {
    /// Socket to serve the API on [env: STORMTUNNEL_SOCKET]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Directory of the database, the lock and the log [env: STORMTUNNEL_STATE_DIR]
    #[arg(long, value_name = "DIRECTORY")]
    pub state_dir: Option<PathBuf>,
    /// Settings file (TOML) [env: STORMTUNNEL_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Keep the variables with AWS credentials, profile and region of the environment that this is started in. For hosts and
    /// containers whose credentials are there; without it, they are some terminal's and do not get in
    #[arg(long, env = "STORMTUNNEL_AWS_ENVIRONMENT", hide_env_values = true)]
    #[arg(action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    pub aws_environment: bool,
    /// Run in the background; print "ready" when serving, or "running" when another daemon serves already
    #[arg(long)]
    pub detach: bool,
    /// What `--detach` starts: the background process itself.
    #[arg(long, hide = true, conflicts_with = "detach")]
    pub detached: bool,
    /// Write the log into the state directory, as a daemon in the background does, and not to standard error
    #[arg(long)]
    pub log_to_file: bool,
    /// Remove the state directory with all tunnels and their history, and nothing else; refused while a daemon runs
    #[arg(long, conflicts_with_all = ["detach", "detached"])]
    pub purge: bool,
    /// Print the manual page.
    #[arg(long, hide = true, exclusive = true)]
    pub man_page: bool,
    /// Format of the log
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

impl Args {
    /// What becomes of the variables with AWS credentials, profile and region.
    pub fn aws_variables(&self) -> AwsVariables {
        if self.aws_environment { AwsVariables::Kept } else { AwsVariables::Dropped }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    /// What installs the daemon as a service reads the number there.
    #[test]
    fn the_version_begins_with_the_number() {
        let version = Args::command().render_version();
        assert_eq!(version.split_whitespace().nth(1), Some(env!("CARGO_PKG_VERSION")), "{version}");
    }

    #[test]
    fn variables_of_aws_are_dropped_unless_they_are_asked_for() {
        let variables = |arguments: &[&str]| {
            let arguments = ["stormtunneld"].iter().chain(arguments);
            Args::try_parse_from(arguments).unwrap().aws_variables()
        };
        assert_eq!(variables(&["--detach"]), AwsVariables::Dropped);
        assert_eq!(variables(&["--detach", "--aws-environment"]), AwsVariables::Kept);
    }

    #[test]
    fn the_background_process_cannot_go_to_the_background_again() {
        assert!(Args::try_parse_from(["stormtunneld", "--detach", "--detached"]).is_err());
    }
}
