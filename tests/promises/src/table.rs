//! Writing the table into a Markdown document.

use std::fmt::Write as _;

use crate::{Promise, Promises, Seen, SeenById};

const BEGIN: &str = "<!-- promises: written by `just promises`, not by hand -->";
const END: &str = "<!-- end of promises -->";

/// A document that has no place for the table.
#[derive(Debug, PartialEq, Eq)]
pub struct TableError;

impl std::fmt::Display for TableError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the document has no lines {BEGIN:?} and {END:?} to write the table between")
    }
}

impl std::error::Error for TableError {}

/// The document with a new table between its markers.
///
/// # Errors
/// [`TableError`] when the markers are missing.
pub fn replace_table(document: &str, promises: &Promises, seen: &SeenById) -> Result<String, TableError> {
    let (before, rest) = document.split_once(BEGIN).ok_or(TableError)?;
    let (_, after) = rest.split_once(END).ok_or(TableError)?;
    Ok(format!("{before}{BEGIN}\n{}{END}{after}", render(promises, seen)))
}

fn render(promises: &Promises, seen: &SeenById) -> String {
    let mut table = String::from("| id | what must hold | command | last seen | commit | machine | date |\n");
    table.push_str("|---|---|---|---|---|---|---|\n");
    for promise in &promises.promise {
        write_row(&mut table, promise, seen.get(&promise.id));
    }
    table
}

fn write_row(table: &mut String, promise: &Promise, seen: Option<&Seen>) {
    let not_yet = Seen {
        figure: "**not seen yet**".into(),
        commit: String::new(),
        machine: String::new(),
        date: String::new(),
    };
    let Seen { figure, commit, machine, date } = seen.unwrap_or(&not_yet);
    let text = cell(&promise.text);
    let figure = cell(figure);
    // Writing to a string cannot fail.
    let _ = writeln!(
        table,
        "| `{}` | {text} | `{}` | {figure} | {commit} | {machine} | {date} |",
        promise.id, promise.command
    );
}

fn cell(text: &str) -> String {
    text.trim().replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promises() -> Promises {
        let promise = Promise { id: "a.b".into(), text: "x | y".into(), command: "true".into() };
        Promises { promise: vec![promise] }
    }

    #[test]
    fn the_table_replaces_the_old_one_and_nothing_else() {
        let document = format!("# Head\n{BEGIN}\nyesterday\n{END}\ntail\n");
        let seen =
            Seen { figure: "3 ms".into(), commit: "abc".into(), machine: "m".into(), date: "d".into() };
        let once = replace_table(&document, &promises(), &[("a.b".to_owned(), seen)].into()).unwrap();
        assert!(once.starts_with("# Head\n") && once.ends_with("\ntail\n"));
        assert!(once.contains("| `a.b` | x \\| y | `true` | 3 ms | abc | m | d |"));
        assert!(!once.contains("yesterday"));
    }

    #[test]
    fn a_promise_that_was_never_seen_says_so() {
        let document = format!("{BEGIN}\n{END}");
        let table = replace_table(&document, &promises(), &SeenById::new()).unwrap();
        assert!(table.contains("**not seen yet**"));
    }

    #[test]
    fn a_document_without_markers_is_refused() {
        assert_eq!(replace_table("# Head", &promises(), &SeenById::new()), Err(TableError));
    }
}
