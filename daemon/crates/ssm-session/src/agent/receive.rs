//! The way in: what the agent does with the client's messages.

use bytes::Bytes;

use super::config::{AgentEnd, AgentEvent, HANDSHAKE_REFUSED};
use super::{AgentSession, Phase};
use crate::channel::Arrival;
use crate::error::ProtocolError;
use crate::kind::{Flag, MessageType, PayloadType};
use crate::message::Message;
use crate::payload::{ChannelClosed, HandshakeComplete, HandshakeResponse, STATUS_SUCCESS, to_json};
use crate::time::Now;
use crate::transport::WsMessage;
use crate::version::Version;

impl AgentSession {
    /// Takes one received WebSocket message in.
    ///
    /// # Errors
    /// The client broke the protocol; the session is over.
    pub fn handle_message(&mut self, message: WsMessage, now: Now) -> Result<(), ProtocolError> {
        if self.is_over() || !self.connected {
            return Ok(());
        }
        self.liveness.heard(now.mono);
        let frame = match message {
            WsMessage::Binary(frame) => frame,
            WsMessage::Text(text) => text.into_bytes(),
            WsMessage::Ping(_) => return Ok(()),
            WsMessage::Pong(_) => {
                self.liveness.answered();
                return Ok(());
            }
        };
        let result = self.handle_frame(frame, now);
        if result.is_err() {
            self.destinations.clear();
            self.phase = Phase::Over;
        }
        result
    }

    fn handle_frame(&mut self, frame: Bytes, now: Now) -> Result<(), ProtocolError> {
        let message = Message::decode(frame)?;
        match message.message_type {
            MessageType::InputStreamData => return self.handle_data(message, now),
            MessageType::Acknowledge => {
                self.channel.acknowledged(&message.payload, now.mono)?;
            }
            MessageType::ChannelClosed => {
                let body: ChannelClosed = serde_json::from_slice(&message.payload).unwrap_or_default();
                self.phase = Phase::Draining {
                    end: AgentEnd::ServiceClosed { output: body.output },
                    deadline: now.mono,
                };
                self.end();
            }
            MessageType::PausePublication => {
                self.channel.pause(now.mono);
            }
            MessageType::StartPublication => {
                self.channel.unpause();
            }
            MessageType::OutputStreamData | MessageType::AgentSessionState | MessageType::Other(_) => {
                self.channel.counters.ignored += 1;
            }
        }
        Ok(())
    }

    fn handle_data(&mut self, message: Message, now: Now) -> Result<(), ProtocolError> {
        let Arrival::Next(message) = self.channel.arrive(message, usize::MAX, now.mono) else {
            return Ok(());
        };
        if matches!(self.phase, Phase::NotReady { .. } | Phase::Draining { .. } | Phase::Over) {
            // Neither acknowledged nor passed: the client sends it again.
            return Ok(());
        }
        self.channel.inbox.accept(&message, now.mono);
        self.process(message, now)?;
        while !matches!(self.phase, Phase::NotReady { .. })
            && let Some(message) = self.channel.inbox.next_early()
        {
            self.process(message, now)?;
        }
        Ok(())
    }

    fn process(&mut self, message: Message, now: Now) -> Result<(), ProtocolError> {
        match (&self.phase, message.payload_type) {
            (Phase::AwaitResponse { .. }, PayloadType::HandshakeResponse) => {
                self.handle_response(&message, now)
            }
            (Phase::Ready, PayloadType::Output) => self.destinations.handle_input(message.payload, now.mono),
            (Phase::Ready, PayloadType::Flag) => {
                if Flag::decode(&message.payload) == Some(Flag::TerminateSession) {
                    self.events.push_back(AgentEvent::Terminated);
                    self.drain(AgentEnd::Terminated, now);
                }
                Ok(())
            }
            // Before the end of the handshake everything else is acknowledged and thrown away.
            _ => {
                self.channel.counters.ignored += 1;
                Ok(())
            }
        }
    }

    fn handle_response(&mut self, message: &Message, now: Now) -> Result<(), ProtocolError> {
        let response: HandshakeResponse = serde_json::from_slice(&message.payload)
            .map_err(|_| ProtocolError::Body { body: "handshake response" })?;
        let refused = response.processed_client_actions.iter().find(|a| a.action_status != STATUS_SUCCESS);
        if let Some(action) = refused {
            self.fail(format!("{HANDSHAKE_REFUSED} {}: {}", action.action_type, action.error), now);
            return Ok(());
        }
        let client_version = Version::new(response.client_version);
        if !self.config.multiplexes(&client_version) {
            self.fail("only multiplexed port sessions are implemented by this agent", now);
            return Ok(());
        }
        let keepalive = !client_version.exceeds([1, 2, 331, 0]);
        match smux::Mux::new(smux::Role::Server, self.mux_config(keepalive), now.mono) {
            Ok(mux) => self.destinations.start(mux),
            Err(error) => {
                self.fail(error.to_string(), now);
                return Ok(());
            }
        }
        let elapsed = self.requested_at.map_or(0, |at| (now.mono - at).as_nanos());
        let complete = HandshakeComplete {
            handshake_time_to_complete: i64::try_from(elapsed).unwrap_or(i64::MAX),
            customer_message: String::new(),
        };
        self.control(PayloadType::HandshakeComplete, &to_json(&complete));
        self.events.push_back(AgentEvent::HandshakeComplete { client_version });
        if self.config.habits.not_ready.is_zero() {
            self.phase = Phase::Ready;
            self.events.push_back(AgentEvent::Ready);
        } else {
            self.phase = Phase::NotReady { until: now.mono + self.config.habits.not_ready };
        }
        Ok(())
    }

    fn mux_config(&self, keepalive: bool) -> smux::Config {
        let frame_payload = smux::frame::MAX_SEND_PAYLOAD;
        let receive = self.config.receive_buffer.max(smux::frame::MAX_PAYLOAD);
        smux::Config {
            frame_payload,
            stream_send_buffer: self.config.send_buffer.max(frame_payload),
            keepalive: keepalive.then_some(smux::KEEPALIVE_INTERVAL),
            receive: smux::ReceiveLimits { stream: receive, session: receive },
            ..smux::Config::default()
        }
    }
}
