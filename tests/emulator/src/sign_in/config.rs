//! Who can sign in where, how long what was issued lasts, and how the service and the user behave.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// An instance of IAM Identity Center, with the one user who signs in there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portal {
    /// Its start URL. A login compares it without the fragment and the slash at its end.
    pub start_url: String,
    /// Name of the user; it ends the ARNs of the roles.
    pub user: String,
    /// What is assigned to the user.
    pub accounts: Vec<Account>,
}

/// An account with the permission sets that the user has there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Twelve digits.
    pub id: String,
    /// As shown in lists; the service leaves out what is not known.
    pub name: Option<String>,
    /// Names of the permission sets.
    pub roles: Vec<String>,
}

impl Portal {
    /// A portal with one user.
    #[must_use]
    pub fn new(start_url: impl Into<String>, user: impl Into<String>) -> Self {
        Self { start_url: start_url.into(), user: user.into(), accounts: Vec::new() }
    }

    /// The same portal with another account.
    #[must_use]
    pub fn account(mut self, id: impl Into<String>, roles: &[&str]) -> Self {
        let (id, roles) = (id.into(), roles.iter().map(|role| (*role).to_owned()).collect());
        self.accounts.push(Account { name: Some(format!("Account {id}")), id, roles });
        self
    }

    /// Who the user is with the credentials of a role, as GetCallerIdentity tells it.
    #[must_use]
    pub fn principal(&self, account: &str, role: &str) -> String {
        let suffix = &hex::encode(Sha256::digest(format!("{account}/{role}")))[..16];
        format!("arn:aws:sts::{account}:assumed-role/AWSReservedSSO_{role}_{suffix}/{}", self.user)
    }
}

/// How long what is issued from now on lasts, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lifetimes {
    /// Registration of a client. AWS: about 90 days.
    pub registration_s: u32,
    /// Device code. AWS: about ten minutes.
    pub device_code_s: u32,
    /// Authorization code.
    pub authorization_code_s: u32,
    /// Access token that can be refreshed. One that cannot lasts as long as its login.
    pub access_token_s: u32,
    /// Refresh token.
    pub refresh_token_s: u32,
    /// A login, whatever is refreshed meanwhile: the portal's session. AWS: 8 hours unless set.
    pub login_s: u32,
    /// Credentials of a role from the portal and from the metadata services.
    pub role_credentials_s: u32,
    /// Credentials from AssumeRole, whatever was asked for; absent: as asked for.
    pub assumed_role_s: Option<u32>,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            registration_s: 90 * 24 * 3600,
            device_code_s: 600,
            authorization_code_s: 60,
            access_token_s: 3600,
            refresh_token_s: 90 * 24 * 3600,
            login_s: 8 * 3600,
            role_credentials_s: 3600,
            assumed_role_s: None,
        }
    }
}

/// What the user does when asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consent {
    /// Agrees as soon as the page is open.
    Agrees,
    /// Thinks until [`crate::SignInOrder::Decide`].
    Waits,
    /// Refuses as soon as the page is open.
    Refuses,
}

/// What a refresh does to the refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    /// It is used up, and the answer holds the next one.
    OneUse,
    /// It stays, and the answer holds none.
    Stays,
}

/// How the service and the user behave. Where the real service's rule is unknown, the default is the strict one, which
/// finds more mistakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignInHabits {
    /// What the user does on a page of the browser.
    pub consent: Consent,
    /// The user agrees to a device code after so many polls without any browser; absent: never.
    pub agrees_after_polls: Option<u32>,
    /// Seconds between two polls, told to the client.
    pub interval_s: u32,
    /// Answer polls that come earlier with `slow_down` and make the interval 5 s longer. The first one is free.
    pub slow_down: bool,
    /// What a refresh does to the refresh token.
    pub rotation: Rotation,
    /// For so long a used refresh token is accepted again; 0: never.
    pub grace_ms: u32,
    /// A used refresh token ends the login that it belongs to, as a stolen one would.
    pub replay_ends_login: bool,
}

impl Default for SignInHabits {
    fn default() -> Self {
        Self {
            consent: Consent::Agrees,
            agrees_after_polls: None,
            interval_s: 5,
            slow_down: true,
            rotation: Rotation::OneUse,
            grace_ms: 0,
            replay_ends_login: false,
        }
    }
}
