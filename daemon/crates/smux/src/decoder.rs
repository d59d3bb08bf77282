//! Incremental parser: takes the byte stream cut anywhere and hands out headers and payload as they arrive.

use bytes::{Buf, Bytes};

use crate::{Command, Header, ProtocolError, StreamId, frame::HEADER_LEN};

/// What the parser found next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// A SYN.
    Syn(StreamId),
    /// A FIN.
    Fin(StreamId),
    /// Some or all of the payload of a PSH; never empty. A slice of the input, not a copy.
    Data(StreamId, Bytes),
}

/// Where in a frame the last piece of input ended.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The first `filled` bytes of a header that was cut.
    partial: [u8; HEADER_LEN],
    filled: usize,
    /// Payload of the current PSH still to come, and whose it is.
    body: Option<(StreamId, usize)>,
}

impl Decoder {
    /// Next item in `input`, which is consumed on the way; `None` once it is used up.
    pub(crate) fn next(&mut self, input: &mut Bytes) -> Result<Option<Item>, ProtocolError> {
        while !input.is_empty() {
            if let Some((id, remaining)) = self.body {
                let data = input.split_to(remaining.min(input.len()));
                let left = remaining - data.len();
                self.body = (left > 0).then_some((id, left));
                return Ok(Some(Item::Data(id, data)));
            }
            let Some(header) = self.header(input)? else { break };
            match header.command {
                Command::Syn => return Ok(Some(Item::Syn(header.id))),
                Command::Fin => return Ok(Some(Item::Fin(header.id))),
                Command::Nop => {}
                Command::Psh => {
                    let length = usize::from(header.length);
                    self.body = (length > 0).then_some((header.id, length));
                }
            }
        }
        Ok(None)
    }

    fn header(&mut self, input: &mut Bytes) -> Result<Option<Header>, ProtocolError> {
        if self.filled == 0
            && let Some(header) = input.first_chunk::<HEADER_LEN>()
        {
            let header = Header::decode(*header)?;
            input.advance(HEADER_LEN);
            return Ok(Some(header));
        }
        let missing = &mut self.partial[self.filled..];
        let taken = missing.len().min(input.len());
        input.copy_to_slice(&mut missing[..taken]);
        self.filled += taken;
        if self.filled < HEADER_LEN {
            return Ok(None);
        }
        self.filled = 0;
        Header::decode(self.partial).map(Some)
    }
}
