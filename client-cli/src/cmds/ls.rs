//! `ls`: all tunnels, or those with some labels.

use stormtunnel_model::{ExitCode, Tunnel};

use super::{Ending, labelled, watch};
use crate::cli::{Filter, Format, LsArgs};
use crate::context::Context;
use crate::exit::Failure;
use crate::output::Output;
use crate::render::views::TunnelView;
use crate::render::{names, tables};

pub(super) async fn run(context: &mut Context<'_>, args: &LsArgs) -> Ending {
    if args.watch {
        let filter = Filter { tunnels: Vec::new(), selector: args.selector.clone() };
        return watch::follow(context, &filter, show).await;
    }
    let mut tunnels = context.client().await?.list_tunnels().await?;
    if let Some(selector) = &args.selector {
        tunnels = labelled(selector, tunnels)?;
    }
    show(&mut context.out, &tunnels)?;
    Ok(ExitCode::Ok)
}

fn show(out: &mut Output<'_>, tunnels: &[Tunnel]) -> Result<(), Failure> {
    let table = match out.format {
        Format::Name => return out.text(&names(tunnels)),
        Format::Json | Format::Yaml => {
            return out.document(&tunnels.iter().map(TunnelView::of).collect::<Vec<_>>());
        }
        Format::Table | Format::Wide if tunnels.is_empty() => {
            out.note("there are no tunnels; `stctl tunnel add` makes one");
            return Ok(());
        }
        Format::Table => tables::tunnels(tunnels, out.style(), out.width),
        Format::Wide => tables::wide_tunnels(tunnels, out.now(), out.style(), out.width),
    };
    out.text(&table)?;
    tables::notes(tunnels, out.now()).iter().for_each(|note| out.note(note));
    Ok(())
}
