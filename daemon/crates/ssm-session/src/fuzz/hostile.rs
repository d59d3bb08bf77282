//! A client session against an agent that says anything at any time.

use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes, BytesMut};
use uuid::Uuid;

use super::Program;
use super::wire::Wire;
use crate::{
    Config, MAX_PAYLOAD, Message, MessageRate, MessageType, Now, Output, PayloadType, PortSession,
    SessionEvent, StreamId, Token, WsMessage,
};

/// Outputs of one step beyond which the session spins: more than any legal burst.
const MOST_OUTPUTS: usize = 20_000;
/// The widest window, the message that may exceed it, and the answer to the handshake.
const MOST_OUTSTANDING: usize = (4 << 20) + 2 * MAX_PAYLOAD;

pub(super) fn run(choice: u8, program: &mut Program, now: Instant) {
    let mut machine = Machine::new(choice, now);
    while !program.is_over() {
        machine.step(program);
        machine.settle();
    }
}

struct Machine {
    session: PortSession,
    send_buffer: usize,
    now: Now,
    /// Number of the next data message of a well-behaved agent.
    next_in: i64,
    wire: Wire,
    streams: Vec<StreamId>,
    ended: bool,
    sink_open: bool,
}

impl Machine {
    fn new(choice: u8, now: Instant) -> Self {
        let now = Now::new(now, 1_700_000_000_000);
        let rate = MessageRate { per_second: 10, burst: 5 };
        let small = choice & 4 != 0;
        let config = Config {
            payload_size: if choice & 1 == 0 { 2048 } else { 0 },
            message_rate: (choice & 2 != 0).then_some(rate),
            stream_buffer: if small { 65_535 } else { 16 << 20 },
            session_buffer: if small { 100_000 } else { 64 << 20 },
            max_undialled: usize::from(choice >> 3 & 3),
            ..Config::default()
        };
        let send_buffer = config.send_buffer;
        let mut session = PortSession::new(config, now, [choice; 32]);
        session.handle_connected(&Token::new("token"), now);
        let (wire, streams) = Default::default();
        Self { session, send_buffer, now, next_in: 0, wire, streams, ended: false, sink_open: true }
    }

    fn step(&mut self, program: &mut Program) {
        match program.byte() & 15 {
            0 => {
                let frame = program.data();
                self.input(WsMessage::Binary(frame));
            }
            1 => {
                let kind = PayloadType::from(u32::from(program.byte()));
                let payload = program.data();
                self.deliver(kind, &payload, 0);
            }
            2 => {
                let offset = i64::from(program.byte()) - 8;
                let payload = program.data();
                self.deliver(PayloadType::Output, &payload, offset);
            }
            3 => self.acknowledge(i64::from(program.byte())),
            4 => self.handshake(program.byte()),
            5 => self.frame(program),
            6 => self.service(program),
            7 => self.streams.extend(self.session.open(self.now).ok()),
            8 => self.write(program),
            9 => {
                let stream = self.stream(program);
                while self.session.read(stream, self.now).is_some() {}
            }
            10 => {
                let stream = self.stream(program);
                self.session.finish(stream, self.now);
            }
            11 => {
                let stream = self.stream(program);
                self.session.abort(stream, self.now);
            }
            12 => self.pass(program.byte()),
            13 => self.reconnect(),
            14 => self.sink_open = program.byte() & 1 == 0,
            _ => {
                if program.byte() == 255 {
                    self.session.terminate(self.now);
                }
            }
        }
    }

    fn stream(&self, program: &mut Program) -> StreamId {
        let choice = program.size();
        let count = self.streams.len().max(1);
        self.streams.get(choice % count).copied().unwrap_or(StreamId(u32::MAX))
    }

    fn write(&mut self, program: &mut Program) {
        let (stream, size) = (self.stream(program), program.size());
        let mut data = self.wire.to_write(stream, size * size);
        if let Ok(taken) = self.session.write(stream, &mut data, self.now) {
            assert_eq!(taken + data.len(), size * size);
            self.wire.wrote(stream, taken);
        }
    }

    fn input(&mut self, message: WsMessage) {
        if let WsMessage::Binary(frame) = &message {
            self.wire.arrives(frame);
        }
        let broken = self.session.handle_message(message, self.now).is_err();
        assert!(!broken || self.session.is_over());
        self.ended |= broken;
    }

    fn deliver(&mut self, kind: PayloadType, payload: &[u8], offset: i64) {
        let number = (self.next_in + offset).max(0);
        let id = Uuid::from_u128(u128::from(number.unsigned_abs()));
        let mut message = Message::service(MessageType::OutputStreamData, kind, id, 1, payload);
        message.sequence_number = number;
        if offset == 0 {
            self.next_in += 1;
        }
        self.input(WsMessage::Binary(message.encode()));
    }

