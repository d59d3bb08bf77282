//! `ls`: all tunnels.

use stormtunnel_model::{ExitCode, Tunnel};

use super::Ending;
use crate::cli::Format;
use crate::context::Context;
use crate::output::Output;
use crate::render::views::TunnelView;
use crate::render::{names, tables};

pub(super) async fn run(context: &mut Context<'_>) -> Ending {
    let tunnels = context.client().await?.list_tunnels().await?;
    let out = &mut context.out;
    match out.format {
        Format::Table | Format::Wide if tunnels.is_empty() => {
            out.note("there are no tunnels; `stctl tunnel add` makes one");
        }
        Format::Table => {
            let table = tables::tunnels(&tunnels, out.style(), out.width);
            out.text(&table)?;
            remarks(out, &tunnels);
        }
        Format::Wide => {
            let table = tables::wide_tunnels(&tunnels, out.now(), out.style());
            out.text(&table)?;
            remarks(out, &tunnels);
        }
        Format::Name => out.text(&names(&tunnels))?,
        Format::Json | Format::Yaml => {
            out.document(&tunnels.iter().map(TunnelView::of).collect::<Vec<_>>())?;
        }
    }
    Ok(ExitCode::Ok)
}

/// What the table has no place for.
fn remarks(out: &mut Output<'_>, tunnels: &[Tunnel]) {
    tables::reasons(tunnels).iter().for_each(|reason| out.note(reason));
    tables::queue(tunnels, out.now()).iter().for_each(|queue| out.note(queue));
}
