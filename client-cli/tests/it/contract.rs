//! docs/output.md as something to hold documents against.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

/// Of the only kind of limit that there is.
const SO_FAR_ALWAYS: (&str, &str) = ("limit", "waiting_bytes");

/// What the page says, and what of it was seen.
pub(crate) struct Contract {
    /// Fields by table.
    tables: BTreeMap<String, BTreeMap<String, Field>>,
    /// What commands print: the cell that names them, and the cell of the document.
    documents: Vec<(String, Document)>,
    /// Table, field, and which of its forms.
    seen: BTreeSet<(String, String, String)>,
    /// Commands that were run.
    run: BTreeSet<String>,
}

#[derive(Clone, Debug)]
struct Field {
    /// One of these.
    forms: Vec<Form>,
    is_optional: bool,
}

/// A type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    Text,
    Time,
    Number,
    Boolean,
    Map,
    Null,
    List(Box<Form>),
    Table(String),
}

/// What a command prints.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    form: Form,
    /// One per line.
    pub(crate) is_stream: bool,
}

impl Contract {
    pub(crate) fn read() -> Self {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/output.md");
        let page =
            std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        let (mut tables, mut documents) = (BTreeMap::<String, BTreeMap<String, Field>>::new(), Vec::new());
        let (mut section, mut table) = (String::new(), None);
        for line in page.lines() {
            if let Some(heading) = line.strip_prefix("## ") {
                (section, table) = (heading.to_owned(), None);
            } else if let Some(heading) = line.strip_prefix("### ") {
                tables.insert(heading.to_owned(), BTreeMap::new());
                table = Some(heading.to_owned());
            } else if let (Some(rest), Some(name)) = (line.strip_prefix("All fields of "), &table) {
                let others = tables[&linked(rest.trim_end_matches(", and:"))].clone();
                tables.get_mut(name).unwrap().extend(others);
            } else if let Some(cells) = cells(line) {
                match &table {
                    Some(name) => {
                        let known = tables.get_mut(name).unwrap();
                        let field = cells[0].trim_matches('`').to_owned();
                        assert!(
                            known.insert(field, Field::parse(&cells[1])).is_none(),
                            "{name} has {} twice",
                            cells[0]
                        );
                    }
                    None if section == "Documents" => {
                        documents.push((cells[0].clone(), Document::parse(&cells[1])));
                    }
                    None => {}
                }
            }
        }
        Self { tables, documents, seen: BTreeSet::new(), run: BTreeSet::new() }
    }

    /// What commands of this row print.
    pub(crate) fn document(&mut self, row: &str) -> Document {
        self.run.insert(row.to_owned());
        let found = self.documents.iter().find(|(commands, _)| commands == row);
        found.unwrap_or_else(|| panic!("docs/output.md has no row {row}")).1.clone()
    }

    /// Holds a value against a document.
    pub(crate) fn check(&mut self, document: &Document, value: &Value, from: &str) {
        self.form(&document.form, value, from);
    }

    /// Holds a value against a table.
    pub(crate) fn check_table(&mut self, table: &str, value: &Value) {
        self.form(&Form::Table(table.to_owned()), value, table);
    }

    fn form(&mut self, form: &Form, value: &Value, path: &str) {
        match (form, value) {
            (Form::List(of), Value::Array(items)) => {
                items.iter().for_each(|item| self.form(of, item, &format!("{path}[]")));
            }
            (Form::Table(table), Value::Object(_)) => self.table(table, value, path),
            (form, value) => assert!(form.fits(value), "{path} is no {form:?}: {value}"),
        }
    }

    fn table(&mut self, table: &str, value: &Value, path: &str) {
        let known =
            self.tables.get(table).unwrap_or_else(|| panic!("docs/output.md has no table {table}")).clone();
        let object = value.as_object().unwrap();
        for name in object.keys() {
            assert!(
                known.contains_key(name),
                "{path}.{name} is not in the table `{table}` of docs/output.md"
            );
        }
        for (name, field) in known {
            let path = format!("{path}.{name}");
            let seen = match object.get(&name) {
                None => {
                    assert!(
                        field.is_optional,
                        "{path} is missing; docs/output.md says that it is always there"
                    );
                    "absent".to_owned()
                }
                Some(value) => {
                    let form = field.forms.iter().find(|form| form.fits(value));
                    let form = form.unwrap_or_else(|| panic!("{path} is none of {:?}: {value}", field.forms));
                    self.form(form, value, &path);
                    format!("{form:?}")
                }
            };
            self.seen.insert((table.to_owned(), name, seen));
        }
    }

