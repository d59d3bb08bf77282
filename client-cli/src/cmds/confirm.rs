//! Questions to a person, before what may not be meant. Without a person there is `--yes`.

use stormtunnel_model::{Tunnel, TunnelSpec};

use crate::context::Context;
use crate::exit::{Failure, Problem};

/// Asks for each tunnel that is labelled so; answers whether any was, and all were confirmed. Where nobody can be asked the
/// daemon decides, which refuses those tunnels and says what to do.
pub(super) async fn starts(
    context: &mut Context<'_>,
    specs: &[&TunnelSpec],
    verb: &str,
) -> Result<bool, Failure> {
    let mut asked = false;
    for spec in specs {
        let Some(label) = spec.confirm_label() else { continue };
        let question = format!("tunnel \"{}\" is labelled {label}; {verb}?", spec.name);
        match context.ask(&question).await? {
            Some(true) => asked = true,
            Some(false) => return Err(not_confirmed("started")),
            None => return Ok(false),
        }
    }
    Ok(asked)
}

/// Something to do with tunnels, as it stands in questions.
#[derive(Clone, Copy)]
pub(super) struct Deed {
    pub(super) verb: &'static str,
    pub(super) noun: &'static str,
    pub(super) done: &'static str,
}

/// Asks before something is done with tunnels that nobody named one by one. Where nobody can be asked it is refused.
pub(super) async fn of_many(
    context: &mut Context<'_>,
    names: &[String],
    Deed { verb, noun, done }: Deed,
) -> Result<(), Failure> {
    let what = in_words(names);
    match context.ask(&format!("{verb} {what}?")).await? {
        Some(true) => Ok(()),
        Some(false) => Err(not_confirmed(done)),
        None => {
            let headline = format!("{noun} {what} has to be confirmed");
            Err(Problem::usage(
                headline,
                "make sure that these are the tunnels you mean, then repeat with --yes",
            )
            .into())
        }
    }
}

/// Asks before open connections are cut, of tunnels that nobody named one by one. It is undone by another command, so where
/// nobody can be asked it is done.
pub(super) async fn cuts(
    context: &mut Context<'_>,
    tunnels: &[&Tunnel],
    Deed { verb, done, .. }: Deed,
) -> Result<(), Failure> {
    let used = || tunnels.iter().filter(|tunnel| tunnel.status.connections > 0);
    let names: Vec<String> = used().map(|tunnel| tunnel.spec.name.to_string()).collect();
    let connections = match used().map(|tunnel| tunnel.status.connections).sum::<u32>() {
        0 => return Ok(()),
        1 => "1 open connection".to_owned(),
        count => format!("{count} open connections"),
    };
    let question = format!("this cuts {connections} of {}; {verb} all the same?", in_words(&names));
    match context.ask(&question).await? {
        Some(false) => Err(not_confirmed(done)),
        Some(true) | None => Ok(()),
    }
}

fn in_words(names: &[String]) -> String {
    match names {
        [only] => format!("tunnel \"{only}\""),
        several => format!("{} tunnels ({})", several.len(), several.join(", ")),
    }
}

pub(super) fn not_confirmed(what: &str) -> Failure {
    Problem::failure("not_confirmed", format!("nothing was {what}: it was not confirmed")).into()
}
