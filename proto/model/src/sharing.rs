//! What other tools get of a login.

use std::fmt;
use std::str::FromStr;

use crate::name::InvalidName;

/// What the AWS CLI and the SDKs get through `~/.aws/sso/cache`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// The token and what renews it.
    #[default]
    Full,
    /// The token alone: nobody else can renew it.
    AccessOnly,
    /// Nothing; and nothing is taken from there.
    Off,
}

impl Sharing {
    /// All names, in the order of the variants.
    pub const NAMES: &'static [&'static str] = &["full", "access-only", "off"];

    /// Its name in the settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::AccessOnly => "access-only",
            Self::Off => "off",
        }
    }
}

impl fmt::Display for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Sharing {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let all = [Self::Full, Self::AccessOnly, Self::Off];
        all.into_iter().find(|sharing| sharing.name() == name).ok_or_else(|| InvalidName {
            field: "share_with_aws_cli",
            value: name.to_owned(),
            rule: "it is full, access-only or off",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_parsed_and_shown() {
        for name in Sharing::NAMES {
            assert_eq!(name.parse::<Sharing>().unwrap().to_string(), *name);
        }
        assert!("some".parse::<Sharing>().is_err());
    }
}
