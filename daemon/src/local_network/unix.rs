//! Unix sockets as local ends: at a path of the user's, for the user alone.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use stormtunnel_model::{Fault, FaultKind, SocketPath};
use tokio::net::{UnixListener, UnixSocket, UnixStream};

use super::{BACKLOG, holder, refused};

/// The path of a socket that is bound. Dropped, it is free again, unless something else has taken it meanwhile.
#[derive(Debug)]
pub(super) struct Place {
    path: SocketPath,
    /// Device and inode.
    file: (u64, u64),
}

impl Place {
    fn taken(path: &SocketPath) -> io::Result<Self> {
        let file = file_of(&fs::symlink_metadata(path.as_str())?);
        Ok(Self { path: path.clone(), file })
    }

    pub(super) fn path(&self) -> &SocketPath {
        &self.path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let path = self.path.as_str();
        let is_ours = fs::symlink_metadata(path).is_ok_and(|found| file_of(&found) == self.file);
        if !is_ours {
            tracing::debug!(path, "the socket was gone already");
        } else if let Err(error) = fs::remove_file(path) {
            tracing::warn!(path, %error, "the socket could not be removed");
        }
    }
}

fn file_of(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Binds a socket that only the user may connect to. One that nobody listens on any more, as a daemon that was killed
/// leaves it, is replaced.
pub(super) async fn bind(path: &SocketPath) -> Result<(UnixListener, Place), Fault> {
    check_directory(path)?;
    make_way(path).await?;
    listen(path).map_err(|error| {
        let kind = error.kind();
        if kind == io::ErrorKind::AddrInUse {
            in_use(path, None)
        } else if kind == io::ErrorKind::PermissionDenied {
            refused(format!("the system does not let you make the socket {path}"))
        } else {
            Fault::internal(format!("cannot listen on {path}: {error}"))
        }
    })
}

fn listen(path: &SocketPath) -> io::Result<(UnixListener, Place)> {
    let socket = UnixSocket::new_stream()?;
    socket.bind(path.as_str())?;
    let place = Place::taken(path)?;
    // Nobody can connect before it listens.
    fs::set_permissions(path.as_str(), Permissions::from_mode(0o600))?;
    Ok((socket.listen(BACKLOG)?, place))
}

/// In a directory of somebody else, such as `/tmp`, another program could wait in our place.
fn check_directory(path: &SocketPath) -> Result<(), Fault> {
    let directory = Path::new(path.as_str()).parent().unwrap_or(Path::new("/"));
    let shown = directory.display();
    match fs::metadata(directory) {
        Ok(found) if !found.is_dir() => Err(refused(format!("{shown} is no directory"))),
        Ok(found) if found.uid() != own_uid() => {
            Err(refused(format!("the directory {shown} is not yours; choose one that is")))
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(refused(format!("there is no directory {shown}; make it, then `stctl up NAME`")))
        }
        Err(error) => Err(refused(format!("the directory {shown} cannot be used: {error}"))),
    }
}

/// Removes a socket of ours that nobody listens on. Whatever else is there stays.
async fn make_way(path: &SocketPath) -> Result<(), Fault> {
    let found = match fs::symlink_metadata(path.as_str()) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(format!("{path} cannot be looked at: {error}"))),
    };
    if !found.file_type().is_socket() {
        return Err(in_use(path, Some("a file that is no socket".to_owned())));
    }
    if found.uid() != own_uid() {
        return Err(in_use(path, Some(format!("a process of uid {}", found.uid()))));
    }
    match UnixStream::connect(path.as_str()).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        Ok(stream) => {
            let listener = stream.peer_cred().ok().and_then(|peer| peer.pid());
            return Err(in_use(path, listener.map(holder::process)));
        }
        // Such as a queue that is full: somebody listens.
        Err(_) => return Err(in_use(path, None)),
    }
    match fs::remove_file(path.as_str()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(refused(format!("{path} is left over and cannot be removed: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn in_use(path: &SocketPath, holder: Option<String>) -> Fault {
    Fault::new(FaultKind::PortInUse { address: format!("unix:{path}"), holder }, "")
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}
