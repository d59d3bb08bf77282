//! A session and profiles that use it, written into the config file as `aws configure sso` writes them: line by line, as
//! [`crate::edit`] does.
//!
//! What is there already and says something else is a reason to refuse, unless it is to be overwritten. The result is read
//! back before anybody sees it: what would not be the profile that was asked for is not written.

use std::path::PathBuf;

use secrecy::ExposeSecret as _;
use stormtunnel_model::{ConfiguredSection, SectionChange, SsoConfig, SsoProfile, SsoSection, SsoSession};
use thiserror::Error;

use crate::edit::{self, EditError, Section};
use crate::file::ProfileFile;
use crate::ini;
use crate::profiles::raw::{Keys, Raw};
use crate::profiles::{ProfileSet, Source, SsoRole};

/// Keys that give a profile other credentials than those of its session's role. The two of SSO do so to some SDKs only, which
/// refuse a profile that has them beside a session.
const OTHER_SOURCES: [&str; 12] = [
    "sso_start_url",
    "sso_region",
    "role_arn",
    "source_profile",
    "credential_source",
    "web_identity_token_file",
    "credential_process",
    "login_session",
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "aws_security_token",
];

/// A config file that says what was asked for. No `Debug`: keys may stand in it.
pub struct Configured {
    /// The whole file.
    pub content: Vec<u8>,
    /// What became of each section: the session first, then the profiles in the order asked.
    pub sections: Vec<ConfiguredSection>,
}

/// Why nothing is to be written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigureError {
    /// Sections are there and say something else: at least one, each with what. No secret is among that.
    #[error("{}", differences(.0))]
    Exists(Vec<(SsoSection, Vec<String>)>),
    /// Something cannot be written down.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The other file has keys for that profile. Tools disagree on who wins.
    #[error(
        "{} has keys for it, which some tools prefer: take them out there, or choose another name",
        .file.display()
    )]
    OtherKeys {
        /// Which profile.
        section: SsoSection,
        /// The other file.
        file: PathBuf,
    },
    /// Read back, the section is another one.
    #[error(
        "{0} would not be read as it is written: choose another name, or look at what else the file says"
    )]
    NotReadBack(SsoSection),
}

fn differences(sections: &[(SsoSection, Vec<String>)]) -> String {
    // Whoever tells of one names it.
    if let [(_, found)] = sections {
        return found.join(", ");
    }
    let of_one = |(section, found): &(SsoSection, Vec<String>)| format!("{section}: {}", found.join(", "));
    sections.iter().map(of_one).collect::<Vec<_>>().join("; ")
}

/// A section with the values that it is to have, and the keys that it is not to have.
struct Wanted<'a> {
    section: Section<'a>,
    name: SsoSection,
    values: Vec<(&'static str, String)>,
    unwanted: &'static [&'static str],
}

/// `config` with the session and the profiles in it. `credentials` is only looked at.
///
/// # Errors
/// [`ConfigureError`].
pub fn configure(
    config: &ProfileFile,
    credentials: &ProfileFile,
    wanted: &SsoConfig,
) -> Result<Configured, ConfigureError> {
    let sections = || {
        [session(&wanted.session)].into_iter().chain(wanted.profiles.iter().map(|one| profile(wanted, one)))
    };
    let mut content = config.content.expose_secret().to_vec();
    let before = Raw::read(config, credentials);
    let exists: Vec<_> = sections().filter_map(|one| one.differences(&before)).collect();
    if !exists.is_empty() && !wanted.overwrite {
        return Err(ConfigureError::Exists(exists));
    }
    let mut written = Vec::new();
    for one in sections() {
        let changed = edit::set(&content, one.section, &one.edits(&before))?;
        let change = match one.found(&before) {
            None => SectionChange::Added,
            Some(_) if changed == content => SectionChange::Unchanged,
            Some(_) => SectionChange::Changed,
        };
        content = changed;
        written.push(ConfiguredSection { section: one.name, change });
    }
    read_back(config, credentials, &content, wanted)?;
    Ok(Configured { content, sections: written })
}

fn session(wanted: &SsoSession) -> Wanted<'_> {
    let SsoSession { name, start_url, region, scopes } = wanted;
    let mut values = vec![("sso_start_url", start_url.to_string()), ("sso_region", region.to_string())];
    if !scopes.is_empty() {
        let scopes: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
        values.push(("sso_registration_scopes", scopes.join(",")));
    }
    Wanted {
        section: Section::SsoSession(name),
        name: SsoSection::Session(name.clone()),
        values,
        unwanted: &[],
    }
}

