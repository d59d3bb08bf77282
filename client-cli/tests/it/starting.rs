//! Starting the daemon on demand, and saying why it cannot be reached.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use stctl::world::{Ends, Terminal, World};
use stormtunnel_model::ExitCode;
use stormtunnel_proto::paths::Platform;

use crate::fake::Fake;
use crate::support::{now, patient, stctl, stctl_with, stopped};
use crate::system::System;

/// A daemon of three lines of shell: `$2` is the socket it was told to use.
pub(crate) fn script(directory: &Path, body: &str) -> PathBuf {
    let path = directory.join("stormtunneld");
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    path
}

/// Runs `ls` with a daemon that is not there until the script puts its socket in place.
async fn ls_with(body: &str) -> (u8, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let program = script(directory.path(), body);
    let socket = directory.path().join("daemon.sock");
    let hidden = directory.path().join("hidden.sock");
    let ran = Fake::beside_at(&hidden, &socket, vec![stopped("db", "80", "auto")], async |fake: Fake| {
        stctl_with(fake.socket(), &[("STCTL_DAEMON", program.to_str().unwrap())], "ls -o name").await
    })
    .await;
    (ran.code, ran.out, ran.err.replace(directory.path().to_str().unwrap(), "DIR"))
}

const APPEAR: &str = r#"mv "$(dirname "$2")/hidden.sock" "$2""#;

#[tokio::test]
async fn a_daemon_is_started_and_used_once_it_is_ready() {
    let (code, out, err) = ls_with(&format!("{APPEAR}\necho ready")).await;
    assert_eq!((code, out.as_str(), err.as_str()), (0, "db\n", ""));
}

#[tokio::test]
async fn a_daemon_that_lost_the_race_leads_to_the_one_that_won() {
    // The winner serves a moment after the loser has said so.
    let (code, out, _) = ls_with(&format!("echo running\nexec >&-\n{APPEAR}")).await;
    assert_eq!((code, out.as_str()), (0, "db\n"));
}

#[tokio::test]
async fn the_daemon_gets_its_paths_and_no_input() {
    let check = r#"[ "$1 $3 $5 $7" = "--socket --state-dir --config --detach" ] || exit 9
        [ "$4" = /home/u/.local/state/stormtunnel ] || exit 8
        [ "$6" = /home/u/.config/stormtunnel/settings.toml ] || exit 7
        read -r line && exit 6"#;
    let (code, _, err) = ls_with(&format!("{check}\n{APPEAR}\necho ready")).await;
    assert_eq!((code, err.as_str()), (0, ""));
}

#[tokio::test]
async fn the_last_words_of_a_daemon_that_dies_are_shown() {
    let (code, _, err) = ls_with("echo 'the database is damaged' >&2\nexit 3").await;
    insta::assert_snapshot!("daemon_died", format!("{err}--- exit code {code}\n"));
}

#[tokio::test]
async fn a_daemon_that_cannot_be_found_says_where_it_was_looked_for() {
    let directory = tempfile::tempdir().unwrap();
    let ran =
        stctl_with(&directory.path().join("s"), &[("STCTL_DAEMON", "/nonexistent/stormtunneld")], "ls").await;
    insta::assert_snapshot!("daemon_not_found", ran.shown());
}

#[tokio::test]
async fn without_autostart_the_reason_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let shown = |text: String| text.replace(directory.path().to_str().unwrap(), "DIR");
    let socket = directory.path().join("daemon.sock");
    let missing = stctl(&socket, "ls").await;
    drop(UnixListener::bind(&socket).unwrap());
    let stale = stctl(&socket, "ls").await;
    let below_a_file = stctl(&socket.join("daemon.sock"), "ls").await;
    let status = stctl(&directory.path().join("none"), "daemon status").await;
    let all = [missing, stale, below_a_file, status].map(|ran| shown(ran.shown())).join("\n");
    insta::assert_snapshot!("unreachable", all);
}

#[tokio::test]
async fn a_socket_path_that_no_system_takes_is_refused() {
    let ran = stctl(Path::new(&format!("/tmp/{}", "x".repeat(120))), "ls").await;
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("at most"), "{}", ran.err);
}

/// A suspended daemon: the system takes connections in its place, and nobody answers.
#[tokio::test(start_paused = true)]
async fn a_daemon_that_hangs_holds_no_wait_up() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("daemon.sock");
    let _listening = UnixListener::bind(&socket).unwrap();
    for line in ["wait db", "up db", "restart db", "down db", "wait --all", "down --all"] {
        for limit in ["100ms", "0"] {
            let ran = stctl(&socket, &format!("{line} --timeout {limit}")).await;
            assert_eq!(ran.code, 124, "{line}: {ran:?}");
            assert!(ran.err.contains("the daemon does not answer"), "{line}: {ran:?}");
        }
    }
    let stop = stctl(&socket, "daemon stop --timeout 100ms").await;
    assert_eq!(stop.code, 124, "{stop:?}");
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_hangs_is_told_with_the_way_out() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("daemon.sock");
    let _listening = UnixListener::bind(&socket).unwrap();
    for line in
        ["ls", "status", "tunnel show db", "settings get", "up db --no-wait", "down db --no-wait", "watch"]
    {
        let ran = patient(&socket, line).await;
        assert_eq!(ran.code, 5, "{line}: {ran:?}");
        assert!(ran.err.contains("the daemon does not answer"), "{line}: {ran:?}");
        assert!(ran.err.contains("kill -9 PID"), "{line}: {ran:?}");
    }
}

