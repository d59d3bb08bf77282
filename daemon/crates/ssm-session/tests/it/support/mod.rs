//! Both roles under one virtual clock, with a gateway between them that loses, doubles, delays and disconnects.

pub(crate) mod apps;
pub(crate) mod leg;
pub(crate) mod pair;

use std::time::{Duration, Instant};

use ssm_session::Now;

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// An arbitrary origin of virtual time.
#[expect(clippy::disallowed_methods, reason = "any instant serves as the origin of a virtual clock")]
pub(crate) fn origin() -> Now {
    Now::new(Instant::now(), 1_700_000_000_000)
}

/// Small deterministic generator (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// True in `per_mille` of 1000 cases.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}
