//! Who may call.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};

/// Characters of key ids and ids of principals.
const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Characters of a session token; real ones have several hundred.
const SESSION_TOKEN: usize = 320;

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

/// Who a key belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) arn: String,
    pub(crate) user_id: String,
}

impl Identity {
    /// A user, or a role in a session: `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`.
    pub(crate) fn of(arn: impl Into<String>) -> Self {
        let arn = arn.into();
        let user_id = match arn.rsplit_once('/') {
            Some((role, session)) if role.contains(":assumed-role/") => {
                format!("{}:{session}", unique_id("AROA", role))
            }
            _ => unique_id("AIDA", &arn),
        };
        Self { arn, user_id }
    }

    /// A session of a role; `None`: that is no ARN of a role. The path of the role is not part of the session's ARN.
    pub(crate) fn of_role(role: &str, session: &str) -> Option<Self> {
        let (start, name) = role.split_once(":role/")?;
        let (head, account) = start.split_once(":iam::")?;
        let name = name.rsplit('/').next()?;
        Some(Self::of(format!("{head}:sts::{account}:assumed-role/{name}/{session}")))
    }

    pub(crate) fn account(&self) -> &str {
        self.arn.split(':').nth(4).unwrap_or_default()
    }

    /// Whether it is a role: what a role assumes lasts an hour at most.
    pub(crate) fn is_assumed(&self) -> bool {
        self.arn.contains(":assumed-role/")
    }
}

/// All keys, and which of them are expired.
#[derive(Debug)]
pub(crate) struct Keyring(Mutex<BTreeMap<String, Entry>>);

#[derive(Clone, Debug)]
struct Entry {
    key: AccessKey,
    /// Expired on order.
    expired: bool,
    expires: Option<OffsetDateTime>,
    identity: Option<Identity>,
}

impl Keyring {
    pub(crate) fn new(keys: impl IntoIterator<Item = AccessKey>) -> Self {
        let entry = |key| Entry { key, expired: false, expires: None, identity: None };
        Self(Mutex::new(keys.into_iter().map(|key| (key.id.clone(), entry(key))).collect()))
    }

    /// Makes a temporary key for somebody.
    pub(crate) fn issue(&self, identity: Identity, expires: OffsetDateTime) -> AccessKey {
        let id = format!("ASIA{}", from_alphabet(UPPER, 16));
        let key = AccessKey::new(&id, random_text(40), Some(random_text(SESSION_TOKEN)));
        let entry =
            Entry { key: key.clone(), expired: false, expires: Some(expires), identity: Some(identity) };
        self.entries().insert(id, entry);
        key
    }

    /// The key and whether it is expired.
    pub(crate) fn find(&self, id: &str, now: OffsetDateTime) -> Option<(AccessKey, bool)> {
        let over = |entry: &Entry| entry.expired || entry.expires.is_some_and(|expires| now >= expires);
        self.entries().get(id).map(|entry| (entry.key.clone(), over(entry)))
    }

    /// Who a key was issued to; `None`: the emulator was started with it.
    pub(crate) fn identity(&self, id: &str) -> Option<Identity> {
        self.entries().get(id)?.identity.clone()
    }

    /// Lets every key that expires get older.
    pub(crate) fn age(&self, by: Duration) {
        for entry in self.entries().values_mut() {
            entry.expires = entry.expires.map(|expires| expires - by);
        }
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

/// The same id for the same name, as AWS gives one to each user and role.
fn unique_id(prefix: &str, name: &str) -> String {
    format!("{prefix}{}", spelt(UPPER, &Sha256::digest(name)[..17]))
}

/// `length` random characters of an alphabet.
pub(crate) fn from_alphabet(alphabet: &[u8], length: usize) -> String {
    let mut bytes = vec![0; length];
    fill_random(&mut bytes);
    spelt(alphabet, &bytes)
}

fn spelt(alphabet: &[u8], bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).collect()
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
