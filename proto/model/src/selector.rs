//! Selectors: which tunnels a command is about, by their labels.

use std::fmt;
use std::str::FromStr;

use crate::label::Labels;
use crate::name::{InvalidName, LabelKey, LabelValue};

/// What the labels of a tunnel have to be, all at once. Written as for `kubectl -l`: `KEY=VALUE`, `KEY!=VALUE`, `KEY` and
/// `!KEY`, with commas between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

/// What one label has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    Is(LabelKey, LabelValue),
    /// A tunnel without that key fits as well.
    IsNot(LabelKey, LabelValue),
    Exists(LabelKey),
    IsMissing(LabelKey),
}

impl Selector {
    /// Whether a tunnel with these labels is meant.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| requirement.is_met_by(labels))
    }
}

impl Requirement {
    fn is_met_by(&self, labels: &Labels) -> bool {
        match self {
            Self::Is(key, value) => labels.get(key) == Some(value),
            Self::IsNot(key, value) => labels.get(key) != Some(value),
            Self::Exists(key) => labels.contains_key(key),
            Self::IsMissing(key) => !labels.contains_key(key),
        }
    }
}

impl FromStr for Requirement {
    type Err = InvalidName;

    /// `==` is another way to write `=`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some((key, value)) = text.split_once("!=") {
            return Ok(Self::IsNot(key.parse()?, value.parse()?));
        }
        if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
            return Ok(Self::Is(key.parse()?, value.parse()?));
        }
        match text.strip_prefix('!') {
            Some(key) => Ok(Self::IsMissing(key.parse()?)),
            None => Ok(Self::Exists(text.parse()?)),
        }
    }
}

impl FromStr for Selector {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.split(',').map(str::parse).collect::<Result<_, _>>()?))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(key, value) => write!(f, "{key}={value}"),
            Self::IsNot(key, value) => write!(f, "{key}!={value}"),
            Self::Exists(key) => write!(f, "{key}"),
            Self::IsMissing(key) => write!(f, "!{key}"),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label::Label;

    fn labels(texts: &[&str]) -> Labels {
        texts.iter().map(|text| text.parse::<Label>().unwrap().into()).collect()
    }

    #[test]
    fn all_requirements_have_to_be_met() {
        let prod = labels(&["env=prod", "team=data"]);
        for text in
            ["env=prod", "env==prod", "env!=dev", "owner!=ada", "team", "!owner", "env=prod,team,!owner"]
        {
            assert!(text.parse::<Selector>().unwrap().matches(&prod), "{text}");
        }
        for text in ["env=dev", "env!=prod", "owner", "!team", "env=prod,owner", "env=", "owner=ada"] {
            assert!(!text.parse::<Selector>().unwrap().matches(&prod), "{text}");
        }
        assert!("shared=".parse::<Selector>().unwrap().matches(&labels(&["shared="])));
    }

    #[test]
    fn selectors_read_back_as_written() {
        for text in ["env=prod", "env!=prod,team,!owner", "team/owner=data-platform", "shared="] {
            assert_eq!(text.parse::<Selector>().unwrap().to_string(), text);
        }
        assert_eq!("a==b".parse::<Selector>().unwrap().to_string(), "a=b");
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in ["", ",", "env=prod,", "=prod", "!", "!=x", "env=pro d", "env=a=b", "env in (a,b)"] {
            let error = text.parse::<Selector>().unwrap_err();
            assert_eq!(error.field, "labels", "{text}: {error}");
        }
    }
}
