//! `watch`: each change of tunnels, until interrupted.

use stormtunnel_model::{Fault, FaultKind, Tunnel};
use stormtunnel_proto::CallError;
use stormtunnel_proto::calls::{WatchEvent, WatchTunnels, WatchUpdate};
use tokio::time::timeout;

use super::{Ending, filtered, is_meant};
use crate::cli::{Filter, Format, WatchArgs};
use crate::context::{CALL_DEADLINE, Context};
use crate::exit::{Failure, Problem, Subject};
use crate::output::Output;
use crate::render::{lines, names, views};

pub(super) async fn run(context: &mut Context<'_>, args: &WatchArgs) -> Ending {
    follow(context, &args.filter, |out, tunnels| {
        let (now, style) = (out.now(), out.style());
        out.words(&tunnels.iter().map(|tunnel| lines::changed(tunnel, now, style)).collect::<String>(), 4)
    })
    .await
}

/// Follows tunnels until interrupted. People are shown those that there are in the way of the verb.
pub(super) async fn follow(
    context: &mut Context<'_>,
    filter: &Filter,
    show: fn(&mut Output<'_>, &[Tunnel]) -> Result<(), Failure>,
) -> Ending {
    let client = context.client().await?;
    let tunnels = filtered(&client, filter).await?;
    let subject = match tunnels.as_slice() {
        [only] => Subject::named(only),
        _ => Subject::default(),
    };
    let told = |error: &CallError| Problem::of_call(error, subject);
    let request = WatchTunnels { since: None, tunnels: tunnels.clone() };
    let opened = timeout(CALL_DEADLINE, client.watch_tunnels(request)).await;
    let opened = opened.unwrap_or(Err(CallError::DeadlineExceeded));
    let mut watch = opened.map_err(|error| told(&error))?;
    while let Some(update) = watch.next().await.map_err(|error| told(&error))? {
        if let WatchEvent::Snapshot(known) = &update.event {
            check_known(&tunnels, known)?;
            if context.out.format.is_for_people() {
                show(&mut context.out, known)?;
                continue;
            }
        }
        print(&mut context.out, &update)?;
    }
    Err(CallError::Disconnected("the daemon ended the watch".to_owned()).into())
}

/// A tunnel that is not there now would never show up under a name with a typing mistake.
fn check_known(wanted: &[String], known: &[Tunnel]) -> Result<(), Failure> {
    let is_known = |wanted: &String| known.iter().any(|tunnel| is_meant(tunnel, wanted));
    match wanted.iter().find(|wanted| !is_known(wanted)) {
        Some(missing) => {
            let fault = Fault::new(FaultKind::TunnelNotFound { tunnel: missing.clone() }, "");
            Err(Problem::of_fault(&fault, Subject::named(missing)).into())
        }
        None => Ok(()),
    }
}

fn print(out: &mut Output<'_>, update: &WatchUpdate) -> Result<(), Failure> {
    match out.format {
        Format::Json | Format::Yaml => out.record(&views::WatchView::of(update)),
        Format::Name => out.text(&match &update.event {
            WatchEvent::Snapshot(tunnels) => names(tunnels),
            WatchEvent::Changed(tunnel) => tunnel.spec.name.to_string(),
            WatchEvent::Deleted { name, .. } => name.to_string(),
            WatchEvent::Resumed => String::new(),
        }),
        Format::Table | Format::Wide => {
            let (now, style) = (out.now(), out.style());
            let text = match &update.event {
                WatchEvent::Changed(tunnel) => lines::changed(tunnel, now, style),
                WatchEvent::Deleted { name, .. } => lines::removed(name, now),
                // The verb has shown it.
                WatchEvent::Snapshot(_) | WatchEvent::Resumed => String::new(),
            };
            out.words(&text, 4)
        }
    }
}
