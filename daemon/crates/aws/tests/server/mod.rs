//! An HTTP server whose script goes on while it is being asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use stormtunnel_aws::testing::{Reply, ScriptedServer};

/// Answers each request with the next of its answers, and notes the requests.
pub(crate) struct Server {
    pub(crate) url: String,
    server: ScriptedServer,
    answers: Arc<Mutex<VecDeque<Reply>>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let answers: Arc<Mutex<VecDeque<Reply>>> = Arc::default();
        let script = Arc::clone(&answers);
        let none = || Reply::json(500, "no answer left");
        let next = move |_: &str| script.lock().unwrap().pop_front().unwrap_or_else(none);
        let server = ScriptedServer::start(next).await.unwrap();
        Self { url: server.url.clone(), server, answers }
    }

    pub(crate) fn answer(&self, status: u16, body: &str) {
        self.answers.lock().unwrap().push_back(Reply::json(status, body));
    }

    /// An answer with a header that names an exception.
    pub(crate) fn refuse(&self, status: u16, exception: &str, body: &str) {
        let mut reply = Reply::json(status, body);
        reply.headers.push_str(&format!("x-amzn-ErrorType: {exception}\r\n"));
        self.answers.lock().unwrap().push_back(reply);
    }

    pub(crate) fn forget_answers(&self) {
        self.answers.lock().unwrap().clear();
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.server.take_requests()
    }
}
