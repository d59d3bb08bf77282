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
    /// In the browser of this machine, or with a code that any browser takes: that is chosen through SSH, in a container and
    /// where there is no display. While a login runs, another one joins it. Ctrl-C gives it up, unless somebody else waits for it.
    #[command(after_help = "Examples:\n  stctl sso login\n  stctl sso login corp --use-device-code\n  \
            stctl sso login --profile prod\n  \
            stctl sso login --start-url https://x.awsapps.com/start --sso-region eu-west-1")]
    Login(LoginArgs),
    /// Sign out here and in the AWS CLI; running tunnels stay until their session ends
    #[command(after_help = "Examples:\n  stctl sso logout corp\n  stctl sso logout --all --stop-tunnels")]
    Logout(LogoutArgs),
    /// Show sign-ins: 0 all are good, 4 a login is needed
    #[command(after_help = "Examples:\n  stctl sso status\n  stctl sso status corp -o json")]
    Status(SignInArgs),
    /// Renew a token now
    #[command(after_help = "Example:\n  stctl sso refresh corp")]
    Refresh(SignInArgs),
    /// Write an sso-session and profiles with its roles into the AWS config file
    ///
    /// Asks for what the flags do not say, where somebody is at the terminal: session, start URL, SSO region, scopes; then it
    /// signs in; then accounts and roles of which several may be chosen, region, output, and a name for each profile. --profile
    /// is the name where there is one role, --region the region of what the profiles are used for. The rest of the file stays as it is, comments too, and a copy of what it was lies beside it. What is there already and says
    /// something else is left alone unless you say so. A session that is new is written before the login, which needs it, and
    /// profiles at the end: until then Ctrl-C leaves no more than the session.
    #[command(after_help = "Examples:\n  \
            stctl sso configure\n  \
            stctl sso configure --session corp --profile prod\n  \
            stctl sso configure --session corp --role 111122223333:Dev --role 444455556666:Dev=dev\n  \
            stctl sso configure --session corp --role 111122223333:Dev=dev --region eu-west-1 --no-login")]
    Configure(ConfigureArgs),
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
    /// How.
    #[command(flatten)]
    pub way: LoginWay,
}

/// How a person signs in.
#[derive(Args, Debug)]
pub struct LoginWay {
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
    /// Name of the sso-session: of one that is there, which says all else about it, or of a new one
    #[arg(long, value_name = "NAME", value_parser = parse_session)]
    pub session: Option<SignInName>,
    /// Start URL of the access portal
    #[arg(long, value_name = "URL")]
    pub start_url: Option<StartUrl>,
    /// Region of the IAM Identity Center instance, which is not the region of the profiles
    #[arg(long, value_name = "REGION")]
    pub sso_region: Option<Region>,
    /// Scopes that logins ask for [default of a new session: sso:account:access]
    #[arg(long, value_name = "SCOPES", value_delimiter = ',')]
    pub scopes: Vec<SsoScope>,
    /// A role to make a profile for, named ROLE-ACCOUNT unless said otherwise; may be repeated
    #[arg(long = "role", value_name = "ACCOUNT:ROLE[=PROFILE]")]
    pub roles: Vec<RoleFlag>,
    /// What the AWS CLI prints for the profiles: json, yaml, yaml-stream, text, table or off
    #[arg(long, value_name = "FORM")]
    pub aws_output: Option<AwsOutput>,
    /// Change what is there already and says something else
    #[arg(long)]
    pub overwrite: bool,
    /// Only write: nobody signs in, and whether there are such roles is not looked up
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
    /// All of them
    #[arg(long, conflicts_with_all = ["name", "profile"])]
    pub all: bool,
    /// Stop the tunnels that live on it first; else they stay up as long as their sessions do
    #[arg(long)]
    pub stop_tunnels: bool,
}
