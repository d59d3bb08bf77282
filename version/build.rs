//! The build script of both programs: what `--version` says behind the number.
//!
//! A release build names the commit and its date. Any other build would have to be made anew at every commit for that, and so
//! says only that it is none. `STORMTUNNEL_COMMIT` is for packagers: its text stands there in any build, and nothing when it is
//! empty. Where there is no git or no repository, as in an archive of the source, the number stands alone.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The variable with which packagers say what the commit is.
const OVERRIDE: &str = "STORMTUNNEL_COMMIT";

fn main() {
    println!("cargo::rerun-if-env-changed={OVERRIDE}");
    let number = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let root = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default().join("..");
    let given = env::var(OVERRIDE).ok();
    if is_release && given.is_none() {
        for file in watched(&root) {
            println!("cargo::rerun-if-changed={}", file.display());
        }
    }
    println!("cargo::rustc-env=STORMTUNNEL_VERSION={}", version(&number, is_release, given, &root));
}

/// What stands behind the name of the program.
pub(crate) fn version(number: &str, is_release: bool, given: Option<String>, root: &Path) -> String {
    let build = match given {
        Some(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        None if is_release => commit(root),
        None => Some("development build".to_owned()),
    };
    build.map_or_else(|| number.to_owned(), |build| format!("{number} ({build})"))
}

/// The commit and its date, such as `c5b40d1 2026-11-28`.
fn commit(root: &Path) -> Option<String> {
    let said = git(root, &["-c", "log.showSignature=false", "log", "-1", "--abbrev=7", "--format=%h %cs"])?;
    // A git that does not know one of these repeats it.
    let (hash, date) = said.split_once(' ')?;
    let is_hash = hash.len() >= 7 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_date = date.len() == 10 && date.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    (is_hash && is_date).then_some(said)
}

/// The files of git that change with the commit, as far as they are there: one that is not would never be up to date.
pub(crate) fn watched(root: &Path) -> Vec<PathBuf> {
    let branch = git(root, &["symbolic-ref", "--quiet", "HEAD"]);
    let names = ["HEAD", "logs/HEAD", "packed-refs"].into_iter().chain(branch.as_deref());
    let paths = names.filter_map(|name| git(root, &["rev-parse", "--git-path", name]));
    paths.map(|path| root.join(path)).filter(|path| path.exists()).collect()
}

/// What git says of this repository, and not of one that the source happens to lie in.
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    if !root.join(".git").exists() {
        return None;
    }
    let mut command = Command::new("git");
    // Set when a hook runs the build.
    ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"].iter().for_each(|variable| {
        command.env_remove(variable);
    });
    let output = command.current_dir(root).args(arguments).stdin(Stdio::null()).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !said.is_empty()).then_some(said)
}
