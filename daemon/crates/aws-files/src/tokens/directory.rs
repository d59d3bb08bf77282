//! The directory of the cache.

use std::io;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use stormtunnel_model::{SignInName, Timestamp};
use thiserror::Error;

use super::{CachedToken, Registration, RegistrationKey, TokenError, content, names};
use crate::file::{self, publish_private, remove};

/// `~/.aws/sso/cache`, wherever it lies. Everything here blocks for as long as a disk does.
#[derive(Clone, Debug)]
pub struct CacheDirectory {
    path: PathBuf,
}

/// A file that seems to hold a token. No `Debug`.
pub struct CachedFile {
    /// Its name in the directory.
    pub name: String,
    /// The sign-in, unless nothing tells.
    pub sign_in: Option<SignInName>,
    /// The token, or why it cannot be read.
    pub token: Result<CachedToken, TokenError>,
}

/// A file of the cache that cannot be used.
#[derive(Debug, Error)]
pub enum CacheError {
    /// The system does not let us.
    #[error("the file cannot be read")]
    Read(#[source] io::Error),
    /// What it holds.
    #[error(transparent)]
    Content(TokenError),
}

impl CacheDirectory {
    /// A directory that need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The token of a sign-in; `None` if there is no file.
    ///
    /// # Errors
    /// The file is there, and no token can be had from it. See [`TokenError::may_pass`].
    pub fn token(&self, sign_in: &SignInName) -> Result<Option<CachedToken>, CacheError> {
        self.read(&names::file_name(sign_in), CachedToken::parse)
    }

    /// Puts a token's file in its place: readers see the old one or the new one, and only their owner may read it.
    /// `content` is [`Token::shared`](super::Token::shared) or [`Token::access_only`](super::Token::access_only).
    ///
    /// # Errors
    /// The file cannot be written; it is as it was.
    pub fn put_token(&self, sign_in: &SignInName, content: &SecretString) -> io::Result<()> {
        self.put(&names::file_name(sign_in), content)
    }

    /// Deletes the token of a sign-in. Answers whether there was one.
    ///
    /// # Errors
    /// The file cannot be deleted.
    pub fn delete_token(&self, sign_in: &SignInName) -> io::Result<bool> {
        remove(&self.path.join(names::file_name(sign_in)))
    }

    /// The registration for a kind of login; `None` if there is no file.
    ///
    /// # Errors
    /// The file is there, and no registration can be had from it.
    pub fn registration(&self, key: &RegistrationKey) -> Result<Option<Registration>, CacheError> {
        self.read(&key.file_name(), Registration::parse)
    }

    /// Puts the file of a registration in its place.
    ///
    /// # Errors
    /// The file cannot be written; it is as it was.
    pub fn put_registration(&self, key: &RegistrationKey, registration: &Registration) -> io::Result<()> {
        self.put(&key.file_name(), &registration.to_json())
    }

    /// Deletes a registration, such as one that the service does not know any more. Answers whether there was one.
    ///
    /// # Errors
    /// The file cannot be deleted.
    pub fn delete_registration(&self, key: &RegistrationKey) -> io::Result<bool> {
        remove(&self.path.join(key.file_name()))
    }

    /// All files that hold a token, or might when they are whole, by name. `known` are the sign-ins to look for.
    ///
    /// # Errors
    /// The directory cannot be read. That it is not there is no error: it holds nothing then.
    pub fn files(&self, known: &[&SignInName]) -> io::Result<Vec<CachedFile>> {
        let mut files = Vec::new();
        for name in self.names()?.into_iter().filter(|name| name.ends_with(".json")) {
            let token = match self.read(&name, CachedToken::parse) {
                Ok(Some(token)) => Ok(token),
                Err(CacheError::Content(error)) if error != TokenError::NotAToken => Err(error),
                // Somebody deleted it, it is something else, or it is not ours to read.
                Ok(None) | Err(_) => continue,
            };
            let start_url = token.as_ref().ok().and_then(|token| token.start_url.as_deref());
            let sign_in = names::sign_in_of(&name, known, start_url);
            files.push(CachedFile { name, sign_in, token });
        }
        files.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(files)
    }

    /// Deletes what a process of ours left unfinished when it was killed, as [`sweep`](crate::sweep) does: there may be a token
    /// in it.
    ///
    /// # Errors
    /// The directory cannot be read, or a file cannot be deleted.
    pub fn sweep(&self, now: Timestamp) -> io::Result<()> {
        file::sweep(&self.path, now)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        match std::fs::read_dir(&self.path) {
            Ok(entries) => {
                entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn read<T>(
        &self,
        name: &str,
        parse: fn(&[u8]) -> Result<T, TokenError>,
    ) -> Result<Option<T>, CacheError> {
        match std::fs::read(self.path.join(name)).map(content) {
            Ok(content) => parse(content.expose_secret()).map(Some).map_err(CacheError::Content),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(CacheError::Read(error)),
        }
    }

    fn put(&self, name: &str, content: &SecretString) -> io::Result<()> {
        publish_private(&self.path.join(name), content.expose_secret().as_bytes())
    }
}
