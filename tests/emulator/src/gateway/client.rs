//! One WebSocket of a client, from its upgrade to its end.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, protocol::CloseFrame};

use crate::counters::Counter;
use crate::gateway::hole::{Holed, Holes};
use crate::gateway::session::{Session, Wires};
use crate::gateway::{Transport, upgrade};
use crate::world::World;

/// Longest wait for the upgrade, and again for the open message.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to read `channel_closed` and to leave.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Opcode of a close frame with the final bit.
const CLOSE_FRAME: u8 = 0x88;
/// Says that a 16-bit length follows.
const LENGTH_16: u8 = 126;

/// What a client's connection is told to do.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// Reset the TCP connection.
    Reset,
    /// Close politely.
    Close { code: u16, reason: String },
    /// Close with a frame that breaks the WebSocket standard.
    OversizeClose { bytes: u16 },
    /// A newer connection took the session over.
    Evicted,
    /// Everything up to `channel_closed` is written; nothing follows.
    EndOfSession,
}

/// The text message a connection begins with.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OpenMessage {
    message_schema_version: String,
    request_id: String,
    token_value: String,
    client_id: String,
}

/// Serves one connection until it ends.
pub(crate) async fn serve<T: Transport>(world: &Arc<World>, stream: T) {
    let session = OnceLock::new();
    #[expect(clippy::result_large_err, reason = "the WebSocket library's signature")]
    let check = |request: &Request, response: Response| {
        let found = upgrade::check(world, request)?;
        let _ = session.set(found);
        Ok::<_, ErrorResponse>(response)
    };
    let holes = Arc::<Holes>::default();
    let stream = Holed::new(stream, Arc::clone(&holes), Arc::clone(&world.counters));
    let accepting = tokio_tungstenite::accept_hdr_async(stream, check);
    let accepted = match tokio::time::timeout(OPEN_TIMEOUT, accepting).await {
        Ok(Ok(accepted)) => accepted,
        Ok(Err(error)) => return tracing::info!(%error, "no upgrade"),
        Err(_) => return tracing::info!("no upgrade in time"),
    };
    if let Some(session) = session.into_inner() {
        Connection { world: Arc::clone(world), session, socket: accepted }.run(holes).await;
    }
}

struct Connection<T> {
    world: Arc<World>,
    session: Arc<Session>,
    socket: WebSocketStream<T>,
}

impl<T: Transport> Connection<T> {
    async fn run(mut self, holes: Arc<Holes>) {
        let opened = tokio::time::timeout(OPEN_TIMEOUT, self.open(holes)).await;
        let wires = match opened {
            Ok(Ok(wires)) => wires,
            Ok(Err(reason)) => return self.refuse(&reason).await,
            Err(_) => return self.refuse("no open message in time").await,
        };
        let _connected = self.world.counters.hold(Counter::ClientsConnected);
        let generation = wires.generation;
        let session = Arc::clone(&self.session);
        self.relay(wires).await;
        session.detach_client(generation);
    }

