//! What the program tells about itself: manual pages, and help on commands and topics.

use std::fs;
use std::path::Path;
use std::process::Command;

use clap::CommandFactory;
use stctl::cli::Cli;

use crate::shells::is_there;
use crate::support::{stctl, stctl_with};

/// A socket that nobody has to listen on.
const NOWHERE: &str = "/nowhere/daemon.sock";

/// The names of the commands that have a page.
fn commands(command: &clap::Command, path: &str, found: &mut Vec<String>) {
    found.push(path.to_owned());
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        commands(sub, &format!("{path}-{}", sub.get_name()), found);
    }
}

#[tokio::test]
async fn each_command_has_a_manual_page() {
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("share/man1");
    let ran = stctl(Path::new(NOWHERE), &format!("man-pages {}", pages.display())).await;
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""));
    let mut expected = Vec::new();
    commands(&Cli::command(), "stctl", &mut expected);
    expected.sort();
    let written = fs::read_dir(&pages).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut written: Vec<String> =
        written.map(|name| name.strip_suffix(".1").unwrap_or_else(|| panic!("{name}")).to_owned()).collect();
    written.sort();
    assert_eq!(written, expected);
    assert!(expected.len() > 35, "{expected:?}");
    let can_format = is_there("groff");
    for name in &expected {
        let file = pages.join(format!("{name}.1"));
        let text = fs::read_to_string(&file).unwrap();
        let escaped = name.replace('-', r"\-");
        assert!(
            text.contains(&format!(".TH {name} 1 ")) && text.contains(&format!("\n{escaped} \\- ")),
            "{text}"
        );
        for section in ["SYNOPSIS", "EXAMPLES", "EXIT STATUS", "ENVIRONMENT", "FILES", "SEE ALSO"] {
            let (_, behind) =
                text.split_once(&section_line(section)).unwrap_or_else(|| panic!("{name}: {section}"));
            let own = behind.split("\n.SH ").next().unwrap();
            assert!(own.lines().any(|line| !line.starts_with('.')), "{name}: nothing under {section}");
            assert!(section != "EXAMPLES" || own.contains("stctl "), "{name}: {own}");
        }
        if can_format {
            let output =
                Command::new("groff").args(["-man", "-Tutf8", "-ww", "-z"]).arg(&file).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.is_empty(), "{name}: {said}");
        }
    }
    if can_format {
        println!("promise cli.man-pages: {} pages", expected.len());
    }
}

fn section_line(section: &str) -> String {
    match section.contains(' ') {
        true => format!("\n.SH \"{section}\"\n"),
        false => format!("\n.SH {section}\n"),
    }
}

#[tokio::test]
async fn pages_that_cannot_be_written_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let ran = stctl(Path::new(NOWHERE), &format!("man-pages {}", file.display())).await;
    assert!(ran.code == 1 && ran.err.contains("cannot be written"), "{ran:?}");
}

#[tokio::test]
async fn topics_are_told_in_eighty_columns() {
    let mut shown = String::new();
    for topic in ["exit-codes", "selectors", "targets", "config", "output"] {
        // Not even a home is needed.
        let ran = stctl_with(Path::new(NOWHERE), &[("HOME", "")], &format!("help {topic}")).await;
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{topic}");
        let topic_alone = ran.out.split("\nThe command `").next().unwrap();
        for line in topic_alone.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        shown += &format!("$ stctl help {topic}\n{topic_alone}\n");
    }
    insta::assert_snapshot!("topics", shown);
}

#[tokio::test]
async fn help_is_that_of_the_command() {
    let nowhere = Path::new(NOWHERE);
    for words in ["", "up", "list", "tunnel", "tunnel add", "sso login", "help"] {
        let (help, flag) = (
            stctl(nowhere, &format!("help {words}")).await,
            stctl(nowhere, &format!("{words} --help")).await,
        );
        assert_eq!((help.code, help.err.as_str()), (0, ""), "{words}");
        assert_eq!(help.out, flag.out, "{words}");
    }
    let both = stctl(nowhere, "help targets").await.out;
    assert!(both.contains("ecs-service:") && both.contains("Usage: stctl targets"), "{both}");
    for (words, said) in [("nothing", "topics are exit-codes"), ("tunnel nothing", "unrecognized subcommand")]
    {
        let ran = stctl(nowhere, &format!("help {words}")).await;
        assert!(ran.code == 2 && ran.out.is_empty() && ran.err.contains(said), "{ran:?}");
    }
}

/// The number is the second word: what installs the service reads it there, of the daemon's likewise.
#[tokio::test]
async fn the_version_tells_what_was_built() {
    let ran = stctl(Path::new(NOWHERE), "--version").await;
    let mut words = ran.out.split_whitespace();
    assert_eq!((words.next(), words.next()), (Some("stctl"), Some(env!("CARGO_PKG_VERSION"))), "{ran:?}");
}

#[tokio::test]
async fn each_shell_has_a_script() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = stctl_with(Path::new(NOWHERE), &[("HOME", "")], &format!("completions {shell}")).await;
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{shell}");
        assert!(ran.out.contains("STCTL_COMPLETE") && ran.out.contains("stctl"), "{}", ran.out);
        assert!(
            !ran.out.contains('/') || shell == "bash" || shell == "zsh",
            "a path of this machine: {}",
            ran.out
        );
    }
    let ran = stctl(Path::new(NOWHERE), "completions tcsh").await;
    assert!(ran.code == 2 && ran.err.contains("bash, zsh, fish"), "{ran:?}");
}
