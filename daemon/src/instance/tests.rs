//! Two daemons never share a place, and nobody else gets in.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};

use super::*;

const DEADLINE: Duration = Duration::from_secs(10);

#[test]
fn the_second_daemon_learns_who_the_first_is() {
    let home = TempDir::new().unwrap();
    let paths = paths(home.path());
    let first = mine(&paths);
    let Claim::Held(holder) = Instance::claim(&paths).unwrap() else { panic!("claimed twice") };
    assert_eq!(holder.pid, Some(std::process::id()));
    assert_eq!(holder.socket.as_ref(), Some(&paths.socket));
    drop(first);
    mine(&paths);
}

#[test]
fn one_socket_is_not_shared_by_two_state_directories() {
    let home = TempDir::new().unwrap();
    let first = paths(home.path());
    let second = Paths { state_dir: home.path().join("other"), ..first.clone() };
    let _first = mine(&first);
    assert!(
        matches!(Instance::claim(&second).unwrap(), Claim::Held(holder) if holder.lock == first.socket_lock())
    );
}

#[test]
fn new_directories_are_closed_and_open_ones_refused() {
    let home = TempDir::new().unwrap();
    let paths = paths(home.path());
    mine(&paths);
    for directory in [&paths.state_dir, &home.path().join("run")] {
        assert_eq!(
            fs::metadata(directory).unwrap().permissions().mode() & 0o777,
            0o700,
            "{}",
            directory.display()
        );
    }
    fs::set_permissions(home.path().join("run"), fs::Permissions::from_mode(0o755)).unwrap();
    let error = Instance::claim(&paths).unwrap_err();
    assert!(error.to_string().contains("chmod 700"), "{error}");
}