    /// Waits for the open message and attaches the connection to its session.
    async fn open(&mut self, holes: Arc<Holes>) -> Result<Wires, String> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    let open: OpenMessage = serde_json::from_str(&text).map_err(|error| error.to_string())?;
                    if open.message_schema_version != "1.0" || open.request_id.len() < 16 {
                        return Err("open message with a wrong version or request id".into());
                    }
                    let attached = self.session.attach_client(&open.token_value, &open.client_id, holes);
                    return attached.map_err(|error| error.to_string());
                }
                Some(Ok(Message::Ping(_))) => self.world.counters.increment(Counter::PingsFromClient),
                Some(Ok(other)) => return Err(format!("{} bytes before the open message", other.len())),
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err("closed before the open message".into()),
            }
        }
    }

    async fn refuse(&mut self, reason: &str) {
        tracing::info!(reason, "open refused");
        self.world.counters.increment(Counter::OpensRefused);
        self.close(CloseCode::Policy, reason).await;
    }

    async fn relay(self, wires: Wires) {
        let Wires { frames, mut orders, .. } = wires;
        let Self { world, session, socket } = self;
        let (mut sink, mut stream) = socket.split();
        let order = {
            let reading = read(&world, &session, &mut stream);
            let writing = write(world.black_hole.subscribe(), frames, &mut sink);
            tokio::select! {
                biased;
                Some(order) = orders.recv() => Some(order),
                () = overstayed(&session) => Some(Order::Reset),
                () = reading => None,
                finished = writing => finished.then_some(Order::EndOfSession),
            }
        };
        let Ok(socket) = sink.reunite(stream) else { return };
        let mut connection = Self { world, session, socket };
        if let Some(order) = order {
            connection.obey(order).await;
        }
    }

    async fn obey(&mut self, order: Order) {
        tracing::info!(?order, session = self.session.id, "ending a connection");
        match order {
            Order::Reset => self.socket.get_ref().reset_on_close(),
            Order::Close { code, reason } => self.close(code.into(), &reason).await,
            Order::OversizeClose { bytes } => self.oversize_close(bytes).await,
            Order::Evicted => self.close(CloseCode::Normal, "replaced by a newer connection").await,
            Order::EndOfSession => self.leave().await,
        }
    }

    async fn close(&mut self, code: CloseCode, reason: &str) {
        let frame = CloseFrame { code, reason: reason.to_owned().into() };
        let closing = async {
            self.socket.close(Some(frame)).await?;
            while self.socket.next().await.is_some() {}
            Ok::<_, tokio_tungstenite::tungstenite::Error>(())
        };
        ended(tokio::time::timeout(LEAVE_TIMEOUT, closing).await);
    }

    /// The frame is written under the WebSocket layer, which would refuse to make it.
    async fn oversize_close(&mut self, bytes: u16) {
        let mut frame = vec![CLOSE_FRAME, LENGTH_16];
        frame.extend(bytes.to_be_bytes());
        frame.extend(1000u16.to_be_bytes());
        frame.resize(4 + usize::from(bytes), b'B');
        let writing = async {
            self.socket.flush().await?;
            let raw = self.socket.get_mut();
            raw.write_all(&frame).await?;
            raw.flush().await?;
            while self.socket.next().await.is_some_and(|message| message.is_ok()) {}
            Ok::<_, tokio_tungstenite::tungstenite::Error>(())
        };
        ended(tokio::time::timeout(LEAVE_TIMEOUT, writing).await);
    }

    /// The client closes after `channel_closed`; one that does not is closed.
    async fn leave(&mut self) {
        let leaving = async { while self.socket.next().await.is_some_and(|message| message.is_ok()) {} };
        if tokio::time::timeout(LEAVE_TIMEOUT, leaving).await.is_err() {
            self.close(CloseCode::Normal, "Bye").await;
        }
    }
}

/// The session is over, and the client had time to take its last message.
async fn overstayed(session: &Session) {
    session.over.cancelled().await;
    tokio::time::sleep(2 * LEAVE_TIMEOUT).await;
}

fn ended(outcome: Result<Result<(), tokio_tungstenite::tungstenite::Error>, tokio::time::error::Elapsed>) {
    if let Ok(Err(error)) = outcome {
        tracing::debug!(%error, "the client left first");
    }
}

async fn read<T: Transport>(world: &World, session: &Session, stream: &mut SplitStream<WebSocketStream<T>>) {
    let mut black_hole = world.black_hole.subscribe();
    loop {
        let dark = *black_hole.borrow_and_update();
        let message = tokio::select! {
            biased;
            changed = black_hole.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            message = stream.next(), if !dark => message,
        };
        match message {
            Some(Ok(Message::Binary(frame))) => {
                if session.to_agent.entrance.send(frame).await.is_err() {
                    // The session is over; what still comes is of no interest.
                    std::future::pending::<()>().await;
                }
            }
            Some(Ok(Message::Ping(_))) => world.counters.increment(Counter::PingsFromClient),
            Some(Ok(Message::Text(_))) => world.counters.increment(Counter::OtherFromClient),
            Some(Ok(Message::Pong(_) | Message::Close(_) | Message::Frame(_))) => {}
            Some(Err(_)) | None => return,
        }
    }
}

/// Writes until the session lets the connection go; false when the connection broke before.
async fn write<T: Transport>(
    mut black_hole: watch::Receiver<bool>,
    mut frames: mpsc::Receiver<Bytes>,
    sink: &mut SplitSink<WebSocketStream<T>, Message>,
) -> bool {
    while let Some(frame) = frames.recv().await {
        if black_hole.wait_for(|dark| !dark).await.is_err()
            || sink.feed(Message::Binary(frame)).await.is_err()
        {
            return false;
        }
        // One flush for all that is there.
        if frames.is_empty() && sink.flush().await.is_err() {
            return false;
        }
    }
    true
}
