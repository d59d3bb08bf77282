//! The grammar of the command line.

mod daemon;
mod doctor;
mod format;
mod manual;
mod profiles;
mod selection;
mod settings;
mod sso;
mod times;
mod tunnel;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use stormtunnel_model::{Profile, Reason, Region, Selector, Target, Ttl};

pub use self::daemon::DaemonVerb;
pub use self::doctor::{BugreportArgs, DoctorArgs, DoctorVerb};
pub use self::format::Format;
pub use self::manual::{ManualVerb, Shell};
pub use self::profiles::{ProfileVerb, ProfilesArgs};
pub use self::selection::{Filter, Selection};
pub use self::settings::SettingsVerb;
pub(crate) use self::sso::parse_session;
pub use self::sso::{ConfigureArgs, LoginArgs, LoginWay, LogoutArgs, RoleFlag, SignInArgs, SsoVerb};
use self::times::{parse_age, parse_timeout, parse_ttl};
pub use self::tunnel::{AddArgs, EditArgs, RmArgs, ShowArgs, TunnelVerb};

/// Keeps AWS Session Manager tunnels up.
#[derive(Debug, Parser)]
#[command(
    name = "stctl",
    version = env!("STORMTUNNEL_VERSION"),
    // It would not know the topics.
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = "Examples:\n  \
        stctl tunnel add db --target i-0abcdef12 --remote db.internal:5432 --up\n  \
        stctl targets --profile prod --region eu-west-1\n  \
        stctl ls --output wide --no-color\n  \
        stctl down --all --no-input\n  \
        stctl daemon run --socket /tmp/try/sock --state-dir /tmp/try \\\n    \
            --config /tmp/try/settings.toml\n\n\
        Topics, for `stctl help TOPIC`:\n  \
        exit-codes, selectors, targets, config, output\n\n\
        Exit codes:\n  \
        0 ok, 1 failure, 2 usage, 3 not up, 4 login needed, 5 daemon unreachable,\n  \
        6 not found, 7 conflict, 8 permission denied, 124 timeout, 130 interrupted"
)]
pub struct Cli {
    /// Flags that any command takes.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Flags that any command takes.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Path of the daemon's socket [env: STORMTUNNEL_SOCKET]
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// State directory, if the daemon has to be started [env: STORMTUNNEL_STATE_DIR]
    #[arg(long, global = true, value_name = "PATH")]
    pub state_dir: Option<PathBuf>,
    /// Settings file, if the daemon has to be started [env: STORMTUNNEL_CONFIG]
    #[arg(long, global = true, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// AWS profile, for `tunnel add`, `tunnel edit`, `targets`, `profiles`, `whoami` and `sso` [env: STCTL_PROFILE, AWS_PROFILE; `tunnel edit`, `profiles` and `sso configure` ignore them]
    #[arg(long, global = true, value_name = "PROFILE")]
    pub profile: Option<Profile>,
    /// AWS region, for `tunnel add`, `tunnel edit`, `targets` and `sso configure` [env: AWS_REGION, AWS_DEFAULT_REGION; `tunnel edit` and `sso configure` ignore them]
    #[arg(long, global = true, value_name = "REGION")]
    pub region: Option<Region>,
    /// Output format
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
    /// Print no colours [env: NO_COLOR, CLICOLOR=0; CLICOLOR_FORCE=1 prints them without a terminal, too]
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Ask no questions, not even at a terminal: the answers have to be given with flags [env: STCTL_NO_INPUT]
    #[arg(long, global = true)]
    pub no_input: bool,
}

