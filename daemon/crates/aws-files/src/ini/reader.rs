//! Reads a [`Document`], line by line.

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::lines::{Line, is_space, lines, trim};
use super::{Document, Entry, Section, Value};
use crate::keys;
use crate::problem::ProblemKind;

/// The section whose keys all others have, unless they set them.
const DEFAULTS: &str = "DEFAULT";

/// Where Python's `splitlines` ends a line, beside LF.
const LINE_BREAKS: [char; 9] =
    ['\n', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}'];

/// Takes `content` apart. Whatever it is, this answers.
pub(crate) fn read(content: &[u8]) -> Document {
    let mut reader = Reader::default();
    for (index, line) in lines(content).iter().enumerate() {
        reader.line(index, line);
    }
    reader.finish()
}

#[derive(Default)]
struct Reader {
    sections: Vec<Draft>,
    /// Where among them a header is.
    positions: BTreeMap<String, usize>,
    defaults: Draft,
    current: Current,
    open: Open,
    /// That of the last line which was no continuation.
    indent: usize,
    problems: Vec<(usize, ProblemKind)>,
}

/// A section that is being read.
#[derive(Default)]
struct Draft {
    header: String,
    line: usize,
    last: usize,
    entries: BTreeMap<String, DraftEntry>,
}

struct DraftEntry {
    first: usize,
    last: usize,
    /// The text of each line.
    parts: Vec<String>,
}

/// The section that lines belong to.
#[derive(Clone, Copy, Default)]
enum Current {
    /// No section has begun.
    #[default]
    None,
    Section(usize),
    Defaults,
    /// One whose name cannot be read.
    Unknown,
}

/// What a line that is indented further continues.
#[derive(Default)]
enum Open {
    /// Nothing: it is a line like others.
    #[default]
    None,
    Entry(String),
    /// Something that could not be read, and so cannot be read either.
    Skipped,
}

impl Reader {
    fn line(&mut self, index: usize, line: &Line<'_>) {
        if line.marked {
            self.problem(index, ProblemKind::ByteOrderMark);
        }
        if !line.is_utf8() {
            self.problem(index, ProblemKind::NotUtf8);
        }
        let trimmed = line.trimmed();
        if line.is_comment() {
            return;
        }
        if trimmed.is_empty() {
            // A value may have empty lines in the middle.
            if let Some(entry) = self.open_entry() {
                entry.parts.push(String::new());
            }
            return;
        }
        let continues = !matches!(self.open, Open::None) && line.indent() > self.indent;
        let header = header(trimmed).filter(|_| !continues);
        if let Some(draft) = self.draft().filter(|_| header.is_none()) {
            draft.last = index;
        }
        if continues {
            self.continuation(index, line);
            return;
        }
        self.indent = line.indent();
        match (header, line.is_utf8()) {
            (Some(header), true) => self.section(index, header),
            (Some(_), false) => (self.current, self.open) = (Current::Unknown, Open::None),
            (None, true) => self.property(index, trimmed),
            (None, false) => self.open = Open::Skipped,
        }
    }

    fn continuation(&mut self, index: usize, line: &Line<'_>) {
        let Some(entry) = self.open_entry() else { return };
        entry.last = index;
        if line.is_utf8() {
            entry.parts.push(line.trimmed().to_owned());
        }
    }

    fn section(&mut self, index: usize, header: &str) {
        self.open = Open::None;
        if header == DEFAULTS {
            self.current = Current::Defaults;
            return;
        }
        let next = self.sections.len();
        let position = *self.positions.entry(header.to_owned()).or_insert(next);
        if position == next {
            self.sections.push(Draft { header: header.to_owned(), line: index, ..Draft::default() });
        } else {
            self.problem(index, ProblemKind::SectionTwice { section: header.to_owned() });
        }
        self.sections[position].last = index;
        self.current = Current::Section(position);
    }

