//! `up`, `restart` and `down`: commands that set tunnels on their way and see them arrive.

use std::time::Duration;

use stormtunnel_model::{StartOptions, Tunnel, TunnelSpec};
use stormtunnel_proto::calls::{StartTunnels, TunnelOutcome};
use stormtunnel_proto::{CallError, Client};

use super::confirm::Deed;
use super::logins::{self, Again};
use super::{Ending, Reporter, chosen, conclude, confirm, selected};
use crate::cli::{DownArgs, Selection, UpArgs};
use crate::context::Context;
use crate::exit::Failure;
use crate::follow::{Follower, Goal, Limit, Progress, Settled, Verdict};
use crate::output::Output;
use crate::render::sentences;

/// Longest wait for tunnels that are stopped on the way to something else: what `down` waits.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

const STOP: Deed = Deed { verb: "stop", noun: "stopping", done: "stopped" };
const RESTART: Deed = Deed { verb: "reconnect", noun: "reconnecting", done: "reconnected" };

/// What is asked of the daemon. Both are answered when they are under way.
#[derive(Clone, Copy)]
enum Command {
    Start,
    Restart,
}

impl Command {
    async fn send(self, client: &Client, start: StartTunnels) -> Result<Vec<TunnelOutcome>, CallError> {
        match self {
            Self::Start => client.start_tunnels(start).await,
            Self::Restart => client.restart_tunnels(start).await,
        }
    }

    /// What is said to whoever does not wait for its end.
    fn goes_on(self) -> &'static str {
        match self {
            Self::Start => {
                "the daemon goes on starting them; `stctl ls` shows how far they are, `stctl down` stops them"
            }
            Self::Restart => "the daemon goes on restarting them; `stctl ls` shows how far they are",
        }
    }

    /// As it stands in a question.
    fn verb(self) -> &'static str {
        match self {
            Self::Start => "connect",
            Self::Restart => "reconnect",
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
    let client = context.client().await?;
    let (selection, confirmed) = confirmed(context, &client, args, command).await?;
    let options = StartOptions { confirmed, reason: args.reason.clone(), ttl: args.ttl };
    if args.no_wait {
        let tunnels = selected(&client, &selection).await?;
        tell_if_none(&mut context.out, &tunnels);
        let outcomes = command.send(&client, StartTunnels { tunnels, options }).await?;
        context.goes_on = command.goes_on();
        return taken(&mut context.out, outcomes, sentences::is_starting);
    }
    // Programs get what there is, and sign in and type codes themselves.
    let attended = context.has_person() && context.out.format.is_for_people();
    let desk = if attended { context.desk(&client).await } else { None };
    let (follower, tunnels) = Follower::subscribe(&client, Limit::Wait(args.timeout)).await?;
    let follower = follower.attended(desk);
    let tunnels = names(&chosen(&selection, tunnels)?);
    tell_if_none(&mut context.out, &tunnels);
    let outcomes = follower.answer(command.send(&client, StartTunnels { tunnels, options })).await?;
    context.goes_on = command.goes_on();
    let goal = if args.wait { Goal::UpPatiently } else { Goal::Up };
    let logs_in = !args.no_login && attended;
    let mut reporter = Reporter::new(&mut context.out, sentences::is_up, logs_in);
    let mut settled = follower.follow(outcomes, goal, &mut reporter).await?;
    drop(reporter);
    context.out.give_up_question();
    if logs_in {
        let options = StartOptions { confirmed, reason: args.reason.clone(), ttl: args.ttl };
        let again = Again { options, goal, timeout: args.timeout };
        logins::carry_on(context, &client, &mut settled, again).await?;
    }
    conclude(&mut context.out, &settled)
}

/// Asks, before the time that the command may take begins. What was asked about is what is started, whatever is labelled
/// meanwhile.
async fn confirmed(
    context: &mut Context<'_>,
    client: &Client,
    args: &UpArgs,
    command: Command,
) -> Result<(Selection, bool), Failure> {
    if args.yes || !context.has_person() {
        return Ok((args.selection.clone(), args.yes));
    }
    let chosen = chosen(&args.selection, client.list_tunnels().await?)?;
    let tunnels: Vec<&Tunnel> = chosen.iter().filter_map(|one| one.outcome.as_ref().ok()).collect();
    if matches!(command, Command::Restart) && args.selection.tunnels.is_empty() {
        confirm::cuts(context, &tunnels, RESTART).await?;
    }
    let specs: Vec<&TunnelSpec> = tunnels.into_iter().map(|tunnel| &tunnel.spec).collect();
    let confirmed = confirm::starts(context, &specs, command.verb()).await?;
    Ok((Selection::of(names(&chosen)), confirmed))
}

pub(super) async fn down(context: &mut Context<'_>, args: &DownArgs) -> Ending {
    let client = context.client().await?;
    let limit = if args.no_wait { Limit::Call } else { Limit::Wait(args.timeout) };
    if args.yes || !context.has_person() || !args.selection.tunnels.is_empty() {
        return stop_within(context, &client, &args.selection, limit).await;
    }
    // Asked before the time begins that the command may take; what was asked about is what is stopped.
    let chosen = chosen(&args.selection, client.list_tunnels().await?)?;
    let tunnels: Vec<&Tunnel> = chosen.iter().filter_map(|one| one.outcome.as_ref().ok()).collect();
    confirm::cuts(context, &tunnels, STOP).await?;
    stop_within(context, &client, &Selection::of(names(&chosen)), limit).await
}

/// Stops tunnels on the way to something else, and waits for it as long as `down` does.
pub(super) async fn stop(context: &mut Context<'_>, client: &Client, selection: &Selection) -> Ending {
    stop_within(context, client, selection, Limit::Wait(STOP_TIMEOUT)).await
}

async fn stop_within(
    context: &mut Context<'_>,
    client: &Client,
    selection: &Selection,
    limit: Limit,
) -> Ending {
    let (mut follower, tunnels) = Follower::subscribe(client, limit).await?;
    let chosen = chosen(selection, tunnels)?;
    let names = names(&chosen);
    tell_if_none(&mut context.out, &names);
    context.goes_on = "the daemon goes on stopping them; `stctl ls` shows how far they are";
    let outcomes = follower.stop(client.stop_tunnels(&names), chosen).await?;
    if matches!(limit, Limit::Call) {
        return taken(&mut context.out, outcomes, sentences::is_stopping);
    }
    let mut reporter = Reporter::new(&mut context.out, sentences::is_stopped, false);
    let settled = follower.follow(outcomes, Goal::Stopped, &mut reporter).await?;
    conclude(&mut context.out, &settled)
}

fn names(chosen: &[TunnelOutcome]) -> Vec<String> {
    chosen.iter().map(|one| one.requested.clone()).collect()
}

fn tell_if_none(out: &mut Output<'_>, names: &[String]) {
    if names.is_empty() {
        out.note("there are no tunnels; `stctl tunnel add` makes one");
    }
}

/// Tells that commands were taken, which is all that was asked.
fn taken(out: &mut Output<'_>, outcomes: Vec<TunnelOutcome>, success: fn(&Tunnel) -> String) -> Ending {
    let settled: Vec<Settled> = outcomes.into_iter().map(Settled::of_command).collect();
    let mut reporter = Reporter::new(out, success, false);
    settled.iter().try_for_each(|settled| reporter.settled(settled))?;
    conclude(out, &settled)
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
