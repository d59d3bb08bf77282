//! The promises of `docs/promises.toml` and the tests that show them.

use crate::{Violation, files::File};

/// Where the promises stand.
const PROMISES: &str = "docs/promises.toml";

/// Every promise is reported by some test or program, or by its own command.
pub fn reported(files: &[File]) -> Vec<Violation> {
    let text = files.iter().find(|file| file.path == PROMISES).map_or("", |file| &file.text);
    let table: toml::Table = text.parse().expect("the promises are TOML");
    let promises = table.get("promise").and_then(toml::Value::as_array).into_iter().flatten();
    let unreported = promises.filter(|promise| {
        let id = promise["id"].as_str().expect("a promise has an id");
        let command = promise["command"].as_str().expect("a promise has a command");
        let is_program =
            |file: &&File| file.is_rust() || file.path.ends_with(".py") || file.text.starts_with("#!");
        let mut programs = files.iter().filter(is_program);
        !command.contains(id) && !programs.any(|file| file.text.contains(id))
    });
    unreported
        .map(|promise| Violation {
            place: PROMISES.to_owned(),
            found: format!("nothing reports {}", promise["id"]),
            reason: "a promise that no test names is only a sentence: its command would pass without showing it",
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{files::workspace, report};

    #[test]
    fn every_promise_is_reported() {
        assert!(workspace().iter().any(|file| file.path == PROMISES));
        let report = report(&reported(workspace()));
        assert!(report.is_empty(), "{report}");
    }

    #[test]
    fn a_promise_that_nothing_reports_is_rejected() {
        let promises = "[[promise]]\nid = 'main.x'\ncommand = 'cargo test'";
        let of = |test: &str| {
            reported(&[File::planted(PROMISES, promises), File::planted("tests/e2e/tests/x.rs", test)])
        };
        assert_eq!(of("fn main() {}").len(), 1);
        assert_eq!(of("fn main() { promise(\"main.x\", 3); }"), []);
    }
}
