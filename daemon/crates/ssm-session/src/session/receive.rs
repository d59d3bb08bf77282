//! The way in: from a WebSocket message to handshake, acknowledgement, stream data or the end.

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::streams::mux_config;
use super::{Control, Phase, PortSession};
use crate::channel::Arrival;
use crate::error::ProtocolError;
use crate::event::{SessionEnd, SessionEvent};
use crate::handshake::answer;
use crate::kind::{Flag, MessageType, PayloadType};
use crate::message::Message;
use crate::payload::{ChannelClosed, HandshakeComplete, HandshakeRequest, to_json};
use crate::time::Now;
use crate::transport::WsMessage;

impl PortSession {
    /// Takes one received WebSocket message in.
    ///
    /// # Errors
    /// The peer broke the protocol. The session is over then, its streams are reset (events to poll), and only a new
    /// session helps.
    pub fn handle_message(&mut self, message: WsMessage, now: Now) -> Result<(), ProtocolError> {
        if self.is_over() || !self.connected {
            return Ok(());
        }
        self.liveness.heard(now.mono);
        let frame = match message {
            WsMessage::Binary(frame) => frame,
            // The official client takes text and binary alike.
            WsMessage::Text(text) => text.into_bytes(),
            WsMessage::Ping(_) => return Ok(()),
            WsMessage::Pong(_) => {
                self.liveness.answered();
                return Ok(());
            }
        };
        let result = self.handle_frame(frame, now);
        if result.is_err() {
            self.close();
        }
        result
    }

    fn handle_frame(&mut self, frame: Bytes, now: Now) -> Result<(), ProtocolError> {
        let message = Message::decode(frame)?;
        match message.message_type {
            MessageType::OutputStreamData => self.handle_data(message, now),
            MessageType::Acknowledge => self.handle_ack(&message, now),
            MessageType::ChannelClosed => {
                self.handle_closed(&message);
                Ok(())
            }
            MessageType::PausePublication => {
                if self.channel.pause(now.mono) {
                    self.events.push_back(SessionEvent::Paused);
                }
                Ok(())
            }
            MessageType::StartPublication => {
                if self.channel.unpause() {
                    self.events.push_back(SessionEvent::Unpaused);
                }
                Ok(())
            }
            MessageType::InputStreamData | MessageType::AgentSessionState | MessageType::Other(_) => {
                self.channel.counters.ignored += 1;
                Ok(())
            }
        }
    }

    fn handle_data(&mut self, message: Message, now: Now) -> Result<(), ProtocolError> {
        if !self.channel.check_digest(&message, now.mono)? {
            return Ok(());
        }
        let room = self.streams.early_room();
        let Arrival::Next(message) = self.channel.arrive(message, room, now.mono) else { return Ok(()) };
        self.channel.inbox.accept(&message, now.mono);
        self.process(message, now)?;
        while let Some(message) = self.channel.inbox.next_early() {
            self.process(message, now)?;
        }
        self.notice_resends(now);
        self.judge_silence(now.mono);
        Ok(())
    }

    fn handle_ack(&mut self, message: &Message, now: Now) -> Result<(), ProtocolError> {
        if !self.channel.check_digest(message, now.mono)? {
            return Ok(());
        }
        let Some(number) = self.channel.acknowledged(&message.payload, now.mono)? else { return Ok(()) };
        self.payload.acknowledged(number);
        self.judge_silence(now.mono);
        if std::mem::take(&mut self.stalled) {
            self.events.push_back(SessionEvent::AgentRecovered);
        }
        match self.phase {
            Phase::AwaitReady { probe } if probe == Some(number) => {
                self.phase = Phase::Up;
                self.step_deadline = None;
                self.events.push_back(SessionEvent::Up);
                self.streams.up(now.mono);
            }
            Phase::Terminating { flag, .. } if flag == Some(number) => {
                self.end(SessionEnd::UserTerminated { confirmed: true });
            }
            Phase::AwaitRequest
            | Phase::AwaitComplete
            | Phase::Refusing(_)
            | Phase::AwaitReady { .. }
            | Phase::Up
            | Phase::Terminating { .. }
            | Phase::Over => {}
        }
        Ok(())
    }

    /// The service says that the session is over. A body that cannot be read changes nothing about that.
    fn handle_closed(&mut self, message: &Message) {
        let body: ChannelClosed = serde_json::from_slice(&message.payload).unwrap_or_default();
        let end = match self.phase.clone() {
            Phase::Terminating { .. } => SessionEnd::UserTerminated { confirmed: true },
            Phase::Refusing(end) => end,
            Phase::AwaitRequest
            | Phase::AwaitComplete
            | Phase::AwaitReady { .. }
            | Phase::Up
            | Phase::Over => SessionEnd::ServiceClosed { output: body.output },
        };
        self.end(end);
    }

