//! Manners on a real terminal and in real pipes: how commands end from outside, and what is said meanwhile.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use aws_emulator::{Config, Consent, Injection, Portal, SignInHabits};
use stormtunnel_e2e::DEADLINE;
use stormtunnel_e2e::process::{self, Signal};
use stormtunnel_e2e::profiles;
use stormtunnel_e2e::scene::{HOST, PORT, Scene};
use stormtunnel_e2e::sign_in::{self, START_URL};
use stormtunnel_e2e::terminal::Terminal;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

/// What wipes a line of the terminal away.
const WIPED: &str = "\r\u{1b}[K";

/// A tunnel `db` that goes on connecting, whatever is done: no agent ever speaks.
async fn connecting() -> Result<Scene> {
    let scene = Scene::start(Config::default()).await?;
    scene.emulator().inject(Injection::SilentAgents { count: 1000 });
    scene.add("db", &format!("{HOST}:{PORT}")).await?;
    scene.ok(&["up", "db", "--no-wait"]).await?;
    Ok(scene)
}

/// A terminal of 80 columns that can wipe lines away, with `stctl` on its `PATH`.
async fn terminal(scene: &Scene) -> Result<Terminal> {
    let programs = scene.sandbox().binaries().stctl.parent().context("stctl is nowhere")?;
    let mut terminal = Terminal::open(&scene.sandbox().environment(), DEADLINE).await?;
    terminal.command("stty cols 80 rows 24; export TERM=xterm NO_COLOR=1", DEADLINE).await?;
    terminal.command(&format!("PATH={}:$PATH", programs.display()), DEADLINE).await?;
    Ok(terminal)
}

#[tokio::test]
async fn a_reader_that_goes_ends_every_follower_at_once() -> Result<()> {
    let scene = connecting().await?;
    scene.ok(&["down", "db"]).await?;
    let followers = ["watch", "watch -o json", "ls --watch", "events --follow", "profiles --watch -o json"];
    let others = ["ls", "events", "settings get -o wide"];
    for words in followers.into_iter().chain(others) {
        let stctl = scene.sandbox().binaries().stctl.display();
        // Nothing happens meanwhile: who only wrote to find out would be there still.
        let line = format!("( {stctl} {words}; echo code $? >&2 ) | head -n 1");
        let mut shell = std::process::Command::new("/bin/sh");
        shell.args(["-c", &line]).env_clear().envs(scene.sandbox().environment());
        let ran = process::run(shell, DEADLINE).await.context(words)?;
        ensure!(ran.stdout.lines().count() == 1, "{words}: {ran:?}");
        ensure!(ran.stderr == "code 0\n", "{words}: {ran:?}");
    }
    println!(
        "promise cli.pipes: {} followers end when their reader has gone, with nothing to write and nothing to say",
        followers.len()
    );
    Ok(())
}

