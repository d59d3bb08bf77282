//! What is kept, as bytes: JSON of our own, with a version.
//!
//! It says whose it is, so that a file that was copied to another name, or an item that somebody edited, is not taken for
//! another sign-in's.

use std::borrow::Cow;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use serde::{Deserialize, Serialize};
use stormtunnel_engine::sign_in::ports::SignInSite;
use stormtunnel_engine::sign_in::token::{OidcClient, RefreshGrant, SsoToken, StoredClient, StoredToken};
use stormtunnel_model::{Fault, SignInName, Timestamp};
use thiserror::Error;

/// The version that is written. One that does not know it must not guess.
const VERSION: u32 = 1;

/// Why bytes are of no use. Nothing of them is in it: the parser's own words would quote secrets.
#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum Unreadable {
    /// Not what is written here.
    #[error("it is damaged (line {line}, column {column})")]
    Damaged {
        /// Where, from 1.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// A newer program wrote it.
    #[error("a newer StormTunnel wrote it (version {found}, this one knows {VERSION})")]
    Version {
        /// What it says.
        found: u32,
    },
    /// Its region is none.
    #[error("its region is none")]
    Region,
    /// It was kept for another sign-in.
    #[error("it belongs to another sign-in")]
    Foreign,
}

impl From<serde_json::Error> for Unreadable {
    fn from(error: serde_json::Error) -> Self {
        Self::Damaged { line: error.line(), column: error.column() }
    }
}

/// What every version has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct TokenForm<'a> {
    version: u32,
    #[serde(borrow)]
    sign_in: Cow<'a, str>,
    #[serde(borrow)]
    site: SiteForm<'a>,
    #[serde(borrow)]
    access_token: Cow<'a, str>,
    /// Milliseconds since the Unix epoch, as everywhere here.
    expires_at: u64,
    #[serde(borrow)]
    refresh: Option<RefreshForm<'a>>,
    shared: bool,
    signed_out: bool,
}

/// What it was issued for.
#[derive(Serialize, Deserialize)]
struct SiteForm<'a> {
    #[serde(borrow)]
    start_url: Cow<'a, str>,
    #[serde(borrow)]
    region: Cow<'a, str>,
    scopes: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct RefreshForm<'a> {
    #[serde(borrow)]
    token: Cow<'a, str>,
    #[serde(borrow)]
    client: ClientForm<'a>,
}

#[derive(Serialize, Deserialize)]
struct RegistrationForm<'a> {
    version: u32,
    #[serde(borrow)]
    sign_in: Cow<'a, str>,
    #[serde(borrow)]
    site: SiteForm<'a>,
    #[serde(borrow)]
    client: ClientForm<'a>,
    registered_at: u64,
}

#[derive(Serialize, Deserialize)]
struct ClientForm<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    secret: Cow<'a, str>,
    expires_at: u64,
}

pub(super) fn write_token(name: &SignInName, stored: &StoredToken) -> Result<SecretSlice<u8>, Fault> {
    let token = &stored.token;
    write(&TokenForm {
        version: VERSION,
        sign_in: name.as_str().into(),
        site: SiteForm::of(&stored.site),
        access_token: token.access.expose_secret().into(),
        expires_at: token.expires_at.as_millis(),
        refresh: token.refresh.as_ref().map(RefreshForm::of),
        shared: stored.shared,
        signed_out: stored.signed_out,
    })
}

pub(super) fn read_token(bytes: &[u8], name: &SignInName) -> Result<StoredToken, Unreadable> {
    check_version(bytes)?;
    let form: TokenForm<'_> = serde_json::from_slice(bytes)?;
    check_owner(&form.sign_in, name)?;
    let site = form.site.site(name)?;
    let token = SsoToken {
        access: secret(form.access_token),
        expires_at: Timestamp::from_millis(form.expires_at),
        refresh: form.refresh.map(RefreshForm::grant),
    };
    let (shared, signed_out) = (form.shared, form.signed_out);
    Ok(StoredToken { token: Arc::new(token), site, shared, signed_out })
}

pub(super) fn write_client(name: &SignInName, stored: &StoredClient) -> Result<SecretSlice<u8>, Fault> {
    write(&RegistrationForm {
        version: VERSION,
        sign_in: name.as_str().into(),
        site: SiteForm::of(&stored.site),
        client: ClientForm::of(&stored.client),
        registered_at: stored.registered_at.as_millis(),
    })
}

pub(super) fn read_client(bytes: &[u8], name: &SignInName) -> Result<StoredClient, Unreadable> {
    check_version(bytes)?;
    let form: RegistrationForm<'_> = serde_json::from_slice(bytes)?;
    check_owner(&form.sign_in, name)?;
    let site = form.site.site(name)?;
    let registered_at = Timestamp::from_millis(form.registered_at);
    Ok(StoredClient { client: form.client.client(), site, registered_at })
}

