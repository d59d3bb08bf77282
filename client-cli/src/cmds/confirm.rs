//! Questions to a person, before what may not be meant. Without a person there is `--yes`.

use stormtunnel_model::TunnelSpec;

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

/// Asks before tunnels that nobody named one by one are removed.
pub(super) async fn removal(context: &mut Context<'_>, names: &[String]) -> Result<(), Failure> {
    let what = match names {
        [only] => format!("tunnel \"{only}\""),
        several => format!("{} tunnels ({})", several.len(), several.join(", ")),
    };
    match context.ask(&format!("remove {what}?")).await? {
        Some(true) => Ok(()),
        Some(false) => Err(not_confirmed("removed")),
        None => {
            let headline = format!("the removal of {what} has to be confirmed");
            Err(Problem::usage(
                headline,
                "make sure that these are the tunnels you mean, then repeat with --yes",
            )
            .into())
        }
    }
}

pub(super) fn not_confirmed(what: &str) -> Failure {
    Problem::failure("not_confirmed", format!("nothing was {what}: it was not confirmed")).into()
}
