//! The web server "in the VPC", and what fetches its pages.

use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The first page.
pub(crate) const PAGE: &str = "<h1>It works</h1><p>You reached a server that only the VPC can see.</p>\n";
/// Length of the second one, in bytes.
pub(crate) const LARGE: usize = 300_000;

/// Longest time for one page; the agent sends less than one megabyte a second.
const DEADLINE: Duration = Duration::from_secs(30);

/// A text in which every damage shows.
pub(crate) fn large() -> String {
    (0..).flat_map(|n: u32| n.to_string().into_bytes()).take(LARGE).map(char::from).collect()
}

/// Serves both pages for ever.
pub(crate) async fn serve(listener: TcpListener) -> std::io::Result<()> {
    let routes = Router::new().route("/", get(async || PAGE)).route("/large", get(async || large()));
    axum::serve(listener, routes).await
}

/// Fetches a page from a local port.
pub(crate) async fn fetch(port: u16, path: &str) -> Result<String> {
    tokio::time::timeout(DEADLINE, fetch_slowly(port, path)).await.context("it takes too long")?
}

async fn fetch_slowly(port: u16, path: &str) -> Result<String> {
    let mut socket = TcpStream::connect(("localhost", port)).await.context("nobody listens")?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    let (_, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no HTTP answer: {answer}"))?;
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_large_page_has_its_length_and_hardly_repeats() {
        let text = large();
        assert_eq!(text.len(), LARGE);
        assert!(text.starts_with("0123456789101112"));
        assert_eq!(text.matches(&text[100_000..100_020]).count(), 1);
    }
}
