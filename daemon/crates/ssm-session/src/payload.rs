//! JSON bodies: names, casing and field order exactly as AWS's programs write them, so that what was decoded encodes
//! to the same bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// Body of an acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Acknowledge {
    /// Type name of the confirmed message.
    pub acknowledged_message_type: String,
    /// Its id.
    pub acknowledged_message_id: Uuid,
    /// Its number: what both official programs match by.
    pub acknowledged_message_sequence_number: i64,
    /// Always true.
    pub is_sequential_message: bool,
}

/// The only field of an acknowledgement that decides anything; reading just this one allocates nothing.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AcknowledgedNumber {
    pub(crate) acknowledged_message_sequence_number: i64,
}

/// Appends the body of an acknowledgement: the same bytes as serialising [`Acknowledge`], at a fraction of the cost.
/// One of these leaves for every message received.
pub(crate) fn write_acknowledge(out: &mut bytes::BytesMut, message_type: &str, id: Uuid, number: i64) {
    use std::fmt::Write as _;

    out.extend_from_slice(b"{\"AcknowledgedMessageType\":\"");
    out.extend_from_slice(message_type.as_bytes());
    out.extend_from_slice(b"\",\"AcknowledgedMessageId\":\"");
    out.extend_from_slice(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
    out.extend_from_slice(b"\",\"AcknowledgedMessageSequenceNumber\":");
    // Writing to a growing buffer cannot fail.
    let _ = write!(out, "{number}");
    out.extend_from_slice(b",\"IsSequentialMessage\":true}");
}

/// Body of `channel_closed`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ChannelClosed {
    /// The service's id of this message.
    pub message_id: String,
    /// A date as text.
    pub created_date: String,
    /// Who it is for.
    pub destination_id: String,
    /// Which session ended.
    pub session_id: String,
    /// `channel_closed`.
    pub message_type: String,
    /// 1.
    pub schema_version: u32,
    /// The reason as free text; may be empty.
    pub output: String,
}

/// Body of `agent_session_state`, agent to service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AgentSessionState {
    /// 1.
    pub schema_version: u32,
    /// `Connected` or `Terminating`.
    pub session_state: String,
    /// Which session.
    pub session_id: String,
}

/// The first thing the agent says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HandshakeRequest {
    /// Four numbers, see [`crate::Version`].
    pub agent_version: String,
    /// `SessionType` first.
    pub requested_client_actions: Vec<RequestedAction>,
}

/// One thing the client must do before the session starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RequestedAction {
    /// `SessionType` or `KMSEncryption`.
    pub action_type: String,
    /// Depends on the type.
    pub action_parameters: ActionParameters,
}

/// Parameters of a requested action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ActionParameters {
    /// Of `SessionType`.
    SessionType(SessionTypeParameters),
    /// Of any other action.
    Other(Value),
}

/// What kind of session the document asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SessionTypeParameters {
    /// `Port`, `Standard_Stream`, `InteractiveCommands` or `NonInteractiveCommands`.
    pub session_type: String,
    /// The document's properties; null in shell sessions.
    #[serde(default)]
    pub properties: Option<BTreeMap<String, Value>>,
}

/// The client's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HandshakeResponse {
    /// Four numbers; the agent derives features from them.
    pub client_version: String,
    /// One per requested action, same order.
    pub processed_client_actions: Vec<ProcessedAction>,
    /// All error texts; null when there are none.
    #[serde(default)]
    pub errors: Option<Vec<String>>,
}

/// What became of one requested action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ProcessedAction {
    /// As requested.
    pub action_type: String,
    /// 1 success, 2 failed, 3 unsupported.
    pub action_status: u32,
    /// Null for `SessionType`.
    #[serde(default)]
    pub action_result: Option<Value>,
    /// Empty on success.
    #[serde(default)]
    pub error: String,
}

/// `ActionStatus`: done.
pub const STATUS_SUCCESS: u32 = 1;
/// `ActionStatus`: the client does not know the action.
pub const STATUS_UNSUPPORTED: u32 = 3;

/// The agent's last word of the handshake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HandshakeComplete {
    /// Nanoseconds.
    #[serde(default)]
    pub handshake_time_to_complete: i64,
    /// Text to show; may be empty.
    #[serde(default)]
    pub customer_message: String,
}

/// First message of a client's connection, as a text frame.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OpenClient<'a> {
    pub(crate) message_schema_version: &'a str,
    pub(crate) request_id: Uuid,
    pub(crate) token_value: &'a str,
    pub(crate) client_id: Uuid,
    pub(crate) client_version: &'a str,
}

/// First message of an agent's connection.
#[cfg(feature = "agent")]
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OpenAgent<'a> {
    pub(crate) message_schema_version: &'a str,
    pub(crate) request_id: Uuid,
    pub(crate) token_value: &'a str,
    pub(crate) client_instance_id: &'a str,
    pub(crate) client_id: &'a str,
}

/// Serialises a body of this module. They hold no map with other than text keys and no fallible type, so this cannot
/// fail.
pub(crate) fn to_json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same_bytes<T: Serialize + for<'de> Deserialize<'de>>(text: &str) {
        let body: T = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&body).unwrap(), text);
    }

    #[test]
    fn bodies_recorded_from_the_official_programs_encode_to_the_same_bytes() {
        same_bytes::<HandshakeRequest>(concat!(
            r#"{"AgentVersion":"3.3.1142.0","RequestedClientActions":[{"ActionType":"SessionType","ActionParameters":"#,
            r#"{"SessionType":"Port","Properties":{"localPortNumber":"0","portNumber":"34917","#,
            r#""type":"LocalPortForwarding"}}}]}"#
        ));
        same_bytes::<HandshakeResponse>(concat!(
            r#"{"ClientVersion":"1.2.694.0","ProcessedClientActions":[{"ActionType":"SessionType","ActionStatus":1,"#,
            r#""ActionResult":null,"Error":""}],"Errors":null}"#
        ));
        same_bytes::<HandshakeComplete>(r#"{"HandshakeTimeToComplete":10308454,"CustomerMessage":""}"#);
        same_bytes::<AgentSessionState>(
            r#"{"SchemaVersion":1,"SessionState":"Connected","SessionId":"lab-e1bb50855951f8abe"}"#,
        );
    }

    #[test]
    fn formatted_acknowledgement_equals_the_serialised_one() {
        let id = Uuid::parse_str("80dacd4c-0d61-43d8-a1f9-80e7df189273").unwrap();
        for number in [0, 7, i64::MAX] {
            let mut out = bytes::BytesMut::new();
            write_acknowledge(&mut out, "output_stream_data", id, number);
            let body = Acknowledge {
                acknowledged_message_type: "output_stream_data".into(),
                acknowledged_message_id: id,
                acknowledged_message_sequence_number: number,
                is_sequential_message: true,
            };
            assert_eq!(&out[..], to_json(&body));
        }
    }

    #[test]
    fn a_sparse_channel_closed_is_still_one() {
        let body: ChannelClosed = serde_json::from_str(r#"{"Output":"gone"}"#).unwrap();
        assert_eq!(body.output, "gone");
    }
}
