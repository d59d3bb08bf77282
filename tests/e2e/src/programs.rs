//! Finding the programs that tests drive, and what happens without them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

/// Where a program is: on `PATH`, or in one of the places where distributions hide it.
///
/// # Errors
/// It is nowhere and nothing may be skipped (`REQUIRE_ALL`). Without that variable a missing program is `None`, and
/// standard error names it.
pub fn find(name: &str) -> Result<Option<PathBuf>> {
    let found =
        search_path().chain(hidden_places()).map(|place| place.join(name)).find(|path| path.is_file());
    match found {
        Some(path) => Ok(Some(path)),
        None => missing(name),
    }
}

/// A Python that can speak gRPC through reflection: `STORMTUNNEL_PYTHON`, else `python3`.
///
/// # Errors
/// As [`find`].
pub fn python_with_grpc() -> Result<Option<PathBuf>> {
    let python =
        std::env::var_os("STORMTUNNEL_PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let mut probe = Command::new(&python);
    probe
        .args(["-c", "import grpc, grpc_reflection"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    match probe.status() {
        Ok(status) if status.success() => Ok(Some(python)),
        Ok(_) | Err(_) => missing("python3 with grpcio and grpcio-reflection"),
    }
}

/// Says that something is not there.
///
/// # Errors
/// Nothing may be skipped (`REQUIRE_ALL`).
#[expect(clippy::print_stderr, reason = "a test that checks nothing has to say so")]
pub fn missing<T>(what: &str) -> Result<Option<T>> {
    if std::env::var_os("REQUIRE_ALL").is_some_and(|value| !value.is_empty()) {
        bail!("{what} is not here, and REQUIRE_ALL allows no test to be skipped");
    }
    eprintln!("skipped: {what} is not here");
    Ok(None)
}

fn search_path() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).collect::<Vec<_>>().into_iter()
}

/// Debian keeps each PostgreSQL in a directory of its own; Homebrew keeps some programs off the path.
fn hidden_places() -> impl Iterator<Item = PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut postgres: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    postgres.sort();
    let others =
        ["/usr/sbin", "/usr/local/bin", "/opt/homebrew/bin"].map(|place| Path::new(place).to_owned());
    postgres.into_iter().rev().chain(others)
}
