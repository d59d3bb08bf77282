//! The log as a file, which is put aside when it is full: `NAME.1` is the one before, up to `NAME.4`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A file of this many bytes is full.
const FULL: u64 = 10 * 1024 * 1024;

/// How many full ones are kept. The oldest goes when another one is full.
const KEPT: u32 = 4;

/// The log file cannot be opened.
#[derive(Debug, Error)]
#[error("cannot write the log {}", path.display())]
pub struct LogFileError {
    path: PathBuf,
    source: io::Error,
}

/// A log file. A write is never split between two.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    /// Bytes in it.
    length: u64,
    full: u64,
}

impl LogFile {
    /// Opens the file for appending.
    ///
    /// # Errors
    /// [`LogFileError`]: a full disk, no right to write.
    pub fn open(path: &Path) -> Result<Self, LogFileError> {
        Self::with_size(path, FULL).map_err(|source| LogFileError { path: path.to_owned(), source })
    }

    fn with_size(path: &Path, full: u64) -> io::Result<Self> {
        let file = append(path)?;
        let length = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, length, full })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file as it is now, for what writes by itself.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn now(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    fn put_aside(&mut self) -> io::Result<()> {
        let aside = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..KEPT).rev() {
            match std::fs::rename(aside(number), aside(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        std::fs::rename(&self.path, aside(1))?;
        let next = append(&self.path)?;
        // A panic is written to standard error, which leads here in the background.
        if is_same(io::stderr(), &self.file) {
            rustix::stdio::dup2_stderr(&next)?;
        }
        self.file = next;
        Ok(())
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let more = bytes.len() as u64;
        if self.length > 0 && self.length + more > self.full {
            // What cannot be put aside is written on; the next attempt is a file's length later.
            let _ = self.put_aside();
            self.length = 0;
        }
        self.file.write_all(bytes)?;
        self.length += more;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn is_same(one: impl AsFd, other: impl AsFd) -> bool {
    let (Ok(one), Ok(other)) = (rustix::fs::fstat(one), rustix::fs::fstat(other)) else { return false };
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_full_log_is_put_aside_and_the_oldest_goes() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("daemon.log");
        let mut log = LogFile::with_size(&path, 10).unwrap();
        for number in 0..8 {
            log.write_all(format!("line {number}\n").as_bytes()).unwrap();
        }
        let text = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(text("daemon.log"), "line 7\n");
        for (name, line) in
            [("daemon.log.1", 6), ("daemon.log.2", 5), ("daemon.log.3", 4), ("daemon.log.4", 3)]
        {
            assert_eq!(text(name), format!("line {line}\n"), "{name}");
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 5);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_an_earlier_daemon_wrote_counts() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("daemon.log");
        std::fs::write(&path, "12345678").unwrap();
        LogFile::with_size(&path, 10).unwrap().write_all(b"new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn a_log_that_cannot_be_put_aside_is_written_on() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("daemon.log");
        std::fs::create_dir(directory.path().join("daemon.log.4")).unwrap();
        std::fs::write(directory.path().join("daemon.log.3"), "").unwrap();
        let mut log = LogFile::with_size(&path, 10).unwrap();
        log.write_all(b"12345678").unwrap();
        log.write_all(b"12345678").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1234567812345678");
    }
}
