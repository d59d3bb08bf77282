//! What people and programs see, word for word. `INSTA_UPDATE=always cargo test -p stctl` rewrites the snapshots; the
//! difference is what a reviewer reads.

use stctl::cli::Cli;
use stctl::exit::{Problem, Subject};
use stctl::render::{Style, details, lines, problems, tables, views};
use stormtunnel_model::{ConnectStep, Fault, FaultKind, Timestamp, Tunnel, TunnelLimit, TunnelState};

use clap::CommandFactory;

use crate::support::{now, running, stopped};

fn plain() -> Style {
    Style::default()
}

/// No line is wider than 80 columns, but for one whose only word is.
pub(crate) fn fits(text: &str) {
    for line in text.lines() {
        let last_word = line.trim_end().rfind(' ').unwrap_or_default();
        let is_alone = last_word < 20 && !line.contains('`');
        assert!(line.chars().count() <= 80 || is_alone, "{} columns: {line}", line.chars().count());
    }
}

fn tunnels() -> Vec<Tunnel> {
    let at = Timestamp::from_millis(now().as_millis() + 8000);
    let retried = Fault::new(FaultKind::Network, "connection refused");
    let blocked =
        Fault::new(FaultKind::RemoteUnresolvable { host: "cache.internal".to_owned() }, "no such host");
    let mut replica = running(
        "analytics-replica",
        "analytics.cluster-ro-c1.eu-west-1.rds.amazonaws.com:5432",
        "15433",
        TunnelState::Up,
    );
    replica.status.limit = Some(TunnelLimit::AgentResend { waiting_bytes: 1_300_000 });
    vec![
        replica,
        running("cache", "cache.internal:6379", "16379", TunnelState::Blocked { fault: blocked }),
        running("db", "db.internal:5432", "15432", TunnelState::Up),
        running("kafka-ui", "8080", "auto", TunnelState::Connecting { step: ConnectStep::Channel }),
        running("web", "web.internal:80", "127.0.0.9:8080", TunnelState::Retrying { at, fault: retried }),
        stopped("zookeeper", "2181", "auto"),
    ]
}

/// Goes through every kind that there is: the list is held to the API contract, and a kind without words does not
/// compile.
#[test]
fn every_kind_of_fault() {
    let subject = Subject { tunnel: Some("db"), profile: Some("prod") };
    let shown: String = FaultKind::one_of_each()
        .into_iter()
        .map(|kind| {
            let heading = format!("{} (exit code {})\n", kind.name(), kind.exit_code() as u8);
            let problem = Problem::of_fault(&Fault::new(kind, ""), subject);
            format!("{heading}{}\n", problems::text(&problem, plain(), Some(80)))
        })
        .collect();
    fits(&shown);
    assert!(!shown.contains("NAME") && !shown.contains("PROFILE"), "a placeholder was left open:\n{shown}");
    insta::assert_snapshot!("every_kind_of_fault", shown);
    println!("promise main.faults-rendered: {} kinds as committed", FaultKind::one_of_each().len());
}

#[test]
fn problems_with_details_and_colours() {
    let fault = Fault::new(FaultKind::Network, "dns error: failed to lookup address");
    let tunnel = running("db", "db.internal:5432", "15432", TunnelState::Up);
    let problem = Problem::of_tunnel(&fault, &tunnel);
    let several = Problem {
        detail: "first line\nsecond line".to_owned(),
        note: "the daemon keeps trying".to_owned(),
        ..problem.clone()
    };
    let coloured = problems::text(&problem, Style { colour: true }, None).replace('\u{1b}', "<ESC>");
    let shown = [
        problems::text(&problem, plain(), Some(80)),
        problems::text(&several, plain(), Some(80)),
        coloured,
        problems::json(&several),
    ];
    insta::assert_snapshot!("problems", shown.join("\n"));
}

#[test]
fn tables_fit_into_eighty_columns() {
    let table = tables::tunnels(&tunnels(), plain(), Some(80));
    fits(&table);
    let notes = tables::notes(&tunnels(), now()).join("\n");
    let short_names = tables::tunnels(&tunnels()[1..], plain(), Some(80));
    let wide = tables::wide_tunnels(&tunnels(), now(), plain(), Some(80));
    insta::assert_snapshot!("tables", format!("{table}\n{short_names}\n{wide}\n{notes}\n"));
}

#[test]
fn the_queue_is_one_sentence() {
    let at = |number: u64| Some(Timestamp::from_millis(now().as_millis() + number * 70_000));
    let mut queued = tunnels().split_off(2);
    queued.truncate(2);
    queued[0].status.turn_at = at(1);
    let one = tables::notes(&queued, now()).join("\n");
    queued[1].status.turn_at = at(2);
    let two = tables::notes(&queued, now()).join("\n");
    let status = details::status(&queued[0], now(), plain());
    insta::assert_snapshot!("queue", format!("{one}\n{two}\n---\n{status}"));
}

#[test]
fn a_table_for_a_pipe_has_one_line_per_tunnel() {
    let table = tables::tunnels(&tunnels(), plain(), None);
    assert_eq!(table.lines().count(), 1 + tunnels().len(), "{table}");
    assert!(table.contains("analytics.cluster-ro-c1.eu-west-1.rds.amazonaws.com:5432"), "{table}");
    assert!(!table.contains('\u{1b}'), "{table}");
}

#[test]
fn colours_are_added_only_when_wanted() {
    let table = tables::tunnels(&tunnels(), Style { colour: true }, Some(80));
    assert!(table.contains("\u{1b}["), "{table}");
}

#[test]
fn details_of_tunnels() {
    let shown: String =
        tunnels().iter().map(|tunnel| format!("{}\n", details::status(tunnel, now(), plain()))).collect();
    let whole = details::tunnel(&tunnels()[2], now(), plain());
    insta::assert_snapshot!("details", format!("{shown}---\n{whole}"));
}

#[test]
fn lines_of_a_watch() {
    let changed: String = tunnels().iter().map(|tunnel| lines::changed(tunnel, now(), plain())).collect();
    let removed = lines::removed(&"db".parse().unwrap(), now());
    insta::assert_snapshot!("watch_lines", format!("{changed}{removed}"));
}

#[test]
fn a_tunnel_for_programs() {
    let views: Vec<_> = tunnels()[2..5].iter().map(views::TunnelView::of).collect();
    insta::assert_snapshot!("tunnels_json", serde_json::to_string_pretty(&views).unwrap());
}

#[test]
fn the_help_of_the_program() {
    insta::assert_snapshot!("help", Cli::command().term_width(80).render_help().to_string());
}

/// Each page as it is at 80 columns, with the global flags. Only the line that shows the grammar may be longer. Examples are
/// not broken: they are to be copied.
#[test]
fn every_page_of_help_fits_into_eighty_columns() {
    fn pages(command: &clap::Command, path: &str, shown: &mut String) {
        let page = command.clone().bin_name(path).term_width(80).render_long_help().to_string();
        let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let broken = examples.lines().find(|line| !page.lines().any(|shown| shown == *line));
        assert_eq!(broken, None, "`{path} --help` breaks it");
        for line in page.lines().filter(|line| !line.starts_with("Usage: ")) {
            assert!(line.chars().count() <= 80, "`{path} --help` has a long line: {line}");
        }
        *shown += &format!("$ {path} --help\n{page}\n");
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            pages(sub, &format!("{path} {}", sub.get_name()), shown);
        }
    }
    let mut shown = String::new();
    let mut program = Cli::command();
    program.build();
    pages(&program, "stctl", &mut shown);
    insta::assert_snapshot!("help_pages", shown);
}
