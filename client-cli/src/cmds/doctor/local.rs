//! What is seen from this side: the socket and its lock, the versions, this terminal's environment.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use stormtunnel_model::{Finding, Outcome};
use stormtunnel_proto::calls::DaemonInfo;
use stormtunnel_proto::{API_LEVEL, CallError, Client};

use crate::autostart::Unreachable;
use crate::context::Context;
use crate::exit::Failure;
use crate::lock::Lock;
use crate::world::Environment;

/// What to do about a daemon that knows more than this program.
const UPDATE: &str = "update stctl";

/// Whether there is a daemon to talk to. A socket that is `managed` belongs to a service manager, daemon or not.
pub(super) fn reachable(socket: &Path, why: Option<&Unreachable>, managed: bool, fix: bool) -> Finding {
    let finding = |outcome, detail: String| Finding::new("daemon.reachable", "daemon", outcome, detail);
    let Some(why) = why else { return finding(Outcome::Pass, "it answers".to_owned()) };
    let is_stale = matches!(why, Unreachable::Stale { .. });
    if is_stale && managed && !matches!(Lock::beside(socket), Lock::Held(_)) {
        return finding(Outcome::Warn, "it does not run; its service holds the socket".to_owned())
            .with_remedy("any command has the service start it, `stctl ls` for one");
    }
    let left = is_stale && Lock::beside(socket) == Lock::Free;
    if left && UnixStream::connect(socket).is_ok() {
        let detail =
            format!("somebody answers at {}, and no daemon holds the lock beside it", socket.display());
        return finding(Outcome::Fail, detail)
            .with_remedy("if that is a stormtunneld (`pgrep -a stormtunneld`), end it; any command starts one that has the lock");
    }
    let problem = why.problem();
    let detail = if problem.detail.is_empty() {
        problem.headline
    } else {
        format!("{}\n{}", problem.headline, problem.detail)
    };
    let found = Finding { fixable: left, ..finding(Outcome::Fail, detail).with_remedy(problem.remedy) };
    if fix && left && fs::remove_file(socket).is_ok() {
        return Finding { fixable: false, fixed: format!("removed {}", socket.display()), ..found };
    }
    found
}

/// Only the user may connect.
pub(super) fn socket(path: &Path, fix: bool) -> Finding {
    let finding = |outcome, detail: String| Finding::new("daemon.socket", "socket", outcome, detail);
    let Ok(seen) = fs::symlink_metadata(path) else {
        return finding(Outcome::Skipped, "there is none while no daemon runs".to_owned());
    };
    let own = rustix::process::geteuid().as_raw();
    if seen.uid() != own {
        let detail = format!("{} belongs to user {}", path.display(), seen.uid());
        return finding(Outcome::Fail, detail)
            .with_remedy("choose another with --socket; each user has one of their own");
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut open: Vec<(PathBuf, u32, u32)> = Vec::new();
    // A directory that many use, such as /tmp, or that has something else in it, such as a home, is not ours to close.
    let shared = fs::metadata(directory).is_ok_and(|seen| seen.uid() != own || seen.mode() & 0o1000 != 0)
        || !has_only_ours(directory, path);
    let directory = (!shared).then_some((directory, 0o700));
    for (path, wanted) in [(path, 0o600)].into_iter().chain(directory) {
        let mode = fs::metadata(path).map_or(wanted, |seen| seen.permissions().mode() & 0o777);
        if mode & !wanted & 0o777 != 0 {
            open.push((path.to_owned(), mode, mode & wanted));
        }
    }
    if open.is_empty() {
        return finding(Outcome::Pass, "only you can connect".to_owned());
    }
    let line = |(path, mode, wanted): &(PathBuf, u32, u32)| {
        format!("{} has mode {mode:04o}, not {wanted:04o}", path.display())
    };
    let lines: Vec<String> = open.iter().map(line).collect();
    let close = |(path, _, wanted): &(PathBuf, u32, u32)| {
        fs::set_permissions(path, fs::Permissions::from_mode(*wanted)).is_ok()
    };
    if fix && open.iter().all(close) {
        return Finding {
            fixed: lines.join("\n"),
            ..finding(Outcome::Pass, "only you can connect now".to_owned())
        };
    }
    Finding { fixable: true, ..finding(Outcome::Fail, lines.join("\n")) }
        .with_remedy("`stctl doctor --fix` closes them to others")
}

/// Whether nothing lies in the directory but the socket and its lock.
fn has_only_ours(directory: &Path, socket: &Path) -> bool {
    let socket = socket.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let is_ours = |entry: std::io::Result<fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with(&socket))
    };
    fs::read_dir(directory).is_ok_and(|mut entries| entries.all(is_ours))
}

