//! The JSON bodies of both ends: each by itself, and in conversations that may break off, repeat or contradict.

use std::fmt::{Debug, Write as _};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use super::Program;
use super::wire::Wire;
use crate::handshake::answer;
use crate::payload::{
    Acknowledge, AcknowledgedNumber, AgentSessionState, ChannelClosed, HandshakeComplete, HandshakeRequest,
    HandshakeResponse, OpenClient, STATUS_SUCCESS, STATUS_UNSUPPORTED, to_json, write_acknowledge,
};
use crate::{
    CLIENT_VERSION, Config, Message, MessageType, Now, Output, PayloadType, PortSession, SessionEnd,
    SessionEvent, Token, Version, WsMessage,
};

/// An answer says of each action what became of it, in at most this many bytes more than the action itself.
const MOST_PER_BYTE: usize = 16;
/// Outputs after one message beyond which an end spins.
const MOST_OUTPUTS: usize = 1_000;

/// Panics if a body, an answer or an end breaks a promise. `now` is the time at the start of a conversation.
pub fn handshake(data: &[u8], now: Instant) {
    let Some((choice, rest)) = data.split_first() else { return };
    match choice & 15 {
        0 => request(rest),
        1 => drop(body::<HandshakeResponse>(rest)),
        2 => drop(body::<HandshakeComplete>(rest)),
        3 => acknowledge(rest),
        4 => drop(body::<ChannelClosed>(rest)),
        5 => drop(body::<AgentSessionState>(rest)),
        6 => version(rest),
        7 => token(rest),
        8 => request(structured(&mut Program::new(rest)).as_bytes()),
        #[cfg(feature = "agent")]
        9 | 10 => agent::converse(&mut Program::new(rest), now),
        _ => converse(&mut Program::new(rest), now),
    }
}

/// What is read as a body is written as something that reads back as the same.
fn body<T: Serialize + DeserializeOwned + PartialEq + Debug>(text: &[u8]) -> Option<T> {
    let body: T = serde_json::from_slice(text).ok()?;
    let json = to_json(&body);
    let Ok(again) = serde_json::from_slice::<T>(&json) else {
        panic!("{} cannot be read", String::from_utf8_lossy(&json))
    };
    // A fraction may lose its last digit when it is read.
    assert!(
        again == body || serde_json::from_slice(&json).is_ok_and(|value| has_fraction(&value)),
        "{body:?}"
    );
    Some(body)
}

fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(values) => values.iter().any(has_fraction),
        Value::Object(fields) => fields.values().any(has_fraction),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

/// Every action is answered, in order, and the verdict on the session follows from the answers.
fn request(text: &[u8]) {
    let Some(request) = body::<HandshakeRequest>(text) else { return };
    let answer = answer(&request, CLIENT_VERSION);
    let (requested, processed) =
        (&request.requested_client_actions, &answer.response.processed_client_actions);
    assert!(
        requested
            .iter()
            .map(|action| &action.action_type)
            .eq(processed.iter().map(|action| &action.action_type))
    );
    let mut errors = Vec::new();
    for action in processed {
        let refused = action.action_status == STATUS_UNSUPPORTED;
        assert!(refused || action.action_status == STATUS_SUCCESS);
        assert!(refused != action.error.is_empty() && action.action_result.is_none());
        errors.extend(refused.then(|| action.error.clone()));
    }
    let all_done = errors.is_empty();
    assert_eq!(answer.response.errors, (!all_done).then_some(errors));
    match &answer.outcome {
        Ok(version) => assert!(all_done && !processed.is_empty() && version.multiplexes()),
        Err(SessionEnd::AgentTooOld { agent_version }) => assert!(!all_done && !agent_version.multiplexes()),
        Err(SessionEnd::HandshakeRejected { reason }) => {
            assert!(!reason.is_empty() && (!all_done || processed.is_empty()));
        }
        Err(other) => panic!("no end for a handshake: {other:?}"),
    }
    let json = to_json(&answer.response);
    assert_eq!(serde_json::from_slice::<HandshakeResponse>(&json).ok().as_ref(), Some(&answer.response));
    assert!(json.len() <= MOST_PER_BYTE * (text.len() + 16), "{} bytes for {}", json.len(), text.len());
}

