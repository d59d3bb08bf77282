//! Secrets in files, one each, 0600, in a directory 0700.
//!
//! Their names are hashes: a start URL has characters that no file name may have and is longer than one may be, and some file
//! systems do not tell `corp` from `Corp`.

use std::error::Error as _;
use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretSlice};
use sha2::{Digest as _, Sha256};
use stormtunnel_engine::ports::PortFuture;
use stormtunnel_model::Fault;
use thiserror::Error;

use super::blocking::Blocking;
use super::{Item, Vault, unavailable};
use crate::atomic_file;
use crate::instance::directory::{self, DirectoryError, Others};

/// How long the disk may take. A network disk that is gone takes for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// Permissions of others.
const OTHERS: u32 = 0o077;

/// Keeps secrets in a directory of its own.
pub struct FileVault {
    files: Arc<Files>,
    blocking: Blocking,
}

impl FileVault {
    /// The secrets in `directory`, which is made, and what a person should know: that others could read it until now, or that it
    /// cannot be used. The latter may be mended while the daemon runs.
    pub async fn open(directory: PathBuf) -> (Self, Vec<String>) {
        let blocking = Blocking::new(directory.display().to_string(), PATIENCE);
        let vault = Self { files: Arc::new(Files { directory }), blocking };
        let warnings = match vault.run(|files| files.tidy()).await {
            Ok(None) => Vec::new(),
            Ok(Some(warning)) => vec![warning],
            Err(fault) => vec![fault.to_string()],
        };
        (vault, warnings)
    }

    async fn run<T, F>(&self, call: F) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: FnOnce(&Files) -> Result<T, FileError> + Send + 'static,
    {
        let files = Arc::clone(&self.files);
        self.blocking.run(move || call(&files).map_err(|error| files.fault(&error))).await
    }
}

impl Vault for FileVault {
    fn get<'a>(&'a self, item: &'a Item) -> PortFuture<'a, Result<Option<SecretSlice<u8>>, Fault>> {
        let name = file_name(item);
        Box::pin(self.run(move |files| files.read(&name)))
    }

    fn put<'a>(&'a self, item: &'a Item, secret: SecretSlice<u8>) -> PortFuture<'a, Result<(), Fault>> {
        let name = file_name(item);
        Box::pin(self.run(move |files| files.write(&name, secret.expose_secret())))
    }

    fn forget<'a>(&'a self, item: &'a Item) -> PortFuture<'a, Result<(), Fault>> {
        let name = file_name(item);
        Box::pin(self.run(move |files| files.forget(&name)))
    }

    fn set_aside<'a>(&'a self, item: &'a Item) -> PortFuture<'a, Result<String, Fault>> {
        let name = file_name(item);
        Box::pin(self.run(move |files| files.set_aside(&name)))
    }
}

/// The name of an item's file. It stays as it is: files that are not found are logins that are lost.
pub(super) fn file_name(item: &Item) -> String {
    format!("{}-{:x}.json", item.kind, Sha256::digest(item.sign_in.as_str()))
}

/// What is of no use is kept under that name, once.
pub(super) fn broken(name: &str) -> String {
    format!("{name}.broken")
}

/// Files that cannot be used.
#[derive(Debug, Error)]
enum FileError {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What is done on the disk. Every call looks at the directory again: it can be changed, and mended, at any time.
struct Files {
    directory: PathBuf,
}

impl Files {
    /// Closes to others what is open to them, and removes what a daemon that was killed has not finished. The warning says that
    /// something was open.
    fn tidy(&self) -> Result<Option<String>, FileError> {
        // A directory that cannot be closed is refused in the next line, with the reason.
        let mut was_open = close(&self.directory).unwrap_or(false);
        self.check()?;
        for entry in std::fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.extension() == Some(OsStr::new(atomic_file::UNFINISHED)) {
                std::fs::remove_file(&path)?;
            } else {
                was_open |= close(&path)?;
            }
        }
        let directory = self.directory.display();
        let warning = format!(
            "others could read SSO tokens in {directory}, which is closed to them now; \
             log out and in again if somebody may have done so"
        );
        Ok(was_open.then_some(warning))
    }

    fn read(&self, name: &str) -> Result<Option<SecretSlice<u8>>, FileError> {
        self.check()?;
        match std::fs::read(self.directory.join(name)) {
            Ok(content) => Ok(Some(content.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), FileError> {
        self.check()?;
        Ok(atomic_file::replace(&self.directory.join(name), content)?)
    }

    fn forget(&self, name: &str) -> Result<(), FileError> {
        self.check()?;
        // Half a token may be in what was set aside.
        for name in [name, &broken(name)] {
            match std::fs::remove_file(self.directory.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                Ok(()) | Err(_) => {}
            }
        }
        self.sync()
    }

    fn set_aside(&self, name: &str) -> Result<String, FileError> {
        let aside = self.directory.join(broken(name));
        std::fs::rename(self.directory.join(name), &aside)?;
        self.sync()?;
        Ok(format!("is now {}", aside.display()))
    }

    fn check(&self) -> Result<(), FileError> {
        Ok(directory::private(&self.directory, Others::KeptOut)?)
    }

    /// What happened to names in the directory outlives a power failure.
    fn sync(&self) -> Result<(), FileError> {
        Ok(File::open(&self.directory)?.sync_all()?)
    }

    fn fault(&self, error: &FileError) -> Fault {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        unavailable(&self.directory.display().to_string(), format!("{error}{cause}"))
    }
}

/// Takes all rights from others, and answers whether they had some. Links have no rights of their own.
fn close(path: &Path) -> io::Result<bool> {
    let metadata = std::fs::symlink_metadata(path)?;
    if metadata.is_symlink() || metadata.mode() & OTHERS == 0 {
        return Ok(false);
    }
    std::fs::set_permissions(path, Permissions::from_mode(metadata.mode() & 0o777 & !OTHERS))?;
    Ok(true)
}
