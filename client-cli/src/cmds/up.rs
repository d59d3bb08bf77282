//! `up`, `restart` and `down`: commands that set tunnels on their way and see them arrive.

use std::time::Duration;

use stormtunnel_model::Tunnel;
use stormtunnel_proto::calls::TunnelOutcome;
use stormtunnel_proto::{CallError, Client};
use tokio::time::Instant;

use super::{Ending, Reporter, conclude, selected};
use crate::cli::{DownArgs, Selection, UpArgs};
use crate::context::Context;
use crate::follow::{Follower, Goal, Progress, Settled, Verdict};
use crate::render::sentences;

/// What is asked of the daemon.
#[derive(Clone, Copy)]
enum Command {
    Start,
    Restart,
    Stop,
}

impl Command {
    async fn send(self, client: &Client, names: &[String]) -> Result<Vec<TunnelOutcome>, CallError> {
        match self {
            Self::Start => client.start_tunnels(names).await,
            Self::Restart => client.restart_tunnels(names).await,
            Self::Stop => client.stop_tunnels(names).await,
        }
    }
}

pub(super) async fn up(context: &mut Context<'_>, args: &UpArgs) -> Ending {
    start(context, args, Command::Start).await
}

pub(super) async fn restart(context: &mut Context<'_>, args: &UpArgs) -> Ending {
    start(context, args, Command::Restart).await
}

async fn start(context: &mut Context<'_>, args: &UpArgs, command: Command) -> Ending {
    let goal = if args.wait { Goal::UpPatiently } else { Goal::Up };
    let wait = (!args.no_wait).then_some(Wait { goal, timeout: args.timeout, arrived: sentences::is_up });
    set_going(context, &args.selection, command, wait, sentences::is_starting).await
}

pub(super) async fn down(context: &mut Context<'_>, args: &DownArgs) -> Ending {
    let wait = Wait { goal: Goal::Stopped, timeout: args.timeout, arrived: sentences::is_stopped };
    let wait = (!args.no_wait).then_some(wait);
    set_going(context, &args.selection, Command::Stop, wait, sentences::is_stopping).await
}

/// What to wait for, for how long, and what to say then.
struct Wait {
    goal: Goal,
    timeout: Duration,
    arrived: fn(&Tunnel) -> String,
}

async fn set_going(
    context: &mut Context<'_>,
    selection: &Selection,
    command: Command,
    wait: Option<Wait>,
    sent: fn(&Tunnel) -> String,
) -> Ending {
    let client = context.client().await?;
    let names = selected(&client, selection).await?;
    if names.is_empty() {
        context.out.note("there are no tunnels; `stctl tunnel add` makes one");
    }
    let settled = match wait {
        Some(Wait { goal, timeout, arrived }) => {
            let (follower, _) = Follower::subscribe(&client, Instant::now() + timeout).await?;
            let outcomes = command.send(&client, &names).await?;
            let mut reporter = Reporter { out: &mut context.out, success: arrived };
            follower.follow(outcomes, goal, &mut reporter).await?
        }
        None => {
            let settled: Vec<Settled> =
                command.send(&client, &names).await?.into_iter().map(Settled::of_command).collect();
            let mut reporter = Reporter { out: &mut context.out, success: sent };
            settled.iter().try_for_each(|settled| reporter.settled(settled))?;
            settled
        }
    };
    conclude(&mut context.out, &settled)
}

impl Settled {
    /// The command was taken; that is all that was asked.
    pub(super) fn of_command(outcome: TunnelOutcome) -> Self {
        let verdict = match outcome.outcome {
            Ok(tunnel) => Verdict::Reached(Box::new(tunnel)),
            Err(fault) => Verdict::Refused(fault),
        };
        Self { requested: outcome.requested, verdict }
    }

    /// The tunnel, where there is one.
    pub(crate) fn tunnel(&self) -> Option<&Tunnel> {
        match &self.verdict {
            Verdict::Reached(tunnel)
            | Verdict::Faulted(tunnel, _)
            | Verdict::Stopped(tunnel)
            | Verdict::TimedOut(tunnel) => Some(tunnel),
            Verdict::Removed(_) | Verdict::Refused(_) => None,
        }
    }
}
