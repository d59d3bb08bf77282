//! The way out: what leaves next. Acknowledgements first (those of a bulk download may wait a moment for each other, but
//! not when anything else leaves), then what must be sent again, then what is new.

use bytes::Bytes;

use super::{Phase, PortSession};
use crate::event::{Output, SessionEnd, SessionEvent};
use crate::kind::PayloadType;
use crate::time::Now;
use crate::transport::WsMessage;

/// Payload of our pings, as in the official client.
const PING: &[u8] = b"keepalive";

impl PortSession {
    /// The next thing to do. Call it only while the WebSocket takes a message: what it answers counts as sent.
    pub fn poll_output(&mut self, now: Now) -> Output<SessionEvent> {
        if let Some(event) = self.next_event() {
            return Output::Event(event);
        }
        if self.connected
            && !self.is_over()
            && let Some(message) = self.next_message(now)
        {
            return Output::Send(message);
        }
        // Sending can make room, which is news for a writer.
        if let Some(event) = self.next_event() {
            return Output::Event(event);
        }
        Output::Timeout(self.next_timeout(now))
    }

    /// The same without [`Output::Send`], for the time in which the WebSocket takes nothing. The timeout leaves out
    /// what could be sent at once.
    pub fn poll_event(&mut self, now: Now) -> Output<SessionEvent> {
        match self.next_event() {
            Some(event) => Output::Event(event),
            None => Output::Timeout(self.next_timeout(now).filter(|at| *at > now.mono)),
        }
    }

    /// Whether new numbered messages wait for nothing but the message rate.
    pub(super) fn wants_to_send(&self) -> bool {
        !self.controls.is_empty() || (self.flows() && self.channel.has_room() && self.streams.pending() > 0)
    }

    /// Whether what waits is more than a bulk upload, which leaves several messages at once.
    pub(super) fn hurries(&self) -> bool {
        !self.controls.is_empty() || self.streams.hurry()
    }

    fn next_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front().or_else(|| self.streams.events.pop_front())
    }

    fn next_message(&mut self, now: Now) -> Option<WsMessage> {
        if let Some(greeting) = self.greeting.take() {
            return Some(WsMessage::Text(greeting));
        }
        if self.liveness.ping_due(now.mono) {
            return Some(WsMessage::Ping(Bytes::from_static(PING)));
        }
        if self.channel.has_resend(now.mono) || self.wants_to_send() && self.may_send(now) {
            self.channel.release_acks();
        }
        if let Some(ack) = self.channel.next_ack(now) {
            return Some(WsMessage::Binary(ack));
        }
        if let Some(frame) = self.channel.next_resend(now.mono) {
            return Some(WsMessage::Binary(frame));
        }
        self.end_if_refused();
        if self.is_over() || !self.may_send(now) {
            return None;
        }
        self.next_control(now).or_else(|| self.next_data(now)).map(WsMessage::Binary)
    }

    fn may_send(&self, now: Now) -> bool {
        self.channel.may_send(self.hurries(), now.mono)
    }

    /// Handshake answer and flags: they overtake stream data and need no room in the window.
    fn next_control(&mut self, now: Now) -> Option<Bytes> {
        let control = self.controls.pop_front()?;
        let number = self.channel.outbox().next_number();
        if control.payload_type == PayloadType::Flag
            && let Phase::Terminating { flag, .. } = &mut self.phase
        {
            *flag = Some(number);
        }
        if control.payload_type == PayloadType::Output {
            self.silence.asked_as(number);
        }
        let payload = control.payload;
        Some(self.channel.send(control.payload_type, payload.len(), false, now, |out| {
            out.extend_from_slice(&payload);
        }))
    }

    fn next_data(&mut self, now: Now) -> Option<Bytes> {
        if !self.flows() || !self.channel.has_room() {
            return None;
        }
        let pending = self.streams.pending();
        if pending == 0 {
            self.channel.starve();
            return None;
        }
        let number = self.channel.outbox().next_number();
        if let Some(probe) = self.payload.probe(pending) {
            self.payload.probe_sent(number);
            return Some(self.channel.send(PayloadType::Output, probe.len(), false, now, |out| {
                out.extend_from_slice(&probe);
            }));
        }
        // The first message behind the handshake, which the agent may not be ready for.
        let first = matches!(self.phase, Phase::AwaitReady { .. });
        if let Phase::AwaitReady { probe } = &mut self.phase {
            *probe = Some(number);
        }
        let limit = self.payload.current();
        let streams = &mut self.streams;
        let frame = self.channel.send(PayloadType::Output, limit, first, now, |out| {
            streams.transmit(out, limit, now.mono);
        });
        self.payload.sent(frame.len() - crate::message::PAYLOAD_OFFSET, number);
        Some(frame)
    }

    /// Whether multiplexer data may leave.
    fn flows(&self) -> bool {
        match self.phase {
            Phase::Up => true,
            // The NOP, and nothing behind it: the agent would acknowledge and might lose it.
            Phase::AwaitReady { probe } => probe.is_none(),
            Phase::AwaitRequest
            | Phase::AwaitComplete
            | Phase::Refusing(_)
            | Phase::Terminating { .. }
            | Phase::Over => false,
        }
    }

    /// The answer that refuses the session has left: that was the last thing to say.
    fn end_if_refused(&mut self) {
        if let Phase::Refusing(end) = &self.phase
            && self.controls.is_empty()
        {
            let end: SessionEnd = end.clone();
            self.end(end);
        }
    }
}