    /// Answers how many documents and fields there are, once each form of each was seen.
    pub(crate) fn all_seen(&self) -> (usize, usize) {
        let unrun = self.documents.iter().filter(|(commands, _)| !self.run.contains(commands));
        let unrun: Vec<&String> = unrun.map(|(commands, _)| commands).collect();
        assert!(unrun.is_empty(), "no test runs {unrun:?}");
        let mut unseen = Vec::new();
        for (table, fields) in &self.tables {
            for (name, field) in fields {
                let is_sometimes = field.is_optional && (table.as_str(), name.as_str()) != SO_FAR_ALWAYS;
                let absent = is_sometimes.then(|| "absent".to_owned());
                let forms = field.forms.iter().map(|form| format!("{form:?}")).chain(absent);
                let keys = forms.map(|form| (table.clone(), name.clone(), form));
                unseen.extend(keys.filter(|key| !self.seen.contains(key)));
            }
        }
        assert!(unseen.is_empty(), "docs/output.md promises what no example has: {unseen:#?}");
        (self.documents.len(), self.tables.values().map(BTreeMap::len).sum())
    }
}

impl Field {
    fn parse(text: &str) -> Self {
        let (text, is_optional) = match text.strip_suffix(", optional") {
            Some(text) => (text, true),
            None => (text, false),
        };
        Self { forms: text.split(" or ").map(Form::parse).collect(), is_optional }
    }
}

impl Document {
    fn parse(text: &str) -> Self {
        match text.strip_prefix("records: ") {
            Some(record) => Self { form: Form::parse(record), is_stream: true },
            None => Self { form: Form::parse(text), is_stream: false },
        }
    }
}

impl Form {
    fn parse(text: &str) -> Self {
        match text {
            "text" => Self::Text,
            "time" => Self::Time,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            "map" => Self::Map,
            "null" => Self::Null,
            list if list.starts_with("list of ") => {
                Self::List(Box::new(Self::parse(&list["list of ".len()..])))
            }
            link => Self::Table(linked(link)),
        }
    }

    /// Whether a value may be one, as far as that can be told without looking into it.
    fn fits(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Text, Value::String(_))
            | (Self::Boolean, Value::Bool(_))
            | (Self::Null, Value::Null)
            | (Self::List(_), Value::Array(_))
            | (Self::Table(_), Value::Object(_)) => true,
            (Self::Time, Value::String(text)) => {
                text.len() >= 20 && text.as_bytes()[10] == b'T' && text.ends_with('Z')
            }
            (Self::Number, number) => number.as_i64().is_some_and(|number| number.unsigned_abs() < 1 << 53),
            (Self::Map, Value::Object(map)) => map.values().all(Value::is_string),
            (_, _) => false,
        }
    }
}

/// The table that `[table](#anchor)` leads to.
fn linked(text: &str) -> String {
    let (name, anchor) = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(')'))
        .and_then(|rest| rest.split_once("](#"))
        .unwrap_or_else(|| panic!("{text} is no type of docs/output.md"));
    assert_eq!(name.replace(' ', "-"), anchor, "the link leads elsewhere");
    name.to_owned()
}

/// The cells of a line of a table that is no heading.
fn cells(line: &str) -> Option<Vec<String>> {
    let cells: Vec<String> = line
        .strip_prefix("| ")?
        .trim_end_matches('|')
        .split(" | ")
        .map(|cell| cell.trim().to_owned())
        .collect();
    let is_heading = cells[0].starts_with("---") || ["field", "type", "command"].contains(&cells[0].as_str());
    (!is_heading).then_some(cells)
}
