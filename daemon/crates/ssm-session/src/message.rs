//! The binary message of the data channel: a 120-byte big-endian header and a payload.
//!
//! | offset | length | field |
//! |---|---|---|
//! | 0 | 4 | header length: 116, the offset of the payload length |
//! | 4 | 32 | message type, ASCII padded with spaces |
//! | 36 | 4 | schema version, 1 |
//! | 40 | 8 | created date, Unix ms, never 0 |
//! | 48 | 8 | sequence number, signed |
//! | 56 | 8 | flags: bit 0 SYN, bit 1 FIN |
//! | 64 | 16 | message id, UUID with its halves swapped |
//! | 80 | 32 | SHA-256 of the payload |
//! | 112 | 4 | payload type |
//! | 116 | 4 | payload length |
//! | 120 | n | payload |
//!
//! Decoding borrows: the payload is a slice of the received buffer. Encoding cannot fail.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use uuid::Uuid;

use crate::digest::sha256;
use crate::kind::{MessageType, PayloadType, TYPE_FIELD};

/// The value of the header length field: offset of the payload length.
pub const HEADER_LENGTH: usize = 116;
/// Bytes in front of the payload of a message with the standard header.
pub const PAYLOAD_OFFSET: usize = HEADER_LENGTH + 4;
/// The only schema version in use.
pub const SCHEMA_VERSION: u32 = 1;
/// Flag of the agent's first stream message.
pub const FLAG_SYN: u64 = 1;
/// Second flag bit; acknowledgements and service messages carry both.
pub const FLAG_FIN: u64 = 2;

/// One message of the data channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is, and which field rules apply.
    pub message_type: MessageType,
    /// Always [`SCHEMA_VERSION`] when sent by us.
    pub schema_version: u32,
    /// Unix time in milliseconds.
    pub created_date: u64,
    /// Position in the sender's stream of data messages; 0 for everything else.
    pub sequence_number: i64,
    /// [`FLAG_SYN`] and [`FLAG_FIN`].
    pub flags: u64,
    /// Chosen by the sender.
    pub message_id: Uuid,
    /// SHA-256 of the payload as the sender computed it; see [`Message::digest_matches`].
    pub digest: [u8; 32],
    /// Meaning of the payload.
    pub payload_type: PayloadType,
    /// The content.
    pub payload: Bytes,
}

/// Why bytes are not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Shorter than a header.
    #[error("message of {length} bytes is shorter than its {PAYLOAD_OFFSET}-byte header")]
    Truncated {
        /// Bytes received.
        length: usize,
    },
    /// The header length field points before the standard header's end or behind the message.
    #[error("header length {header_length} does not fit a message of {length} bytes")]
    HeaderLength {
        /// The field's value.
        header_length: u32,
        /// Bytes received.
        length: usize,
    },
    /// The payload length field contradicts the message's size.
    #[error("payload length field says {declared}, the message carries {actual}")]
    PayloadLength {
        /// The field's value.
        declared: u32,
        /// Bytes behind the header.
        actual: usize,
    },
    /// The message type field is blank or not ASCII.
    #[error("message type field is blank or not printable ASCII")]
    MessageType,
    /// The created date is 0.
    #[error("created date is 0")]
    CreatedDate,
    /// A data message or an acknowledgement has a negative sequence number.
    #[error("sequence number {0} is negative")]
    SequenceNumber(i64),
}

impl Message {
    /// Reads one received WebSocket message.
    ///
    /// Of messages that the service makes only type and payload are taken: it is known to send a nonsense length and
    /// digest in some. The digest is not checked here: see [`Message::digest_matches`].
    ///
    /// # Errors
    /// [`DecodeError`] when a length, the type, the date or the number breaks the format.
    pub fn decode(mut bytes: Bytes) -> Result<Self, DecodeError> {
        let length = bytes.len();
        let Some(header) = bytes.first_chunk::<PAYLOAD_OFFSET>() else {
            return Err(DecodeError::Truncated { length });
        };
        let header_length = u32_at(header, 0);
        let offset = usize::try_from(header_length).unwrap_or(usize::MAX);
        if offset < HEADER_LENGTH || offset > length - 4 {
            return Err(DecodeError::HeaderLength { header_length, length });
        }
        let message_type = MessageType::from_field(array_at(header, 4)).ok_or(DecodeError::MessageType)?;
        let mut message = Self {
            message_type,
            schema_version: u32_at(header, 36),
            created_date: u64::from_be_bytes(array_at(header, 40)),
            sequence_number: i64::from_be_bytes(array_at(header, 48)),
            flags: u64::from_be_bytes(array_at(header, 56)),
            message_id: unswap(array_at(header, 64)),
            digest: array_at(header, 80),
            payload_type: PayloadType::from(u32_at(header, 112)),
            payload: Bytes::new(),
        };
        let declared = bytes[offset..].first_chunk::<4>().map_or(0, |field| u32::from_be_bytes(*field));
        let actual = length - offset - 4;
        if message_type.is_between_the_ends() {
            message.check(declared, actual)?;
        }
        bytes.advance(offset + 4);
        message.payload = bytes;
        Ok(message)
    }

