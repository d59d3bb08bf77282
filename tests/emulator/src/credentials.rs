//! Who may call.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// An access key as AWS hands it out. `Debug` shows the id alone.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// `AKIA…` for long-lived ones, `ASIA…` for temporary ones.
    pub id: String,
    secret: String,
    session_token: Option<String>,
}

impl AccessKey {
    /// A key with a secret and, when temporary, the session token that must come with it.
    #[must_use]
    pub fn new(id: impl Into<String>, secret: impl Into<String>, session_token: Option<String>) -> Self {
        Self { id: id.into(), secret: secret.into(), session_token }
    }

    /// A long-lived key with a secret nobody else has.
    pub(crate) fn random() -> Self {
        Self::new("AKIAEMULATOREXAMPLE0", random_text(40), None)
    }

    /// The secret access key.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The session token of a temporary key.
    #[must_use]
    pub fn session_token(&self) -> Option<&str> {
        self.session_token.as_deref()
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// All keys, and which of them are expired.
#[derive(Debug)]
pub(crate) struct Keyring(Mutex<BTreeMap<String, Entry>>);

#[derive(Clone, Debug)]
struct Entry {
    key: AccessKey,
    expired: bool,
}

impl Keyring {
    pub(crate) fn new(keys: impl IntoIterator<Item = AccessKey>) -> Self {
        let entries = keys.into_iter().map(|key| (key.id.clone(), Entry { key, expired: false }));
        Self(Mutex::new(entries.collect()))
    }

    /// The key and whether it is expired.
    pub(crate) fn find(&self, id: &str) -> Option<(AccessKey, bool)> {
        self.entries().get(id).map(|entry| (entry.key.clone(), entry.expired))
    }

    pub(crate) fn set_expired(&self, id: Option<&str>, expired: bool) {
        for (_, entry) in
            self.entries().iter_mut().filter(|(known, _)| id.is_none_or(|id| id == known.as_str()))
        {
            entry.expired = expired;
        }
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `length` random characters of the base64 alphabet without padding.
pub(crate) fn random_text(length: usize) -> String {
    use base64::Engine as _;

    let mut bytes = vec![0; length];
    fill_random(&mut bytes);
    let mut text = base64::engine::general_purpose::STANDARD_NO_PAD.encode(bytes);
    text.truncate(length);
    text
}

/// Fresh random bytes. The emulator cannot work on a machine without entropy; a fixed pattern then shows at once.
pub(crate) fn fill_random(bytes: &mut [u8]) {
    if let Err(error) = getrandom::fill(bytes) {
        tracing::error!(%error, "no entropy");
    }
}
