//! The committed table of intended deviations.

use serde::Deserialize;

use crate::facts::Facts;
use crate::frame::data_directory;

/// All deviations that are intended.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deviations {
    /// Of our client from AWS's client.
    pub client: Vec<Deviation>,
    /// Of our agent from AWS's agent.
    pub agent: Vec<Deviation>,
}

/// Where we mean to differ, and why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deviation {
    /// The recordings it shows in; `*` stands for all of those replayed.
    pub recordings: Vec<String>,
    /// Facts of AWS's program that ours does not have.
    #[serde(default)]
    pub theirs: Vec<String>,
    /// Facts of ours that AWS's program does not have.
    #[serde(default)]
    pub ours: Vec<String>,
    /// Why ours is right.
    pub reason: String,
}

impl Deviations {
    /// Reads `data/deviations.toml`.
    ///
    /// # Panics
    /// When the file is missing or broken: it is part of this crate.
    #[must_use]
    pub fn load() -> Self {
        let path = data_directory().join("deviations.toml");
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
        toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

/// Compares two programs' facts under the intended deviations; answers what nobody intended, line by line.
#[must_use]
pub fn unintended(recording: &str, theirs: &Facts, ours: &Facts, intended: &[Deviation]) -> Vec<String> {
    let mut expected = theirs.clone();
    let mut complaints = Vec::new();
    let applies =
        |deviation: &&Deviation| deviation.recordings.iter().any(|name| name == "*" || name == recording);
    for deviation in intended.iter().filter(applies) {
        for fact in &deviation.theirs {
            if !expected.remove(fact) {
                complaints.push(format!("the table expects of theirs, which is not so: {fact}"));
            }
        }
        for fact in &deviation.ours {
            if !expected.insert(fact.clone()) {
                complaints.push(format!("the table calls a deviation what theirs does too: {fact}"));
            }
        }
    }
    complaints.extend(expected.difference(ours).map(|fact| format!("missing in ours: {fact}")));
    complaints.extend(ours.difference(&expected).map(|fact| format!("only in ours:    {fact}")));
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(list: &[&str]) -> Facts {
        list.iter().map(|fact| (*fact).to_owned()).collect()
    }

    #[test]
    fn only_intended_differences_pass() {
        let deviation = Deviation {
            recordings: vec!["x".into()],
            theirs: vec!["a".into()],
            ours: vec!["b".into()],
            reason: String::new(),
        };
        let intended = [deviation];
        assert!(unintended("x", &facts(&["a", "c"]), &facts(&["b", "c"]), &intended).is_empty());
        assert_eq!(unintended("y", &facts(&["a", "c"]), &facts(&["b", "c"]), &intended).len(), 2);
        assert_eq!(unintended("x", &facts(&["a", "c"]), &facts(&["b"]), &intended).len(), 1);
        assert_eq!(unintended("x", &facts(&["c"]), &facts(&["b", "c"]), &intended).len(), 1);
    }
}
