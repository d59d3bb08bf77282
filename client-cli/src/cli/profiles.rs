//! The grammar of `profiles` and `whoami`.

use clap::{Args, Subcommand};

/// What to ask about profiles.
#[derive(Debug, Subcommand)]
pub enum ProfileVerb {
    /// List the profiles of the AWS files: 0 also where some are invalid
    ///
    /// AWS is asked about each when the daemon starts, when its lines in the files or its sign-in change, and by `whoami`; not
    /// about one that asks for an MFA code or runs a program (credential_process), unless by `whoami`.
    #[command(after_help = "Examples:\n  stctl profiles\n  stctl profiles --watch\n  stctl profiles -o json")]
    Profiles(ProfilesArgs),
    /// Ask AWS who it takes a profile's credentials for: 0 they are good, 4 a login is needed, 6 no such profile, 8 denied, 1 else
    ///
    /// The profile is that of --profile, of STCTL_PROFILE, of AWS_PROFILE, of the setting aws.default_profile, or \"default\".
    #[command(after_help = "Examples:\n  stctl whoami\n  stctl whoami --profile prod -o json")]
    Whoami,
}

/// `profiles`
#[derive(Args, Debug)]
pub struct ProfilesArgs {
    /// Print each change as it happens, until interrupted
    #[arg(short, long)]
    pub watch: bool,
}
