//! What a run prints: a table per group, then how its figures stand to what is promised.

use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

/// One row: the same figure of the tunnel and of the relays.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    figure: String,
    unit: &'static str,
    tunnel: f64,
    relay: Option<f64>,
    tls_relay: Option<f64>,
}

impl Row {
    /// A figure that relays do not have.
    pub(crate) fn alone(figure: impl Into<String>, unit: &'static str, tunnel: f64) -> Self {
        Self { figure: figure.into(), unit, tunnel, relay: None, tls_relay: None }
    }

    /// A figure and its counterparts, in the order tunnel, relay, TLS relay.
    pub(crate) fn beside(figure: impl Into<String>, unit: &'static str, figures: [f64; 3]) -> Self {
        let [tunnel, relay, tls_relay] = figures;
        Self { relay: Some(relay), tls_relay: Some(tls_relay), ..Self::alone(figure, unit, tunnel) }
    }

    fn ratio(&self) -> Option<f64> {
        self.tls_relay.filter(|tls_relay| *tls_relay > 0.0).map(|tls_relay| self.tunnel / tls_relay)
    }

    fn line(&self) -> String {
        let cell = |value: Option<f64>| value.map(digits).unwrap_or_default();
        format!(
            "| {} | {} | {} | {} | {} | {} |",
            self.figure,
            self.unit,
            digits(self.tunnel),
            cell(self.relay),
            cell(self.tls_relay),
            cell(self.ratio()),
        )
    }
}

/// What a promise is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Nature {
    /// CPU time, bytes, counts: the same on a busy machine.
    Counted,
    /// Wall time: a busy machine makes it worse, and no run fails for it.
    Timed,
}

/// A figure that was promised, and whether it holds in this run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Promise {
    pub(crate) id: &'static str,
    pub(crate) nature: Nature,
    pub(crate) figure: String,
    pub(crate) holds: bool,
}

/// One group's part of a report.
#[derive(Debug, Serialize)]
struct Chapter {
    title: &'static str,
    rows: Vec<Row>,
    promises: Vec<Promise>,
}

/// Everything that a run found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    chapters: Vec<Chapter>,
}

impl Report {
    /// Begins a group's part.
    pub(crate) fn begin(&mut self, title: &'static str) -> Result<()> {
        self.chapters.push(Chapter { title, rows: Vec::new(), promises: Vec::new() });
        print(&format!(
            "\n## {title}\n\n| figure | unit | tunnel | TCP relay | TLS relay | tunnel / TLS relay |\n\
             |---|---|---:|---:|---:|---:|"
        ))
    }

    /// Adds a row, which is printed at once.
    pub(crate) fn row(&mut self, row: Row) -> Result<()> {
        print(&row.line())?;
        self.chapters.last_mut().context("a row outside of a group")?.rows.push(row);
        Ok(())
    }

    /// Adds a promise, which is printed behind the table.
    pub(crate) fn promise(&mut self, promise: Promise) -> Result<()> {
        self.chapters.last_mut().context("a promise outside of a group")?.promises.push(promise);
        Ok(())
    }

    /// Ends a group's part.
    pub(crate) fn end(&self) -> Result<()> {
        print("")?;
        for promise in self.chapters.last().into_iter().flat_map(|chapter| &chapter.promises) {
            // Whoever collects promises takes a line that begins so for a kept one.
            let word = if promise.holds { "promise" } else { "missed" };
            print(&format!("{word} {}: {}", promise.id, promise.figure))?;
        }
        Ok(())
    }

    /// Whether all promises hold that do not depend on what else the machine does.
    pub(crate) fn is_within_limits(&self) -> bool {
        let promises = self.chapters.iter().flat_map(|chapter| &chapter.promises);
        promises.filter(|promise| promise.nature == Nature::Counted).all(|promise| promise.holds)
    }

    /// Writes everything to a file.
    pub(crate) fn write_json(&self, path: &Path) -> Result<()> {
        std::fs::write(path, serde_json::to_string_pretty(self)?)
            .with_context(|| format!("{} cannot be written", path.display()))
    }
}

fn print(line: &str) -> Result<()> {
    writeln!(io::stdout(), "{line}").context("standard output is closed")
}

/// Three digits that count, and no more behind the point than anyone reads.
fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_ratio_to_the_tls_relay() {
        let row = Row::beside("up, 1 connection", "MB/s", [60.0, 200.0, 100.0]);
        assert_eq!(row.line(), "| up, 1 connection | MB/s | 60.0 | 200 | 100 | 0.600 |");
        assert_eq!(Row::alone("acks", "", 1.0).line(), "| acks |  | 1.00 |  |  |  |");
    }

    #[test]
    fn only_what_a_busy_machine_does_not_change_is_checked() {
        let missed = |nature| Promise { id: "a.b", nature, figure: String::new(), holds: false };
        let chapter =
            |promises| Report { chapters: vec![Chapter { title: "test", rows: Vec::new(), promises }] };
        assert!(chapter(vec![missed(Nature::Timed)]).is_within_limits());
        assert!(!chapter(vec![missed(Nature::Timed), missed(Nature::Counted)]).is_within_limits());
    }
}
