//! Names that are replaced with `--anonymous`: the same name by the same word throughout the archive.

use std::collections::BTreeMap;

use stormtunnel_model::{ContainerForm, InstanceForm, ProfileList, SignIn, TargetForm, TaskForm, Tunnel};

/// An AWS account.
const ACCOUNT_DIGITS: usize = 12;

/// Words in the place of names.
#[derive(Debug, Default)]
pub(super) struct Masks(BTreeMap<String, String>);

impl Masks {
    /// Takes names out of what there is.
    pub(super) fn learn(&mut self, tunnels: &[Tunnel], profiles: &ProfileList, sign_ins: &[SignIn]) {
        for tunnel in tunnels {
            self.mask("tunnel", tunnel.spec.name.as_str());
            let remote = tunnel.spec.remote.to_string();
            if let Some((host, _port)) = remote.rsplit_once(':') {
                self.mask("host", host);
            }
            self.mask("target", &tunnel.spec.target.to_string());
            self.mask_form(&tunnel.spec.target.form());
            if let Some(node) = &tunnel.status.node {
                self.mask("node", &node.to_string());
            }
        }
        profiles.profiles.iter().for_each(|profile| self.mask("profile", profile.name.as_str()));
        for sign_in in sign_ins {
            self.mask("sign-in", sign_in.name.as_str());
            self.mask("start-url", &sign_in.start_url);
        }
    }

    /// What AWS calls by that name, in the log and in events, stands alone.
    fn mask_form(&mut self, form: &TargetForm<'_>) {
        match form {
            TargetForm::Node(node) => self.mask("node", node.as_str()),
            TargetForm::Instances(InstanceForm::Tags(tags)) => {
                tags.iter().for_each(|(_, value)| self.mask("tag", value));
            }
            TargetForm::Instances(InstanceForm::Address(address)) => self.mask("host", &address.to_string()),
            TargetForm::Instances(InstanceForm::DnsName(name)) => self.mask("host", name),
            TargetForm::Containers(ContainerForm { cluster, tasks, container }) => {
                let (TaskForm::Service(task) | TaskForm::Id(task)) = tasks;
                self.mask("cluster", cluster);
                self.mask("service", task);
                container.iter().for_each(|container| self.mask("container", container));
            }
        }
    }

    fn mask(&mut self, kind: &str, name: &str) {
        let number = self.0.len() + 1;
        self.0.entry(name.to_owned()).or_insert_with(|| format!("{kind}-{number}"));
    }

    /// The text with the words in the place of the names, the longest name first, and without account numbers.
    pub(super) fn applied(&self, text: &str) -> String {
        let mut names: Vec<(&String, &String)> = self.0.iter().collect();
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        let text = names.into_iter().fold(text.to_owned(), |text, (name, word)| replaced(&text, name, word));
        without_accounts(&text)
    }
}

/// A name is replaced where it stands alone: "db" is none in "debug".
fn replaced(text: &str, name: &str, word: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(name) {
        let (before, after) = (&rest[..at], &rest[at + name.len()..]);
        let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let alone = !joins(before.chars().next_back().or_else(|| kept.chars().next_back()))
            && !joins(after.chars().next());
        kept.push_str(before);
        kept.push_str(if alone { word } else { name });
        rest = after;
    }
    kept + rest
}

fn without_accounts(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, digits) = rest.split_at(at);
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        kept.push_str(before);
        kept.push_str(if end == ACCOUNT_DIGITS { "account" } else { &digits[..end] });
        rest = &digits[end..];
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_where_they_stand_alone() {
        let mut masks = Masks::default();
        masks.mask("tunnel", "db");
        masks.mask("host", "db.internal");
        let text =
            masks.applied("db to db.internal:5432, debug, arn:aws:iam::123456789012:role/x 1234567890123");
        assert_eq!(text, "tunnel-1 to host-2:5432, debug, arn:aws:iam::account:role/x 1234567890123");
    }
}