/// A daemon that stops takes no connections any more, and its lock is held until its last session has ended.
fn stopping_daemon(directory: &Path) -> (PathBuf, fs::File) {
    let socket = directory.join("daemon.sock");
    drop(UnixListener::bind(&socket).unwrap());
    let lock = directory.join("daemon.sock.lock");
    fs::write(&lock, "4711\n").unwrap();
    let held = fs::File::open(&lock).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    (socket, held)
}

#[tokio::test]
async fn a_daemon_that_still_stops_is_not_called_gone() {
    let directory = tempfile::tempdir().unwrap();
    let (socket, held) = stopping_daemon(directory.path());
    let ran = stctl(&socket, "daemon stop --timeout 100ms").await;
    assert_eq!(ran.code, 124, "{ran:?}");
    assert!(
        ran.err.contains("still stopping after 0.1 s") && ran.err.contains("kill -9 4711"),
        "{}",
        ran.err
    );
    let_go(&held);
    let ran = stctl(&socket, "daemon stop").await;
    assert_eq!((ran.code, ran.err.as_str()), (0, "the daemon is not running\n"));
}

/// Closing it would not do: a child that another test has just forked holds the same lock until it runs its program.
fn let_go(held: &fs::File) {
    rustix::fs::flock(held, rustix::fs::FlockOperation::Unlock).unwrap();
}

/// Lets the lock go once something was said.
struct LetsGo(Option<fs::File>, Vec<u8>);

impl io::Write for LetsGo {
    fn write(&mut self, said: &[u8]) -> io::Result<usize> {
        self.0.take().iter().for_each(let_go);
        self.1.write(said)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_second_stop_waits_for_the_end_of_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let (socket, held) = stopping_daemon(directory.path());
    let mut err = LetsGo(Some(held), Vec::new());
    let env = [("STORMTUNNEL_SOCKET", socket.to_str().unwrap()), ("HOME", "/home/u")].into_iter().collect();
    let (mut out, system) = (Vec::new(), System::default());
    let mut world = World {
        env,
        out: &mut out,
        err: &mut err,
        terminal: Terminal::default(),
        in_container: false,
        answer: None,
        clock: now,
        platform: Platform::Linux,
        programs: &system,
        ends: Ends::default(),
        status: None,
    };
    let code = stctl::run(["stctl", "daemon", "stop"].map(Into::into), &mut world).await;
    let said = String::from_utf8(err.1).unwrap();
    assert_eq!(
        (code, said.as_str()),
        (ExitCode::Ok, "the daemon is stopping already\nthe daemon has stopped\n")
    );
}

/// A reader that has gone, such as `head`.
struct Gone;

impl io::Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_closed_pipe_ends_the_command_quietly() {
    Fake::beside(vec![stopped("db", "80", "auto")], async |fake: Fake| {
        let (mut err, system) = (Vec::new(), System::default());
        let env = [("STORMTUNNEL_SOCKET", fake.socket().to_str().unwrap()), ("HOME", "/home/u")]
            .into_iter()
            .collect();
        let mut world = World {
            env,
            out: &mut Gone,
            err: &mut err,
            terminal: Terminal::default(),
            in_container: false,
            answer: None,
            clock: now,
            platform: Platform::Linux,
            programs: &system,
            ends: Ends::default(),
            status: None,
        };
        let code = stctl::run(["stctl", "ls"].map(Into::into), &mut world).await;
        assert_eq!((code, err.as_slice()), (ExitCode::Ok, b"".as_slice()));
    })
    .await;
}

/// Somebody who leaves while a login runs has given it up: the daemon is told by the end of the call.
#[tokio::test]
async fn ctrl_c_gives_a_login_up() {
    let code = Fake::beside(Vec::new(), async |fake: Fake| {
        fake.hold_logins();
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_stctl"));
        command.args(["sso", "login"]).env("STORMTUNNEL_SOCKET", fake.socket()).kill_on_drop(true);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        fake.logins_waited_for(1).await;
        let pid = rustix::process::Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        let code = tokio::time::timeout(Duration::from_secs(20), child.wait()).await.unwrap().unwrap().code();
        fake.logins_waited_for(0).await;
        code
    })
    .await;
    assert_eq!(code, Some(130));
}

/// The program itself: Ctrl-C ends it with the code that shells give an interrupted program.
#[tokio::test]
async fn ctrl_c_interrupts() {
    let code = Fake::beside(vec![stopped("db", "80", "auto")], async |fake: Fake| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_stctl"));
        command.arg("watch").env("STORMTUNNEL_SOCKET", fake.socket()).kill_on_drop(true);
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        fake.watched().await;
        let pid = rustix::process::Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        tokio::time::timeout(Duration::from_secs(20), child.wait()).await.unwrap().unwrap().code()
    })
    .await;
    assert_eq!(code, Some(130));
}
