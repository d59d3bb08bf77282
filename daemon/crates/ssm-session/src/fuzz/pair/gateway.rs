//! The way between the ends, and what goes wrong on it.

use bytes::Bytes;
use uuid::Uuid;

use super::super::Program;
use super::Pair;
use crate::message::{Message, PAYLOAD_OFFSET};
use crate::{MessageType, PayloadType, Token, WsMessage};

/// Spoilt messages of one program, none of them doubled: more within a minute end a session.
const MOST_SPOILT: usize = 10;

impl Pair {
    pub(super) fn switch_client(&mut self) {
        self.client_on ^= true;
        if self.client_on {
            self.client.handle_connected(&Token::new("client"), self.now);
        } else {
            self.client.handle_disconnected(self.now);
            self.up.clear();
            self.down.clear();
        }
    }

    pub(super) fn switch_agent(&mut self) {
        self.agent_on ^= true;
        if self.agent_on {
            self.agent.handle_connected(&Token::new("agent"), self.now);
        } else {
            self.agent.handle_disconnected(self.now);
            self.up.clear();
            self.down.clear();
        }
    }

    pub(super) fn deliver_up(&mut self, place: usize) {
        if self.up.is_empty() || !self.agent.wants_input() {
            return;
        }
        let Some(frame) = self.up.remove(place % self.up.len()) else { return };
        if let Ok(message) = Message::decode(frame.clone())
            && message.message_type == MessageType::InputStreamData
        {
            self.arrived.insert((message.sequence_number, message.message_id));
        }
        self.give_agent(frame);
    }

    pub(super) fn deliver_down(&mut self, place: usize) {
        if !self.down.is_empty() && self.client.wants_input() {
            let frame = self.down.remove(place % self.down.len());
            frame.into_iter().for_each(|frame| self.give_client(frame));
        }
    }

    pub(super) fn give_agent(&mut self, frame: Bytes) {
        if let Err(error) = self.agent.handle_message(WsMessage::Binary(frame), self.now) {
            panic!("our client broke the protocol: {error:?}");
        }
    }

    pub(super) fn give_client(&mut self, frame: Bytes) {
        self.wire.arrives(&frame);
        if let Err(error) = self.client.handle_message(WsMessage::Binary(frame), self.now) {
            panic!("our agent broke the protocol: {error:?}");
        }
    }

    pub(super) fn lose(&mut self, program: &mut Program) {
        let way = if program.byte() & 1 == 0 { &mut self.up } else { &mut self.down };
        let place = program.size() % way.len().max(1);
        way.remove(place);
    }

    pub(super) fn double(&mut self, program: &mut Program) {
        let way = if program.byte() & 1 == 0 { &mut self.up } else { &mut self.down };
        let place = program.size() % way.len().max(1);
        let copy = way.get(place).filter(|frame| !is_spoilt(frame)).cloned();
        way.extend(copy);
    }

    /// Changes one byte of a payload on its way to the client, which checks digests; the agent does not.
    pub(super) fn spoil(&mut self, program: &mut Program) {
        let (place, at) = (program.size() % self.down.len().max(1), program.size());
        if self.spoilt < MOST_SPOILT
            && let Some(frame) = self.down.get_mut(place)
            && frame.len() > PAYLOAD_OFFSET
        {
            self.spoilt += 1;
            let mut bytes = frame.to_vec();
            let at = PAYLOAD_OFFSET + at % (bytes.len() - PAYLOAD_OFFSET);
            bytes[at] ^= 0x55;
            *frame = bytes.into();
        }
    }

    pub(super) fn publication(&mut self, choice: u8) {
        let kind =
            if choice & 1 == 0 { MessageType::PausePublication } else { MessageType::StartPublication };
        let frame = Message::service(kind, PayloadType::None, Uuid::nil(), 1, b"{}").encode();
        if choice & 2 == 0 {
            self.give_agent(frame);
        } else {
            self.give_client(frame);
        }
    }

    /// Delivers what is on its way, in order; false if nothing was, or nobody wanted it.
    pub(super) fn exchange(&mut self) -> bool {
        let before = (self.up.len(), self.down.len());
        for _ in 0..before.0 {
            self.deliver_up(0);
        }
        for _ in 0..before.1 {
            self.deliver_down(0);
        }
        (self.up.len(), self.down.len()) != before
    }
}

fn is_spoilt(frame: &Bytes) -> bool {
    Message::decode(frame.clone()).is_ok_and(|message| !message.digest_matches())
}
