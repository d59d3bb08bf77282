//! An HTTP server that answers from a script.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Status, headers that end their lines, body.
type Answer = (u16, String, String);

/// Answers each request with the next of its answers, and notes the requests.
pub(crate) struct Server {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<String>>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let answers: Arc<Mutex<VecDeque<Answer>>> = Arc::default();
        let (noted, script) = (Arc::clone(&requests), Arc::clone(&answers));
        let serve = async move {
            // One at a time: every answer closes its connection.
            while let Ok((mut socket, _)) = listener.accept().await {
                let request = read_request(&mut socket).await;
                noted.lock().unwrap().push(request);
                let none = || (500, String::new(), "no answer left".to_owned());
                let (status, headers, body) = script.lock().unwrap().pop_front().unwrap_or_else(none);
                let head =
                    format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}", body.len());
                let head = format!("{head}\r\ncontent-type: application/x-amz-json-1.1\r\n{headers}\r\n");
                let _ = socket.write_all(format!("{head}{body}").as_bytes()).await;
            }
        };
        #[expect(clippy::disallowed_methods, reason = "a test's own server, aborted with it")]
        let task = tokio::spawn(serve);
        Self { url, requests, answers, task }
    }

    pub(crate) fn answer(&self, status: u16, body: &str) {
        self.answers.lock().unwrap().push_back((status, String::new(), body.to_owned()));
    }

    /// An answer with a header that names an exception.
    pub(crate) fn refuse(&self, status: u16, exception: &str, body: &str) {
        let header = format!("x-amzn-ErrorType: {exception}\r\n");
        self.answers.lock().unwrap().push_back((status, header, body.to_owned()));
    }

    pub(crate) fn forget_answers(&self) {
        self.answers.lock().unwrap().clear();
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

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
        if socket.read_buf(&mut bytes).await.unwrap() == 0 {
            return String::from_utf8_lossy(&bytes).into_owned();
        }
    }
}
