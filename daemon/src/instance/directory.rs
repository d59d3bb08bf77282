//! Directories that hold private files.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// What other users may do in a directory that exists already. New ones are closed to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    /// Look, but not change: the files in it have modes of their own.
    MayRead,
    /// Nothing: who can enter can connect to a socket on some systems, whatever its mode.
    KeptOut,
}

/// A directory that cannot hold private files.
#[derive(Debug, Error)]
pub enum DirectoryError {
    /// It cannot be made or looked at.
    #[error("cannot use directory {}", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of that name is in the way.
    #[error("{} is not a directory; move it away or choose another place", path.display())]
    NotADirectory {
        /// The file.
        path: PathBuf,
    },
    /// Somebody else's.
    #[error("directory {} belongs to user {owner}, not to you; choose another", path.display())]
    ForeignOwner {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Others could interfere.
    #[error("directory {} is open to other users (mode {mode:03o}); close it with `chmod 700 {}` or choose another", path.display(), path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

/// The directory that holds `path`.
pub(super) fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// Makes `path` with its parents, for the owner alone, or checks the one that is there.
pub(crate) fn private(path: &Path, others: Others) -> Result<(), DirectoryError> {
    let unusable = |source| DirectoryError::Unusable { path: path.to_owned(), source };
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(DirectoryError::NotADirectory { path: path.to_owned() });
        }
        result => result.map_err(unusable)?,
    }
    let metadata = std::fs::metadata(path).map_err(unusable)?;
    let mode = metadata.mode() & 0o777;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        Err(DirectoryError::ForeignOwner { path: path.to_owned(), owner: metadata.uid() })
    } else if mode & others.forbidden_bits() != 0 {
        Err(DirectoryError::Open { path: path.to_owned(), mode })
    } else {
        Ok(())
    }
}

impl Others {
    fn forbidden_bits(self) -> u32 {
        match self {
            Self::MayRead => 0o022,
            Self::KeptOut => 0o077,
        }
    }
}