/// A command, what its terminal shows when it is interrupted, and what it says then.
type Interrupted = (&'static str, &'static str, &'static str);

const INTERRUPTED: [Interrupted; 6] = [
    ("stctl wait db", "waiting for db: ", ""),
    ("stctl up db", "waiting for db: ", "the daemon goes on starting them"),
    ("stctl watch db", "  Connecting", ""),
    ("stctl ls --watch", "\r\ndb ", ""),
    ("stctl tunnel rm --all", "? [y/N] ", ""),
    ("stctl daemon logs --follow", "\r\n2", ""),
];

#[tokio::test]
async fn ctrl_c_ends_a_command_and_leaves_the_terminal_as_it_was() -> Result<()> {
    let scene = connecting().await?;
    let mut terminal = terminal(&scene).await?;
    let before = terminal.command("stty -a", DEADLINE).await?;
    for (line, shown, said) in INTERRUPTED {
        terminal.begin(line, |text| text.contains(shown), DEADLINE).await.context(line)?;
        terminal.interrupt().await?;
        let shown = terminal.end(DEADLINE).await.context(line)?;
        let after = shown.split_once("^C").map(|(_, after)| after.to_owned()).unwrap_or(shown.clone());
        ensure!(after.contains(said) && !after.contains("error:"), "{line}: {shown:?}");
        ensure!(
            shown.ends_with("\nREADY> ") || shown.ends_with(&format!("{WIPED}READY> ")),
            "{line}: {shown:?}"
        );
        let code = terminal.command("echo code $?", DEADLINE).await?;
        ensure!(code.contains("\ncode 130\r"), "{line}: {code:?}");
        ensure!(
            terminal.command("stty -a", DEADLINE).await? == before,
            "{line}: the terminal is another one"
        );
    }
    ensure!(scene.json(&["tunnel", "show", "db"]).await?["intent"] == "run", "it is there, and meant to run");

    // Bash goes on with a loop whose command returns 130 by itself.
    let line = "bash -c 'while true; do stctl wait db; done'";
    terminal.begin(line, |shown| shown.contains("waiting for db: "), DEADLINE).await?;
    terminal.interrupt().await?;
    terminal.end(DEADLINE).await.context(line)?;
    // Whatever becomes of the words, somebody is there.
    let line = "bash -c 'while true; do stctl watch -o json 2>/dev/null; done'";
    terminal.begin(line, |shown| shown.contains("\"snapshot\""), DEADLINE).await?;
    terminal.interrupt().await?;
    terminal.end(DEADLINE).await.context(line)?;
    println!(
        "promise cli.signals: Ctrl-C ends {} commands with 130, a question among them, in a terminal that is as it was",
        INTERRUPTED.len()
    );
    Ok(())
}

#[tokio::test]
async fn a_second_ctrl_c_ends_a_command_that_waits_for_a_program() -> Result<()> {
    let mut scene = Scene::start(Config::default()).await?;
    let programs = tempfile::tempdir()?;
    let deaf = programs.path().join("systemctl");
    std::fs::write(
        &deaf,
        "#!/bin/sh\ntrap '' INT\necho begun >/dev/tty\nwhile kill -0 $PPID 2>/dev/null; do sleep 0.1; done\n",
    )?;
    std::fs::set_permissions(&deaf, std::fs::Permissions::from_mode(0o755))?;
    let path = format!("{}:{}", programs.path().display(), std::env::var("PATH")?);
    scene.set_variable("PATH", path);
    let mut terminal = terminal(&scene).await?;
    terminal.begin("stctl daemon install", |shown| shown.contains("\nbegun\r"), DEADLINE).await?;
    terminal.shows(|shown| shown.contains("installing the service"), DEADLINE).await?;
    terminal.interrupt().await?;
    // It goes on: two that come at once would be one to the system.
    let goes_on = |shown: &str| shown.split("^C").nth(1).is_some_and(|after| after.contains("installing"));
    terminal.shows(goes_on, DEADLINE).await?;
    terminal.interrupt().await?;
    terminal.end(DEADLINE).await?;
    let code = terminal.command("echo code $?", DEADLINE).await?;
    ensure!(code.contains("\ncode 130\r"), "{code:?}");
    println!("promise cli.twice: a second Ctrl-C ends a command whose program ignores the first");
    Ok(())
}

/// An editor that hears Ctrl-C, as many do, and then takes a line.
const EDITOR: &str = "#!/bin/sh\ntrap 'echo heard' INT\necho editing\nuntil read -r line; do :; done\n\
                      echo \"# $line\" >>\"$1\"\n";

#[tokio::test]
async fn ctrl_c_in_an_editor_is_the_editors() -> Result<()> {
    let scene = Scene::start(Config::default()).await?;
    let editor = scene.sandbox().home().join("editor");
    std::fs::write(&editor, EDITOR)?;
    std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o755))?;
    let mut terminal = terminal(&scene).await?;
    // The shell that starts it would end of the signal in its place.
    let line = format!("EDITOR='exec {}' stctl settings edit", editor.display());
    terminal.begin(&line, |shown| shown.contains("\nediting\r"), DEADLINE).await?;
    for times in 1..=2 {
        terminal.interrupt().await?;
        terminal.shows(|shown| shown.matches("heard").count() == times, DEADLINE).await?;
    }
    terminal.type_line("kept").await?;
    let shown = terminal.end(DEADLINE).await?;
    ensure!(shown.contains("is written"), "{shown:?}");
    let code = terminal.command("echo code $?", DEADLINE).await?;
    ensure!(code.contains("\ncode 0\r"), "{code:?}");
    ensure!(std::fs::read_to_string(scene.sandbox().config_file())?.ends_with("# kept\n"));

    // At a question it is for stctl again, and what was typed is not lost.
    std::fs::write(&editor, "#!/bin/sh\necho 'wrong = 1' >>\"$1\"\n")?;
    terminal.begin(&line, |shown| shown.contains("edit again? [y/N] "), DEADLINE).await?;
    terminal.interrupt().await?;
    let shown = terminal.end(DEADLINE).await?;
    let (_, kept) = shown.split_once("what you have written is kept in").context(shown.clone())?;
    let kept: String = kept.split("READY> ").next().unwrap_or_default().split_whitespace().collect();
    ensure!(std::fs::read_to_string(&kept).context(kept)?.ends_with("wrong = 1\n"), "{shown:?}");
    Ok(())
}

