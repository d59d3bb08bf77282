//! The API's socket: one user's, whatever the file system says.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::Sleep;

use super::Instance;

/// How long to wait after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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

/// A bound socket. Dropping it closes and unlinks it.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: Unlink,
}

impl Socket {
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
        let listener = UnixListener::bind(path).map_err(failed)?;
        // The umask has closed it to others from its first moment; this also takes the owner's useless x bit.
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).map_err(failed)?;
        Ok(Self { listener, path: Unlink(path.to_owned()) })
    }

    /// The connections of user `uid`; those of others are closed at once. The listener is closed with the stream, the
    /// returned guard unlinks the path.
    pub fn into_connections(self, uid: u32) -> (PeerStream, Unlink) {
        (PeerStream { listener: self.listener, uid, pause: None }, self.path)
    }
}

/// Removes the socket's path when dropped.
#[derive(Debug)]
pub struct Unlink(PathBuf);

impl Drop for Unlink {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(path = %self.0.display(), %error, "the socket was gone already");
        }
    }
}

/// Connections whose peer has the right uid. Never answers an error: it waits out what passes by itself, such as a lack
/// of descriptors, instead of having its caller spin.
#[derive(Debug)]
pub struct PeerStream {
    listener: UnixListener,
    uid: u32,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Stream for PeerStream {
    type Item = io::Result<UnixStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(cx));
                self.pause = None;
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
