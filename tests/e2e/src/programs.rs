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
    python_with("grpc, grpc_reflection", "grpcio and grpcio-reflection")
}

/// The same with AWS's SDK for Python and the AWS CLI of version 1.
///
/// # Errors
/// As [`find`].
pub fn python_with_aws() -> Result<Option<PathBuf>> {
    python_with("boto3, awscli", "boto3 and awscli")
}

/// The interpreter itself: what finds it may need an environment that tests clear.
fn python_with(modules: &str, packages: &str) -> Result<Option<PathBuf>> {
    let python =
        std::env::var_os("STORMTUNNEL_PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let script = format!("import {modules}, sys; print(sys.executable)");
    match said(&python, &["-c", &script]) {
        Some(path) => Ok(Some(path.into())),
        None => missing(&format!("python3 with {packages}")),
    }
}

/// The AWS CLI of version 2: `STORMTUNNEL_AWS_CLI`, else Debian's.
///
/// # Errors
/// As [`find`].
pub fn aws_cli_2() -> Result<Option<PathBuf>> {
    let program =
        std::env::var_os("STORMTUNNEL_AWS_CLI").map_or_else(|| PathBuf::from("/usr/bin/aws"), PathBuf::from);
    match said(&program, &["--version"]) {
        Some(version) if version.starts_with("aws-cli/2.") => Ok(Some(program)),
        Some(_) | None => missing("AWS CLI 2"),
    }
}

/// What a program prints, if it succeeds.
fn said(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
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

/// A program on `PATH`.
#[must_use]
pub fn find_on_path(name: &str) -> Option<PathBuf> {
    search_path().map(|place| place.join(name)).find(|path| path.is_file())
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
