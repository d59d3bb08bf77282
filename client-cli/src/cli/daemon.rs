//! The grammar of `daemon`.

use std::time::Duration;

use clap::Subcommand;

use super::times::parse_timeout;

/// What to do with the daemon.
#[derive(Debug, Subcommand)]
pub enum DaemonVerb {
    /// Run the daemon in this terminal, with the clean environment that it always gets
    #[command(after_help = "Example:\n  stctl daemon run")]
    Run,
    /// Show whether the daemon runs, its version and process, the service, paths and log
    #[command(after_help = "Example:\n  stctl daemon status")]
    Status,
    /// Start the daemon: the service, where it is installed
    #[command(after_help = "Example:\n  stctl daemon start")]
    Start,
    /// End all sessions and the daemon; started again, it brings the tunnels back
    #[command(after_help = "Example:\n  stctl daemon stop")]
    Stop {
        /// Longest wait, such as 30, 30s, 2m or 500ms
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_timeout)]
        timeout: Duration,
    },
    /// End the daemon and start it again
    #[command(after_help = "Example:\n  stctl daemon restart")]
    Restart,
    /// Have systemd or launchd run the daemon, at every login and after a crash; repeat it after an upgrade
    #[command(after_help = "Examples:\n  stctl daemon install\n  stctl daemon install --linger")]
    Install {
        /// Keep the daemon running after logout, and start it with the machine (Linux)
        #[arg(long)]
        linger: bool,
    },
    /// Undo `install`: end the daemon and remove the service
    #[command(after_help = "Examples:\n  stctl daemon uninstall\n  stctl daemon uninstall --purge")]
    Uninstall {
        /// Remove all tunnels, their history and the log, too; the settings stay
        #[arg(long)]
        purge: bool,
        /// Ask nothing
        #[arg(long, short = 'y')]
        yes: bool,
    },
    /// Show the daemon's log
    #[command(after_help = "Example:\n  stctl daemon logs -f")]
    Logs {
        /// Go on showing what is added
        #[arg(long, short = 'f')]
        follow: bool,
        /// How many of the last lines to show
        #[arg(long, short = 'n', value_name = "LINES", default_value_t = 100)]
        lines: u32,
    },
}
