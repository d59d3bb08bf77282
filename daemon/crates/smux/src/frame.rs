//! The wire format: an 8-byte header, little-endian, and the payload of PSH frames.
//!
//! | offset | length | field |
//! |---|---|---|
//! | 0 | 1 | version, always 1 |
//! | 1 | 1 | command: 0 SYN, 1 FIN, 2 PSH, 3 NOP |
//! | 2 | 2 | payload bytes; 0 except for PSH |
//! | 4 | 4 | stream id; 0 for NOP |
//! | 8 | n | payload |
//!
//! [`Frame`] is for tests, tools and peers of one's own making; [`crate::Mux`] parses input without whole frames.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{ProtocolError, StreamId};

/// Bytes in front of every payload.
pub const HEADER_LEN: usize = 8;
/// The version in every header.
pub const VERSION: u8 = 1;
/// What a peer may send in one frame: the length field's maximum.
pub const MAX_PAYLOAD: usize = u16::MAX as usize;
/// What we may send in one frame: the sending limit in the Go implementation's default configuration.
pub const MAX_SEND_PAYLOAD: usize = 32 * 1024;

/// What a frame asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Command {
    /// Open a stream.
    Syn = 0,
    /// Close a stream, both ways.
    Fin = 1,
    /// Data of a stream.
    Psh = 2,
    /// Nothing; proves that the sender lives.
    Nop = 3,
}

impl TryFrom<u8> for Command {
    type Error = ProtocolError;

    fn try_from(byte: u8) -> Result<Self, ProtocolError> {
        match byte {
            0 => Ok(Self::Syn),
            1 => Ok(Self::Fin),
            2 => Ok(Self::Psh),
            3 => Ok(Self::Nop),
            other => Err(ProtocolError::UnknownCommand(other)),
        }
    }
}

/// The first 8 bytes of a frame, without the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// What the frame asks for.
    pub command: Command,
    /// Bytes of payload behind the header.
    pub length: u16,
    /// The stream; 0 for NOP.
    pub id: StreamId,
}

impl Header {
    /// Header of a frame without payload.
    #[must_use]
    pub const fn control(command: Command, id: StreamId) -> Self {
        Self { command, length: 0, id }
    }

    /// The bytes on the wire.
    #[must_use]
    pub const fn encode(self) -> [u8; HEADER_LEN] {
        let [l0, l1] = self.length.to_le_bytes();
        let [i0, i1, i2, i3] = self.id.as_u32().to_le_bytes();
        [VERSION, self.command as u8, l0, l1, i0, i1, i2, i3]
    }

    /// Reads a header.
    ///
    /// # Errors
    /// Another version, an unknown command, or a length on a command that carries no payload.
    pub fn decode(bytes: [u8; HEADER_LEN]) -> Result<Self, ProtocolError> {
        let [version, command, l0, l1, i0, i1, i2, i3] = bytes;
        if version != VERSION {
            return Err(ProtocolError::UnsupportedVersion(version));
        }
        let command = Command::try_from(command)?;
        let length = u16::from_le_bytes([l0, l1]);
        if command != Command::Psh && length != 0 {
            return Err(ProtocolError::UnexpectedPayload { command, length });
        }
        Ok(Self { command, length, id: StreamId::from(u32::from_le_bytes([i0, i1, i2, i3])) })
    }
}

/// A whole frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Open a stream.
    Syn(StreamId),
    /// Close a stream.
    Fin(StreamId),
    /// Data of a stream; at most 65535 bytes.
    Psh(StreamId, Bytes),
    /// Nothing.
    Nop,
}