/// Variables of this terminal that decide in the place of a profile.
pub(super) fn environment(env: &Environment) -> Finding {
    let is_set = |name: &str| env.text(name);
    let mut lines = Vec::new();
    if is_set("AWS_ACCESS_KEY_ID").is_some() || is_set("AWS_SECRET_ACCESS_KEY").is_some() {
        lines.push(
            "AWS_ACCESS_KEY_ID is set: other AWS tools use these keys and no profile; stctl uses the profile"
                .to_owned(),
        );
    }
    for (one, other) in [
        ("STCTL_PROFILE", "AWS_PROFILE"),
        ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"),
        ("AWS_REGION", "AWS_DEFAULT_REGION"),
    ] {
        if let (Some(a), Some(b)) = (is_set(one), is_set(other))
            && a != b
        {
            lines.push(format!("{one} is {a} and {other} is {b}: tools differ in which one they follow"));
        }
    }
    let finding =
        |outcome, detail: String| Finding::new("environment", "variables of this terminal", outcome, detail);
    if lines.is_empty() {
        return finding(Outcome::Pass, "none is in the way of a profile".to_owned());
    }
    finding(Outcome::Warn, lines.join("\n")).with_remedy("unset what is not wanted")
}

/// Whether the daemon that answers, and no other, holds the lock beside its socket: without it a second one can start.
fn lock(context: &Context<'_>, answering: u32) -> Finding {
    let finding = |outcome, detail: String| Finding::new("daemon.lock", "lock", outcome, detail);
    let detail = match Lock::beside(&context.paths.socket) {
        Lock::Held(Some(holder)) if holder != answering && !context.in_container => {
            format!("process {holder} holds the lock, and process {answering} answers")
        }
        Lock::Held(_) => return finding(Outcome::Pass, "the daemon holds it".to_owned()),
        // Only the socket may have been given to a container.
        Lock::Unknown | Lock::Free if context.in_container => {
            return finding(Outcome::Skipped, "the daemon runs outside of this container".to_owned());
        }
        Lock::Unknown | Lock::Free => {
            "the daemon holds no lock beside its socket: another one could start".to_owned()
        }
    };
    finding(Outcome::Warn, detail)
        .with_remedy("`stctl daemon stop`, then any command starts one that holds it")
}

/// What the daemon says of itself.
pub(super) async fn of_daemon(
    context: &Context<'_>,
    client: &Client,
    info: DaemonInfo,
) -> Result<Vec<Finding>, Failure> {
    let own = env!("CARGO_PKG_VERSION");
    let version =
        |outcome, detail: String| Finding::new("daemon.version", "version of the daemon", outcome, detail);
    let version = if info.api_level == API_LEVEL && info.version == own {
        version(Outcome::Pass, format!("{own}, as stctl"))
    } else {
        let (theirs, level) = (&info.version, info.api_level);
        let outcome = if level < API_LEVEL { Outcome::Fail } else { Outcome::Warn };
        version(outcome, format!("the daemon has {theirs} (API level {level}), stctl {own} ({API_LEVEL})"))
            .with_remedy(if level > API_LEVEL { UPDATE } else { context.newer_daemon() })
    };
    let mut findings = vec![lock(context, info.pid), version];
    let mut troubles = info.warnings;
    let profile = context.env.text("AWS_PROFILE");
    match client.list_profiles().await {
        Ok(list) => {
            let missing = profile.filter(|name| !list.profiles.iter().any(|one| one.name.as_str() == name));
            troubles.extend(missing.map(|name| format!("AWS_PROFILE is {name}, which no AWS file has")));
        }
        Err(CallError::Unimplemented) => {}
        Err(error) => return Err(error.into()),
    }
    let finding = |outcome, detail: String| {
        Finding::new("daemon.warnings", "what the daemon warns of", outcome, detail)
    };
    findings.push(if troubles.is_empty() {
        finding(Outcome::Pass, "nothing".to_owned())
    } else {
        finding(Outcome::Warn, troubles.join("\n"))
            .with_remedy("`stctl settings get` and `stctl profiles` show more")
    });
    Ok(findings)
}
