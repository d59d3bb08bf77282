//! Words for the case at hand: remedies and details hold placeholders, `NAME` for the tunnel and `PROFILE` for its profile.

use crate::fault::{Fault, FaultKind};
use crate::tunnel::Tunnel;

/// What a fault is about, to fill the placeholders of its remedy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'a> {
    /// Name of the tunnel: `NAME`.
    pub tunnel: Option<&'a str>,
    /// Its AWS profile: `PROFILE`. Absent where it is not known, or left to the daemon.
    pub profile: Option<&'a str>,
}

impl<'a> Subject<'a> {
    /// A name as the user wrote it.
    pub fn named(tunnel: &'a str) -> Self {
        Self { tunnel: Some(tunnel), profile: None }
    }

    /// A tunnel.
    pub fn of(tunnel: &'a Tunnel) -> Self {
        let profile = tunnel.spec.profile.as_ref().map(|profile| profile.as_str());
        Self { tunnel: Some(tunnel.spec.name.as_str()), profile }
    }
}

impl FaultKind {
    /// The remedy for the case at hand. Which profile the daemon takes for a tunnel without one is not ours to guess.
    pub fn remedy_for(&self, subject: Subject<'_>) -> String {
        let remedy = self.remedy();
        match subject.profile {
            Some(_) => filled(remedy, subject),
            None => filled(&remedy.replace(" --profile PROFILE", ""), subject),
        }
    }
}

impl Fault {
    /// The detail with its commands for the case at hand, and nothing else: the rest is what somebody else said.
    pub fn detail_for(&self, subject: Subject<'_>) -> String {
        let tunnel_only = Subject { profile: None, ..subject };
        let part = |(index, part): (usize, &str)| {
            if index % 2 == 1 { filled(part, tunnel_only) } else { part.to_owned() }
        };
        self.detail.split('`').enumerate().map(part).collect::<Vec<_>>().join("`")
    }
}

/// Puts the names of the case at hand in place of `NAME` and `PROFILE`.
fn filled(remedy: &str, subject: Subject<'_>) -> String {
    let mut text = remedy.to_owned();
    for (word, value) in [("NAME", subject.tunnel), ("PROFILE", subject.profile)] {
        if let Some(value) = value {
            text = replace_word(&text, word, &quoted(value));
        }
    }
    text
}

/// As it must be typed into a shell.
pub fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./@:+=".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

fn replace_word(text: &str, word: &str, value: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let (before, found) = rest.split_at(at);
        let after = &found[word.len()..];
        let whole = !before.ends_with(is_part) && !after.starts_with(is_part);
        replaced.push_str(before);
        replaced.push_str(if whole { value } else { word });
        rest = after;
    }
    replaced + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_whole_words() {
        assert_eq!(replace_word("NAME, xNAME, NAMES, `NAME`", "NAME", "db"), "db, xNAME, NAMES, `db`");
        let subject = Subject { tunnel: Some("db"), profile: Some("Prod Admin") };
        let remedy = "log in with `aws sso login --profile PROFILE`, then `stctl restart NAME`";
        assert_eq!(
            filled(remedy, subject),
            "log in with `aws sso login --profile 'Prod Admin'`, then `stctl restart db`"
        );
    }

    #[test]
    fn a_detail_is_filled_only_in_its_commands() {
        let subject = Subject { tunnel: Some("db"), profile: Some("prod") };
        let fault =
            Fault::internal("NAME is unknown; `stctl tunnel edit NAME --profile PROFILE` names another");
        assert_eq!(
            fault.detail_for(subject),
            "NAME is unknown; `stctl tunnel edit db --profile PROFILE` names another"
        );
    }
}
