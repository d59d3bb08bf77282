//! Where SSO tokens are kept, as the user chooses it.

use std::fmt;
use std::str::FromStr;

use crate::name::InvalidName;

/// Where SSO tokens and client registrations are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KeyStoreChoice {
    /// The system's own: the Keychain on macOS; elsewhere the Secret Service, or files where there is none.
    #[default]
    Auto,
    /// The login keychain of macOS.
    Keychain,
    /// The Secret Service of a Linux desktop.
    SecretService,
    /// Files that only the user can read.
    File,
    /// Nowhere: they are lost when the daemon ends.
    Memory,
}

impl KeyStoreChoice {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Auto, Self::Keychain, Self::SecretService, Self::File, Self::Memory];
    /// As they are written.
    pub const NAMES: &[&str] = &[
        Self::Auto.name(),
        Self::Keychain.name(),
        Self::SecretService.name(),
        Self::File.name(),
        Self::Memory.name(),
    ];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Keychain => "keychain",
            Self::SecretService => "secret-service",
            Self::File => "file",
            Self::Memory => "memory",
        }
    }
}

impl fmt::Display for KeyStoreChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for KeyStoreChoice {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|choice| choice.name() == text).ok_or_else(|| InvalidName {
            field: "key_store",
            value: text.to_owned(),
            rule: "write \"auto\", \"keychain\", \"secret-service\", \"file\" or \"memory\"",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_reads_back_and_is_named() {
        let error = "Keychain".parse::<KeyStoreChoice>().unwrap_err();
        for choice in KeyStoreChoice::ALL {
            assert_eq!(choice.to_string().parse(), Ok(choice));
            assert!(KeyStoreChoice::NAMES.contains(&choice.name()), "{choice}");
            assert!(error.rule.contains(&format!("\"{choice}\"")), "{error}");
        }
    }
}
