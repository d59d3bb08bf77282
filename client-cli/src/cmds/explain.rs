//! `explain`: how a tunnel is, in words.

use stormtunnel_model::{Event, ExitCode};
use stormtunnel_proto::calls::ListEvents;

use super::Ending;
use super::events::newest;
use crate::cli::{ExplainArgs, Format};
use crate::context::Context;
use crate::exit::{Problem, Subject};
use crate::render::explain;
use crate::render::history_views::ExplanationView;

/// Events that are read: enough to find the last time up in a bad hour.
const READ: u32 = 200;
/// Events that are shown.
const SHOWN: usize = 8;

pub(super) async fn run(context: &mut Context<'_>, args: &ExplainArgs) -> Ending {
    let client = context.client().await?;
    let told = |error| Problem::of_call(&error, Subject::named(&args.tunnel));
    let tunnel = client.tunnel(&args.tunnel).await.map_err(told)?;
    let list = ListEvents { tunnels: vec![tunnel.id.to_string()], limit: READ, ..ListEvents::default() };
    let history = newest(&client, list).await?;
    let explanation = explain::explain(&tunnel, &history, context.out.now());
    let last: &[Event] = &history[history.len().saturating_sub(SHOWN)..];
    let style = context.out.style();
    match context.out.format {
        Format::Json | Format::Yaml => {
            context.out.document(&ExplanationView::of(&explanation, &tunnel, last))?;
        }
        Format::Table | Format::Wide => context.out.text(&explain::text(&explanation, last, style))?,
        Format::Name => context.out.text(tunnel.spec.name.as_str())?,
    }
    Ok(ExitCode::Ok)
}
