//! The little that touches the disk.

use std::fs::{DirBuilder, DirEntry, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretBox};
use stormtunnel_model::Timestamp;
use thiserror::Error;

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

impl ProfileFile {
    /// Keeps a copy of what was read, beside the file, for its owner only; `now` is in its name. Answers where; nothing if there
    /// is nothing to keep.
    ///
    /// # Errors
    /// The copy cannot be written.
    pub fn back_up(&self, now: Timestamp) -> io::Result<Option<PathBuf>> {
        let content = self.content.expose_secret();
        if content.is_empty() {
            return Ok(None);
        }
        let mut base = self.path.as_os_str().to_owned();
        base.push(format!(".backup-{}", crate::tokens::time::format(now).replace([':', '-'], "")));
        let mut path = PathBuf::from(&base);
        // The second of one second.
        for number in 1.. {
            if !path.try_exists()? {
                break;
            }
            let mut next = base.clone();
            next.push(format!("-{number}"));
            path = next.into();
        }
        publish_private(&path, content)?;
        Ok(Some(path))
    }
}

/// Why a profile file was not replaced. It is as it was.
#[derive(Debug, Error)]
pub enum ReplaceError {
    /// Somebody changed it after it was read: read it again.
    #[error("the file was changed meanwhile")]
    Changed,
    /// The system does not let us.
    #[error("the file cannot be written")]
    Write(#[from] io::Error),
}

/// Replaces a profile file as a whole: readers see the old content or the new one. A symbolic link stays one, the mode
/// stays as it is, and a new file is for its owner only.
///
/// # Errors
/// The file cannot be written; it is as it was.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let (path, mode) = real(path)?;
    write_unfinished(&path, content, mode)?.publish(&path)
}

impl ProfileFile {
    /// Replaces the file as [`replace`] does, if it still is what was read.
    ///
    /// # Errors
    /// [`ReplaceError`].
    pub fn replace(&self, content: &[u8]) -> Result<(), ReplaceError> {
        let (path, mode) = real(&self.path)?;
        let unfinished = write_unfinished(&path, content, mode)?;
        // Looked at last: what comes in between is a matter of microseconds.
        let present = Self::read(&path)?;
        if present.content.expose_secret() != self.content.expose_secret() {
            return Err(ReplaceError::Changed);
        }
        Ok(unfinished.publish(&path)?)
    }
}

