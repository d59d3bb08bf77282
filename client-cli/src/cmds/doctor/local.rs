//! What is seen from this side: the socket, the versions, the service, this terminal's environment.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use stormtunnel_model::{Finding, Outcome};
use stormtunnel_proto::{API_LEVEL, CallError, Client};

use crate::autostart::Unreachable;
use crate::context::Context;
use crate::exit::Failure;
use crate::lock::Lock;
use crate::world::Environment;

/// Whether there is a daemon to talk to.
pub(super) fn reachable(socket: &Path, why: Option<&Unreachable>, fix: bool) -> Finding {
    let finding = |outcome, detail: String| Finding::new("daemon.reachable", "daemon", outcome, detail);
    let Some(why) = why else { return finding(Outcome::Pass, "it answers".to_owned()) };
    let problem = why.problem();
    let detail = if problem.detail.is_empty() {
        problem.headline
    } else {
        format!("{}\n{}", problem.headline, problem.detail)
    };
    let stale = matches!(why, Unreachable::Stale { .. }) && Lock::beside(socket) == Lock::Free;
    let found = Finding { fixable: stale, ..finding(Outcome::Fail, detail).with_remedy(problem.remedy) };
    if fix && stale && fs::remove_file(socket).is_ok() {
        return Finding { fixable: false, fixed: format!("removed {}", socket.display()), ..found };
    }
    found
}

/// What does not need the daemon.
pub(super) fn surroundings(context: &Context<'_>, fix: bool) -> Vec<Finding> {
    vec![socket(&context.paths.socket, fix), service(&context.env), environment(&context.env)]
}

/// Only the user may connect.
fn socket(path: &Path, fix: bool) -> Finding {
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

/// What starts the daemon with the session, if anything does.
fn service(env: &Environment) -> Finding {
    let finding = |outcome, detail: String| Finding::new("daemon.service", "service", outcome, detail);
    let Some(home) = env.value("HOME").map(PathBuf::from) else {
        return finding(Outcome::Skipped, "HOME is not set".to_owned());
    };
    let config = env.value("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from);
    let units = [
        config.join("systemd/user/stormtunneld.service"),
        // A link to the unit of a package.
        config.join("systemd/user/default.target.wants/stormtunneld.service"),
        home.join("Library/LaunchAgents/io.stormtunnel.stormtunneld.plist"),
    ];
    let Some((unit, text)) = units
        .into_iter()
        .find_map(|unit| Some((fs::read_to_string(&unit).ok()?, unit)))
        .map(|(text, unit)| (unit, text))
    else {
        return finding(Outcome::Pass, "none; the daemon starts when needed".to_owned());
    };
    match program(&text).filter(|program| !Path::new(program).exists()) {
        Some(program) => {
            let detail = format!("{} starts {program}, which is not there", unit.display());
            finding(Outcome::Fail, detail).with_remedy("`stctl daemon install` writes it anew")
        }
        None => finding(Outcome::Pass, unit.display().to_string()),
    }
}

/// The program that a unit or an agent starts.
fn program(text: &str) -> Option<&str> {
    let of_unit = text.lines().find_map(|line| line.trim().strip_prefix("ExecStart="));
    let of_unit = of_unit.and_then(|line| line.split_whitespace().next());
    of_unit.or_else(|| {
        let strings = text.split("<string>").skip(1).filter_map(|rest| rest.split("</string>").next());
        strings.into_iter().find(|text| text.ends_with("stormtunneld"))
    })
}

/// Variables of this terminal that decide in the place of a profile.
fn environment(env: &Environment) -> Finding {
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

/// What the daemon says of itself.
pub(super) async fn of_daemon(context: &Context<'_>, client: &Client) -> Result<Vec<Finding>, Failure> {
    let info = client.daemon_info().await?;
    let own = env!("CARGO_PKG_VERSION");
    let version =
        |outcome, detail: String| Finding::new("daemon.version", "version of the daemon", outcome, detail);
    let version = if info.api_level == API_LEVEL && info.version == own {
        version(Outcome::Pass, format!("{own}, as stctl"))
    } else {
        let (theirs, level) = (&info.version, info.api_level);
        let outcome = if level < API_LEVEL { Outcome::Fail } else { Outcome::Warn };
        version(outcome, format!("the daemon has {theirs} (API level {level}), stctl {own} ({API_LEVEL})"))
            .with_remedy("`stctl daemon stop`, then any command: it starts the daemon beside stctl")
    };
    let mut troubles = info.warnings;
    let mut findings = vec![version];
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
