//! The grammar of `sso`.

use std::str::FromStr;

use clap::{Args, Subcommand};
use stormtunnel_model::{
    AccountId, AwsOutput, InvalidName, LoginFlow, LoginWishes, Opener, Profile, Region, RoleName, SignInForm,
    SignInName, SsoScope, StartUrl,
};

/// What to do about sign-ins.
#[derive(Debug, Subcommand)]
pub enum SsoVerb {
    /// Sign in, once for all profiles of an sso-session
    ///
    /// Opens the browser of this machine, or shows a code for a browser elsewhere: over SSH, in a container, and if there is no
    /// display. A second login joins the first one. Ctrl-C cancels it, unless another command waits for it as well.
    #[command(after_help = "Examples:\n  stctl sso login\n  stctl sso login corp --use-device-code\n  \
            stctl sso login --profile prod --no-browser\n  stctl sso login --browser firefox\n  \
            stctl sso login --start-url https://x.awsapps.com/start \\\n    --sso-region eu-west-1")]
    Login(LoginArgs),
    /// Sign out here and in the AWS CLI; running tunnels stay up until their sessions end
    #[command(after_help = "Examples:\n  stctl sso logout corp\n  stctl sso logout --all --stop-tunnels")]
    Logout(LogoutArgs),
    /// Show sign-ins; exit code 4 if a login is needed
    #[command(after_help = "Examples:\n  stctl sso status\n  stctl sso status corp -o json")]
    Status(SignInArgs),
    /// Renew a token now
    #[command(after_help = "Example:\n  stctl sso refresh corp")]
    Refresh(SignInArgs),
    /// Write an sso-session and profiles with its roles into the AWS config file
    ///
    /// At a terminal it asks for what the flags leave open: session, start URL, SSO region and scopes; then you sign in; then
    /// accounts and roles, of which you may choose several, region, output format, and a name for each profile. --profile is the
    /// name if there is one role, --region the region that the profiles use. The rest of the file stays as it is, comments
    /// included, and a copy of the old file is kept beside it. Existing sections that say something else are left alone unless you
    /// say so. A new session is written before the login, which needs it, and the profiles at the end: until then, Ctrl-C leaves
    /// no more than the session.
    #[command(after_help = "Examples:\n  \
            stctl sso configure\n  \
            stctl sso configure --session corp --profile prod --use-device-code\n  \
            stctl sso configure --session corp --role 111122223333:Dev=dev --overwrite\n  \
            stctl sso configure --session corp --region eu-west-1 --aws-output json \\\n    \
                --role 111122223333:Dev=dev --role 444455556666:Dev --no-login\n  \
            stctl sso configure --session new --start-url https://x.awsapps.com/start \\\n    \
                --sso-region eu-west-1 --scopes sso:account:access --no-browser\n  \
            stctl sso configure --browser firefox")]
    Configure(ConfigureArgs),
}

/// Which sign-in.
#[derive(Args, Debug)]
pub struct SignInArgs {
    /// Name of the sso-session, or its start URL as configured; by default that of --profile, or the only one
    #[arg(value_name = "NAME", conflicts_with = "profile")]
    pub name: Option<SignInName>,
}

/// `sso login`
#[derive(Args, Debug)]
pub struct LoginArgs {
    /// Which sign-in.
    #[command(flatten)]
    pub sign_in: SignInArgs,
    /// Start URL to sign in at, whether or not a profile uses it
    #[arg(long, value_name = "URL", requires = "sso_region", conflicts_with_all = ["name", "profile"])]
    pub start_url: Option<SignInName>,
    /// Region of IAM Identity Center there, which may differ from that of the tunnels
    #[arg(long, value_name = "REGION", requires = "start_url")]
    pub sso_region: Option<Region>,
    /// How.
    #[command(flatten)]
    pub way: LoginWay,
}

/// How a person signs in.
#[derive(Args, Debug)]
pub struct LoginWay {
    /// Sign in with a code, in a browser on any machine
    #[arg(long)]
    pub use_device_code: bool,
    /// Do not open a browser, only print the address
    #[arg(long)]
    pub no_browser: bool,
    /// Open the address with this command instead of BROWSER or the system's browser
    #[arg(long, value_name = "COMMAND", conflicts_with = "no_browser")]
    pub browser: Option<String>,
}