    fn acknowledge(&mut self, number: i64) {
        let mut body = BytesMut::new();
        crate::payload::write_acknowledge(&mut body, "input_stream_data", Uuid::nil(), number);
        let ack = Message::service(MessageType::Acknowledge, PayloadType::None, Uuid::nil(), 1, &body);
        self.input(WsMessage::Binary(ack.encode()));
    }

    /// What a well-behaved agent says, so that the session gets up.
    fn handshake(&mut self, choice: u8) {
        const VERSIONS: [&str; 4] = ["3.3.1142.0", "3.1.1000.0", "3.0.100.0", "x"];
        let version = VERSIONS[usize::from(choice & 3)];
        let request = format!(
            r#"{{"AgentVersion":"{version}","RequestedClientActions":[{{"ActionType":"SessionType","ActionParameters":{{"SessionType":"Port","Properties":{{"type":"LocalPortForwarding"}}}}}}]}}"#
        );
        self.deliver(PayloadType::HandshakeRequest, request.as_bytes(), 0);
        self.settle();
        self.acknowledge(0);
        if choice & 4 == 0 {
            self.deliver(PayloadType::HandshakeComplete, b"{}", 0);
            self.settle();
            self.acknowledge(1);
        }
    }

    /// A frame of the multiplexer from the agent.
    fn frame(&mut self, program: &mut Program) {
        let (command, stream) = (program.byte(), u32::from(program.byte() & 7) * 2 + 3);
        let payload = if command & 3 == 2 { program.data().repeat(257) } else { Vec::new() };
        let mut frame = BytesMut::new();
        frame.put_u8(1);
        frame.put_u8(command & 3);
        frame.put_u16_le(u16::try_from(payload.len()).unwrap_or(u16::MAX));
        frame.put_u32_le(stream);
        frame.extend_from_slice(&payload);
        self.deliver(PayloadType::Output, &frame, 0);
    }

    fn service(&mut self, program: &mut Program) {
        let kind = match program.byte() & 7 {
            0 | 1 => MessageType::PausePublication,
            2 | 3 => MessageType::StartPublication,
            4 => MessageType::ChannelClosed,
            5 => return self.input(WsMessage::Pong(Bytes::new())),
            6 => MessageType::AgentSessionState,
            _ => MessageType::InputStreamData,
        };
        let body = program.data();
        let message = Message::service(kind, PayloadType::Other(261), Uuid::nil(), 1, &body);
        self.input(WsMessage::Binary(message.encode()));
    }

    fn pass(&mut self, amount: u8) {
        let amount = u64::from(amount);
        self.now = self.now.after(Duration::from_millis(amount * amount));
        self.session.handle_timeout(self.now);
    }

    fn reconnect(&mut self) {
        if self.session.is_connected() {
            self.session.handle_disconnected(self.now);
        } else {
            self.session.handle_connected(&Token::new("resumed"), self.now);
        }
    }

    /// Drains and checks.
    fn settle(&mut self) {
        self.session.handle_timeout(self.now);
        for _ in 0..MOST_OUTPUTS {
            let output = if self.sink_open {
                self.session.poll_output(self.now)
            } else {
                self.session.poll_event(self.now)
            };
            match output {
                Output::Send(message) => self.sent(&message),
                Output::Event(event) => self.said(&event),
                Output::Timeout(at) => {
                    assert!(at.is_none_or(|at| at > self.now.mono), "a timeout that is over already");
                    return self.check();
                }
            }
        }
        panic!("the session spins");
    }

    fn check(&self) {
        let figures = self.session.statistics();
        assert!(figures.outstanding_bytes <= MOST_OUTSTANDING, "{figures:?}");
        let counters = figures.counters;
        let connections = u64::from(figures.connections);
        assert!(counters.acks_out <= counters.messages_in + connections, "{counters:?}");
        assert!(counters.messages_out == self.wire.count() as u64, "{counters:?}");
        self.wire.check_buffers(self.send_buffer);
    }

    fn sent(&mut self, message: &WsMessage) {
        assert!(
            self.session.is_connected() && !self.ended,
            "nothing is sent without a connection or after the end"
        );
        if let WsMessage::Binary(frame) = message {
            self.wire.leaves(frame);
        }
    }

    fn said(&mut self, event: &SessionEvent) {
        if let SessionEvent::Ended(_) = event {
            assert!(!self.ended, "ended twice");
            self.ended = true;
        }
    }
}
