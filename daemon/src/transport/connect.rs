//! TCP to a name with several addresses, some of which may lead nowhere.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::sleep;

/// Head start of each address before the next one is tried beside it, as RFC 8305 recommends.
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects, without Nagle's delay: a message waits for no acknowledgement of the one before.
pub(super) async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let socket = first_of(alternating(lookup_host((host, port)).await?)).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// Address families in turn, so that a dead IPv6 route costs one head start and no more.
fn alternating(addresses: impl Iterator<Item = SocketAddr>) -> VecDeque<SocketAddr> {
    let mut addresses: VecDeque<_> = addresses.collect();
    let mut ordered = VecDeque::with_capacity(addresses.len());
    while let Some(next) = addresses.pop_front() {
        ordered.push_back(next);
        if let Some(other) = addresses.iter().position(|address| address.is_ipv4() != next.is_ipv4()) {
            ordered.extend(addresses.remove(other));
        }
    }
    ordered
}

/// The first connection that stands. Losers are dropped.
async fn first_of(mut addresses: VecDeque<SocketAddr>) -> io::Result<TcpStream> {
    let mut attempts = FuturesUnordered::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        attempts.extend(addresses.pop_front().map(TcpStream::connect));
        tokio::select! {
            attempt = attempts.next() => match attempt {
                Some(Ok(socket)) => return Ok(socket),
                Some(Err(error)) => failure = error,
                None => return Err(failure),
            },
            () = sleep(HEAD_START), if !addresses.is_empty() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn families_take_turns() {
        let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
        let addresses = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"].map(parse);
        let ordered: Vec<_> = alternating(addresses.into_iter()).into();
        assert_eq!(ordered, ["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"].map(parse));
    }

    #[tokio::test]
    async fn a_refusing_address_is_passed_over() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alive = listener.local_addr().unwrap();
        let dead = {
            let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
            gone.local_addr().unwrap()
        };
        let socket = first_of(VecDeque::from([dead, alive])).await.unwrap();
        assert_eq!(socket.peer_addr().unwrap(), alive);
        let error = first_of(VecDeque::from([dead])).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(first_of(VecDeque::new()).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn nagle_is_off() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = connect("127.0.0.1", listener.local_addr().unwrap().port()).await.unwrap();
        assert!(socket.nodelay().unwrap());
    }
}
