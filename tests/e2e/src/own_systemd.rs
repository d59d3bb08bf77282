//! A systemd of the test's own: the real one, for a user, in namespaces of its own with a journal of its own.
//!
//! A container, and a build machine, run no systemd, and the one of a developer's desktop is not ours to fill with units. So
//! the test runs itself a second time inside: as process 1 of its own process namespace, with its own `/run`, in its own
//! control group. That takes root, as the gate has it.

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::DEADLINE;
use crate::process::{self, Output};
use crate::scene::Scene;

/// Tells the test that it runs inside, and the name of its control group.
const INSIDE: &str = "STORMTUNNEL_TEST_SYSTEMD";

/// Longest life of one test inside that asks for nothing else.
pub const TEST: Duration = Duration::from_secs(300);

/// Where systemd keeps its programs.
const PROGRAMS: &str = "/lib/systemd";

/// Where the kernel shows control groups, of whatever version.
const HIERARCHIES: [&str; 3] = ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"];

/// Makes the place inside, and becomes the test in it. Process 1 is in `init.scope`: from there systemd and its journal tell
/// where the tree of control groups begins.
const ENTER: &str = r#"
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
mkdir -m 700 -p /run/user "$XDG_RUNTIME_DIR"
for hierarchy in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
    if [ -w "$hierarchy/cgroup.procs" ]; then
        mkdir -p "$hierarchy/$STORMTUNNEL_TEST_SYSTEMD/init.scope"
        echo $$ > "$hierarchy/$STORMTUNNEL_TEST_SYSTEMD/init.scope/cgroup.procs"
    fi
done
/lib/systemd/systemd-journald &
exec "$@"
"#;

/// Starts the manager in the control group in which logind would.
const MANAGER: &str = r#"
set -e
uid=$(id -u)
for hierarchy in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
    if [ -w "$hierarchy/cgroup.procs" ]; then
        group="$hierarchy/$STORMTUNNEL_TEST_SYSTEMD/user.slice/user-$uid.slice/user@$uid.service"
        mkdir -p "$group"
        echo $$ > "$group/cgroup.procs"
    fi
done
unset STORMTUNNEL_TEST_SYSTEMD
exec /lib/systemd/systemd --user
"#;

/// Runs the calling test, `name`, inside. Answers whether this is inside: then go on; else the test is over.
///
/// Where the system does not allow it, says so and ends the test; with `REQUIRE_ALL` set that is a failure.
///
/// # Errors
/// The test failed inside.
pub async fn enter(name: &str) -> Result<bool> {
    enter_for(TEST, name).await
}

/// The same, for a test that may take that long inside.
///
/// # Errors
/// The test failed inside.
pub async fn enter_for(longest: Duration, name: &str) -> Result<bool> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(true);
    }
    if let Err(error) = possible() {
        let required = std::env::var_os("REQUIRE_ALL").is_some_and(|value| !value.is_empty());
        ensure!(!required, "no systemd of our own: {error:#}");
        let _ = writeln!(std::io::stderr(), "skipped: no systemd of our own: {error:#}");
        return Ok(false);
    }
    let binaries = stormtunnel_harness::binaries(Default::default()).await?;
    let group = format!("stormtunnel-test-{}-{name}", std::process::id());
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
        "/bin/sh",
        "-c",
        ENTER,
        "sh",
    ]);
    command.arg(std::env::current_exe()?).args(["--exact", name, "--nocapture", "--test-threads=1"]);
    command.env(INSIDE, &group).env("XDG_RUNTIME_DIR", runtime_dir());
    command.env("STORMTUNNEL_BIN_DIR", binaries.stctl.parent().context("stctl is nowhere")?);
    let ran = process::run(command, longest).await;
    remove_groups(&group);
    let Output { code, stdout, stderr } = ran?;
    std::io::stdout().write_all(stdout.as_bytes())?;
    ensure!(code == 0, "inside, the test ended with {code}\n{stdout}\n{stderr}");
    // A name that matches nothing would be a success, too.
    ensure!(stdout.contains("test result: ok. 1 passed"), "no test {name} ran inside\n{stdout}");
    Ok(false)
}

