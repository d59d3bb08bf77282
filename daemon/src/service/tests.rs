//! Against a service manager of the test's: a datagram socket that takes descriptors.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixDatagram;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use stormtunnel_engine::Engine;
use stormtunnel_engine::ports::{LocalListener, LocalNetwork};
use stormtunnel_engine::testing::World;
use stormtunnel_model::settings::Settings;
use stormtunnel_model::{BoundAddress, LocalEndpoint};
use tempfile::TempDir;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;

use super::systemd::Notifier;
use super::*;
use crate::local_network::SocketNetwork;

const DEADLINE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_listener_outlives_its_daemon() {
    let manager = Manager::new();
    let network = manager.network(Vec::new());
    let listener = network.bind(LocalEndpoint::AUTOMATIC).await.unwrap();
    let addresses = addresses(listener.as_ref());
    let stored = manager.stored();
    assert_eq!(stored.len(), addresses.len(), "one for each address");
    // Killed: nothing of the daemon runs any more.
    std::mem::forget((network, listener));
    let mut waiting = within(TcpStream::connect(addresses[0])).await.unwrap();

    let network = manager.network(stored);
    let mut listener = network.bind(fixed(addresses[0].port())).await.unwrap();
    assert_eq!(self::addresses(listener.as_ref()), addresses);
    let accepted = within(listener.accept()).await;
    drop(accepted);
    let mut byte = [0];
    let read = within(tokio::io::AsyncReadExt::read(&mut waiting, &mut byte)).await;
    assert_eq!(read.unwrap(), 0, "the connection of the time between was accepted and closed");
}

#[tokio::test]
async fn a_unix_socket_outlives_its_daemon_unless_its_path_was_taken() {
    let manager = Manager::new();
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db.sock");
    let local = || LocalEndpoint::Unix(path.to_str().unwrap().parse().unwrap());
    let network = manager.network(Vec::new());
    std::mem::forget(network.bind(local()).await.unwrap());
    let stored = manager.stored();
    let _waiting = within(UnixStream::connect(&path)).await.unwrap();
    let network = manager.network(stored);
    let mut listener = network.bind(local()).await.unwrap();
    within(listener.accept()).await;

    let stored = manager.stored();
    std::mem::forget(listener);
    std::fs::remove_file(&path).unwrap();
    let another = tokio::net::UnixListener::bind(&path).unwrap();
    let refused = manager.network(stored).bind(local()).await;
    assert!(refused.is_err(), "somebody else listens there now");
    drop(another);
}

#[tokio::test]
async fn a_tunnel_that_stops_takes_its_listener_back_and_a_daemon_that_stops_does_not() {
    let manager = Manager::new();
    let service = Service::new(manager.notifier(), Vec::new());
    let network = SocketNetwork::new(Arc::clone(&service.keeper));
    let first = network.bind(LocalEndpoint::AUTOMATIC).await.unwrap();
    let address = addresses(first.as_ref())[0];
    let stored = manager.stored();
    drop(first);
    for (name, _) in &stored {
        assert_eq!(manager.told().0, format!("FDSTOREREMOVE=1\nFDNAME={name}"));
    }
    assert!(
        within(TcpStream::connect(address)).await.is_err(),
        "the manager's copy does not listen any more"
    );

    let second = network.bind(LocalEndpoint::AUTOMATIC).await.unwrap();
    let address = addresses(second.as_ref())[0];
    let _stored = manager.stored();
    service.stopping();
    drop(second);
    assert_eq!(manager.told().0, "STOPPING=1");
    within(TcpStream::connect(address)).await.expect("the manager's copy listens");
}

