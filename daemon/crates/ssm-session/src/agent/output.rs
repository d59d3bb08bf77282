//! The way out: acknowledgements, resending, handshake and flags, then stream data at the agent's pace.

use std::time::Instant;

use bytes::Bytes;

use super::config::AgentEvent;
use super::{AgentSession, Phase};
use crate::event::Output;
use crate::kind::PayloadType;
use crate::time::{Now, earliest};
use crate::transport::WsMessage;

/// Unacknowledged messages that the agent remembers; at this many it stops here instead of forgetting.
const UNACKED: usize = 100_000;
/// A frame of the largest size, header included.
const STAGE: usize = smux::frame::MAX_SEND_PAYLOAD + smux::frame::HEADER_LEN;

impl AgentSession {
    /// The next thing to do. Call it only while the WebSocket takes a message.
    pub fn poll_output(&mut self, now: Now) -> Output<AgentEvent> {
        if let Some(event) = self.next_event() {
            return Output::Event(event);
        }
        if self.connected
            && !self.is_over()
            && let Some(message) = self.next_message(now)
        {
            return Output::Send(message);
        }
        self.end_if_drained();
        if let Some(event) = self.next_event() {
            return Output::Event(event);
        }
        Output::Timeout(self.next_timeout(now))
    }

    /// The same without [`Output::Send`], for the time in which the WebSocket takes nothing.
    pub fn poll_event(&mut self, now: Now) -> Output<AgentEvent> {
        match self.next_event() {
            Some(event) => Output::Event(event),
            None => Output::Timeout(self.next_timeout(now).filter(|at| *at > now.mono)),
        }
    }

    fn next_event(&mut self) -> Option<AgentEvent> {
        self.events.append(&mut self.destinations.events);
        self.events.pop_front()
    }

    fn next_message(&mut self, now: Now) -> Option<WsMessage> {
        if let Some(greeting) = self.greeting.take() {
            return Some(WsMessage::Text(greeting));
        }
        if self.liveness.ping_due(now.mono) {
            return Some(WsMessage::Ping(Bytes::new()));
        }
        if let Some(service) = self.services.pop_front() {
            return Some(WsMessage::Binary(service));
        }
        if let Some(ack) = self.channel.next_ack(now) {
            return Some(WsMessage::Binary(ack));
        }
        if let Some(frame) = self.channel.next_resend(now.mono) {
            return Some(WsMessage::Binary(frame));
        }
        if !self.channel.may_send(true, now.mono) {
            return None;
        }
        if let Some((payload_type, payload)) = self.controls.pop_front() {
            return Some(WsMessage::Binary(self.channel.send(
                payload_type,
                payload.len(),
                false,
                now,
                |out| {
                    out.extend_from_slice(&payload);
                },
            )));
        }
        self.next_data(now).map(WsMessage::Binary)
    }

    fn next_data(&mut self, now: Now) -> Option<Bytes> {
        let full = self.channel.outbox().outstanding().0 >= UNACKED;
        if full || self.pacer_opens_at(now.mono).is_some() || !self.wants_to_send() {
            return None;
        }
        if self.staged.is_empty() {
            self.destinations.transmit(&mut self.staged, STAGE, now.mono);
        }
        let size = self.config.habits.message_bytes.max(1).min(self.staged.len());
        if size == 0 {
            return None;
        }
        if let Some(pacer) = &mut self.pacer {
            pacer.take(now.mono);
        }
        let piece = self.staged.split_to(size);
        Some(self.channel.send(PayloadType::Output, size, false, now, |out| out.extend_from_slice(&piece)))
    }

    fn wants_to_send(&self) -> bool {
        self.phase == Phase::Ready && (!self.staged.is_empty() || self.destinations.pending())
    }

    fn pacer_opens_at(&self, now: Instant) -> Option<Instant> {
        self.pacer.as_ref()?.ready_at(true, now)
    }

    fn end_if_drained(&mut self) {
        let idle = self.channel.outbox().outstanding().0 == 0
            && self.channel.acks_due() == 0
            && self.controls.is_empty();
        if idle && matches!(self.phase, Phase::Draining { .. }) {
            self.end();
        }
    }

    fn next_timeout(&mut self, now: Now) -> Option<Instant> {
        let phase = match self.phase {
            Phase::AwaitResponse { deadline } => deadline,
            Phase::NotReady { until } => Some(until),
            Phase::Draining { deadline, .. } => Some(deadline),
            Phase::Ready => None,
            Phase::Over => return None,
        };
        let own = earliest(phase, self.destinations.next_timeout());
        if !self.connected {
            return own;
        }
        let pacer = self.pacer_opens_at(now.mono).filter(|_| self.wants_to_send());
        let wants_to_send = !self.controls.is_empty();
        let channel = self.channel.next_timeout(wants_to_send, true, now.mono);
        earliest(earliest(own, pacer), earliest(channel, self.liveness.next_timeout()))
    }
}
