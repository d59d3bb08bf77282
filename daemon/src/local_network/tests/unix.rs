//! Unix sockets: who may connect, what is replaced and what is left alone.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;

use tempfile::TempDir;
use tokio::net::UnixStream;

use super::*;

fn local(path: &Path) -> LocalEndpoint {
    format!("unix:{}", path.display()).parse().unwrap()
}

async fn bind(path: &Path) -> Box<dyn LocalListener> {
    SocketNetwork::default().bind(local(path)).await.unwrap()
}

async fn refused(path: &Path) -> Fault {
    let Err(BindError(fault)) = SocketNetwork::default().bind(local(path)).await else { panic!("bound") };
    fault
}

#[tokio::test]
async fn a_socket_is_the_users_alone_and_carries_bytes_both_ways() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db.sock");
    let mut listener = bind(&path).await;
    assert_eq!(listener.addresses()[0].to_string(), local(&path).to_string());
    let metadata = fs::symlink_metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    let mut client = UnixStream::connect(&path).await.unwrap();
    let mut accepted = within(listener.accept()).await;
    client.write_all(b"ping").await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = Vec::new();
    within(accepted.read_to_end(&mut heard)).await.unwrap();
    accepted.write_all(b"pong").await.unwrap();
    drop(accepted);
    let mut answer = Vec::new();
    within(client.read_to_end(&mut answer)).await.unwrap();
    assert_eq!((heard.as_slice(), answer.as_slice()), (b"ping".as_slice(), b"pong".as_slice()));
}

#[tokio::test]
async fn a_socket_that_is_closed_leaves_nothing_and_takes_nothing_with_it() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db.sock");
    drop(bind(&path).await);
    assert!(!path.exists());

    let listener = bind(&path).await;
    fs::remove_file(&path).unwrap();
    let other = StdListener::bind(&path).unwrap();
    drop(listener);
    assert!(path.exists(), "it is another program's by now");
    drop(other);
}

#[tokio::test]
async fn a_socket_that_nobody_listens_on_is_replaced() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db.sock");
    // The standard library leaves the file, as a daemon does that is killed.
    drop(StdListener::bind(&path).unwrap());
    assert!(path.exists());
    let mut listener = bind(&path).await;
    let _client = UnixStream::connect(&path).await.unwrap();
    within(listener.accept()).await;
}

#[tokio::test]
async fn what_somebody_listens_on_is_a_conflict_with_its_holder() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db.sock");
    let _other = StdListener::bind(&path).unwrap();
    let before = fs::symlink_metadata(&path).unwrap().ino();
    let FaultKind::PortInUse { address, holder } = refused(&path).await.kind else { panic!("another fault") };
    assert_eq!(address, local(&path).to_string());
    if cfg!(target_os = "linux") {
        let holder = holder.expect("Linux tells");
        assert!(holder.starts_with(&format!("pid {} (", std::process::id())), "{holder}");
    }
    assert_eq!(fs::symlink_metadata(&path).unwrap().ino(), before, "left alone");
}

#[tokio::test]
async fn a_file_that_is_no_socket_stays() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("notes");
    fs::write(&path, "mine").unwrap();
    let fault = refused(&path).await;
    let holder = Some("a file that is no socket".to_owned());
    assert_eq!(fault.kind, FaultKind::PortInUse { address: local(&path).to_string(), holder });
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(matches!(refused(&link).await.kind, FaultKind::PortInUse { .. }), "nor is a link one");
}

#[tokio::test]
async fn the_directory_must_be_there_and_the_users_own() {
    let directory = TempDir::new().unwrap();
    let missing = refused(&directory.path().join("no/db.sock")).await;
    assert_eq!(missing.kind, FaultKind::InvalidArgument { field: "local".to_owned() });
    assert!(missing.detail.contains("there is no directory"), "{missing}");
    fs::write(directory.path().join("file"), "").unwrap();
    let file = refused(&directory.path().join("file/db.sock")).await;
    assert!(file.detail.contains("is no directory"), "{file}");
    // Of the directories that any system has, one is another user's, whoever runs the tests.
    let own = rustix::process::geteuid().as_raw();
    let others = ["/", "/proc/1", "/var/empty", "/var/lib/nobody"];
    let foreign = others.iter().find(|path| fs::metadata(path).is_ok_and(|found| found.uid() != own));
    if let Some(foreign) = foreign {
        let fault = refused(&Path::new(foreign).join("db.sock")).await;
        assert!(fault.detail.contains("is not yours"), "{fault}");
    }
}

#[tokio::test]
async fn nobody_else_may_be_able_to_put_a_socket_there() {
    let directory = TempDir::new().unwrap();
    let (open, inside) = (directory.path().join("open"), directory.path().join("open/inside"));
    fs::create_dir_all(&inside).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let fault = refused(&open.join("db.sock")).await;
    assert!(fault.detail.contains("others can put files into"), "{fault}");
    let fault = refused(&inside.join("db.sock")).await;
    assert!(fault.detail.contains("could replace the directory"), "{fault}");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
    bind(&inside.join("db.sock")).await;
    fs::set_permissions(&open, fs::Permissions::from_mode(0o770)).unwrap();
    bind(&open.join("db.sock")).await;
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&inside, &link).unwrap();
    bind(&link.join("db.sock")).await;
}

/// There is no reset on a Unix socket, but unread bytes make the system tell of one.
#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_connection_that_is_reset_with_bytes_unread_is_seen_as_such() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db.sock");
    let mut listener = bind(&path).await;
    let mut client = UnixStream::connect(&path).await.unwrap();
    let accepted = within(listener.accept()).await;
    client.write_all(b"hello").await.unwrap();
    accepted.reset_on_close();
    drop(accepted);
    let error = within(client.read(&mut [0])).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}
