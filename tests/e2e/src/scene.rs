//! One emulated AWS, one place for a daemon, and the verbs that tests use on them.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_emulator::{Config, Counter, Emulator};
use serde_json::Value;
use stormtunnel_harness::Sandbox;

use crate::DEADLINE;
use crate::process::{self, Output};
use crate::watch::Watch;

/// The name that the tunnels of tests lead to, where a test does not care.
pub const HOST: &str = "db.internal";
/// The port of it.
pub const PORT: u16 = 5432;

/// Lines of the daemon's log that a failure shows.
const LOG_LINES: usize = 40;

/// An emulator and a place for a daemon. Dropped, both are gone.
pub struct Scene {
    sandbox: Sandbox,
}

impl Scene {
    /// An emulator, and a place without a daemon yet.
    ///
    /// # Errors
    /// The binaries cannot be built, or the emulator cannot start.
    pub async fn start(config: Config) -> Result<Self> {
        Ok(Self { sandbox: Sandbox::start(config).await? })
    }

    /// A scene with a tunnel `db` that is up and leads to `service`, and its local port.
    ///
    /// # Errors
    /// As [`Scene::start`]; or the tunnel does not come up.
    pub async fn with_tunnel(config: Config, service: SocketAddr) -> Result<(Self, u16)> {
        let scene = Self::start(config).await?;
        scene.emulator().map_service(HOST, PORT, service);
        scene.add("db", &format!("{HOST}:{PORT}")).await?;
        scene.ok(&["up", "db"]).await?;
        let port = scene.port("db").await?;
        Ok((scene, port))
    }

    /// A second place for a daemon, on the same emulated AWS.
    ///
    /// # Errors
    /// The temporary directory cannot be written.
    pub async fn beside(&self) -> Result<Self> {
        Ok(Self { sandbox: self.sandbox.beside().await? })
    }

    /// The emulated AWS.
    #[must_use]
    pub fn emulator(&self) -> &Emulator {
        self.sandbox.emulator()
    }

    /// The place.
    #[must_use]
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Lets what is started here from now on find another variable, in the place of one of that name.
    pub fn set_variable(&mut self, name: &str, value: impl Into<String>) {
        self.sandbox.set_variable(name, value);
    }

    /// `stctl` in this place, ready to run.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> std::process::Command {
        self.sandbox.stctl_command(arguments)
    }

    /// Runs `stctl`.
    ///
    /// # Errors
    /// It does not end. An exit code that is not 0 is no error here.
    pub async fn stctl(&self, arguments: &[&str]) -> Result<Output> {
        process::run(self.command(arguments), 2 * DEADLINE).await
    }

    /// Runs `stctl`, which must succeed, and answers its standard output.
    ///
    /// # Errors
    /// It fails.
    pub async fn ok(&self, arguments: &[&str]) -> Result<String> {
        self.stctl(arguments).await?.success().with_context(|| {
            let log = self.sandbox.log_tail(LOG_LINES);
            format!("stctl {}; the daemon's last words:\n{log}\n---", arguments.join(" "))
        })
    }

    /// Runs `stctl -o json`, which must succeed.
    ///
    /// # Errors
    /// It fails or answers something else.
    pub async fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.ok(&[arguments, &["-o", "json"]].concat()).await?;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }

    /// Makes a tunnel through the emulator's instance, without starting it.
    ///
    /// # Errors
    /// `stctl tunnel add` fails.
    pub async fn add(&self, name: &str, remote: &str) -> Result<()> {
        let target = self.emulator().instance();
        self.ok(&["tunnel", "add", name, "--target", target, "--remote", remote]).await.map(drop)
    }

    /// A tunnel, as `stctl tunnel show` has it.
    ///
    /// # Errors
    /// There is none of that name.
    pub async fn tunnel(&self, name: &str) -> Result<Value> {
        self.json(&["tunnel", "show", name]).await
    }

    /// The local port on which a tunnel listens.
    ///
    /// # Errors
    /// It does not.
    pub async fn port(&self, name: &str) -> Result<u16> {
        let tunnel = self.tunnel(name).await?;
        let address = tunnel["status"]["listening"][0].as_str();
        let port = address.and_then(|address| address.rsplit(':').next()?.parse().ok());
        port.with_context(|| format!("no local port: {tunnel}"))
    }

    /// `stctl watch` of one tunnel.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn watch(&self, name: &str) -> Result<Watch> {
        Watch::start(self.command(&["watch", name, "-o", "json"]), DEADLINE).await
    }

    /// The process id of the daemon that serves here.
    ///
    /// # Errors
    /// None does.
    pub async fn daemon_pid(&self) -> Result<u32> {
        let status = self.json(&["daemon", "status"]).await?;
        status["pid"]
            .as_u64()
            .and_then(|pid| u32::try_from(pid).ok())
            .with_context(|| format!("no pid: {status}"))
    }

    /// Fails unless the emulator has no open session left, soon.
    ///
    /// # Errors
    /// It still has one after `deadline`.
    pub async fn no_session_left(&self, deadline: Duration) -> Result<()> {
        let counters = self.emulator().counters();
        counters.wait_exactly(Counter::SessionsOpen, 0, deadline).await.context("a session was left open")?;
        let started = counters.value(Counter::SessionsStarted);
        ensure!(started > 0, "no session was ever started, so that none was left says nothing");
        Ok(())
    }
}

/// The name of the state in something that shows a tunnel, such as `up`.
#[must_use]
pub fn state(tunnel: &Value) -> &str {
    tunnel["status"]["state"].as_str().unwrap_or("?")
}
