//! `stats`: what tunnels carried and went through, in numbers.

use stormtunnel_model::{ExitCode, Fault, TunnelStatistics};
use stormtunnel_proto::{CallError, Client};

use super::{Ending, filtered};
use crate::cli::{Format, StatsArgs};
use crate::context::Context;
use crate::exit::{Failure, Problem, Subject};
use crate::output::Output;
use crate::render::history_views::StatisticsView;
use crate::render::tables;

pub(super) async fn run(context: &mut Context<'_>, args: &StatsArgs) -> Ending {
    let client = context.client().await?;
    let tunnels = filtered(&client, &args.filter).await?;
    if tunnels.is_empty() {
        let all = client.statistics(&[]).await?;
        show(&mut context.out, &all)?;
        return Ok(ExitCode::Ok);
    }
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for requested in tunnels {
        match one(&client, &requested).await? {
            Ok(statistics) => found.extend(statistics),
            Err(fault) => missing.push(Problem::of_fault(&fault, Subject::named(&requested))),
        }
    }
    if !found.is_empty() || missing.is_empty() {
        show(&mut context.out, &found)?;
    }
    missing.iter().for_each(|problem| context.out.problem(problem));
    Ok(missing.iter().map(|problem| problem.exit).max().unwrap_or(ExitCode::Ok))
}

async fn one(client: &Client, tunnel: &str) -> Result<Result<Vec<TunnelStatistics>, Fault>, Failure> {
    match client.statistics(&[tunnel.to_owned()]).await {
        Ok(statistics) => Ok(Ok(statistics)),
        Err(CallError::Fault(fault)) => Ok(Err(fault)),
        Err(error) => Err(error.into()),
    }
}

fn show(out: &mut Output<'_>, statistics: &[TunnelStatistics]) -> Result<(), Failure> {
    match out.format {
        Format::Table | Format::Wide if statistics.is_empty() => {
            out.note("there are no tunnels; `stctl tunnel add` makes one");
            Ok(())
        }
        Format::Table | Format::Wide => {
            let table = tables::statistics(statistics, out.style(), out.width);
            out.text(&table)
        }
        Format::Json | Format::Yaml => {
            out.document(&statistics.iter().map(StatisticsView::of).collect::<Vec<_>>())
        }
        Format::Name => out.text(&statistics.iter().map(|one| format!("{}\n", one.name)).collect::<String>()),
    }
}
