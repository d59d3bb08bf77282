//! `tunnel add`, `edit`, `show` and `rm`.

use std::time::Duration;

use stormtunnel_model::{
    ExitCode, Label, Labels, RequestId, StartOptions, Tunnel, TunnelSpec, TunnelSpecPatch,
};
use stormtunnel_proto::calls::{CreateTunnel, StartTunnels, TunnelOutcome, UpdateTunnel, UpdatedTunnel};
use stormtunnel_proto::{CallError, Client};

use super::confirm::Deed;
use super::found::Found;
use super::{Ending, Reporter, conclude, confirm, selected};
use crate::cli::{AddArgs, EditArgs, Format, RmArgs, ShowArgs, TunnelVerb};
use crate::context::Context;
use crate::exit::{Failure, Problem, Subject};
use crate::follow::{Follower, Goal, Limit, Progress, Settled};
use crate::render::views::{TunnelView, UpdateView};
use crate::render::wrap::wrapped;
use crate::render::{details, sentences};

/// How long `add --up` waits, like `up` by default.
const UP_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) async fn run(context: &mut Context<'_>, verb: &TunnelVerb) -> Ending {
    match verb {
        TunnelVerb::Add(args) => add(context, args).await,
        TunnelVerb::Edit(args) => edit(context, args).await,
        TunnelVerb::Show(args) => show(context, args).await,
        TunnelVerb::Rm(args) => rm(context, args).await,
    }
}

async fn add(context: &mut Context<'_>, args: &AddArgs) -> Ending {
    let spec = spec(context, args)?;
    spec.validate().map_err(Problem::from)?;
    let client = context.client().await?;
    let request_id = Some(request_id()?);
    if args.up {
        let confirmed = args.yes || confirm::starts(context, &[&spec], "connect").await?;
        // What has to be confirmed is not started by its creation.
        let apart = confirmed && spec.confirm_label().is_some();
        return add_and_follow(context, &client, CreateTunnel { request_id, spec, start: !apart }).await;
    }
    let create = CreateTunnel { request_id, spec, start: false };
    let tunnel = client.create_tunnel(create).await.map_err(|error| about(&error, args.name.as_str()))?;
    print(context, &tunnel, sentences::is_made)?;
    Ok(ExitCode::Ok)
}

/// A fresh id, so that the daemon can tell a repeat of this wish from another one.
fn request_id() -> Result<RequestId, Failure> {
    let mut random = [0; 16];
    match getrandom::fill(&mut random) {
        Ok(()) => Ok(RequestId(uuid::Builder::from_random_bytes(random).into_uuid().to_string())),
        Err(error) => {
            Err(Problem::failure("runtime", format!("the system gives no randomness: {error}")).into())
        }
    }
}

async fn add_and_follow(context: &mut Context<'_>, client: &Client, create: CreateTunnel) -> Ending {
    let (requested, started) = (create.spec.name.to_string(), create.start);
    let (follower, _) = Follower::subscribe(client, Limit::Wait(UP_TIMEOUT)).await?;
    let tunnel = client.create_tunnel(create).await.map_err(|error| about(&error, &requested))?;
    context.goes_on =
        "the tunnel is made, and the daemon goes on starting it; `stctl ls` shows how far it is";
    let outcomes = if started {
        vec![TunnelOutcome { requested, outcome: Ok(tunnel) }]
    } else {
        let options = StartOptions { confirmed: true, ..StartOptions::default() };
        follower.answer(client.start_tunnels(StartTunnels { tunnels: vec![requested], options })).await?
    };
    let mut reporter = Reporter::new(&mut context.out, sentences::is_up, false);
    let settled = follower.follow(outcomes, Goal::Up, &mut reporter).await?;
    conclude(&mut context.out, &settled)
}

/// The tunnel as it was asked for. Profile and region are resolved here.
fn spec(context: &Context<'_>, args: &AddArgs) -> Result<TunnelSpec, Failure> {
    let (profile, region) = (context.profile()?, context.region()?);
    Ok(TunnelSpec {
        name: args.name.clone(),
        profile,
        region,
        target: args.target.clone(),
        remote: args.remote.clone(),
        local: args.local.clone(),
        allow_non_loopback: args.allow_non_loopback,
        labels: labels(&args.labels),
        keep: args.keep,
        sessions: args.sessions,
        reason: args.reason.clone(),
        ttl: args.ttl,
    })
}

