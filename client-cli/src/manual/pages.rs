//! Manual pages, from the grammar: one for each command.

use std::io;

use clap::builder::StyledStr;
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::Topic;
use super::facts::{EXIT_CODES, FILES, VARIABLES, meaning};
use crate::cli::Cli;

/// A page.
pub(super) struct Page {
    /// The name of its file.
    pub(super) name: String,
    /// Its source.
    pub(super) text: String,
}

/// All pages.
pub(super) fn all() -> io::Result<Vec<Page>> {
    let mut program = Cli::command();
    program.build();
    let mut pages = Vec::new();
    add(&program, &[], &mut pages)?;
    Ok(pages)
}

fn add(command: &Command, above: &[String], pages: &mut Vec<Page>) -> io::Result<()> {
    let title = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    pages.push(Page { name: format!("{title}.1"), text: page(command, &title, above)? });
    let path: Vec<String> = above.iter().cloned().chain([title]).collect();
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        add(sub, &path, pages)?;
    }
    Ok(())
}

fn page(command: &Command, title: &str, above: &[String]) -> io::Result<String> {
    let man = Man::new(command.clone());
    let mut head = Roff::new();
    let source = concat!("StormTunnel ", env!("CARGO_PKG_VERSION"));
    // Without a date: a page says what its version does. The empty argument keeps its place only in quotes.
    head.control("TH", [title, "1", "\"\"", source, "StormTunnel Manual"]);
    let mut page = Vec::new();
    head.to_writer(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.get_subcommands().any(|sub| !sub.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    rest(command, title, above).to_writer(&mut page)?;
    Ok(in_ascii(&with_one_preamble(&String::from_utf8_lossy(&page))))
}

/// Not every formatter is told the encoding of what it reads.
fn in_ascii(page: &str) -> String {
    let escaped = |c: char| if c.is_ascii() { c.to_string() } else { format!("\\[u{:04X}]", u32::from(c)) };
    page.chars().map(escaped).collect()
}

/// Each part comes with definitions of its own.
fn with_one_preamble(page: &str) -> String {
    let preamble = Roff::new().render();
    format!("{preamble}{}", page.replace(&preamble, ""))
}

/// What the grammar does not say by itself.
fn rest(command: &Command, title: &str, above: &[String]) -> Roff {
    let mut page = Roff::new();
    if let Some(said) = command.get_after_help() {
        examples(&mut page, said);
    }
    if title == "stctl-help" {
        let topics = Topic::ALL.map(|topic| (topic.name().to_owned(), topic.about().to_owned()));
        section(&mut page, "TOPICS", topics);
    }
    section(
        &mut page,
        "EXIT STATUS",
        EXIT_CODES.map(|code| ((code as u8).to_string(), meaning(code).to_owned())),
    );
    let owned = |(name, said): (&str, &str)| (name.to_owned(), said.to_owned());
    section(&mut page, "ENVIRONMENT", VARIABLES.map(owned));
    section(&mut page, "FILES", FILES.map(owned));
    page.control("SH", ["SEE ALSO"]);
    for name in above.iter().map(String::as_str).chain(["stormtunneld"]) {
        page.text([bold(name), roman("(1), ")]);
    }
    page.text([bold("stctl help"), roman(format!(" {}", Topic::ALL.map(Topic::name).join("|")))]);
    page
}

/// What stands below the help: lines that begin with spaces stay as they are.
fn examples(page: &mut Roff, said: &StyledStr) {
    page.control("SH", ["EXAMPLES"]);
    let said = said.to_string();
    for part in said.split("\n\n").filter(|part| !part.starts_with(SAID_ELSEWHERE)) {
        page.control("PP", []);
        for line in part.lines() {
            match line.strip_prefix("  ") {
                Some(line) => {
                    page.control("nf", []);
                    page.text([roman(format!("    {line}"))]);
                    page.control("fi", []);
                }
                None if line.starts_with("Example") => {}
                None => {
                    page.text([roman(line)]);
                }
            }
        }
    }
}

/// Exit codes have a section.
const SAID_ELSEWHERE: &str = "Exit codes:";

fn section(page: &mut Roff, heading: &str, entries: impl IntoIterator<Item = (String, String)>) {
    page.control("SH", [heading]);
    for (name, said) in entries {
        page.control("TP", []);
        page.text([bold(name)]);
        page.text([roman(said)]);
    }
}
