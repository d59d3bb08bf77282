//! What crosses the WebSocket, free of any WebSocket library.

use std::fmt;

use bytes::Bytes;
use secrecy::{ExposeSecret as _, SecretString};

/// One WebSocket message, in either direction.
///
/// A received ping needs no answer from the session: every WebSocket library answers it by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WsMessage {
    /// Only the first message of a connection, which carries the token: it never shows itself in `Debug`.
    Text(SecretText),
    /// One message of the data channel. It must leave as one WebSocket message.
    Binary(Bytes),
    /// Liveness probe of the own leg.
    Ping(Bytes),
    /// Answer to a ping.
    Pong(Bytes),
}

/// UTF-8 text that may hold a token: `Debug` shows only its length.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Bytes);

impl SecretText {
    /// Wraps a text frame's content.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Bytes::from(text))
    }

    /// Wraps what serde_json wrote, which is UTF-8.
    pub(crate) fn from_json(json: Vec<u8>) -> Self {
        Self(Bytes::from(json))
    }

    /// The content, valid UTF-8 when built by [`SecretText::new`]. Hand it to the WebSocket and nowhere else.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretText({} bytes, redacted)", self.0.len())
    }
}

/// The `TokenValue` of StartSession or ResumeSession: a credential. No `Debug`, wiped when dropped.
pub struct Token(SecretString);

impl Token {
    /// Takes the token over.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(SecretString::from(value.into()))
    }

    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<SecretString> for Token {
    fn from(value: SecretString) -> Self {
        Self(value)
    }
}
