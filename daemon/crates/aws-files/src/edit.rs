//! Changes of the config file, line by line: what is not asked for stays byte for byte, comments and mistakes included.

use stormtunnel_model::{Profile, SignInForm, SignInName};
use thiserror::Error;

use crate::ini::{self, Entry, Kind, Line, Meaning, shell, trim};

/// A section of the config file.
#[derive(Clone, Copy, Debug)]
pub enum Section<'a> {
    /// `[profile NAME]`, or `[default]`.
    Profile(&'a Profile),
    /// `[sso-session NAME]`.
    SsoSession(&'a SignInName),
}

/// A change that cannot be written down. No value is quoted: it may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EditError {
    /// Keys are lower-case letters, digits and underscores.
    #[error("\"{key}\" cannot be a key: use lower-case letters, digits and \"_\"")]
    Key {
        /// The key.
        key: String,
    },
    /// Readers take off white space around a value, and a line break would end it.
    #[error("the value of {key} cannot be written: it must be one line without white space around it")]
    Value {
        /// Its key.
        key: String,
    },
    /// A start URL names a sign-in, but not a section.
    #[error("\"{name}\" cannot be the name of a session: it is an address")]
    Session {
        /// The name.
        name: SignInName,
    },
}

/// `content` with each key of `section` set to a value, or removed. A section that is not there is added at the end; one
/// that stands there in another spelling, such as with quotes, is taken for it, as the AWS CLI takes it. A value that
/// is right already is not touched.
///
/// # Errors
/// Something asked for would not be read back as it is.
pub fn set(
    content: &[u8],
    section: Section<'_>,
    values: &[(&str, Option<&str>)],
) -> Result<Vec<u8>, EditError> {
    section.check()?;
    for (key, value) in values {
        check(key, *value)?;
    }
    let mut content = content.to_vec();
    if section.find(&content).is_none() {
        append(&mut content, &section.header());
    }
    for (key, value) in values {
        match value {
            Some(value) => assign(&mut content, section, key, value),
            // Once more for each time that it stands there.
            None => while remove(&mut content, section, key) {},
        }
    }
    Ok(content)
}

fn check(key: &str, value: Option<&str>) -> Result<(), EditError> {
    let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if key.is_empty() || !key.bytes().all(valid) {
        return Err(EditError::Key { key: key.to_owned() });
    }
    match value {
        Some(value) if value.chars().any(char::is_control) || trim(value) != value => {
            Err(EditError::Value { key: key.to_owned() })
        }
        Some(_) | None => Ok(()),
    }
}

impl Section<'_> {
    fn check(self) -> Result<(), EditError> {
        match self {
            Self::SsoSession(name) if matches!(name.form(), SignInForm::StartUrl(_)) => {
                Err(EditError::Session { name: name.clone() })
            }
            Self::SsoSession(_) | Self::Profile(_) => Ok(()),
        }
    }

    fn meaning(self) -> Meaning {
        match self {
            Self::Profile(name) => Meaning::Named(Kind::Profile, name.to_string()),
            Self::SsoSession(name) => Meaning::Named(Kind::SsoSession, name.to_string()),
        }
    }

    /// As the AWS CLI writes it: in quotes only what needs them.
    fn header(self) -> String {
        match self {
            Self::Profile(name) if name.as_str() == "default" => "[default]".to_owned(),
            Self::Profile(name) => format!("[profile {}]", shell::quote(name.as_str())),
            Self::SsoSession(name) => format!("[sso-session {}]", shell::quote(name.as_str())),
        }
    }

    /// The section in `content` that counts: of several the last.
    fn find(self, content: &[u8]) -> Option<ini::Section> {
        let meaning = self.meaning();
        ini::read(content).sections.into_iter().rfind(|section| ini::meaning(&section.header) == meaning)
    }
}

