//! The lock that a daemon holds beside its socket for as long as it lives. It tells a daemon that is stopping, and takes
//! no connections any more, from a socket that was left behind.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// What the lock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    /// A daemon lives; its process as far as it said.
    Held(Option<u32>),
    /// No daemon lives.
    Free,
    /// There is no lock, or it cannot be looked at.
    Unknown,
}

impl Lock {
    /// Looks at the lock of `socket`. It is tried and let go at once: nothing else tells on every system.
    pub(crate) fn beside(socket: &Path) -> Self {
        let path = path(socket);
        let Ok(file) = File::open(&path) else { return Self::Unknown };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Self::Free,
            Err(Errno::WOULDBLOCK) => Self::Held(pid(&path)),
            Err(_) => Self::Unknown,
        }
    }

    /// Whether whoever held it before does not any more.
    pub(crate) fn has_passed_from(self, before: Self) -> bool {
        match (before, self) {
            (_, Self::Free) => true,
            (Self::Held(Some(before)), Self::Held(Some(now))) => before != now,
            (_, Self::Held(_) | Self::Unknown) => false,
        }
    }
}

/// What tells a socket from the next daemon's at the same path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    /// Seconds and nanoseconds of the last change: file systems give the number of an inode that is gone away again.
    changed: (i64, i64),
}

impl Identity {
    /// Nothing when there is no socket.
    pub(crate) fn of(socket: &Path) -> Option<Self> {
        let file = fs::symlink_metadata(socket).ok()?;
        Some(Self { device: file.dev(), inode: file.ino(), changed: (file.ctime(), file.ctime_nsec()) })
    }
}

fn path(socket: &Path) -> PathBuf {
    let mut name = OsString::from(socket);
    name.push(".lock");
    PathBuf::from(name)
}

/// The daemon writes its process into the first line.
fn pid(lock: &Path) -> Option<u32> {
    fs::read_to_string(lock).ok()?.lines().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_tells_whether_its_daemon_lives() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("daemon.sock");
        assert_eq!(Lock::beside(&socket), Lock::Unknown);
        fs::write(directory.path().join("daemon.sock.lock"), "4711\n/run/daemon.sock\n").unwrap();
        assert_eq!(Lock::beside(&socket), Lock::Free);
        let held = File::open(directory.path().join("daemon.sock.lock")).unwrap();
        flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert_eq!(Lock::beside(&socket), Lock::Held(Some(4711)));
        // A child that another test has just forked keeps it open for a moment.
        flock(&held, FlockOperation::Unlock).unwrap();
        assert_eq!(Lock::beside(&socket), Lock::Free);
    }

    #[test]
    fn a_lock_passes_when_it_is_let_go_or_another_process_has_it() {
        let before = Lock::Held(Some(4711));
        for (now, passed) in [
            (Lock::Free, true),
            (Lock::Held(Some(4712)), true),
            (Lock::Held(Some(4711)), false),
            (Lock::Held(None), false),
            (Lock::Unknown, false),
        ] {
            assert_eq!(now.has_passed_from(before), passed, "{now:?}");
        }
        assert!(!Lock::Held(Some(4711)).has_passed_from(Lock::Unknown));
    }
}