impl Globals {
    /// The flag that means nothing to this verb.
    pub(crate) fn meaningless_flag(&self, verb: &Verb) -> Option<&'static str> {
        let profile = self.profile.as_ref().filter(|_| !verb.takes_profile()).map(|_| "--profile");
        profile.or_else(|| self.region.as_ref().filter(|_| !verb.takes_region()).map(|_| "--region"))
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make, change, show and remove tunnels
    #[command(subcommand, after_help = "Example:\n  stctl tunnel show db")]
    Tunnel(TunnelVerb),
    /// Start tunnels and wait until they are up
    ///
    /// If tunnels need an SSO login, you sign in once for all of them, and they go on. The command ends when each tunnel is
    /// up, or cannot come up without your help (a wrong instance id, a port in use): the daemon keeps trying.
    #[command(
        after_help = "Examples:\n  stctl up db\n  stctl up db cache --timeout 2m --wait\n  stctl up -l env=dev --no-wait\n  \
            stctl up prod-db --ttl 2h --reason INC-4711 --yes\n  stctl up --all --no-login"
    )]
    Up(UpArgs),
    /// Stop tunnels and wait until their sessions have ended
    ///
    /// At a terminal, --all and -l ask before they cut open connections.
    #[command(after_help = "Examples:\n  stctl down db\n  stctl down -l env=prod --timeout 2m\n  \
        stctl down --all --yes --no-wait")]
    Down(DownArgs),
    /// Give tunnels a new session; their local ports stay open
    ///
    /// At a terminal, --all and -l ask before they cut open connections.
    #[command(after_help = "Examples:\n  stctl restart db\n  stctl restart db cache --timeout 2m --wait\n  \
        stctl restart --all --yes --no-wait\n  stctl restart -l env=dev --no-login\n  \
        stctl restart prod-db --ttl 2h --reason INC-4711")]
    Restart(UpArgs),
    /// List tunnels
    #[command(
        visible_alias = "list",
        after_help = "Examples:\n  stctl ls\n  stctl ls -o wide\n  stctl ls -l env=prod,team\n  stctl ls --watch\n  stctl ls -o json"
    )]
    Ls(LsArgs),
    /// Show the state of tunnels; exit code 0 if they are up
    ///
    /// Exit codes: 0 up, 3 not up, 4 login needed, 6 no such tunnel. Stopped tunnels do not count unless they are named or
    /// selected by labels.
    #[command(after_help = "Examples:\n  stctl status\n  stctl status -l env=prod\n  \
        stctl status db && psql -h localhost -p 15432")]
    Status(StatusArgs),
    /// Print each change of a tunnel as it happens
    ///
    /// Without names and labels, this includes tunnels that are made later.
    #[command(
        after_help = "Examples:\n  stctl watch db\n  stctl watch -l env=prod\n  stctl watch -o json | jq .tunnel.status.state"
    )]
    Watch(WatchArgs),
    /// Show what happened to tunnels, oldest first
    ///
    /// The daemon keeps the newest 10000 events of the last 30 days, also of tunnels that are gone. A name means the
    /// tunnel that has it now; an earlier one is found by its id.
    #[command(after_help = "Examples:\n  stctl events db --since 1h\n  stctl events --follow\n  \
            stctl events -l env=prod --limit 500 -o json")]
    Events(EventsArgs),
    /// Explain the state of tunnels in words: what happened, why, and what comes next
    #[command(
        after_help = "Examples:\n  stctl explain db\n  stctl explain --all\n  stctl explain -l env=prod -o json"
    )]
    Explain(ExplainArgs),
    /// Show traffic, connections and reconnects, since each tunnel was made and since the daemon started
    #[command(after_help = "Examples:\n  stctl stats\n  stctl stats -l env=prod\n  stctl stats db -o json")]
    Stats(StatsArgs),
    /// List what tunnels can go through: instances, hybrid nodes and ECS containers, with the state of their agents
    ///
    /// Needs ec2:DescribeInstances, ssm:DescribeInstanceInformation, and for containers ecs:ListClusters, ecs:ListTasks and
    /// ecs:DescribeTasks; with only some of them the list is less complete, and says so. It covers the containers of at most
    /// 10 clusters and 100 tasks in each.
    #[command(after_help = "Examples:\n  \
        stctl targets\n  \
        stctl targets tag:Env=prod --profile prod --region eu-west-1\n  \
        stctl targets ecs-service:main/web\n  \
        stctl targets -o json")]
    Targets(TargetsArgs),
    /// Profiles of the AWS files.
    #[command(flatten)]
    Profile(ProfileVerb),
    /// Wait until tunnels are up
    ///
    /// Exit codes: 0 up, 3 blocked or stopped, 4 login needed, 6 no such tunnel, 124 timeout.
    #[command(after_help = "Examples:\n  stctl wait --all\n  stctl wait -l env=prod\n  \
        stctl wait db --timeout 30s && psql -h localhost -p 15432")]
    Wait(WaitArgs),
    /// Sign in to AWS with IAM Identity Center (SSO), once for all profiles and tunnels
    #[command(subcommand, after_help = "Example:\n  stctl sso login")]
    Sso(SsoVerb),
    /// Read and change the daemon's settings
    #[command(subcommand, after_help = "Example:\n  stctl settings get")]
    Settings(SettingsVerb),
    /// Finding out what is wrong.
    #[command(flatten)]
    Doctor(DoctorVerb),
    /// Install, start, stop and inspect the daemon
    #[command(subcommand, after_help = "Example:\n  stctl daemon status")]
    Daemon(DaemonVerb),
    /// The program itself.
    #[command(flatten)]
    Manual(ManualVerb),
}

impl Verb {
    /// Whether it goes on until somebody ends it.
    pub(crate) fn follows(&self) -> bool {
        match self {
            Self::Watch(_) => true,
            Self::Ls(args) => args.watch,
            Self::Events(args) => args.follow,
            Self::Profile(ProfileVerb::Profiles(args)) => args.watch,
            Self::Profile(ProfileVerb::Whoami)
            | Self::Tunnel(_)
            | Self::Up(_)
            | Self::Down(_)
            | Self::Restart(_)
            | Self::Status(_)
            | Self::Explain(_)
            | Self::Stats(_)
            | Self::Targets(_)
            | Self::Wait(_)
            | Self::Sso(_)
            | Self::Settings(_)
            | Self::Doctor(_)
            | Self::Daemon(_)
            | Self::Manual(_) => false,
        }
    }

