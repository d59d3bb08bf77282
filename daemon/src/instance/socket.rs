//! The API's socket: one user's, whatever the file system says.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Interval, MissedTickBehavior, Sleep};

use super::{Instance, directory};

/// How long to wait after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often to look whether the path is still there.
const PLACE_LOOK: Duration = Duration::from_secs(10);

/// A socket that cannot be served.
#[derive(Debug, Error)]
pub enum SocketError {
    /// Something that is no socket has its name.
    #[error("{} exists and is no socket; move it away or choose another path with --socket", path.display())]
    InTheWay {
        /// The path.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot listen on {}", path.display())]
    Bind {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A bound socket. Dropping it closes it, and unlinks a path that is ours.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    unlink: Unlink,
}

/// Where a socket is.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    /// Bound by this process, and to be unlinked by it; else by the service manager.
    is_ours: AtomicBool,
}

impl Place {
    fn guarded(path: &Path, is_ours: bool) -> Unlink {
        Unlink(Arc::new(Self { path: path.to_owned(), is_ours: AtomicBool::new(is_ours) }))
    }
}

impl Socket {
    /// Serves the socket that the service manager has given, if it is at `path`; else binds `path`.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn open(
        path: &Path,
        given: Option<std::os::unix::net::UnixListener>,
        instance: &Instance,
    ) -> Result<Self, SocketError> {
        let Some(given) = given else { return Self::bind(path, instance) };
        let at = given.local_addr().ok().and_then(|address| address.as_pathname().map(Path::to_owned));
        if at.as_deref() != Some(path) {
            tracing::warn!(?at, wanted = %path.display(), "the service manager's socket is at another place");
            return Self::bind(path, instance);
        }
        let listener = given.set_nonblocking(true).and_then(|()| UnixListener::from_std(given));
        let listener = listener.map_err(|source| SocketError::Bind { path: path.to_owned(), source })?;
        Ok(Self { listener, unlink: Place::guarded(path, false) })
    }

    /// Binds `path`. A socket that a dead daemon left there is removed: the instance shows that nobody serves it.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn bind(path: &Path, _holder_of_the_lock: &Instance) -> Result<Self, SocketError> {
        let failed = |source| SocketError::Bind { path: path.to_owned(), source };
        match std::fs::symlink_metadata(path) {
            Ok(metadata) if metadata.file_type().is_socket() => std::fs::remove_file(path).map_err(failed)?,
            Ok(_) => return Err(SocketError::InTheWay { path: path.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let listener = listen(path).map_err(failed)?;
        Ok(Self { listener, unlink: Place::guarded(path, true) })
    }

    /// The connections of user `uid`; those of others are closed at once. The listener is closed with the stream, the
    /// returned guard unlinks the path.
    pub fn into_connections(self, uid: u32) -> (PeerStream, Unlink) {
        let Self { listener, unlink } = self;
        let mut looks = tokio::time::interval(PLACE_LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        (PeerStream { listener, uid, pause: None, looks, place: Arc::clone(&unlink.0) }, unlink)
    }
}

/// Binds a path that is free.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    // The umask has closed it to others from its first moment; this also takes the owner's useless x bit.
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600))?;
    Ok(listener)
}

/// Removes the socket's path when dropped, if it is ours.
#[derive(Debug)]
pub struct Unlink(Arc<Place>);

impl Drop for Unlink {
    fn drop(&mut self) {
        let Place { path, is_ours } = &*self.0;
        if !is_ours.load(Ordering::Acquire) {
            return;
        }
        if let Err(error) = std::fs::remove_file(path) {
            tracing::debug!(path = %path.display(), %error, "the socket was gone already");
        }
    }
}

/// Connections whose peer has the right uid. Never answers an error: it waits out what passes by itself, such as a lack
/// of descriptors, instead of having its caller spin.
///
/// A path that somebody has removed is bound anew: nobody could reach the daemon any more, and it holds the lock that keeps
/// another one from starting.
#[derive(Debug)]
pub struct PeerStream {
    listener: UnixListener,
    uid: u32,
    pause: Option<Pin<Box<Sleep>>>,
    looks: Interval,
    place: Arc<Place>,
}

impl PeerStream {
    fn bind_anew_if_gone(&mut self) {
        let path = &self.place.path;
        let is_gone =
            std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if !is_gone {
            return;
        }
        let parent = directory::private(directory::parent(path), directory::Others::KeptOut);
        match parent.map_err(io::Error::other).and_then(|()| listen(path)) {
            Ok(listener) => {
                tracing::warn!(path = %path.display(), "the socket was removed; it is there again");
                self.listener = listener;
                self.place.is_ours.store(true, Ordering::Release);
            }
            Err(error) => tracing::warn!(path = %path.display(), %error, "the socket was removed"),
        }
    }
}

impl Stream for PeerStream {
    type Item = io::Result<UnixStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            while self.looks.poll_tick(cx).is_ready() {
                self.bind_anew_if_gone();
            }
            let stream = match std::task::ready!(self.listener.poll_accept(cx)) {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection to the API");
                    self.pause = Some(Box::pin(tokio::time::sleep(ACCEPT_PAUSE)));
                    continue;
                }
            };
            match stream.peer_cred() {
                Ok(peer) if peer.uid() == self.uid => return Poll::Ready(Some(Ok(stream))),
                Ok(peer) => {
                    tracing::warn!(uid = peer.uid(), pid = ?peer.pid(), "refused a connection of another user");
                }
                Err(error) => tracing::warn!(%error, "refused a connection whose user is not known"),
            }
        }
    }
}
