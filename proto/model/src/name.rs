//! Names that users type: of tunnels, profiles and regions; `target` has those of targets. Parsed once, valid ever after.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A name that breaks its grammar. The text says which rule, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field} \"{value}\" is not valid: {rule}")]
pub struct InvalidName {
    /// What the name is of, as the API calls the field: `name`, `profile`, `region`, `target`, `labels`, `principal`,
    /// `sign_in`, `account`, `role`, `start_url`, `scopes` or `output`.
    pub field: &'static str,
    /// What was written.
    pub value: String,
    /// The rule that it breaks, as a sentence part.
    pub rule: &'static str,
}

/// Declares a string newtype that can be had only through its grammar.
macro_rules! checked_name {
    ($(#[$doc:meta])* $name:ident, $field:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match $check(text) {
                    Ok(()) => Ok(Self(text.to_owned())),
                    Err(rule) => Err(InvalidName { field: $field, value: text.to_owned(), rule }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

pub(crate) use checked_name;

checked_name! {
    /// The name of a tunnel: `[a-z0-9][a-z0-9-]{0,62}`, which is a DNS label and an ssh `Host`.
    TunnelName, "name", check_tunnel_name
}

checked_name! {
    /// The name of a profile in `~/.aws/config` or `~/.aws/credentials`: 1 to 256 characters, none of them a
    /// control character or a bracket.
    Profile, "profile", check_profile
}

checked_name! {
    /// An AWS region such as `eu-west-1` or `us-gov-east-1`. The grammar is checked here; whether AWS has a region
    /// of that name only its endpoint can tell.
    Region, "region", check_region
}

checked_name! {
    /// The key of a label: 1 to 63 characters, letters, digits, `.`, `_`, `-` and `/`, the first a letter or a digit.
    LabelKey, "labels", check_label_key
}

checked_name! {
    /// The value of a label: up to 63 characters, letters, digits, `.`, `_`, `-` and `/`; may be empty.
    LabelValue, "labels", check_label_value
}

fn check_label_key(text: &str) -> Result<(), &'static str> {
    match text.as_bytes() {
        [] => Err("the key is empty"),
        [first, ..] if !first.is_ascii_alphanumeric() => Err("the key must begin with a letter or a digit"),
        _ => check_label_value(text),
    }
}

fn check_label_value(text: &str) -> Result<(), &'static str> {
    let valid_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
    if text.len() > 63 {
        Err("it has more than 63 characters")
    } else if text.bytes().all(valid_byte) {
        Ok(())
    } else {
        Err("use only letters, digits, \".\", \"_\", \"-\" and \"/\"")
    }
}

fn check_tunnel_name(text: &str) -> Result<(), &'static str> {
    let valid_byte = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    match text.as_bytes() {
        [] => Err("it is empty"),
        [b'-', ..] => Err("it must begin with a letter or a digit"),
        bytes if bytes.len() > 63 => Err("it has more than 63 characters"),
        bytes if bytes.iter().all(valid_byte) => Ok(()),
        _ => Err("use only a to z, 0 to 9 and \"-\""),
    }
}

fn check_profile(text: &str) -> Result<(), &'static str> {
    match text.chars().count() {
        0 => Err("it is empty"),
        1..=256 if text.chars().any(|c| c.is_control() || c == '[' || c == ']') => {
            Err("control characters and brackets cannot stand in a profile name")
        }
        1..=256 => Ok(()),
        _ => Err("it has more than 256 characters"),
    }
}

fn check_region(text: &str) -> Result<(), &'static str> {
    const RULE: &str = "a region looks like \"eu-west-1\"";
    let mut parts = text.split('-');
    let geography = parts.next().unwrap_or_default();
    let number = parts.next_back().unwrap_or_default();
    let lowercase = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    let middle: Vec<&str> = parts.collect();
    let well_formed = (2..=4).contains(&geography.len())
        && lowercase(geography)
        && (1..=2).contains(&middle.len())
        && middle.iter().all(|part| lowercase(part) && part.len() <= 16)
        && (1..=2).contains(&number.len())
        && number.bytes().all(|byte| byte.is_ascii_digit());
    if well_formed { Ok(()) } else { Err(RULE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts<T: FromStr<Err = InvalidName>>(texts: &[&str]) {
        for text in texts {
            assert!(text.parse::<T>().is_ok(), "{text:?} should be accepted");
        }
    }

    fn refuses<T: FromStr<Err = InvalidName>>(texts: &[&str]) {
        for text in texts {
            assert!(text.parse::<T>().is_err(), "{text:?} should be refused");
        }
    }

    #[test]
    fn tunnel_names_are_dns_labels() {
        let longest = "a".repeat(63);
        accepts::<TunnelName>(&["db", "0", "prod-db-1", &longest]);
        let too_long = "a".repeat(64);
        refuses::<TunnelName>(&["", "-db", "DB", "db_1", "db.prod", "dß", &too_long]);
    }

    #[test]
    fn profile_names_are_what_the_aws_cli_takes() {
        accepts::<Profile>(&["default", "Prod Admin", "team/dev@eu"]);
        refuses::<Profile>(&["", "a\nb", "a]b"]);
    }

    #[test]
    fn regions_have_two_or_three_words_and_a_number() {
        accepts::<Region>(&["eu-west-1", "us-gov-east-1", "cn-north-1", "eusc-de-east-1", "ap-southeast-12"]);
        refuses::<Region>(&[
            "",
            "europe",
            "eu-west",
            "eu-west-a",
            "EU-WEST-1",
            "eu--1",
            "eu-west-1 ",
            "eu/west-1",
        ]);
    }
}