    /// Whether `--profile` means something to it.
    fn takes_profile(&self) -> bool {
        self.takes_region() || matches!(self, Self::Sso(_) | Self::Profile(_))
    }

    /// Whether `--region` does.
    fn takes_region(&self) -> bool {
        match self {
            Self::Tunnel(TunnelVerb::Add(_) | TunnelVerb::Edit(_))
            | Self::Targets(_)
            | Self::Sso(SsoVerb::Configure(_)) => true,
            Self::Tunnel(TunnelVerb::Show(_) | TunnelVerb::Rm(_))
            | Self::Up(_)
            | Self::Down(_)
            | Self::Restart(_)
            | Self::Ls(_)
            | Self::Status(_)
            | Self::Watch(_)
            | Self::Events(_)
            | Self::Explain(_)
            | Self::Stats(_)
            | Self::Wait(_)
            | Self::Profile(_)
            | Self::Sso(SsoVerb::Login(_) | SsoVerb::Logout(_) | SsoVerb::Status(_) | SsoVerb::Refresh(_))
            | Self::Settings(_)
            | Self::Doctor(_)
            | Self::Daemon(_)
            | Self::Manual(_) => false,
        }
    }
}

/// `targets`
#[derive(Args, Debug)]
pub struct TargetsArgs {
    /// Show only what this target matches, in any form that `tunnel add --target` takes
    #[arg(value_name = "TARGET")]
    pub target: Option<Target>,
}

/// `ls`
#[derive(Args, Debug)]
pub struct LsArgs {
    /// Only tunnels with these labels: KEY=VALUE, KEY!=VALUE, KEY or !KEY, separated by commas
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<Selector>,
    /// Keep printing changes as they happen, as `watch` does
    #[arg(short, long)]
    pub watch: bool,
}

/// `up` and `restart`
#[derive(Args, Debug)]
pub struct UpArgs {
    /// Which tunnels.
    #[command(flatten)]
    pub selection: Selection,
    /// Reason for AWS's audit trail, for all sessions until the tunnel is stopped
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<Reason>,
    /// Stop by itself after this time, 1 minute to 30 days, such as 90m, 2h or 7d; another `up --ttl` renews it
    #[arg(long, value_name = "TIME", value_parser = parse_ttl)]
    pub ttl: Option<Ttl>,
    /// Do not ask for confirmation, not even of tunnels with the label "confirm"
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Do not sign in, even if a tunnel needs it; without a terminal that is never done
    #[arg(long)]
    pub no_login: bool,
    /// Keep waiting even if a tunnel cannot come up without your help
    #[arg(long, conflicts_with = "no_wait")]
    pub wait: bool,
    /// Do not wait
    #[arg(long, conflicts_with = "timeout")]
    pub no_wait: bool,
    /// Longest time to wait, such as 30, 30s, 2m or 500ms
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_timeout)]
    pub timeout: Duration,
}

/// `down`
#[derive(Args, Debug)]
pub struct DownArgs {
    /// Which tunnels.
    #[command(flatten)]
    pub selection: Selection,
    /// Do not ask before open connections are cut
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Do not wait
    #[arg(long, conflicts_with = "timeout")]
    pub no_wait: bool,
    /// Longest time to wait, such as 30, 30s, 2m or 500ms
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_timeout)]
    pub timeout: Duration,
}

/// `status`
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// Which tunnels; of all, stopped ones do not count as failed.
    #[command(flatten)]
    pub filter: Filter,
}

/// `watch`
#[derive(Args, Debug)]
pub struct WatchArgs {
    /// Which tunnels; without any, those made later too.
    #[command(flatten)]
    pub filter: Filter,
}

/// `events`
#[derive(Args, Debug)]
pub struct EventsArgs {
    /// Which tunnels, also ones that are gone. The daemon's own events are always shown.
    #[command(flatten)]
    pub filter: Filter,
    /// Keep printing events as they happen
    #[arg(short, long)]
    pub follow: bool,
    /// Only events of the last TIME, such as 90s, 1h or 7d
    #[arg(long, value_name = "TIME", value_parser = parse_age)]
    pub since: Option<Duration>,
    /// Print at most this many events, the newest ones
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

/// `explain`
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// Which tunnels.
    #[command(flatten)]
    pub selection: Selection,
}

/// `stats`
#[derive(Args, Debug)]
pub struct StatsArgs {
    /// Which tunnels.
    #[command(flatten)]
    pub filter: Filter,
}

/// `wait`
#[derive(Args, Debug)]
pub struct WaitArgs {
    /// Which tunnels.
    #[command(flatten)]
    pub selection: Selection,
    /// Longest time to wait, such as 30, 30s, 2m or 500ms
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_timeout)]
    pub timeout: Duration,
}

#[cfg(test)]
mod tests;
