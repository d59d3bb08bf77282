//! One session's agent, with the gateway in front of it and the remote end behind it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use ssm_session::payload::ChannelClosed;
use ssm_session::{
    AgentConfig, AgentEnd, AgentEvent, AgentSession, Message, MessageType, Now, Output, PayloadType,
    StreamId, Token, WsMessage,
};
use stormtunnel_engine::testing::FarEnd;
use tokio::sync::mpsc;

/// What is at the remote end.
#[derive(Clone, Debug, Default)]
pub(crate) enum Remote {
    /// A server that sends back what it gets.
    #[default]
    Echo,
    /// Nothing listens.
    Refuses,
    /// The agent gives up on the session with that text.
    Fails(&'static str),
    /// A server that reads a request of so many bytes, sends an answer and closes.
    Answers(usize, Bytes),
    /// The agent never says a word.
    Silent,
}

/// What the cloud wants of an agent and its gateway.
pub(super) enum Order {
    Attach(FarEnd),
    DropChannel,
    /// The channel stays open and swallows nothing more.
    BlackHole,
    /// The node is gone: its agent hears and says nothing any more, while the gateway goes on.
    Mute,
    /// The gateway asks the client for silence, or takes that back.
    Pause(bool),
    /// So many messages to the client get lost.
    Lose(usize),
    Garbage,
    Close(String),
}

pub(super) struct Agent {
    session: AgentSession,
    remote: Remote,
    orders: mpsc::Receiver<Order>,
    channel: Option<FarEnd>,
    /// A channel that neither reads nor writes any more.
    black_hole: Option<FarEnd>,
    /// For a client that is away: the gateway keeps what the agent sends.
    kept: VecDeque<WsMessage>,
    streams: BTreeMap<StreamId, Stream>,
    /// Counts the bytes that the engine is sent.
    delivered: Arc<AtomicUsize>,
    /// The most connections at once, of all agents.
    busiest: Arc<AtomicUsize>,
    /// Messages to be lost.
    losing: usize,
    over: bool,
}

#[derive(Default)]
struct Stream {
    received: BytesMut,
    unsent: VecDeque<Bytes>,
    answered: bool,
}

/// Both clocks of the paused runtime.
fn now() -> Now {
    Now::new(tokio::time::Instant::now().into_std(), 1_700_000_000_000)
}

impl Agent {
    pub(super) fn new(
        remote: Remote,
        orders: mpsc::Receiver<Order>,
        (delivered, busiest): (Arc<AtomicUsize>, Arc<AtomicUsize>),
        seed: [u8; 32],
    ) -> Self {
        let mut session = AgentSession::new(AgentConfig::default(), now(), seed);
        if !matches!(remote, Remote::Silent) {
            session.handle_connected(&Token::new("agent"), now());
        }
        let (kept, streams) = (VecDeque::new(), BTreeMap::new());
        let (channel, black_hole) = (None, None);
        let (losing, over) = (0, false);
        Self { session, remote, orders, channel, black_hole, kept, streams, delivered, busiest, losing, over }
    }

    pub(super) async fn run(mut self) {
        while !self.over {
            let due = self.drain();
            let wants_input = self.session.wants_input();
            let due = due.map_or_else(
                || tokio::time::Instant::now() + std::time::Duration::from_secs(3600),
                Into::into,
            );
            let (incoming, room) = match &mut self.channel {
                Some(channel) => (Some(&mut channel.incoming), Some(&channel.outgoing)),
                None => (None, None),
            };
            let kept = !self.kept.is_empty();
            tokio::select! {
                biased;
                order = self.orders.recv() => match order {
                    Some(order) => self.on_order(order).await,
                    None => return,
                },
                message = receive(incoming), if wants_input => self.on_message(message).await,
                () = has_room(room), if kept => {}
                () = tokio::time::sleep_until(due) => self.session.handle_timeout(now()),
            }
        }
    }

    async fn on_order(&mut self, order: Order) {
        match order {
            Order::Attach(channel) => self.channel = Some(channel),
            Order::DropChannel => self.channel = None,
            Order::BlackHole => self.black_hole = self.channel.take(),
            Order::Pause(pause) => self.pause(pause).await,
            Order::Mute => self.remote = Remote::Silent,
            Order::Lose(count) => self.losing = count,
            Order::Garbage => self.send(WsMessage::Binary(Bytes::from_static(b"garbage"))).await,
            Order::Close(output) => self.close(output).await,
        }
    }

    async fn on_message(&mut self, message: Option<WsMessage>) {
        match message {
            None => self.channel = None,
            Some(WsMessage::Text(_) | WsMessage::Pong(_)) => {}
            Some(WsMessage::Ping(data)) => self.send(WsMessage::Pong(data)).await,
            Some(message @ WsMessage::Binary(_)) if matches!(self.remote, Remote::Silent) => drop(message),
            Some(message @ WsMessage::Binary(_)) => self.session.handle_message(message, now()).unwrap(),
        }
    }

    async fn send(&mut self, message: WsMessage) {
        if let Some(channel) = &self.channel {
            let _gone = channel.outgoing.send(message).await;
        }
    }

