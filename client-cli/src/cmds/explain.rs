//! `explain`: how a tunnel is, in words.

use stormtunnel_model::{Event, Timestamp, Tunnel};
use stormtunnel_proto::calls::ListEvents;
use stormtunnel_proto::{CallError, Client};

use super::events::newest;
use super::found::Found;
use super::{Ending, selected};
use crate::cli::ExplainArgs;
use crate::context::Context;
use crate::render::explain::{self, Explanation};
use crate::render::history_views::ExplanationView;
use crate::render::wrap::wrapped;

/// Events that are read: enough to find the last time up in a bad hour.
const READ: u32 = 200;
/// Events that are shown.
const SHOWN: usize = 8;

/// A tunnel, what is to be said of it, and its last events.
type Explained = (Explanation, Tunnel, Vec<Event>);

pub(super) async fn run(context: &mut Context<'_>, args: &ExplainArgs) -> Ending {
    let client = context.client().await?;
    let now = context.out.now();
    let mut found = Found::default();
    for name in selected(&client, &args.selection).await? {
        found.add(explained(&client, &name, now).await, &name)?;
    }
    let (style, width) = (context.out.style(), context.out.width);
    // Events go on behind their beginning, the paragraph does not.
    let fitted = |line: &str| wrapped(line, width, if line.starts_with(' ') { 4 } else { 0 }) + "\n";
    let text = |(explanation, _, last): &Explained| {
        explain::text(explanation, last, style).lines().map(fitted).collect::<String>()
    };
    let view = |(explanation, tunnel, last): &Explained| ExplanationView::of(explanation, tunnel, last);
    found.tell(&mut context.out, &args.selection, text, view, |(_, tunnel, _)| tunnel.spec.name.to_string())
}

async fn explained(client: &Client, name: &str, now: Timestamp) -> Result<Explained, CallError> {
    let tunnel = client.tunnel(name).await?;
    let list = ListEvents { tunnels: vec![tunnel.id.to_string()], limit: READ, ..ListEvents::default() };
    let mut history = newest(client, list).await?;
    let explanation = explain::explain(&tunnel, &history, now);
    let last = history.split_off(history.len().saturating_sub(SHOWN));
    Ok((explanation, tunnel, last))
}
