//! Other processes of a run: this same program, started as something else.
//!
//! A part reads what it is to be from its standard input, answers with its address, and lives until that input ends.
//! So nothing is left behind, however a run ends.

use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::runtime::{Builder, Runtime};

use crate::aws;
use crate::process::Process;
use crate::relay::{self, RelayRole};

/// What a part is.
#[derive(Serialize, Deserialize)]
pub(crate) enum Role {
    /// An emulated AWS that serves TLS and writes its authority's certificate to this file.
    Emulator { authority: PathBuf },
    /// A relay, or a half of one.
    Relay(RelayRole),
}

/// A running part. Dropped, it ends.
pub(crate) struct Part {
    child: Child,
    address: SocketAddr,
}

impl Part {
    /// Starts one; it serves when this answers.
    pub(crate) async fn start(role: &Role) -> Result<Self> {
        let program = std::env::current_exe().context("this program has no path")?;
        let mut child = Command::new(program)
            .arg("--part")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("this program cannot be started again")?;
        let mut order = serde_json::to_vec(role)?;
        order.push(b'\n');
        child.stdin.as_mut().context("no pipe to a part")?.write_all(&order).await?;
        let mut answer = String::new();
        let stdout = child.stdout.take().context("no pipe from a part")?;
        BufReader::new(stdout).read_line(&mut answer).await?;
        let address = serde_json::from_str(&answer).context("a part did not start")?;
        Ok(Self { child, address })
    }

    /// Where it listens; of an emulator, its control API.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process.
    pub(crate) fn process(&self) -> Result<Process> {
        Ok(Process::new(self.child.id().context("a part has ended")?))
    }
}

/// Is a part until standard input ends.
pub(crate) fn serve() -> Result<()> {
    let mut order = String::new();
    std::io::stdin().lock().read_line(&mut order)?;
    match serde_json::from_str(&order).context("no role on standard input")? {
        // Its gateway, its lines and its agent would wake each other on other processors for each message: that belongs
        // to the emulation, and takes time from what is measured.
        Role::Emulator { authority } => Builder::new_current_thread().enable_all().build()?.block_on(async {
            let (emulator, address) = aws::serve(authority).await?;
            stay(address).await?;
            emulator.shutdown().await;
            Ok(())
        }),
        Role::Relay(role) => Runtime::new()?.block_on(async {
            let (relay, address) = relay::serve(role).await?;
            stay(address).await?;
            drop(relay);
            Ok(())
        }),
    }
}

async fn stay(address: SocketAddr) -> Result<()> {
    let mut answer = serde_json::to_string(&address)?;
    answer.push('\n');
    std::io::stdout().write_all(answer.as_bytes())?;
    let end = || std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
    tokio::task::spawn_blocking(end).await??;
    Ok(())
}
