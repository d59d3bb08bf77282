//! Completion in the real shells, where somebody presses the key in a terminal.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tokio::time::Instant;

use crate::completions::{have_everything, tunnels};
use crate::fake::Fake;

/// What is typed before the key is pressed, and what stands there then; quotes of the shell are its own matter.
const TYPED: [(&str, &str); 8] = [
    ("stctl up da", "stctl up dashboard"),
    ("stctl up dashboard d", "stctl up dashboard db"),
    ("stctl ls -l env=p", "stctl ls -l env=prod"),
    ("stctl ls --selector=team=", "stctl ls --selector=team=data"),
    ("stctl targets ecs-service:main/w", "stctl targets ecs-service:main/web"),
    ("stctl tunnel add x --local u", "stctl tunnel add x --local unix:"),
    ("stctl whoami --profile Pr", "stctl whoami --profile Prod\\ Admin"),
    ("stctl help exit", "stctl help exit-codes"),
];

/// How often a key is pressed that a daemon did not answer in time, on a machine with much to do.
const PRESSES: usize = 20;

/// Longest wait for a shell that shows nothing.
const PATIENCE: Duration = Duration::from_secs(20);

/// Chunks of what a shell shows: more than any test has. The reader waits when it is full.
const CHUNKS: usize = 64;

/// Three shells, and zsh once more as a package sets it up: a file in `fpath`, which has to answer the first time, too.
#[tokio::test]
async fn shells_complete_live_names() {
    let bash = r#"eval "$(stctl completions bash)""#;
    let zsh = r#"PS1="> "; autoload -Uz compinit && compinit -u -D; eval "$(stctl completions zsh)""#;
    let zsh_file = r#"PS1="> "; mkdir functions; stctl completions zsh >functions/_stctl; fpath=("$PWD/functions" $fpath); autoload -Uz compinit && compinit -u -D"#;
    let shells = [
        ("bash", in_terminal(&["bash", "--norc", "--noprofile", "-i"], bash).await),
        ("zsh", in_terminal(&["zsh", "-f", "-i"], zsh).await),
        ("zsh from a file", in_terminal(&["zsh", "-f", "-i"], zsh_file).await),
        ("fish", in_fish().await),
    ];
    let names: Vec<&str> = shells.iter().filter(|(_, is_there)| *is_there).map(|(name, _)| *name).collect();
    println!("promise cli.completions: {}: {} places each", names.join(", "), TYPED.len());
}

/// Types everything into the shell, and has it show what stands in the line then. Answers whether the shell is there.
async fn in_terminal(command: &'static [&'static str], set_up: &'static str) -> bool {
    if !is_there(command[0]) {
        return false;
    }
    beside_everything(move |world| {
        let mut terminal = Terminal::open(world, command);
        terminal.keys(&format!("{set_up}; echo rea''dy\n"));
        terminal.until("\nready");
        // What needs no daemon is there with the first press.
        assert_eq!(terminal.completed("stctl help sel"), "stctl help selectors", "{command:?}");
        for (typed, expected) in TYPED {
            let is_right = (0..PRESSES).any(|_| terminal.completed(typed) == expected);
            assert!(is_right, "{command:?}, {typed}: {}", terminal.shown);
        }
    })
    .await;
    true
}

/// Fish tells what it would complete, without a terminal: the last word of each line.
async fn in_fish() -> bool {
    if !is_there("fish") {
        return false;
    }
    beside_everything(|world| {
        for (typed, expected) in TYPED {
            let script = format!("stctl completions fish | source; complete -C '{typed}'");
            let mut shown = (0..PRESSES).map(|_| {
                let output = world.command("fish", &["--no-config", "-c", &script]).output().unwrap();
                String::from_utf8(output.stdout).unwrap()
            });
            let is_right = |shown: String| {
                shown.lines().any(|line| {
                    expected.replace('\\', "").ends_with(&format!(" {}", line.split('\t').next().unwrap()))
                })
            };
            assert!(shown.any(is_right), "fish, {typed}");
        }
    })
    .await;
    true
}

