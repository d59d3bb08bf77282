//! `events`: what happened, and on request what happens from now on.

use std::collections::VecDeque;

use stormtunnel_model::{Event, EventId, ExitCode, Timestamp};
use stormtunnel_proto::calls::{EventUpdate, ListEvents, WatchEvents};
use stormtunnel_proto::{CallError, Client};
use tokio::time::timeout;

use super::{Ending, filtered};
use crate::cli::{EventsArgs, Format};
use crate::context::{CALL_DEADLINE, Context};
use crate::exit::{Failure, Problem, Subject};
use crate::output::Output;
use crate::render::events::line;
use crate::render::history_views::EventView;

/// Most events of one answer of the daemon.
const PAGE: u32 = 1000;

pub(super) async fn run(context: &mut Context<'_>, args: &EventsArgs) -> Ending {
    let since = args.since.map(|span| {
        let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Timestamp::from_millis(context.out.now().as_millis().saturating_sub(span))
    });
    let client = context.client().await?;
    let tunnels = filtered(&client, &args.filter).await?;
    if args.follow {
        let watch = WatchEvents { tunnels, after: None, since, limit: args.limit.min(PAGE) };
        return follow(&mut context.out, &client, watch).await;
    }
    let list = ListEvents { tunnels, since, limit: args.limit, before: None };
    let asked = list.tunnels.clone();
    let events = newest(&client, list).await.map_err(|error| told(&error, &asked))?;
    show(&mut context.out, &events)?;
    Ok(ExitCode::Ok)
}

/// The newest events that are asked for, oldest first, answer by answer.
pub(super) async fn newest(client: &Client, list: ListEvents) -> Result<Vec<Event>, CallError> {
    let mut events: VecDeque<Event> = VecDeque::new();
    let (mut left, mut before) = (list.limit, None);
    while left > 0 {
        let page = ListEvents { limit: left.min(PAGE), before, ..list.clone() };
        let earlier = client.list_events(page).await?;
        let Some(first) = earlier.first() else { break };
        before = Some(first.id);
        left = left.saturating_sub(u32::try_from(earlier.len()).unwrap_or(u32::MAX));
        earlier.into_iter().rev().for_each(|event| events.push_front(event));
    }
    Ok(events.into())
}

fn told(error: &CallError, tunnels: &[String]) -> Failure {
    let subject = match tunnels {
        [only] => Subject::named(only),
        _ => Subject::default(),
    };
    Problem::of_call(error, subject).into()
}

fn show(out: &mut Output<'_>, events: &[Event]) -> Result<(), Failure> {
    match out.format {
        Format::Json | Format::Yaml => out.document(&events.iter().map(EventView::of).collect::<Vec<_>>()),
        Format::Table | Format::Wide if events.is_empty() => {
            out.note("there are no events");
            Ok(())
        }
        Format::Table | Format::Wide | Format::Name => events.iter().try_for_each(|event| print(out, event)),
    }
}

async fn follow(out: &mut Output<'_>, client: &Client, watch: WatchEvents) -> Ending {
    let tunnels = watch.tunnels.clone();
    let opened = timeout(CALL_DEADLINE, client.watch_events(watch)).await;
    let opened = opened.unwrap_or(Err(CallError::DeadlineExceeded));
    let mut watch = opened.map_err(|error| told(&error, &tunnels))?;
    let mut last: Option<EventId> = None;
    while let Some(message) = watch.next().await.map_err(|error| told(&error, &tunnels))? {
        match message.update {
            EventUpdate::Snapshot(events) => {
                if last.is_some() {
                    out.note(
                        "warning: some events came too fast to be shown; `stctl events` has what is kept",
                    );
                }
                let new = events.iter().filter(|event| last.is_none_or(|last| event.id > last));
                new.into_iter().try_for_each(|event| print(out, event))?;
            }
            EventUpdate::Recorded(event) => print(out, &event)?,
            EventUpdate::Resumed => {}
        }
        last = Some(message.last);
    }
    Err(CallError::Disconnected("the daemon ended the watch".to_owned()).into())
}

fn print(out: &mut Output<'_>, event: &Event) -> Result<(), Failure> {
    match out.format {
        Format::Json | Format::Yaml => out.record(&EventView::of(event)),
        Format::Name => out.text(&format!("{}\n", event.id.0)),
        Format::Table | Format::Wide => {
            let text = line(event, out.format == Format::Wide, out.style());
            out.words(&text, 4)
        }
    }
}
