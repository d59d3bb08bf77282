//! Children of a test: run with a deadline, or kept until the test ends.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};

/// What a program did.
#[derive(Debug)]
pub struct Output {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Standard output of a program that succeeded.
    ///
    /// # Errors
    /// It did not; the text holds all that it wrote.
    pub fn success(self) -> Result<String> {
        ensure!(
            self.code == 0,
            "exit code {}\n--- stdout\n{}--- stderr\n{}",
            self.code,
            self.stdout,
            self.stderr
        );
        Ok(self.stdout)
    }
}

/// Runs a program to its end.
///
/// # Errors
/// It cannot be started or is not done within `deadline`; it is killed then.
pub async fn run(command: impl Into<Command>, deadline: Duration) -> Result<Output> {
    let mut command = command.into();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let shown = format!("{:?}", command.as_std());
    let child = command.spawn().with_context(|| format!("cannot start {shown}"))?;
    let output = tokio::time::timeout(deadline, child.wait_with_output())
        .await
        .with_context(|| format!("not done within {deadline:?}: {shown}"))??;
    Ok(Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// A program that runs until the test ends.
#[derive(Debug)]
pub struct Service {
    child: Child,
}

impl Service {
    /// Starts a program and waits until a line of its standard output or standard error contains `ready`.
    ///
    /// # Errors
    /// It cannot be started, ends, or does not say so within `deadline`.
    pub async fn start(command: impl Into<Command>, ready: &str, deadline: Duration) -> Result<Self> {
        let mut command = command.into();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let shown = format!("{:?}", command.as_std());
        let mut child = command.spawn().with_context(|| format!("cannot start {shown}"))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let mut said = String::new();
        let (stdout, stderr) = (stdout.context("no standard output")?, stderr.context("no standard error")?);
        let (mut stdout, mut stderr) = (BufReader::new(stdout), BufReader::new(stderr));
        let hearing = hear(&mut stdout, &mut stderr, ready, &mut said);
        match tokio::time::timeout(deadline, hearing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => bail!("{shown} ended ({error:#}); it said:\n{said}"),
            Err(_) => bail!("{shown} not ready within {deadline:?}; it said:\n{said}"),
        }
        drain(stdout);
        drain(stderr);
        Ok(Self { child })
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Asks it to end with a signal and waits for that, so that it can put its own house in order.
    ///
    /// # Errors
    /// It is not gone within `deadline`; it is killed then.
    pub async fn stop(mut self, signal: Signal, deadline: Duration) -> Result<()> {
        if let Some(pid) = self.pid() {
            send_signal(pid, signal)?;
        }
        tokio::time::timeout(deadline, self.child.wait()).await.context("it does not end")??;
        Ok(())
    }
}

/// Sends a process a signal.
///
/// # Errors
/// There is no such process.
pub fn send_signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(pid)?).context("0 is no process")?;
    kill_process(pid, signal).with_context(|| format!("cannot signal process {pid:?}"))
}

/// Waits for the end of a process that may be nobody's child here.
///
/// # Errors
/// It still runs after `deadline`.
#[cfg(target_os = "linux")]
pub async fn gone(pid: u32, deadline: Duration) -> Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{PidfdFlags, pidfd_open};

    let pid = Pid::from_raw(i32::try_from(pid)?).context("0 is no process")?;
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let timeout = Timespec::try_from(deadline)?;
    let ended = tokio::task::spawn_blocking(move || {
        poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&timeout))
    });
    ensure!(ended.await?? == 1, "process {pid:?} still runs after {deadline:?}");
    Ok(())
}

/// Waits for the end of a process that may be nobody's child here. Other systems tell nobody but the parent.
///
/// # Errors
/// It still runs after `deadline`.
#[cfg(not(target_os = "linux"))]
pub async fn gone(pid: u32, deadline: Duration) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(pid)?).context("0 is no process")?;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let ended = async {
        while rustix::process::test_kill_process(pid).is_ok() {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(deadline, ended)
        .await
        .with_context(|| format!("process {pid:?} still runs after {deadline:?}"))
}

/// Collects the lines of both outputs until one contains `ready`.
async fn hear(
    stdout: &mut (impl AsyncBufRead + Unpin),
    stderr: &mut (impl AsyncBufRead + Unpin),
    ready: &str,
    said: &mut String,
) -> Result<()> {
    let (mut out_line, mut err_line) = (Vec::new(), Vec::new());
    let (mut out_open, mut err_open) = (true, true);
    while out_open || err_open {
        let (line, open) = tokio::select! {
            line = next_line(stdout, &mut out_line), if out_open => (line?, &mut out_open),
            line = next_line(stderr, &mut err_line), if err_open => (line?, &mut err_open),
        };
        *open = line.is_some();
        said.extend(line.as_deref());
        if line.is_some_and(|line| line.contains(ready)) {
            return Ok(());
        }
    }
    bail!("there is no more to hear")
}

/// One line, or nothing at the end. Cancelled, it keeps what it has in `line`.
async fn next_line(reader: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> Result<Option<String>> {
    let read = reader.read_until(b'\n', line).await?;
    let text = String::from_utf8_lossy(line).into_owned();
    line.clear();
    Ok((read > 0).then_some(text))
}

/// Reads on, so that a full pipe never stops the program. Ends with it.
#[expect(
    clippy::disallowed_methods,
    reason = "a test process has no task tracker; the task ends with its program"
)]
fn drain(mut reader: impl AsyncRead + Unpin + Send + 'static) {
    tokio::spawn(async move { tokio::io::copy(&mut reader, &mut tokio::io::sink()).await });
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_service_is_ready_when_it_says_so_and_gone_when_it_ends() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo starting; echo ready >&2; exec cat /dev/zero > /dev/null"]);
        let service = Service::start(command, "ready", DEADLINE).await.unwrap();
        let pid = service.pid().unwrap();
        assert!(gone(pid, Duration::from_millis(1)).await.is_err());
        service.stop(Signal::TERM, DEADLINE).await.unwrap();
        gone(pid, DEADLINE).await.unwrap();
    }

    #[tokio::test]
    async fn a_service_that_ends_first_is_an_error_with_its_words() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo cannot bind"]);
        let error = Service::start(command, "ready", DEADLINE).await.unwrap_err();
        assert!(error.to_string().contains("cannot bind"), "{error}");
    }
}
