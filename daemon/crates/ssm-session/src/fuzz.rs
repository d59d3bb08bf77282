//! Entries shared by the fuzz targets and the test that replays their corpora.
//!
//! `message` is one frame. `session` is a program for one [`PortSession`]: the first byte chooses the configuration,
//! then follow operations of one byte and their arguments: input from the peer (raw bytes, or well-formed messages so
//! that the deeper states are reached), every call that an owner can make, and time.

use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes, BytesMut};
use uuid::Uuid;

use crate::{
    Config, Message, MessageRate, MessageType, Now, Output, PayloadType, PortSession, SessionEvent, StreamId,
    Token, WsMessage,
};

/// Outputs of one step beyond which the session spins: more than any legal burst.
const MOST_OUTPUTS: usize = 20_000;

/// A frame decodes or not, and what decodes encodes to something that decodes to the same.
pub fn message(data: &[u8]) {
    let Ok(message) = Message::decode(Bytes::copy_from_slice(data)) else { return };
    let _ = message.digest_matches();
    if !message.message_type.is_between_the_ends() && message.created_date == 0 {
        return;
    }
    let again = Message::decode(message.encode());
    let expected = Message { schema_version: 1, ..message };
    assert_eq!(again, Ok(expected));
}

/// Runs the program in `data`; panics if the session breaks a promise. `now` is the time at its start.
pub fn session(data: &[u8], now: Instant) {
    let mut program = Program { rest: Bytes::copy_from_slice(data) };
    let mut machine = Machine::new(program.byte(), now);
    while !program.rest.is_empty() {
        machine.step(&mut program);
        machine.settle();
    }
}

/// The unread operations; gives zeros at its end.
struct Program {
    rest: Bytes,
}

impl Program {
    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn take(&mut self, count: usize) -> Bytes {
        self.rest.split_to(count.min(self.rest.len()))
    }

    fn data(&mut self) -> Bytes {
        let count = usize::from(self.byte());
        self.take(count)
    }
}

struct Machine {
    session: PortSession,
    now: Now,
    /// Number of the next data message of a well-behaved agent.
    next_in: i64,
    /// Number that the session's next new data message must have.
    next_out: i64,
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
            crowded_stream_buffer: if small { 100_000 } else { 48 << 20 },
            max_undialled: usize::from(choice >> 3 & 3),
            ..Config::default()
        };
        let mut session = PortSession::new(config, now, [choice; 32]);
        session.handle_connected(&Token::new("token"), now);
        Self { session, now, next_in: 0, next_out: 0, streams: Vec::new(), ended: false, sink_open: true }
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
            8 => {
                let (stream, size) = (self.stream(program), usize::from(program.byte()));
                let mut data = Bytes::from(vec![7; size * size]);
                let offered = data.len();
                if let Ok(taken) = self.session.write(stream, &mut data, self.now) {
                    assert_eq!(taken + data.len(), offered);
                }
            }
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
        let choice = usize::from(program.byte());
        let count = self.streams.len().max(1);
        self.streams.get(choice % count).copied().unwrap_or(StreamId(u32::MAX))
    }

    fn input(&mut self, message: WsMessage) {
        let broken = self.session.handle_message(message, self.now).is_err();
        assert!(!broken || self.session.is_over());
        self.ended |= broken;
    }

    fn deliver(&mut self, kind: PayloadType, payload: &[u8], offset: i64) {
        let mut message = Message::service(MessageType::OutputStreamData, kind, Uuid::nil(), 1, payload);
        message.sequence_number = (self.next_in + offset).max(0);
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
                Output::Send(message) => self.sent(message),
                Output::Event(event) => self.said(&event),
                Output::Timeout(at) => {
                    assert!(at.is_none_or(|at| at > self.now.mono), "a timeout that is over already");
                    return;
                }
            }
        }
        panic!("the session spins");
    }

    fn sent(&mut self, message: WsMessage) {
        assert!(
            self.session.is_connected() && !self.ended,
            "nothing is sent without a connection or after the end"
        );
        let WsMessage::Binary(frame) = message else { return };
        let Ok(message) = Message::decode(frame) else { panic!("our own message is malformed") };
        assert!(message.digest_matches() && !message.payload.is_empty());
        if message.message_type == MessageType::InputStreamData {
            assert!(message.sequence_number <= self.next_out, "a number was skipped");
            self.next_out = self.next_out.max(message.sequence_number + 1);
        }
    }

    fn said(&mut self, event: &SessionEvent) {
        if let SessionEvent::Ended(_) = event {
            assert!(!self.ended, "ended twice");
            self.ended = true;
        }
    }
}
