//! Chunks on their way to a socket, written with one system call for many: the agent sends 1024 bytes a message.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// A rope of chunks that were never copied.
#[derive(Debug, Default)]
pub(crate) struct ByteQueue {
    chunks: VecDeque<Bytes>,
    length: usize,
}

impl ByteQueue {
    pub(crate) fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.length += chunk.len();
            self.chunks.push_back(chunk);
        }
    }
}

impl Buf for ByteQueue {
    fn remaining(&self) -> usize {
        self.length
    }

    fn chunk(&self) -> &[u8] {
        self.chunks.front().map_or(&[], |chunk| chunk)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = self.chunks.len().min(slices.len());
        slices.iter_mut().zip(&self.chunks).for_each(|(slice, chunk)| *slice = IoSlice::new(chunk));
        filled
    }

    fn advance(&mut self, mut count: usize) {
        self.length -= count;
        while let Some(first) = self.chunks.front_mut() {
            if count < first.len() {
                return first.advance(count);
            }
            count -= first.len();
            self.chunks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_was_pushed_at_any_step() {
        for step in 1..12 {
            let mut queue = ByteQueue::default();
            ["st", "", "orm", "tunnel"].into_iter().for_each(|text| queue.push(Bytes::from(text)));
            let mut read = Vec::new();
            while queue.has_remaining() {
                let mut slices = [IoSlice::new(&[]); 2];
                let filled = queue.chunks_vectored(&mut slices);
                let seen: Vec<u8> =
                    slices[..filled].iter().flat_map(|slice| slice.to_vec()).take(step).collect();
                queue.advance(seen.len());
                read.extend(seen);
            }
            assert_eq!(read, b"stormtunnel", "in steps of {step}");
        }
    }
}
