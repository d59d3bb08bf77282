//! `ls`: all tunnels, or those with some labels.

use stormtunnel_model::ExitCode;

use super::{Ending, labelled};
use crate::cli::{Format, LsArgs};
use crate::context::Context;
use crate::render::views::TunnelView;
use crate::render::{names, tables};

pub(super) async fn run(context: &mut Context<'_>, args: &LsArgs) -> Ending {
    let mut tunnels = context.client().await?.list_tunnels().await?;
    if let Some(selector) = &args.selector {
        tunnels = labelled(selector, tunnels)?;
    }
    let out = &mut context.out;
    match out.format {
        Format::Table | Format::Wide if tunnels.is_empty() => {
            out.note("there are no tunnels; `stctl tunnel add` makes one");
        }
        Format::Table => {
            let table = tables::tunnels(&tunnels, out.style(), out.width);
            out.text(&table)?;
            tables::notes(&tunnels, out.now()).iter().for_each(|note| out.note(note));
        }
        Format::Wide => {
            let table = tables::wide_tunnels(&tunnels, out.now(), out.style());
            out.text(&table)?;
            tables::notes(&tunnels, out.now()).iter().for_each(|note| out.note(note));
        }
        Format::Name => out.text(&names(&tunnels))?,
        Format::Json | Format::Yaml => {
            out.document(&tunnels.iter().map(TunnelView::of).collect::<Vec<_>>())?;
        }
    }
    Ok(ExitCode::Ok)
}
