//! Looking for secrets where people look, send things around or leave them lying about.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::scene::Scene;
use crate::{DEADLINE, process};

/// Targets of our own code; all others are capped at INFO.
const OURS: [&str; 4] = ["stormtunnel", "ssm_session", "smux", "stctl"];
/// A part of a secret that is long enough not to turn up by chance. Encodings change `+`, `/` and `=`, not this.
const TELLING: usize = 16;

/// What was shown somewhere: the place, and the bytes.
pub type Shown = (String, Vec<u8>);

/// Starts the daemon of a place where none runs, with a log whose lines name their target, at TRACE.
///
/// # Errors
/// It does not start, or another one runs.
pub async fn start_at_trace(scene: &Scene) -> Result<()> {
    let place = scene.sandbox();
    let mut command = Command::new(&place.binaries().stormtunneld);
    command.args(["--detach", "--log-format", "json"]).env_clear().envs(place.environment());
    ensure!(
        process::run(command, DEADLINE).await?.success()? == "ready\n",
        "another daemon runs in a new place"
    );
    scene.ok(&["settings", "set", "log.filter", "trace"]).await.map(drop)
}

/// What must not be found, in telling parts.
pub struct Secrets {
    count: usize,
    parts: Vec<String>,
}

impl Secrets {
    /// Those that the emulator handed out, which are so many at least.
    ///
    /// # Errors
    /// They are fewer; or the search does not find them in `known`, a file that holds some.
    pub fn of(scene: &Scene, at_least: usize, known: &Path) -> Result<Self> {
        let issued = scene.emulator().issued_secrets();
        ensure!(issued.len() >= at_least, "only {} secrets were handed out", issued.len());
        let parts = issued.iter().flat_map(|secret| telling(secret)).collect();
        let secrets = Self { count: issued.len(), parts };
        // What cannot find them where they are would find them nowhere.
        ensure!(
            secrets.found_in("a known place", &std::fs::read(known)?).is_some(),
            "the search finds nothing"
        );
        Ok(secrets)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Where a secret is among these bytes, with what stands before it.
    #[must_use]
    pub fn found_in(&self, place: &str, bytes: &[u8]) -> Option<String> {
        let text = String::from_utf8_lossy(bytes);
        let part = self.parts.iter().find(|part| text.contains(part.as_str()))?;
        let at = text.find(part.as_str()).unwrap_or_default();
        let before: String =
            text[..at].chars().rev().take(200).collect::<Vec<_>>().into_iter().rev().collect();
        Some(format!("{place}: …{before}<a secret>"))
    }
}

/// The longest run of a secret that no encoding changes; a secret without a long one as it is, and as it stands in an address.
fn telling(secret: &str) -> Vec<String> {
    let runs = secret.split(|c: char| !c.is_ascii_alphanumeric());
    let longest = runs.max_by_key(|run| run.len()).unwrap_or_default();
    if longest.len() >= TELLING {
        return vec![longest.to_owned()];
    }
    let in_address = secret.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    vec![secret.to_owned(), in_address]
}

/// All files under a directory.
///
/// # Errors
/// One cannot be listed.
pub fn files_under(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            files.extend(files_under(&entry.path())?);
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}

/// Command lines of all processes, and the daemon's environment. `running` is a command line that is among them.
///
/// # Errors
/// It is not; or the system does not tell.
#[cfg(target_os = "linux")]
pub fn processes(scene: &Scene, running: &[&str]) -> Result<Vec<Shown>> {
    let mut shown = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path().join("cmdline");
        // Not a process, or one that has ended meanwhile.
        if let Ok(bytes) = std::fs::read(&path) {
            shown.push((path.display().to_string(), bytes));
        }
    }
    let running = running.join("\0");
    let found = shown.iter().any(|(_, bytes)| String::from_utf8_lossy(bytes).contains(&running));
    ensure!(found, "{running:?} is not among the processes");
    let pid = scene.sandbox().daemon_pid().context("no daemon")?;
    let environ = PathBuf::from(format!("/proc/{pid}/environ"));
    shown.push((environ.display().to_string(), std::fs::read(&environ)?));
    Ok(shown)
}

/// Only Linux shows them as files.
///
/// # Errors
/// None.
#[cfg(not(target_os = "linux"))]
pub fn processes(_scene: &Scene, _running: &[&str]) -> Result<Vec<Shown>> {
    Ok(Vec::new())
}

/// Lines of a log.
#[derive(Debug)]
pub struct Lines {
    /// All of them.
    pub all: usize,
    /// DEBUG and TRACE.
    pub below_info: usize,
}

/// Counts the lines of a JSON log. Debug lines of HTTP and WebSocket libraries hold requests and frames.
///
/// # Errors
/// There is such a line that is not ours, or none below INFO at all.
pub fn only_ours_below_info(log: &Path) -> Result<Lines> {
    let text = std::fs::read_to_string(log)?;
    let mut lines = Lines { all: 0, below_info: 0 };
    for line in text.lines() {
        let entry: Value = serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
        lines.all += 1;
        if entry["level"] == "TRACE" || entry["level"] == "DEBUG" {
            let target = entry["target"].as_str().unwrap_or_default();
            ensure!(OURS.iter().any(|ours| target.starts_with(ours)), "{line}");
            lines.below_info += 1;
        }
    }
    ensure!(lines.below_info > 0, "nothing was logged below INFO: this was no run at TRACE");
    Ok(lines)
}