async fn edit(context: &mut Context<'_>, args: &EditArgs) -> Ending {
    let patch = patch(context, args);
    if patch == TunnelSpecPatch::default() {
        let remedy = "name what to change, such as --local 15432; `stctl tunnel edit --help` shows all";
        return Err(Problem::usage("there is nothing to change", remedy).into());
    }
    let selection = &args.selection;
    if let (false, Some(flag)) = (selection.is_of_one(), flag_for_one(args)) {
        return Err(Problem::usage(format!("{flag} is for one tunnel"), "name one tunnel").into());
    }
    let client = context.client().await?;
    let names = selected(&client, selection).await?;
    if selection.tunnels.is_empty() && !names.is_empty() && !args.yes && !args.dry_run {
        confirm::of_many(context, &names, CHANGE).await?;
    }
    let mut changed = Found::default();
    for name in names {
        let patch = patch.clone();
        let update = UpdateTunnel { tunnel: name.clone(), patch, etag: None, validate_only: args.dry_run };
        changed.add(client.update_tunnel(update).await, &name)?;
    }
    let text = |updated: &UpdatedTunnel| sentences::is_changed(updated, args.dry_run);
    let name = |updated: &UpdatedTunnel| updated.tunnel.spec.name.to_string();
    changed.tell(&mut context.out, selection, text, UpdateView::of, name)
}

const CHANGE: Deed = Deed { verb: "change", noun: "the change of", done: "changed" };
const REMOVE: Deed = Deed { verb: "remove", noun: "the removal of", done: "removed" };

/// What cannot be the same for several tunnels.
fn flag_for_one(args: &EditArgs) -> Option<&'static str> {
    let local = args.local.as_ref().filter(|local| !local.is_automatic());
    args.rename.as_ref().map(|_| "--rename").or(local.map(|_| "--local with a port or path"))
}

/// Only what the command line names; the environment is for new tunnels.
fn patch(context: &Context<'_>, args: &EditArgs) -> TunnelSpecPatch {
    let profile = context.globals.profile.clone().map(Some);
    let region = context.globals.region.clone().map(Some);
    TunnelSpecPatch {
        name: args.rename.clone(),
        profile: if args.no_profile { Some(None) } else { profile },
        region: if args.no_region { Some(None) } else { region },
        target: args.target.clone(),
        remote: args.remote.clone(),
        local: args.local.clone(),
        allow_non_loopback: args.allow_non_loopback,
        labels: (args.no_labels || !args.labels.is_empty()).then(|| labels(&args.labels)),
        keep: args.keep,
        sessions: args.sessions,
        reason: if args.no_reason { Some(None) } else { args.reason.clone().map(Some) },
        ttl: if args.no_ttl { Some(None) } else { args.ttl.map(Some) },
    }
}

/// Of two labels with the same key the last one counts.
fn labels(labels: &[Label]) -> Labels {
    labels.iter().cloned().map(Into::into).collect()
}

async fn show(context: &mut Context<'_>, args: &ShowArgs) -> Ending {
    let client = context.client().await?;
    let mut found = Found::default();
    for name in selected(&client, &args.selection).await? {
        found.add(client.tunnel(&name).await, &name)?;
    }
    let (now, style, width) = (context.out.now(), context.out.style(), context.out.width);
    let text = |tunnel: &Tunnel| wrapped(&details::tunnel(tunnel, now, style), width, details::INDENT);
    let name = |tunnel: &Tunnel| tunnel.spec.name.to_string();
    found.tell(&mut context.out, &args.selection, text, TunnelView::of, name)
}

async fn rm(context: &mut Context<'_>, args: &RmArgs) -> Ending {
    let client = context.client().await?;
    let names = selected(&client, &args.selection).await?;
    if names.is_empty() {
        context.out.note("there are no tunnels");
    } else if args.selection.tunnels.is_empty() && !args.yes {
        confirm::of_many(context, &names, REMOVE).await?;
    }
    let outcomes = client.delete_tunnels(&names).await?;
    let settled: Vec<Settled> = outcomes.into_iter().map(Settled::of_command).collect();
    let mut reporter = Reporter::new(&mut context.out, sentences::is_removed, false);
    settled.iter().try_for_each(|settled| reporter.settled(settled))?;
    conclude(&mut context.out, &settled)
}

fn print(context: &mut Context<'_>, tunnel: &Tunnel, sentence: fn(&Tunnel) -> String) -> Result<(), Failure> {
    match context.out.format {
        Format::Json | Format::Yaml => context.out.document(&TunnelView::of(tunnel)),
        Format::Table | Format::Wide => context.out.text(&sentence(tunnel)),
        Format::Name => context.out.text(tunnel.spec.name.as_str()),
    }
}

fn about(error: &CallError, tunnel: &str) -> Failure {
    Problem::of_call(error, Subject::named(tunnel)).into()
}
