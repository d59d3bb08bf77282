//! Unix sockets as local ends: at a path of the user's, for the user alone.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use stormtunnel_model::{Fault, FaultKind, SocketPath};
use tokio::net::{UnixListener, UnixSocket, UnixStream};

use super::{BACKLOG, holder, refused};
use crate::service::keeper::{Keeper, SocketFile};

/// The system's owner, and what the owner of a container's outside looks like from within.
const SYSTEM: [u32; 2] = [0, 65_534];
/// In a directory with that bit only the owner of a file may remove it.
const STICKY: u32 = 0o1000;
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;

/// The path of a socket that is bound. Dropped, it is free again, unless something else has taken it meanwhile.
#[derive(Debug)]
pub(super) struct Place {
    path: SocketPath,
    /// Device and inode.
    file: SocketFile,
}

impl Place {
    fn taken(path: &SocketPath) -> io::Result<Self> {
        let file = file_of(&fs::symlink_metadata(path.as_str())?);
        Ok(Self { path: path.clone(), file })
    }

    pub(super) fn path(&self) -> &SocketPath {
        &self.path
    }

    pub(super) fn file(&self) -> SocketFile {
        self.file
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

fn file_of(metadata: &Metadata) -> SocketFile {
    (metadata.dev(), metadata.ino())
}

/// Binds a socket that only the user may connect to. One that nobody listens on any more, as a daemon that was killed
/// leaves it, is replaced; one that the service manager has kept is used again.
pub(super) async fn bind(path: &SocketPath, keeper: &Keeper) -> Result<(UnixListener, Place), Fault> {
    check_directory(path)?;
    if let Some(adopted) = adopt(path, keeper) {
        return Ok(adopted);
    }
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

fn adopt(path: &SocketPath, keeper: &Keeper) -> Option<(UnixListener, Place)> {
    let file = file_of(&fs::symlink_metadata(path.as_str()).ok()?);
    let listener = UnixListener::from_std(keeper.adopt_unix(Path::new(path.as_str()), file)?).ok()?;
    Some((listener, Place { path: path.clone(), file }))
}

fn listen(path: &SocketPath) -> io::Result<(UnixListener, Place)> {
    let socket = UnixSocket::new_stream()?;
    socket.bind(path.as_str())?;
    let place = Place::taken(path)?;
    // Nobody can connect before it listens.
    fs::set_permissions(path.as_str(), Permissions::from_mode(0o600))?;
    Ok((socket.listen(BACKLOG)?, place))
}

/// Where others may put files, another program could wait in our place: the directory has to be the user's alone, and
/// nobody else may be able to put another one there.
fn check_directory(path: &SocketPath) -> Result<(), Fault> {
    let directory = Path::new(path.as_str()).parent().unwrap_or(Path::new("/"));
    let shown = directory.display();
    let real = fs::canonicalize(directory).map_err(|error| {
        refused(if error.kind() == io::ErrorKind::NotFound {
            format!("there is no directory {shown}; make it, then `stctl up NAME`")
        } else {
            format!("the directory {shown} cannot be used: {error}")
        })
    })?;
    let look = |at: &Path| {
        fs::symlink_metadata(at)
            .map_err(|error| refused(format!("{} cannot be looked at: {error}", at.display())))
    };
    let found = look(&real)?;
    if !found.is_dir() {
        return Err(refused(format!("{shown} is no directory")));
    }
    if found.uid() != own_uid() {
        return Err(refused(format!("the directory {shown} is not yours; choose one that is")));
    }
    if others_may_write(&found) {
        let remedy = format!("`chmod go-w {shown}`, or choose another one");
        return Err(refused(format!("others can put files into the directory {shown}; {remedy}")));
    }
    for at in directory.ancestors().chain(real.ancestors().skip(1)) {
        let found = look(at)?;
        let foreign = found.uid() != own_uid() && !SYSTEM.contains(&found.uid());
        let open = found.is_dir() && others_may_write(&found) && found.mode() & STICKY == 0;
        if foreign || open {
            let why = format!("{} is not yours alone", at.display());
            return Err(refused(format!("somebody else could replace the directory {shown}: {why}")));
        }
    }
    Ok(())
}

/// A group of the user's own, as many systems give to everybody, is nobody else.
fn others_may_write(found: &Metadata) -> bool {
    let by_group = found.mode() & GROUP_WRITES != 0 && found.gid() != rustix::process::getegid().as_raw();
    by_group || found.mode() & OTHERS_WRITE != 0
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
    // Where the system tells, whoever listens is not bothered with a connection every few seconds.
    if let holder @ Some(_) = holder::find_at(path.as_str()).await {
        return Err(in_use(path, holder));
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
