//! A Redis server of the test's own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

use crate::local::free_port;
use crate::process::{Service, Signal};
use crate::programs;

const START: Duration = Duration::from_secs(30);

/// A running server, without persistence.
#[derive(Debug)]
pub struct Redis {
    service: Service,
    address: SocketAddr,
    cli: PathBuf,
    _directory: TempDir,
}

impl Redis {
    /// Starts a server; `None` when this machine has no Redis.
    ///
    /// # Errors
    /// It does not start, or it is missing where nothing may be.
    pub async fn start() -> Result<Option<Self>> {
        let (Some(server), Some(cli)) = (programs::find("redis-server")?, programs::find("redis-cli")?)
        else {
            return Ok(None);
        };
        let directory = tempfile::Builder::new().prefix("st-redis-").tempdir()?;
        let port = free_port()?;
        let mut command = Command::new(server);
        command.args([
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--port",
            &port.to_string(),
        ]);
        command.arg("--dir").arg(directory.path());
        let service = Service::start(command, "Ready to accept connections", START).await?;
        Ok(Some(Self {
            service,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            cli,
            _directory: directory,
        }))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `redis-cli` for a server that seems to listen on a port of this machine; add the command.
    #[must_use]
    pub fn cli(&self, port: u16) -> Command {
        let mut command = Command::new(&self.cli);
        command.args(["-h", "127.0.0.1", "-p", &port.to_string()]).env_remove("REDISCLI_AUTH");
        command
    }

    /// Ends it.
    ///
    /// # Errors
    /// It does not end.
    pub async fn stop(self) -> Result<()> {
        self.service.stop(Signal::TERM, START).await
    }
}
