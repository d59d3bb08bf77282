//! Connects to the daemon and starts it when none runs: through the service manager where the service is installed, else
//! by itself.
//!
//! With `--detach` the daemon leaves this terminal by itself: session, descriptors, working directory and environment are
//! its own, by rules that stand in one place, with it. It says `ready` on its standard output once it serves, or `running`
//! when another daemon holds the lock: of two that are started at the same time one wins, and both commands go on with it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Command as StdCommand, ExitStatus, Stdio};
use std::time::Duration;

use stormtunnel_proto::Client;
use stormtunnel_proto::paths::Platform;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::context::Paths;
pub(crate) use crate::diagnose::Unreachable;
use crate::exit::Failure;
use crate::lock::Lock;
use crate::service::{self, Manager, is_installed};
use crate::world::{Environment, Programs};

/// Longest wait for a connection to a socket that exists: the system answers at once unless the daemon hangs.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Longest wait for a daemon to get ready. It opens its database and restores its tunnels first; before that it waits up
/// to 25 s for another one that holds the lock without serving, and then names that one's process: that must be heard.
const READY_DEADLINE: Duration = Duration::from_secs(30);

/// Pauses between attempts to connect to a daemon that another command is starting.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// How long a daemon that holds the lock is given to serve before another start is tried: it may be stopping.
const LOCK_HOLDER_GRACE: Duration = Duration::from_secs(1);

/// Most of the daemon's last words that are kept, in bytes.
const MAX_SAID: usize = 16 * 1024;

/// How a daemon is found and started.
#[derive(Clone, Copy)]
pub(crate) struct Plan<'a> {
    pub(crate) paths: &'a Paths,
    pub(crate) env: &'a Environment,
    pub(crate) programs: &'a dyn Programs,
    pub(crate) platform: Platform,
}

/// Connects; starts a daemon when there is none and `autostart` allows it.
pub(crate) async fn connect(plan: &Plan<'_>, autostart: bool) -> Result<Client, Unreachable> {
    match connect_once(&plan.paths.socket).await {
        Err(absent) if absent.is_absence() && autostart => start(plan).await,
        connected => connected,
    }
}

/// Connects to the daemon that surely runs. None is started, not even by a service manager, whose socket takes connections
/// without a daemon: the lock tells. After a restart of the machine there is no lock yet, and `is_idle` tells of the service
/// whether no daemon of its runs.
pub(crate) async fn connect_to_running(
    plan: &Plan<'_>,
    is_idle: impl Fn(&dyn Manager) -> bool,
) -> Result<Client, Unreachable> {
    let socket = &plan.paths.socket;
    let is_idle = |service: &dyn Manager| is_installed(service, plan.paths) && is_idle(service);
    let is_free = match Lock::beside(socket) {
        Lock::Held(_) => false,
        Lock::Free => socket.exists(),
        Lock::Unknown => socket.exists() && plan.service().is_ok_and(|service| is_idle(service.as_ref())),
    };
    if is_free {
        return Err(Unreachable::Stale { socket: socket.clone() });
    }
    connect_once(socket).await
}

/// Becomes the daemon, in the foreground. Answers only when that fails.
pub(crate) fn become_daemon(plan: &Plan<'_>) -> Unreachable {
    match plan.executable() {
        Ok(executable) => {
            let mut command = StdCommand::new(&executable);
            command.args(plan.arguments()).env_clear().envs(plan.env.variables());
            Unreachable::NotStarted { source: command.exec(), executable }
        }
        Err(not_found) => not_found,
    }
}

async fn connect_once(socket: &Path) -> Result<Client, Unreachable> {
    match timeout(CONNECT_DEADLINE, Client::connect(socket)).await {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(error)) => Err(Unreachable::of_connect(socket, error.source)),
        Err(_) => Err(Unreachable::NotAnswering { socket: socket.to_owned() }),
    }
}

async fn start(plan: &Plan<'_>) -> Result<Client, Unreachable> {
    let deadline = Instant::now() + READY_DEADLINE;
    if let Some(service) = plan.service().ok().filter(|service| is_installed(service.as_ref(), plan.paths)) {
        service.start().map_err(not_started)?;
        return connect_until(&plan.paths.socket, deadline).await;
    }
    let executable = plan.executable()?;
    loop {
        match spawn_and_wait(plan, &executable, deadline).await? {
            Announcement::Ready => return connect_until(&plan.paths.socket, deadline).await,
            Announcement::Running => {
                let grace = deadline.min(Instant::now() + LOCK_HOLDER_GRACE);
                match connect_until(&plan.paths.socket, grace).await {
                    Err(absent) if absent.is_absence() && Instant::now() < deadline => {}
                    connected => return connected,
                }
            }
        }
    }
}

fn not_started(failure: Failure) -> Unreachable {
    let said = match failure {
        Failure::Problem(problem) => format!("{}\n{}", problem.headline, problem.detail),
        Failure::ClosedPipe => String::new(),
    };
    Unreachable::ServiceNotStarted { said }
}

