//! The text of the settings file: reading it tolerantly, changing it gently. Pure functions.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use stormtunnel_model::settings::{SETTINGS, Setting, SettingError, SettingKind, Settings};
use thiserror::Error;
use toml_edit::{Document, DocumentMut, Item, TableLike, Value};

use crate::logging;

/// One thing that is wrong in a settings file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where; absent where the whole file is meant.
    pub at: Option<Position>,
    /// What is wrong and what would be right.
    pub message: String,
}

/// A place in a text. Both are counted from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl Position {
    /// Of this byte.
    fn of(text: &str, byte: usize) -> Self {
        let before = &text[..text.floor_char_boundary(byte)];
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        Self { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

impl Problem {
    /// The problem with the file's name in front, as compilers write it.
    pub fn in_file(&self, path: &Path) -> String {
        match self.at {
            Some(Position { line, column }) => {
                format!("{}:{line}:{column}: {}", path.display(), self.message)
            }
            None => format!("{}: {}", path.display(), self.message),
        }
    }
}

/// What a settings file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The values in force.
    pub settings: Settings,
    /// Keys that the file sets, with a value that can be taken or not.
    pub set: BTreeSet<&'static str>,
    /// What is wrong with it, from top to bottom.
    pub problems: Vec<Problem>,
}

/// One change to a settings file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The setting.
    pub key: String,
    /// Its new value; absent takes it out of the file.
    pub value: Option<String>,
}

/// A change that cannot be made. Nothing was changed.
#[derive(Debug, Error)]
pub enum EditError {
    /// Unknown key or value out of range.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The text is no TOML.
    #[error("the settings file has an error; correct it first: {0}")]
    Unreadable(Problem),
    /// The key's section is something else in this file.
    #[error("the settings file has something else under \"{section}\"; make it a section first")]
    NoSection {
        /// The section.
        section: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(Position { line, column }) => write!(f, "line {line}, column {column}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// Reads a settings file. A value that cannot be taken leaves the one of `before` in force; a file that is no TOML
/// leaves all of them.
pub fn read(text: &str, before: &Reading) -> Reading {
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let message = format!("this is no TOML: {}", error.message().trim_end());
            let problem = Problem { at: position(text, error.span()), message };
            return Reading { problems: vec![problem], ..before.clone() };
        }
    };
    let mut reading = Reading::default();
    for (section, item) in document.iter() {
        match item.as_table_like() {
            Some(table) => read_section(text, section, table, before, &mut reading),
            None => reading.problem(
                text,
                item.span(),
                format!("\"{section}\" is no section; write [{section}] above its settings"),
            ),
        }
    }
    reading.problems.sort_by_key(|problem| problem.at);
    reading
}

fn read_section(text: &str, section: &str, table: &dyn TableLike, before: &Reading, reading: &mut Reading) {
    for (name, item) in table.iter() {
        let key_span = table.key(name).and_then(toml_edit::Key::span);
        let setting = match Setting::by_key(&format!("{section}.{name}")) {
            Ok(setting) => setting,
            Err(error) => {
                reading.problem(text, key_span.or(item.span()), error.to_string());
                continue;
            }
        };
        let span = item.span().or(key_span);
        reading.set.insert(setting.key);
        let taken = match value_text(item) {
            Some(value) => assign(setting, &mut reading.settings, &value).map_err(|error| error.to_string()),
            None => Err(format!("{} must be {}", setting.key, setting.range())),
        };
        if let Err(message) = taken {
            let kept = setting.value(&before.settings);
            let _ = setting.assign(&mut reading.settings, &kept);
            let shown = setting.shown(&before.settings);
            reading.problem(text, span, format!("{message}; \"{shown}\" stays in force"));
        }
    }
}

/// Changes the text, all of `changes` or none, leaving everything else as it is written. Of several changes to one setting
/// the last one counts.
pub fn edit(text: &str, changes: &[Change]) -> Result<String, EditError> {
    let mut checked = Settings::default();
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        let at = position(text, error.span());
        EditError::Unreadable(Problem { at, message: error.message().trim_end().to_owned() })
    })?;
    for (index, Change { key, value }) in changes.iter().enumerate() {
        let setting = Setting::by_key(key)?;
        if let Some(value) = value {
            assign(setting, &mut checked, value)?;
        }
        if changes[index + 1..].iter().any(|later| later.key == *key) {
            continue;
        }
        match value {
            Some(value) => set(&mut document, setting, value)?,
            None => unset(&mut document, setting),
        }
    }
    Ok(document.to_string())
}

