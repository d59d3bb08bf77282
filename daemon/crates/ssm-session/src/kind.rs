//! The two kind fields of a message: what it is, and what its payload means.

use std::fmt;

/// Width of the message type field.
pub(crate) const TYPE_FIELD: usize = 32;

/// The message type field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// Client to agent: numbered and acknowledged.
    InputStreamData,
    /// Agent to client: numbered and acknowledged.
    OutputStreamData,
    /// Either way: confirms one data message; neither numbered nor acknowledged.
    Acknowledge,
    /// Service to both: the session is over.
    ChannelClosed,
    /// Service: stop publishing.
    PausePublication,
    /// Service: publish again.
    StartPublication,
    /// Agent to service.
    AgentSessionState,
    /// Anything else: logged and ignored, never acknowledged.
    Other(TypeName),
}

/// An unknown message type as it was received.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TypeName([u8; TYPE_FIELD]);

impl MessageType {
    /// Known names; at most 32 bytes each.
    const NAMES: [(&'static str, Self); 7] = [
        ("output_stream_data", Self::OutputStreamData),
        ("acknowledge", Self::Acknowledge),
        ("input_stream_data", Self::InputStreamData),
        ("channel_closed", Self::ChannelClosed),
        ("pause_publication", Self::PausePublication),
        ("start_publication", Self::StartPublication),
        ("agent_session_state", Self::AgentSessionState),
    ];

    /// The name without padding.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::InputStreamData => "input_stream_data",
            Self::OutputStreamData => "output_stream_data",
            Self::Acknowledge => "acknowledge",
            Self::ChannelClosed => "channel_closed",
            Self::PausePublication => "pause_publication",
            Self::StartPublication => "start_publication",
            Self::AgentSessionState => "agent_session_state",
            Self::Other(name) => name.as_str(),
        }
    }

    /// Whether client and agent made it, and not the service between them.
    pub(crate) fn is_between_the_ends(self) -> bool {
        matches!(self, Self::InputStreamData | Self::OutputStreamData | Self::Acknowledge)
    }

    pub(crate) fn to_field(self) -> [u8; TYPE_FIELD] {
        let mut field = [b' '; TYPE_FIELD];
        let name = self.name().as_bytes();
        field[..name.len()].copy_from_slice(name);
        field
    }

    /// Strips NULs and white space at both ends; `None` when nothing printable remains.
    pub(crate) fn from_field(field: [u8; TYPE_FIELD]) -> Option<Self> {
        let blank = |byte: &u8| *byte == 0 || byte.is_ascii_whitespace();
        let start = field.iter().position(|byte| !blank(byte))?;
        let end = field.iter().rposition(|byte| !blank(byte))?;
        let name = &field[start..=end];
        if let Some((_, known)) = Self::NAMES.iter().find(|(known, _)| known.as_bytes() == name) {
            return Some(*known);
        }
        if !name.iter().all(|byte| (0x20..0x7f).contains(byte)) {
            return None;
        }
        let mut other = [b' '; TYPE_FIELD];
        other[..name.len()].copy_from_slice(name);
        Some(Self::Other(TypeName(other)))
    }
}

impl TypeName {
    fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default().trim_ascii_end()
    }
}

impl fmt::Debug for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The payload type field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PayloadType {
    /// 0: acknowledgements and service messages.
    None,
    /// 1: raw bytes; in a port session the multiplexer's.
    Output,
    /// 2: defined, sent by nobody.
    Error,
    /// 3: terminal size.
    Size,
    /// 4: reserved.
    Parameter,
    /// 5: agent to client.
    HandshakeRequest,
    /// 6: client to agent.
    HandshakeResponse,
    /// 7: agent to client.
    HandshakeComplete,
    /// 8: agent to client.
    EncryptionChallengeRequest,
    /// 9: client to agent.
    EncryptionChallengeResponse,
    /// 10: four bytes, see [`Flag`].
    Flag,
    /// 11: a command's standard error.
    StdErr,
    /// 12: a command's exit code.
    ExitCode,
    /// A number without a known meaning.
    Other(u32),
}

impl From<u32> for PayloadType {
    fn from(number: u32) -> Self {
        match number {
            0 => Self::None,
            1 => Self::Output,
            2 => Self::Error,
            3 => Self::Size,
            4 => Self::Parameter,
            5 => Self::HandshakeRequest,
            6 => Self::HandshakeResponse,
            7 => Self::HandshakeComplete,
            8 => Self::EncryptionChallengeRequest,
            9 => Self::EncryptionChallengeResponse,
            10 => Self::Flag,
            11 => Self::StdErr,
            12 => Self::ExitCode,
            other => Self::Other(other),
        }
    }
}

impl From<PayloadType> for u32 {
    fn from(kind: PayloadType) -> Self {
        match kind {
            PayloadType::None => 0,
            PayloadType::Output => 1,
            PayloadType::Error => 2,
            PayloadType::Size => 3,
            PayloadType::Parameter => 4,
            PayloadType::HandshakeRequest => 5,
            PayloadType::HandshakeResponse => 6,
            PayloadType::HandshakeComplete => 7,
            PayloadType::EncryptionChallengeRequest => 8,
            PayloadType::EncryptionChallengeResponse => 9,
            PayloadType::Flag => 10,
            PayloadType::StdErr => 11,
            PayloadType::ExitCode => 12,
            PayloadType::Other(number) => number,
        }
    }
}

/// The content of a flag payload: a big-endian `u32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flag {
    /// 1, client to agent: drop the connection of a session without multiplexing.
    DisconnectToPort,
    /// 2, client to agent: end the session.
    TerminateSession,
    /// 3, agent to client: a connect to the remote port failed. It names no stream.
    ConnectToPortError,
    /// A number without a known meaning.
    Other(u32),
}

impl Flag {
    /// The payload.
    #[must_use]
    pub fn encode(self) -> [u8; 4] {
        let number: u32 = match self {
            Self::DisconnectToPort => 1,
            Self::TerminateSession => 2,
            Self::ConnectToPortError => 3,
            Self::Other(number) => number,
        };
        number.to_be_bytes()
    }

    /// Reads a payload; `None` unless it is four bytes.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        Some(match u32::from_be_bytes(payload.try_into().ok()?) {
            1 => Self::DisconnectToPort,
            2 => Self::TerminateSession,
            3 => Self::ConnectToPortError,
            number => Self::Other(number),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_field() {
        for (name, kind) in MessageType::NAMES {
            assert_eq!(kind.name(), name);
            assert_eq!(MessageType::from_field(kind.to_field()), Some(kind));
        }
    }

    #[test]
    fn unknown_types_keep_their_name() {
        let mut field = [b' '; TYPE_FIELD];
        field[..9].copy_from_slice(b"agent_job");
        let kind = MessageType::from_field(field).unwrap();
        assert_eq!(kind.name(), "agent_job");
        assert_eq!(kind.to_field(), field);
    }

    #[test]
    fn payload_types_round_trip() {
        for number in 0..300 {
            assert_eq!(u32::from(PayloadType::from(number)), number);
        }
    }

    #[test]
    fn flags_round_trip_and_refuse_other_lengths() {
        for number in 0u32..5 {
            assert_eq!(Flag::decode(&number.to_be_bytes()).unwrap().encode(), number.to_be_bytes());
        }
        assert_eq!(Flag::decode(&[0, 0, 2]), None);
        assert_eq!(Flag::decode(&[0, 0, 0, 0, 2]), None);
    }
}