/// A shell's surroundings: a home, the program on the path, and a daemon.
struct Surroundings {
    home: tempfile::TempDir,
    socket: PathBuf,
}

impl Surroundings {
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let program_directory = Path::new(env!("CARGO_BIN_EXE_stctl")).parent().unwrap();
        let mut path = OsString::from(program_directory);
        path.push(":/usr/local/bin:/usr/bin:/bin");
        let mut command = Command::new(program);
        command.args(arguments).env_clear().current_dir(self.home.path());
        command.env("PATH", path).env("HOME", self.home.path()).env("STORMTUNNEL_SOCKET", &self.socket);
        command.env("TERM", "dumb").env("LANG", "C.UTF-8").env("PS1", "> ");
        command
    }
}

/// Runs a test that blocks, beside a daemon that has names of every kind.
async fn beside_everything(test: impl FnOnce(&Surroundings) + Send + 'static) {
    Fake::beside(tunnels(), async |fake: Fake| {
        have_everything(&fake);
        let world = Surroundings { home: tempfile::tempdir().unwrap(), socket: fake.socket().to_owned() };
        tokio::task::spawn_blocking(move || test(&world)).await.unwrap();
    })
    .await;
}

/// A shell in a terminal.
struct Terminal {
    master: File,
    chunks: Receiver<Vec<u8>>,
    shell: Child,
    /// All that it has shown since the last key.
    shown: String,
}

impl Terminal {
    fn open(world: &Surroundings, command: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = PathBuf::from(ptsname(&master, Vec::new()).unwrap().into_string().unwrap());
        let slave = || -> Stdio { OpenOptions::new().read(true).write(true).open(&path).unwrap().into() };
        // It becomes the session's own terminal: only then is the shell one for people.
        let mut command = world.command("setsid", &[&["--ctty"], command].concat());
        let shell = command.stdin(slave()).stdout(slave()).stderr(slave()).spawn().unwrap();
        let master = File::from(master);
        let (chunks, received) = sync_channel(CHUNKS);
        let reader = master.try_clone().unwrap();
        thread::spawn(move || read(reader, &chunks));
        Self { master, chunks: received, shell, shown: String::new() }
    }

    fn keys(&mut self, keys: &str) {
        self.shown.clear();
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until it shows this.
    fn until(&mut self, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.shown.replace('\r', "").contains(wanted) {
            match self.chunks.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(chunk) => self.shown += &String::from_utf8_lossy(&chunk),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no {wanted:?} in {:?}", self.shown)
                }
            }
        }
    }

    /// What stands in the line when the key was pressed behind `typed`. The line is made one that shows itself.
    fn completed(&mut self, typed: &str) -> String {
        const TAB: char = '\t';
        const BEGIN: char = '\u{1}';
        const END: char = '\u{5}';
        self.keys(&format!("{typed}{TAB}{BEGIN}echo '[{END}]' do''ne\n"));
        self.until("] done\n");
        let shown = self.shown.replace('\r', "");
        let (before, _) = shown.rsplit_once("] done\n").unwrap();
        before.rsplit_once("\n[").unwrap_or_default().1.trim_end().to_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.shell.kill());
        drop(self.shell.wait());
    }
}

fn read(mut terminal: File, chunks: &SyncSender<Vec<u8>>) {
    let mut chunk = [0; 4096];
    // Ends with the shell, or with the test.
    while let Ok(length @ 1..) = terminal.read(&mut chunk) {
        if chunks.send(chunk[..length].to_vec()).is_err() {
            return;
        }
    }
}

/// Whether a program is there; nothing may be skipped under `REQUIRE_ALL`.
#[expect(clippy::print_stderr, reason = "a test that checks nothing has to say so")]
pub(crate) fn is_there(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdin(Stdio::null()).output().is_ok();
    let required = std::env::var_os("REQUIRE_ALL").is_some_and(|value| !value.is_empty());
    assert!(found || !required, "{program} is not here, and REQUIRE_ALL allows no test to be skipped");
    if !found {
        eprintln!("skipped: {program} is not here");
    }
    found
}