    /// A message of the service kind: not numbered, both flags, right digest.
    #[must_use]
    pub fn service(
        message_type: MessageType,
        payload_type: PayloadType,
        message_id: Uuid,
        created_date: u64,
        payload: &[u8],
    ) -> Self {
        Self {
            message_type,
            schema_version: SCHEMA_VERSION,
            created_date,
            sequence_number: 0,
            flags: FLAG_SYN | FLAG_FIN,
            message_id,
            digest: sha256(payload),
            payload_type,
            payload: Bytes::copy_from_slice(payload),
        }
    }

    fn check(&self, declared: u32, actual: usize) -> Result<(), DecodeError> {
        if usize::try_from(declared) != Ok(actual) {
            return Err(DecodeError::PayloadLength { declared, actual });
        }
        if self.created_date == 0 {
            return Err(DecodeError::CreatedDate);
        }
        if self.sequence_number < 0 {
            return Err(DecodeError::SequenceNumber(self.sequence_number));
        }
        Ok(())
    }

    /// Whether the digest is that of the payload. An empty payload always matches: there is nothing to protect.
    #[must_use]
    pub fn digest_matches(&self) -> bool {
        self.payload.is_empty() || self.digest == sha256(&self.payload)
    }

    /// The wire form with the digest as it stands in `self`: a decoded message gives back the bytes it came from.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(PAYLOAD_OFFSET + self.payload.len());
        out.resize(PAYLOAD_OFFSET, 0);
        out.extend_from_slice(&self.payload);
        write_header(&mut out, &self.header(), &self.digest);
        out.freeze()
    }

    fn header(&self) -> Header {
        Header {
            message_type: self.message_type,
            created_date: self.created_date,
            sequence_number: self.sequence_number,
            flags: self.flags,
            message_id: self.message_id,
            payload_type: self.payload_type,
        }
    }
}

/// The fields that a sender chooses; the rest of a header follows from the payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) message_type: MessageType,
    pub(crate) created_date: u64,
    pub(crate) sequence_number: i64,
    pub(crate) flags: u64,
    pub(crate) message_id: Uuid,
    pub(crate) payload_type: PayloadType,
}

/// Finishes a message in place: `buffer` holds [`PAYLOAD_OFFSET`] spare bytes and then the payload, so that the
/// payload is written once and never copied.
pub(crate) fn seal(buffer: &mut BytesMut, header: &Header) {
    let digest = sha256(&buffer[PAYLOAD_OFFSET..]);
    write_header(buffer, header, &digest);
}

fn write_header(buffer: &mut BytesMut, header: &Header, digest: &[u8; 32]) {
    // A payload is cut from one WebSocket message or limited to 32 KiB: it fits.
    let payload_length = u32::try_from(buffer.len() - PAYLOAD_OFFSET).unwrap_or(u32::MAX);
    let mut out = &mut buffer[..PAYLOAD_OFFSET];
    out.put_u32(116);
    out.put_slice(&header.message_type.to_field());
    out.put_u32(SCHEMA_VERSION);
    // 0 is not a legal date; a clock before 1970 must not make our messages illegal.
    out.put_u64(header.created_date.max(1));
    out.put_i64(header.sequence_number);
    out.put_u64(header.flags);
    out.put_slice(&swap(header.message_id));
    out.put_slice(digest);
    out.put_u32(header.payload_type.into());
    out.put_u32(payload_length);
}

fn swap(id: Uuid) -> [u8; 16] {
    let mut field = *id.as_bytes();
    field.rotate_left(8);
    field
}

fn unswap(mut field: [u8; 16]) -> Uuid {
    field.rotate_left(8);
    Uuid::from_bytes(field)
}

fn u32_at(header: &[u8; PAYLOAD_OFFSET], at: usize) -> u32 {
    u32::from_be_bytes(array_at(header, at))
}

fn array_at<const N: usize>(header: &[u8; PAYLOAD_OFFSET], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&header[at..at + N]);
    field
}