/// Whether this system lets us.
fn possible() -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "it takes root to mount, in namespaces of its own");
    for program in ["systemd", "systemd-journald"] {
        ensure!(Path::new(PROGRAMS).join(program).exists(), "there is no {PROGRAMS}/{program}");
    }
    let writable = |hierarchy: &str| {
        let procs = Path::new(hierarchy).join("cgroup.procs");
        fs::OpenOptions::new().write(true).open(procs).is_ok()
    };
    ensure!(HIERARCHIES.iter().any(|hierarchy| writable(hierarchy)), "control groups cannot be changed");
    Ok(())
}

fn runtime_dir() -> PathBuf {
    PathBuf::from(format!("/run/user/{}", rustix::process::getuid().as_raw()))
}

/// Control groups outlive those who were in them.
fn remove_groups(name: &str) {
    fn remove(group: &Path) {
        for entry in fs::read_dir(group).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove(&entry.path());
            }
        }
        let _ = fs::remove_dir(group);
    }
    HIERARCHIES.iter().for_each(|hierarchy| remove(&Path::new(hierarchy).join(name)));
}

/// The control group in which logind has what a person starts at a terminal, beside that of the user's systemd.
#[derive(Debug)]
pub struct Session {
    groups: Vec<PathBuf>,
}

impl Session {
    /// Begins one. Call it inside.
    ///
    /// # Errors
    /// The group cannot be made.
    pub fn begin() -> Result<Self> {
        let inside = std::env::var(INSIDE).context("this is not inside")?;
        let uid = rustix::process::getuid().as_raw();
        let scope = format!("{inside}/user.slice/user-{uid}.slice/session-1.scope");
        let ours = HIERARCHIES.iter().filter(|hierarchy| Path::new(hierarchy).join(&inside).exists());
        let groups: Vec<PathBuf> = ours.map(|hierarchy| Path::new(hierarchy).join(&scope)).collect();
        groups.iter().try_for_each(fs::create_dir_all)?;
        ensure!(!groups.is_empty(), "there is no control group of this test");
        Ok(Self { groups })
    }

    /// What a shell has to do to belong to it.
    #[must_use]
    pub fn entrance(&self) -> String {
        let enter = |group: &PathBuf| format!("echo $$ > {}/cgroup.procs", group.display());
        self.groups.iter().map(enter).collect::<Vec<_>>().join(" && ")
    }

    /// Ends it as a logout does where nothing may stay behind (`KillUserProcesses=yes`). Answers how many processes did.
    ///
    /// # Errors
    /// The group cannot be read.
    pub fn end(self) -> Result<usize> {
        let mut killed = std::collections::BTreeSet::new();
        for group in &self.groups {
            let members = fs::read_to_string(group.join("cgroup.procs"))?;
            killed.extend(members.lines().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        for pid in &killed {
            process::send_signal(*pid, process::Signal::KILL)?;
        }
        Ok(killed.len())
    }
}

/// A scene whose user has a systemd.
pub struct Machine {
    // Declared first, so dropped first: it ends what it has started.
    _manager: Child,
    scene: Scene,
}

impl Machine {
    /// Gives the scene's user a systemd, with the environment of the scene's place. Call it inside.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(scene: Scene) -> Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", MANAGER]).env_clear().envs(Self::environment_of(&scene));
        command.env(INSIDE, std::env::var_os(INSIDE).context("this is not inside")?);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let machine = Self { _manager: command.spawn().context("systemd cannot be started")?, scene };
        machine.until(async || machine.systemctl(&["is-system-running"]).await.is_ok()).await?;
        Ok(machine)
    }

    fn environment_of(scene: &Scene) -> Vec<(OsString, OsString)> {
        let place = scene.sandbox().environment().into_iter();
        let mut environment: Vec<(OsString, OsString)> =
            place.map(|(name, value)| (name.into(), value.into())).collect();
        environment.push(("XDG_RUNTIME_DIR".into(), runtime_dir().into()));
        environment
    }

    /// What a terminal of this user has in its environment; `stctl` is on its path.
    ///
    /// # Errors
    /// A variable is not text.
    pub fn environment(&self) -> Result<Vec<(String, String)>> {
        let directory = self.scene.sandbox().binaries().stctl.parent().context("stctl is nowhere")?;
        let mut environment = Vec::new();
        for (name, value) in Self::environment_of(&self.scene) {
            let text = |text: OsString| text.into_string().ok().context("a variable is not text");
            let (name, value) = (text(name)?, text(value)?);
            let value = if name == "PATH" { format!("{}:{value}", directory.display()) } else { value };
            environment.push((name, value));
        }
        Ok(environment)
    }

    /// The scene.
    #[must_use]
    pub fn scene(&self) -> &Scene {
        &self.scene
    }

    /// `stctl` of this user, ready to run.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = self.scene.command(arguments);
        command.env("XDG_RUNTIME_DIR", runtime_dir());
        command
    }

