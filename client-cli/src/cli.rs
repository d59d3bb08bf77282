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

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use stormtunnel_model::{
    Keep, Label, LocalEndpoint, Profile, Reason, Region, RemoteEndpoint, Selector, SessionCount, Target, Ttl,
    TunnelName,
};

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

/// Keeps AWS Session Manager tunnels up.
#[derive(Debug, Parser)]
#[command(
    name = "stctl",
    version = env!("STORMTUNNEL_VERSION"),
    // It would not know the topics.
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = "Example:\n  \
        stctl tunnel add db --target i-0abcdef12 --remote db.internal:5432 --up\n\n\
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
    /// Socket of the daemon [env: STORMTUNNEL_SOCKET]
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// State directory for a daemon that is started [env: STORMTUNNEL_STATE_DIR]
    #[arg(long, global = true, value_name = "PATH")]
    pub state_dir: Option<PathBuf>,
    /// Settings file for a daemon that is started [env: STORMTUNNEL_CONFIG]
    #[arg(long, global = true, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// AWS profile, for `tunnel add`, `tunnel edit`, `targets`, `profiles`, `whoami` and `sso` [env, not for `edit`, `profiles` and `configure`: STCTL_PROFILE, AWS_PROFILE]
    #[arg(long, global = true, value_name = "PROFILE")]
    pub profile: Option<Profile>,
    /// AWS region, for `tunnel add`, `tunnel edit`, `targets` and `sso configure` [env, not for `edit` and `configure`: AWS_REGION, AWS_DEFAULT_REGION]
    #[arg(long, global = true, value_name = "REGION")]
    pub region: Option<Region>,
    /// Form of the output
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
    /// No colours [env: NO_COLOR, CLICOLOR=0; CLICOLOR_FORCE=1 asks for them also without a terminal]
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Ask nothing, also in a terminal: what has to be known or confirmed is said with flags [env: STCTL_NO_INPUT]
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
    /// A tunnel that needs an SSO login has somebody at this terminal sign in, once for all that do, and goes on. Ends when each tunnel is up, or cannot come up by itself, or waits for something that a person can mend
    /// (a wrong instance id, a port in use): the daemon goes on trying.
    #[command(
        after_help = "Examples:\n  stctl up db\n  stctl up db cache --timeout 2m\n  stctl up -l env=dev --no-wait\n  \
            stctl up prod-db --ttl 2h --reason INC-4711"
    )]
    Up(UpArgs),
    /// Stop tunnels and wait until their sessions have ended
    #[command(after_help = "Examples:\n  stctl down db\n  stctl down -l env=prod")]
    Down(DownArgs),
    /// Give tunnels a new session; their local ports stay open
    #[command(after_help = "Example:\n  stctl restart db")]
    Restart(UpArgs),
    /// List tunnels
    #[command(
        visible_alias = "list",
        after_help = "Examples:\n  stctl ls\n  stctl ls -o wide\n  stctl ls -l env=prod,team\n  stctl ls -o json"
    )]
    Ls(LsArgs),
    /// Show how tunnels are; the exit code tells whether they are up
    #[command(after_help = "Example:\n  stctl status db && psql -h localhost -p 15432")]
    Status(StatusArgs),
    /// Print each change of tunnels as it happens
    ///
    /// Without names and labels also of tunnels that are made later.
    #[command(after_help = "Examples:\n  stctl watch db\n  stctl watch -o json | jq .tunnel.status.state")]
    Watch(WatchArgs),
    /// Show what happened to tunnels, oldest first
    ///
    /// The daemon keeps the newest 10000 events of the last 30 days, also of tunnels that are gone. A name means the
    /// tunnel that has it now; an earlier one is found by its id.
    #[command(
        after_help = "Examples:\n  stctl events db --since 1h\n  stctl events --follow\n  stctl events -o json --limit 500"
    )]
    Events(EventsArgs),
    /// Tell in words how a tunnel is: what happened, why, and what comes next
    #[command(after_help = "Example:\n  stctl explain db")]
    Explain(ExplainArgs),
    /// Show what tunnels carried and went through, since they were made and since the daemon started
    #[command(after_help = "Examples:\n  stctl stats\n  stctl stats db -o json")]
    Stats(StatsArgs),
    /// List what tunnels can go through: instances, hybrid nodes and ECS containers, with the state of their agents
    ///
    /// Needs ec2:DescribeInstances, ssm:DescribeInstanceInformation, and for containers ecs:ListClusters, ecs:ListTasks and
    /// ecs:DescribeTasks; with some of them the list is less complete, and says so. Of containers it holds those of 10
    /// clusters and of 100 tasks in each.
    #[command(after_help = "Examples:\n  \
        stctl targets\n  \
        stctl targets tag:Env=prod --profile prod --region eu-west-1\n  \
        stctl targets ecs-service:main/web\n  \
        stctl targets -o json")]
    Targets(TargetsArgs),
    /// Profiles of the AWS files.
    #[command(flatten)]
    Profile(ProfileVerb),
    /// Wait until tunnels are up: 0 up, 3 blocked or stopped, 4 login needed, 124 timeout
    #[command(after_help = "Example:\n  stctl wait db --timeout 30s && psql -h localhost -p 15432")]
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
    /// The daemon itself
    #[command(subcommand, after_help = "Example:\n  stctl daemon status")]
    Daemon(DaemonVerb),
    /// The program itself.
    #[command(flatten)]
    Manual(ManualVerb),
}

