//! Entry of the fuzz target `settings` and of the test that replays its corpus. The target includes this file and its
//! neighbour `document` by their paths: it does not link the daemon.
//!
//! The data is text in parts with a NUL between them, which TOML cannot hold: what the file said before, what it says
//! now, and then one change each, a letter for the setting and its new value, or `-` to take it out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use stormtunnel_model::settings::{SETTINGS, Setting, Settings};
use toml_edit::{Document, TableLike};
use url::{Host, Url};

use super::document::{Change, EditError, Problem, Reading, edit, read};
use crate::logging;

/// Panics if reading or changing a settings file breaks a promise.
pub fn settings(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.split('\0');
    let before = checked_read(parts.next().unwrap_or_default(), &Reading::default());
    let text = parts.next().unwrap_or_default();
    let reading = checked_read(text, &before);
    let changes: Vec<Change> = parts.map(change).collect();
    for Change { key, value } in &changes {
        if let (Ok(setting), Some(value)) = (Setting::by_key(key), value) {
            assign(setting, value);
        }
    }
    match edit(text, &changes) {
        Ok(edited) => {
            check_edit(text, &reading, &changes, &edited, &before);
            assert_eq!(edit(&edited, &changes).ok(), Some(edited), "the same change again changes nothing");
        }
        Err(EditError::Setting(error)) => {
            assert!(!changes.iter().all(is_valid), "{error}");
        }
        Err(EditError::Unreadable(problem)) => {
            assert!(!is_toml(text));
            check_problem(text, &problem);
        }
        Err(EditError::NoSection { section }) => {
            assert!(
                reading.problems.iter().any(|problem| problem.message.contains(&format!("\"{section}\""))),
                "what is no section is a problem of the file too"
            );
        }
    }
}

fn change(part: &str) -> Change {
    let mut rest = part.chars();
    let index = rest.next().and_then(|letter| u32::from(letter).checked_sub(u32::from('a')));
    let setting = index.and_then(|index| SETTINGS.get(usize::try_from(index).ok()?));
    let rest = rest.as_str();
    Change {
        key: setting.map_or(part, |setting| setting.key).to_owned(),
        value: (rest != "-").then(|| rest.to_owned()),
    }
}

fn is_valid(change: &Change) -> bool {
    let Ok(setting) = Setting::by_key(&change.key) else { return false };
    change.value.as_deref().is_none_or(|value| is_value(setting, value))
}

fn is_value(setting: &Setting, value: &str) -> bool {
    let filters = setting.key != logging::FILTER_KEY || logging::parse_filter(value).is_ok();
    filters && setting.assign(&mut Settings::default(), value).is_ok()
}

fn is_toml(text: &str) -> bool {
    Document::parse(text).is_ok()
}

/// The filter in force is shown by the API as text: it must be one that can be given back.
fn check_filter(setting: &Setting, value: &str) {
    if setting.key == logging::FILTER_KEY
        && let Ok(filter) = logging::parse_filter(value)
    {
        let shown = filter.to_string();
        let again = logging::parse_filter(&shown).map(|filter| filter.to_string());
        assert_eq!(again.ok(), Some(shown), "{value:?}");
    }
}

/// A value that is taken reads back as something that means the same; one that is refused changes nothing.
fn assign(setting: &Setting, value: &str) {
    let mut settings = Settings::default();
    match setting.assign(&mut settings, value) {
        Ok(()) => {
            let mut again = Settings::default();
            assert_eq!(setting.assign(&mut again, &setting.value(&settings)), Ok(()));
            assert_eq!(again, settings, "{} = {value:?}", setting.key);
            check_endpoint(setting, value);
            check_filter(setting, value);
        }
        Err(error) => {
            assert_eq!(settings, Settings::default());
            assert!(error.to_string().contains(setting.key), "{error}");
        }
    }
}