impl LoginWay {
    /// What is wished; `usual` is what opens pages where nothing is said.
    pub(crate) fn wishes(&self, usual: impl FnOnce() -> Opener) -> LoginWishes {
        let opener = match &self.browser {
            _ if self.no_browser => Opener::Nobody,
            Some(command) => Opener::Command(command.clone()),
            None => usual(),
        };
        LoginWishes { flow: self.use_device_code.then_some(LoginFlow::DeviceCode), opener }
    }
}

/// `sso configure`
#[derive(Args, Debug)]
pub struct ConfigureArgs {
    /// Name of the sso-session, an existing or a new one
    #[arg(long, value_name = "NAME", value_parser = parse_session)]
    pub session: Option<SignInName>,
    /// Start URL of the access portal
    #[arg(long, value_name = "URL")]
    pub start_url: Option<StartUrl>,
    /// Region of IAM Identity Center, which may differ from that of the profiles
    #[arg(long, value_name = "REGION")]
    pub sso_region: Option<Region>,
    /// Scopes to request at login [default for a new session: sso:account:access]
    #[arg(long, value_name = "SCOPES", value_delimiter = ',')]
    pub scopes: Vec<SsoScope>,
    /// Role to make a profile for, named ROLE-ACCOUNT by default; may be repeated
    #[arg(long = "role", value_name = "ACCOUNT:ROLE[=PROFILE]")]
    pub roles: Vec<RoleFlag>,
    /// Output format of the AWS CLI for the profiles: json, yaml, yaml-stream, text, table or off
    #[arg(long, value_name = "FORM")]
    pub aws_output: Option<AwsOutput>,
    /// Change existing sections that say something else
    #[arg(long)]
    pub overwrite: bool,
    /// Only write the file: do not sign in, and do not check that the roles exist
    #[arg(long, requires = "roles", conflicts_with_all = ["use_device_code", "no_browser", "browser"])]
    pub no_login: bool,
    /// How to sign in, if that is needed.
    #[command(flatten)]
    pub way: LoginWay,
}

/// The name of a session, which is no address.
pub(crate) fn parse_session(text: &str) -> Result<SignInName, String> {
    let name: SignInName = text.parse().map_err(|error: InvalidName| error.to_string())?;
    match name.form() {
        SignInForm::Session(_) => Ok(name),
        SignInForm::StartUrl(_) => {
            Err(format!("\"{name}\" is an address: a session has a name such as corp"))
        }
    }
}

/// `ACCOUNT:ROLE[=PROFILE]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleFlag {
    /// The account.
    pub account: AccountId,
    /// The permission set.
    pub role: RoleName,
    /// How the profile is to be called.
    pub profile: Option<Profile>,
}

impl FromStr for RoleFlag {
    type Err = String;

    /// A permission set may have a "=" in its name, so the last one counts.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((account, rest)) = text.split_once(':') else {
            return Err("it has the form ACCOUNT:ROLE or ACCOUNT:ROLE=PROFILE".to_owned());
        };
        let (role, profile) = match rest.rsplit_once('=') {
            Some((role, profile)) => (role, Some(profile)),
            None => (rest, None),
        };
        let in_words = |error: InvalidName| error.to_string();
        Ok(Self {
            account: account.parse().map_err(in_words)?,
            role: role.parse().map_err(in_words)?,
            profile: profile.map(str::parse).transpose().map_err(in_words)?,
        })
    }
}

/// `sso logout`
#[derive(Args, Debug)]
pub struct LogoutArgs {
    /// Which sign-in.
    #[command(flatten)]
    pub sign_in: SignInArgs,
    /// All sign-ins
    #[arg(long, conflicts_with_all = ["name", "profile"])]
    pub all: bool,
    /// First stop the tunnels that use it; otherwise they stay up until their sessions end
    #[arg(long)]
    pub stop_tunnels: bool,
}
