//! Runs the commands of `docs/promises.toml` and writes the table in `docs/testing.md`.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use clap::Parser;
use stormtunnel_promises::{Promises, Seen, SeenById, figures, replace_table};

/// Runs the command behind each promise and writes what was seen into docs/testing.md.
#[derive(Parser)]
struct Arguments {
    /// Only promises whose id begins so; all when left out.
    prefixes: Vec<String>,
    /// Run nothing; only write the table anew.
    #[arg(long)]
    table_only: bool,
    /// Run nothing; take the figures from the output of a command that was run by itself, at the present commit.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["table_only", "prefixes"])]
    output: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let docs = project_root()?.join("docs");
    let promises: Promises = read_toml(&docs.join("promises.toml"))?;
    let seen_path = docs.join("promises-seen.toml");
    let mut seen: SeenById = if seen_path.exists() { read_toml(&seen_path)? } else { SeenById::new() };
    let missing = match &arguments.output {
        Some(output) => take(output, &mut seen)?,
        None if arguments.table_only => Vec::new(),
        None => run(&promises, &arguments.prefixes, &mut seen)?,
    };
    seen.retain(|id, _| promises.promise.iter().any(|promise| promise.id == *id));
    std::fs::write(&seen_path, toml::to_string_pretty(&seen)?)?;
    let testing = docs.join("testing.md");
    let document =
        std::fs::read_to_string(&testing).with_context(|| format!("read {}", testing.display()))?;
    std::fs::write(&testing, replace_table(&document, &promises, &seen)?)?;
    if missing.is_empty() { Ok(()) } else { bail!("not kept, or not reported: {}", missing.join(", ")) }
}

/// Takes the figures of an output that was kept in a file. None of them can be missing.
fn take(output: &Path, seen: &mut SeenById) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(output).with_context(|| format!("read {}", output.display()))?;
    let place = Place::here()?;
    seen.extend(figures(&text).into_iter().map(|(id, figure)| (id.to_owned(), place.seen(figure))));
    Ok(Vec::new())
}

/// Runs each command once, whatever the number of promises that it shows; answers the ids that were not reported.
fn run(promises: &Promises, prefixes: &[String], seen: &mut SeenById) -> anyhow::Result<Vec<String>> {
    let wanted = |id: &str| prefixes.is_empty() || prefixes.iter().any(|prefix| id.starts_with(prefix));
    let mut by_command: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for promise in promises.promise.iter().filter(|promise| wanted(&promise.id)) {
        by_command.entry(&promise.command).or_default().push(&promise.id);
    }
    let place = Place::here()?;
    let mut missing = Vec::new();
    for (command, ids) in by_command {
        writeln!(io::stderr(), "== {command}")?;
        let output = output_of(command)?;
        let found = figures(&output);
        for id in ids {
            match found.get(id) {
                Some(figure) => drop(seen.insert(id.to_owned(), place.seen(figure))),
                None => missing.push(id.to_owned()),
            }
        }
    }
    Ok(missing)
}

fn output_of(command: &str) -> anyhow::Result<String> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = shell.output().with_context(|| format!("run {command}"))?;
    io::stderr().write_all(&output.stdout)?;
    // The figures of a command that failed half-way do not count.
    let text = if output.status.success() {
        String::from_utf8_lossy(&output.stdout).into_owned()
    } else {
        String::new()
    };
    Ok(text)
}

/// Where and when figures are seen.
struct Place {
    commit: String,
    machine: String,
    date: String,
}

impl Place {
    fn here() -> anyhow::Result<Self> {
        let hash = output_of("git rev-parse --short=10 HEAD")?;
        let dirty = if output_of("git status --porcelain -uno")?.is_empty() { "" } else { "+" };
        let model = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = model
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map(|pair| pair.1);
        let cores = std::thread::available_parallelism()?;
        #[expect(clippy::disallowed_methods, reason = "a program at the edge reads the clock itself")]
        let today = time::OffsetDateTime::from(std::time::SystemTime::now()).date();
        let machine = format!("{cores} x {}", model.unwrap_or(std::env::consts::ARCH));
        Ok(Self { commit: format!("{}{dirty}", hash.trim()), machine, date: today.to_string() })
    }

    fn seen(&self, figure: &str) -> Seen {
        let Self { commit, machine, date } = self;
        Seen {
            figure: figure.to_owned(),
            commit: commit.clone(),
            machine: machine.clone(),
            date: date.clone(),
        }
    }
}

fn project_root() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    std::env::set_current_dir(&root)?;
    Ok(root)
}

fn read_toml<T: serde::de::DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("parse {}", path.display()))
}