    async fn pause(&mut self, pause: bool) {
        let kind = if pause { MessageType::PausePublication } else { MessageType::StartPublication };
        let id = uuid::Uuid::from_u128(3);
        let message = Message::service(kind, PayloadType::None, id, 1_700_000_000_000, b"");
        self.send(WsMessage::Binary(message.encode())).await;
    }

    /// The gateway tells the client that the session is over.
    async fn close(&mut self, output: String) {
        let body = ChannelClosed { output, schema_version: 1, ..ChannelClosed::default() };
        let body = serde_json::to_vec(&body).unwrap();
        let id = uuid::Uuid::from_u128(1);
        let message =
            Message::service(MessageType::ChannelClosed, PayloadType::None, id, 1_700_000_000_000, &body)
                .encode();
        self.send(WsMessage::Binary(message)).await;
        // The client closes the channel after it read this.
        while let Some(channel) = &mut self.channel
            && channel.incoming.recv().await.is_some()
        {}
        self.over = true;
    }

    /// Moves everything that can be moved; answers when there is more to do.
    fn drain(&mut self) -> Option<Instant> {
        loop {
            self.deliver_kept();
            let output = if self.kept.len() < 64 {
                self.session.poll_output(now())
            } else {
                self.session.poll_event(now())
            };
            match output {
                Output::Send(message) => self.forward(message),
                Output::Event(event) => self.on_event(event),
                Output::Timeout(due) => return due,
            }
            if self.over {
                return None;
            }
        }
    }

    fn forward(&mut self, message: WsMessage) {
        match message {
            WsMessage::Binary(_) if matches!(self.remote, Remote::Silent) => {}
            WsMessage::Binary(_) if self.losing > 0 => self.losing -= 1,
            WsMessage::Binary(_) => self.kept.push_back(message),
            WsMessage::Ping(data) => self.session.handle_message(WsMessage::Pong(data), now()).unwrap(),
            WsMessage::Text(_) | WsMessage::Pong(_) => {}
        }
    }

    fn deliver_kept(&mut self) {
        while let Some(channel) = &self.channel
            && let Ok(place) = channel.outgoing.try_reserve()
            && let Some(message) = self.kept.pop_front()
        {
            if let WsMessage::Binary(frame) = &message {
                self.delivered.fetch_add(frame.len(), Ordering::Relaxed);
            }
            place.send(message);
        }
    }

    fn on_event(&mut self, event: AgentEvent) {
        match event {
            AgentEvent::HandshakeComplete { .. } => {
                if let Remote::Fails(text) = self.remote {
                    self.session.fail(text, now());
                }
            }
            AgentEvent::Dial(stream) if matches!(self.remote, Remote::Refuses) => {
                self.session.dial_failed(stream, now());
            }
            AgentEvent::Dial(stream) => {
                self.streams.insert(stream, Stream::default());
                self.busiest.fetch_max(self.streams.len(), Ordering::Relaxed);
                self.session.dial_succeeded(stream, now());
            }
            AgentEvent::Readable(stream) => self.serve(stream),
            AgentEvent::Writable(stream) => self.answer(stream),
            AgentEvent::PeerFinished(stream) | AgentEvent::Closed(stream) => {
                self.streams.remove(&stream);
            }
            AgentEvent::Ended(AgentEnd::Failed { output }) => self.fail_client(output),
            AgentEvent::Ended(AgentEnd::Terminated | AgentEnd::ServiceClosed { .. }) => {}
            AgentEvent::Ready | AgentEvent::Terminated | AgentEvent::ChannelDead => {}
        }
    }

    /// As [`Agent::close`], without waiting.
    fn fail_client(&mut self, output: String) {
        let body = ChannelClosed { output, schema_version: 1, ..ChannelClosed::default() };
        let body = serde_json::to_vec(&body).unwrap();
        let id = uuid::Uuid::from_u128(2);
        let message =
            Message::service(MessageType::ChannelClosed, PayloadType::None, id, 1_700_000_000_000, &body);
        self.kept.push_back(WsMessage::Binary(message.encode()));
    }

    /// The server reads.
    fn serve(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        while let Some(data) = self.session.read(id, now()) {
            match &self.remote {
                Remote::Echo => stream.unsent.push_back(data),
                Remote::Answers(request, answer) => {
                    stream.received.extend_from_slice(&data);
                    if stream.received.len() >= *request && !stream.answered {
                        stream.answered = true;
                        stream.unsent.push_back(answer.clone());
                    }
                }
                Remote::Refuses | Remote::Fails(_) | Remote::Silent => {}
            }
        }
        self.answer(id);
    }

    /// The server writes.
    fn answer(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        while let Some(data) = stream.unsent.front_mut() {
            let sent = self.session.write(id, data, now());
            if sent.is_err() || !data.is_empty() {
                return;
            }
            stream.unsent.pop_front();
        }
        if stream.answered {
            self.session.finish(id, now());
        }
    }
}

async fn receive(incoming: Option<&mut mpsc::Receiver<WsMessage>>) -> Option<WsMessage> {
    match incoming {
        Some(incoming) => incoming.recv().await,
        None => std::future::pending().await,
    }
}

async fn has_room(outgoing: Option<&mpsc::Sender<WsMessage>>) {
    match outgoing {
        // A channel that broke is noticed by its receiver.
        Some(outgoing) => match outgoing.reserve().await {
            Ok(_place) => {}
            Err(_broken) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}
