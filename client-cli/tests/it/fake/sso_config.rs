//! Accounts and roles, and a config file that is a map of its sections.

use std::collections::btree_map::Entry;

use stormtunnel_model::{
    Account, ConfiguredSection, Fault, FaultKind, SectionChange, SignInChoice, SsoConfig, SsoConfigured,
    SsoProfile, SsoSection, SsoSession,
};
use tonic::Status;

use super::Fake;
use super::sign_ins::shown;

impl Fake {
    /// What the person may use, once somebody signed in.
    pub(crate) fn may_use(&self, accounts: &[(&str, &[&str])]) {
        let account = |(id, roles): &(&str, &[&str])| {
            let account =
                Account { id: (*id).to_owned(), name: Some(format!("team {}", &id[..1])), email: None };
            (account, roles.iter().map(|role| (*role).to_owned()).collect())
        };
        let mut state = self.lock();
        state.accounts = accounts.iter().map(account).collect();
        state.lacks_login = true;
    }

    /// What the config file says of a section.
    pub(crate) fn section(&self, header: &str) -> Option<String> {
        self.lock().sections.get(header).cloned()
    }

    pub(super) fn accounts(&self, choice: &SignInChoice) -> Result<Vec<Account>, Fault> {
        let state = self.lock();
        if state.lacks_login {
            return Err(Fault::new(FaultKind::SignInNeeded { sign_in: shown(choice) }, ""));
        }
        Ok(state.accounts.iter().map(|(account, _)| account.clone()).collect())
    }

    pub(super) fn roles(&self, account: &str) -> Vec<String> {
        let state = self.lock();
        let found = state.accounts.iter().find(|(one, _)| one.id == account);
        found.map(|(_, roles)| roles.clone()).unwrap_or_default()
    }

    pub(super) fn write(&self, config: &SsoConfig) -> Result<Result<SsoConfigured, Fault>, Status> {
        let profiles =
            config.profiles.iter().map(|one| (SsoSection::Profile(one.name.clone()), profile(one)));
        let session = (SsoSection::Session(config.session.name.clone()), session(&config.session));
        let wanted: Vec<(SsoSection, String)> = [session].into_iter().chain(profiles).collect();
        let told = wanted.iter().map(|(section, text)| format!("{section} {text}")).collect::<Vec<_>>();
        let overwrite = if config.overwrite { "overwrite " } else { "" };
        self.heard(format!("configure {overwrite}{}", told.join(", ")))?;
        let mut state = self.lock();
        let differs = |(section, text): &&(SsoSection, String)| {
            state.sections.get(&section.to_string()).is_some_and(|found| found != text)
        };
        if let Some((section, text)) = wanted.iter().find(differs).filter(|_| !config.overwrite) {
            let found = &state.sections[&section.to_string()];
            let kind = FaultKind::SectionExists { section: section.to_string() };
            return Ok(Err(Fault::new(kind, format!("it is {found}, not {text}"))));
        }
        let mut sections = Vec::new();
        for (section, text) in wanted {
            let change = match state.sections.entry(section.to_string()) {
                Entry::Vacant(entry) => {
                    entry.insert(text);
                    SectionChange::Added
                }
                Entry::Occupied(entry) if *entry.get() == text => SectionChange::Unchanged,
                Entry::Occupied(mut entry) => {
                    entry.insert(text);
                    SectionChange::Changed
                }
            };
            sections.push(ConfiguredSection { section, change });
        }
        state.counter += 1;
        let file = "/home/u/.aws/config".to_owned();
        let changed = sections.iter().any(|one| one.change != SectionChange::Unchanged);
        let backup = changed.then(|| format!("{file}.backup-{}", state.counter));
        Ok(Ok(SsoConfigured { file, backup, sections }))
    }
}

/// Scopes that are not said are not told apart from those that are there.
fn session(SsoSession { start_url, region, .. }: &SsoSession) -> String {
    format!("{start_url} {region}")
}

fn profile(SsoProfile { account, role, region, output, .. }: &SsoProfile) -> String {
    let region = region.as_ref().map_or("-", |region| region.as_str());
    let output = output.as_ref().map_or("-", |output| output.as_str());
    format!("{account} {role} {region} {output}")
}