    /// Runs `stctl`. An exit code that is not 0 is no error.
    ///
    /// # Errors
    /// It does not end.
    pub async fn stctl(&self, arguments: &[&str]) -> Result<Output> {
        process::run(self.command(arguments), 2 * DEADLINE).await
    }

    /// Runs `stctl`, which must succeed, and answers what it says on both outputs.
    ///
    /// # Errors
    /// It fails.
    pub async fn ok(&self, arguments: &[&str]) -> Result<String> {
        let Output { code, stdout, stderr } = self.stctl(arguments).await?;
        ensure!(
            code == 0,
            "stctl {} ended with {code}\n{stdout}{stderr}\n--- the journal\n{}",
            arguments.join(" "),
            self.journal().await
        );
        Ok(stdout + &stderr)
    }

    /// Asks the user's systemd.
    ///
    /// # Errors
    /// It refuses, or does not answer.
    pub async fn systemctl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("systemctl");
        command.arg("--user").args(arguments).env_clear().envs(Self::environment_of(&self.scene));
        process::run(command, DEADLINE).await?.success()
    }

    async fn journal(&self) -> String {
        self.journalctl(&["--lines=40"]).await.unwrap_or_default()
    }

    /// Asks the journal.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn journalctl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("journalctl");
        command.arg("--no-pager").args(arguments);
        Ok(process::run(command, DEADLINE).await?.stdout)
    }

    /// `stctl daemon status`. Without a daemon it is an answer, too.
    ///
    /// # Errors
    /// It is not JSON.
    pub async fn status(&self) -> Result<Value> {
        let Output { stdout, stderr, .. } = self.stctl(&["daemon", "status", "-o", "json"]).await?;
        serde_json::from_str(&stdout).with_context(|| format!("not JSON: {stdout}{stderr}"))
    }

    /// The process that systemd has as the daemon's, if it has one.
    ///
    /// # Errors
    /// systemd does not answer.
    pub async fn main_pid(&self) -> Result<Option<u32>> {
        let said = self.systemctl(&["show", "--property=MainPID", "--value", "stormtunneld.service"]).await?;
        Ok(said.trim().parse().ok().filter(|pid| *pid != 0))
    }

    /// Waits until that is so.
    ///
    /// # Errors
    /// It is still not after [`DEADLINE`].
    pub async fn until(&self, is_so: impl AsyncFn() -> bool) -> Result<()> {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        let waiting = async {
            while !is_so().await {
                looks.tick().await;
            }
        };
        let waited = tokio::time::timeout(DEADLINE, waiting).await;
        if waited.is_err() {
            anyhow::bail!(
                "it does not happen within {DEADLINE:?}\n--- the journal\n{}",
                self.journal().await
            );
        }
        Ok(())
    }
}
