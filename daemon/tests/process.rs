//! The program itself: how it goes to the background, what it takes along, how it ends.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a broken expectation is a failed test")]

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, getpid, getsid, kill_process};
use stormtunnel_proto::Client;
use stormtunneld::instance::{Claim, Instance, claim_or_find_serving};
use stormtunneld::paths::Paths;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const DEADLINE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn two_starts_at_once_make_one_daemon() {
    let place = Place::new();
    let (first, second) = tokio::join!(place.detach(), place.detach());
    let mut words = [stdout(&first), stdout(&second)];
    words.sort();
    assert_eq!(words, ["ready\n", "running\n"]);
    assert!(first.status.success() && second.status.success());
    place.shut_down().await;
    assert_eq!(stdout(&place.detach().await), "ready\n", "the place is free again");
    place.shut_down().await;
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn the_background_keeps_nothing_of_the_terminal() {
    let place = Place::new();
    let leak = place.home.path().join("left-open");
    fs::write(&leak, "").unwrap();
    let script = format!("exec 7<'{}'; exec \"$0\" \"$@\"", leak.display());
    let mut shell = Command::new("sh");
    let polluted =
        [("AWS_PROFILE", "first-terminal"), ("AWS_SECRET_ACCESS_KEY", "hunter2"), ("AWS_REGION", "xx-x-1")];
    shell.arg("-c").arg(script).arg(PROGRAM).args(place.flags()).arg("--detach");
    let output = within(shell.env_clear().envs(place.environment()).envs(polluted).output()).await.unwrap();
    assert_eq!(stdout(&output), "ready\n", "{}", stderr(&output));

    let pid = place.holder();
    let proc = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    assert_eq!(getsid(Some(pid)).unwrap(), pid, "a session of its own");
    assert_eq!(fs::read_link(proc.join("cwd")).unwrap(), Path::new("/"));
    let environment = fs::read_to_string(proc.join("environ")).unwrap();
    assert!(
        !["first-terminal", "hunter2", "xx-x-1"].iter().any(|word| environment.contains(word)),
        "{environment}"
    );
    assert!(environment.contains("HOME="), "{environment}");
    let open = |number: &str| fs::read_link(proc.join("fd").join(number)).unwrap();
    assert_eq!([open("0"), open("1")], [Path::new("/dev/null"), Path::new("/dev/null")]);
    assert_eq!(open("2"), place.paths.log(), "a crash report goes to the log");
    let descriptors: Vec<PathBuf> = fs::read_dir(proc.join("fd"))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .collect();
    assert!(!descriptors.contains(&leak), "{descriptors:?}");
    place.shut_down().await;
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn the_background_keeps_the_credentials_of_a_host_that_has_them_there() {
    let (flag, variable) = (["--aws-environment"], [("STORMTUNNEL_AWS_ENVIRONMENT", "1")]);
    for (flags, asked) in [(&flag[..], &[][..]), (&[], &variable[..])] {
        let place = Place::new();
        let mut command = place.command();
        let of_host =
            [("AWS_ACCESS_KEY_ID", "of-host"), ("AWS_REGION", "xx-x-1"), ("LD_LIBRARY_PATH", "/no")];
        command.arg("--detach").args(flags).envs(of_host).envs(asked.iter().copied());
        let output = within(command.output()).await.unwrap();
        assert_eq!(stdout(&output), "ready\n", "{}", stderr(&output));
        let environ = format!("/proc/{}/environ", place.holder().as_raw_nonzero());
        let environment = fs::read_to_string(environ).unwrap();
        assert!(
            environment.contains("AWS_ACCESS_KEY_ID=of-host") && environment.contains("AWS_REGION=xx-x-1")
        );
        assert!(!environment.contains("LD_LIBRARY_PATH"), "{environment}");
        place.shut_down().await;
    }
}

#[tokio::test]
async fn a_service_tells_its_manager_and_a_daemon_in_the_background_has_none() {
    let place = Place::new();
    let manager = tokio::net::UnixDatagram::bind(place.home.path().join("notify")).unwrap();
    let notify = ("NOTIFY_SOCKET", place.home.path().join("notify"));
    let mut words = [0; 64];

    let mut command = Command::new(PROGRAM);
    command
        .args(place.flags())
        .arg("--detach")
        .env_clear()
        .envs(place.environment())
        .env(notify.0, &notify.1);
    let output = within(command.output()).await.unwrap();
    assert_eq!(stdout(&output), "ready\n", "{}", stderr(&output));
    assert!(manager.try_recv(&mut words).is_err(), "it is another program's manager");
    place.shut_down().await;

    let mut command = Command::new(PROGRAM);
    command.args(place.flags()).arg("--log-to-file").env_clear().envs(place.environment());
    let mut service =
        command.env(notify.0, &notify.1).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let length = within(manager.recv(&mut words)).await.unwrap();
    assert_eq!(&words[..length], b"READY=1");
    let info = Client::connect(&place.paths.socket).await.unwrap().daemon_info().await.unwrap();
    assert_eq!(info.log_path.as_deref(), place.paths.log().to_str());
    place.shut_down().await;
    let length = within(manager.recv(&mut words)).await.unwrap();
    assert_eq!(&words[..length], b"STOPPING=1");
    assert!(within(service.wait()).await.unwrap().success());
    let log = fs::read_to_string(place.paths.log()).unwrap();
    assert!(log.contains("serving") && log.contains("stopped"), "{log}");
}

#[tokio::test]
async fn a_start_that_fails_says_why() {
    let place = Place::new();
    fs::write(place.home.path().join("state"), "a file in the way").unwrap();
    let output = place.detach().await;
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""));
    assert!(stderr(&output).contains("is not a directory"), "{}", stderr(&output));
}

