//! `daemon`: the daemon itself. None of these starts one in the background.

use std::time::Duration;

use stormtunnel_model::ExitCode;
use stormtunnel_proto::{API_LEVEL, CallError};
use tokio::time::{Instant, interval, timeout_at};

use super::Ending;
use crate::autostart::become_daemon;
use crate::cli::{DaemonVerb, Format};
use crate::context::Context;
use crate::exit::{Failure, Problem};
use crate::render::details;
use crate::render::views::DaemonView;

/// How often `daemon stop` looks whether the socket is gone.
const STOP_POLL: Duration = Duration::from_millis(50);

pub(super) async fn run(context: &mut Context<'_>, verb: &DaemonVerb) -> Ending {
    match verb {
        DaemonVerb::Run => Err(become_daemon(&context.plan()).problem().into()),
        DaemonVerb::Status => status(context).await,
        DaemonVerb::Stop { timeout } => stop(context, *timeout).await,
    }
}

async fn status(context: &mut Context<'_>) -> Ending {
    let client = context.running_client().await.map_err(|error| error.problem())?;
    let info = client.daemon_info().await?;
    let settings = client.settings(&[]).await?;
    let socket = context.paths.socket.display().to_string();
    let view = DaemonView::of(&info, &socket, &settings.path);
    let (now, style) = (context.out.now(), context.out.style());
    match context.out.format {
        Format::Json | Format::Yaml => context.out.document(&view)?,
        Format::Table | Format::Wide => context.out.text(&details::daemon(&info, &view, now, style))?,
        Format::Name => context.out.text(&socket)?,
    }
    if info.api_level < API_LEVEL {
        context
            .out
            .note("warning: this daemon is older than stctl; `stctl daemon stop` lets a new one start");
    }
    Ok(ExitCode::Ok)
}

async fn stop(context: &mut Context<'_>, timeout: Duration) -> Ending {
    let deadline = Instant::now() + timeout;
    let client = match context.running_client().await {
        Ok(client) => client,
        Err(absent) if absent.is_absence() => {
            context.out.note("the daemon is not running");
            return Ok(ExitCode::Ok);
        }
        Err(unreachable) => return Err(unreachable.problem().into()),
    };
    match client.shutdown().await {
        // A daemon that is gone before its answer arrives did what it was asked.
        Ok(()) | Err(CallError::Disconnected(_)) => {}
        Err(error) => return Err(error.into()),
    }
    timeout_at(deadline, socket_gone(context)).await.map_err(|_| still_stopping(timeout))?;
    context.out.note("the daemon has stopped");
    Ok(ExitCode::Ok)
}

/// The daemon removes its socket last, after all sessions have ended.
async fn socket_gone(context: &Context<'_>) {
    let mut ticks = interval(STOP_POLL);
    loop {
        ticks.tick().await;
        if !context.paths.socket.exists() {
            return;
        }
    }
}

fn still_stopping(waited: Duration) -> Failure {
    let headline = format!("the daemon is still stopping after {} s", waited.as_secs());
    let remedy = "wait and look with `stctl daemon status`, or end it with `kill PID`".to_owned();
    Problem { exit: ExitCode::Timeout, remedy, ..Problem::failure("timeout", headline) }.into()
}
