//! Problems in words and as JSON.

use super::views::ProblemView;
use super::{Style, Tone};
use crate::exit::Problem;

/// In words: what went wrong, what to do, what else is worth knowing.
pub fn text(problem: &Problem, style: Style) -> String {
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
    text
}

/// As one line of JSON: an object with the one key `error`.
pub fn json(problem: &Problem) -> String {
    let view = std::collections::BTreeMap::from([("error", ProblemView::of(problem))]);
    serde_json::to_string(&view).unwrap_or_else(|_| problem.headline.clone())
}
