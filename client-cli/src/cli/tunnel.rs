//! The grammar of `tunnel`.

use clap::{Args, Subcommand};
use stormtunnel_model::{
    Keep, Label, LocalEndpoint, Reason, RemoteEndpoint, SessionCount, Target, Ttl, TunnelName,
};

use super::Selection;
use super::times::parse_ttl;

/// What to do with the description of a tunnel.
#[derive(Debug, Subcommand)]
pub enum TunnelVerb {
    /// Make a tunnel
    #[command(after_help = "Examples:\n  \
        stctl tunnel add db --target i-0abcdef12 --remote db:5432 --local 15432\n  \
        stctl tunnel add web --target i-0abcdef12 --remote 8080 --up\n  \
        stctl tunnel add db --target tag:Role=bastion,Env=prod --remote db:5432\n  \
        stctl tunnel add db --target ecs-service:main/web --remote db:5432\n  \
        stctl tunnel add web --target asg:web --remote 80 --keep warm --sessions 4\n  \
        stctl tunnel add prod --target name:bastion --remote db:5432 \\\n    \
            --label env=prod --label confirm=true --reason INC-4711 --ttl 2h --up --yes\n  \
        stctl tunnel add web --target name:web --remote 80 \\\n    \
            --local 0.0.0.0:8080 --allow-non-loopback")]
    Add(AddArgs),
    /// Change tunnels
    #[command(after_help = "Examples:\n  \
        stctl tunnel edit db --local 25432 --dry-run\n  \
        stctl tunnel edit db --rename pg --remote db.internal:5433\n  \
        stctl tunnel edit db --target name:bastion --profile prod --no-region\n  \
        stctl tunnel edit -l env=dev --keep warm --sessions 4 --no-profile --yes\n  \
        stctl tunnel edit --all --reason routine --ttl 8h --label team=data\n  \
        stctl tunnel edit db --no-reason --no-ttl --no-labels\n  \
        stctl tunnel edit db --allow-non-loopback=false")]
    Edit(EditArgs),
    /// Show tunnels with all their details
    #[command(after_help = "Examples:\n  stctl tunnel show db -o yaml\n  stctl tunnel show --all\n  \
        stctl tunnel show -l env=prod -o json")]
    Show(ShowArgs),
    /// Stop tunnels and remove them
    #[command(after_help = "Examples:\n  stctl tunnel rm db\n  stctl tunnel rm --all --yes\n  \
        stctl tunnel rm -l env=dev")]
    Rm(RmArgs),
}

/// `tunnel add`
#[derive(Args, Debug)]
pub struct AddArgs {
    /// Name: a to z, 0 to 9 and "-", at most 63 characters
    pub name: TunnelName,
    /// What to go through: i-…, name:VALUE, tag:KEY=VALUE, asg:NAME, ip:ADDRESS, … (see --help)
    ///
    /// Either the id of a node: an instance (i-…), a hybrid node (mi-…) or an ECS container (ecs:CLUSTER_TASK_RUNTIME). Or
    /// what to look for whenever a session is opened: name:VALUE (the tag Name), tag:KEY=VALUE[,KEY=VALUE] (all of them),
    /// asg:NAME (an Auto Scaling group), ip:10.0.1.2 (the private address) or dns:NAME (the private DNS name) for an
    /// instance; ecs-service:CLUSTER/SERVICE[/CONTAINER] or ecs-task:CLUSTER/TASK[/CONTAINER] for an ECS container, whose
    /// task has to run with ECS Exec. CONTAINER is needed if a task has several. If several are running, the newest one
    /// whose agent is online is taken, and another one if that fails. `stctl targets` lists what there is.
    #[arg(long, value_name = "TARGET")]
    pub target: Target,
    /// Where it leads; without HOST, to a port of the target itself
    #[arg(long, value_name = "[HOST:]PORT")]
    pub remote: RemoteEndpoint,
    /// Where to listen; "auto" lets the system choose a port, which is then kept; unix:PATH is a Unix socket
    #[arg(long, value_name = "[ADDRESS:]PORT|auto|unix:PATH", default_value = "auto")]
    pub local: LocalEndpoint,
    /// Allow a local address that other machines can connect to
    #[arg(long)]
    pub allow_non_loopback: bool,
    /// Label to select it by; may be repeated. With the label "confirm", each start has to be confirmed
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<Label>,
    /// When to keep a session that has no connections: "auto" opens one at `up`, and once AWS has closed it as idle, at the
    /// next connection; "warm" always has one; "on-demand" opens it at the first connection
    #[arg(long, value_name = "auto|warm|on-demand", default_value = "auto")]
    pub keep: Keep,
    /// Number of SSM sessions to spread connections over, 1 to 8; the agent limits each to about 1 MB/s
    #[arg(long, value_name = "N", default_value = "1")]
    pub sessions: SessionCount,
    /// Reason for AWS's audit trail, unless `up` gives another one
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<Reason>,
    /// Stop it by itself after this time, 1 minute to 30 days, such as 90m, 2h or 7d, unless `up` gives another one
    #[arg(long, value_name = "TIME", value_parser = parse_ttl)]
    pub ttl: Option<Ttl>,
    /// Start it and wait until it is up
    #[arg(long)]
    pub up: bool,
    /// Confirm its start, if a label asks for that
    #[arg(long, short = 'y', requires = "up")]
    pub yes: bool,
}

/// `tunnel edit`
#[derive(Args, Debug)]
pub struct EditArgs {
    /// Which tunnels.
    #[command(flatten)]
    pub selection: Selection,
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
    /// New label, in place of all present ones; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<Label>,
    /// When to keep a session that has no connections, as for `tunnel add`
    #[arg(long, value_name = "auto|warm|on-demand")]
    pub keep: Option<Keep>,
    /// Number of SSM sessions to spread connections over, 1 to 8
    #[arg(long, value_name = "N")]
    pub sessions: Option<SessionCount>,
    /// New reason; takes effect at the next start after a stop
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<Reason>,
    /// Remove the reason
    #[arg(long, conflicts_with = "reason")]
    pub no_reason: bool,
    /// New time to run, such as 90m, 2h or 7d; takes effect at the next `up`
    #[arg(long, value_name = "TIME", value_parser = parse_ttl)]
    pub ttl: Option<Ttl>,
    /// Run without a limit; an end that is already set stays until the tunnel is stopped
    #[arg(long, conflicts_with = "ttl")]
    pub no_ttl: bool,
    /// Remove all labels
    #[arg(long, conflicts_with = "labels")]
    pub no_labels: bool,
    /// Only say what the change would do
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask for confirmation; required with --all and -l if there is no terminal
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// `tunnel show`
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// Which tunnels.
    #[command(flatten)]
    pub selection: Selection,
}

/// `tunnel rm`
#[derive(Args, Debug)]
pub struct RmArgs {
    /// Which tunnels.
    #[command(flatten)]
    pub selection: Selection,
    /// Do not ask for confirmation; required with --all and -l if there is no terminal
    #[arg(long, short = 'y')]
    pub yes: bool,
}
