//! The emulated AWS of a run, in a process of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_emulator::{Config, Counter, Emulator, Injection};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::http;
use crate::part::{Part, Role};
use crate::process::Process;

/// Longest wait for something that must happen.
const DEADLINE: Duration = Duration::from_secs(60);

/// An emulated AWS. Dropped, it is gone.
pub(crate) struct Aws {
    part: Part,
    environment: Vec<(String, String)>,
    /// Holds the authority's certificate.
    _directory: TempDir,
}

impl Aws {
    /// Starts one that serves TLS.
    pub(crate) async fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let part = Part::start(&Role::Emulator { authority: directory.path().join("ca.pem") }).await?;
        let mut aws = Self { part, environment: Vec::new(), _directory: directory };
        aws.environment =
            serde_json::from_value::<BTreeMap<_, _>>(aws.call("GET /environment", &Value::Null).await?)?
                .into_iter()
                .collect();
        Ok(aws)
    }

    /// The variables that point any AWS tool here, keys included.
    pub(crate) fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// One of them.
    pub(crate) fn variable(&self, name: &str) -> Result<&str> {
        let found = self.environment.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).with_context(|| format!("the emulator names no {name}"))
    }

    /// Lets a host and port "in the VPC" be this address.
    pub(crate) async fn map_service(&self, name: &str, port: u16, address: SocketAddr) -> Result<()> {
        let host = json!({ "name": name, "port": port, "address": address.to_string() });
        self.call("POST /hosts", &host).await.map(drop)
    }

    /// Lets something be otherwise from now on.
    pub(crate) async fn inject(&self, injection: &Injection) -> Result<()> {
        self.call("POST /inject", &serde_json::to_value(injection)?).await.map(drop)
    }

    /// The present value of a counter.
    pub(crate) async fn count(&self, counter: Counter) -> Result<u64> {
        self.counts([counter]).await.map(|[count]| count)
    }

    /// The values of some counters at one moment.
    pub(crate) async fn counts<const N: usize>(&self, counters: [Counter; N]) -> Result<[u64; N]> {
        let values = self.call("GET /counters", &Value::Null).await?;
        // Counters that are 0 are left out.
        Ok(counters.map(|counter| values[counter.name()].as_u64().unwrap_or_default()))
    }

    /// Waits until a counter has that value, or a greater one.
    pub(crate) async fn wait(&self, counter: Counter, at_least: u64) -> Result<()> {
        let (name, deadline) = (counter.name(), DEADLINE.as_millis());
        let start = format!("GET /counters/wait?counter={name}&at_least={at_least}&timeout_ms={deadline}");
        let waited = self.call(&start, &Value::Null).await;
        waited.map(drop).with_context(|| format!("{name} does not reach {at_least}"))
    }

    /// A field of the one session that is open.
    pub(crate) async fn of_session(&self, field: &str) -> Result<u64> {
        let sessions = self.call("GET /sessions", &Value::Null).await?;
        let mut open = sessions.as_array().into_iter().flatten().filter(|session| session["open"] == true);
        let number = open.next().and_then(|session| session[field].as_u64());
        number.with_context(|| format!("no session has {field}: {sessions}"))
    }

    /// The process.
    pub(crate) fn process(&self) -> Result<Process> {
        self.part.process()
    }

    async fn call(&self, start: &str, body: &Value) -> Result<Value> {
        let headers = [("host", "127.0.0.1"), ("content-type", "application/json")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let stream = TcpStream::connect(self.part.address()).await.context("the emulator is gone")?;
        http::call(stream, start, &headers, &body.to_string()).await
    }
}

/// The emulator inside its process, and the address of its control API.
pub(crate) async fn serve(authority: PathBuf) -> Result<(Emulator, SocketAddr)> {
    let emulator =
        Emulator::start(Config { tls: true, ca_path: Some(authority), ..Config::default() }).await?;
    let url = emulator.control_url();
    let address =
        url.strip_prefix("http://").unwrap_or(url).parse().context("the control API has no address")?;
    Ok((emulator, address))
}