impl Frame {
    /// Appends the frame. A PSH payload beyond 65535 bytes, which no frame can hold, becomes several frames.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Syn(id) => out.put_slice(&Header::control(Command::Syn, *id).encode()),
            Self::Fin(id) => out.put_slice(&Header::control(Command::Fin, *id).encode()),
            Self::Nop => out.put_slice(&Header::control(Command::Nop, StreamId::from(0)).encode()),
            Self::Psh(id, payload) if payload.is_empty() => {
                out.put_slice(&Header::control(Command::Psh, *id).encode());
            }
            Self::Psh(id, payload) => {
                for part in payload.chunks(MAX_PAYLOAD) {
                    let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
                    out.put_slice(&Header { command: Command::Psh, length, id: *id }.encode());
                    out.put_slice(part);
                }
            }
        }
    }

    /// Takes the next whole frame off the front; `None` (and nothing taken) if it is not complete yet.
    ///
    /// # Errors
    /// As [`Header::decode`].
    pub fn decode(input: &mut Bytes) -> Result<Option<Self>, ProtocolError> {
        let Some(header) = input.first_chunk::<HEADER_LEN>() else { return Ok(None) };
        let header = Header::decode(*header)?;
        let length = usize::from(header.length);
        if input.len() < HEADER_LEN + length {
            return Ok(None);
        }
        input.advance(HEADER_LEN);
        Ok(Some(match header.command {
            Command::Syn => Self::Syn(header.id),
            Command::Fin => Self::Fin(header.id),
            Command::Nop => Self::Nop,
            Command::Psh => Self::Psh(header.id, input.split_to(length)),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYN_3: [u8; 8] = [1, 0, 0, 0, 3, 0, 0, 0];
    const FIN_3: [u8; 8] = [1, 1, 0, 0, 3, 0, 0, 0];
    const PSH_3_HELLO: [u8; 13] = [1, 2, 5, 0, 3, 0, 0, 0, b'h', b'e', b'l', b'l', b'o'];

    fn encoded(frame: &Frame) -> Vec<u8> {
        let mut out = BytesMut::new();
        frame.encode(&mut out);
        out.to_vec()
    }

    #[test]
    fn known_frames_have_known_bytes() {
        let id = StreamId::from(3);
        assert_eq!(encoded(&Frame::Syn(id)), SYN_3);
        assert_eq!(encoded(&Frame::Fin(id)), FIN_3);
        assert_eq!(encoded(&Frame::Psh(id, Bytes::from_static(b"hello"))), PSH_3_HELLO);
        assert_eq!(encoded(&Frame::Nop), [1, 3, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn lengths_and_ids_are_little_endian() {
        let header = Header { command: Command::Psh, length: 0x0102, id: StreamId::from(0x0304_0506) };
        assert_eq!(header.encode(), [1, 2, 0x02, 0x01, 0x06, 0x05, 0x04, 0x03]);
        assert_eq!(Header::decode(header.encode()), Ok(header));
    }

    #[test]
    fn an_incomplete_frame_takes_nothing() {
        for cut in 0..PSH_3_HELLO.len() {
            let mut input = Bytes::copy_from_slice(&PSH_3_HELLO[..cut]);
            assert_eq!(Frame::decode(&mut input), Ok(None));
            assert_eq!(input.len(), cut);
        }
    }

    #[test]
    fn other_versions_commands_and_lengths_are_refused() {
        let refused = [
            ([2, 0, 0, 0, 3, 0, 0, 0], ProtocolError::UnsupportedVersion(2)),
            ([0, 0, 0, 0, 3, 0, 0, 0], ProtocolError::UnsupportedVersion(0)),
            ([1, 4, 8, 0, 3, 0, 0, 0], ProtocolError::UnknownCommand(4)),
            ([1, 3, 1, 0, 0, 0, 0, 0], ProtocolError::UnexpectedPayload { command: Command::Nop, length: 1 }),
            (
                [1, 0, 0, 1, 3, 0, 0, 0],
                ProtocolError::UnexpectedPayload { command: Command::Syn, length: 256 },
            ),
        ];
        for (bytes, error) in refused {
            assert_eq!(Header::decode(bytes), Err(error));
        }
    }

    #[test]
    fn a_payload_too_long_for_one_frame_becomes_two() {
        let payload = Bytes::from(vec![7; MAX_PAYLOAD + 1]);
        let mut wire = Bytes::from(encoded(&Frame::Psh(StreamId::from(5), payload)));
        let mut lengths = Vec::new();
        while let Some(Frame::Psh(_, part)) = Frame::decode(&mut wire).unwrap() {
            lengths.push(part.len());
        }
        assert_eq!(lengths, [MAX_PAYLOAD, 1]);
    }
}
