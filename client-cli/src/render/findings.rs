//! What `doctor` found, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;
use stormtunnel_model::{Finding, Outcome};

use super::wrap::wrapped;
use super::{Style, Tone};

/// Columns before the detail: mark, gap, title.
const TITLE: usize = 31;
const INDENT: usize = 6;

/// All findings for programs. Field names are stable, only added to.
#[derive(Debug, Serialize)]
pub struct FindingsView {
    /// The worst outcome.
    outcome: &'static str,
    findings: Vec<FindingView>,
}

#[derive(Debug, Serialize)]
struct FindingView {
    id: String,
    title: String,
    outcome: &'static str,
    detail: String,
    remedy: String,
    fixable: bool,
    fixed: String,
}

impl FindingsView {
    /// Of these.
    pub fn of(findings: &[Finding]) -> Self {
        let worst = findings.iter().map(|finding| finding.outcome).max().unwrap_or(Outcome::Skipped);
        let view = |finding: &Finding| {
            let Finding { id, title, outcome, detail, remedy, fixable, fixed } = finding.clone();
            FindingView { id, title, outcome: outcome.name(), detail, remedy, fixable, fixed }
        };
        Self { outcome: worst.name(), findings: findings.iter().map(view).collect() }
    }
}

/// A mark and a few words per check; details where something is wrong, or of `all`.
pub fn text(findings: &[Finding], style: Style, width: Option<u16>, all: bool) -> String {
    let mut text = String::new();
    for finding in findings {
        let (mark, tone) = mark(finding.outcome);
        let wrong = finding.outcome >= Outcome::Warn;
        let padding = " ".repeat(INDENT.saturating_sub(mark.len()));
        let head = format!("{}{padding}{}", style.paint(mark, tone), finding.title);
        if !wrong && !all && finding.fixed.is_empty() {
            let room = TITLE.saturating_sub(finding.title.chars().count()).max(1);
            let line = format!("{}{}", " ".repeat(room), finding.detail);
            let used = INDENT + finding.title.chars().count() + line.chars().count();
            let fits = width.is_none_or(|width| used <= usize::from(width));
            push(&mut text, &if fits { head + &line } else { head });
            continue;
        }
        push(&mut text, &format!("{head} ({})", finding.id));
        for (label, said) in [("", &finding.detail), ("fixed: ", &finding.fixed), ("fix: ", &finding.remedy)]
        {
            for line in said.lines() {
                let line = format!("{}{label}{line}", " ".repeat(INDENT));
                push(&mut text, &wrapped(&line, width, INDENT));
            }
        }
    }
    let count = |outcome| findings.iter().filter(|finding| finding.outcome == outcome).count();
    push(
        &mut text,
        &format!(
            "\n{} ok, {} warnings, {} failed, {} skipped",
            count(Outcome::Pass),
            count(Outcome::Warn),
            count(Outcome::Fail),
            count(Outcome::Skipped)
        ),
    );
    text
}

/// The ids of what warns or fails, one per line.
pub fn names(findings: &[Finding]) -> String {
    let wrong = findings.iter().filter(|finding| finding.outcome >= Outcome::Warn);
    wrong.map(|finding| format!("{}\n", finding.id)).collect()
}

fn mark(outcome: Outcome) -> (&'static str, Tone) {
    match outcome {
        Outcome::Pass => ("ok", Tone::Good),
        Outcome::Warn => ("warn", Tone::Moving),
        Outcome::Fail => ("FAIL", Tone::Bad),
        Outcome::Skipped => ("-", Tone::Off),
    }
}

fn push(text: &mut String, line: &str) {
    let written = writeln!(text, "{line}");
    debug_assert!(written.is_ok(), "a string takes everything");
}