impl Verb {
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

/// What to do with the description of a tunnel.
#[derive(Debug, Subcommand)]
pub enum TunnelVerb {
    /// Make a tunnel
    #[command(after_help = "Examples:\n  \
        stctl tunnel add db --target i-0abcdef12 --remote db.internal:5432 --local 15432\n  \
        stctl tunnel add web --target i-0abcdef12 --remote 8080 --up\n  \
        stctl tunnel add db --target tag:Role=bastion,Env=prod --remote db.internal:5432\n  \
        stctl tunnel add db --target ecs-service:main/web --remote db.internal:5432")]
    Add(AddArgs),
    /// Change a tunnel
    #[command(after_help = "Example:\n  stctl tunnel edit db --local 25432")]
    Edit(EditArgs),
    /// Show a tunnel
    #[command(after_help = "Example:\n  stctl tunnel show db -o yaml")]
    Show(ShowArgs),
    /// End and forget tunnels
    #[command(after_help = "Examples:\n  stctl tunnel rm db\n  stctl tunnel rm --all --yes")]
    Rm(RmArgs),
}

/// `tunnel add`
#[derive(Args, Debug)]
pub struct AddArgs {
    /// Name: a to z, 0 to 9 and "-", at most 63 characters
    pub name: TunnelName,
    /// Where to go through: i-…, name:VALUE, tag:KEY=VALUE, asg:NAME, ip:ADDRESS, … (see --help)
    ///
    /// A node by its id: an instance (i-…), a hybrid node (mi-…) or an ECS container (ecs:CLUSTER_TASK_RUNTIME). Or what
    /// to look for, at each new session anew: name:VALUE (the tag Name), tag:KEY=VALUE[,KEY=VALUE] (all of them),
    /// asg:NAME (an Auto Scaling group), ip:10.0.1.2 (the private address) or dns:NAME (the private DNS name) for an
    /// instance; ecs-service:CLUSTER/SERVICE[/CONTAINER] or ecs-task:CLUSTER/TASK[/CONTAINER] for an ECS container, whose
    /// task has to run with ECS Exec. CONTAINER is needed where a task has several. Of several running ones one whose
    /// agent is online is taken, the newest first, and another one when that fails. `stctl targets` lists what there is.
    #[arg(long, value_name = "TARGET")]
    pub target: Target,
    /// Where to lead; without a host, a port of the target itself
    #[arg(long, value_name = "[HOST:]PORT")]
    pub remote: RemoteEndpoint,
    /// Where to listen; "auto" lets the system choose a port, which is then kept; unix:PATH is a Unix socket
    #[arg(long, value_name = "[ADDRESS:]PORT|auto|unix:PATH", default_value = "auto")]
    pub local: LocalEndpoint,
    /// Let other machines connect to a local address that is not loopback
    #[arg(long)]
    pub allow_non_loopback: bool,
    /// A label to tell it apart by; may be repeated. With the label "confirm" its start has to be confirmed
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<Label>,
    /// When to hold a session that nobody uses: "auto" connects at `up`, and after the service's idle close at the next
    /// connection; "warm" always; "on-demand" not before the first connection
    #[arg(long, value_name = "auto|warm|on-demand", default_value = "auto")]
    pub keep: Keep,
    /// Over how many SSM sessions to spread connections, 1 to 8; the agent limits each to about 1 MB/s
    #[arg(long, value_name = "N", default_value = "1")]
    pub sessions: SessionCount,
    /// Why it is used, for AWS's audit trail, unless `up` says another reason
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<Reason>,
    /// How long it runs before it stops by itself, 1 minute to 30 days, unless `up` says another time
    #[arg(long, value_name = "TIME", value_parser = parse_ttl)]
    pub ttl: Option<Ttl>,
    /// Start it and wait until it is up
    #[arg(long)]
    pub up: bool,
    /// Confirm its start, where a label asks for that
    #[arg(long, requires = "up")]
    pub yes: bool,
}

/// `targets`
#[derive(Args, Debug)]
pub struct TargetsArgs {
    /// Only what this target stands for, in any form that `tunnel add --target` takes
    #[arg(value_name = "TARGET")]
    pub target: Option<Target>,
}

/// `tunnel edit`
#[derive(Args, Debug)]
pub struct EditArgs {
    /// Name or id of the tunnel
    #[arg(value_name = "NAME")]
    pub tunnel: String,
    /// New name
    #[arg(long, value_name = "NAME")]
    pub rename: Option<TunnelName>,
    /// New target, as for `tunnel add`
    #[arg(long, value_name = "TARGET")]
    pub target: Option<Target>,
    /// New remote end
    #[arg(long, value_name = "[HOST:]PORT")]
    pub remote: Option<RemoteEndpoint>,
    /// New local end
    #[arg(long, value_name = "[ADDRESS:]PORT|auto|unix:PATH")]
    pub local: Option<LocalEndpoint>,
    /// Go back to the daemon's default profile
    #[arg(long, conflicts_with = "profile")]
    pub no_profile: bool,
    /// Go back to the profile's region
    #[arg(long, conflicts_with = "region")]
    pub no_region: bool,
    /// Whether other machines may connect
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub allow_non_loopback: Option<bool>,
    /// New label, in place of all that there are; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<Label>,
    /// When to hold a session that nobody uses
    #[arg(long, value_name = "auto|warm|on-demand")]
    pub keep: Option<Keep>,
    /// Over how many SSM sessions to spread connections, 1 to 8
    #[arg(long, value_name = "N")]
    pub sessions: Option<SessionCount>,
    /// New reason; counts when it is started after a stop
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<Reason>,
    /// Take the reason away
    #[arg(long, conflicts_with = "reason")]
    pub no_reason: bool,
    /// New time to run; counts from the next `up` on
    #[arg(long, value_name = "TIME", value_parser = parse_ttl)]
    pub ttl: Option<Ttl>,
    /// No time from now on; an end that is set already stays until it is stopped
    #[arg(long, conflicts_with = "ttl")]
    pub no_ttl: bool,
    /// Take all labels away
    #[arg(long, conflicts_with = "labels")]
    pub no_labels: bool,
    /// Only tell what the change would do
    #[arg(long)]
    pub dry_run: bool,
}

/// `tunnel show`
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// Name or id of the tunnel
    #[arg(value_name = "NAME")]
    pub tunnel: String,
}

