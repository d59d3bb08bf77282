//! `daemon`: the daemon itself.

mod logs;
mod service;

use std::cmp::Ordering;
use std::path::Path;
use std::time::Duration;

use stormtunnel_model::ExitCode;
use stormtunnel_proto::paths::log_file;
use stormtunnel_proto::{API_LEVEL, CallError, Client};
use tokio::time::{Instant, interval, timeout_at};

use super::Ending;
use crate::autostart::{Unreachable, become_daemon};
use crate::cli::{DaemonVerb, Format};
use crate::context::{Context, FIRST_ANSWER};
use crate::exit::{Failure, Problem};
use crate::lock::{Identity, Lock};
use crate::render::details;
use crate::render::views::{AbsentDaemonView, DaemonView, ServiceView};
use crate::service::{State, is_installed};

/// How often `daemon stop` looks whether the socket is gone.
const STOP_POLL: Duration = Duration::from_millis(50);

pub(super) async fn run(context: &mut Context<'_>, verb: &DaemonVerb) -> Ending {
    match verb {
        DaemonVerb::Run => Err(become_daemon(&context.plan()).problem().into()),
        DaemonVerb::Status => status(context).await,
        DaemonVerb::Start => service::start(context).await,
        DaemonVerb::Stop { timeout } => stop(context, *timeout).await,
        DaemonVerb::Restart => service::restart(context).await,
        DaemonVerb::Install { linger } => service::install(context, *linger).await,
        DaemonVerb::Uninstall { purge, yes } => service::uninstall(context, *purge, *yes).await,
        DaemonVerb::Logs { follow, lines } => logs::logs(context, *lines, *follow),
    }
}

async fn status(context: &mut Context<'_>) -> Ending {
    let service = service_view(context)?;
    let socket = context.paths.socket.display().to_string();
    let client = match context.running_client().await {
        Ok(client) => client,
        Err(unreachable) => return not_reached(context, &unreachable, service, socket),
    };
    let info = client.daemon_info().await?;
    let settings = client.settings(&[]).await?;
    let view = DaemonView::of(&info, &socket, &settings.path, service);
    let (now, style) = (context.out.now(), context.out.style());
    match context.out.format {
        Format::Json | Format::Yaml => context.out.document(&view)?,
        Format::Table | Format::Wide => {
            context.out.words(&details::daemon(&info, &view, now, style), details::INDENT)?;
        }
        Format::Name => context.out.text(&socket)?,
    }
    if let Some(note) = skew(context, info.api_level) {
        context.out.note(&note);
    }
    Ok(ExitCode::Ok)
}

/// What to say of a daemon of that level, if it is not ours.
fn skew(context: &Context<'_>, level: u32) -> Option<String> {
    let both = format!("the daemon has API level {level}, stctl {API_LEVEL}");
    match level.cmp(&API_LEVEL) {
        Ordering::Equal => None,
        Ordering::Less => Some(format!("warning: {both}: {}", context.newer_daemon())),
        Ordering::Greater => Some(format!("{both}: update stctl to see and use all that the daemon has")),
    }
}

/// What is known without a daemon; the problem tells the rest, on standard error.
fn not_reached(
    context: &mut Context<'_>,
    unreachable: &Unreachable,
    service: ServiceView,
    socket: String,
) -> Ending {
    let log = log_file(&context.paths.state_dir);
    let log_path = log.exists().then(|| log.display().to_string());
    let view = AbsentDaemonView { running: false, service, socket, log_path };
    match context.out.format {
        Format::Json | Format::Yaml => context.out.document(&view)?,
        Format::Table | Format::Wide => context.out.words(&details::absent_daemon(&view), details::INDENT)?,
        Format::Name => context.out.text(&view.socket)?,
    }
    let problem = unreachable.problem();
    if view.service.installed && unreachable.is_absence() {
        let remedy = "`stctl daemon start` starts it, and so does any command that needs it".to_owned();
        let headline = "the daemon is not running".to_owned();
        return Err(Problem { headline, remedy, detail: String::new(), ..problem }.into());
    }
    Err(problem.into())
}

pub(super) fn service_view(context: &Context<'_>) -> Result<ServiceView, Failure> {
    let manager = context.service()?;
    let installed = is_installed(manager.as_ref(), &context.paths);
    let state = if installed { manager.state() } else { State::default() };
    Ok(ServiceView { manager: manager.name(), installed, enabled: state.enabled, active: state.active })
}

async fn stop(context: &mut Context<'_>, timeout: Duration) -> Ending {
    let began = Instant::now();
    let deadline = began + timeout;
    let known = (Identity::of(&context.paths.socket), Lock::beside(&context.paths.socket));
    let found = context.running_client().await;
    context.goes_on = "the daemon goes on stopping";
    match found {
        Ok(client) => ask(&client, deadline.max(began + FIRST_ANSWER)).await?,
        Err(Unreachable::Stale { socket }) if matches!(Lock::beside(&socket), Lock::Held(_)) => {
            context.out.note("the daemon is stopping already");
        }
        Err(absent) if absent.is_absence() => {
            context.out.note("the daemon is not running");
            return Ok(ExitCode::Ok);
        }
        Err(unreachable) => return Err(unreachable.problem().into()),
    }
    let socket = &context.paths.socket;
    timeout_at(deadline, stopped(socket, known)).await.map_err(|_| still_stopping(socket, timeout))?;
    context.out.note("the daemon has stopped");
    Ok(ExitCode::Ok)
}

async fn ask(client: &Client, answer_by: Instant) -> Result<(), Failure> {
    match timeout_at(answer_by, client.shutdown()).await {
        // A daemon that is gone before its answer arrives did what it was asked.
        Ok(Ok(()) | Err(CallError::Disconnected(_))) => Ok(()),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(Problem::unanswered_in_time().into()),
    }
}

/// The daemon removes its socket last, after all sessions have ended. The next daemon's socket is another one, and a
/// daemon that was killed meanwhile leaves its socket and no lock. A service manager's socket stays, and the next daemon may
/// have the lock before anybody looks.
async fn stopped(socket: &Path, (known, holder): (Option<Identity>, Lock)) {
    let mut ticks = interval(STOP_POLL);
    loop {
        ticks.tick().await;
        let now = Identity::of(socket);
        if now.is_none() || now != known || Lock::beside(socket).has_passed_from(holder) {
            return;
        }
    }
}

fn still_stopping(socket: &Path, waited: Duration) -> Failure {
    let headline = format!("the daemon is still stopping after {} s", waited.as_secs_f64());
    let kill = match Lock::beside(socket) {
        Lock::Held(Some(pid)) => format!("`kill -9 {pid}`"),
        Lock::Held(None) | Lock::Free | Lock::Unknown => "`kill -9 PID`".to_owned(),
    };
    let remedy = format!("repeat the command to go on waiting, or end it at once with {kill}");
    Problem { exit: ExitCode::Timeout, remedy, ..Problem::failure("timeout", headline) }.into()
}
