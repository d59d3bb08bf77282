//! The client against a scripted peer: what is answered to each message, legal or not.

use std::time::Duration;

use bytes::Bytes;
use ssm_session::payload::{Acknowledge, HandshakeResponse};
use ssm_session::{
    Config, DecodeError, HandshakeStep, Message, MessageType, Now, Output, PayloadType, PortSession,
    ProtocolError, SessionEnd, SessionEvent, Token, WsMessage,
};
use uuid::Uuid;

use crate::support::{ms, origin};

const PORT: &str = r#"{"ActionType":"SessionType","ActionParameters":{"SessionType":"Port","Properties":{"localPortNumber":"0","portNumber":"80","type":"LocalPortForwarding"}}}"#;

struct Script {
    client: PortSession,
    now: Now,
    next: i64,
    sent: Vec<WsMessage>,
    events: Vec<SessionEvent>,
}

impl Script {
    fn new() -> Self {
        let now = origin();
        let mut client = PortSession::new(Config::default(), now, [1; 32]);
        client.handle_connected(&Token::new("AAEAA-secret-token"), now);
        let mut script = Self { client, now, next: 0, sent: Vec::new(), events: Vec::new() };
        script.drain();
        script
    }

    fn up() -> Self {
        let mut script = Self::new();
        script.request("3.3.1142.0", PORT).unwrap();
        script
            .data(PayloadType::HandshakeComplete, br#"{"HandshakeTimeToComplete":1,"CustomerMessage":"hi"}"#)
            .unwrap();
        script.acknowledge(0);
        script.acknowledge(1);
        assert!(script.client.is_up());
        script.sent.clear();
        script.events.clear();
        script
    }

    fn drain(&mut self) {
        loop {
            match self.client.poll_output(self.now) {
                Output::Send(message) => self.sent.push(message),
                Output::Event(event) => self.events.push(event),
                Output::Timeout(_) => return,
            }
        }
    }

    fn input(&mut self, frame: Bytes) -> Result<(), ProtocolError> {
        let result = self.client.handle_message(WsMessage::Binary(frame), self.now);
        self.drain();
        result
    }

    fn message(&self, number: i64, kind: PayloadType, payload: &[u8]) -> Message {
        let id = Uuid::from_u128(number.unsigned_abs().into());
        let mut message = Message::service(MessageType::OutputStreamData, kind, id, 1, payload);
        message.sequence_number = number;
        message.flags = u64::from(number == 0);
        message
    }

    fn data(&mut self, kind: PayloadType, payload: &[u8]) -> Result<(), ProtocolError> {
        let message = self.message(self.next, kind, payload);
        self.next += 1;
        self.input(message.encode())
    }

    fn request(&mut self, version: &str, actions: &str) -> Result<(), ProtocolError> {
        let text = format!(r#"{{"AgentVersion":"{version}","RequestedClientActions":[{actions}]}}"#);
        self.data(PayloadType::HandshakeRequest, text.as_bytes())
    }

    fn service(&mut self, kind: MessageType, body: &[u8]) -> Result<(), ProtocolError> {
        let message = Message::service(kind, PayloadType::None, Uuid::nil(), 1, body);
        self.input(message.encode())
    }

    fn acknowledge(&mut self, number: i64) {
        let body = Acknowledge {
            acknowledged_message_type: "input_stream_data".to_owned(),
            acknowledged_message_id: Uuid::nil(),
            acknowledged_message_sequence_number: number,
            is_sequential_message: true,
        };
        self.service(MessageType::Acknowledge, &serde_json::to_vec(&body).unwrap()).unwrap();
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.client.handle_timeout(self.now);
        self.drain();
    }

    fn messages(&self) -> Vec<Message> {
        let decode = |message: &WsMessage| match message {
            WsMessage::Binary(frame) => Some(Message::decode(frame.clone()).unwrap()),
            WsMessage::Text(_) | WsMessage::Ping(_) | WsMessage::Pong(_) => None,
        };
        self.sent.iter().filter_map(decode).collect()
    }

    fn acks(&self) -> Vec<i64> {
        let acks =
            self.messages().into_iter().filter(|message| message.message_type == MessageType::Acknowledge);
        acks.map(|ack| {
            serde_json::from_slice::<Acknowledge>(&ack.payload).unwrap().acknowledged_message_sequence_number
        })
        .collect()
    }

    fn responses(&self) -> Vec<HandshakeResponse> {
        let messages = self.messages();
        let responses = messages.iter().filter(|m| m.payload_type == PayloadType::HandshakeResponse);
        responses.map(|m| serde_json::from_slice(&m.payload).unwrap()).collect()
    }

    fn end(&self) -> Option<&SessionEnd> {
        match self.events.last() {
            Some(SessionEvent::Ended(end)) => Some(end),
            _ => None,
        }
    }
}

#[test]
fn the_open_message_is_text_with_the_token_and_then_comes_a_ping() {
    let script = Script::new();
    let WsMessage::Text(text) = &script.sent[0] else { panic!("{:?}", script.sent) };
    assert!(!format!("{:?}", script.sent).contains("secret"), "Debug hides the token");
    let open: serde_json::Value = serde_json::from_slice(&text.clone().into_bytes()).unwrap();
    assert_eq!(open["MessageSchemaVersion"], "1.0");
    assert_eq!(open["TokenValue"], "AAEAA-secret-token");
    assert_eq!(open["ClientVersion"], ssm_session::CLIENT_VERSION);
    assert_eq!(open["RequestId"].as_str().unwrap().len(), 36);
    assert_eq!(script.sent[1], WsMessage::Ping(Bytes::from_static(b"keepalive")));
    assert_eq!(script.sent.len(), 2);
}

#[test]
fn the_client_id_survives_a_resume_and_the_token_is_the_new_one() {
    let mut script = Script::new();
    script.client.handle_disconnected(script.now);
    script.client.handle_connected(&Token::new("second"), script.now);
    script.drain();
    let opens: Vec<serde_json::Value> = script
        .sent
        .iter()
        .filter_map(|message| match message {
            WsMessage::Text(text) => Some(serde_json::from_slice(&text.clone().into_bytes()).unwrap()),
            _ => None,
        })
        .collect();
    assert_eq!(opens[0]["ClientId"], opens[1]["ClientId"]);
    assert_ne!(opens[0]["RequestId"], opens[1]["RequestId"]);
    assert_eq!(opens[1]["TokenValue"], "second");
}

#[test]
fn the_handshake_is_acknowledged_first_and_answered_once() {
    let mut script = Script::new();
    script.request("3.3.1142.0", PORT).unwrap();
    let kinds: Vec<_> =
        script.messages().iter().map(|m| (m.message_type, m.sequence_number, m.flags)).collect();
    assert_eq!(kinds, [(MessageType::Acknowledge, 0, 3), (MessageType::InputStreamData, 0, 0)]);
    assert_eq!(
        script.messages()[1].payload,
        r#"{"ClientVersion":"1.2.835.0","ProcessedClientActions":[{"ActionType":"SessionType","ActionStatus":1,"ActionResult":null,"Error":""}],"Errors":null}"#
    );
    script.next = 0;
    script.request("3.3.1142.0", PORT).unwrap();
    assert_eq!(script.acks(), [0, 0], "the duplicate is acknowledged again");
    assert_eq!(script.responses().len(), 1, "but not answered");
}

#[test]
fn a_second_request_under_a_new_number_is_a_violation() {
    let mut script = Script::new();
    script.request("3.3.1142.0", PORT).unwrap();
    let error = script.request("3.3.1142.0", PORT).unwrap_err();
    assert!(matches!(error, ProtocolError::Unexpected { .. }));
    assert!(script.client.is_over());
}

#[test]
fn nothing_is_sent_between_the_answer_and_the_end_of_the_handshake() {
    let mut script = Script::new();
    let stream = script.client.open(script.now).unwrap();
    script.client.write(stream, &mut Bytes::from_static(b"early"), script.now).unwrap();
    script.request("3.3.1142.0", PORT).unwrap();
    script.acknowledge(0);
    script.sent.clear();
    script.pass(ms(5000));
    assert!(script.messages().is_empty());
    script.data(PayloadType::HandshakeComplete, b"{}").unwrap();
    let first = &script.messages()[1];
    assert_eq!(&first.payload[..], [1, 3, 0, 0, 0, 0, 0, 0], "a NOP and nothing behind it");
    script.acknowledge(1);
    let data = script.messages().pop().unwrap();
    assert_eq!(&data.payload[..], b"\x01\x00\x00\x00\x03\x00\x00\x00\x01\x02\x05\x00\x03\x00\x00\x00early");
}

#[test]
fn the_agent_that_asks_too_much_gets_status_3_and_the_session_ends() {
    let mut script = Script::new();
    let kms = r#"{"ActionType":"KMSEncryption","ActionParameters":{"KMSKeyId":"k"}}"#;
    script.request("3.3.1142.0", &format!("{PORT},{kms}")).unwrap();
    assert_eq!(script.responses()[0].processed_client_actions[1].action_status, 3);
    assert!(matches!(script.end(), Some(SessionEnd::HandshakeRejected { reason }) if reason.contains("KMS")));
}

#[test]
fn an_agent_without_multiplexer_ends_the_session_with_a_remedy() {
    let mut script = Script::new();
    script.request("3.0.100.0", PORT).unwrap();
    assert_eq!(script.responses().len(), 1);
    assert!(matches!(script.end(), Some(SessionEnd::AgentTooOld { .. })));
}

#[test]
fn a_shell_session_is_recognised_and_refused() {
    let mut script = Script::new();
    script.data(PayloadType::Output, b"sh-5.2$ ").unwrap();
    assert!(matches!(script.end(), Some(SessionEnd::HandshakeRejected { .. })));
}

#[test]
fn each_step_of_the_handshake_has_its_timeout() {
    let mut script = Script::new();
    script.pass(ms(29_999));
    assert_eq!(script.end(), None);
    script.pass(ms(1));
    assert_eq!(script.end(), Some(&SessionEnd::HandshakeTimeout { step: HandshakeStep::Request }));

    let mut script = Script::new();
    script.request("3.3.1142.0", PORT).unwrap();
    script.pass(ms(30_000));
    assert_eq!(script.end(), Some(&SessionEnd::HandshakeTimeout { step: HandshakeStep::Complete }));

    let mut script = Script::new();
    script.request("3.3.1142.0", PORT).unwrap();
    script.data(PayloadType::HandshakeComplete, b"{}").unwrap();
    script.pass(ms(30_000));
    assert_eq!(script.end(), Some(&SessionEnd::HandshakeTimeout { step: HandshakeStep::Ready }));
}

#[test]
fn acknowledgements_have_number_0_flags_3_and_type_0() {
    let mut script = Script::up();
    script.data(PayloadType::Output, &[1, 3, 0, 0, 0, 0, 0, 0]).unwrap();
    let ack = &script.messages()[0];
    let header = (ack.message_type, ack.sequence_number, ack.flags, ack.payload_type);
    assert_eq!(header, (MessageType::Acknowledge, 0, 3, PayloadType::None));
    let body = r#"{"AcknowledgedMessageType":"output_stream_data","AcknowledgedMessageId":"00000000-0000-0000-0000-000000000002","AcknowledgedMessageSequenceNumber":2,"IsSequentialMessage":true}"#;
    assert_eq!(ack.payload, body);
    assert!(ack.digest_matches());
}

#[test]
fn after_a_resume_the_last_acknowledgement_is_repeated_and_everything_is_resent_in_order() {
    let mut script = Script::up();
    let stream = script.client.open(script.now).unwrap();
    for _ in 0..3 {
        script.client.write(stream, &mut Bytes::from_static(b"abc"), script.now).unwrap();
        script.drain();
    }
    script.sent.clear();
    script.client.handle_disconnected(script.now);
    script.client.handle_connected(&Token::new("next"), script.now);
    script.drain();
    assert_eq!(script.acks(), [1]);
    let numbers: Vec<_> = script.messages()[1..].iter().map(|message| message.sequence_number).collect();
    assert_eq!(numbers, [2, 3, 4]);
}

#[test]
fn a_wrong_digest_is_dropped_without_acknowledgement_and_repetition_is_fatal() {
    let mut script = Script::up();
    let mut broken = script.message(2, PayloadType::Output, &[1, 3, 0, 0, 0, 0, 0, 0]);
    broken.digest[0] ^= 1;
    for _ in 0..15 {
        script.input(broken.encode()).unwrap();
    }
    assert!(script.messages().is_empty());
    assert_eq!(script.client.statistics().counters.digest_errors, 15);
    assert_eq!(script.input(broken.encode()).unwrap_err(), ProtocolError::Digest { count: 16 });
    assert!(script.client.is_over());
}

#[test]
fn a_wrong_digest_now_and_then_costs_a_long_session_nothing() {
    let mut script = Script::up();
    let mut broken = script.message(2, PayloadType::Output, &[1, 3, 0, 0, 0, 0, 0, 0]);
    broken.digest[0] ^= 1;
    for _ in 0..100 {
        script.now.mono += Duration::from_secs(5);
        script.input(broken.encode()).unwrap();
    }
    assert!(!script.client.is_over());
}

#[test]
fn garbage_is_a_typed_violation_and_resets_the_streams() {
    let mut script = Script::up();
    script.client.open(script.now).unwrap();
    let error = script.input(Bytes::from_static(b"garbage")).unwrap_err();
    assert_eq!(error, ProtocolError::Malformed(DecodeError::Truncated { length: 7 }));
    assert!(matches!(script.events.last(), Some(SessionEvent::Reset { .. })));
    assert_eq!(script.input(Bytes::from_static(b"more")), Ok(()), "dead sessions take anything");

    let mut script = Script::up();
    let error = script.data(PayloadType::Output, &[2, 0, 0, 0, 3, 0, 0, 0]).unwrap_err();
    assert!(matches!(error, ProtocolError::Mux(_)));
}

#[test]
fn unknown_messages_and_payloads_are_ignored() {
    let mut script = Script::up();
    script.data(PayloadType::StdErr, b"?").unwrap();
    script.data(PayloadType::Other(99), b"?").unwrap();
    script.service(MessageType::AgentSessionState, b"{}").unwrap();
    assert_eq!(script.acks(), [2, 3], "numbered ones are acknowledged all the same");
    assert_eq!(script.client.statistics().counters.ignored, 3);
    assert!(script.client.is_up());
}

#[test]
fn channel_closed_ends_with_its_text() {
    let mut script = Script::up();
    let stream = script.client.open(script.now).unwrap();
    script.service(MessageType::ChannelClosed, br#"{"Output":"Session timed out"}"#).unwrap();
    let output = "Session timed out".to_owned();
    assert_eq!(script.end(), Some(&SessionEnd::ServiceClosed { output }));
    assert!(script.events.iter().any(|event| event.stream() == Some(stream)));
    assert_eq!(script.end().unwrap().to_string(), "the service closed the session: Session timed out");
}

#[test]
fn a_pause_holds_data_back_but_not_acknowledgements_and_ends_by_itself() {
    let mut script = Script::up();
    script.service(MessageType::PausePublication, b"").unwrap();
    let stream = script.client.open(script.now).unwrap();
    script.client.write(stream, &mut Bytes::from_static(b"x"), script.now).unwrap();
    script.pass(ms(4_999));
    assert!(script.messages().is_empty());
    script.pass(ms(1));
    assert_eq!(script.messages().len(), 1);

    script.service(MessageType::PausePublication, b"").unwrap();
    script.sent.clear();
    script.client.write(stream, &mut Bytes::from_static(b"y"), script.now).unwrap();
    script.data(PayloadType::Output, &[1, 3, 0, 0, 0, 0, 0, 0]).unwrap();
    assert_eq!((script.acks(), script.messages().len()), (vec![2], 2), "a word from the agent lifts it");
}

/// What a pause may mean is for others to find out: each is told once, and its end.
#[test]
fn pauses_are_told() {
    let mut script = Script::up();
    let told = |script: &Script| {
        let paused = |event: &&SessionEvent| matches!(event, SessionEvent::Paused | SessionEvent::Unpaused);
        script.events.iter().filter(paused).cloned().collect::<Vec<_>>()
    };
    script.service(MessageType::StartPublication, b"").unwrap();
    assert_eq!(told(&script), []);
    script.service(MessageType::PausePublication, b"").unwrap();
    script.service(MessageType::PausePublication, b"").unwrap();
    assert_eq!(told(&script), [SessionEvent::Paused]);
    script.service(MessageType::StartPublication, b"").unwrap();
    assert_eq!(told(&script), [SessionEvent::Paused, SessionEvent::Unpaused]);
}

#[test]
fn without_the_flag_an_old_agent_is_left_to_the_api() {
    let mut script = Script::new();
    script.client.terminate(script.now);
    script.drain();
    assert_eq!(script.end(), Some(&SessionEnd::UserTerminated { confirmed: false }));
    assert!(script.messages().is_empty());
}

#[test]
fn identical_input_gives_identical_output() {
    let run = || {
        let mut script = Script::up();
        let stream = script.client.open(script.now).unwrap();
        script.client.write(stream, &mut Bytes::from_static(b"abc"), script.now).unwrap();
        script.drain();
        script.messages()
    };
    assert_eq!(run(), run());
}
