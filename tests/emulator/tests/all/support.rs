//! A client of the emulator made of other people's parts: AWS's own signer, the `ssm-session` client role, and
//! tokio-tungstenite.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_emulator::{AccessKey, Emulator};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use ssm_session::{
    Config, Now, Output, PortSession, ProtocolError, SecretText, SessionEvent, StreamId, Token, WsMessage,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The headers that AWS's signer adds.
pub(crate) fn sign_with(
    key: &AccessKey,
    (region, service): (&str, &'static str),
    (method, url): (&str, &str),
    (headers, body): (&[(&str, &str)], &[u8]),
) -> Vec<(String, String)> {
    let credentials =
        Credentials::new(&key.id, key.secret(), key.session_token().map(str::to_owned), None, "test");
    let identity = credentials.into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(SystemTime::UNIX_EPOCH + Duration::from_millis(now().wall_ms))
        .settings(SigningSettings::default())
        .build()
        .unwrap();
    let request =
        SignableRequest::new(method, url, headers.iter().copied(), SignableBody::Bytes(body)).unwrap();
    let (instructions, _) = sign(request, &params.into()).unwrap().into_parts();
    let (headers, _) = instructions.into_parts();
    headers.into_iter().map(|header| (header.name().to_owned(), header.value().to_owned())).collect()
}

pub(crate) fn now() -> Now {
    let wall = time::OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
    Now::new(Instant::now().into_std(), u64::try_from(wall).unwrap())
}

/// One API call: status and body.
pub(crate) async fn call(emulator: &Emulator, key: &AccessKey, operation: &str, body: Value) -> (u16, Value) {
    let target = format!("AmazonSSM.{operation}");
    let headers = [("x-amz-target", target.as_str()), ("content-type", "application/x-amz-json-1.1")];
    let (status, body) = post(emulator, key, "ssm", (&headers, &body.to_string())).await;
    (status, serde_json::from_str(&body).unwrap())
}

/// One call, signed for a service: status and body.
pub(crate) async fn post(
    emulator: &Emulator,
    key: &AccessKey,
    service: &'static str,
    (headers, body): (&[(&str, &str)], &str),
) -> (u16, String) {
    let authority = emulator.api_url().strip_prefix("http://").unwrap();
    let headers = [&[("host", authority)], headers].concat();
    let url = format!("http://{authority}/");
    let signed = sign_with(key, (emulator.region(), service), ("POST", &url), (&headers, body.as_bytes()));
    let mut request = format!("POST / HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in
        headers.iter().map(|(n, v)| (*n, *v)).chain(signed.iter().map(|(n, v)| (&n[..], &v[..])))
    {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut socket = TcpStream::connect(authority).await.unwrap();
    socket.write_all(format!("{request}\r\n{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// StartSession for a port of the instance, or of a remote host.
pub(crate) async fn start_session(emulator: &Emulator, host: Option<&str>, port: u16) -> (u16, Value) {
    let mut parameters = json!({ "portNumber": [port.to_string()] });
    let mut document = "AWS-StartPortForwardingSession".to_owned();
    if let Some(host) = host {
        document.push_str("ToRemoteHost");
        parameters["host"] = json!([host]);
    }
    let body = json!({ "Target": emulator.instance(), "DocumentName": document, "Parameters": parameters });
    call(emulator, emulator.access_key(), "StartSession", body).await
}

/// The signed upgrade of a stream URL.
pub(crate) async fn upgrade(
    emulator: &Emulator,
    key: &AccessKey,
    url: &str,
) -> Result<WebSocketStream<TcpStream>, Error> {
    let mut request = url.into_client_request()?;
    let authority = request.uri().authority().unwrap().to_string();
    let headers = [("host", authority.as_str())];
    let signed = sign_with(key, (emulator.region(), "ssmmessages"), ("GET", url), (&headers, b""));
    for (name, value) in signed {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let socket = TcpStream::connect(&authority).await?;
    socket.set_nodelay(true)?;
    let (socket, _) = tokio_tungstenite::client_async(request, socket).await?;
    Ok(socket)
}

/// A port session over a real WebSocket.
pub(crate) struct Client {
    pub(crate) session: PortSession,
    pub(crate) id: String,
    socket: WebSocketStream<TcpStream>,
}

impl Client {
    /// Starts a session and opens its data channel.
    pub(crate) async fn start(emulator: &Emulator, host: Option<&str>, port: u16) -> Self {
        Self::start_with(emulator, host, port, |_| {}).await
    }

    /// The same with other settings.
    pub(crate) async fn start_with(
        emulator: &Emulator,
        host: Option<&str>,
        port: u16,
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config::default();
        configure(&mut config);
        let (status, grant) = start_session(emulator, host, port).await;
        assert_eq!(status, 200, "{grant}");
        let socket =
            upgrade(emulator, emulator.access_key(), grant["StreamUrl"].as_str().unwrap()).await.unwrap();
        let mut session = PortSession::new(config, now(), [7; 32]);
        session.handle_connected(&Token::new(grant["TokenValue"].as_str().unwrap()), now());
        Self { session, id: grant["SessionId"].as_str().unwrap().to_owned(), socket }
    }

    /// The next event; `None` when the WebSocket is gone.
    pub(crate) async fn event(&mut self) -> Option<SessionEvent> {
        let event = timeout(DEADLINE, self.next_event()).await.expect("no event in time");
        event.expect("the emulator broke the protocol")
    }

    /// Keeps the session going until `other` ends.
    pub(crate) async fn meanwhile<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = std::pin::pin!(other);
        loop {
            tokio::select! {
                done = &mut other => return done,
                event = self.next_event() => assert!(event.unwrap().is_some(), "the WebSocket is gone"),
            }
        }
    }

    /// Waits until the emulator breaks the protocol.
    pub(crate) async fn violation(&mut self) -> ProtocolError {
        loop {
            match timeout(DEADLINE, self.next_event()).await.expect("no violation in time") {
                Err(violation) => return violation,
                Ok(event) => assert!(event.is_some(), "the WebSocket is gone"),
            }
        }
    }

    async fn next_event(&mut self) -> Result<Option<SessionEvent>, ProtocolError> {
        loop {
            match self.session.poll_output(now()) {
                Output::Send(message) => {
                    if self.socket.send(to_socket(message)).await.is_err() {
                        return Ok(None);
                    }
                }
                Output::Event(event) => return Ok(Some(event)),
                Output::Timeout(at) => {
                    let at = at.map_or(Instant::now() + DEADLINE, Instant::from_std);
                    tokio::select! {
                        message = self.socket.next(), if self.session.wants_input() => {
                            let Some(Ok(message)) = message else { return Ok(None) };
                            let Some(message) = from_socket(message) else { return Ok(None) };
                            self.session.handle_message(message, now())?;
                        }
                        () = sleep_until(at) => self.session.handle_timeout(now()),
                    }
                }
            }
        }
    }

    /// Waits for one event and ignores the ones before it.
    pub(crate) async fn wait_for(&mut self, mut wanted: impl FnMut(&SessionEvent) -> bool) -> SessionEvent {
        loop {
            let event = self.event().await.expect("the WebSocket is gone");
            if wanted(&event) {
                return event;
            }
        }
    }

    /// Waits for the WebSocket's end.
    pub(crate) async fn disconnected(&mut self) {
        while self.event().await.is_some() {}
        self.session.handle_disconnected(now());
    }

    /// ResumeSession and a new WebSocket for the same session; the old one is the caller's.
    pub(crate) async fn resume(&mut self, emulator: &Emulator) -> WebSocketStream<TcpStream> {
        self.session.handle_disconnected(now());
        let body = json!({ "SessionId": self.id });
        let (status, grant) = call(emulator, emulator.access_key(), "ResumeSession", body).await;
        assert_eq!(status, 200, "{grant}");
        let url = grant["StreamUrl"].as_str().unwrap();
        let socket = upgrade(emulator, emulator.access_key(), url).await.unwrap();
        self.session.handle_connected(&Token::new(grant["TokenValue"].as_str().unwrap()), now());
        std::mem::replace(&mut self.socket, socket)
    }

    /// Sends all of `data` and reads as many bytes back, resuming whenever the WebSocket breaks.
    pub(crate) async fn echo(&mut self, emulator: &Emulator, data: &Bytes) -> Vec<u8> {
        let stream = self.session.open(now()).unwrap();
        let mut unsent = data.clone();
        let mut received = Vec::new();
        self.write(stream, &mut unsent);
        while received.len() < data.len() {
            match self.event().await {
                Some(SessionEvent::Writable(_)) => self.write(stream, &mut unsent),
                Some(SessionEvent::Readable(_)) => {
                    while let Some(bytes) = self.session.read(stream, now()) {
                        received.extend_from_slice(&bytes);
                    }
                }
                Some(SessionEvent::Ended(end)) => panic!("the session ended: {end}"),
                Some(SessionEvent::Reset { reason, .. }) => panic!("the stream was reset: {reason:?}"),
                Some(_) => {}
                None => drop(self.resume(emulator).await),
            }
        }
        self.session.finish(stream, now());
        received
    }

    fn write(&mut self, stream: StreamId, unsent: &mut Bytes) {
        while !unsent.is_empty() && self.session.write(stream, unsent, now()).unwrap() > 0 {}
    }
}

/// What became of an open message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The gateway sends messages.
    Serving,
    /// It closed, saying this.
    Refused(String),
}

/// Opens a data channel by hand.
pub(crate) async fn open(emulator: &Emulator, grant: &Value, token: &str, client_id: &str) -> Ended {
    let mut socket =
        upgrade(emulator, emulator.access_key(), grant["StreamUrl"].as_str().unwrap()).await.unwrap();
    let open = json!({
        "MessageSchemaVersion": "1.0",
        "RequestId": "4ae59b3c-6d8f-4cfd-9663-f894b2447973",
        "TokenValue": token,
        "ClientId": client_id,
        "ClientVersion": "1.2.835.0",
    });
    socket.send(Message::text(open.to_string())).await.unwrap();
    match timeout(DEADLINE, socket.next()).await.expect("no answer in time") {
        Some(Ok(Message::Binary(_))) => Ended::Serving,
        Some(Ok(Message::Close(Some(frame)))) => Ended::Refused(frame.reason.to_string()),
        other => panic!("{other:?}"),
    }
}

fn to_socket(message: WsMessage) -> Message {
    match message {
        WsMessage::Text(text) => Message::text(String::from_utf8(text.into_bytes().to_vec()).unwrap()),
        WsMessage::Binary(bytes) => Message::Binary(bytes),
        WsMessage::Ping(bytes) => Message::Ping(bytes),
        WsMessage::Pong(bytes) => Message::Pong(bytes),
    }
}

fn from_socket(message: Message) -> Option<WsMessage> {
    match message {
        Message::Text(text) => Some(WsMessage::Text(SecretText::new(text.to_string()))),
        Message::Binary(bytes) => Some(WsMessage::Binary(bytes)),
        Message::Ping(bytes) => Some(WsMessage::Ping(bytes)),
        Message::Pong(bytes) => Some(WsMessage::Pong(bytes)),
        Message::Close(_) | Message::Frame(_) => None,
    }
}

/// A server that sends back what it gets. It ends with its last connection.
pub(crate) async fn echo_server() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = tokio_util::task::TaskTracker::new();
    tasks.clone().spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tasks.spawn(async move {
                let (mut from, mut to) = socket.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}