/// As [`Setting::assign`], with the one check that the model cannot make: it does not know the language of log filters.
fn assign(setting: &'static Setting, settings: &mut Settings, value: &str) -> Result<(), SettingError> {
    if setting.key == logging::FILTER_KEY {
        logging::parse_filter(value).map_err(|rule| SettingError::InvalidValue {
            key: setting.key,
            value: value.to_owned(),
            rule: rule.to_string(),
        })?;
    }
    setting.assign(settings, value)
}

fn set(document: &mut DocumentMut, setting: &Setting, value: &str) -> Result<(), EditError> {
    let (section, name) = split(setting.key);
    let no_section = || EditError::NoSection { section: section.to_owned() };
    let entry = document.entry(section).or_insert_with(toml_edit::table);
    let table = entry.as_table_like_mut().ok_or_else(no_section)?;
    let mut new = to_value(setting, value);
    match table.get_mut(name).and_then(Item::as_value_mut) {
        Some(old) => {
            // The comment behind a value belongs to the value's decor.
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        None => {
            table.insert(name, Item::Value(new));
        }
    }
    Ok(())
}

fn unset(document: &mut DocumentMut, setting: &Setting) {
    let (section, name) = split(setting.key);
    if let Some(table) = document.get_mut(section).and_then(Item::as_table_like_mut) {
        table.remove(name);
    }
}

pub(super) fn to_value(setting: &Setting, value: &str) -> Value {
    let number = || value.parse::<i64>().ok().map(Value::from);
    let flag = || value.parse::<bool>().ok().map(Value::from);
    let typed = match setting.kind {
        SettingKind::Seconds { .. } | SettingKind::Integer { .. } => number(),
        SettingKind::Switch => flag(),
        SettingKind::Choice(_) | SettingKind::Text => None,
    };
    typed.unwrap_or_else(|| value.into())
}

/// Scalars as the settings table reads them; whether a number stands in quotes makes no difference.
fn value_text(item: &Item) -> Option<String> {
    match item.as_value()? {
        Value::String(text) => Some(text.value().clone()),
        Value::Integer(number) => Some(number.value().to_string()),
        Value::Boolean(flag) => Some(flag.value().to_string()),
        Value::Float(_) | Value::Datetime(_) | Value::Array(_) | Value::InlineTable(_) => None,
    }
}

pub(super) fn split(key: &str) -> (&str, &str) {
    key.split_once('.').unwrap_or((key, ""))
}

fn position(text: &str, span: Option<Range<usize>>) -> Option<Position> {
    span.map(|span| Position::of(text, span.start))
}

impl Reading {
    fn problem(&mut self, text: &str, span: Option<Range<usize>>, message: String) {
        self.problems.push(Problem { at: position(text, span), message });
    }
}

/// All settings, for listings.
pub fn all() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read_new(text: &str) -> Reading {
        read(text, &Reading::default())
    }

    fn problems(text: &str) -> Vec<String> {
        read_new(text).problems.iter().map(ToString::to_string).collect()
    }

    fn change(key: &str, value: Option<&str>) -> Change {
        Change { key: key.to_owned(), value: value.map(str::to_owned) }
    }

    #[test]
    fn sections_inline_tables_and_dotted_keys_say_the_same() {
        for text in [
            "[tunnels]\nconnect_timeout = 60\n",
            "tunnels = { connect_timeout = 60 }\n",
            "tunnels.connect_timeout = 60\n",
            "[tunnels]\nconnect_timeout = \"60\"\n",
        ] {
            let reading = read_new(text);
            assert_eq!(reading.settings.connect_timeout, Duration::from_secs(60), "{text}");
            assert_eq!(reading.set, BTreeSet::from(["tunnels.connect_timeout"]));
            assert_eq!(reading.problems, []);
        }
    }

    #[test]
    fn a_wrong_value_is_named_with_line_and_range_and_the_old_one_stays() {
        let before = read_new("[tunnels]\nconnect_timeout = 60\n");
        let text = "# mine\n[tunnels]\nconnect_timeout = 5\npayload_bytes = 2048\n";
        let after = read(text, &before);
        assert_eq!(after.settings.connect_timeout, Duration::from_secs(60));
        assert_eq!(after.settings.payload_bytes, 2048, "its neighbour is taken");
        let problem = after.problems[0].in_file(Path::new("/etc/s.toml"));
        assert!(problem.starts_with("/etc/s.toml:3:19: tunnels.connect_timeout"), "{problem}");
        assert!(problem.contains("from 10 to 120"), "{problem}");
    }

    #[test]
    fn broken_toml_changes_nothing_and_is_named_with_its_line() {
        let before = read_new("[tunnels]\nconnect_timeout = 60\n");
        let after = read("[tunnels]\nconnect_timeout = \n", &before);
        assert_eq!((after.settings, after.set), (before.settings, before.set));
        assert_eq!(after.problems[0].at.unwrap().line, 2, "{:?}", after.problems);
    }

    #[test]
    fn misspelt_keys_and_sections_are_problems() {
        let found = problems("speed = 9\n[tunnels]\nconect_timeout = 60\n[network]\nca_bundle = [1]\n");
        assert!(found[0].starts_with("line 1, column 9: \"speed\" is no section"), "{found:?}");
        assert!(
            found[1].starts_with("line 3, column 1: there is no setting \"tunnels.conect_timeout\""),
            "{found:?}"
        );
        assert!(found[2].starts_with("line 5, column 13: network.ca_bundle must be text"), "{found:?}");
    }

    #[test]
    fn a_log_filter_must_be_one() {
        assert_eq!(problems("[log]\nfilter = \"info,stormtunnel_engine=debug\"\n"), [""; 0]);
        assert!(problems("[log]\nfilter = \"a=b=c\"\n")[0].contains("log.filter"));
    }

    #[test]
    fn an_edit_keeps_comments_order_and_spacing() {
        let text = "# my settings\n\n[tunnels] # fast\nconnect_timeout   = 60 # slow VPN\n\n[log]\nfilter = \"info\"\n";
        let edited = edit(text, &[change("tunnels.connect_timeout", Some("90"))]).unwrap();
        assert_eq!(edited, text.replace("60 #", "90 #"));
    }

    #[test]
    fn an_edit_makes_what_is_missing_and_removes_what_is_unset() {
        let edited = edit(
            "# top\n",
            &[change("aws.default_profile", Some("prod")), change("tunnels.message_rate", Some("0"))],
        );
        let edited = edited.unwrap();
        let reading = read_new(&edited);
        assert_eq!(reading.problems, []);
        assert_eq!(reading.settings.default_profile, Some("prod".parse().unwrap()));
        assert_eq!(reading.settings.message_rate, 0);
        assert!(edited.contains("# top") && edited.contains("message_rate = 0\n"), "{edited}");

        let cleared = edit(&edited, &[change("aws.default_profile", None)]).unwrap();
        assert_eq!(read_new(&cleared).set, BTreeSet::from(["tunnels.message_rate"]));
    }

    #[test]
    fn an_edit_reaches_dotted_and_inline_forms() {
        for text in ["tunnels = { connect_timeout = 60 }\n", "tunnels.connect_timeout = 60\n"] {
            let edited = edit(text, &[change("tunnels.connect_timeout", Some("90"))]).unwrap();
            assert_eq!(edited, text.replace("60", "90"));
        }
    }

    #[test]
    fn one_bad_change_spoils_all() {
        let changes = [change("tunnels.message_rate", Some("5")), change("tunnels.payload_bytes", Some("5"))];
        assert!(matches!(edit("", &changes), Err(EditError::Setting(SettingError::InvalidValue { .. }))));
        assert!(matches!(
            edit("", &[change("x.y", None)]),
            Err(EditError::Setting(SettingError::UnknownKey { .. }))
        ));
        assert!(matches!(edit("tunnels = 1", &changes[..1]), Err(EditError::NoSection { .. })));
        assert!(matches!(edit("[", &changes[..1]), Err(EditError::Unreadable(_))));
    }

    #[test]
    fn every_setting_can_be_written_and_read_back() {
        for setting in all() {
            let value = match setting.kind {
                SettingKind::Seconds { min, .. } | SettingKind::Integer { min, .. } => min.to_string(),
                SettingKind::Switch => "false".to_owned(),
                SettingKind::Choice(words) => words[words.len() - 1].to_owned(),
                SettingKind::Text => setting.default_value(),
            };
            let text = edit("", &[change(setting.key, Some(&value))]).unwrap();
            let reading = read_new(&text);
            assert_eq!(reading.problems, [], "{text}");
            assert_eq!(setting.value(&reading.settings), value, "{text}");
        }
    }
}
