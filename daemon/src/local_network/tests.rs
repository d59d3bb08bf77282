//! Real sockets, on loopback and in a directory of the test's.

mod unix;

use std::net::{Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

const DEADLINE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn localhost_is_both_families_on_one_port() {
    let mut listener = bind(LocalAddress::Localhost, 0).await;
    let addresses = tcp(listener.as_ref());
    assert_eq!(addresses[0].ip(), Ipv4Addr::LOCALHOST, "the one to show first");
    assert!(addresses.iter().all(|address| address.port() == addresses[0].port()), "{addresses:?}");
    assert_eq!(addresses.len(), if has_ipv6() { 2 } else { 1 });
    for address in addresses {
        let mut client = TcpStream::connect(address).await.unwrap();
        let mut accepted = within(listener.accept()).await;
        client.write_all(b"hello").await.unwrap();
        let mut bytes = [0; 5];
        within(accepted.read_exact(&mut bytes)).await.unwrap();
        assert_eq!(&bytes, b"hello");
    }
}

#[tokio::test]
async fn an_automatic_port_is_none_of_an_outgoing_connection() {
    for _ in 0..200 {
        let listener = bind(LocalAddress::Localhost, 0).await;
        let ports: Vec<u16> = tcp(listener.as_ref()).iter().map(SocketAddr::port).collect();
        assert!(ports.iter().all(|port| AUTOMATIC_PORTS.contains(port) && *port == ports[0]), "{ports:?}");
    }
}

#[tokio::test]
async fn an_automatic_port_skips_those_taken_on_one_family() {
    if !has_ipv6() {
        return;
    }
    // Half of a port is taken: `localhost` must not answer with it.
    let taken = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let fault = refused(LocalAddress::Localhost, port).await;
    assert!(
        matches!(fault.kind, FaultKind::PortInUse { ref address, .. } if *address == format!("[::1]:{port}")),
        "{fault}"
    );
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.expect("the half that was free is free again");
}

#[tokio::test]
async fn a_taken_port_names_its_holder() {
    let first = bind(LocalAddress::Localhost, 0).await;
    let port = tcp(first.as_ref())[0].port();
    let fault = refused(LocalAddress::Localhost, port).await;
    let FaultKind::PortInUse { address, holder } = fault.kind else { panic!("{fault}") };
    assert_eq!(address, format!("127.0.0.1:{port}"));
    if cfg!(target_os = "linux") {
        let holder = holder.expect("Linux tells");
        assert!(holder.starts_with(&format!("pid {} (", std::process::id())), "{holder}");
    }
}

#[tokio::test]
async fn a_port_is_free_again_at_once() {
    let mut listener = bind(LocalAddress::Localhost, 0).await;
    let address = tcp(listener.as_ref())[0];
    let client = TcpStream::connect(address).await.unwrap();
    // The side that closes first is left in TIME_WAIT.
    drop(within(listener.accept()).await);
    drop((client, listener));
    let again = bind(LocalAddress::Localhost, address.port()).await;
    assert_eq!(tcp(again.as_ref())[0], address);
}

#[tokio::test]
async fn an_address_of_another_machine_is_no_port_conflict() {
    let fault = refused(LocalAddress::Ip("192.0.2.1".parse().unwrap()), 0).await;
    assert_eq!(fault.kind, FaultKind::InvalidArgument { field: "local".to_owned() });
    assert!(fault.detail.contains("192.0.2.1"), "{fault}");
}

#[tokio::test]
async fn a_reset_is_seen_as_one_and_a_close_is_not() {
    for reset in [true, false] {
        let mut listener = bind(LocalAddress::Localhost, 0).await;
        let mut client = TcpStream::connect(tcp(listener.as_ref())[0]).await.unwrap();
        let accepted = within(listener.accept()).await;
        if reset {
            accepted.reset_on_close();
        }
        drop(accepted);
        let read = within(client.read(&mut [0])).await;
        match read {
            Err(error) => assert!(reset && error.kind() == io::ErrorKind::ConnectionReset, "{error}"),
            Ok(count) => assert!(!reset && count == 0),
        }
    }
}

#[tokio::test]
async fn a_dropped_accept_loses_no_connection() {
    let mut listener = bind(LocalAddress::Localhost, 0).await;
    assert!(futures_util::poll!(listener.accept()).is_pending());
    let _client = TcpStream::connect(tcp(listener.as_ref())[0]).await.unwrap();
    within(listener.accept()).await;
}

#[tokio::test]
async fn local_connections_have_no_delay_keepalive_and_a_small_buffer() {
    let listener =
        bind_all(LocalAddress::Localhost, LocalPort::Automatic, &Keeper::default()).unwrap().remove(0);
    let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = within(listener.accept()).await.unwrap();
    assert!(LocalSocket::tcp(stream).has_options());
}

async fn bind(address: LocalAddress, port: u16) -> Box<dyn LocalListener> {
    SocketNetwork::default().bind(LocalEndpoint::Tcp { address, port: port.into() }).await.unwrap()
}

async fn refused(address: LocalAddress, port: u16) -> Fault {
    let bound = SocketNetwork::default().bind(LocalEndpoint::Tcp { address, port: port.into() }).await;
    let Err(BindError(fault)) = bound else { panic!("bound") };
    fault
}

fn tcp(listener: &dyn LocalListener) -> Vec<SocketAddr> {
    let address = |bound| match bound {
        BoundAddress::Tcp(address) => Some(address),
        BoundAddress::Unix(_) => None,
    };
    listener.addresses().into_iter().filter_map(address).collect()
}

fn has_ipv6() -> bool {
    std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it happens before the deadline")
}
