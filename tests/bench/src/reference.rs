//! The emulator's own round trip: what is left when the daemon is taken away.
//!
//! A client inside this process starts a session and drives the protocol core straight over a WebSocket: no local
//! socket, no other process, no locks, one task that polls only what it waits for. What a tunnel needs beyond its
//! round trip is what the product adds.

use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderName, HeaderValue};
use anyhow::{Context as _, Result, bail, ensure};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use ssm_session::{Config, Now, Output, PortSession, SessionEvent, StreamId, Token, WsMessage};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

use crate::aws::Aws;
use crate::traffic::echo_request;
use crate::{clock, http, scene, tls};

/// Longest wait for a message.
const DEADLINE: Duration = Duration::from_secs(30);

/// One session with one stream to the run's server.
pub(crate) struct Reference {
    session: PortSession,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    stream: StreamId,
    received: Vec<u8>,
}

impl Reference {
    /// Starts a session; its stream is open when this answers.
    pub(crate) async fn start(aws: &Aws) -> Result<Self> {
        let authority = std::fs::read_to_string(aws.variable("AWS_CA_BUNDLE")?)?;
        let tls = tls::client(&authority)?;
        let grant = start_session(aws, Arc::clone(&tls)).await?;
        let text = |name: &str| grant[name].as_str().with_context(|| format!("StartSession gave no {name}"));
        let socket = open(aws, text("StreamUrl")?, tls).await?;
        let mut session = PortSession::new(Config::default(), now(), [7; 32]);
        session.handle_connected(&Token::new(text("TokenValue")?), now());
        let stream = session.open(now())?;
        let mut reference = Self { session, socket, stream, received: Vec::new() };
        // One echo proves that everything is up.
        reference.echoes(1).await?;
        Ok(reference)
    }

    /// The times of that many echoes of one byte, as [`crate::traffic::Connection::echoes`] measures them.
    pub(crate) async fn echoes(&mut self, count: u64) -> Result<Vec<Duration>> {
        self.write(echo_request(count).into())?;
        self.flush().await?;
        let mut times = Vec::new();
        for number in 0..count {
            let byte = number.to_be_bytes()[7];
            let start = Instant::now();
            self.write(vec![byte].into())?;
            while self.received.is_empty() {
                self.flush().await?;
                self.receive().await?;
            }
            times.push(start.elapsed());
            ensure!(std::mem::take(&mut self.received) == [byte], "another byte came back");
            // The acknowledgement of what came.
            self.flush().await?;
        }
        Ok(times)
    }

    fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        self.session.write(self.stream, &mut bytes, now())?;
        ensure!(bytes.is_empty(), "a few bytes do not fit");
        Ok(())
    }

    /// Sends what the session has to send.
    async fn flush(&mut self) -> Result<()> {
        loop {
            match self.session.poll_output(now()) {
                Output::Send(message) => self.socket.feed(to_socket(message)?).await?,
                Output::Event(SessionEvent::Readable(_)) => {
                    while let Some(bytes) = self.session.read(self.stream, now()) {
                        self.received.extend_from_slice(&bytes);
                    }
                }
                Output::Event(SessionEvent::Ended(end)) => bail!("the reference's session ended: {end}"),
                Output::Event(_) => {}
                Output::Timeout(_) => return Ok(self.socket.flush().await?),
            }
        }
    }

    /// Waits for one message, or for the session's next deadline.
    async fn receive(&mut self) -> Result<()> {
        if !self.received.is_empty() {
            return Ok(());
        }
        let Output::Timeout(due) = self.session.poll_output(now()) else {
            bail!("the session was not drained")
        };
        let due = due.map_or_else(|| Instant::now() + DEADLINE, Instant::from_std);
        tokio::select! {
            message = timeout(DEADLINE, self.socket.next()) => {
                let message = message.context("no message in time")?.context("the WebSocket is gone")??;
                if let Some(message) = from_socket(message) {
                    self.session.handle_message(message, now())?;
                }
            }
            () = tokio::time::sleep_until(due) => self.session.handle_timeout(now()),
        }
        self.flush().await
    }
}