fn profile<'a>(wanted: &SsoConfig, profile: &'a SsoProfile) -> Wanted<'a> {
    let SsoProfile { name, account, role, region, output } = profile;
    let values = [
        ("sso_session", Some(wanted.session.name.to_string())),
        ("sso_account_id", Some(account.to_string())),
        ("sso_role_name", Some(role.to_string())),
        ("region", region.as_ref().map(ToString::to_string)),
        ("output", output.as_ref().map(ToString::to_string)),
    ];
    Wanted {
        section: Section::Profile(name),
        name: SsoSection::Profile(name.clone()),
        values: values.into_iter().filter_map(|(key, value)| Some((key, value?))).collect(),
        unwanted: &OTHER_SOURCES,
    }
}

impl Wanted<'_> {
    fn found<'r>(&self, raw: &'r Raw) -> Option<&'r Keys> {
        match self.section {
            Section::Profile(name) => raw.profiles.get(name.as_str())?.config.as_ref(),
            Section::SsoSession(name) => raw.sessions.get(name.as_str()),
        }
    }

    /// What the section says that is not wanted; nothing where there is no such thing.
    fn differences(&self, raw: &Raw) -> Option<(SsoSection, Vec<String>)> {
        let found = self.found(raw)?;
        let other = |(key, wanted): &(&str, String)| {
            let own = found.own(key)?;
            let said = own.text().unwrap_or("a block of lines");
            (!is_same(key, said, wanted)).then(|| format!("{key} is {said:?}, not {wanted:?}"))
        };
        // What they say may be a secret.
        let unwanted = self.unwanted.iter().filter(|key| found.own(key).is_some());
        let differences: Vec<String> =
            self.values.iter().filter_map(other).chain(unwanted.map(|key| format!("it has {key}"))).collect();
        (!differences.is_empty()).then(|| (self.name.clone(), differences))
    }

    fn edits(&self, raw: &Raw) -> Vec<(&'static str, Option<&str>)> {
        let found = self.found(raw);
        let is_there = |key: &str, wanted: &str| {
            let said = found.and_then(|found| found.own(key)).and_then(ini::Value::text);
            said.is_some_and(|said| is_same(key, said, wanted))
        };
        let values = self.values.iter().filter(|(key, wanted)| !is_there(key, wanted));
        let values = values.map(|(key, value)| (*key, Some(value.as_str())));
        values.chain(self.unwanted.iter().map(|key| (*key, None))).collect()
    }
}

/// Whether two values mean the same. Scopes are a list with any blanks in it.
fn is_same(key: &str, one: &str, other: &str) -> bool {
    let list = |text: &str| -> Vec<String> {
        text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
    };
    one == other || (key == "sso_registration_scopes" && list(one) == list(other))
}

/// Makes sure that `content` says what is wanted, to us and, where they follow other rules, to others.
fn read_back(
    config: &ProfileFile,
    credentials: &ProfileFile,
    content: &[u8],
    wanted: &SsoConfig,
) -> Result<(), ConfigureError> {
    let written = ProfileFile::new(config.path.as_ref(), content.to_vec());
    let raw = Raw::read(&written, credentials);
    let set = ProfileSet::parse(&written, credentials, None);
    let SsoSession { name, start_url, region, .. } = &wanted.session;
    let is_session = set
        .sign_in(name)
        .and_then(|found| found.as_ref().ok())
        .is_some_and(|found| found.start_url == start_url.as_str() && found.region == *region);
    if !is_session {
        return Err(ConfigureError::NotReadBack(SsoSection::Session(name.clone())));
    }
    for profile in &wanted.profiles {
        let section = SsoSection::Profile(profile.name.clone());
        let other = raw.profiles.get(profile.name.as_str()).and_then(|found| found.credentials.as_ref());
        if other.is_some_and(|keys| OTHER_SOURCES.iter().any(|key| keys.own(key).is_some())) {
            return Err(ConfigureError::OtherKeys { section, file: credentials.path.to_path_buf() });
        }
        let role = SsoRole {
            sign_in: name.clone(),
            start_url: start_url.to_string(),
            region: region.clone(),
            account: profile.account.to_string(),
            role: profile.role.to_string(),
        };
        let found = set.profile(&profile.name).and_then(|found| found.credentials.as_ref().ok());
        if !found.is_some_and(|found| found.roles.is_empty() && found.source == Source::Sso(role)) {
            return Err(ConfigureError::NotReadBack(section));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
