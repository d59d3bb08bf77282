//! `doctor` and `bugreport`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Finding out what is wrong.
#[derive(Debug, Subcommand)]
pub enum DoctorVerb {
    /// Look for what is wrong on this machine, and say what helps; exit code 1 when something fails
    ///
    /// Looks at the daemon, its files, the AWS files, sign-ins, credentials, clock, network, ports and this terminal's
    /// environment. It starts no daemon and asks nobody. docs/doctor.md has all checks.
    #[command(after_help = "Examples:\n  stctl doctor\n  stctl doctor --fix\n  stctl doctor -o json")]
    Doctor(DoctorArgs),
    /// Write one archive with what helps to find a fault, without secrets
    #[command(
        after_help = "Examples:\n  stctl bugreport\n  stctl bugreport --anonymous --file report.tar.gz"
    )]
    Bugreport(BugreportArgs),
}

/// `doctor`
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Close files and directories to others, and remove the socket of a daemon that is gone
    #[arg(long)]
    pub fix: bool,
}

/// `bugreport`
#[derive(Args, Debug)]
pub struct BugreportArgs {
    /// Where to write it; must not exist yet
    #[arg(long, value_name = "FILE", default_value = "stormtunnel-bugreport.tar.gz")]
    pub file: PathBuf,
    /// Replace names of tunnels and profiles, hosts and account ids
    #[arg(long)]
    pub anonymous: bool,
}
