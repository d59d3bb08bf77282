//! The invariants of the workspace that neither the compiler, clippy nor cargo-deny can hold.
//!
//! A rule is a pure function from a description of the workspace ([`graph::Graph`]) or of its files
//! ([`files::File`]) to [`Violation`]s. Beside each rule stand two tests: the workspace passes, and a planted
//! violation is rejected. A rule that cannot fail would hold nothing.
//!
//! Where to look: [`dependencies`] says who may know whom, [`sources`] what may not be written where,
//! [`secrets`] which types have no text form, [`messages`] which messages. `tests/service_files.rs` reads `launchd/`.

#![expect(clippy::expect_used, reason = "only tests call this crate: a broken expectation is a failed test")]

pub mod dependencies;
pub mod files;
pub mod graph;
pub mod messages;
pub mod promises;
pub mod secrets;
pub mod sources;
pub mod tokens;

use std::fmt;

/// One broken rule at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Where: a crate, or a file with a line.
    pub place: String,
    /// What was found there.
    pub found: String,
    /// Why that is not allowed, so that the reader can judge the rule instead of only obeying it.
    pub reason: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n    because {}", self.place, self.found, self.reason)
    }
}

/// The text of a failed rule, one violation per paragraph; empty if nothing is broken.
pub fn report(violations: &[Violation]) -> String {
    violations.iter().map(|violation| format!("{violation}\n")).collect()
}
