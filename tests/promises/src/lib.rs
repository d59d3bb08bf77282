//! The table of promises: what must hold, the command that shows it, and the figure that it showed last.
//!
//! `docs/promises.toml` holds the promises, `docs/promises-seen.toml` what was seen of them, and the table in
//! `docs/testing.md` is written from both. A test that keeps a promise says so on a line of its own:
//! `promise <id>: <figure>`.

mod table;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use table::{TableError, replace_table};

/// All promises, in the order of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promises {
    /// Each promise.
    pub promise: Vec<Promise>,
}

/// One "must hold" line, or a part of one that has a command of its own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promise {
    /// What tests name it by.
    pub id: String,
    /// What must hold.
    pub text: String,
    /// Shell command, run in the project's root, that shows it.
    pub command: String,
}

/// What was seen of promises, by id.
pub type SeenById = BTreeMap<String, Seen>;

/// One sight of a kept promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// What the test printed.
    pub figure: String,
    /// Commit of the checkout, with a `+` behind it when the tree had changes.
    pub commit: String,
    /// Cores and processor.
    pub machine: String,
    /// Day in UTC, `YYYY-MM-DD`.
    pub date: String,
}

/// The figures that a command's output reports, by promise.
pub fn figures(output: &str) -> BTreeMap<&str, &str> {
    output
        .lines()
        .filter_map(|line| line.split_once("promise ")?.1.split_once(": "))
        .filter(|(id, _)| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_in_the_middle_of_test_output() {
        let output = "running 2 tests\npromise main.curl: 200 OK, 65536 bytes\ntest a ... promise main.redis: PONG\nok";
        let found = figures(output);
        assert_eq!(found["main.curl"], "200 OK, 65536 bytes");
        assert_eq!(found["main.redis"], "PONG");
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn prose_about_promises_is_no_figure() {
        assert!(figures("a promise was made here: keep it").is_empty());
    }
}
