//! Message ids from a seed: the caller owns entropy, a test owns the sequence.

use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore as _, SeedableRng as _};
use uuid::Uuid;

/// A deterministic stream of version 4 UUIDs.
#[derive(Debug)]
pub(crate) struct IdSource(ChaCha12Rng);

impl IdSource {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha12Rng::from_seed(seed))
    }

    pub(crate) fn next(&mut self) -> Uuid {
        let mut bytes = [0; 16];
        self.0.fill_bytes(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}
