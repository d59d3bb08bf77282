//! A way through an HTTP proxy: `CONNECT`, and its answer read to the byte.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use stormtunnel_aws::{ChannelAddress, Proxy};
use stormtunnel_model::Fault;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::connect;
use super::socket::Socket;

/// Largest head of an answer. Proxies send a few hundred bytes.
const MAX_HEAD: usize = 16 * 1024;

/// How a proxy failed to lead through.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// It hung up, or the connection broke.
    Gone(String),
    /// It answered something else than HTTP, or too much of it.
    Unreadable,
    /// It answered with this status.
    Status(u16),
}

/// A connection to `address` through `proxy`, within `limit`. A proxy with TLS is trusted by `tls` as everything else.
///
/// # Errors
/// Faults of the proxy, which say what to do.
pub(super) async fn tunnel(
    proxy: &Proxy,
    address: &ChannelAddress,
    tls: &Arc<ClientConfig>,
    limit: Duration,
) -> Result<Socket, Fault> {
    let target = target(address.host(), address.port());
    let open = async {
        let mut socket = open(proxy, tls).await.map_err(|error| proxy.unreachable(&error.to_string()))?;
        match ask(&mut socket, &target, proxy.url().login().as_ref()).await {
            Ok(()) => Ok(socket),
            Err(Refusal::Gone(why)) => Err(proxy.unreachable(&why)),
            Err(Refusal::Unreadable) => Err(proxy.unreadable()),
            Err(Refusal::Status(status)) => Err(proxy.refused(&target, Some(status))),
        }
    };
    timeout(limit, Box::pin(open)).await.unwrap_or_else(|_| Err(proxy.silent(&target, limit)))
}

