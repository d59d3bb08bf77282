//! The grammar of `profiles` and `whoami`.

use clap::{Args, Subcommand};

/// What to ask about profiles.
#[derive(Debug, Subcommand)]
pub enum ProfileVerb {
    /// List the AWS profiles, and whether their credentials are good; exit code 0 even if some are not
    ///
    /// AWS is asked about a profile when the daemon starts, when the profile or its sign-in changes, and by `whoami`. Profiles
    /// that ask for an MFA code or run a program (credential_process) are checked by `whoami` only.
    #[command(after_help = "Examples:\n  stctl profiles\n  stctl profiles --watch\n  stctl profiles -o json")]
    Profiles(ProfilesArgs),
    /// Ask AWS whose credentials a profile has
    ///
    /// The profile is given by --profile, STCTL_PROFILE, AWS_PROFILE or the setting aws.default_profile; else it is the one called
    /// default. Exit codes: 0 the credentials are good, 4 login needed, 6 no such profile, 8 denied, 1 anything else.
    #[command(after_help = "Examples:\n  stctl whoami\n  stctl whoami --profile prod -o json")]
    Whoami,
}

/// `profiles`
#[derive(Args, Debug)]
pub struct ProfilesArgs {
    /// Keep printing changes as they happen
    #[arg(short, long)]
    pub watch: bool,
}
