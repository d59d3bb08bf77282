//! `docs/troubleshooting.md` against the table of faults: a section for each kind, headed by its name, with what `stctl` shows.

use std::collections::BTreeMap;

use stctl::exit::{Problem, Subject};
use stctl::render::{Style, problems};
use stormtunnel_model::{Fault, FaultKind, LoginEnd, Recovery};

const DOCUMENT: &str = include_str!("../../../docs/troubleshooting.md");

/// Sections with the same heading, by heading.
type Sections<'a> = BTreeMap<&'a str, Vec<&'a str>>;

fn sections(document: &str) -> Sections<'_> {
    let mut sections = Sections::new();
    for section in document.split("\n## ").skip(1) {
        let (heading, text) = section.split_once('\n').unwrap_or((section, ""));
        sections.entry(heading.trim()).or_default().push(text);
    }
    sections
}

/// Headings of other sections are words of people, and begin with a capital letter.
fn is_kind(heading: &str) -> bool {
    heading.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

/// What `stctl` shows of that kind for tunnel `db` and profile `prod`.
fn shown(kind: &FaultKind) -> String {
    let subject = Subject { tunnel: Some("db"), profile: Some("prod") };
    problems::text(&Problem::of_fault(&Fault::new(kind.clone(), ""), subject), Style::default(), None)
}

fn recovery(kind: &FaultKind) -> &'static str {
    match kind.recovery() {
        Recovery::Retry => "The daemon tries again by itself",
        Recovery::SignIn => "A sign-in ends it",
        Recovery::FixByUser => "A person has to change something",
    }
}

/// What the document lacks, and what it has too much; nothing if it is right.
fn mistakes(document: &str) -> Vec<String> {
    let sections = sections(document);
    let kinds = FaultKind::one_of_each();
    let mut mistakes: Vec<String> = kinds.iter().flat_map(|kind| mistakes_about(kind, &sections)).collect();
    for heading in sections.keys().filter(|heading| is_kind(heading)) {
        if !kinds.iter().any(|kind| kind.name() == *heading) {
            mistakes.push(format!("{heading}: there is no such kind"));
        }
    }
    mistakes
}

fn mistakes_about(kind: &FaultKind, sections: &Sections<'_>) -> Vec<String> {
    let name = kind.name();
    let section = match sections.get(name).map(Vec::as_slice) {
        Some([section]) => *section,
        found => return vec![format!("{name}: {} sections", found.map_or(0, <[&str]>::len))],
    };
    let exit = format!("Exit code {}.", kind.exit_code() as u8);
    let wanted = [shown(kind), exit, recovery(kind).to_owned()];
    let missing = wanted.iter().filter(|wanted| !section.contains(wanted.as_str()));
    missing.map(|missing| format!("{name}: lacks \"{}\"", missing.trim_end())).collect()
}

#[test]
fn every_kind_of_fault_has_its_section_and_no_other_kind_has_one() {
    let mistakes = mistakes(DOCUMENT);
    assert!(mistakes.is_empty(), "docs/troubleshooting.md:\n{}", mistakes.join("\n"));
}

#[test]
fn every_end_of_a_login_is_in_the_section_of_logins() {
    let ends = [
        LoginEnd::Cancelled,
        LoginEnd::TimedOut,
        LoginEnd::Declined,
        LoginEnd::Mismatch,
        LoginEnd::NobodyThere,
        LoginEnd::DoesNotLast,
        LoginEnd::Other,
    ];
    let section = sections(DOCUMENT)["login_failed"][0];
    for end in ends {
        let kind = FaultKind::LoginFailed { sign_in: "corp".to_owned(), end };
        let row = format!("\n| {kind} | {} |", kind.exit_code() as u8);
        assert!(section.contains(&row), "no row {row:?}");
    }
}

#[test]
fn a_document_that_says_something_else_is_rejected() {
    let without = DOCUMENT.replacen("## throttled\n", "## Throttled\n", 1);
    assert_eq!(mistakes(&without), ["throttled: 0 sections"]);
    let renamed = DOCUMENT.replacen("## throttled\n", "## slowed_down\n", 1);
    assert_eq!(mistakes(&renamed), ["throttled: 0 sections", "slowed_down: there is no such kind"]);
    let twice = format!("{DOCUMENT}\n## throttled\n");
    assert_eq!(mistakes(&twice), ["throttled: 2 sections"]);
    for (said, other, lacks) in [
        (
            "error: AWS asked to slow down\n",
            "error: AWS is slow\n",
            "throttled: lacks \"error: AWS asked to slow down",
        ),
        (
            "`stctl tunnel show db` and repeat",
            "`stctl show db` and repeat",
            "etag_mismatch: lacks \"error: tunnel",
        ),
        (
            "Exit code 8. A person has to change something. The SSM",
            "Exit code 7. A person has to change something. The SSM",
            "remote_forbidden: lacks \"Exit code 8.\"",
        ),
        (
            "Exit code 8. A person has to change something. The SSM",
            "Exit code 8. The SSM",
            "remote_forbidden: lacks \"A person has",
        ),
    ] {
        let mistakes = mistakes(&DOCUMENT.replacen(said, other, 1));
        assert!(matches!(mistakes.as_slice(), [only] if only.starts_with(lacks)), "{said:?}: {mistakes:?}");
    }
}