/// Where the file lies behind all links, and its mode.
fn real(path: &Path) -> io::Result<(PathBuf, u32)> {
    match std::fs::canonicalize(path) {
        Ok(real) => {
            let mode = std::fs::metadata(&real)?.permissions().mode() & 0o7777;
            Ok((real, mode))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((path.to_owned(), PRIVATE_FILE)),
        Err(error) => Err(error),
    }
}

/// Puts a file in its place that only its owner may read, whatever was there.
pub(crate) fn publish_private(path: &Path, content: &[u8]) -> io::Result<()> {
    write_unfinished(path, content, PRIVATE_FILE)?.publish(path)
}

/// What stands behind the name of a file that is not finished: nobody takes such a name for one of a token.
const UNFINISHED: &str = ".stormtunnel.tmp";

/// A file that is not finished for so long never will be: whoever wrote it was killed.
const ABANDONED: Duration = Duration::from_secs(60);

/// Numbers the unfinished files of this process.
static WRITTEN: AtomicU64 = AtomicU64::new(0);

/// A file that is written under another name. Dropped, it is removed.
struct Unfinished(PathBuf);

/// Writes the file beside its place. Its name is its own: two who replace one file at a time do not write into each other's.
fn write_unfinished(path: &Path, content: &[u8], mode: u32) -> io::Result<Unfinished> {
    DirBuilder::new().recursive(true).mode(PRIVATE_DIRECTORY).create(directory(path))?;
    let (mut file, unfinished) = loop {
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}-{number}{UNFINISHED}", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).mode(PRIVATE_FILE).open(&name) {
            Ok(file) => break (file, Unfinished(name.into())),
            // Left by a process with our id that was killed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    };
    file.write_all(content)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()?;
    Ok(unfinished)
}

impl Unfinished {
    fn publish(self, path: &Path) -> io::Result<()> {
        std::fs::rename(&self.0, path)?;
        // The file is in its place. Where a directory cannot be synced, a crash of the system may bring the old one back,
        // and nothing else.
        let _ = File::open(directory(path)).and_then(|directory| directory.sync_all());
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Once it is published there is nothing of that name.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn directory(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// Deletes from a directory what processes that were killed left unfinished: there may be a secret in it. What somebody may
/// still be writing at `now` stays. That the directory is not there is no error.
///
/// # Errors
/// The directory cannot be read, or a file cannot be deleted.
pub fn sweep(directory: &Path, now: Timestamp) -> io::Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(UNFINISHED) && is_abandoned(&entry, now) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// One whose age nobody knows may be anybody's.
fn is_abandoned(entry: &DirEntry, now: Timestamp) -> bool {
    let modified = entry.metadata().and_then(|metadata| metadata.modified());
    modified.is_ok_and(|modified| Timestamp::from(modified).plus(ABANDONED) <= now)
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
    use std::time::SystemTime;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_file_that_is_not_there_is_empty_and_one_that_cannot_be_read_is_an_error() {
        let home = tempfile::tempdir().unwrap();
        let file = ProfileFile::read(home.path().join("config")).unwrap();
        assert!(file.content.expose_secret().is_empty());
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
        std::fs::set_permissions(&real, Permissions::from_mode(0o640)).unwrap();
        symlink(&real, &link).unwrap();
        replace(&link, b"new").unwrap();
        assert_eq!((std::fs::read(&real).unwrap(), mode(&real)), (b"new".to_vec(), 0o640));
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_failure_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("directory");
        std::fs::create_dir_all(directory.join("full")).unwrap();
        assert!(replace(&directory, b"new").is_err());
        assert_eq!(names(home.path()), ["directory"]);
    }

    #[test]
    fn many_who_replace_it_at_a_time_never_publish_half_a_file() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("config");
        std::thread::scope(|scope| {
            for writer in 0..4_u8 {
                let path = &path;
                scope.spawn(move || {
                    let content = vec![b'a' + writer; 20_000 * usize::from(writer + 1)];
                    for _ in 0..25 {
                        replace(path, &content).unwrap();
                        let found = std::fs::read(path).unwrap();
                        let first = found.first().copied().unwrap();
                        let whole = 20_000 * (usize::from(first - b'a') + 1);
                        assert!(found.len() == whole && found.iter().all(|byte| *byte == first));
                    }
                });
            }
        });
        assert_eq!(names(home.path()), ["config"]);
    }

    #[test]
    fn what_somebody_changed_meanwhile_is_not_overwritten() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("config");
        let missing = ProfileFile::read(&path).unwrap();
        missing.replace(b"ours").unwrap();
        let read = ProfileFile::read(&path).unwrap();
        std::fs::write(&path, "theirs").unwrap();
        assert!(matches!(read.replace(b"ours, changed"), Err(ReplaceError::Changed)));
        assert!(matches!(missing.replace(b"ours, changed"), Err(ReplaceError::Changed)));
        assert_eq!(
            (std::fs::read(&path).unwrap(), names(home.path())),
            (b"theirs".to_vec(), vec!["config".into()])
        );
        ProfileFile::read(&path).unwrap().replace(b"ours, changed").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"ours, changed");
    }

    #[test]
    fn a_directory_that_cannot_be_synced_is_no_failure_of_a_file_that_is_in_its_place() {
        // The directory of a bare name has no name, and cannot be opened.
        let bare = PathBuf::from(format!("replaced-by-{}", std::process::id()));
        let replaced = replace(&bare, b"new");
        let found = std::fs::read(&bare);
        std::fs::remove_file(&bare).unwrap();
        replaced.unwrap();
        assert_eq!(found.unwrap(), b"new");
    }

    #[test]
    fn a_copy_of_what_was_read_is_kept_under_a_name_of_its_own() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("config");
        let now = Timestamp::from_millis(1_893_553_445_000);
        assert_eq!(ProfileFile::read(&path).unwrap().back_up(now).unwrap(), None, "there is nothing to keep");
        for (content, name) in
            [("one", "config.backup-20300102T030405Z"), ("two", "config.backup-20300102T030405Z-1")]
        {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
            let file = ProfileFile::read(&path).unwrap();
            std::fs::write(&path, "another").unwrap();
            let copy = file.back_up(now).unwrap().unwrap();
            assert_eq!(copy, home.path().join(name));
            assert_eq!((std::fs::read_to_string(&copy).unwrap().as_str(), mode(&copy)), (content, 0o600));
        }
    }

    #[test]
    fn what_killed_processes_left_is_swept_and_what_is_being_written_stays() {
        let home = tempfile::tempdir().unwrap();
        let now = Timestamp::from_millis(1_893_553_445_000);
        sweep(&home.path().join("missing"), now).unwrap();
        let long_ago = now.as_millis() - 60_000;
        for (name, modified) in [
            ("config.1-0.stormtunnel.tmp", long_ago),
            ("config.2-0.stormtunnel.tmp", long_ago + 1),
            ("config", long_ago),
            ("other.tmp", long_ago),
        ] {
            let file = File::create(home.path().join(name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_millis(modified)).unwrap();
        }
        sweep(home.path(), now).unwrap();
        assert_eq!(names(home.path()), ["config", "config.2-0.stormtunnel.tmp", "other.tmp"]);
    }
}
