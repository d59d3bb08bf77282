//! `daemon install`, `uninstall`, `start` and `restart`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stormtunnel_model::ExitCode;
use stormtunnel_proto::calls::DaemonInfo;

use super::super::Ending;
use super::stop;
use crate::autostart;
use crate::context::Context;
use crate::exit::{Failure, Problem};
use crate::lock::Lock;
use crate::service::{self, Change, is_installed};

/// How long a daemon that is replaced may take to end its sessions.
const STOP: Duration = Duration::from_secs(60);

/// What remains to be done about a service that the user alone cannot remove.
const FOR_EVERYBODY: &str = "it is enabled for every user of this machine, and starts again when you log in; \
     `systemctl --user mask stormtunneld.socket stormtunneld.service` keeps it away from you";

pub(super) async fn install(context: &mut Context<'_>, linger: bool) -> Ending {
    let executable = lasting(context.plan().executable().map_err(|error| error.problem())?, context);
    let running = running(context).await;
    let files = context.service()?.files(&executable)?;
    let moves = {
        let service = context.service()?;
        !service.in_force().is_empty() && !is_installed(service.as_ref(), &context.paths)
    };
    let is_written = if files.is_empty() {
        service::remove(&context.service()?.places())?
    } else {
        service::write(&files)?
    };
    // A manager that does not answer is found out before the daemon that runs is ended.
    context.service()?.reload()?;
    let is_another = match &running {
        Some(info) if context.service()?.state().pid != Some(info.pid) => {
            context.out.note("the daemon that runs is replaced by the service");
            stop(context, STOP).await?;
            false
        }
        Some(info) => version(context, &executable)?.as_deref() != Some(&info.version),
        None => false,
    };
    let change = match (moves, is_written, is_another) {
        (true, ..) => Change::Place,
        (false, true, _) => Change::Files,
        (false, false, true) => Change::Program,
        (false, false, false) => Change::None,
    };
    context.service()?.enable(change)?;
    let name = context.service()?.name();
    let info = started(context).await?;
    let done =
        format!("the service is installed: {name} runs stormtunneld {} (pid {})", info.version, info.pid);
    context.out.note(&done);
    let logout = context.service()?.logout(linger)?;
    if let Some(note) = logout {
        context.out.note(note);
    }
    Ok(ExitCode::Ok)
}

pub(super) async fn uninstall(context: &mut Context<'_>, purge: bool, yes: bool) -> Ending {
    if purge && !yes {
        confirm_purge(context).await?;
    }
    let places = context.service()?.places();
    if !context.service()?.in_force().is_empty() {
        context.service()?.disable()?;
        service::remove(&places)?;
        context.service()?.reload()?;
        // launchd leaves it behind. A daemon that still stops removes its own.
        if Lock::beside(&context.paths.socket) == Lock::Free {
            let _ = fs::remove_file(&context.paths.socket);
        }
        context.out.note("the service is removed");
        if !context.service()?.in_force().is_empty() {
            context.out.note(FOR_EVERYBODY);
        }
    } else {
        context.out.note("the service is not installed");
    }
    if purge {
        stop(context, STOP).await?;
        let executable = context.plan().executable().map_err(|error| error.problem())?;
        let flags = context.plan().arguments();
        let flags = flags.iter().map(|flag| flag.to_string_lossy().into_owned());
        let arguments: Vec<String> = flags.chain(["--purge".to_owned()]).collect();
        program(context, &executable, &arguments)?;
        context.out.note("all tunnels, their history and the log are removed");
    }
    Ok(ExitCode::Ok)
}

async fn confirm_purge(context: &mut Context<'_>) -> Result<(), Failure> {
    match context.ask("remove all tunnels, their history and the log?").await? {
        Some(true) => Ok(()),
        Some(false) => {
            Err(Problem::failure("not_confirmed", "nothing was removed: it was not confirmed").into())
        }
        None => {
            let headline = "the removal of all tunnels has to be confirmed";
            Err(Problem::usage(headline, "make sure that this is meant, then repeat with --yes").into())
        }
    }
}

pub(super) async fn start(context: &mut Context<'_>) -> Ending {
    let was_running = running(context).await.is_some();
    let info = started(context).await?;
    let how = if was_running { "runs already" } else { "is running" };
    context.out.note(&format!("the daemon {how} (pid {})", info.pid));
    Ok(ExitCode::Ok)
}

pub(super) async fn restart(context: &mut Context<'_>) -> Ending {
    let before = running(context).await;
    let state = context.service()?.state();
    let is_the_services = before.as_ref().is_none_or(|info| state.pid == Some(info.pid));
    if is_the_services && is_installed(context.service()?.as_ref(), &context.paths) {
        // The manager keeps the ports meanwhile.
        context.service()?.restart()?;
    } else {
        stop(context, STOP).await?;
    }
    let info = started(context).await?;
    context.out.note(&format!("the daemon is running (pid {})", info.pid));
    Ok(ExitCode::Ok)
}

/// The daemon that runs, if one does.
async fn running(context: &mut Context<'_>) -> Option<DaemonInfo> {
    context.running_client().await.ok()?.daemon_info().await.ok()
}

/// The daemon, which is started if none runs: that is what was asked for, whatever `STCTL_NO_AUTOSTART` says.
async fn started(context: &Context<'_>) -> Result<DaemonInfo, Failure> {
    let client = autostart::connect(&context.plan(), true).await.map_err(|error| error.problem())?;
    Ok(client.daemon_info().await?)
}

/// What the program says of its version.
fn version(context: &Context<'_>, executable: &Path) -> Result<Option<String>, Failure> {
    let said = program(context, executable, &["--version".to_owned()])?;
    Ok(said.split_whitespace().nth(1).map(str::to_owned))
}

fn program(context: &Context<'_>, program: &Path, arguments: &[String]) -> Result<String, Failure> {
    let failed = |detail: String| -> Failure {
        let headline = format!("`{} {}` failed", program.display(), arguments.join(" "));
        Problem { detail, ..Problem::failure("service", headline) }.into()
    };
    let end = context.programs.run(program, arguments).map_err(|error| failed(error.to_string()))?;
    if end.code == 0 { Ok(end.stdout) } else { Err(failed(end.stderr.trim_end().to_owned())) }
}

/// The path on `PATH` that leads to the same program, if there is one: package managers keep that one over an upgrade, and
/// not the one that it leads to.
fn lasting(executable: PathBuf, context: &Context<'_>) -> PathBuf {
    let (Ok(real), Some(name)) = (fs::canonicalize(&executable), executable.file_name()) else {
        return executable;
    };
    let path = context.env.value("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).filter(|place| place.is_absolute());
    let found = places.find_map(|place| {
        let candidate = place.join(name);
        fs::canonicalize(&candidate).is_ok_and(|leads_to| leads_to == real).then_some(candidate)
    });
    found.unwrap_or(executable)
}
