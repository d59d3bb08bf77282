//! The grammar of `sso`.

use clap::{Args, Subcommand};
use stormtunnel_model::{Region, SignInName};

/// What to do about sign-ins.
#[derive(Debug, Subcommand)]
pub enum SsoVerb {
    /// Sign in, once for all profiles of an sso-session
    ///
    /// In the browser of this machine, or with a code that any browser takes: that is chosen through SSH, in a container and
    /// where there is no display. While a login runs, another one joins it. Ctrl-C gives it up, unless somebody else waits for it.
    #[command(after_help = "Examples:\n  stctl sso login\n  stctl sso login corp --use-device-code\n  \
            stctl sso login --profile prod\n  \
            stctl sso login --start-url https://x.awsapps.com/start --sso-region eu-west-1")]
    Login(LoginArgs),
    /// Sign out here and in the AWS CLI; running tunnels stay until their session ends
    #[command(after_help = "Examples:\n  stctl sso logout corp\n  stctl sso logout --all")]
    Logout(LogoutArgs),
    /// Show sign-ins: 0 all are good, 4 a login is needed
    #[command(after_help = "Examples:\n  stctl sso status\n  stctl sso status corp -o json")]
    Status(SignInArgs),
    /// Renew a token now
    #[command(after_help = "Example:\n  stctl sso refresh corp")]
    Refresh(SignInArgs),
}

/// Which sign-in.
#[derive(Args, Debug)]
pub struct SignInArgs {
    /// Name of the sso-session, or the start URL as it is configured; without it, that of --profile, else the only one
    #[arg(value_name = "NAME", conflicts_with = "profile")]
    pub name: Option<SignInName>,
}

/// `sso login`
#[derive(Args, Debug)]
pub struct LoginArgs {
    /// Which sign-in.
    #[command(flatten)]
    pub sign_in: SignInArgs,
    /// Start URL of a sign-in that no profile has to use
    #[arg(long, value_name = "URL", requires = "sso_region", conflicts_with_all = ["name", "profile"])]
    pub start_url: Option<SignInName>,
    /// Region of the IAM Identity Center instance there, which is not the region of tunnels
    #[arg(long, value_name = "REGION", requires = "start_url")]
    pub sso_region: Option<Region>,
    /// Sign in with a code, which a browser on any machine takes
    #[arg(long)]
    pub use_device_code: bool,
    /// Open no browser: only print the address
    #[arg(long)]
    pub no_browser: bool,
    /// Open the address with this command, in place of that in BROWSER or the system's browser
    #[arg(long, value_name = "COMMAND", conflicts_with = "no_browser")]
    pub browser: Option<String>,
}

/// `sso logout`
#[derive(Args, Debug)]
pub struct LogoutArgs {
    /// Which sign-in.
    #[command(flatten)]
    pub sign_in: SignInArgs,
    /// All of them
    #[arg(long, conflicts_with_all = ["name", "profile"])]
    pub all: bool,
}
