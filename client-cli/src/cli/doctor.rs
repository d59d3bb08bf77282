//! `doctor` and `bugreport`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Finding out what is wrong.
#[derive(Debug, Subcommand)]
pub enum DoctorVerb {
    /// Check this machine for problems and say how to fix them; exit code 1 if a check fails
    ///
    /// Looks at the daemon, its files, the AWS files, sign-ins, credentials, clock, network, ports and this terminal's
    /// environment. It does not start the daemon and asks no questions. docs/doctor.md lists all checks.
    #[command(after_help = "Examples:\n  stctl doctor\n  stctl doctor --fix\n  stctl doctor -o json")]
    Doctor(DoctorArgs),
    /// Write an archive for a bug report, without secrets
    #[command(
        after_help = "Examples:\n  stctl bugreport\n  stctl bugreport --anonymous --file report.tar.gz"
    )]
    Bugreport(BugreportArgs),
}

/// `doctor`
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Fix what is safe to fix: files and directories open to others, and the socket of a daemon that is gone
    #[arg(long)]
    pub fix: bool,
}

/// `bugreport`
#[derive(Args, Debug)]
pub struct BugreportArgs {
    /// File to write; it must not exist yet
    #[arg(long, value_name = "FILE", default_value = "stormtunnel-bugreport.tar.gz")]
    pub file: PathBuf,
    /// Replace the names of tunnels and profiles, hosts and account ids
    #[arg(long)]
    pub anonymous: bool,
}
