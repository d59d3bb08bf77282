//! A place of its own for one daemon: home, socket, state, settings.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::Command;

use crate::binaries::{Binaries, Parts, binaries};

/// Longest run of one `stctl`.
const STCTL_DEADLINE: Duration = Duration::from_secs(90);

/// Where one daemon runs. No daemon runs in a new place; `stctl` starts one when it needs one. Dropped, the place
/// kills its daemon and disappears.
#[derive(Debug)]
pub struct Place {
    binaries: &'static Binaries,
    /// 0700, with a short path: a socket's may have 104 bytes.
    directory: TempDir,
    aws: Vec<(String, String)>,
    /// On top of the others, and in their place.
    variables: Vec<(String, String)>,
}

/// What one run of `stctl` gave.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Place {
    /// A new place. `aws` are the variables that point at an emulator, keys included: keys and region go into the
    /// files of the place's home, as a user would have them, and into no environment.
    ///
    /// # Errors
    /// The programs do not compile, or the temporary directory cannot be written.
    pub async fn new(aws: Vec<(String, String)>) -> Result<Self> {
        Self::with(Parts::All, aws).await
    }

    /// The same with a daemon of these parts, if it is the first place of this process.
    ///
    /// # Errors
    /// As [`Place::new`].
    pub async fn with(parts: Parts, aws: Vec<(String, String)>) -> Result<Self> {
        let binaries = binaries(parts).await?;
        let directory = tempfile::Builder::new().prefix("stormtunnel-").tempdir()?;
        let place = Self { binaries, directory, aws, variables: Vec::new() };
        place.write_aws_files()?;
        Ok(place)
    }

    fn write_aws_files(&self) -> Result<()> {
        let value_of =
            |name: &str| self.aws.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let line = |key: &str, name: &str| {
            value_of(name).map(|value| format!("{key} = {value}\n")).unwrap_or_default()
        };
        let credentials = format!(
            "[default]\n{}{}{}",
            line("aws_access_key_id", "AWS_ACCESS_KEY_ID"),
            line("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY"),
            line("aws_session_token", "AWS_SESSION_TOKEN"),
        );
        std::fs::create_dir_all(self.home().join(".aws"))?;
        write_private(&self.home().join(".aws/credentials"), &credentials)?;
        write_private(
            &self.home().join(".aws/config"),
            &format!("[default]\n{}", line("region", "AWS_REGION")),
        )
    }

    /// The home directory in it.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// The socket of its daemon.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("run/daemon.sock")
    }

    /// The state directory of its daemon.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// The settings file of its daemon.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.directory.path().join("config/settings.toml")
    }

    /// The log file of its daemon.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.state_dir().join("stormtunneld.log")
    }

    /// The whole place.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The programs that run here.
    #[must_use]
    pub fn binaries(&self) -> &'static Binaries {
        self.binaries
    }

    /// Everything that a program in this place finds in its environment. No key, no token, but for what a test sets.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let path = |path: PathBuf| path.to_string_lossy().into_owned();
        let mut environment: Vec<(String, String)> = vec![
            ("HOME".into(), path(self.home())),
            ("PATH".into(), std::env::var("PATH").unwrap_or_default()),
            ("LC_ALL".into(), "C.UTF-8".into()),
            ("STORMTUNNEL_SOCKET".into(), path(self.socket())),
            ("STORMTUNNEL_STATE_DIR".into(), path(self.state_dir())),
            ("STORMTUNNEL_CONFIG".into(), path(self.config_file())),
            ("STCTL_DAEMON".into(), path(self.binaries.stormtunneld.clone())),
            ("AWS_EC2_METADATA_DISABLED".into(), "true".into()),
        ];
        let harmless = |name: &str| name.starts_with("AWS_ENDPOINT_URL") || name == "AWS_CA_BUNDLE";
        environment.extend(self.aws.iter().filter(|(name, _)| harmless(name)).cloned());
        environment.retain(|(name, _)| !self.variables.iter().any(|(known, _)| known == name));
        environment.extend(self.variables.iter().cloned());
        environment
    }

    /// Lets programs that are started from now on find another variable, in the place of one of that name.
    pub fn set_variable(&mut self, name: &str, value: impl Into<String>) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.into()));
    }

    /// `stctl` with these arguments and this place's environment, not yet started.
    #[must_use]
    pub fn stctl_command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(&self.binaries.stctl);
        command.args(arguments).env_clear().envs(self.environment()).current_dir(self.directory.path());
        command
    }

    /// Runs `stctl` to its end. A failing exit code is an answer, not an error.
    ///
    /// # Errors
    /// It cannot be started or takes more than 90 seconds.
    pub async fn stctl(&self, arguments: &[&str]) -> Result<Ran> {
        let mut command = Command::from(self.stctl_command(arguments));
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(STCTL_DEADLINE, command.output())
            .await
            .with_context(|| format!("stctl {} takes longer than {STCTL_DEADLINE:?}", arguments.join(" ")))?
            .context("stctl cannot be started")?;
        Ok(Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs `stctl` and answers its standard output.
    ///
    /// # Errors
    /// As [`Place::stctl`], and every exit code but 0, with all that it printed.
    pub async fn stctl_ok(&self, arguments: &[&str]) -> Result<String> {
        let Ran { code, stdout, stderr } = self.stctl(arguments).await?;
        if code != 0 {
            bail!(
                "stctl {} ended with {code}\n--- stdout\n{stdout}--- stderr\n{stderr}",
                arguments.join(" ")
            );
        }
        Ok(stdout)
    }

    /// The process id of this place's daemon, while one holds the lock. The file outlives its daemon, and the number
    /// in it may be a stranger's by then.
    #[must_use]
    pub fn daemon_pid(&self) -> Option<u32> {
        let mut lock = std::fs::File::open(self.state_dir().join("stormtunneld.lock")).ok()?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return None;
        }
        let mut note = String::new();
        lock.read_to_string(&mut note).ok()?;
        note.lines().next()?.trim().parse().ok()
    }

    /// Sends the daemon a signal; false when there is no daemon.
    #[must_use]
    pub fn signal_daemon(&self, signal: Signal) -> bool {
        let pid = self.daemon_pid().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
    }

    /// The last lines of the daemon's log, for a failing test.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        let log = std::fs::read_to_string(self.log_file()).unwrap_or_default();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            use std::io::Write as _;
            // A failing test has nobody to tell that standard error is closed.
            let _ = writeln!(std::io::stderr(), "--- the daemon's last words\n{}", self.log_tail(60));
        }
        // Its sessions are the emulator's, which goes as well; nothing of this daemon is worth an orderly stop.
        let _ = self.signal_daemon(Signal::KILL);
    }
}

/// Files in `~/.aws` are 0600: a umask of the machine must not decide that.
fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?)
}