/// What a started daemon says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Announcement {
    /// It serves.
    Ready,
    /// Another one holds the lock.
    Running,
}

async fn connect_until(socket: &Path, deadline: Instant) -> Result<Client, Unreachable> {
    loop {
        match connect_once(socket).await {
            Err(absent) if absent.is_absence() && Instant::now() < deadline => sleep(RETRY_PAUSE).await,
            connected => return connected,
        }
    }
}

async fn spawn_and_wait(
    plan: &Plan<'_>,
    executable: &Path,
    deadline: Instant,
) -> Result<Announcement, Unreachable> {
    let mut command = Command::new(executable);
    command.args(plan.arguments()).arg("--detach").env_clear().envs(plan.env.variables());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let spawned = command.spawn();
    let mut child =
        spawned.map_err(|source| Unreachable::NotStarted { executable: executable.to_owned(), source })?;
    let mut said = Vec::new();
    let ended = timeout_at(deadline, announcement(&mut child, &mut said)).await;
    let said = String::from_utf8_lossy(&said).into_owned();
    let executable = executable.to_owned();
    match ended {
        Ok(Ok(announcement)) => Ok(announcement),
        Ok(Err(Ended::Exited(status))) => Err(Unreachable::Died { executable, status, said }),
        Ok(Err(Ended::Unknown(source))) => Err(Unreachable::NotStarted { executable, source }),
        Err(_) => Err(Unreachable::NotReady { executable, waited: READY_DEADLINE, said }),
    }
}

/// How a daemon ended that announced nothing.
enum Ended {
    Exited(ExitStatus),
    Unknown(std::io::Error),
}

/// Reads the daemon's one line, and meanwhile what it says on standard error.
async fn announcement(child: &mut Child, said: &mut Vec<u8>) -> Result<Announcement, Ended> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let line = async move {
        let mut lines = BufReader::new(stdout?).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            match line.trim() {
                "ready" => return Some(Announcement::Ready),
                "running" => return Some(Announcement::Running),
                _ => {}
            }
        }
        None
    };
    let (mut line, mut last_words) = (pin!(line), pin!(collect(stderr, said)));
    let first = tokio::select! {
        biased;
        announced = &mut line => Some(announced),
        () = &mut last_words => None,
    };
    let announced = match first {
        Some(Some(announcement)) => Some(announcement),
        Some(None) => {
            last_words.await;
            None
        }
        None => line.await,
    };
    if let Some(announcement) = announced {
        return Ok(announcement);
    }
    child.wait().await.map_or_else(|error| Err(Ended::Unknown(error)), |status| Err(Ended::Exited(status)))
}

async fn collect(stream: Option<impl AsyncRead + Unpin>, said: &mut Vec<u8>) {
    let Some(mut stream) = stream else { return };
    let mut chunk = [0; 1024];
    while let Ok(length @ 1..) = stream.read(&mut chunk).await {
        said.extend_from_slice(&chunk[..length]);
        let excess = said.len().saturating_sub(MAX_SAID);
        said.drain(..excess);
    }
}

impl<'a> Plan<'a> {
    /// The system's service manager.
    pub(crate) fn service(&self) -> Result<Box<dyn Manager + 'a>, Failure> {
        service::manager(self)
    }

    /// The daemon's program: `STCTL_DAEMON`, beside this program, or on `PATH`.
    pub(crate) fn executable(&self) -> Result<PathBuf, Unreachable> {
        if let Some(named) = self.env.value("STCTL_DAEMON").filter(|path| !path.is_empty()) {
            let path = PathBuf::from(named);
            let searched = vec![format!("STCTL_DAEMON={}", path.display())];
            return if is_executable(&path) { Ok(path) } else { Err(Unreachable::NoExecutable { searched }) };
        }
        let beside = std::env::current_exe().and_then(fs::canonicalize).ok();
        let beside = beside.and_then(|program| program.parent().map(Path::to_owned));
        let on_path = self.env.value("PATH").unwrap_or_default();
        let places: Vec<PathBuf> = beside.into_iter().chain(std::env::split_paths(&on_path)).collect();
        let found = places.iter().map(|place| place.join(EXECUTABLE)).find(|path| is_executable(path));
        found.ok_or_else(|| {
            let beside = places.first().map(|place| place.join(EXECUTABLE).display().to_string());
            Unreachable::NoExecutable { searched: beside.into_iter().chain(["PATH".to_owned()]).collect() }
        })
    }

    /// Where its files are, as flags.
    pub(crate) fn arguments(&self) -> [OsString; 6] {
        let Paths { socket, state_dir, config } = self.paths;
        let flag = OsString::from;
        [
            flag("--socket"),
            socket.into(),
            flag("--state-dir"),
            state_dir.into(),
            flag("--config"),
            config.into(),
        ]
    }
}

const EXECUTABLE: &str = "stormtunneld";

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}
