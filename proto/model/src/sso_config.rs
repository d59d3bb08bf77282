//! What `~/.aws/config` is to say of a sign-in and of profiles that use it, and what was written.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::{InvalidName, Profile, Region, checked_name};
use crate::sign_in::SignInName;

checked_name! {
    /// The number of an AWS account: twelve digits.
    AccountId, "account", check_account
}

checked_name! {
    /// The name of a permission set, which is what IAM Identity Center calls a role: 1 to 128 characters of `A-Z`, `a-z`,
    /// `0-9` and `+=,.@_-`.
    RoleName, "role", check_role
}

checked_name! {
    /// The address of an access portal: a URL of at most 1024 characters.
    StartUrl, "start_url", check_start_url
}

checked_name! {
    /// A scope that an SSO login asks for, such as `sso:account:access`: 1 to 256 characters, none of them a comma, a blank
    /// or a control character.
    SsoScope, "scopes", check_scope
}

checked_name! {
    /// A form of the AWS CLI's output: `json`, `yaml`, `yaml-stream`, `text`, `table` or `off`.
    AwsOutput, "output", check_output
}

/// The scope that the AWS CLI gives a new `[sso-session]`: with it tokens can be renewed.
pub const DEFAULT_SCOPE: &str = "sso:account:access";

/// An account in which a person has roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its number, twelve digits.
    pub id: String,
    /// Its name; AWS leaves out what it does not know.
    pub name: Option<String>,
    /// The e-mail address of its owner; likewise.
    pub email: Option<String>,
}

/// What `~/.aws/config` is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SsoConfig {
    /// The sign-in.
    pub session: SsoSession,
    /// Profiles that use it, each with a name of its own; may be none.
    pub profiles: Vec<SsoProfile>,
    /// Replace what is there already and says something else.
    pub overwrite: bool,
}

/// An `[sso-session]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SsoSession {
    /// Its name, which is none of a start URL.
    pub name: SignInName,
    /// `sso_start_url`
    pub start_url: StartUrl,
    /// `sso_region`
    pub region: Region,
    /// `sso_registration_scopes`; none leave it as it is.
    pub scopes: Vec<SsoScope>,
}

/// A profile with a role of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SsoProfile {
    /// Its name.
    pub name: Profile,
    /// `sso_account_id`
    pub account: AccountId,
    /// `sso_role_name`
    pub role: RoleName,
    /// `region`; none leaves it as it is.
    pub region: Option<Region>,
    /// `output`; likewise.
    pub output: Option<AwsOutput>,
}

/// What became of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SsoConfigured {
    /// Its path.
    pub file: String,
    /// The path of a copy of what it was; none where nothing was changed, or there was no file.
    pub backup: Option<String>,
    /// What became of each section asked for: the session first, then the profiles in the order asked.
    pub sections: Vec<ConfiguredSection>,
}

/// What became of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredSection {
    /// Which one.
    pub section: SsoSection,
    /// What.
    pub change: SectionChange,
}

/// A section of the config file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SsoSection {
    /// `[sso-session NAME]`
    Session(SignInName),
    /// `[profile NAME]`, or `[default]`.
    Profile(Profile),
}

/// What can become of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionChange {
    /// It is new.
    Added,
    /// It was there, and says something else or more now.
    Changed,
    /// It said all of it already.
    Unchanged,
}

impl fmt::Display for SsoSection {
    /// As its header reads to people; the one in the file may have quotes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(name) => write!(f, "[sso-session {name}]"),
            Self::Profile(name) if name.as_str() == "default" => f.write_str("[default]"),
            Self::Profile(name) => write!(f, "[profile {name}]"),
        }
    }
}

fn check_account(text: &str) -> Result<(), &'static str> {
    let valid = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if valid { Ok(()) } else { Err("an account has twelve digits") }
}

fn check_role(text: &str) -> Result<(), &'static str> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
    match text.len() {
        0 => Err("it is empty"),
        1..=128 if text.bytes().all(valid) => Ok(()),
        1..=128 => Err("use only letters, digits and \"+=,.@_-\": it is the name of a permission set"),
        _ => Err("it has more than 128 characters"),
    }
}

fn check_start_url(text: &str) -> Result<(), &'static str> {
    let is_url =
        ["https://", "http://"].iter().any(|scheme| text.len() > scheme.len() && text.starts_with(scheme));
    if !is_url {
        Err("it begins with https://")
    } else if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        Err("no blanks can stand in it")
    } else if text.chars().count() > 1024 {
        Err("it has more than 1024 characters")
    } else {
        Ok(())
    }
}

fn check_scope(text: &str) -> Result<(), &'static str> {
    match text.chars().count() {
        0 => Err("it is empty"),
        1..=256 if text.chars().any(|c| c == ',' || c.is_whitespace() || c.is_control()) => {
            Err("no commas and no blanks can stand in it")
        }
        1..=256 => Ok(()),
        _ => Err("it has more than 256 characters"),
    }
}

fn check_output(text: &str) -> Result<(), &'static str> {
    let known = ["json", "yaml", "yaml-stream", "text", "table", "off"];
    if known.contains(&text) { Ok(()) } else { Err("use json, yaml, yaml-stream, text, table or off") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule<T: FromStr<Err = InvalidName>>(text: &str) -> Option<&'static str> {
        text.parse::<T>().err().map(|error| error.rule)
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_rule() {
        for text in ["", "12345678901", "1234567890123", "12345678901x", "１23456789012"] {
            assert_eq!(rule::<AccountId>(text), Some("an account has twelve digits"), "{text}");
        }
        for text in ["", "Power User", "Ädmin", &"x".repeat(129)] {
            assert!(rule::<RoleName>(text).is_some(), "{text}");
        }
        for text in [
            "",
            "x.awsapps.com/start",
            "https://",
            "https://x y",
            "ftp://x",
            &format!("https://{}", "x".repeat(1024)),
        ] {
            assert!(rule::<StartUrl>(text).is_some(), "{text}");
        }
        for text in ["", "a b", "a,b", "a\u{7}", &"x".repeat(257)] {
            assert!(rule::<SsoScope>(text).is_some(), "{text}");
        }
        assert!(rule::<AwsOutput>("JSON").is_some_and(|rule| rule.contains("yaml-stream")));
    }

    #[test]
    fn what_aws_gives_is_taken() {
        assert_eq!(rule::<AccountId>("000000000000"), None);
        assert_eq!(rule::<RoleName>("Power+User=1,2.3@4_5-6"), None);
        assert_eq!(rule::<StartUrl>("https://d-1234567890.awsapps.com/start/#"), None);
        assert_eq!(rule::<SsoScope>(DEFAULT_SCOPE), None);
        assert_eq!(rule::<AwsOutput>("yaml-stream"), None);
    }

    #[test]
    fn sections_read_as_their_headers() {
        let profile = |name: &str| SsoSection::Profile(name.parse().unwrap()).to_string();
        assert_eq!(
            (profile("default"), profile("my dev")),
            ("[default]".to_owned(), "[profile my dev]".to_owned())
        );
        assert_eq!(SsoSection::Session("corp".parse().unwrap()).to_string(), "[sso-session corp]");
    }
}
