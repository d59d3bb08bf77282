//! The grammar of `daemon`.

use std::time::Duration;

use clap::Subcommand;

use super::times::parse_timeout;

/// What to do with the daemon.
#[derive(Debug, Subcommand)]
pub enum DaemonVerb {
    /// Run the daemon in the foreground, in this terminal
    #[command(after_help = "Example:\n  stctl daemon run")]
    Run,
    /// Show whether the daemon runs, its version and process, the service, paths and log
    #[command(after_help = "Example:\n  stctl daemon status")]
    Status,
    /// Start the daemon, as a service if it is installed as one
    #[command(after_help = "Example:\n  stctl daemon start")]
    Start,
    /// Stop the daemon and end all sessions; when it starts again, so do the tunnels
    #[command(after_help = "Examples:\n  stctl daemon stop\n  stctl daemon stop --timeout 2m")]
    Stop {
        /// Longest time to wait, such as 30, 30s, 2m or 500ms
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_timeout)]
        timeout: Duration,
    },
    /// Stop the daemon and start it again
    #[command(after_help = "Example:\n  stctl daemon restart")]
    Restart,
    /// Have systemd or launchd run the daemon, from login on and after a crash; repeat after an upgrade
    #[command(after_help = "Examples:\n  stctl daemon install\n  stctl daemon install --linger")]
    Install {
        /// Keep the daemon running after logout, and start it with the machine (Linux)
        #[arg(long)]
        linger: bool,
    },
    /// Undo `install`: stop the daemon and remove the service
    #[command(after_help = "Examples:\n  stctl daemon uninstall\n  stctl daemon uninstall --purge --yes")]
    Uninstall {
        /// Also remove all tunnels, their history and the log; the settings stay
        #[arg(long)]
        purge: bool,
        /// Do not ask for confirmation; required with --purge if there is no terminal
        #[arg(long, short = 'y')]
        yes: bool,
    },
    /// Show the daemon's log
    #[command(after_help = "Examples:\n  stctl daemon logs -f\n  stctl daemon logs --lines 1000")]
    Logs {
        /// Keep printing what is added
        #[arg(long, short = 'f')]
        follow: bool,
        /// Number of last lines to print
        #[arg(long, short = 'n', value_name = "LINES", default_value_t = 100)]
        lines: u32,
    },
}
