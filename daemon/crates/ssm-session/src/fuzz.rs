//! Entries shared by the fuzz targets and the test that replays their corpora.
//!
//! - [`message()`]: the data is one frame, and the fields of another.
//! - [`handshake()`]: the first byte chooses a JSON body that the rest is read as, or a conversation of such bodies.
//! - [`session()`]: the data is a program. Its first byte chooses the settings and who is at the other end: a hostile
//!   agent, made of raw bytes and well-formed messages in any order, or our own agent behind a bad network. Then
//!   follow operations of one byte and their arguments: every call that an owner can make, faults, and time.

mod handshake;
mod hostile;
#[cfg(feature = "agent")]
mod pair;
mod wire;

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use uuid::Uuid;

pub use self::handshake::handshake;
use crate::kind::{MessageType, PayloadType, TYPE_FIELD};
use crate::message::{DecodeError, HEADER_LENGTH, Header, Message, PAYLOAD_OFFSET, SCHEMA_VERSION, seal};

/// A frame decodes or not, for a reason that is true; and what decodes encodes to something that decodes to the same.
pub fn message(data: &[u8]) {
    let frame = Bytes::copy_from_slice(data);
    match Message::decode(frame.clone()) {
        Ok(message) => decoded(&frame, &message),
        Err(error) => refused(&frame, &error),
    }
    built(&mut Program::new(data));
}

/// Runs the program in `data`; panics if the session breaks a promise. `now` is the time at its start.
pub fn session(data: &[u8], now: Instant) {
    let mut program = Program::new(data);
    let choice = program.byte();
    #[cfg(feature = "agent")]
    if choice & 128 != 0 {
        return pair::run(choice, &mut program, now);
    }
    hostile::run(choice, &mut program, now);
}

/// The unread part of the data; gives zeros at its end.
struct Program {
    rest: Bytes,
}

impl Program {
    fn new(data: &[u8]) -> Self {
        Self { rest: Bytes::copy_from_slice(data) }
    }

    fn is_over(&self) -> bool {
        self.rest.is_empty()
    }

    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn size(&mut self) -> usize {
        usize::from(self.byte())
    }

    fn number(&mut self) -> u64 {
        self.take(8).iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn take(&mut self, count: usize) -> Bytes {
        self.rest.split_to(count.min(self.rest.len()))
    }

    /// A length of one byte and that many bytes.
    fn data(&mut self) -> Bytes {
        let count = self.size();
        self.take(count)
    }
}

fn field<const N: usize>(frame: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&frame[at..at + N]);
    field
}

fn length_at(frame: &[u8], at: usize) -> usize {
    usize::try_from(u32::from_be_bytes(field(frame, at))).unwrap_or(usize::MAX)
}

fn decoded(frame: &Bytes, message: &Message) {
    let offset = length_at(frame, 0);
    let (declared, actual) = (length_at(frame, offset), frame.len() - offset - 4);
    assert!(offset >= HEADER_LENGTH);
    assert_eq!(message.payload, frame[offset + 4..]);
    assert_eq!(frame.slice_ref(&message.payload), message.payload, "the payload is not a copy");

    let again = Message::decode(message.encode());
    let created_date = message.created_date.max(1);
    let expected = Message { schema_version: SCHEMA_VERSION, created_date, ..message.clone() };
    assert_eq!(again, Ok(expected));

    let usual = offset == HEADER_LENGTH
        && declared == actual
        && message.created_date > 0
        && message.schema_version == SCHEMA_VERSION
        && message.message_type.to_field() == field::<TYPE_FIELD>(frame, 4);
    assert!(!usual || message.encode() == *frame, "a usual frame encodes to the same bytes");
    if message.message_type.is_between_the_ends() {
        assert!(declared == actual && message.created_date > 0 && message.sequence_number >= 0);
        for cut in [frame.len() - 1, PAYLOAD_OFFSET - 1, frame.len() / 2] {
            assert!(Message::decode(frame.slice(..cut)).is_err(), "{cut} bytes of {}", frame.len());
        }
    }
    if let Some(last) = message.payload.len().checked_sub(1)
        && message.digest_matches()
    {
        let mut changed = message.payload.to_vec();
        changed[last] ^= 1;
        assert!(!Message { payload: changed.into(), ..message.clone() }.digest_matches());
    }
}

fn refused(frame: &Bytes, error: &DecodeError) {
    match *error {
        DecodeError::Truncated { length } => assert!(length == frame.len() && length < PAYLOAD_OFFSET),
        DecodeError::HeaderLength { length, .. } => {
            let offset = length_at(frame, 0);
            assert_eq!(length, frame.len());
            assert!(offset < HEADER_LENGTH || offset + 4 > length);
        }
        DecodeError::PayloadLength { actual, .. } => {
            let offset = length_at(frame, 0);
            assert_eq!(actual, frame.len() - offset - 4);
            assert_ne!(actual, length_at(frame, offset));
        }
        DecodeError::MessageType => assert_eq!(MessageType::from_field(field(frame, 4)), None),
        DecodeError::CreatedDate => assert_eq!(field(frame, 40), [0; 8]),
        DecodeError::SequenceNumber(number) => {
            assert!(number < 0 && field(frame, 48) == number.to_be_bytes());
        }
    }
}

/// A message made of any fields survives the wire, and is the same when it is sealed in place.
fn built(program: &mut Program) {
    let mut name = [b' '; TYPE_FIELD];
    let chosen = program.data();
    let length = chosen.len().min(TYPE_FIELD);
    name[..length].copy_from_slice(&chosen[..length]);
    let header = Header {
        message_type: MessageType::from_field(name).unwrap_or(MessageType::InputStreamData),
        created_date: program.number(),
        sequence_number: program.number().cast_signed() & i64::MAX,
        flags: program.number(),
        message_id: Uuid::from_u64_pair(program.number(), program.number()),
        payload_type: PayloadType::from(program.number() as u32),
    };
    let payload = std::mem::take(&mut program.rest);
    let mut sealed = BytesMut::zeroed(PAYLOAD_OFFSET);
    sealed.extend_from_slice(&payload);
    seal(&mut sealed, &header);
    let service = Message::service(
        header.message_type,
        header.payload_type,
        header.message_id,
        header.created_date,
        &payload,
    );
    let message = Message { sequence_number: header.sequence_number, flags: header.flags, ..service };
    assert_eq!(message.encode(), sealed);
    assert!(message.digest_matches());
    let expected = Message { created_date: header.created_date.max(1), ..message };
    assert_eq!(Message::decode(sealed.freeze()), Ok(expected));
}
