//! What a figure is taken in: an emulated AWS, a daemon, and one tunnel to the run's server.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use aws_emulator::{AgentHabits, Injection};
use serde_json::Value;
use stormtunnel_harness::Place;

use crate::aws::Aws;
use crate::process::Process;

/// Lines of the daemon's log that a failure shows.
const LOG_LINES: usize = 40;
/// The name that leads to the run's server.
pub(crate) const HOST: &str = "server.vpc";
/// The port of it.
pub(crate) const PORT: u16 = 7000;
/// The emulator's instance.
pub(crate) const INSTANCE: &str = "i-0123456789abcdef0";
/// The tunnel.
pub(crate) const TUNNEL: &str = "bench";

/// Settings without the message rate that the service wants, with the largest payloads.
pub(crate) const LIFTED: &[(&str, &str)] =
    &[("tunnels.message_rate", "0"), ("tunnels.payload_bytes", "32768")];

/// An AWS, a daemon and a tunnel that is up. Dropped, all are gone.
pub(crate) struct Scene {
    // Dropped first: the daemon goes before its AWS.
    place: Place,
    aws: Aws,
    address: SocketAddr,
}

impl Scene {
    /// A tunnel to `server` through an agent with these habits, under a daemon with these settings.
    pub(crate) async fn start(
        server: SocketAddr,
        habits: AgentHabits,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        Self::spread(server, habits, settings, 1).await
    }

    /// The same with a tunnel that may spread its connections over so many sessions.
    pub(crate) async fn spread(
        server: SocketAddr,
        habits: AgentHabits,
        settings: &[(&str, &str)],
        sessions: u8,
    ) -> Result<Self> {
        let aws = Aws::start().await?;
        aws.map_service(HOST, PORT, server).await?;
        aws.inject(&Injection::Habits { habits }).await?;
        let place = Place::new(aws.environment().to_vec()).await?;
        for (key, value) in settings {
            place.stctl_ok(&["settings", "set", key, value]).await?;
        }
        let (remote, sessions) = (format!("{HOST}:{PORT}"), sessions.to_string());
        let add = ["tunnel", "add", TUNNEL, "--target", INSTANCE, "--remote", &remote, "--up"];
        place.stctl_ok(&[&add[..], &["--sessions", &sessions]].concat()).await?;
        let shown = show(&place).await?;
        let address = listening(&shown)?;
        Ok(Self { place, aws, address })
    }

    /// The tunnel, as `stctl tunnel show` has it.
    pub(crate) async fn show(&self) -> Result<Value> {
        show(&self.place).await
    }

    /// Where the daemon runs.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Where the tunnel listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The emulated AWS.
    pub(crate) fn aws(&self) -> &Aws {
        &self.aws
    }

    /// A measurement in this scene; one that breaks comes with the daemon's last words.
    pub(crate) async fn measuring<T>(&self, measurement: impl Future<Output = Result<T>>) -> Result<T> {
        measurement
            .await
            .with_context(|| format!("the daemon's last words:\n{}\n", self.place.log_tail(LOG_LINES)))
    }

    /// The daemon.
    pub(crate) fn daemon(&self) -> Result<Process> {
        Ok(Process::new(self.place.daemon_pid().context("the daemon is gone")?))
    }
}

async fn show(place: &Place) -> Result<Value> {
    Ok(serde_json::from_str(&place.stctl_ok(&["tunnel", "show", TUNNEL, "-o", "json"]).await?)?)
}

/// Where a tunnel that `stctl` shows listens.
pub(crate) fn listening(tunnel: &Value) -> Result<SocketAddr> {
    let address = tunnel.pointer("/status/listening/0").and_then(Value::as_str);
    Ok(address.context("the tunnel listens nowhere")?.parse()?)
}

/// AWS's agent, without the sleep of a millisecond after each message and with every overdue message resent.
pub(crate) fn unpaced(message_bytes: usize) -> AgentHabits {
    AgentHabits { message_bytes, ..AgentHabits::unpaced() }
}
