//! A client of HTTP that does what it is told and nothing else.

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::DEADLINE;

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Reply {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let is_it = |(found, _): &(&str, &str)| found.eq_ignore_ascii_case(name);
        let mut headers = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        headers.find(is_it).map(|(_, value)| value)
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The exception by which the SDKs know an error.
    pub(crate) fn exception(&self) -> &str {
        self.header("x-amzn-errortype").unwrap().split(':').next().unwrap()
    }
}

/// One request; `None`: the connection closed without an answer.
pub(crate) async fn try_send(
    (method, url): (&str, &str),
    headers: &[(&str, &str)],
    body: &str,
) -> Option<Reply> {
    let (authority, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut request = format!("{method} /{path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n");
    for (name, value) in headers.iter().filter(|(name, _)| *name != "host") {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    let exchange = async {
        let mut socket = TcpStream::connect(authority).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let _ = socket.read_to_string(&mut answer).await;
        answer
    };
    let answer = tokio::time::timeout(DEADLINE, exchange).await.expect("no answer in time");
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Some(Reply { status, head: head.to_owned(), body: body.to_owned() })
}

/// One request that is answered.
pub(crate) async fn send(request: (&str, &str), headers: &[(&str, &str)], body: &str) -> Reply {
    try_send(request, headers, body).await.expect("the connection closed without an answer")
}

/// `GET` without anything.
pub(crate) async fn get(url: &str) -> Reply {
    send(("GET", url), &[], "").await
}

/// `POST` of JSON.
pub(crate) async fn post(url: &str, body: &Value) -> Reply {
    send(("POST", url), &[("content-type", "application/json")], &body.to_string()).await
}
