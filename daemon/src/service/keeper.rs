//! The listeners of the tunnels outlive the daemon: the service manager holds a copy of each, so that whoever connects while
//! the daemon is killed or restarts is not refused but waits in the queue for the next one.
//!
//! The next daemon gets all of them at its start. A tunnel that binds the same address gets its listener back; what no tunnel
//! asks for is closed.

use std::net::SocketAddr;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::net::{Shutdown, SocketAddrAny, SocketAddrUnix, getsockname, shutdown};

use super::{Supervisor, Unsupervised};

/// Device and inode of a socket's path.
pub(crate) type SocketFile = (u64, u64);

/// Has listeners kept, and gives back those of the daemon before.
#[derive(Debug)]
pub struct Keeper {
    supervisor: Arc<dyn Supervisor>,
    /// Of the daemon before, until a tunnel asks for them.
    left: Mutex<Vec<(String, OwnedFd)>>,
    /// The daemon stops: what is kept stays kept.
    frozen: AtomicBool,
}

impl Default for Keeper {
    /// Of a daemon whose listeners nobody keeps.
    fn default() -> Self {
        Self::new(Arc::new(Unsupervised), Vec::new())
    }
}

impl Keeper {
    /// With what the daemon before has left.
    pub(super) fn new(supervisor: Arc<dyn Supervisor>, left: Vec<(String, OwnedFd)>) -> Self {
        Self { supervisor, left: Mutex::new(left), frozen: AtomicBool::new(false) }
    }

    /// The listener on this address that the daemon before has left.
    pub(crate) fn adopt_tcp(&self, at: SocketAddr) -> Option<std::net::TcpListener> {
        let listener = self.take(|_, bound| SocketAddr::try_from(bound) == Ok(at))?;
        let listener = std::net::TcpListener::from(listener);
        listener.set_nonblocking(true).ok()?;
        Some(listener)
    }

    /// The listener on this path that the daemon before has left, if `file` is still the socket that it had made there.
    pub(crate) fn adopt_unix(&self, path: &Path, file: SocketFile) -> Option<UnixListener> {
        let listener = self.take(|name, bound| {
            let bound = SocketAddrUnix::try_from(bound);
            let is_there = bound.is_ok_and(|bound| bound.path_bytes() == Some(path.as_os_str().as_bytes()));
            is_there && name.ends_with(&suffix(Some(file)))
        })?;
        let listener = UnixListener::from(listener);
        listener.set_nonblocking(true).ok()?;
        Some(listener)
    }

    /// The first one whose name and address are wanted.
    fn take(&self, is_wanted: impl Fn(&str, SocketAddrAny) -> bool) -> Option<OwnedFd> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let found = left
            .iter()
            .position(|(name, left)| getsockname(left).is_ok_and(|bound| is_wanted(name, bound)))?;
        Some(left.swap_remove(found).1)
    }

    /// Has a listener kept until it is dropped while the daemon runs. One that was adopted is kept already, under the same name.
    /// `file` is what a Unix socket's path shows.
    pub(crate) fn keep<L: AsFd>(self: &Arc<Self>, listener: L, file: Option<SocketFile>) -> Kept<L> {
        let name = name_of(listener.as_fd(), file);
        let name = name.filter(|name| self.supervisor.keep(name, listener.as_fd()));
        Kept { keeper: name.map(|name| (Arc::clone(self), name)), listener }
    }

    /// Closes what no tunnel has asked for.
    pub(super) fn close_unclaimed(&self) {
        let left = std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner));
        for (name, listener) in left {
            tracing::info!(name, "a listener of the daemon before belongs to no tunnel");
            self.close(&name, listener.as_fd());
        }
    }

    /// From now on what is kept stays kept.
    pub(super) fn freeze(&self) {
        self.frozen.store(true, Ordering::Release);
    }

    /// Closes the manager's copy, too: at once for whoever connects, and soon for whoever wants the port.
    fn close(&self, name: &str, listener: BorrowedFd<'_>) {
        let _ = shutdown(listener, Shutdown::Both);
        self.supervisor.release(name);
    }
}

/// The number of the socket in the system, which is the same in every process and in every life of the daemon.
fn name_of(listener: BorrowedFd<'_>, file: Option<SocketFile>) -> Option<String> {
    let number = rustix::fs::fstat(listener).ok()?.st_ino;
    Some(format!("listener-{number}{}", suffix(file)))
}

fn suffix(file: Option<SocketFile>) -> String {
    file.map(|(device, inode)| format!("-at-{device}-{inode}")).unwrap_or_default()
}

/// A listener that the service manager may hold a copy of.
#[derive(Debug)]
pub(crate) struct Kept<L: AsFd> {
    keeper: Option<(Arc<Keeper>, String)>,
    listener: L,
}

impl<L: AsFd> Deref for Kept<L> {
    type Target = L;

    fn deref(&self) -> &L {
        &self.listener
    }
}

impl<L: AsFd> Drop for Kept<L> {
    fn drop(&mut self) {
        let Some((keeper, name)) = &self.keeper else { return };
        if !keeper.frozen.load(Ordering::Acquire) {
            keeper.close(name, self.listener.as_fd());
        }
    }
}