#[tokio::test(start_paused = true)]
async fn what_no_tunnel_asks_for_is_closed() {
    let manager = Manager::new();
    let network = manager.network(Vec::new());
    let listener = network.bind(LocalEndpoint::AUTOMATIC).await.unwrap();
    let address = addresses(listener.as_ref())[0];
    let stored = manager.stored();
    let names: Vec<String> = stored.iter().map(|(name, _)| name.clone()).collect();
    std::mem::forget(listener);
    let service = Service::new(manager.notifier(), stored);
    let tasks = Tasks::new();
    let (_engine, handle) = engine().await;
    service.ready(&tasks, handle).unwrap();
    assert_eq!(manager.told().0, "READY=1");
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    let mut told = Vec::new();
    while told.len() < names.len() {
        seconds.tick().await;
        told.extend(manager.told_now().filter(|words| words.starts_with("FDSTOREREMOVE")));
    }
    assert_eq!(told, names.iter().map(|name| format!("FDSTOREREMOVE=1\nFDNAME={name}")).collect::<Vec<_>>());
    assert!(std::net::TcpStream::connect(address).is_err());
    tasks.shutdown(DEADLINE).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_lives_says_so_twice_in_the_time_allowed() {
    let manager = Manager::new();
    let service = Service::new(manager.notifier(), Vec::new());
    let tasks = Tasks::new();
    let (_engine, handle) = engine().await;
    service.ready(&tasks, handle).unwrap();
    assert_eq!(manager.told().0, "READY=1");
    let begin = tokio::time::Instant::now();
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    let mut signs = 0;
    while signs < 5 {
        seconds.tick().await;
        signs += manager.told_now().filter(|words| words == "WATCHDOG=1").count();
    }
    let patience = Manager::PATIENCE;
    let took = begin.elapsed();
    assert!(took >= patience && took <= patience * 3, "{took:?} for {signs} signs");
    tasks.shutdown(DEADLINE).await.unwrap();
}

#[test]
fn the_apis_socket_is_told_by_its_name() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("daemon.sock");
    let socket = OwnedFd::from(UnixListener::bind(&path).unwrap());
    let other = OwnedFd::from(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let given = vec![("listener-1".to_owned(), other), (API_SOCKET.to_owned(), socket)];
    let service = Service::new(Arc::new(Unsupervised), given);
    let api = service.api.unwrap();
    assert_eq!(api.local_addr().unwrap().as_pathname(), Some(path.as_path()));
}

/// Hears what a daemon tells its manager.
struct Manager {
    socket: UnixDatagram,
    directory: TempDir,
}

impl Manager {
    const PATIENCE: Duration = Duration::from_secs(60);

    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { socket, directory }
    }

    fn notifier(&self) -> Arc<dyn Supervisor> {
        let read = |name: &str| match name {
            "NOTIFY_SOCKET" => Some(self.directory.path().join("notify").into_os_string()),
            "WATCHDOG_USEC" => Some(Self::PATIENCE.as_micros().to_string().into()),
            _ => None,
        };
        Arc::new(Notifier::from_vars(1, read).unwrap())
    }

    /// The local network of a daemon that has been given these.
    fn network(&self, left: Vec<(String, OwnedFd)>) -> SocketNetwork {
        SocketNetwork::new(Service::new(self.notifier(), left).keeper)
    }

    /// The next words, and the descriptor that came with them.
    fn told(&self) -> (String, Option<OwnedFd>) {
        self.hear(RecvFlags::empty()).expect("the daemon tells something")
    }

    /// The words that have been said until now.
    fn told_now(&self) -> impl Iterator<Item = String> {
        std::iter::from_fn(|| self.hear(RecvFlags::DONTWAIT).map(|(words, _)| words))
    }

    /// All that has been handed over until now, by name.
    fn stored(&self) -> Vec<(String, OwnedFd)> {
        let heard = std::iter::from_fn(|| self.hear(RecvFlags::DONTWAIT));
        heard
            .map(|(words, descriptor)| {
                let name = words.strip_prefix("FDSTORE=1\nFDNAME=").expect("a listener is handed over");
                (name.to_owned(), descriptor.expect("with its descriptor"))
            })
            .collect()
    }

    fn hear(&self, flags: RecvFlags) -> Option<(String, Option<OwnedFd>)> {
        let mut words = [0; 256];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(&self.socket, &mut [IoSliceMut::new(&mut words)], &mut control, flags).ok()?;
        let descriptor = control.drain().find_map(|message| {
            let RecvAncillaryMessage::ScmRights(mut descriptors) = message else { return None };
            descriptors.next()
        });
        Some((String::from_utf8(words[..received.bytes].to_vec()).unwrap(), descriptor))
    }
}

async fn engine() -> (Engine, EngineHandle) {
    let (_, settings) = watch::channel(Arc::new(Settings::default()));
    Engine::start(World::default().ports(), settings).await.unwrap()
}

fn fixed(port: u16) -> LocalEndpoint {
    format!("localhost:{port}").parse().unwrap()
}

fn addresses(listener: &dyn LocalListener) -> Vec<std::net::SocketAddr> {
    let tcp = |bound| match bound {
        BoundAddress::Tcp(address) => Some(address),
        BoundAddress::Unix(_) => None,
    };
    listener.addresses().into_iter().filter_map(tcp).collect()
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it happens before the deadline")
}