/// Credentials go to an endpoint: what is accepted must lead to the same place for the parser that connects.
fn check_endpoint(setting: &Setting, value: &str) {
    if !setting.key.starts_with("aws.endpoint_") || value.is_empty() {
        return;
    }
    let url = match Url::parse(value) {
        Ok(url) => url,
        // The letters of a punycode label are in order, whatever they stand for.
        Err(error) => return assert!(value.to_ascii_lowercase().contains("xn--"), "{value:?}: {error}"),
    };
    assert!(url.username().is_empty() && url.password().is_none(), "{value:?}");
    assert_eq!((url.path(), url.query(), url.fragment()), ("/", None, None), "{value:?}");
    let here = match url.host() {
        Some(Host::Domain(domain)) => domain == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    assert!(["https", "wss"].contains(&url.scheme()) || here, "{value:?} leads away in the clear");
}

/// Reads, and checks what must hold of every reading.
fn checked_read(text: &str, before: &Reading) -> Reading {
    let reading = read(text, before);
    for problem in &reading.problems {
        check_problem(text, problem);
    }
    assert!(reading.problems.is_sorted_by_key(|problem| problem.at), "from top to bottom");
    for setting in SETTINGS {
        let value = setting.value(&reading.settings);
        assert!(is_value(setting, &value), "{} = {value:?} is in force and out of range", setting.key);
        if is_toml(text) && !reading.set.contains(setting.key) {
            assert_eq!(value, setting.default_value(), "{} is not set", setting.key);
        }
    }
    if is_toml(text) {
        assert_eq!(read(text, &reading), reading, "the same text again is no news");
    } else {
        assert_eq!((&reading.settings, &reading.set), (&before.settings, &before.set));
        assert_eq!(reading.problems.len(), 1);
    }
    reading
}

fn check_problem(text: &str, problem: &Problem) {
    let lines = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
    assert!(problem.at.is_none_or(|at| (1..=lines).contains(&at.line) && at.column > 0), "{problem}");
    assert!(!problem.message.is_empty());
    assert!(problem.in_file(Path::new("settings.toml")).starts_with("settings.toml:"));
}

/// All changes were made and nothing else.
fn check_edit(text: &str, reading: &Reading, changes: &[Change], edited: &str, before: &Reading) {
    assert!(is_toml(edited), "{edited}");
    let after = checked_read(edited, before);
    let last: BTreeMap<&str, Option<&str>> =
        changes.iter().map(|change| (change.key.as_str(), change.value.as_deref())).collect();
    for setting in SETTINGS {
        let (value, is_set) = (setting.value(&after.settings), after.set.contains(setting.key));
        match last.get(setting.key) {
            Some(Some(new)) => {
                let mut wanted = Settings::default();
                assert_eq!(setting.assign(&mut wanted, new), Ok(()));
                assert_eq!((value, is_set), (setting.value(&wanted), true), "{} in {edited}", setting.key);
            }
            Some(None) => assert!(!is_set, "{} in {edited}", setting.key),
            None => {
                let old = (setting.value(&reading.settings), reading.set.contains(setting.key));
                assert_eq!((value, is_set), old, "{} in {edited}", setting.key);
            }
        }
    }
    let messages = |reading: &Reading| -> BTreeSet<String> {
        reading.problems.iter().map(|problem| problem.message.clone()).collect()
    };
    assert!(messages(&after).is_subset(&messages(reading)), "a new problem in {edited}");
    assert_eq!(others(edited, &last), others(text, &last), "something else has changed");
    if reading.problems.is_empty() && last.values().all(Option::is_some) {
        check_comments(text, edited);
    }
}

/// Comments are still there, in their order.
fn check_comments(text: &str, edited: &str) {
    // Within quotes the sign begins no comment.
    if text.contains(['"', '\'']) {
        return;
    }
    let comments = |text| str::lines(text).filter_map(|line| Some(line.split_once('#')?.1));
    let mut kept = comments(edited);
    for comment in comments(text) {
        assert!(kept.any(|line| line == comment), "{comment:?} is gone or moved: {edited}");
    }
}

/// Every value of a file by its key; those of `changes`, and what stands in their place, left out.
fn others(text: &str, changes: &BTreeMap<&str, Option<&str>>) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    if let Ok(document) = Document::parse(text) {
        collect("", document.as_table(), &mut values);
    }
    let is_of = |key: &str, changed: &str| {
        key.strip_prefix(changed).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    values.retain(|key, _| !changes.keys().any(|changed| is_of(key, changed)));
    values
}

fn collect(path: &str, table: &dyn TableLike, values: &mut BTreeMap<String, String>) {
    for (name, item) in table.iter() {
        let key = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        if let Some(table) = item.as_table_like() {
            collect(&key, table, values);
        } else if let Some(tables) = item.as_array_of_tables() {
            tables
                .iter()
                .enumerate()
                .for_each(|(index, table)| collect(&format!("{key}.{index}"), table, values));
        } else if let Some(value) = item.as_value() {
            values.insert(key, value.clone().decorated("", "").to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_of_the_corpus_passes() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus/settings");
        let mut replayed = 0;
        for entry in std::fs::read_dir(&corpus).unwrap() {
            let path = entry.unwrap().path();
            // The name of the culprit is printed only if this one fails.
            println!("{}", path.display());
            settings(&std::fs::read(&path).unwrap());
            replayed += 1;
        }
        assert!(replayed > 10, "the corpus at {} is gone", corpus.display());
    }
}
