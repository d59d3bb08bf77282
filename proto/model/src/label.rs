//! Labels: what users tell tunnels apart and put them together by.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::name::{InvalidName, LabelKey, LabelValue};

/// The labels of a tunnel, ordered by key.
pub type Labels = BTreeMap<LabelKey, LabelValue>;

/// One label, written `KEY=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Unique among the labels of a tunnel.
    pub key: LabelKey,
    /// May be empty.
    pub value: LabelValue,
}

impl From<Label> for (LabelKey, LabelValue) {
    fn from(Label { key, value }: Label) -> Self {
        (key, value)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

impl FromStr for Label {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid =
            || InvalidName { field: "labels", value: text.to_owned(), rule: "a label is KEY=VALUE" };
        let (key, value) = text.split_once('=').ok_or_else(invalid)?;
        Ok(Self { key: key.parse()?, value: value.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_read_back_as_written() {
        for text in ["env=prod", "team/owner=data-platform", "shared=", "a.b_c-d/e=1.2_3-4/5"] {
            assert_eq!(text.parse::<Label>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_label_is_refused_with_its_rule() {
        let long = format!("env={}", "x".repeat(64));
        for text in ["env", "=prod", "-env=prod", "env=pro d", "env=a=b", "env=ü", &long] {
            let error = text.parse::<Label>().unwrap_err();
            assert_eq!(error.field, "labels", "{text}: {error}");
        }
    }
}
