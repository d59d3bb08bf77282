//! A WebSocket as the engine's channel. Payloads are passed on, not copied.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use ssm_session::WsMessage;
use stormtunnel_aws::quote;
use stormtunnel_engine::ports::Channel;
use stormtunnel_model::{Fault, FaultKind};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::socket::Socket;

/// Messages of one WebSocket. Anything that breaks it, a close frame included, is the last item of the stream and a
/// [`FaultKind::Network`]; the engine decides whether to resume.
///
/// Pings are answered as they are read. The sink collects what fits its buffer and writes it
/// with the flush.
pub(super) struct WsChannel {
    socket: WebSocketStream<MaybeTlsStream<Socket>>,
    is_over: bool,
}

impl WsChannel {
    pub(super) fn new(socket: WebSocketStream<MaybeTlsStream<Socket>>) -> Self {
        Self { socket, is_over: false }
    }
}

impl Channel for WsChannel {
    fn set_watched(mut self: Pin<&mut Self>, watched: bool) {
        match self.socket.get_mut() {
            MaybeTlsStream::Plain(socket) => socket.set_watched(watched),
            MaybeTlsStream::Rustls(tls) => tls.get_mut().0.set_watched(watched),
            // No other kind is compiled in; a socket that stays watched only costs more.
            _ => {}
        }
    }
}

impl Stream for WsChannel {
    type Item = Result<WsMessage, Fault>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        loop {
            let item = match ready!(self.socket.poll_next_unpin(context)) {
                Some(Ok(Message::Binary(payload))) => Ok(WsMessage::Binary(payload)),
                // The gateway sends none, and the official client takes them like binary ones.
                Some(Ok(Message::Text(text))) => Ok(WsMessage::Binary(text.into())),
                Some(Ok(Message::Ping(payload))) => {
                    // The library has queued the pong, and would send it with the next read or write. Neither comes
                    // soon while local readers stall; a failure to write shows at the next of them.
                    let _ = self.socket.poll_flush_unpin(context);
                    Ok(WsMessage::Ping(payload))
                }
                Some(Ok(Message::Pong(payload))) => Ok(WsMessage::Pong(payload)),
                // Raw frames are never read, only written.
                Some(Ok(Message::Frame(_))) => continue,
                Some(Ok(Message::Close(frame))) => Err(closed(frame.as_ref())),
                Some(Err(error)) => Err(broken(&error)),
                None => Err(closed(None)),
            };
            self.is_over = item.is_err();
            return Poll::Ready(Some(item));
        }
    }
}

impl Sink<WsMessage> for WsChannel {
    type Error = Fault;

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.socket.poll_ready_unpin(context).map_err(|error| broken(&error))
    }

    fn start_send(mut self: Pin<&mut Self>, message: WsMessage) -> Result<(), Fault> {
        let message = match message {
            WsMessage::Binary(payload) => Message::Binary(payload),
            WsMessage::Text(text) => Message::Text(
                Utf8Bytes::try_from(text.into_bytes())
                    .map_err(|_| Fault::internal("a text frame is not UTF-8"))?,
            ),
            WsMessage::Ping(payload) => Message::Ping(payload),
            WsMessage::Pong(payload) => Message::Pong(payload),
        };
        self.socket.start_send_unpin(message).map_err(|error| broken(&error))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.socket.poll_flush_unpin(context).map_err(|error| broken(&error))
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.socket.poll_close_unpin(context).map_err(|error| broken(&error))
    }
}

fn closed(frame: Option<&CloseFrame>) -> Fault {
    let detail = match frame {
        Some(frame) => {
            let reason = quote(&frame.reason, &[]);
            format!(
                "the data channel was closed by the other side with code {} {reason}",
                u16::from(frame.code)
            )
        }
        None => "the data channel was closed by the other side".to_owned(),
    };
    Fault::new(FaultKind::Network, detail.trim_end())
}

/// Texts of the library hold no payload: its errors name what was broken.
fn broken(error: &Error) -> Fault {
    Fault::new(FaultKind::Network, format!("the data channel broke: {}", quote(&error.to_string(), &[])))
}
