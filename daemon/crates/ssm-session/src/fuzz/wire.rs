//! What a client session puts on its WebSocket, checked message by message.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use smux::Frame;
use uuid::Uuid;

use crate::event::StreamId;
use crate::kind::{MessageType, PayloadType};
use crate::message::Message;
use crate::payload::Acknowledge;

/// The multiplexer's frame that says nothing.
const NOP: [u8; 8] = [1, 3, 0, 0, 0, 0, 0, 0];
/// Bytes in front of an upload that say whose it is.
const TAG: usize = 4;

/// Bytes after which the content repeats: prime to every size in use, so a piece left out or doubled shows.
const PERIOD: usize = 251;

/// `size` bytes of what a stream carries, beginning with byte `from`. The first ones are its number.
pub(super) fn pattern(stream: StreamId, from: usize, size: usize) -> Bytes {
    let tag = stream.0.to_be_bytes();
    let key = tag[TAG - 1].wrapping_mul(17);
    let block: [u8; PERIOD] = std::array::from_fn(|at| key.wrapping_add(at.to_le_bytes()[0]));
    let mut content = Vec::with_capacity(size + PERIOD);
    content.extend_from_slice(&block[from % PERIOD..]);
    while content.len() < size {
        content.extend_from_slice(&block);
    }
    content.truncate(size);
    for (place, byte) in content.iter_mut().zip(tag.iter().skip(from)) {
        *place = *byte;
    }
    content.into()
}

/// Reads what arrives of one direction of a stream.
#[derive(Debug, Default)]
pub(super) struct Reader {
    tag: Vec<u8>,
    pub(super) received: usize,
}

impl Reader {
    /// Panics if `data` is not what its writer wrote next.
    pub(super) fn take(&mut self, data: &[u8]) {
        let missing = TAG - self.tag.len();
        let (tag, body) = data.split_at(missing.min(data.len()));
        self.tag.extend_from_slice(tag);
        self.received += tag.len();
        if let Some(stream) = self.writer() {
            let right = body == pattern(stream, self.received, body.len());
            assert!(right, "stream {stream}: {} wrong bytes at {}", body.len(), self.received);
            self.received += body.len();
        }
    }

    /// Whose data it is, once that can be known.
    pub(super) fn writer(&self) -> Option<StreamId> {
        Some(StreamId(u32::from_be_bytes(self.tag.as_slice().try_into().ok()?)))
    }
}

/// One stream of the multiplexer.
#[derive(Debug, Default)]
struct Upload {
    reader: Reader,
    finished: bool,
}

/// Everything that went either way.
#[derive(Debug, Default)]
pub(super) struct Wire {
    /// Data messages that the session got, whole and intact.
    arrived: BTreeSet<(i64, Uuid)>,
    sent: Vec<(PayloadType, Bytes)>,
    uploads: BTreeMap<smux::StreamId, Upload>,
    /// Bytes that the session accepted for a stream.
    accepted: BTreeMap<StreamId, usize>,
    pub(super) responses: usize,
}

impl Wire {
    /// The session is given this frame.
    pub(super) fn arrives(&mut self, frame: &Bytes) {
        if let Ok(message) = Message::decode(frame.clone())
            && message.message_type == MessageType::OutputStreamData
            && message.digest_matches()
        {
            self.arrived.insert((message.sequence_number, message.message_id));
        }
    }

    /// The next bytes to write to a stream.
    pub(super) fn to_write(&self, stream: StreamId, size: usize) -> Bytes {
        pattern(stream, self.accepted(stream), size)
    }

    /// The session took that much of it.
    pub(super) fn wrote(&mut self, stream: StreamId, size: usize) {
        *self.accepted.entry(stream).or_default() += size;
    }

    /// Bytes written to a stream.
    pub(super) fn accepted(&self, stream: StreamId) -> usize {
        self.accepted.get(&stream).copied().unwrap_or(0)
    }