fn acknowledge(text: &[u8]) {
    let Some(body) = body::<Acknowledge>(text) else { return };
    let number = serde_json::from_slice(text)
        .ok()
        .map(|body: AcknowledgedNumber| body.acknowledged_message_sequence_number);
    assert_eq!(number, Some(body.acknowledged_message_sequence_number), "both readers see the same number");
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if body.is_sequential_message && body.acknowledged_message_type.bytes().all(plain) {
        let mut written = bytes::BytesMut::new();
        let (kind, id) = (&body.acknowledged_message_type, body.acknowledged_message_id);
        write_acknowledge(&mut written, kind, id, body.acknowledged_message_sequence_number);
        assert_eq!(written, to_json(&body));
    }
}

/// What a version allows, a later one allows too.
fn version(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let (version, gates) = text.split_once(' ').unwrap_or((&text, ""));
    let version = Version::new(version);
    assert_eq!(version.to_string(), version.as_str());
    let mut program = Program::new(gates.as_bytes());
    let mut gate = || [(); 4].map(|()| u32::from(program.byte()));
    let (first, second) = (gate(), gate());
    let (lower, higher) = (first.min(second), first.max(second));
    assert!(!version.exceeds(higher) || version.exceeds(lower));
    assert!(!version.multiplexes() || version.understands_terminate());
    assert!(version.expects_keepalive() || version.multiplexes());
    #[cfg(feature = "agent")]
    assert!(!version.exceeds(lower) || version.reaches(lower));
}

/// Any token goes into the open message and comes out whole.
fn token(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let open = OpenClient {
        message_schema_version: "1.0",
        request_id: Uuid::nil(),
        token_value: &text,
        client_id: Uuid::max(),
        client_version: CLIENT_VERSION,
    };
    let value: Option<Value> = serde_json::from_slice(&to_json(&open)).ok();
    assert_eq!(value.as_ref().and_then(|value| value.get("TokenValue")?.as_str()), Some(&*text));
}