    fn property(&mut self, index: usize, text: &str) {
        self.open = Open::Skipped;
        let property = text.split_once(['=', ':']).map(|(key, value)| (trim(key), trim(value)));
        let Some(draft) = self.draft() else {
            if matches!(self.current, Current::None) {
                self.before_any_section(index);
            }
            return;
        };
        let Some((key, value)) = property.filter(|(key, _)| !key.is_empty()) else {
            self.problem(index, ProblemKind::NotAProperty);
            return;
        };
        let key = key.to_lowercase();
        let entry = DraftEntry { first: index, last: index, parts: vec![value.to_owned()] };
        if draft.entries.insert(key.clone(), entry).is_some() {
            self.problem(index, ProblemKind::KeyTwice { key: keys::known(&key) });
        }
        self.open = Open::Entry(key);
    }

    /// One is enough: all lines up to the first section are lost for the same reason.
    fn before_any_section(&mut self, index: usize) {
        if !self.problems.iter().any(|(_, kind)| *kind == ProblemKind::BeforeAnySection) {
            self.problem(index, ProblemKind::BeforeAnySection);
        }
    }

    fn problem(&mut self, index: usize, kind: ProblemKind) {
        self.problems.push((index, kind));
    }

    fn draft(&mut self) -> Option<&mut Draft> {
        match self.current {
            Current::Section(position) => self.sections.get_mut(position),
            Current::Defaults => Some(&mut self.defaults),
            Current::None | Current::Unknown => None,
        }
    }

    fn open_entry(&mut self) -> Option<&mut DraftEntry> {
        let Open::Entry(key) = &self.open else { return None };
        let draft = match self.current {
            Current::Section(position) => self.sections.get_mut(position)?,
            Current::Defaults => &mut self.defaults,
            Current::None | Current::Unknown => return None,
        };
        draft.entries.get_mut(key)
    }

    fn finish(self) -> Document {
        let mut problems = self.problems;
        let mut defaults = self.defaults.finish(&mut problems);
        defaults.entries.values_mut().for_each(|entry| entry.inherited = true);
        let mut sections: Vec<Section> =
            self.sections.into_iter().map(|draft| draft.finish(&mut problems)).collect();
        for section in &mut sections {
            for (key, entry) in &defaults.entries {
                section.entries.entry(key.clone()).or_insert_with(|| entry.clone());
            }
        }
        problems.sort_by_key(|(index, _)| *index);
        Document { sections, problems }
    }
}

impl Draft {
    fn finish(self, problems: &mut Vec<(usize, ProblemKind)>) -> Section {
        let entries = self.entries.into_iter().map(|(key, entry)| (key, entry.finish(problems)));
        Section { header: self.header, line: self.line, last: self.last, entries: entries.collect() }
    }
}

impl DraftEntry {
    fn finish(self, problems: &mut Vec<(usize, ProblemKind)>) -> Entry {
        let joined = self.parts.join("\n");
        let text = joined.trim_end_matches(is_space);
        let value = if text.starts_with('\n') {
            Value::Block(block(text, || problems.push((self.first, ProblemKind::NotNested))))
        } else {
            Value::Text(SecretString::from(text))
        };
        Entry { value, lines: self.first..self.last + 1, inherited: false }
    }
}

fn block(text: &str, mut bad: impl FnMut()) -> BTreeMap<String, SecretString> {
    let mut entries = BTreeMap::new();
    for line in text.split(LINE_BREAKS).map(trim).filter(|line| !line.is_empty()) {
        match line.split_once('=') {
            Some((key, value)) => {
                entries.insert(trim(key).to_owned(), SecretString::from(trim(value)));
            }
            None => bad(),
        }
    }
    entries
}

/// What stands between the first character, a bracket, and the last bracket. What follows that is of no account.
fn header(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('[')?;
    let end = inner.rfind(']').filter(|end| *end > 0)?;
    Some(&inner[..end])
}
