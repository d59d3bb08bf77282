//! An HTTP server that answers from a script.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What a request is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers, each with the end of its line.
    pub headers: String,
    /// The body.
    pub body: String,
}

impl Reply {
    /// One of a service that speaks JSON.
    pub fn json(status: u16, body: impl Into<String>) -> Self {
        let headers = "content-type: application/x-amz-json-1.1\r\n".to_owned();
        Self { status, headers, body: body.into() }
    }

    /// One of a service that speaks XML.
    pub fn xml(status: u16, body: impl Into<String>) -> Self {
        Self { status, headers: "content-type: text/xml\r\n".to_owned(), body: body.into() }
    }
}

/// Answers each request as its script says, one at a time, and notes the requests. Dropped, it is gone.
#[derive(Debug)]
pub struct ScriptedServer {
    /// Where it listens.
    pub url: String,
    requests: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl ScriptedServer {
    /// Starts a server; `script` makes of a request, head and body, what it is answered with.
    ///
    /// # Errors
    /// It cannot listen.
    pub async fn start(mut script: impl FnMut(&str) -> Reply + Send + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&requests);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            // One at a time: every answer closes its connection.
            while let Ok((mut socket, _)) = listener.accept().await {
                let request = read_request(&mut socket).await;
                let Reply { status, headers, body } = script(&request);
                locked(&noted).push(request);
                let length = body.len();
                let head =
                    format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n");
                let _client_left = socket.write_all(format!("{head}{headers}\r\n{body}").as_bytes()).await;
            }
        });
        Ok(Self { url, requests, _serving: serving })
    }

    /// All requests that were not taken.
    pub fn requests(&self) -> Vec<String> {
        locked(&self.requests).clone()
    }

    /// The requests since they were taken last.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut locked(&self.requests))
    }
}

fn locked(requests: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    requests.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A whole request, or as much of it as came.
async fn read_request(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return text.into_owned();
            }
        }
        if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return String::from_utf8_lossy(&bytes).into_owned();
        }
    }
}
