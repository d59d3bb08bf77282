//! Problems in words and as JSON.

use std::collections::BTreeMap;

use super::views::ProblemView;
use super::wrap::wrapped;
use super::{Style, Tone};
use crate::exit::Problem;

/// Columns by which a sentence goes on: it stays below its label.
const INDENT: usize = 7;

/// In words: what went wrong, what to do, what else is worth knowing. In lines that fit into `width`.
pub fn text(problem: &Problem, style: Style, width: Option<u16>) -> String {
    let mut text = style.paint("error:", Tone::Bad);
    let sentence = [problem.tunnel.as_deref().unwrap_or_default(), &problem.headline];
    let sentence: Vec<&str> = sentence.into_iter().filter(|part| !part.is_empty()).collect();
    text = format!("{text} {}", sentence.join(": "));
    match problem.detail.trim_end() {
        "" => text.push('\n'),
        // A single line goes on in the sentence, several stand below it.
        line if !line.contains('\n') => text.push_str(&format!(": {line}\n")),
        lines => {
            text.push_str(":\n");
            lines.lines().for_each(|line| text.push_str(&format!("  | {line}\n")));
        }
    }
    for (label, tone, part) in [("fix:", Tone::Good, &problem.remedy), ("note:", Tone::Moving, &problem.note)]
    {
        if !part.is_empty() {
            text.push_str(&format!("  {} {part}\n", style.paint(label, tone)));
        }
    }
    wrapped(&text, width, INDENT)
}

/// As one line of JSON: an object with the one key `error`.
pub fn json(problem: &Problem) -> String {
    serde_json::to_string(&view(problem)).unwrap_or_else(|_| problem.headline.clone())
}

/// The same as one YAML document.
pub fn yaml(problem: &Problem) -> String {
    let text = serde_yaml_ng::to_string(&view(problem));
    text.map_or_else(|_| problem.headline.clone(), |text| format!("---\n{text}"))
}

fn view(problem: &Problem) -> BTreeMap<&'static str, ProblemView> {
    BTreeMap::from([("error", ProblemView::of(problem))])
}
