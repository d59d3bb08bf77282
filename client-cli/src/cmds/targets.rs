//! `targets`: what tunnels can go through.

use stormtunnel_model::{ExitCode, Fault, FaultKind};
use stormtunnel_proto::calls::{ListTargets, TargetList};

use super::Ending;
use crate::cli::{Format, TargetsArgs};
use crate::context::Context;
use crate::exit::{Failure, Problem, Subject};
use crate::output::Output;
use crate::render::tables;
use crate::render::target_views::TargetView;

pub(super) async fn run(context: &mut Context<'_>, args: &TargetsArgs) -> Ending {
    let list =
        ListTargets { profile: context.profile()?, region: context.region()?, target: args.target.clone() };
    let client = context.client().await?;
    let found = context.attended(client, async |client| client.list_targets(list).await).await?;
    show(&mut context.out, &found)?;
    found.notes.iter().for_each(|note| context.out.note(note));
    match &args.target {
        Some(target) if found.candidates.is_empty() => {
            let kind =
                FaultKind::TargetNotFound { target: target.to_string(), region: found.region.to_string() };
            let problem = Problem::of_fault(&Fault::new(kind, ""), Subject::default());
            context.out.problem(&problem);
            Ok(problem.exit)
        }
        Some(_) | None => Ok(ExitCode::Ok),
    }
}

fn show(out: &mut Output<'_>, found: &TargetList) -> Result<(), Failure> {
    match out.format {
        Format::Table | Format::Wide if found.candidates.is_empty() => {
            out.note(&format!("nothing can be gone through in {}", found.region));
            Ok(())
        }
        Format::Table | Format::Wide => {
            let table =
                tables::targets(&found.candidates, out.format == Format::Wide, out.style(), out.width);
            out.text(&table)
        }
        Format::Json | Format::Yaml => {
            let views = found.candidates.iter().map(|candidate| TargetView::of(candidate, &found.region));
            out.document(&views.collect::<Vec<_>>())
        }
        Format::Name => {
            let ids = found.candidates.iter().map(|candidate| format!("{}\n", candidate.node));
            out.text(&ids.collect::<String>())
        }
    }
}