fn write(form: &impl Serialize) -> Result<SecretSlice<u8>, Fault> {
    let bytes = serde_json::to_vec(form).map_err(|error| Fault::internal(error.to_string()))?;
    Ok(bytes.into())
}

fn check_version(bytes: &[u8]) -> Result<(), Unreadable> {
    match serde_json::from_slice(bytes)? {
        Versioned { version: VERSION } => Ok(()),
        Versioned { version: found } => Err(Unreadable::Version { found }),
    }
}

fn check_owner(found: &str, name: &SignInName) -> Result<(), Unreadable> {
    if found == name.as_str() { Ok(()) } else { Err(Unreadable::Foreign) }
}

fn secret(text: Cow<'_, str>) -> SecretString {
    text.into_owned().into()
}

impl<'a> SiteForm<'a> {
    fn of(site: &'a SignInSite) -> Self {
        Self {
            start_url: site.start_url.as_str().into(),
            region: site.region.as_str().into(),
            scopes: site.scopes.clone(),
        }
    }

    fn site(&self, name: &SignInName) -> Result<Arc<SignInSite>, Unreadable> {
        Ok(Arc::new(SignInSite {
            name: name.clone(),
            start_url: self.start_url.clone().into_owned(),
            region: self.region.parse().map_err(|_| Unreadable::Region)?,
            scopes: self.scopes.clone(),
        }))
    }
}

impl<'a> RefreshForm<'a> {
    fn of(grant: &'a RefreshGrant) -> Self {
        Self { token: grant.token.expose_secret().into(), client: ClientForm::of(&grant.client) }
    }

    fn grant(self) -> RefreshGrant {
        RefreshGrant { token: secret(self.token), client: self.client.client() }
    }
}

impl<'a> ClientForm<'a> {
    fn of(client: &'a OidcClient) -> Self {
        Self {
            id: client.id.as_str().into(),
            secret: client.secret.expose_secret().into(),
            expires_at: client.expires_at.as_millis(),
        }
    }

    fn client(self) -> Arc<OidcClient> {
        Arc::new(OidcClient {
            id: self.id.into_owned(),
            secret: secret(self.secret),
            expires_at: Timestamp::from_millis(self.expires_at),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 1, byte for byte: what was kept by it must be read for ever.
    const TOKEN: &str = r#"{"version":1,"sign_in":"corp","site":{"start_url":"https://x.awsapps.com/start","region":"eu-west-1","scopes":["sso:account:access"]},"access_token":"a","expires_at":5000,"refresh":{"token":"r","client":{"id":"i","secret":"s","expires_at":9000}},"shared":true,"signed_out":false}"#;
    const CLIENT: &str = r#"{"version":1,"sign_in":"corp","site":{"start_url":"https://x.awsapps.com/start","region":"eu-west-1","scopes":[]},"client":{"id":"i","secret":"s","expires_at":9000},"registered_at":1000}"#;

    fn corp() -> SignInName {
        "corp".parse().unwrap()
    }

    fn refusal(text: &str) -> Unreadable {
        read_token(text.as_bytes(), &corp()).map(|_token| ()).unwrap_err()
    }

    #[test]
    fn the_first_version_reads_back_as_written() {
        let token = read_token(TOKEN.as_bytes(), &corp()).unwrap();
        assert_eq!(write_token(&corp(), &token).unwrap().expose_secret(), TOKEN.as_bytes());
        let client = read_client(CLIENT.as_bytes(), &corp()).unwrap();
        assert_eq!(write_client(&corp(), &client).unwrap().expose_secret(), CLIENT.as_bytes());
    }

    #[test]
    fn every_beginning_of_it_is_damaged() {
        for length in 0..TOKEN.len() {
            let why = refusal(&TOKEN[..length]);
            assert!(matches!(why, Unreadable::Damaged { .. }), "{length}: {why:?}");
        }
    }

    #[test]
    fn what_is_refused_is_not_quoted() {
        let secret = TOKEN.replace("5000", "\"SECRET\"");
        let why = format!("{0} {0:?}", refusal(&secret));
        assert!(why.contains("line 1") && !why.contains("SECRET"), "{why}");
    }

    #[test]
    fn a_newer_version_is_not_guessed_at() {
        let newer = r#"{"version":2,"sealed":"x"}"#;
        assert_eq!(refusal(newer), Unreadable::Version { found: 2 });
    }

    #[test]
    fn another_sign_ins_token_is_not_taken() {
        assert_eq!(refusal(&TOKEN.replace("corp", "Corp")), Unreadable::Foreign);
    }
}
