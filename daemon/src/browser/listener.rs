//! Where the browser comes back to: a listener on loopback that takes one answer.
//!
//! It speaks as much HTTP as that needs. Everybody on this machine can connect, and browsers open connections that they do not
//! use: each one has little time and little room, and what is not the answer changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use secrecy::SecretString;
use stormtunnel_engine::ports::PortFuture;
use stormtunnel_engine::sign_in::classify::{self, LoginFailure, ServiceError, SsoError};
use stormtunnel_engine::sign_in::machine::LOGIN_LIMIT;
use stormtunnel_engine::sign_in::ports::{Authorization, AuthorizationCode, CALLBACK_PATH};
use stormtunnel_model::SignInName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};
use url::form_urlencoded;

use super::page::Page;
use super::proof::{Proof, is_same};

/// Connections at a time. A browser opens a few; others wait in the backlog.
const CONNECTIONS: usize = 16;
/// What a request may take, with all cookies that other programs on 127.0.0.1 left in the browser.
const MAX_HEAD: u64 = 64 * 1024;
/// How long a request may take to arrive, and its answer to leave. Connections that a browser opened to have one say nothing.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// How long to wait after an accept that failed; connections wait in the backlog meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How much is kept of what AWS, or whoever made the address, says went wrong.
const MAX_MESSAGE: usize = 300;

/// The answer, or why there will be none.
type Outcome = Result<SecretString, LoginFailure>;

/// A login whose browser is awaited.
pub(super) struct BrowserListener {
    socket: TcpListener,
    url: String,
    redirect_uri: String,
    expected: Arc<Expected>,
    connections: FuturesUnordered<PortFuture<'static, Option<Outcome>>>,
    deadline: Instant,
}

/// What the answer is known by.
struct Expected {
    proof: Proof,
    sign_in: SignInName,
    answered: AtomicBool,
}

impl BrowserListener {
    pub(super) fn new(
        socket: TcpListener,
        url: String,
        redirect_uri: String,
        proof: Proof,
        sign_in: SignInName,
    ) -> Self {
        let expected = Arc::new(Expected { proof, sign_in, answered: AtomicBool::new(false) });
        let deadline = Instant::now() + LOGIN_LIMIT;
        Self { socket, url, redirect_uri, expected, connections: FuturesUnordered::new(), deadline }
    }

    async fn outcome(&mut self) -> Outcome {
        loop {
            tokio::select! {
                biased;
                Some(answer) = self.connections.next() => if let Some(outcome) = answer {
                    return outcome;
                },
                accepted = self.socket.accept(), if self.connections.len() < CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        let expected = Arc::clone(&self.expected);
                        self.connections.push(Box::pin(serve(stream, expected)));
                    }
                    Err(error) => {
                        tracing::debug!(%error, "cannot accept a connection of the browser");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }
}

impl Authorization for BrowserListener {
    fn url(&self) -> &str {
        &self.url
    }

    fn code(&mut self) -> PortFuture<'_, Result<AuthorizationCode, LoginFailure>> {
        Box::pin(async move {
            let outcome = timeout_at(self.deadline, self.outcome()).await;
            let code = outcome.unwrap_or(Err(LoginFailure::TimedOut))?;
            let verifier = self.expected.proof.verifier.clone();
            Ok(AuthorizationCode { code, verifier, redirect_uri: self.redirect_uri.clone() })
        })
    }
}

/// Reads the one request of a connection and answers it. The page is on its way when the outcome is told.
async fn serve(mut stream: TcpStream, expected: Arc<Expected>) -> Option<Outcome> {
    let head = timeout(REQUEST_LIMIT, head(&mut stream)).await.ok()??;
    let (page, outcome) = match Request::parse(&head) {
        Some(request) => expected.judge(&request),
        None => (Page::not_understood(), None),
    };
    let answer = async {
        stream.write_all(&page.bytes()).await?;
        stream.shutdown().await
    };
    // A browser that does not want the page has done its part.
    let _gone = timeout(REQUEST_LIMIT, answer).await;
    outcome
}

/// What comes before the empty line; `None` if it does not come, or is too long.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    let mut room = stream.take(MAX_HEAD);
    loop {
        let seen = head.len().saturating_sub(3);
        if room.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
        if head[seen..].windows(4).any(|end| end == b"\r\n\r\n") {
            return Some(head);
        }
    }
}

/// The first line of a request.
struct Request<'a> {
    method: &'a str,
    path: &'a str,
    query: &'a str,
}

impl<'a> Request<'a> {
    fn parse(head: &'a [u8]) -> Option<Self> {
        let line = head.split(|byte| *byte == b'\r').next()?;
        let mut words = std::str::from_utf8(line).ok()?.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let is_http = version.starts_with("HTTP/1.") && words.next().is_none();
        is_http.then_some(Self { method, path, query })
    }

    fn value(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

impl Expected {
    fn judge(&self, request: &Request<'_>) -> (Page, Option<Outcome>) {
        let is_answer = request.method == "GET" && is_same(request.path, CALLBACK_PATH);
        let outcome = if is_answer { self.outcome(request) } else { None };
        // There is one answer; a browser that repeats it, or comes with another one, is late.
        let Some(outcome) = outcome.filter(|_| !self.answered.swap(true, Ordering::Relaxed)) else {
            return (Page::nothing_here(), None);
        };
        let page = match &outcome {
            Ok(_code) => Page::done(),
            Err(failure) => Page::failed(failure, &self.sign_in),
        };
        (page, Some(outcome))
    }

    fn outcome(&self, request: &Request<'_>) -> Option<Outcome> {
        let state = request.value("state");
        if state.as_deref().is_some_and(|state| !self.proof.is_of_this_login(state)) {
            return Some(Err(LoginFailure::Mismatch));
        }
        // An error may come without a state: it opens nothing. A code may not.
        if let Some(code) = request.value("error") {
            return Some(Err(failure(&code, request.value("error_description").as_deref())));
        }
        let code = state.and(request.value("code")).filter(|code| !code.is_empty());
        code.map(|code| Ok(SecretString::from(code)))
    }
}

/// What an error in the address means: the codes are those of SSO-OIDC.
fn failure(code: &str, message: Option<&str>) -> LoginFailure {
    let shown = |text: &str| text.chars().filter(|c| !c.is_control()).take(MAX_MESSAGE).collect();
    classify::login_failure(SsoError::Service(ServiceError {
        // How the browser was sent here.
        status: 302,
        code: shown(code),
        reason: String::new(),
        message: shown(message.unwrap_or_default()),
    }))
}
