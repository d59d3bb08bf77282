//! Sign-ins: the name, which says whose token it is, and what people are shown.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::{InvalidName, Profile, Region, checked_name};
use crate::sign_in_state::SignInStatus;

checked_name! {
    /// One SSO token, however many profiles live on it: the name of an `[sso-session]`, or the start URL of profiles
    /// that have theirs inline, byte for byte. `https://…/start` and `https://…/start/` are two sign-ins, because
    /// they are two files to the AWS CLI and to every SDK. [`SignInName::form`] tells the two forms apart.
    SignInName, "sign_in", check_sign_in
}

/// A sign-in, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn {
    /// Its name.
    pub name: SignInName,
    /// Its start URL, as configured.
    pub start_url: String,
    /// The region of its IAM Identity Center instance.
    pub region: Region,
    /// The profiles that use it, ordered by name.
    pub profiles: Vec<SignInProfile>,
    /// What is true of it now.
    pub status: SignInStatus,
}

/// A profile that uses a sign-in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignInProfile {
    /// The profile.
    pub profile: Profile,
    /// The account that its credentials are for; absent where it only has a token.
    pub account: Option<String>,
    /// The permission set, likewise.
    pub role: Option<String>,
}

/// A sign-in's name, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInForm<'a> {
    /// An `[sso-session]` of that name.
    Session(&'a str),
    /// Profiles with this `sso_start_url` and no `sso_session`.
    StartUrl(&'a str),
}

/// Names of sessions have no documented limit; a start URL ends up as a parameter of at most 1024 characters.
const MAX_LENGTH: usize = 1024;

impl SignInName {
    /// Which of the two forms it has. A session whose name is an address shares its file with the sign-in of that
    /// address, and so is that sign-in.
    pub fn form(&self) -> SignInForm<'_> {
        if self.0.contains("://") { SignInForm::StartUrl(&self.0) } else { SignInForm::Session(&self.0) }
    }

    /// The text whose SHA-1 is the name of the token's file in `~/.aws/sso/cache`.
    pub fn cache_key(&self) -> &str {
        &self.0
    }
}

fn check_sign_in(text: &str) -> Result<(), &'static str> {
    match text.chars().count() {
        0 => Err("it is empty"),
        1..=MAX_LENGTH if text.chars().any(char::is_control) => Err("control characters cannot stand in it"),
        1..=MAX_LENGTH => Ok(()),
        _ => Err("it has more than 1024 characters"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_forms_are_told_apart() {
        let corp: SignInName = "corp".parse().unwrap();
        assert_eq!(corp.form(), SignInForm::Session("corp"));
        let url: SignInName = "https://d-1234567890.awsapps.com/start".parse().unwrap();
        assert_eq!(url.form(), SignInForm::StartUrl("https://d-1234567890.awsapps.com/start"));
    }

    #[test]
    fn nothing_is_normalised() {
        let urls =
            ["https://x.awsapps.com/start", "https://x.awsapps.com/start/", "https://x.awsapps.com/start/#"];
        for url in urls {
            let name: SignInName = url.parse().unwrap();
            assert_eq!((name.cache_key(), name.to_string().as_str()), (url, url));
        }
    }

    #[test]
    fn what_could_be_no_name_is_refused_with_its_rule() {
        for text in ["", "a\nb", &"x".repeat(1025)] {
            assert_eq!(text.parse::<SignInName>().unwrap_err().field, "sign_in", "{text:?}");
        }
    }
}
