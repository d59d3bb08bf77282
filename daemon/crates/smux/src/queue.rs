//! A queue of bytes that keeps large pieces as they are and copies small ones together.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Pieces below this are copied behind what is queued: a `Bytes` of a few bytes costs far more than it holds and
/// keeps the whole message alive that it was cut from.
const COPY_BELOW: usize = 512;

/// Where copying starts a new piece, so that a reader gets portions of reasonable size.
const MAX_TAIL: usize = 16 * 1024;

/// FIFO of bytes.
#[derive(Debug, Default)]
pub(crate) struct ByteQueue {
    pieces: VecDeque<Bytes>,
    /// Small pieces copied together; comes behind `pieces`.
    tail: BytesMut,
    len: usize,
}

impl ByteQueue {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends; a piece that nothing waits in front of is never copied.
    pub(crate) fn push(&mut self, data: Bytes) {
        let copy = data.len() < COPY_BELOW && !self.is_empty();
        self.len += data.len();
        if !copy || self.tail.len() + data.len() > MAX_TAIL {
            self.seal_tail();
        }
        if copy {
            self.tail.put_slice(&data);
        } else if !data.is_empty() {
            self.pieces.push_back(data);
        }
    }

    /// Takes the front piece.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        if self.pieces.is_empty() {
            self.seal_tail();
        }
        let piece = self.pieces.pop_front()?;
        self.len -= piece.len();
        Some(piece)
    }

    /// Moves `count` bytes (at most `len`) to the end of `out`.
    pub(crate) fn drain_into(&mut self, out: &mut BytesMut, count: usize) {
        let mut missing = count.min(self.len);
        self.len -= missing;
        while missing > 0 {
            if self.pieces.is_empty() {
                self.seal_tail();
            }
            let Some(front) = self.pieces.front_mut() else { break };
            let part = missing.min(front.len());
            out.put_slice(&front[..part]);
            missing -= part;
            if part == front.len() {
                self.pieces.pop_front();
            } else {
                front.advance(part);
            }
        }
    }

    /// Drops everything; answers how much it was.
    pub(crate) fn clear(&mut self) -> usize {
        self.pieces.clear();
        self.tail.clear();
        std::mem::take(&mut self.len)
    }

    fn seal_tail(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_leave_in_the_order_they_came(
            pieces in prop::collection::vec((0_usize..1500, any::<bool>()), 0..60),
        ) {
            let mut queue = ByteQueue::default();
            let (mut came, mut left) = (Vec::new(), BytesMut::new());
            for (number, (size, drain)) in pieces.into_iter().enumerate() {
                let piece = vec![u8::try_from(number).unwrap(); size];
                came.extend_from_slice(&piece);
                queue.push(Bytes::from(piece));
                if drain {
                    queue.drain_into(&mut left, size / 2);
                }
                prop_assert_eq!(queue.len(), came.len() - left.len());
            }
            while let Some(piece) = queue.pop() {
                prop_assert!(!piece.is_empty());
                left.put_slice(&piece);
            }
            prop_assert!(queue.is_empty());
            prop_assert_eq!(&left[..], &came[..]);
        }
    }

    #[test]
    fn many_small_pieces_become_few_large_ones() {
        let mut queue = ByteQueue::default();
        for _ in 0..100_000 {
            queue.push(Bytes::from_static(b"x"));
        }
        assert!(queue.pieces.len() <= 1 + 100_000 / MAX_TAIL);
    }
}