const _: () = assert!(TYPE_FIELD == 32);

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed by hand from the table above, not by this code.
    const VECTOR: &str = concat!(
        "00000074696e7075745f73747265616d5f64617461202020202020202020202020202020",
        "000000010000018bcfe5680000000000000000070000000000000000",
        "8899aabbccddeeff0011223344556677",
        "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4",
        "00000001000000026869",
    );

    fn vector() -> Bytes {
        Bytes::from(hex::decode(VECTOR).unwrap())
    }

    fn patched(at: usize, field: &[u8]) -> Bytes {
        let mut bytes = vector().to_vec();
        bytes[at..at + field.len()].copy_from_slice(field);
        Bytes::from(bytes)
    }

    #[test]
    fn golden_vector_decodes_and_encodes_to_itself() {
        let message = Message::decode(vector()).unwrap();
        assert_eq!(message.message_type, MessageType::InputStreamData);
        assert_eq!(message.message_id.to_string(), "00112233-4455-6677-8899-aabbccddeeff");
        assert_eq!(message.created_date, 1_700_000_000_000);
        assert_eq!(message.sequence_number, 7);
        assert_eq!(message.payload_type, PayloadType::Output);
        assert_eq!(&message.payload[..], b"hi");
        assert!(message.digest_matches());
        assert_eq!(message.encode(), vector());
    }

    #[test]
    fn seal_computes_the_same_message() {
        let message = Message::decode(vector()).unwrap();
        let mut buffer = BytesMut::zeroed(PAYLOAD_OFFSET);
        buffer.extend_from_slice(b"hi");
        seal(&mut buffer, &message.header());
        assert_eq!(buffer.freeze(), vector());
    }

    #[test]
    fn every_truncation_is_an_error() {
        for length in 0..vector().len() {
            assert!(Message::decode(vector().slice(..length)).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn lying_lengths_are_errors() {
        for header_length in [0u32, 115, 119, 122, u32::MAX] {
            assert!(Message::decode(patched(0, &header_length.to_be_bytes())).is_err(), "{header_length}");
        }
        let error = Message::decode(patched(116, &3u32.to_be_bytes())).unwrap_err();
        assert_eq!(error, DecodeError::PayloadLength { declared: 3, actual: 2 });
    }

    #[test]
    fn a_longer_header_moves_the_payload() {
        let mut bytes = vector().to_vec();
        bytes[..4].copy_from_slice(&120u32.to_be_bytes());
        bytes.splice(116..116, [9, 9, 9, 9]);
        assert_eq!(&Message::decode(Bytes::from(bytes)).unwrap().payload[..], b"hi");
    }

    #[test]
    fn type_field_loses_nul_and_space_padding() {
        let mut field = [0; 32];
        field[1..12].copy_from_slice(b"acknowledge");
        field[12] = b' ';
        assert_eq!(Message::decode(patched(4, &field)).unwrap().message_type, MessageType::Acknowledge);
        assert_eq!(Message::decode(patched(4, &[b' '; 32])).unwrap_err(), DecodeError::MessageType);
    }

    #[test]
    fn date_and_number_are_checked() {
        assert_eq!(Message::decode(patched(40, &[0; 8])).unwrap_err(), DecodeError::CreatedDate);
        let error = Message::decode(patched(48, &(-1i64).to_be_bytes())).unwrap_err();
        assert_eq!(error, DecodeError::SequenceNumber(-1));
    }

    #[test]
    fn publication_messages_are_never_validated_like_data() {
        let mut bytes = vector().to_vec();
        let mut field = [b' '; 32];
        field[..17].copy_from_slice(b"start_publication");
        bytes[4..36].copy_from_slice(&field);
        bytes[116..120].copy_from_slice(&0x7800_0000u32.to_be_bytes());
        let message = Message::decode(Bytes::from(bytes)).unwrap();
        assert_eq!(message.message_type, MessageType::StartPublication);
    }

    /// The reason of an end is read even if the service fills the header carelessly; and what nobody knows is ignored.
    #[test]
    fn other_messages_of_the_service_are_not_validated_like_data_either() {
        for kind in ["channel_closed", "agent_job"] {
            let mut bytes = vector().to_vec();
            let mut field = [b' '; 32];
            field[..kind.len()].copy_from_slice(kind.as_bytes());
            bytes[4..36].copy_from_slice(&field);
            bytes[40..56].copy_from_slice(&[0xff; 16]);
            bytes[116..120].copy_from_slice(&0x7800_0000u32.to_be_bytes());
            let message = Message::decode(Bytes::from(bytes)).unwrap();
            assert_eq!((message.message_type.name(), &message.payload[..]), (kind, &b"hi"[..]));
        }
    }

    #[test]
    fn a_changed_payload_does_not_match_its_digest() {
        assert!(!Message::decode(patched(120, b"ho")).unwrap().digest_matches());
    }
}
