//! The little that touches the disk.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::SecretBox;

/// Only the owner may read it.
const PRIVATE_FILE: u32 = 0o600;
const PRIVATE_DIRECTORY: u32 = 0o700;

/// A profile file at one moment. No `Debug`: one of the two holds keys.
pub struct ProfileFile {
    pub(crate) path: Arc<Path>,
    pub(crate) content: SecretBox<[u8]>,
}

impl ProfileFile {
    /// A file with that content.
    pub fn new(path: impl Into<PathBuf>, content: Vec<u8>) -> Self {
        Self { path: path.into().into(), content: SecretBox::new(content.into_boxed_slice()) }
    }

    /// Reads a file; one that is not there is empty.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn read(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        match std::fs::read(&path) {
            Ok(content) => Ok(Self::new(path, content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::new(path, Vec::new())),
            Err(error) => Err(error),
        }
    }
}

/// Replaces a profile file as a whole: readers see the old content or the new one. A symbolic link stays one, the mode
/// stays as it is, and a new file is for its owner only.
///
/// # Errors
/// The file cannot be written; it is as it was.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let (path, mode) = match std::fs::canonicalize(path) {
        Ok(real) => {
            let mode = std::fs::metadata(&real)?.permissions().mode() & 0o7777;
            (real, mode)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => (path.to_owned(), PRIVATE_FILE),
        Err(error) => return Err(error),
    };
    publish(&path, content, mode)
}

/// Puts a file in its place that only its owner may read, whatever was there.
pub(crate) fn publish_private(path: &Path, content: &[u8]) -> io::Result<()> {
    publish(path, content, PRIVATE_FILE)
}

/// What stands behind the name of a file that is not finished: nobody takes such a name for one of a token.
pub(crate) const UNFINISHED: &str = ".stormtunnel.tmp";

fn publish(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(PRIVATE_DIRECTORY).create(directory)?;
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(UNFINISHED);
    let unfinished = PathBuf::from(unfinished);
    // Left by a process that was killed, maybe with another mode.
    remove(&unfinished)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE_FILE).open(&unfinished)?;
    let written = file
        .write_all(content)
        .and_then(|()| file.set_permissions(std::fs::Permissions::from_mode(mode)))
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&unfinished, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&unfinished);
        return written;
    }
    File::open(directory)?.sync_all()
}

/// Removes a file; that it is not there is as good. Answers whether it was.
pub(crate) fn remove(path: &Path) -> io::Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_file_that_is_not_there_is_empty_and_one_that_cannot_be_read_is_an_error() {
        let home = tempfile::tempdir().unwrap();
        let file = ProfileFile::read(home.path().join("config")).unwrap();
        assert!(secrecy::ExposeSecret::expose_secret(&file.content).is_empty());
        assert!(ProfileFile::read(home.path()).is_err(), "a directory");
    }

    #[test]
    fn a_new_file_and_its_directories_are_for_the_owner_only() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(".aws/config");
        replace(&path, b"[default]\n").unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(std::fs::read(&path).unwrap(), b"[default]\n");
    }

    #[test]
    fn a_link_and_a_mode_stay() {
        let home = tempfile::tempdir().unwrap();
        let (real, link) = (home.path().join("dotfiles"), home.path().join("config"));
        std::fs::write(&real, "old").unwrap();
        std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&real, &link).unwrap();
        replace(&link, b"new").unwrap();
        assert_eq!((std::fs::read(&real).unwrap(), mode(&real)), (b"new".to_vec(), 0o640));
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn what_a_killed_process_left_is_no_hindrance_and_a_failure_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("config");
        std::fs::write(home.path().join("config.stormtunnel.tmp"), "half").unwrap();
        replace(&path, b"new").unwrap();
        let directory = home.path().join("directory");
        std::fs::create_dir_all(directory.join("full")).unwrap();
        assert!(replace(&directory, b"new").is_err());
        let mut names: Vec<_> =
            std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["config", "directory"]);
    }
}