#[tokio::test]
async fn ctrl_c_at_a_login_says_what_becomes_of_it() -> Result<()> {
    let sign_in = SignInHabits { consent: Consent::Waits, interval_s: 1, ..SignInHabits::default() };
    let portal = Portal::new(START_URL, "me@corp.example").account("123456789012", &["Developer"]);
    let scene = Scene::start(Config { portals: vec![portal], sign_in, ..Config::default() }).await?;
    sign_in::write_profiles(&scene)?;
    profiles::add(&scene, "db", Some("dev")).await?;
    let mut terminal = terminal(&scene).await?;
    terminal.begin("stctl up db", |shown| shown.contains("http"), DEADLINE).await?;
    terminal.interrupt().await?;
    let shown = terminal.end(DEADLINE).await?;
    ensure!(shown.contains("the login is given up") && !shown.contains("goes on starting"), "{shown:?}");
    Ok(())
}

#[tokio::test]
async fn what_is_waited_for_is_said_on_a_terminal_only_and_wiped_away() -> Result<()> {
    let scene = connecting().await?;
    let mut terminal = terminal(&scene).await?;
    let shown = terminal.command("stctl wait db --timeout 2500ms", 2 * DEADLINE).await?;
    let (_, after) = shown.rsplit_once("waiting for db: ").context(shown.clone())?;
    let (line, after) = after.split_once(WIPED).context(shown.clone())?;
    ensure!(
        line.contains("… ") && line.ends_with(" s") && after.contains("error: db: the time ran out"),
        "{shown:?}"
    );
    for line in [
        "stctl wait db --timeout 2500ms 2>$HOME/said; cat $HOME/said",
        "TERM=dumb stctl wait db --timeout 2500ms",
    ] {
        let shown = terminal.command(line, 2 * DEADLINE).await?;
        ensure!(!shown.contains("waiting for") && shown.contains("the time ran out"), "{shown:?}");
    }
    println!(
        "promise cli.progress: said after a second on a terminal, wiped away; not into a file or a dumb terminal"
    );
    Ok(())
}

#[tokio::test]
async fn sigterm_ends_a_follower_as_it_ends_any_program() -> Result<()> {
    let scene = connecting().await?;
    let mut command = Command::from(scene.command(&["watch", "-o", "json"]));
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    let line = tokio::time::timeout(DEADLINE, lines.next_line()).await??.context("no line")?;
    let snapshot: serde_json::Value = serde_json::from_str(&line).context("one line is one object")?;
    ensure!(snapshot["event"] == "snapshot", "{snapshot}");
    process::send_signal(child.id().context("it is gone")?, Signal::TERM)?;
    let status = tokio::time::timeout(DEADLINE, child.wait()).await??;
    ensure!(status.signal() == Some(15), "{status}");

    // In a terminal nothing is left of the line that says what is waited for.
    let mut terminal = terminal(&scene).await?;
    terminal.begin("stctl wait db & p=$!", |shown| shown.contains("waiting for db: "), DEADLINE).await?;
    let shown = terminal.command("kill $p; wait $p; echo code $?", DEADLINE).await?;
    ensure!(shown.contains("code 143\r"), "{shown:?}");
    let last = shown.rfind("waiting for").unwrap_or_default();
    ensure!(shown[last..].contains(WIPED), "{shown:?}");

    // A program that has the terminal ends as well: it is waited for.
    let line = "stctl daemon logs --follow & p=$!";
    terminal.begin(line, |shown| shown.contains("\r\n2"), DEADLINE).await?;
    let shown = terminal.command("kill $p; wait $p; echo code $?", DEADLINE).await?;
    ensure!(shown.contains("code 143\r"), "{shown:?}");
    Ok(())
}