#[test]
fn a_file_in_the_place_of_a_directory_is_named() {
    let home = TempDir::new().unwrap();
    fs::write(home.path().join("state"), "").unwrap();
    let error = Instance::claim(&paths(home.path())).unwrap_err();
    assert!(error.to_string().contains("is not a directory"), "{error}");
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_closed_to_others() {
    let home = TempDir::new().unwrap();
    let paths = paths(home.path());
    let instance = mine(&paths);
    drop(UnixListener::bind(&paths.socket).unwrap());
    assert!(paths.socket.exists(), "a closed listener leaves its path behind");
    let socket = Socket::bind(&paths.socket, &instance).unwrap();
    assert_eq!(fs::metadata(&paths.socket).unwrap().permissions().mode() & 0o777, 0o600);
    drop(socket);
    assert!(!paths.socket.exists());
}

#[tokio::test]
async fn a_file_is_never_taken_for_a_stale_socket() {
    let home = TempDir::new().unwrap();
    let paths = paths(home.path());
    let instance = mine(&paths);
    fs::write(&paths.socket, "precious").unwrap();
    assert!(matches!(Socket::bind(&paths.socket, &instance), Err(SocketError::InTheWay { .. })));
    assert_eq!(fs::read_to_string(&paths.socket).unwrap(), "precious");
}

#[tokio::test]
async fn only_the_own_user_gets_in() {
    let home = TempDir::new().unwrap();
    let paths = paths(home.path());
    let instance = mine(&paths);
    let own = rustix::process::geteuid().as_raw();

    let (mut connections, _unlink) = Socket::bind(&paths.socket, &instance).unwrap().into_connections(own);
    let _client = UnixStream::connect(&paths.socket).await.unwrap();
    within(connections.next()).await.unwrap().unwrap();
    drop(connections);
    assert!(UnixStream::connect(&paths.socket).await.is_err(), "nobody listens any more");

    // The same peer, seen by a daemon of another user.
    let (mut connections, _unlink) =
        Socket::bind(&paths.socket, &instance).unwrap().into_connections(own + 1);
    let mut client = UnixStream::connect(&paths.socket).await.unwrap();
    let mut byte = [0];
    tokio::select! {
        _ = connections.next() => panic!("a foreign user got in"),
        read = within(client.read(&mut byte)) => assert_eq!(read.unwrap(), 0, "closed without a byte"),
    }
}

#[tokio::test]
async fn the_service_managers_socket_is_used_and_left_to_it() {
    let home = TempDir::new().unwrap();
    let paths = paths(home.path());
    let instance = mine(&paths);
    let given = std::os::unix::net::UnixListener::bind(&paths.socket).unwrap();
    let managers = given.try_clone().unwrap();
    let socket = Socket::open(&paths.socket, Some(given), &instance).unwrap();
    let (mut connections, unlink) = socket.into_connections(rustix::process::geteuid().as_raw());
    let _client = UnixStream::connect(&paths.socket).await.unwrap();
    within(connections.next()).await.unwrap().unwrap();
    drop((connections, unlink));
    UnixStream::connect(&paths.socket).await.expect("whoever connects now waits for the next daemon");
    drop(managers);
}

#[tokio::test]
async fn a_given_socket_at_another_place_is_not_served() {
    let home = TempDir::new().unwrap();
    let paths = paths(home.path());
    let instance = mine(&paths);
    let given = std::os::unix::net::UnixListener::bind(home.path().join("other.sock")).unwrap();
    let _socket = Socket::open(&paths.socket, Some(given), &instance).unwrap();
    UnixStream::connect(&paths.socket).await.unwrap();
    assert!(UnixStream::connect(home.path().join("other.sock")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_somebody_removed_is_there_again() {
    let home = TempDir::new().unwrap();
    let paths = paths(home.path());
    let instance = mine(&paths);
    let own = rustix::process::geteuid().as_raw();
    let (mut connections, unlink) = Socket::bind(&paths.socket, &instance).unwrap().into_connections(own);
    assert!(futures_util::poll!(connections.next()).is_pending(), "the first look is at once");
    fs::remove_dir_all(home.path().join("run")).unwrap();
    let client = async {
        while !paths.socket.exists() {
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        UnixStream::connect(&paths.socket).await.unwrap()
    };
    let (_client, connection) = tokio::join!(client, connections.next());
    connection.unwrap().unwrap();
    assert_eq!(fs::metadata(&paths.socket).unwrap().permissions().mode() & 0o777, 0o600);
    drop((connections, unlink));
    assert!(!paths.socket.exists());
}

#[tokio::test]
async fn a_holder_is_not_taken_to_serve_a_given_socket() {
    let home = TempDir::new().unwrap();
    let paths = paths(home.path());
    let _instance = mine(&paths);
    let _managers = UnixListener::bind(&paths.socket).unwrap();
    let (claim, serving) =
        within(claim_or_find_serving(&paths, Duration::from_millis(10), true)).await.unwrap();
    assert!(matches!(claim, Claim::Held(_)) && !serving);
}

#[tokio::test]
async fn a_holder_that_serves_is_found() {
    let home = TempDir::new().unwrap();
    let paths = paths(home.path());
    let instance = mine(&paths);
    let _socket = Socket::bind(&paths.socket, &instance).unwrap();
    let (claim, serving) = within(claim_or_find_serving(&paths, DEADLINE, false)).await.unwrap();
    assert!(matches!(claim, Claim::Held(_)) && serving);
}

#[tokio::test]
async fn a_holder_that_stops_is_waited_for() {
    let home = TempDir::new().unwrap();
    let paths = paths(home.path());
    let instance = mine(&paths);
    let second = claim_or_find_serving(&paths, DEADLINE, false);
    tokio::pin!(second);
    assert!(futures_util::poll!(&mut second).is_pending());
    drop(instance);
    assert!(matches!(within(second).await.unwrap(), (Claim::Mine(_), false)));
}

#[tokio::test]
async fn a_holder_of_another_socket_is_not_waited_for() {
    let home = TempDir::new().unwrap();
    let first = paths(home.path());
    let _instance = mine(&first);
    let second = Paths { socket: home.path().join("run/other.sock"), ..first };
    let (claim, serving) = within(claim_or_find_serving(&second, DEADLINE * 10, false)).await.unwrap();
    assert!(matches!(claim, Claim::Held(_)) && !serving);
}

fn paths(home: &Path) -> Paths {
    Paths {
        socket: home.join("run/daemon.sock"),
        state_dir: home.join("state"),
        settings: home.join("settings.toml"),
    }
}

fn mine(paths: &Paths) -> Instance {
    match Instance::claim(paths).unwrap() {
        Claim::Mine(instance) => instance,
        Claim::Held(holder) => panic!("held by {holder:?}"),
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it happens before the deadline")
}
