//! A daemon whose wall clock can be moved.
//!
//! A small library made of `clock.c` lies between the daemon and the system's clock. The usual tool for this, faketime,
//! takes its orders from environment variables, which the daemon drops together with everything else that it does not
//! know.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use stormtunnel_e2e::process::{self, Service};
use stormtunnel_e2e::{DEADLINE, programs};
use stormtunnel_harness::Sandbox;
use tempfile::TempDir;

/// The source of the library.
const SOURCE: &str = include_str!("clock.c");

/// A running daemon and the offset of its clock. Dropped, the daemon is killed.
pub(crate) struct ClockedDaemon {
    offset: File,
    _daemon: Service,
    _directory: TempDir,
}

impl ClockedDaemon {
    /// Starts the daemon of a place. `None`: this machine has no compiler, or no way to preload a library; the daemon is
    /// left to whoever needs one.
    ///
    /// # Errors
    /// The library cannot be made, or the daemon does not start; or there is no compiler and nothing may be skipped.
    pub(crate) async fn start(sandbox: &Sandbox) -> Result<Option<Self>> {
        if !cfg!(target_os = "linux") {
            return programs::missing("a clock that can be moved (LD_PRELOAD)");
        }
        let Some(compiler) = programs::find("cc")? else { return Ok(None) };
        let directory = tempfile::tempdir()?;
        let [source, library, offset] =
            ["clock.c", "clock.so", "offset"].map(|name| directory.path().join(name));
        fs::write(&source, SOURCE)?;
        let mut compile = Command::new(compiler);
        compile
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .arg(&library)
            .arg(&source)
            .arg("-ldl");
        process::run(compile, DEADLINE).await?.success().context("clock.c does not compile")?;
        fs::write(&offset, 0_i64.to_ne_bytes())?;
        let daemon = start_daemon(sandbox, &library, &offset).await?;
        let offset = File::options().write(true).open(&offset)?;
        Ok(Some(Self { offset, _daemon: daemon, _directory: directory }))
    }

    /// Sets the daemon's clock off by that many seconds.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn step_to(&self, seconds: i64) -> Result<()> {
        self.offset.write_all_at(&seconds.to_ne_bytes(), 0).context("the clock cannot be moved")
    }
}

async fn start_daemon(sandbox: &Sandbox, library: &PathBuf, offset: &PathBuf) -> Result<Service> {
    let mut command = tokio::process::Command::new(&sandbox.binaries().stormtunneld);
    // The rest of what the daemon drops: it must find nothing to drop, or it would run itself again.
    let environment = sandbox.environment().into_iter().filter(|(name, _)| name != "STCTL_DAEMON");
    // As `stctl` would have it started: it logs to its file, and says when it serves.
    command.arg("--detached");
    command.env_clear().envs(environment).env("LD_PRELOAD", library).env("STORMTUNNEL_CLOCK_OFFSET", offset);
    Service::start(command, "ready", DEADLINE).await.context("the daemon with a movable clock does not start")
}