/// A connection to the proxy itself.
async fn open(proxy: &Proxy, tls: &Arc<ClientConfig>) -> io::Result<Socket> {
    let url = proxy.url();
    let socket = Socket::new(connect::connect(url.host(), url.port()).await?);
    if !url.is_tls() {
        return Ok(socket);
    }
    let name = ServerName::try_from(url.host().to_owned()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(Arc::clone(tls)).connect(name, socket).await?;
    Ok(Socket::Tls(Box::new(stream)))
}

/// `HOST:PORT`, an IPv6 address in brackets.
fn target(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Asks for the way. Afterwards the next byte is of the other end.
async fn ask(
    socket: &mut (impl AsyncRead + AsyncWrite + Unpin),
    target: &str,
    login: Option<&(Vec<u8>, Vec<u8>)>,
) -> Result<(), Refusal> {
    let gone = |error: io::Error| Refusal::Gone(error.to_string());
    socket.write_all(request(target, login).as_bytes()).await.map_err(gone)?;
    socket.flush().await.map_err(gone)?;
    let mut head = Vec::new();
    loop {
        if let Some(length) = head_length(&head) {
            return match status(&head) {
                // Who is behind the proxy waits for us to speak first.
                Some(200..=299) if length == head.len() => Ok(()),
                Some(200..=299) | None => Err(Refusal::Unreadable),
                Some(status) => Err(Refusal::Status(status)),
            };
        }
        if head.len() >= MAX_HEAD || !is_start_of_http(&head) {
            return Err(Refusal::Unreadable);
        }
        let room = MAX_HEAD - head.len();
        if (&mut *socket).take(room as u64).read_buf(&mut head).await.map_err(gone)? == 0 {
            return Err(Refusal::Gone("it hung up before it answered".to_owned()));
        }
    }
}

fn request(target: &str, login: Option<&(Vec<u8>, Vec<u8>)>) -> String {
    let authorization = login.map(|(user, password)| {
        let credentials = STANDARD.encode([user.as_slice(), b":", password.as_slice()].concat());
        format!("Proxy-Authorization: Basic {credentials}\r\n")
    });
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{}\r\n", authorization.unwrap_or_default())
}

/// Length of the head, once it is whole.
fn head_length(bytes: &[u8]) -> Option<usize> {
    let end = b"\r\n\r\n";
    bytes.windows(end.len()).position(|window| window == end).map(|start| start + end.len())
}

fn is_start_of_http(head: &[u8]) -> bool {
    let start = b"HTTP/1.";
    let known = head.len().min(start.len());
    head[..known] == start[..known]
}

/// The three digits of `HTTP/1.x NNN`.
fn status(head: &[u8]) -> Option<u16> {
    let line = head.strip_prefix(b"HTTP/1.")?;
    let [b'0' | b'1', b' ', digits @ ..] = line else { return None };
    let (digits, rest) = digits.split_at_checked(3)?;
    let ends = matches!(rest.first(), Some(b' ' | b'\r'));
    let digits = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
    if ends { digits.parse().ok().filter(|status| *status >= 100) } else { None }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    const OK: &[u8] = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n";

    /// What comes of an answer that arrives in these pieces, before the proxy hangs up.
    async fn outcome(pieces: &[&[u8]]) -> Result<(), Refusal> {
        let (mut near, mut far) = duplex(64 * 1024);
        let serve = async {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                assert_ne!(far.read_buf(&mut request).await.unwrap(), 0);
            }
            for piece in pieces {
                // The other side may have seen enough.
                let _ = far.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            drop(far);
        };
        tokio::join!(
            async {
                let asked = ask(&mut near, "host:443", None).await;
                drop(near);
                asked
            },
            serve
        )
        .0
    }

    #[test]
    fn the_request_names_host_port_and_login() {
        assert_eq!(target("2001:db8::1", 443), "[2001:db8::1]:443");
        assert_eq!(request("host:443", None), "CONNECT host:443 HTTP/1.1\r\nHost: host:443\r\n\r\n");
        let login = (b"Aladdin".to_vec(), b"open:sesame".to_vec());
        let asked = request("host:443", Some(&login));
        assert!(
            asked.contains("\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuOnNlc2FtZQ==\r\n\r\n"),
            "{asked}"
        );
    }

    #[tokio::test]
    async fn any_status_of_success_opens_the_way_however_slowly_it_comes() {
        assert_eq!(outcome(&[OK]).await, Ok(()));
        assert_eq!(outcome(&[b"HTTP/1.0 200\r\n\r\n"]).await, Ok(()));
        let bytes: Vec<&[u8]> = OK.chunks(1).collect();
        assert_eq!(outcome(&bytes).await, Ok(()));
    }

    #[tokio::test]
    async fn a_refusal_is_its_status_whatever_body_comes_with_it() {
        for status in [407, 403, 502, 301, 100] {
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 5\r\n\r\nhello");
            assert_eq!(outcome(&[answer.as_bytes()]).await, Err(Refusal::Status(status)));
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_is_refused() {
        let early = [OK, b"x"].concat();
        let endless = [b"HTTP/1.1 200 OK\r\nx: ".as_slice(), &vec![b'a'; 2 * MAX_HEAD]].concat();
        for bytes in [
            &early[..],
            &endless[..],
            b"SSH-2.0-OpenSSH_9.9\r\n",
            b"\x15\x03\x01\x00\x02\x02\x46",
            b"HTTP/1.1 20x OK\r\n\r\n",
            b"HTTP/1.1 2000 OK\r\n\r\n",
            b"HTTP/1.1 +20 OK\r\n\r\n",
            b"HTTP/1.1 099 OK\r\n\r\n",
            b"HTTP/1.7 200 OK\r\n\r\n",
            b"HTTP/1.1 \r\n\r\n",
        ] {
            assert_eq!(outcome(&[bytes]).await, Err(Refusal::Unreadable), "{}", bytes.escape_ascii());
        }
        for bytes in [b"".as_slice(), b"HTTP/1.1 200 OK\r\nx: y\r\n"] {
            assert!(matches!(outcome(&[bytes]).await, Err(Refusal::Gone(_))), "{}", bytes.escape_ascii());
        }
    }
}
