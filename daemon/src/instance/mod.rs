//! One daemon per state directory and per socket, and nobody else's business.
//!
//! The locks come before everything: what is not locked is not written. Two files are locked because both places can be
//! chosen freely: two daemons on one database would run every tunnel twice, two on one socket would unlink each other's.

pub mod directory;
mod limits;
mod socket;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use thiserror::Error;
use tokio::net::UnixStream;

pub use limits::raise_descriptor_limit;
pub use socket::{PeerStream, Socket, SocketError, Unlink};

use crate::paths::Paths;
use directory::DirectoryError;

/// How often to look whether the daemon that holds the lock serves or is gone.
const HOLDER_POLL: Duration = Duration::from_millis(50);

/// The locks of this daemon; they end with the process, however it ends.
#[derive(Debug)]
pub struct Instance {
    _state: File,
    _socket: File,
}

/// Who has the locks.
#[derive(Debug)]
pub enum Claim {
    /// This process, until the value is dropped.
    Mine(Instance),
    /// Another daemon.
    Held(Holder),
}

/// The daemon that holds a lock, as far as it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process.
    pub pid: Option<u32>,
    /// The socket that it serves.
    pub socket: Option<PathBuf>,
    /// The lock that it holds.
    pub lock: PathBuf,
}

/// An instance that cannot be claimed.
#[derive(Debug, Error)]
pub enum InstanceError {
    /// A directory is not fit to hold private files.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A lock file cannot be opened or locked.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Instance {
    /// Makes the directories and takes the locks, or tells who has them. Waits for nobody.
    ///
    /// # Errors
    /// [`InstanceError`]: a directory of somebody else, or no right to write.
    pub fn claim(paths: &Paths) -> Result<Claim, InstanceError> {
        directory::private(&paths.state_dir, directory::Others::MayRead)?;
        directory::private(directory::parent(&paths.socket), directory::Others::KeptOut)?;
        let state = match lock(&paths.state_lock(), &paths.socket)? {
            Ok(file) => file,
            Err(holder) => return Ok(Claim::Held(holder)),
        };
        match lock(&paths.socket_lock(), &paths.socket)? {
            Ok(socket) => Ok(Claim::Mine(Self { _state: state, _socket: socket })),
            Err(holder) => Ok(Claim::Held(holder)),
        }
    }
}

/// Waits while another daemon holds the locks without serving: it is starting or stopping.
///
/// Answers [`Claim::Held`] as soon as the holder accepts connections on the socket of `paths`, or when it still does not
/// after `patience`, or at once when it serves another socket. A socket that the service manager has given to this process
/// accepts connections whoever the holder is, and says nothing.
///
/// # Errors
/// As [`Instance::claim`].
pub async fn claim_or_find_serving(
    paths: &Paths,
    patience: Duration,
    socket_is_given: bool,
) -> Result<(Claim, bool), InstanceError> {
    let deadline = tokio::time::Instant::now() + patience;
    let mut poll = tokio::time::interval(HOLDER_POLL);
    loop {
        poll.tick().await;
        let holder = match Instance::claim(paths)? {
            Claim::Mine(instance) => return Ok((Claim::Mine(instance), false)),
            Claim::Held(holder) => holder,
        };
        let elsewhere = holder.socket.as_ref().is_some_and(|socket| *socket != paths.socket);
        let tells = !elsewhere && !socket_is_given;
        let serving = tells && UnixStream::connect(&paths.socket).await.is_ok();
        if serving || elsewhere || tokio::time::Instant::now() >= deadline {
            return Ok((Claim::Held(holder), serving));
        }
    }
}

/// Locks `path` and writes into it who did. The file is never removed: a lock on a file that is gone protects nothing.
fn lock(path: &Path, socket: &Path) -> Result<Result<File, Holder>, InstanceError> {
    let failed = |source: io::Error| InstanceError::Lock { path: path.to_owned(), source };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(Err(holder(&mut file, path))),
        Err(error) => return Err(failed(error.into())),
    }
    let note = format!("{}\n{}\n", std::process::id(), socket.display());
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(note.as_bytes()))
        .map_err(failed)?;
    Ok(Ok(file))
}

/// What the holder wrote. It may be about to write: nothing of it has to be there.
fn holder(file: &mut File, path: &Path) -> Holder {
    let mut note = String::new();
    let _ = file.read_to_string(&mut note);
    let mut lines = note.lines();
    let pid = lines.next().and_then(|line| line.parse().ok());
    let socket = lines.next().map(PathBuf::from);
    Holder { pid, socket, lock: path.to_owned() }
}

#[cfg(test)]
mod tests;
