//! A reader of smux frames that shares nothing with our own multiplexer: thirty lines, from the format's description
//! alone, so that the multiplexer is not its own judge.

use std::collections::BTreeMap;

/// Commands of smux version 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Opens a stream.
    Syn(u32),
    /// Ends a stream.
    Fin(u32),
    /// Carries bytes of a stream.
    Psh(u32, Vec<u8>),
    /// Keeps the session alive.
    Nop,
}

/// Puts frames together from a byte stream that was cut anywhere.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: Vec<u8>,
    /// Payloads by sequence number that arrived before their turn.
    early: BTreeMap<i64, Vec<u8>>,
    next: i64,
}

impl Reader {
    /// Takes the Output payload of one data message; answers the frames that are complete now. Repeated messages are
    /// passed over, early ones wait; a message that carries no Output takes its place with no payload.
    pub fn message(&mut self, number: i64, payload: Option<&[u8]>) -> Vec<Frame> {
        if number >= self.next {
            self.early.entry(number).or_insert_with(|| payload.unwrap_or_default().to_vec());
        }
        while let Some(bytes) = self.early.remove(&self.next) {
            self.buffer.extend_from_slice(&bytes);
            self.next += 1;
        }
        std::iter::from_fn(|| self.frame()).collect()
    }

    /// Whether a frame has begun that is not complete.
    #[must_use]
    pub fn in_frame(&self) -> bool {
        !self.buffer.is_empty()
    }

    fn frame(&mut self) -> Option<Frame> {
        let header = self.buffer.get(..8)?;
        assert_eq!(header[0], 1, "smux version");
        let length = usize::from(u16::from_le_bytes([header[2], header[3]]));
        let stream = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        let command = header[1];
        let payload = self.buffer.get(8..8 + length)?.to_vec();
        self.buffer.drain(..8 + length);
        Some(match command {
            0 => Frame::Syn(stream),
            1 => Frame::Fin(stream),
            2 => Frame::Psh(stream, payload),
            3 => Frame::Nop,
            other => panic!("smux command {other}"),
        })
    }
}
