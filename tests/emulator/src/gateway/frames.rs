//! The messages that the service itself makes, and the damaged ones it never would.

use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};
use ssm_session::payload::ChannelClosed;
use ssm_session::{Message, MessageType, PayloadType};
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::clock;
use crate::credentials::fill_random;
use crate::inject::FrameKind;

/// Where the digest and the payload length stand in a message.
const DIGEST: usize = 80;
const PAYLOAD_LENGTH: usize = 116;
/// The service is reported to send this nonsense length in publication messages.
const PUBLICATION_LENGTH: [u8; 4] = [0x78, 0, 0, 0];
/// The payload type it is reported to put into `channel_closed`.
const CHANNEL_CLOSED_TYPE: u32 = 261;

/// What a message is, as far as the gateway looks; `None` for an unreadable one.
pub(crate) fn kind(message: Option<&Message>) -> FrameKind {
    let Some(message) = message else { return FrameKind::Other };
    match message.message_type {
        MessageType::Acknowledge => FrameKind::Ack,
        MessageType::InputStreamData | MessageType::OutputStreamData => match message.payload_type {
            PayloadType::Output => FrameKind::Data,
            PayloadType::Flag => FrameKind::Flag,
            PayloadType::HandshakeRequest
            | PayloadType::HandshakeResponse
            | PayloadType::HandshakeComplete => FrameKind::Handshake,
            PayloadType::None
            | PayloadType::Error
            | PayloadType::Size
            | PayloadType::Parameter
            | PayloadType::EncryptionChallengeRequest
            | PayloadType::EncryptionChallengeResponse
            | PayloadType::StdErr
            | PayloadType::ExitCode
            | PayloadType::Other(_) => FrameKind::Other,
        },
        MessageType::ChannelClosed
        | MessageType::PausePublication
        | MessageType::StartPublication
        | MessageType::AgentSessionState
        | MessageType::Other(_) => FrameKind::Other,
    }
}

/// Whether it is a client's message that must be acknowledged.
pub(crate) fn is_numbered(frame: &Bytes) -> bool {
    Message::decode(frame.clone()).is_ok_and(|message| message.message_type == MessageType::InputStreamData)
}

/// `pause_publication` or `start_publication`, with the odd length and without a digest.
pub(crate) fn publication(start: bool) -> Bytes {
    let kind = if start { MessageType::StartPublication } else { MessageType::PausePublication };
    let message = service(kind, PayloadType::None, &[]);
    let mut bytes = BytesMut::from(&message.encode()[..]);
    bytes[DIGEST..DIGEST + 32].fill(0);
    bytes[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&PUBLICATION_LENGTH);
    bytes.freeze()
}

/// `channel_closed` with a reason.
pub(crate) fn channel_closed(session_id: &str, target: &str, output: &str) -> Bytes {
    let body = ChannelClosed {
        message_id: Uuid::new_v4().to_string(),
        created_date: clock::wall().format(&Rfc3339).unwrap_or_default(),
        destination_id: target.to_owned(),
        session_id: session_id.to_owned(),
        message_type: MessageType::ChannelClosed.name().to_owned(),
        schema_version: 1,
        output: output.to_owned(),
    };
    let payload = serde_json::to_vec(&body).unwrap_or_default();
    service(MessageType::ChannelClosed, PayloadType::from(CHANNEL_CLOSED_TYPE), &payload).encode()
}

fn service(message_type: MessageType, payload_type: PayloadType, payload: &[u8]) -> Message {
    Message::service(message_type, payload_type, Uuid::new_v4(), clock::now().wall_ms, payload)
}

/// Bytes that are no message: longer than a header, random.
pub(crate) fn garbage() -> Bytes {
    let mut bytes = [0; 200];
    fill_random(&mut bytes);
    // A header length that cannot be right, whatever else chance brings.
    bytes[..4].fill(0xff);
    Bytes::copy_from_slice(&bytes)
}

/// The first 60 bytes of a message.
pub(crate) fn truncated() -> Bytes {
    static WHOLE: LazyLock<Bytes> = LazyLock::new(|| publication(true));
    WHOLE.slice(..60)
}

/// A message whose payload length says more than there is.
pub(crate) fn wrong_length() -> Bytes {
    let message = service(MessageType::OutputStreamData, PayloadType::Output, b"short");
    let mut bytes = BytesMut::from(&message.encode()[..]);
    bytes[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&1000u32.to_be_bytes());
    bytes.freeze()
}

/// The same message with another digest.
pub(crate) fn with_bad_digest(frame: &[u8]) -> Bytes {
    let mut bytes = BytesMut::from(frame);
    bytes[DIGEST] ^= 0xff;
    bytes.freeze()
}

/// The same message with a payload that no multiplexer sends, and a right digest.
pub(crate) fn with_mux_violation(mut message: Message) -> Bytes {
    message.payload = Bytes::from(vec![0xff; message.payload.len().max(8)]);
    message.digest = Sha256::digest(&message.payload).into();
    message.encode()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_messages_read_as_what_they_are() {
        assert_eq!(Message::decode(publication(false)).unwrap().message_type, MessageType::PausePublication);
        let closed = Message::decode(channel_closed("s-1", "i-1", "the end")).unwrap();
        assert_eq!(closed.message_type, MessageType::ChannelClosed);
        let body: ChannelClosed = serde_json::from_slice(&closed.payload).unwrap();
        assert_eq!((body.output.as_str(), body.session_id.as_str()), ("the end", "s-1"));
    }

    #[test]
    fn damaged_messages_are_damaged_in_the_way_they_say() {
        for broken in [garbage(), truncated(), wrong_length()] {
            assert!(Message::decode(broken).is_err());
        }
        let sound = service(MessageType::OutputStreamData, PayloadType::Output, b"0123456789");
        assert!(!Message::decode(with_bad_digest(&sound.encode())).unwrap().digest_matches());
        let violating = Message::decode(with_mux_violation(sound)).unwrap();
        assert!(violating.digest_matches());
        assert_eq!(violating.payload[0], 0xff);
    }
}
