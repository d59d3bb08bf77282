//! A data channel without a network.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use futures_util::{Sink, Stream};
use ssm_session::WsMessage;
use stormtunnel_model::{Fault, FaultKind};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

use crate::ports::Channel;

/// The engine's end. It pushes back after `capacity` messages that the far end has not taken.
#[derive(Debug)]
pub struct MemoryChannel {
    incoming: mpsc::Receiver<WsMessage>,
    outgoing: PollSender<WsMessage>,
    is_watched: bool,
}

/// The gateway's end. Dropping it breaks the channel.
#[derive(Debug)]
pub struct FarEnd {
    /// What the engine sent.
    pub incoming: mpsc::Receiver<WsMessage>,
    /// To the engine.
    pub outgoing: mpsc::Sender<WsMessage>,
}

/// Both ends of a channel that holds `capacity` messages each way.
pub fn memory_channel(capacity: usize) -> (MemoryChannel, FarEnd) {
    let (to_gateway, from_engine) = mpsc::channel(capacity);
    let (to_engine, from_gateway) = mpsc::channel(capacity);
    let channel =
        MemoryChannel { incoming: from_gateway, outgoing: PollSender::new(to_gateway), is_watched: true };
    (channel, FarEnd { incoming: from_engine, outgoing: to_engine })
}

fn broken() -> Fault {
    Fault::new(FaultKind::Network, "connection reset by peer")
}

impl Channel for MemoryChannel {
    fn set_watched(mut self: Pin<&mut Self>, watched: bool) {
        self.is_watched = watched;
    }
}

impl Stream for MemoryChannel {
    type Item = Result<WsMessage, Fault>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut nobody = Context::from_waker(Waker::noop());
        let cx = if self.is_watched { cx } else { &mut nobody };
        self.incoming.poll_recv(cx).map(|message| message.map(Ok))
    }
}

impl Sink<WsMessage> for MemoryChannel {
    type Error = Fault;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(ready!(self.outgoing.poll_reserve(cx)).map_err(|_gone| broken()))
    }

    fn start_send(mut self: Pin<&mut Self>, message: WsMessage) -> Result<(), Fault> {
        self.outgoing.send_item(message).map_err(|_gone| broken())
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.outgoing.close();
        Poll::Ready(Ok(()))
    }
}