#[tokio::test]
async fn a_second_foreground_daemon_names_the_first() {
    let place = Place::new();
    assert_eq!(stdout(&place.detach().await), "ready\n");
    let output = within(place.command().output()).await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let pid = place.holder().as_raw_nonzero();
    assert!(stderr(&output).contains(&format!("another stormtunneld (pid {pid})")), "{}", stderr(&output));
    place.shut_down().await;
    let refusal = stderr(&output).replace(&format!("{}/", place.home.path().display()), "");
    println!("promise state.second: \"{}\"", refusal.trim());
}

#[tokio::test]
async fn a_hang_up_is_ignored_and_a_termination_obeyed() {
    for signal in [Signal::TERM, Signal::INT] {
        let place = Place::new();
        let mut child = place.foreground().await;
        let pid = place.holder();
        kill_process(pid, Signal::HUP).unwrap();
        Client::connect(&place.paths.socket).await.unwrap().daemon_info().await.expect("it goes on");
        kill_process(pid, signal).unwrap();
        assert!(within(child.wait()).await.unwrap().success(), "{signal:?}");
        assert!(!place.paths.socket.exists());
    }
}

#[tokio::test]
async fn a_killed_daemon_leaves_nothing_in_the_way() {
    let place = Place::new();
    let mut child = place.foreground().await;
    kill_process(place.holder(), Signal::KILL).unwrap();
    within(child.wait()).await.unwrap();
    assert!(place.paths.socket.exists(), "the socket is stale");
    assert_eq!(stdout(&place.detach().await), "ready\n");
    place.shut_down().await;
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_stormtunneld");

/// A directory with all that one daemon needs; a daemon that a failed test leaves behind is killed with it.
struct Place {
    home: TempDir,
    paths: Paths,
}

impl Place {
    fn new() -> Self {
        let home = TempDir::new().unwrap();
        let paths = Paths {
            socket: home.path().join("run/daemon.sock"),
            state_dir: home.path().join("state"),
            settings: home.path().join("settings.toml"),
        };
        Self { home, paths }
    }

    fn flags(&self) -> Vec<OsString> {
        let Paths { socket, state_dir, settings } = &self.paths;
        let flags = [("--socket", socket), ("--state-dir", state_dir), ("--config", settings)];
        flags.into_iter().flat_map(|(flag, path)| [flag.into(), path.clone().into_os_string()]).collect()
    }

    fn environment(&self) -> Vec<(&str, OsString)> {
        vec![("HOME", self.home.path().into()), ("PATH", std::env::var_os("PATH").unwrap_or_default())]
    }

    fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(self.flags()).env_clear().envs(self.environment()).kill_on_drop(true);
        command
    }

    async fn detach(&self) -> Output {
        within(self.command().arg("--detach").output()).await.unwrap()
    }

    /// Starts it in the foreground and waits until it serves.
    async fn foreground(&self) -> Child {
        let mut child = self.command().stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        within(async {
            while let Some(line) = log.next_line().await.unwrap() {
                if line.contains("serving") {
                    return;
                }
            }
            panic!("it ended before it served");
        })
        .await;
        // Later lines have nowhere to go, which is no reason to stop either.
        drop(log);
        child
    }

    /// The process that holds the lock.
    fn holder(&self) -> Pid {
        let Claim::Held(holder) = Instance::claim(&self.paths).unwrap() else {
            panic!("nobody holds the lock")
        };
        Pid::from_raw(holder.pid.unwrap().try_into().unwrap()).unwrap()
    }

    /// Asks the daemon to stop and waits until its locks are free.
    async fn shut_down(&self) {
        Client::connect(&self.paths.socket).await.unwrap().shutdown().await.unwrap();
        within(async {
            while let (Claim::Held(_), _) = claim_or_find_serving(&self.paths, DEADLINE, false).await.unwrap()
            {
            }
        })
        .await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Ok(Claim::Held(holder)) = Instance::claim(&self.paths) {
            let pid = holder.pid.and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
            // The lock that a test took itself outlives its end by a moment, in a child that another test is starting.
            pid.filter(|pid| *pid != getpid()).map(|pid| kill_process(pid, Signal::KILL));
        }
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("it happens before the deadline")
}

/// The page for packages, as groff sees it; nothing may be skipped under `REQUIRE_ALL`.
#[tokio::test]
async fn the_manual_page_is_well_formed() {
    let page = Command::new(PROGRAM).arg("--man-page").output().await.unwrap();
    let text = stdout(&page);
    assert!(page.status.success() && text.contains(r"\-\-aws\-environment"), "{text}");
    assert!(!text.contains("detached") && !text.contains(r"man\-page"), "what is hidden stays so: {text}");
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &text).unwrap();
    let groff = Command::new("groff").args(["-man", "-Tutf8", "-ww", "-z"]).arg(file.path()).output().await;
    match groff {
        Ok(said) => assert!(said.status.success() && said.stderr.is_empty(), "{said:?}"),
        Err(_missing) => {
            let required = std::env::var_os("REQUIRE_ALL").is_some_and(|value| !value.is_empty());
            assert!(!required, "groff is not here, and REQUIRE_ALL allows no test to be skipped");
            println!("skipped: groff is not here");
        }
    }
}