    /// Panics if more than `limit` bytes of some stream are held back.
    pub(super) fn check_buffers(&self, limit: usize) {
        let mut sent: BTreeMap<StreamId, usize> = BTreeMap::new();
        for upload in self.uploads.values() {
            if let Some(stream) = upload.reader.writer() {
                sent.insert(stream, upload.reader.received);
            }
        }
        for (stream, accepted) in &self.accepted {
            let held = accepted - sent.get(stream).copied().unwrap_or(0);
            assert!(held <= limit + TAG, "stream {stream} holds {held} bytes");
        }
    }

    /// Numbers given out so far.
    pub(super) fn count(&self) -> usize {
        self.sent.len()
    }

    /// The session sends this frame.
    pub(super) fn leaves(&mut self, frame: &Bytes) {
        let Ok(message) = Message::decode(frame.clone()) else { panic!("our own message is malformed") };
        assert!(message.digest_matches() && !message.payload.is_empty());
        if message.message_type == MessageType::Acknowledge {
            return self.acknowledge(&message);
        }
        assert_eq!(message.message_type, MessageType::InputStreamData, "a client sends nothing else");
        self.data(&message);
    }

    fn acknowledge(&self, message: &Message) {
        let Ok(body) = serde_json::from_slice::<Acknowledge>(&message.payload) else {
            panic!("our own acknowledgement is malformed")
        };
        let named = (body.acknowledged_message_sequence_number, body.acknowledged_message_id);
        assert!(self.arrived.contains(&named), "acknowledged and never received: {named:?}");
        assert_eq!(body.acknowledged_message_type, MessageType::OutputStreamData.name());
        assert!(body.is_sequential_message && message.sequence_number == 0);
    }

    fn data(&mut self, message: &Message) {
        let Ok(number) = usize::try_from(message.sequence_number) else { panic!("a negative number") };
        assert!(number <= self.sent.len(), "a number was skipped");
        if let Some((kind, payload)) = self.sent.get(number) {
            let same = *payload == message.payload;
            assert!(*kind == message.payload_type && (same || is_idle(payload) && is_idle(&message.payload)));
            return;
        }
        self.sent.push((message.payload_type, message.payload.clone()));
        let kind = message.payload_type;
        if kind == PayloadType::Output {
            return self.frames(message.payload.clone());
        }
        self.responses += usize::from(kind == PayloadType::HandshakeResponse);
        assert!(
            [PayloadType::HandshakeResponse, PayloadType::Flag].contains(&kind),
            "a client sends no {kind:?}"
        );
    }

    /// Multiplexer frames are never cut across messages.
    fn frames(&mut self, mut payload: Bytes) {
        while let Ok(Some(frame)) = Frame::decode(&mut payload) {
            match frame {
                Frame::Syn(id) => {
                    assert!(self.uploads.insert(id, Upload::default()).is_none(), "stream {id} opened twice");
                }
                Frame::Fin(id) => {
                    let upload = self.open_upload(id);
                    upload.finished = true;
                }
                Frame::Psh(id, data) => {
                    let upload = self.open_upload(id);
                    upload.reader.take(&data);
                    let (writer, received) = (upload.reader.writer(), upload.reader.received);
                    assert!(
                        writer.is_none_or(|stream| received <= self.accepted(stream)),
                        "more than written"
                    );
                }
                Frame::Nop => {}
            }
        }
        assert!(payload.is_empty(), "a frame was cut");
    }

    fn open_upload(&mut self, id: smux::StreamId) -> &mut Upload {
        match self.uploads.get_mut(&id) {
            Some(upload) if !upload.finished => upload,
            Some(_) => panic!("something follows the FIN of stream {id}"),
            None => panic!("something precedes the SYN of stream {id}"),
        }
    }
}

/// Nothing but NOPs: the only content that may change between two sendings of a number.
fn is_idle(payload: &[u8]) -> bool {
    payload.chunks(NOP.len()).all(|frame| frame == NOP)
}