/// A request put together from what agents send and what they should not.
fn structured(program: &mut Program) -> String {
    const VERSIONS: [&str; 8] =
        ["3.3.1142.0", "3.1.1511.0", "3.0.196.0", "3.0.197.0", "2.3.722.0", "3.3", "", "99999999999.0.0.0"];
    const KINDS: [&str; 4] = ["SessionType", "KMSEncryption", "", "sessiontype"];
    const SESSIONS: [&str; 4] = ["Port", "Standard_Stream", "InteractiveCommands", "port"];
    const PROPERTIES: [&str; 8] = [
        r#"{"localPortNumber":"0","portNumber":"80","type":"LocalPortForwarding"}"#,
        r#"{"type":"LocalPortForwarding","type":"LocalPortForwarding"}"#,
        r#"{"type":["LocalPortForwarding"]}"#,
        r#"{"portNumber":80}"#,
        "{}",
        "null",
        "[]",
        r#"{"type":"LocalPort\u0046orwarding","n":1e400}"#,
    ];
    let mut actions = String::new();
    for _ in 0..program.byte() % 5 {
        let (kind, session, properties) = (program.size() % 4, program.size() % 4, program.size() % 9);
        let parameters = match properties {
            8 => Value::from(String::from_utf8_lossy(&program.data())).to_string(),
            _ => format!(
                r#"{{"SessionType":"{}","Properties":{}}}"#,
                SESSIONS[session], PROPERTIES[properties]
            ),
        };
        let comma = if actions.is_empty() { "" } else { "," };
        let _ =
            write!(actions, r#"{comma}{{"ActionType":"{}","ActionParameters":{parameters}}}"#, KINDS[kind]);
    }
    let version = VERSIONS[program.size() % 8];
    format!(r#"{{"AgentVersion":"{version}","RequestedClientActions":[{actions}]}}"#)
}

/// A client session and an agent that keeps to the numbering and to nothing else.
fn converse(program: &mut Program, now: Instant) {
    let mut client = Client::new(now);
    while !program.is_over() {
        client.step(program);
        client.settle();
    }
}

struct Client {
    session: PortSession,
    now: Now,
    next_in: i64,
    wire: Wire,
    complete: bool,
    acknowledged: bool,
    ended: bool,
}

impl Client {
    fn new(now: Instant) -> Self {
        let now = Now::new(now, 1_700_000_000_000);
        let mut session = PortSession::new(Config::default(), now, [7; 32]);
        session.handle_connected(&Token::new("token"), now);
        let wire = Wire::default();
        Self { session, now, next_in: 0, wire, complete: false, acknowledged: false, ended: false }
    }

    fn step(&mut self, program: &mut Program) {
        match program.byte() & 15 {
            0 | 1 => {
                let request = structured(program);
                self.says(PayloadType::HandshakeRequest, request.as_bytes());
            }
            2 => self.says(PayloadType::HandshakeRequest, &program.data()),
            3 => self.says(PayloadType::HandshakeComplete, &program.data()),
            4 | 5 => {
                let text = r#"{"HandshakeTimeToComplete":1,"CustomerMessage":"hello"}"#;
                self.says(PayloadType::HandshakeComplete, text.as_bytes());
            }
            6 => {
                let number = i64::from(program.byte());
                let mut body = bytes::BytesMut::new();
                write_acknowledge(&mut body, "input_stream_data", Uuid::nil(), number);
                self.acknowledged = true;
                self.service(MessageType::Acknowledge, &body);
            }
            7 => {
                self.acknowledged = true;
                self.service(MessageType::Acknowledge, &program.data());
            }
            8 => self.service(MessageType::ChannelClosed, &program.data()),
            9 => self.says(PayloadType::Output, &program.data()),
            10 => self.says(PayloadType::Flag, &program.data()),
            11 => self.says(PayloadType::from(u32::from(program.byte())), &program.data()),
            12 => {
                self.now = self.now.after(Duration::from_millis(100 * u64::from(program.byte())));
                self.session.handle_timeout(self.now);
            }
            13 if self.session.is_connected() => self.session.handle_disconnected(self.now),
            13 => self.session.handle_connected(&Token::new("resumed"), self.now),
            14 => drop(self.session.open(self.now)),
            _ => self.session.terminate(self.now),
        }
    }

    fn says(&mut self, kind: PayloadType, payload: &[u8]) {
        let id = Uuid::from_u128(u128::from(self.next_in.unsigned_abs()));
        let mut message = Message::service(MessageType::OutputStreamData, kind, id, 1, payload);
        message.sequence_number = self.next_in;
        // What a session does not get, because it is not connected, the agent would send again.
        self.next_in += i64::from(self.session.is_connected());
        self.input(&message);
    }

    fn service(&mut self, kind: MessageType, payload: &[u8]) {
        self.input(&Message::service(kind, PayloadType::None, Uuid::nil(), 1, payload));
    }

    fn input(&mut self, message: &Message) {
        let frame = message.encode();
        self.wire.arrives(&frame);
        let broken = self.session.handle_message(WsMessage::Binary(frame), self.now).is_err();
        assert!(!broken || self.session.is_over());
        self.ended |= broken;
    }

    fn settle(&mut self) {
        for _ in 0..MOST_OUTPUTS {
            match self.session.poll_output(self.now) {
                Output::Send(WsMessage::Binary(frame)) => self.wire.leaves(&frame),
                Output::Send(_) => {}
                Output::Event(event) => self.said(&event),
                Output::Timeout(_) => {
                    assert!(self.wire.responses <= 1, "answered twice");
                    assert_eq!(self.session.is_over(), self.ended);
                    return;
                }
            }
        }
        panic!("the session spins");
    }

    fn said(&mut self, event: &SessionEvent) {
        if let SessionEvent::HandshakeComplete { agent_version, .. } = event {
            assert!(agent_version.multiplexes() && self.wire.responses == 1 && !self.complete);
            self.complete = true;
        }
        if *event == SessionEvent::Up {
            assert!(self.complete && self.acknowledged && self.session.is_up());
        }
        if let SessionEvent::Ended(end) = event {
            assert!(!self.ended, "ended twice");
            self.ended = true;
            assert!(!end.to_string().is_empty());
            let too_old = matches!(end, SessionEnd::AgentTooOld { .. });
            assert!(!too_old || !self.complete, "an agent that is too old never gets that far");
        }
    }
}

#[cfg(feature = "agent")]
mod agent {
    //! Our agent and a client that answers anything.

    use super::*;
    use crate::payload::ProcessedAction;
    use crate::{AgentConfig, AgentEvent, AgentSession};

    pub(super) fn converse(program: &mut Program, now: Instant) {
        let mut now = Now::new(now, 1_700_000_000_000);
        let mut agent = AgentSession::new(AgentConfig::default(), now, [9; 32]);
        agent.handle_connected(&Token::new("token"), now);
        let (mut number, mut completions) = (0, 0);
        loop {
            drain(&mut agent, now, &mut completions);
            if program.is_over() {
                return;
            }
            let (kind, payload) = match program.byte() & 3 {
                0 => (PayloadType::HandshakeResponse, program.data().to_vec()),
                1 | 2 => (PayloadType::HandshakeResponse, to_json(&response(program))),
                _ => {
                    now = now.after(Duration::from_millis(100 * u64::from(program.byte())));
                    agent.handle_timeout(now);
                    continue;
                }
            };
            let mut message = Message::service(MessageType::InputStreamData, kind, Uuid::nil(), 1, &payload);
            message.sequence_number = number;
            number += 1;
            let broken = agent.handle_message(WsMessage::Binary(message.encode()), now).is_err();
            assert!(!broken || agent.is_over());
        }
    }

    fn response(program: &mut Program) -> HandshakeResponse {
        const VERSIONS: [&str; 4] = [CLIENT_VERSION, "1.1.70.0", "1.1.69.0", "1.2"];
        let client_version = VERSIONS[program.size() % 4].to_owned();
        let count = program.byte() & 3;
        let action = |_| ProcessedAction {
            action_type: "SessionType".to_owned(),
            action_status: u32::from(program.byte() & 3),
            action_result: None,
            error: String::from_utf8_lossy(&program.data()).into_owned(),
        };
        HandshakeResponse {
            client_version,
            processed_client_actions: (0..count).map(action).collect(),
            errors: None,
        }
    }

    fn drain(agent: &mut AgentSession, now: Now, completions: &mut u32) {
        for _ in 0..MOST_OUTPUTS {
            match agent.poll_output(now) {
                Output::Send(WsMessage::Binary(frame)) => {
                    let Ok(message) = Message::decode(frame) else { panic!("our own message is malformed") };
                    if message.payload_type == PayloadType::HandshakeRequest {
                        assert!(body::<HandshakeRequest>(&message.payload).is_some());
                        assert_eq!(message.sequence_number, 0, "asked twice");
                    }
                }
                Output::Send(_) => {}
                Output::Event(AgentEvent::HandshakeComplete { client_version }) => {
                    *completions += 1;
                    assert!(*completions == 1 && client_version.reaches([1, 1, 70, 0]));
                }
                Output::Event(_) => {}
                Output::Timeout(_) => return,
            }
        }
        panic!("the agent spins");
    }
}
