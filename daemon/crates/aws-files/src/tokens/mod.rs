//! The cache of SSO tokens, as the AWS CLI and the SDKs share it.
//!
//! Reading is lenient, because five tools write these files and some write in place: a file that cannot be read may be
//! whole a moment later. Writing is strict: what is written here all of them can read.

mod directory;
mod names;
mod registration;
pub(crate) mod time;

use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use serde_json::{Map, Value};
use stormtunnel_model::{Region, Timestamp};
use thiserror::Error;

pub use self::directory::{CacheDirectory, CacheError, CachedFile};
pub use self::names::{file_name, sign_in_of};
pub use self::registration::{Registration, RegistrationKey};
use crate::profiles::SignIn;

/// The names of what is known of a token.
const KNOWN: [&str; 8] = [
    "accessToken",
    "clientId",
    "clientSecret",
    "expiresAt",
    "refreshToken",
    "region",
    "registrationExpiresAt",
    "startUrl",
];

/// A token with what renews it. No `Debug`.
#[derive(Clone)]
pub struct Token {
    /// What the portal wants to see.
    pub access_token: SecretString,
    /// By the clock of whoever wrote it. A hint: the portal decides.
    pub expires_at: Timestamp,
    /// Renews the token, once.
    pub refresh_token: Option<SecretString>,
    /// Whose refresh token it is.
    pub client: Option<Client>,
    /// What other tools keep in the file, so that they find it again.
    pub other: OtherFields,
}

/// A registered client of IAM Identity Center. No `Debug`.
#[derive(Clone)]
pub struct Client {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: SecretString,
    /// From then on it renews nothing. Some tools do not say.
    pub expires_at: Option<Timestamp>,
}

/// Fields that mean nothing to us. No `Debug`.
#[derive(Clone, Default)]
pub struct OtherFields(Map<String, Value>);

/// A token as it stands in a file. No `Debug`.
#[derive(Clone)]
pub struct CachedToken {
    /// The start URL, as far as whoever wrote it told.
    pub start_url: Option<String>,
    /// The region of IAM Identity Center, the same.
    pub region: Option<Region>,
    /// The token.
    pub token: Token,
}

/// A file that holds no token. The text tells nothing of what it does hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// It is empty, ends too early, or has something behind its end: somebody is writing it, or was interrupted.
    #[error("the file is not complete JSON")]
    Torn,
    /// It is something else, such as the registration of a client.
    #[error("the file holds no token")]
    NotAToken,
    /// A time that cannot be read.
    #[error("{field} is not a time")]
    Time {
        /// Its field.
        field: &'static str,
    },
}

impl TokenError {
    /// Whether the file may be whole a moment later: read it again before judging.
    pub fn may_pass(self) -> bool {
        match self {
            Self::Torn => true,
            Self::NotAToken | Self::Time { .. } => false,
        }
    }
}

impl CachedToken {
    /// Reads a file, whoever wrote it. Fields that are `null` are not there.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn parse(content: &[u8]) -> Result<Self, TokenError> {
        let mut fields = Fields::parse(content)?;
        let access_token = fields.secret("accessToken").ok_or(TokenError::NotAToken)?;
        let expires_at = fields.time("expiresAt")?.ok_or(TokenError::NotAToken)?;
        // Tools that do not look at it have no reason to write it well. The token is good without.
        let client_expires_at = fields.time("registrationExpiresAt").unwrap_or_default();
        Ok(Self {
            start_url: fields.text("startUrl"),
            region: fields.text("region").and_then(|region| region.parse().ok()),
            token: Token {
                access_token,
                expires_at,
                refresh_token: fields.secret("refreshToken"),
                client: fields.client(client_expires_at),
                other: OtherFields(fields.0),
            },
        })
    }
}

impl Token {
    /// The file with which every tool can use the token and renew it.
    pub fn shared(&self, sign_in: &SignIn) -> SecretString {
        let mut fields = self.other.clone();
        fields.0.retain(|name, _| !KNOWN.contains(&name.as_str()));
        self.use_fields(sign_in, &mut fields.0);
        if let Some(client) = &self.client {
            client.fields("registrationExpiresAt", &mut fields.0);
        }
        if let Some(refresh_token) = &self.refresh_token {
            fields.0.insert("refreshToken".to_owned(), refresh_token.expose_secret().into());
        }
        json(fields.0)
    }

    /// The file with which every tool can use the token, and none can renew it. What other tools keep is left out: it might
    /// renew the token.
    pub fn access_only(&self, sign_in: &SignIn) -> SecretString {
        let mut fields = Map::new();
        self.use_fields(sign_in, &mut fields);
        json(fields)
    }

    fn use_fields(&self, sign_in: &SignIn, fields: &mut Map<String, Value>) {
        fields.insert("startUrl".to_owned(), sign_in.start_url.as_str().into());
        fields.insert("region".to_owned(), sign_in.region.as_str().into());
        fields.insert("accessToken".to_owned(), self.access_token.expose_secret().into());
        fields.insert("expiresAt".to_owned(), time::format(self.expires_at).into());
    }
}

impl Client {
    fn fields(&self, expiry: &str, fields: &mut Map<String, Value>) {
        fields.insert("clientId".to_owned(), self.id.as_str().into());
        fields.insert("clientSecret".to_owned(), self.secret.expose_secret().into());
        if let Some(expires_at) = self.expires_at {
            fields.insert(expiry.to_owned(), time::format(expires_at).into());
        }
    }
}

/// The fields of a file; each is taken out once. No `Debug`.
struct Fields(Map<String, Value>);

impl Fields {
    fn parse(content: &[u8]) -> Result<Self, TokenError> {
        match serde_json::from_slice(content) {
            Ok(Value::Object(mut fields)) => {
                fields.retain(|_, value| !value.is_null());
                Ok(Self(fields))
            }
            Ok(_) => Err(TokenError::NotAToken),
            Err(_) => Err(TokenError::Torn),
        }
    }

    /// A text; what is there and is none is left among the others.
    fn text(&mut self, name: &str) -> Option<String> {
        self.0.get(name).filter(|value| value.is_string())?;
        match self.0.remove(name) {
            Some(Value::String(text)) => Some(text),
            Some(_) | None => None,
        }
    }

    fn secret(&mut self, name: &str) -> Option<SecretString> {
        self.text(name).filter(|text| !text.is_empty()).map(SecretString::from)
    }

    fn time(&mut self, field: &'static str) -> Result<Option<Timestamp>, TokenError> {
        let text = self.text(field);
        text.map(|text| time::parse(&text).ok_or(TokenError::Time { field })).transpose()
    }

    /// Half a client is none.
    fn client(&mut self, expires_at: Option<Timestamp>) -> Option<Client> {
        let (id, secret) = (self.text("clientId"), self.secret("clientSecret"));
        Some(Client { id: id?, secret: secret?, expires_at })
    }
}

/// Fields as the content of a file, none of them `null`: some tools take a field that is there for one with a value.
fn json(mut fields: Map<String, Value>) -> SecretString {
    fields.retain(|_, value| !value.is_null());
    SecretString::from(Value::Object(fields).to_string())
}

/// The content of a file, for as long as it takes to read it.
pub(crate) fn content(bytes: Vec<u8>) -> SecretSlice<u8> {
    SecretSlice::from(bytes)
}

#[cfg(test)]
mod tests;
