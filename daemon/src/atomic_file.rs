//! Files that are replaced as a whole.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How the names of files end that are being written. One that is found is left over from a process that was killed.
pub(crate) const UNFINISHED: &str = "new";

/// Links in a row that are followed, as many as Linux follows.
const LINKS: usize = 40;

/// Where the file is, or will be: also the place that a link leads to where nothing is yet.
fn real(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match std::fs::canonicalize(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
        match std::fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new("/")).join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many links"))
}

/// Replaces the file as a whole, 0600: readers see the old content or the new one, and a power failure leaves one of them. A
/// symbolic link (dotfiles are often kept that way) stays one. Blocks for the disk.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let path = real(path)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory)?;
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.{UNFINISHED}", std::process::id()));
    let new = PathBuf::from(name);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    let written =
        file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&new, &path));
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
        return written;
    }
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_stays_one_whether_or_not_its_file_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let (link, file) = (directory.path().join("link"), directory.path().join("dot/real"));
        symlink("dot/real", &link).unwrap();
        for content in ["first", "second"] {
            replace(&link, content.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), content);
            assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        }
        symlink("round", directory.path().join("round")).unwrap();
        assert!(replace(&directory.path().join("round"), b"").is_err());
    }
}
