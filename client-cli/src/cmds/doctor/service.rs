//! What starts the daemon with the session, if anything does: whether its files are this version's, and whether what they start is
//! there and is the daemon that runs.

use std::fs;
use std::path::{Path, PathBuf};

use stormtunnel_model::{Finding, Outcome};
use stormtunnel_proto::calls::DaemonInfo;

use crate::context::Context;
use crate::exit::Failure;
use crate::service::{Manager, State, is_installed, is_mask, program_in};

const REMEDY: &str =
    "`stctl daemon install` writes its files anew, and has it start the stormtunneld beside stctl";

/// Looks at the service; `running` is the daemon that answers.
pub(super) fn service(context: &Context<'_>, running: Option<&DaemonInfo>) -> Finding {
    let finding = |outcome, detail: String| Finding::new("daemon.service", "service", outcome, detail);
    let Ok(manager) = context.service() else {
        return finding(Outcome::Skipped, "HOME is not set".to_owned());
    };
    if manager.places().iter().any(|place| is_mask(place)) {
        return finding(Outcome::Pass, "masked; the daemon starts when needed".to_owned());
    }
    let (there, missing): (Vec<PathBuf>, Vec<PathBuf>) =
        manager.places().into_iter().partition(|place| place.exists());
    let Some(first) = there.first() else {
        return packaged(manager.as_ref(), context, running);
    };
    let mut troubles: Vec<(Outcome, String)> =
        missing.iter().map(|place| (Outcome::Fail, format!("{} is missing", place.display()))).collect();
    let texts = there.iter().filter_map(|place| fs::read_to_string(place).ok());
    match texts.into_iter().find_map(|text| program_in(&text)).map(PathBuf::from) {
        Some(program) if !program.exists() => {
            let detail = format!("{} starts {}, which is not there", first.display(), program.display());
            troubles.push((Outcome::Fail, detail));
        }
        _ if missing.is_empty() && !is_installed(manager.as_ref(), &context.paths) => {
            return finding(Outcome::Skipped, format!("{} is about another socket", first.display()));
        }
        Some(program) => troubles.extend(of_installed(context, manager.as_ref(), &program, running)),
        None => troubles.push((Outcome::Fail, format!("{} starts no stormtunneld", first.display()))),
    }
    let Some(outcome) = troubles.iter().map(|(outcome, _)| *outcome).max() else {
        return finding(Outcome::Pass, first.display().to_string());
    };
    let lines: Vec<String> = troubles.into_iter().map(|(_, line)| line).collect();
    finding(outcome, lines.join("\n")).with_remedy(REMEDY)
}

/// Looks at a service of which the user has no file: one of a package's, or none.
fn packaged(manager: &dyn Manager, context: &Context<'_>, running: Option<&DaemonInfo>) -> Finding {
    let finding = |outcome, detail: &str| Finding::new("daemon.service", "service", outcome, detail);
    if manager.in_force().is_empty() {
        return finding(Outcome::Pass, "none; the daemon starts when needed");
    }
    if !is_installed(manager, &context.paths) {
        return finding(Outcome::Skipped, "the service of the package is about another socket");
    }
    match running.and_then(|info| not_the_services(info.pid, manager.state())) {
        Some(trouble) => finding(Outcome::Warn, &trouble).with_remedy(REMEDY),
        None => finding(Outcome::Pass, "the service of the package"),
    }
}

/// What a person should know of a service whose program is there.
fn of_installed(
    context: &Context<'_>,
    manager: &dyn Manager,
    program: &Path,
    running: Option<&DaemonInfo>,
) -> Vec<(Outcome, String)> {
    let lines = [
        outdated(manager, program).unwrap_or(None),
        of_another_version(context, program),
        running.and_then(|info| not_the_services(info.pid, manager.state())),
    ];
    lines.into_iter().flatten().map(|line| (Outcome::Warn, line)).collect()
}

/// A file that this `stctl` would write in another way, or not at all.
fn outdated(manager: &dyn Manager, program: &Path) -> Result<Option<String>, Failure> {
    let files = manager.files(program)?;
    if files.is_empty() {
        return Ok(Some(
            "its files hide those that the package has brought, and brings with its next version".to_owned(),
        ));
    }
    let differs = |path: &Path, text: &str| fs::read_to_string(path).is_ok_and(|found| found != text);
    let other = files.into_iter().find(|file| differs(&file.path, &file.text));
    Ok(other.map(|file| format!("{} is not as this stctl writes it", file.path.display())))
}

fn of_another_version(context: &Context<'_>, program: &Path) -> Option<String> {
    let said = context.programs.run(program, &["--version".to_owned()]).ok().filter(|end| end.code == 0)?;
    let (version, own) = (said.stdout.split_whitespace().nth(1)?, env!("CARGO_PKG_VERSION"));
    (version != own).then(|| format!("{} has version {version}, stctl {own}", program.display()))
}

/// Whether the daemon that answers is none that the manager started. A manager that does not answer says nothing.
fn not_the_services(running: u32, state: State) -> Option<String> {
    match state.pid {
        Some(pid) if pid != running => {
            Some(format!("the daemon that answers (pid {running}) is not the service's (pid {pid})"))
        }
        None if state.enabled => {
            Some(format!("the daemon that answers (pid {running}) is not the service's"))
        }
        Some(_) | None => None,
    }
}