/// StartSession for the run's server.
async fn start_session(aws: &Aws, tls: Arc<ClientConfig>) -> Result<Value> {
    let url = aws.variable("AWS_ENDPOINT_URL_SSM")?;
    let authority = url.strip_prefix("https://").context("the API has no https URL")?;
    let socket = TcpStream::connect(authority).await?;
    let name = ServerName::IpAddress(socket.peer_addr()?.ip().into());
    let socket = TlsConnector::from(tls).connect(name, socket).await?;
    let body = json!({
        "Target": scene::INSTANCE,
        "DocumentName": "AWS-StartPortForwardingSessionToRemoteHost",
        "Parameters": { "host": [scene::HOST], "portNumber": [scene::PORT.to_string()] },
    });
    let body = body.to_string();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut headers = vec![
        pair("host", authority),
        pair("x-amz-target", "AmazonSSM.StartSession"),
        pair("content-type", "application/x-amz-json-1.1"),
    ];
    let signed = signature(aws, "ssm", ("POST", &format!("{url}/")), &headers, body.as_bytes())?;
    headers.extend(signed);
    http::call(socket, "POST /", &headers, &body).await
}

/// The data channel.
async fn open(
    aws: &Aws,
    url: &str,
    tls: Arc<ClientConfig>,
) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>> {
    let mut request = url.into_client_request()?;
    let authority = request.uri().authority().context("the StreamUrl names no host")?.to_string();
    let host = [("host".to_owned(), authority.clone())];
    for (name, value) in signature(aws, "ssmmessages", ("GET", url), &host, b"")? {
        request.headers_mut().insert(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
    }
    let socket = TcpStream::connect(authority).await?;
    socket.set_nodelay(true)?;
    let connector = Some(Connector::Rustls(tls));
    Ok(client_async_tls_with_config(request, socket, None, connector).await?.0)
}

/// The headers that AWS's signer adds to a request.
fn signature(
    aws: &Aws,
    service: &str,
    (method, url): (&str, &str),
    headers: &[(String, String)],
    body: &[u8],
) -> Result<Vec<(String, String)>> {
    let key = (aws.variable("AWS_ACCESS_KEY_ID")?, aws.variable("AWS_SECRET_ACCESS_KEY")?);
    let identity = Credentials::new(key.0, key.1, None, None, "emulator").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(aws.variable("AWS_REGION")?)
        .name(service)
        .time(clock::wall())
        .settings(SigningSettings::default())
        .build()?;
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let request = SignableRequest::new(method, url, headers, SignableBody::Bytes(body))?;
    let (instructions, _) = sign(request, &params.into())?.into_parts();
    let (added, _) = instructions.into_parts();
    Ok(added.into_iter().map(|header| (header.name().to_owned(), header.value().to_owned())).collect())
}

fn now() -> Now {
    let wall = u64::try_from(clock::since_epoch().as_millis()).unwrap_or_default();
    Now::new(Instant::now().into_std(), wall)
}

fn to_socket(message: WsMessage) -> Result<Message> {
    Ok(match message {
        WsMessage::Text(text) => Message::text(String::from_utf8(text.into_bytes().to_vec())?),
        WsMessage::Binary(bytes) => Message::Binary(bytes),
        WsMessage::Ping(bytes) => Message::Ping(bytes),
        WsMessage::Pong(bytes) => Message::Pong(bytes),
    })
}

fn from_socket(message: Message) -> Option<WsMessage> {
    match message {
        Message::Binary(bytes) => Some(WsMessage::Binary(bytes)),
        Message::Ping(bytes) => Some(WsMessage::Ping(bytes)),
        Message::Pong(bytes) => Some(WsMessage::Pong(bytes)),
        // The service sends no text; what a close means shows in the next read.
        Message::Text(_) | Message::Close(_) | Message::Frame(_) => None,
    }
}
