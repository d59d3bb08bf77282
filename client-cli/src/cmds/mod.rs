//! One file per verb.

mod ask;
mod bugreport;
mod confirm;
mod daemon;
mod doctor;
mod events;
mod explain;
mod logins;
mod ls;
mod profiles;
mod settings;
mod sso;
mod sso_configure;
mod stats;
mod status;
mod targets;
mod tunnel;
mod up;
mod wait;
mod watch;
mod whoami;

use stormtunnel_model::{ExitCode, Fault, FaultKind, Selector, Tunnel};
use stormtunnel_proto::Client;
use stormtunnel_proto::calls::TunnelOutcome;

use crate::cli::{DoctorVerb, Filter, Format, ProfileVerb, Selection, Verb};
use crate::context::Context;
use crate::exit::{Failure, Problem};
use crate::follow::{Progress, Settled};
use crate::manual;
use crate::output::Output;
use crate::prompts::Word;
use crate::render::views::ResultView;

/// How a command ends: with an exit code after it has told everything, or with a problem yet to be told.
type Ending = Result<ExitCode, Failure>;

/// Runs one verb.
pub(crate) async fn run(context: &mut Context<'_>, verb: &Verb) -> Ending {
    match verb {
        Verb::Tunnel(verb) => tunnel::run(context, verb).await,
        Verb::Up(args) => up::up(context, args).await,
        Verb::Restart(args) => up::restart(context, args).await,
        Verb::Down(args) => up::down(context, args).await,
        Verb::Ls(args) => ls::run(context, args).await,
        Verb::Status(args) => status::run(context, args).await,
        Verb::Watch(args) => watch::run(context, args).await,
        Verb::Events(args) => events::run(context, args).await,
        Verb::Explain(args) => explain::run(context, args).await,
        Verb::Stats(args) => stats::run(context, args).await,
        Verb::Targets(args) => targets::run(context, args).await,
        Verb::Wait(args) => wait::run(context, args).await,
        Verb::Profile(ProfileVerb::Profiles(args)) => profiles::run(context, args).await,
        Verb::Profile(ProfileVerb::Whoami) => whoami::run(context).await,
        Verb::Sso(verb) => sso::run(context, verb).await,
        Verb::Settings(verb) => settings::run(context, verb).await,
        Verb::Doctor(DoctorVerb::Doctor(args)) => doctor::run(context, args).await,
        Verb::Doctor(DoctorVerb::Bugreport(args)) => bugreport::run(context, args).await,
        Verb::Daemon(verb) => daemon::run(context, verb).await,
        Verb::Manual(verb) => manual::run(&mut context.out, verb),
    }
}

/// The names that a selection means.
async fn selected(client: &Client, selection: &Selection) -> Result<Vec<String>, Failure> {
    if !selection.all && selection.selector.is_none() {
        return Ok(without_repeats(&selection.tunnels));
    }
    let chosen = chosen(selection, client.list_tunnels().await?)?;
    Ok(chosen.into_iter().map(|one| one.requested).collect())
}

/// The names that a filter lets through; none when it filters nothing.
async fn filtered(client: &Client, filter: &Filter) -> Result<Vec<String>, Failure> {
    let Some(selector) = &filter.selector else { return Ok(without_repeats(&filter.tunnels)) };
    let tunnels = labelled(selector, client.list_tunnels().await?)?;
    Ok(tunnels.into_iter().map(|tunnel| tunnel.spec.name.into()).collect())
}

/// The tunnels that a selector means: at least one.
fn labelled(selector: &Selector, mut tunnels: Vec<Tunnel>) -> Result<Vec<Tunnel>, Failure> {
    tunnels.retain(|tunnel| selector.matches(&tunnel.spec.labels));
    if tunnels.is_empty() { Err(Problem::nothing_selected(selector).into()) } else { Ok(tunnels) }
}

/// The tunnels of a snapshot that a selection means.
fn chosen(selection: &Selection, tunnels: Vec<Tunnel>) -> Result<Vec<TunnelOutcome>, Failure> {
    let tunnels = match &selection.selector {
        Some(selector) => labelled(selector, tunnels)?,
        None if selection.all => tunnels,
        None => return Ok(named(&selection.tunnels, &tunnels)),
    };
    let outcome =
        |tunnel: Tunnel| TunnelOutcome { requested: tunnel.spec.name.to_string(), outcome: Ok(tunnel) };
    Ok(tunnels.into_iter().map(outcome).collect())
}

/// The tunnels of a snapshot that have these names or ids.
fn named(names: &[String], tunnels: &[Tunnel]) -> Vec<TunnelOutcome> {
    let find = |requested: String| {
        let found = tunnels.iter().find(|tunnel| is_meant(tunnel, &requested)).cloned();
        let missing = || Fault::new(FaultKind::TunnelNotFound { tunnel: requested.clone() }, "");
        TunnelOutcome { outcome: found.ok_or_else(missing), requested }
    };
    without_repeats(names).into_iter().map(find).collect()
}

/// Whether the user means this tunnel, by name or by id.
fn is_meant(tunnel: &Tunnel, name_or_id: &str) -> bool {
    tunnel.spec.name.as_str() == name_or_id || tunnel.id.to_string() == name_or_id
}

fn without_repeats(names: &[String]) -> Vec<String> {
    let mut unique: Vec<String> = Vec::with_capacity(names.len());
    for name in names {
        if !unique.contains(name) {
            unique.push(name.clone());
        }
    }
    unique
}

/// Tells people of each tunnel as it comes; programs get all of them at the end.
struct Reporter<'r, 'o> {
    out: &'r mut Output<'o>,
    /// What is said of a tunnel that went as wanted.
    success: fn(&Tunnel) -> String,
    /// Nothing is said yet of tunnels that need a login, which somebody is asked for afterwards.
    awaits_logins: bool,
}

impl Progress for Reporter<'_, '_> {
    fn retrying(&mut self, tunnel: &Tunnel, fault: &Fault) {
        self.out.note(&format!("{}: retrying: {fault}", tunnel.spec.name));
    }

    fn said(&mut self, word: &Word) {
        word.show(self.out);
    }

    fn settled(&mut self, settled: &Settled) -> Result<(), Failure> {
        if self.awaits_logins && settled.login_needed().is_some() {
            return Ok(());
        }
        if self.out.format.is_for_people() || self.out.format == Format::Name {
            match (settled.problem(), settled.tunnel()) {
                (Some(problem), _) => self.out.problem(&problem),
                (None, Some(tunnel)) if self.out.format == Format::Name => {
                    self.out.text(tunnel.spec.name.as_str())?;
                }
                (None, Some(tunnel)) => self.out.text(&(self.success)(tunnel))?,
                (None, None) => {}
            }
        }
        Ok(())
    }
}

/// Gives programs their results, and the highest exit code of all.
fn conclude(out: &mut Output<'_>, settled: &[Settled]) -> Ending {
    match out.format {
        Format::Json | Format::Yaml => {
            out.document(&settled.iter().map(ResultView::of).collect::<Vec<_>>())?;
        }
        Format::Table | Format::Wide | Format::Name => {}
    }
    let codes = settled.iter().map(|settled| settled.problem().map_or(ExitCode::Ok, |problem| problem.exit));
    Ok(codes.max().unwrap_or(ExitCode::Ok))
}
