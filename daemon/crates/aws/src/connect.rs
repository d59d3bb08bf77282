//! `CONNECT`: the way through an HTTP proxy, and its answer read to the byte.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::ServerName;
use stormtunnel_model::Fault;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::proxy::Proxy;
use crate::tls::client_config;

/// Largest head of an answer. Proxies send a few hundred bytes.
const MAX_HEAD: usize = 16 * 1024;

/// How long a proxy that refused something may take to do it again.
const AGAIN: Duration = Duration::from_secs(2);

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

/// Asks `proxy`, on a connection to it, for the way to `target` (`HOST:PORT`, an IPv6 address in brackets). Afterwards the next
/// byte is of the other end.
///
/// # Errors
/// Faults of the proxy, which say what to do.
pub async fn lead_through(
    socket: &mut (impl AsyncRead + AsyncWrite + Unpin),
    proxy: &Proxy,
    target: &str,
) -> Result<(), Fault> {
    let asked = ask(socket, target, proxy.url().login().as_ref()).await;
    asked.map_err(|refusal| match refusal {
        Refusal::Gone(why) => proxy.unreachable(&why),
        Refusal::Unreadable => proxy.unreadable(),
        Refusal::Status(status) => proxy.refused(target, Some(status)),
    })
}

/// What a proxy has against `target`. The HTTP client knows the answer and does not tell it, so the proxy is asked once more.
pub(crate) async fn refusal(proxy: &Proxy, target: &str, extra_roots: Option<&[u8]>) -> Fault {
    let url = proxy.url();
    let asking = async {
        let gone = |error: io::Error| proxy.unreachable(&error.to_string());
        let mut socket = TcpStream::connect((url.host(), url.port())).await.map_err(gone)?;
        if !url.is_tls() {
            return lead_through(&mut socket, proxy, target).await;
        }
        let roots = extra_roots.map(<[u8]>::to_vec);
        let made = tokio::task::spawn_blocking(move || client_config(roots.as_deref())).await;
        let config = made.map_err(io::Error::other).map_err(gone)??;
        let name = ServerName::try_from(url.host().to_owned()).map_err(io::Error::other).map_err(gone)?;
        let mut socket = TlsConnector::from(Arc::clone(&config)).connect(name, socket).await.map_err(gone)?;
        lead_through(&mut socket, proxy, target).await
    };
    match timeout(AGAIN, Box::pin(asking)).await {
        Ok(Err(fault)) => fault,
        Ok(Ok(())) | Err(_) => proxy.refused(target, None),
    }
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
