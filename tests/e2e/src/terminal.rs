//! A terminal with a shell in it, into which a test types.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

/// What the shell shows when it waits for a command.
const PROMPT: &str = "READY> ";

/// A terminal and the interactive shell in it. Dropped, the terminal is closed, as a window is.
#[derive(Debug)]
pub struct Terminal {
    // Between two commands nobody reads, so that dropping it closes the terminal at once.
    master: File,
    shell: Child,
    shown: String,
}

impl Terminal {
    /// Opens a terminal with a shell that has just this environment, and waits for its prompt.
    ///
    /// # Errors
    /// The system has no terminals, or no shell.
    pub async fn open(environment: &[(String, String)], deadline: Duration) -> Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let slave =
            rustix::fs::open(ptsname(&master, Vec::new())?, OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?;
        rustix::io::fcntl_setfd(&master, rustix::io::FdFlags::CLOEXEC)?;
        let shell = shell(environment, &slave)?;
        drop(slave);
        let mut terminal = Self { master: File::from_std(master.into()), shell, shown: String::new() };
        terminal.prompt(deadline).await?;
        Ok(terminal)
    }

    /// Types a command and answers what it shows, up to the next prompt.
    ///
    /// # Errors
    /// The prompt does not come back within `deadline`.
    pub async fn command(&mut self, line: &str, deadline: Duration) -> Result<String> {
        self.shown.clear();
        self.type_line(line).await?;
        self.end(deadline).await
    }

    /// Types a command that waits for something, and answers what it shows once that satisfies `reached`.
    ///
    /// # Errors
    /// It does not within `deadline`.
    pub async fn begin(
        &mut self,
        line: &str,
        reached: impl Fn(&str) -> bool,
        deadline: Duration,
    ) -> Result<String> {
        self.shown.clear();
        self.type_line(line).await?;
        self.until(reached, deadline).await?;
        Ok(self.shown.clone())
    }

    /// Types a line into what runs.
    ///
    /// # Errors
    /// The shell is gone.
    pub async fn type_line(&mut self, line: &str) -> Result<()> {
        self.master.write_all(format!("{line}\n").as_bytes()).await?;
        Ok(self.master.flush().await?)
    }

    /// Types Ctrl-C into what runs.
    ///
    /// # Errors
    /// The shell is gone.
    pub async fn interrupt(&mut self) -> Result<()> {
        self.master.write_all(&[3]).await?;
        Ok(self.master.flush().await?)
    }

    /// Waits until what is shown of the command that runs satisfies `reached`.
    ///
    /// # Errors
    /// It does not within `deadline`.
    pub async fn shows(&mut self, reached: impl Fn(&str) -> bool, deadline: Duration) -> Result<()> {
        self.until(reached, deadline).await
    }

    /// Waits for the end of the command, and answers all that it showed.
    ///
    /// # Errors
    /// The prompt does not come back within `deadline`.
    pub async fn end(&mut self, deadline: Duration) -> Result<String> {
        self.prompt(deadline).await?;
        Ok(self.shown.clone())
    }

    /// Closes the window: the system sends SIGHUP to what runs in it. Answers when the shell is gone.
    ///
    /// # Errors
    /// The shell does not end within `deadline`.
    pub async fn close(self, deadline: Duration) -> Result<()> {
        let Self { master, mut shell, shown: _ } = self;
        drop(master);
        tokio::time::timeout(deadline, shell.wait()).await.context("the shell survives its terminal")??;
        Ok(())
    }

    async fn prompt(&mut self, deadline: Duration) -> Result<()> {
        self.until(|shown| shown.ends_with(PROMPT), deadline).await
    }

    async fn until(&mut self, reached: impl Fn(&str) -> bool, deadline: Duration) -> Result<()> {
        let waiting = async {
            while !reached(&self.shown) {
                self.read().await?;
            }
            Ok(())
        };
        match tokio::time::timeout(deadline, waiting).await {
            Ok(done) => done,
            Err(_) => bail!("not within {deadline:?}; the terminal shows:\n{}", self.shown),
        }
    }

    async fn read(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        match self.master.read(&mut buffer).await {
            Ok(length @ 1..) => self.shown.push_str(&String::from_utf8_lossy(&buffer[..length])),
            Ok(0) | Err(_) => bail!("the shell is gone; the terminal shows:\n{}", self.shown),
        }
        Ok(())
    }
}

/// An interactive shell whose controlling terminal is `slave`.
fn shell(environment: &[(String, String)], slave: &OwnedFd) -> Result<Child> {
    let end = || Ok::<_, io::Error>(Stdio::from(slave.try_clone()?));
    let mut command = std::process::Command::new("/bin/sh");
    command.arg("-i").env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
    command.env("PS1", PROMPT).env("TERM", "dumb").env_remove("ENV");
    command.stdin(end()?).stdout(end()?).stderr(end()?);
    take_terminal(&mut command);
    Command::from(command).kill_on_drop(true).spawn().context("cannot start /bin/sh")
}

#[expect(unsafe_code, reason = "the standard library has no way to give a child a controlling terminal")]
fn take_terminal(command: &mut std::process::Command) {
    let take = || {
        rustix::process::setsid()?;
        rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes two system calls and touches no memory that others share.
    unsafe { command.pre_exec(take) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DEADLINE;

    #[tokio::test]
    async fn what_is_typed_runs_and_dies_with_the_window() {
        let environment = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
        let mut terminal = Terminal::open(&environment, DEADLINE).await.unwrap();
        let shown = terminal.command("tty && expr 6 '*' 7", DEADLINE).await.unwrap();
        assert!(shown.contains("/dev/") && shown.contains("42"), "{shown}");
        terminal.close(DEADLINE).await.unwrap();
    }
}
