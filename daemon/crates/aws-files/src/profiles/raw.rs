//! Both files, section by section, before anything is made of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use secrecy::ExposeSecret as _;

use crate::file::ProfileFile;
use crate::ini::{self, Document, Entry, Kind, Meaning, Section, Value};
use crate::keys;
use crate::problem::{Place, Problem, ProblemKind};
use crate::profiles::invalid::{Invalid, InvalidKind};

/// What both files hold. No `Debug`: secrets are in it.
#[derive(Default)]
pub(crate) struct Raw {
    pub(crate) profiles: BTreeMap<String, RawProfile>,
    pub(crate) sessions: BTreeMap<String, Keys>,
    pub(crate) services: BTreeMap<String, Keys>,
    pub(crate) problems: Vec<Problem>,
}

/// A profile in one file or both. No `Debug`, as [`Raw`].
pub(crate) struct RawProfile {
    /// Where it begins: in the config file, if it is there.
    pub(crate) place: Place,
    pub(crate) config: Option<Keys>,
    pub(crate) credentials: Option<Keys>,
}

/// The keys of one section. No `Debug`, as [`Raw`].
pub(crate) struct Keys {
    file: Arc<Path>,
    line: usize,
    entries: BTreeMap<String, Entry>,
}

/// A key that is there.
pub(crate) struct Found<'a> {
    pub(crate) key: &'static str,
    pub(crate) text: &'a str,
    pub(crate) place: Place,
}

impl Raw {
    pub(crate) fn read(config: &ProfileFile, credentials: &ProfileFile) -> Self {
        let mut raw = Self::default();
        let document = raw.document(config);
        for section in document.sections {
            raw.config_section(&config.path, section);
        }
        let document = raw.document(credentials);
        for section in document.sections {
            raw.credentials_section(&credentials.path, section);
        }
        raw
    }

    fn document(&mut self, file: &ProfileFile) -> Document {
        let mut document = ini::read(file.content.expose_secret());
        for section in &document.sections {
            let texts = section.entries.iter().filter(|(_, entry)| !entry.inherited);
            let remarks = texts.filter_map(|(key, entry)| {
                let remark = keys::comment_in_value(key, entry.value.text()?)?;
                Some((entry.lines.start, remark))
            });
            document.problems.extend(remarks);
        }
        document.problems.sort_by_key(|(index, _)| *index);
        let place = |index| Place { file: Arc::clone(&file.path), line: index + 1 };
        let problems = document.problems.drain(..);
        self.problems.extend(problems.map(|(index, kind)| Problem { place: place(index), kind }));
        document
    }

    fn config_section(&mut self, file: &Arc<Path>, section: Section) {
        let keys = Keys { file: Arc::clone(file), line: section.line + 1, entries: section.entries };
        let (header, place) = (section.header, keys.place());
        let replaced = match ini::meaning(&header) {
            Meaning::Named(Kind::Profile, name) => {
                let profile = RawProfile { place: keys.place(), config: Some(keys), credentials: None };
                self.profiles.insert(name, profile).is_some()
            }
            Meaning::Named(Kind::SsoSession, name) => self.sessions.insert(name, keys).is_some(),
            Meaning::Named(Kind::Services, name) => self.services.insert(name, keys).is_some(),
            Meaning::Misnamed => return self.problem(place, ProblemKind::SectionName { section: header }),
            Meaning::Other => {
                if keys.entries.iter().any(|(key, entry)| keys::known(key).is_some() && !entry.inherited) {
                    self.problem(place, ProblemKind::NotAProfile { section: header });
                }
                return;
            }
        };
        if replaced {
            self.problem(place, ProblemKind::SectionReplaced { section: header });
        }
    }

    fn credentials_section(&mut self, file: &Arc<Path>, section: Section) {
        let keys = Keys { file: Arc::clone(file), line: section.line + 1, entries: section.entries };
        if ["profile ", "sso-session "].iter().any(|kind| section.header.starts_with(kind)) {
            self.problem(keys.place(), ProblemKind::BelongsInConfig { section: section.header.clone() });
        }
        let place = keys.place();
        let profile = self.profiles.entry(section.header);
        let profile = profile.or_insert_with(|| RawProfile { place, config: None, credentials: None });
        profile.credentials = Some(keys);
    }

    pub(crate) fn problem(&mut self, place: Place, kind: ProblemKind) {
        self.problems.push(Problem { place, kind });
    }
}

impl RawProfile {
    /// Whether the key is there, were it empty.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.owner(key).is_some()
    }

    /// The value that counts: the credentials file's, else the config file's.
    pub(crate) fn found(&self, key: &'static str) -> Option<Found<'_>> {
        self.owner(key)?.found(key)
    }

    /// What the key is set to, if it is there.
    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        self.owner(key)?.value(key)
    }

    /// The value of a key that may be missing, but not empty.
    pub(crate) fn optional(&self, key: &'static str) -> Result<Option<Found<'_>>, Invalid> {
        self.found(key).map(Found::filled).transpose()
    }

    /// The value of a key that has to be there.
    pub(crate) fn required(&self, key: &'static str) -> Result<Found<'_>, Invalid> {
        self.optional(key)?.ok_or_else(|| self.missing(key))
    }

    pub(crate) fn missing(&self, key: &'static str) -> Invalid {
        Invalid { place: self.place.clone(), key, kind: InvalidKind::Missing }
    }

    fn owner(&self, key: &str) -> Option<&Keys> {
        [&self.credentials, &self.config].into_iter().flatten().find(|keys| keys.has(key))
    }
}

impl Keys {
    /// Where the section begins.
    pub(crate) fn place(&self) -> Place {
        Place { file: Arc::clone(&self.file), line: self.line }
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The value of a key; that of a block is empty.
    pub(crate) fn found(&self, key: &'static str) -> Option<Found<'_>> {
        let entry = self.entries.get(key)?;
        let place = Place { file: Arc::clone(&self.file), line: entry.lines.start + 1 };
        Some(Found { key, text: entry.value.text().unwrap_or_default(), place })
    }

    /// The value of a key that has to be there.
    pub(crate) fn required(&self, key: &'static str) -> Result<Found<'_>, Invalid> {
        let missing = || Invalid { place: self.place(), key, kind: InvalidKind::Missing };
        self.found(key).ok_or_else(missing)?.filled()
    }

    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// The value of a key that stands in the section itself, and not in `[DEFAULT]`.
    pub(crate) fn own(&self, key: &str) -> Option<&Value> {
        self.entries.get(key).filter(|entry| !entry.inherited).map(|entry| &entry.value)
    }

    /// All keys with their values.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, entry)| (key.as_str(), &entry.value))
    }
}

impl Found<'_> {
    pub(crate) fn invalid(&self, kind: InvalidKind) -> Invalid {
        Invalid { place: self.place.clone(), key: self.key, kind }
    }

    pub(crate) fn malformed(&self, rule: &'static str) -> Invalid {
        self.invalid(InvalidKind::Malformed { rule })
    }

    /// Itself, if `right` holds.
    pub(crate) fn checked(self, rule: &'static str, right: impl Fn(&str) -> bool) -> Result<Self, Invalid> {
        if right(self.text) { Ok(self) } else { Err(self.malformed(rule)) }
    }

    fn filled(self) -> Result<Self, Invalid> {
        if self.text.is_empty() { Err(self.invalid(InvalidKind::Empty)) } else { Ok(self) }
    }
}
