//! What was written into the config file of AWS, and what there is to choose from.

use serde::Serialize;
use stormtunnel_model::{Account, ConfiguredSection, SectionChange, SsoConfigured, SsoSection};

/// An account, as short as a list needs it.
pub fn account(account: &Account) -> String {
    let Account { id, name, email } = account;
    let words = [Some(id), name.as_ref(), email.as_ref()];
    words.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join("  ")
}

/// What became of the file, a line for each section.
pub fn written(configured: &SsoConfigured) -> String {
    let SsoConfigured { file, backup, sections } = configured;
    let mut text = format!("{file}\n");
    for ConfiguredSection { section, change } in sections {
        let what = match change {
            SectionChange::Added => "is new",
            SectionChange::Changed => "was changed",
            SectionChange::Unchanged => "said this already",
        };
        text += &format!("  {section} {what}\n");
    }
    if let Some(backup) = backup {
        text += &format!("as it was: {backup}\n");
    }
    text
}

/// The same for programs.
#[derive(Debug, Serialize)]
pub struct SsoConfiguredView {
    file: String,
    /// Path of the copy of what it was.
    backup: Option<String>,
    sections: Vec<SectionView>,
}

#[derive(Debug, Serialize)]
struct SectionView {
    kind: &'static str,
    name: String,
    change: &'static str,
}

impl SsoConfiguredView {
    /// Of what was written.
    pub fn of(configured: &SsoConfigured) -> Self {
        let SsoConfigured { file, backup, sections } = configured.clone();
        Self { file, backup, sections: sections.into_iter().map(SectionView::of).collect() }
    }
}

impl SectionView {
    fn of(ConfiguredSection { section, change }: ConfiguredSection) -> Self {
        let (kind, name) = match section {
            SsoSection::Session(name) => ("sso_session", name.to_string()),
            SsoSection::Profile(name) => ("profile", name.to_string()),
        };
        let change = match change {
            SectionChange::Added => "added",
            SectionChange::Changed => "changed",
            SectionChange::Unchanged => "unchanged",
        };
        Self { kind, name, change }
    }
}