#[tokio::test]
async fn the_first_process_of_a_container_returns_the_code_of_the_signal() -> Result<()> {
    let scene = connecting().await?;
    let mut terminal = terminal(&scene).await?;
    let first = "unshare --pid --fork --kill-child stctl wait db";
    let shown = terminal.command("unshare --pid --fork true; echo code $?", DEADLINE).await?;
    if !shown.contains("\ncode 0\r") {
        let required = std::env::var_os("REQUIRE_ALL").is_some_and(|value| !value.is_empty());
        ensure!(!required, "no process numbers of our own: {shown}");
        let _ = writeln!(std::io::stderr(), "skipped: no process numbers of our own: {shown}");
        return Ok(());
    }
    terminal.begin(first, |shown| shown.contains("waiting for db: "), DEADLINE).await?;
    terminal.interrupt().await?;
    terminal.end(DEADLINE).await?;
    let code = terminal.command("echo code $?", DEADLINE).await?;
    ensure!(code.contains("\ncode 130\r"), "{code:?}");

    let line = format!("{first} & p=$!");
    terminal.begin(&line, |shown| shown.contains("waiting for db: "), DEADLINE).await?;
    let kill = "kill $(cat /proc/$p/task/$p/children); wait $p; echo code $?";
    let shown = terminal.command(kill, DEADLINE).await?;
    ensure!(shown.contains("code 143\r"), "{shown:?}");
    Ok(())
}

/// Whatever asks at a terminal, with the code that it has where nobody can be asked.
const QUESTIONS: [(&str, u8); 6] = [
    ("tunnel rm --all", 2),
    ("tunnel edit --all --keep warm", 2),
    ("up guarded --no-wait", 2),
    ("restart guarded --no-wait", 2),
    ("daemon uninstall --purge", 2),
    ("sso configure", 2),
];

#[tokio::test]
async fn nothing_is_asked_where_nobody_can_answer() -> Result<()> {
    let scene = connecting().await?;
    let (target, remote) = (scene.emulator().instance(), format!("{HOST}:{PORT}"));
    let guarded =
        ["tunnel", "add", "guarded", "--target", target, "--remote", &remote, "--label", "confirm=1"];
    scene.ok(&guarded).await?;
    let mut terminal = terminal(&scene).await?;
    for (words, code) in QUESTIONS {
        let asked = |shown: &str| shown.contains("[y/N]") || shown.contains("session name: ");
        terminal.begin(&format!("stctl {words}"), asked, DEADLINE).await.context(words)?;
        terminal.interrupt().await?;
        terminal.end(DEADLINE).await?;
        for line in [
            format!("stctl {words} --no-input"),
            format!("STCTL_NO_INPUT=1 stctl {words}"),
            format!("stctl {words} </dev/null"),
            format!("stctl {words} 2>$HOME/said; code=$?; cat $HOME/said; (exit $code)"),
        ] {
            let shown = terminal.command(&line, DEADLINE).await.context(line.clone())?;
            ensure!(!asked(&shown) && shown.contains("error: "), "{line}: {shown:?}");
            let shown = terminal.command("echo code $?", DEADLINE).await?;
            ensure!(shown.contains(&format!("\ncode {code}\r")), "{line}: {shown:?}");
        }
    }
    println!(
        "promise cli.no-input: {} commands that ask at a terminal, each in 4 ways without anybody: none asks, each says what to do",
        QUESTIONS.len()
    );
    Ok(())
}