    /// One data message, in order.
    fn process(&mut self, message: Message, now: Now) -> Result<(), ProtocolError> {
        if self.is_over() || message.payload.is_empty() {
            return Ok(());
        }
        match message.payload_type {
            PayloadType::Output => self.handle_output(message.payload, now),
            PayloadType::HandshakeRequest => self.handle_request(&message.payload, now),
            PayloadType::HandshakeComplete => self.handle_complete(&message.payload, now),
            PayloadType::Flag => {
                let flag = Flag::decode(&message.payload).ok_or(ProtocolError::Body { body: "flag" })?;
                if flag == Flag::ConnectToPortError {
                    self.streams.connect_failed(now.mono);
                }
                Ok(())
            }
            PayloadType::EncryptionChallengeRequest => {
                Err(ProtocolError::Unexpected { payload: "encryption challenge", when: "in a port session" })
            }
            PayloadType::None
            | PayloadType::Error
            | PayloadType::Size
            | PayloadType::Parameter
            | PayloadType::HandshakeResponse
            | PayloadType::EncryptionChallengeResponse
            | PayloadType::StdErr
            | PayloadType::ExitCode
            | PayloadType::Other(_) => {
                self.channel.counters.ignored += 1;
                Ok(())
            }
        }
    }

    fn handle_output(&mut self, payload: Bytes, now: Now) -> Result<(), ProtocolError> {
        match self.phase {
            Phase::AwaitReady { .. } | Phase::Up => {
                self.rest.heard(payload.len(), now.mono);
                self.streams.handle_input(payload, now.mono)
            }
            // A session without handshake begins with output: that is how shells look.
            Phase::AwaitRequest => {
                let reason =
                    "the document starts a shell session, not a port session; use a port forwarding document";
                self.end(SessionEnd::HandshakeRejected { reason: reason.to_owned() });
                Ok(())
            }
            Phase::AwaitComplete => {
                Err(ProtocolError::Unexpected { payload: "data", when: "before the end of the handshake" })
            }
            Phase::Refusing(_) | Phase::Terminating { .. } | Phase::Over => Ok(()),
        }
    }

    fn handle_request(&mut self, payload: &[u8], now: Now) -> Result<(), ProtocolError> {
        if self.phase != Phase::AwaitRequest {
            // Answering again would block the agent for ever.
            return Err(ProtocolError::Unexpected {
                payload: "handshake request",
                when: "after the first one",
            });
        }
        let request: HandshakeRequest = body(payload, "handshake request")?;
        let answer = answer(&request, &self.config.client_version);
        let payload = Bytes::from(to_json(&answer.response));
        self.controls.push_back(Control { payload_type: PayloadType::HandshakeResponse, payload });
        self.step_deadline = Some(now.mono + self.config.handshake_timeout);
        self.phase = match answer.outcome {
            Ok(version) => {
                self.agent_version = Some(version);
                Phase::AwaitComplete
            }
            Err(end) => Phase::Refusing(end),
        };
        Ok(())
    }

    fn handle_complete(&mut self, payload: &[u8], now: Now) -> Result<(), ProtocolError> {
        let complete: HandshakeComplete = body(payload, "handshake completion")?;
        let unexpected = ProtocolError::Unexpected { payload: "handshake completion", when: "out of turn" };
        match self.phase {
            Phase::AwaitComplete => {}
            Phase::Refusing(_) | Phase::Terminating { .. } => return Ok(()),
            Phase::AwaitRequest | Phase::AwaitReady { .. } | Phase::Up | Phase::Over => {
                return Err(unexpected);
            }
        }
        let agent_version = self.agent_version.clone().ok_or(unexpected)?;
        let config = mux_config(&self.config, agent_version.expects_keepalive());
        match smux::Mux::new(smux::Role::Client, config, now.mono) {
            Ok(mux) => self.streams.start(mux),
            Err(error) => {
                // Unreachable: `mux_config` derives valid values from any configuration.
                let reason = error.to_string();
                self.end(SessionEnd::HandshakeRejected { reason });
                return Ok(());
            }
        }
        self.phase = Phase::AwaitReady { probe: None };
        self.step_deadline = Some(now.mono + self.config.handshake_timeout);
        let customer_message = complete.customer_message;
        self.events.push_back(SessionEvent::HandshakeComplete { agent_version, customer_message });
        Ok(())
    }
}

fn body<T: DeserializeOwned>(payload: &[u8], body: &'static str) -> Result<T, ProtocolError> {
    serde_json::from_slice(payload).map_err(|_| ProtocolError::Body { body })
}
