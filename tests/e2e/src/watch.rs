//! `stctl watch -o json`, line by line, with all that was seen.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::scene::state;

/// A running watch. Dropped, it ends.
#[derive(Debug)]
pub struct Watch {
    lines: Lines<BufReader<ChildStdout>>,
    history: Vec<Value>,
    _child: Child,
}

impl Watch {
    /// Runs `command`, which must print one JSON object per line, and waits for the first one: the snapshot.
    ///
    /// # Errors
    /// It cannot be started, or prints nothing within `deadline`.
    pub async fn start(command: impl Into<Command>, deadline: Duration) -> Result<Self> {
        let mut command = command.into();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
        let mut child = command.spawn().context("cannot start the watch")?;
        let stdout = child.stdout.take().context("no standard output")?;
        let mut watch = Self { lines: BufReader::new(stdout).lines(), history: Vec::new(), _child: child };
        watch.until(deadline, |_| true).await?;
        Ok(watch)
    }

    /// Reads on until a line satisfies `reached`, and answers it.
    ///
    /// # Errors
    /// None does within `deadline`; the text holds what came instead.
    pub async fn until(
        &mut self,
        deadline: Duration,
        mut reached: impl FnMut(&Value) -> bool,
    ) -> Result<Value> {
        let waiting = async {
            loop {
                let line = self.lines.next_line().await?.context("the watch has ended")?;
                let value: Value =
                    serde_json::from_str(&line).with_context(|| format!("not JSON: {line}"))?;
                self.history.push(value.clone());
                if reached(&value) {
                    return Ok(value);
                }
            }
        };
        match tokio::time::timeout(deadline, waiting).await {
            Ok(outcome) => outcome,
            Err(_) => bail!("nothing of that kind within {deadline:?}; it showed:\n{}", self.shown()),
        }
    }

    /// Reads on until the tunnel satisfies `reached`, and answers it. For the watch of one tunnel.
    ///
    /// # Errors
    /// As [`Watch::until`].
    pub async fn until_tunnel(
        &mut self,
        deadline: Duration,
        reached: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let line = self.until(deadline, |line| tunnels(line).iter().any(|tunnel| reached(tunnel))).await?;
        tunnels(&line).first().map(|tunnel| (*tunnel).clone()).context("a line without a tunnel")
    }

    /// Fails if anything is shown for so long.
    ///
    /// # Errors
    /// Something is; or the watch has ended.
    pub async fn is_quiet(&mut self, lasting: Duration) -> Result<()> {
        match tokio::time::timeout(lasting, self.lines.next_line()).await {
            Err(_) => Ok(()),
            Ok(line) => bail!("no quiet: {:?}", line?),
        }
    }

    /// Reads on until so many tunnels satisfy `reached`, each as it was shown last. For a watch from its first line on.
    ///
    /// # Errors
    /// As [`Watch::until`].
    pub async fn until_each(
        &mut self,
        deadline: Duration,
        count: usize,
        reached: impl Fn(&Value) -> bool,
    ) -> Result<()> {
        let mut there = BTreeSet::new();
        let mut look = |line: &Value| {
            for tunnel in tunnels(line) {
                let name = tunnel["name"].as_str().unwrap_or_default().to_owned();
                if reached(tunnel) {
                    there.insert(name)
                } else {
                    there.remove(&name)
                };
            }
            there.len() == count
        };
        if self.history.iter().map(&mut look).last().unwrap_or_default() {
            return Ok(());
        }
        self.until(deadline, look).await.map(drop)
    }

    /// Every state that a tunnel was seen in, each change once.
    #[must_use]
    pub fn states(&self) -> Vec<String> {
        let all = self.history.iter().flat_map(tunnels).map(|tunnel| state(tunnel).to_owned());
        let mut states: Vec<String> = all.collect();
        states.dedup();
        states
    }

    /// The kind of every fault that was shown as the reason of a state or as the last one, each change once.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let kind = |fault: &Value| fault["kind"].as_str().map(ToOwned::to_owned);
        let of = |tunnel: &Value| {
            kind(&tunnel["status"]["fault"]).or_else(|| kind(&tunnel["status"]["last_fault"]))
        };
        let mut faults: Vec<String> = self.history.iter().flat_map(tunnels).filter_map(of).collect();
        faults.dedup();
        faults
    }

    /// Every line so far.
    #[must_use]
    pub fn history(&self) -> &[Value] {
        &self.history
    }

    fn shown(&self) -> String {
        self.history.iter().map(|value| format!("{value}\n")).collect()
    }
}

/// The tunnels in one line of a watch.
fn tunnels(line: &Value) -> Vec<&Value> {
    match &line["tunnels"] {
        Value::Array(tunnels) => tunnels.iter().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            line.get("tunnel").into_iter().collect()
        }
    }
}