fn append(content: &mut Vec<u8>, header: &str) {
    let ending = ending(&ini::lines(content), usize::MAX);
    if let Some(last) = ini::lines(content).last() {
        let (unfinished, blank) = (last.ending.is_empty(), last.trimmed().is_empty());
        for _ in 0..usize::from(unfinished) + usize::from(!blank) {
            content.extend_from_slice(&ending);
        }
    }
    content.extend_from_slice(header.as_bytes());
    content.extend_from_slice(&ending);
}

fn assign(content: &mut Vec<u8>, section: Section<'_>, key: &str, value: &str) {
    let Some(found) = section.find(content) else { return };
    let lines = ini::lines(content);
    let new = match found.entries.get(key).filter(|entry| !entry.inherited) {
        Some(entry) if entry.value.text() == Some(value) => return,
        Some(entry) => {
            let mut line = lines.get(entry.lines.start).map(before_value).unwrap_or_default();
            line.extend_from_slice(value.as_bytes());
            line.extend(lines.get(entry.lines.start).into_iter().flat_map(|line| line.ending));
            rewritten(&lines, entry, &line)
        }
        None => inserted(&lines, found.last, &format!("{key} = {value}")),
    };
    *content = new;
}

fn remove(content: &mut Vec<u8>, section: Section<'_>, key: &str) -> bool {
    let found = section.find(content);
    let entry = found.as_ref().and_then(|found| found.entries.get(key)).filter(|entry| !entry.inherited);
    let Some(entry) = entry else { return false };
    *content = rewritten(&ini::lines(content), entry, b"");
    true
}

/// All lines, with `line` in the place of the entry's. Comments and blank lines within the entry stay.
fn rewritten(lines: &[Line<'_>], entry: &Entry, line: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    for (index, old) in lines.iter().enumerate() {
        if index == entry.lines.start {
            content.extend_from_slice(line);
        } else if !entry.lines.contains(&index) || old.is_comment() || old.trimmed().is_empty() {
            content.extend_from_slice(old.raw);
        }
    }
    content
}

/// All lines, with `text` as another one behind that of index `after`. It is indented as what follows it, or else what
/// follows would continue it.
fn inserted(lines: &[Line<'_>], after: usize, text: &str) -> Vec<u8> {
    let mut content = Vec::new();
    let mut following = lines.iter().skip(after + 1);
    let next = following.find(|line| !line.is_comment() && !line.trimmed().is_empty());
    for (index, line) in lines.iter().enumerate() {
        content.extend_from_slice(line.raw);
        if index == after {
            let ending = ending(lines, after);
            if line.ending.is_empty() {
                content.extend_from_slice(&ending);
            }
            content.extend_from_slice(next.map_or("", |next| next.margin()).as_bytes());
            content.extend_from_slice(text.as_bytes());
            content.extend_from_slice(&ending);
        }
    }
    content
}

/// What ends a line there: what ends the one of that index, or else the first.
fn ending(lines: &[Line<'_>], index: usize) -> Vec<u8> {
    let candidates = lines.get(index).into_iter().chain(lines.first());
    let mut endings = candidates.map(|line| line.ending).filter(|ending| !ending.is_empty());
    endings.next().unwrap_or(b"\n").to_vec()
}

/// The bytes of a property up to its value, white space included.
fn before_value(line: &Line<'_>) -> Vec<u8> {
    let text = &line.raw[..line.raw.len() - line.ending.len()];
    let delimiter = text.iter().position(|byte| matches!(byte, b'=' | b':')).unwrap_or_default();
    let (key, value) = text.split_at(delimiter + 1);
    let blanks = value.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let spaced = key[..delimiter].ends_with(b" ");
    match value.get(..blanks) {
        Some(blanks) if blanks.len() < value.len() => [key, blanks].concat(),
        // There was no value: as much space behind the delimiter as before it.
        Some(_) | None => [key, if spaced { b" " } else { b"" }].concat(),
    }
}

#[cfg(test)]
mod tests;