/// `tunnel rm`
#[derive(Args, Debug)]
pub struct RmArgs {
    /// Which tunnels.
    #[command(flatten)]
    pub selection: Selection,
    /// Do not ask; needed for --all and -l where nobody can be asked
    #[arg(long)]
    pub yes: bool,
}

/// `ls`
#[derive(Args, Debug)]
pub struct LsArgs {
    /// Only tunnels with these labels: KEY=VALUE, KEY!=VALUE, KEY or !KEY, with commas between
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<Selector>,
}

/// `up` and `restart`
#[derive(Args, Debug)]
pub struct UpArgs {
    /// Which tunnels.
    #[command(flatten)]
    pub selection: Selection,
    /// Why, for AWS's audit trail: for the sessions from now on until the tunnel is stopped
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<Reason>,
    /// Stop it by itself after this time, 1 minute to 30 days, such as 90m, 2h or 7d; another `up --ttl` renews it
    #[arg(long, value_name = "TIME", value_parser = parse_ttl)]
    pub ttl: Option<Ttl>,
    /// Confirm the start of tunnels whose label "confirm" asks for that
    #[arg(long)]
    pub yes: bool,
    /// Do not sign in where a tunnel needs that; without a terminal nobody does
    #[arg(long)]
    pub no_login: bool,
    /// Keep waiting also while a tunnel waits for something that a person can mend
    #[arg(long, conflicts_with = "no_wait")]
    pub wait: bool,
    /// Do not wait at all
    #[arg(long, conflicts_with = "timeout")]
    pub no_wait: bool,
    /// Longest wait, such as 30, 30s, 2m or 500ms
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_timeout)]
    pub timeout: Duration,
}

/// `down`
#[derive(Args, Debug)]
pub struct DownArgs {
    /// Which tunnels.
    #[command(flatten)]
    pub selection: Selection,
    /// Do not wait
    #[arg(long, conflicts_with = "timeout")]
    pub no_wait: bool,
    /// Longest wait, such as 30, 30s, 2m or 500ms
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_timeout)]
    pub timeout: Duration,
}

/// `status`
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// Names or ids; without any, all tunnels, of which stopped ones do not count as failed
    #[arg(value_name = "NAME")]
    pub tunnels: Vec<String>,
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
    /// Go on with each event as it happens
    #[arg(short, long)]
    pub follow: bool,
    /// Only events of the last time span, such as 90s, 1h or 7d
    #[arg(long, value_name = "TIME", value_parser = parse_age)]
    pub since: Option<Duration>,
    /// At most this many, the newest
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

/// `explain`
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// Name or id of the tunnel
    #[arg(value_name = "NAME")]
    pub tunnel: String,
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
    /// Longest wait, such as 30, 30s, 2m or 500ms
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_timeout)]
    pub timeout: Duration,
}

#[cfg(test)]
mod tests;
