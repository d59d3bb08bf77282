//! The registration of a client, in the file in which the AWS CLI keeps its own.

use std::fmt::Write as _;

use secrecy::SecretString;
use serde_json::{Map, Value};
use stormtunnel_model::{Region, SignInForm};

use super::{Client, Fields, TokenError, json, names};
use crate::profiles::SignIn;

/// What a registration is for; its file is named after it. The AWS CLI keeps one for both kinds of login, so the kind has to be
/// looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationKey {
    /// Where the login takes place. It is the sign-in's region, unless its start URL leads elsewhere.
    pub region: Region,
    /// The sign-in.
    pub sign_in: SignIn,
}

/// A registration. No `Debug`.
#[derive(Clone)]
pub struct Registration {
    /// The client; its expiry is known.
    pub client: Client,
    /// What it may ask for; none if nothing was said.
    pub scopes: Vec<String>,
    /// How it signs in; none for the device code.
    pub grant_types: Vec<String>,
}

impl RegistrationKey {
    /// Name of the file: the SHA-1 of a JSON text, to the letter as Python would write it.
    pub fn file_name(&self) -> String {
        let SignIn { name, start_url, scopes, .. } = &self.sign_in;
        let session = match name.form() {
            SignInForm::Session(name) => python_string(name),
            SignInForm::StartUrl(_) => "null".to_owned(),
        };
        let scopes = if scopes.is_empty() {
            "null".to_owned()
        } else {
            format!("[{}]", scopes.iter().map(|scope| python_string(scope)).collect::<Vec<_>>().join(", "))
        };
        names::hashed(&format!(
            r#"{{"region": {}, "scopes": {scopes}, "session_name": {session}, "startUrl": {}, "tool": "botocore"}}"#,
            python_string(self.region.as_str()),
            python_string(start_url),
        ))
    }
}

impl Registration {
    /// Reads a file.
    ///
    /// # Errors
    /// [`TokenError`]; `NotAToken` if it holds no registration.
    pub fn parse(content: &[u8]) -> Result<Self, TokenError> {
        let mut fields = Fields::parse(content)?;
        if fields.0.contains_key("accessToken") {
            return Err(TokenError::NotAToken);
        }
        let expires_at = fields.time("expiresAt")?.ok_or(TokenError::NotAToken)?;
        let client = fields.client(Some(expires_at)).ok_or(TokenError::NotAToken)?;
        Ok(Self { client, scopes: texts(&fields.0, "scopes"), grant_types: texts(&fields.0, "grantTypes") })
    }

    /// The file.
    pub fn to_json(&self) -> SecretString {
        let mut fields = Map::new();
        self.client.fields("expiresAt", &mut fields);
        for (name, values) in [("scopes", &self.scopes), ("grantTypes", &self.grant_types)] {
            if !values.is_empty() {
                fields.insert(name.to_owned(), values.as_slice().into());
            }
        }
        json(fields)
    }
}

fn texts(fields: &Map<String, Value>, name: &str) -> Vec<String> {
    let values = fields.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    values.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// `text` in JSON, in ASCII only.
fn python_string(text: &str) -> String {
    let mut ascii = String::new();
    for c in Value::from(text).to_string().chars() {
        if c.is_ascii() {
            ascii.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(ascii, "\\u{unit:04x}");
            }
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;
    use stormtunnel_model::Timestamp;

    use super::*;

    const URL: &str = "https://d-1234567890.awsapps.com/start";

    fn key(name: &str, scopes: &[&str]) -> RegistrationKey {
        let region: Region = "us-east-1".parse().unwrap();
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let sign_in =
            SignIn { name: name.parse().unwrap(), start_url: URL.to_owned(), region: region.clone(), scopes };
        RegistrationKey { region, sign_in }
    }

    #[test]
    fn registrations_lie_where_the_aws_cli_looks_for_them() {
        for (key, hash) in [
            (key("corp", &["sso:account:access"]), "bc8a1afdb0f5cdc2c789b8a6cd51898e2be3c37c"),
            (key("noscope", &[]), "50a8d68de439eff92f757edc7b38c4298fa61297"),
            (key(URL, &[]), "365414a68be7c9bfc776c660981dbdbd942acea4"),
        ] {
            assert_eq!(key.file_name(), format!("{hash}.json"));
        }
    }

    #[test]
    fn strings_are_those_of_python() {
        assert_eq!(python_string("a\"b\\é😀\n\u{7f}"), "\"a\\\"b\\\\\\u00e9\\ud83d\\ude00\\n\u{7f}\"");
    }

    #[test]
    fn a_registration_reads_back_and_tells_its_kind() {
        let client = Client {
            id: "id".to_owned(),
            secret: SecretString::from("CANARY"),
            expires_at: Some(Timestamp::from_millis(1_893_553_445_000)),
        };
        let device = Registration { client, scopes: Vec::new(), grant_types: Vec::new() };
        assert_eq!(
            device.to_json().expose_secret(),
            r#"{"clientId":"id","clientSecret":"CANARY","expiresAt":"2030-01-02T03:04:05Z"}"#
        );
        let pkce = Registration {
            scopes: vec!["sso:account:access".to_owned()],
            grant_types: vec!["authorization_code".to_owned(), "refresh_token".to_owned()],
            ..device
        };
        let read = Registration::parse(pkce.to_json().expose_secret().as_bytes()).ok().unwrap();
        assert_eq!((read.scopes, read.grant_types), (pkce.scopes, pkce.grant_types));
        assert_eq!(read.client.expires_at, pkce.client.expires_at);
    }

    #[test]
    fn a_token_is_no_registration() {
        let token = br#"{"accessToken": "t", "expiresAt": "2030-01-02T03:04:05Z", "clientId": "i", "clientSecret": "s"}"#;
        assert_eq!(Registration::parse(token).err(), Some(TokenError::NotAToken));
        assert_eq!(Registration::parse(b"{").err(), Some(TokenError::Torn));
    }
}
