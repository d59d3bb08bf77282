//! The INI dialect of the AWS CLI: that of Python's `RawConfigParser` with nested blocks, one level deep.
//!
//! What the CLI would refuse, and the whole file with it, is a [`ProblemKind`] here and hides nothing but itself. Where
//! two things cannot both be right the later one counts, as in the SDKs.

mod lines;
mod meaning;
mod reader;
pub(crate) mod shell;

use std::collections::BTreeMap;
use std::ops::Range;

use secrecy::{ExposeSecret as _, SecretString};

pub(crate) use self::lines::{Line, lines, trim};
pub(crate) use self::meaning::{Kind, Meaning, meaning};
pub(crate) use self::reader::read;
use crate::problem::ProblemKind;

/// A file, taken apart. No `Debug`: what stands in it may be a secret.
pub(crate) struct Document {
    /// The sections, each once, in the order in which they first appear; without `[DEFAULT]`.
    pub(crate) sections: Vec<Section>,
    /// What is wrong, with the index of the line.
    pub(crate) problems: Vec<(usize, ProblemKind)>,
}

/// A section with all that stands under its name, and what `[DEFAULT]` has for it. No `Debug`, as [`Document`].
pub(crate) struct Section {
    /// What stands between the brackets.
    pub(crate) header: String,
    /// Index of the line where it first begins.
    pub(crate) line: usize,
    /// Index of the last line that is neither blank nor a comment.
    pub(crate) last: usize,
    /// By key, which is in lower case.
    pub(crate) entries: BTreeMap<String, Entry>,
}

/// A key's value. No `Debug`, as [`Document`].
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) value: Value,
    /// Indexes of its lines, from the one with the key to the last that continues it.
    pub(crate) lines: Range<usize>,
    /// It stands in `[DEFAULT]` and not in the section.
    pub(crate) inherited: bool,
}

/// What a key is set to. No `Debug`, as [`Document`].
#[derive(Clone)]
pub(crate) enum Value {
    /// A text; its continuation lines are joined by LF.
    Text(SecretString),
    /// Keys and values, indented under a key without a value of its own.
    Block(BTreeMap<String, SecretString>),
}

impl Value {
    /// The text, unless it is a block.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.expose_secret()),
            Self::Block(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
