//! Random choices that only a seed decides.

use std::ops::RangeInclusive;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore as _, SeedableRng as _};

/// A source of choices. Sources of one seed with different streams are independent of each other.
#[derive(Clone, Debug)]
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// A number of a range.
    pub(crate) fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = range.into_inner();
        low + self.0.next_u64() % (high - low + 1)
    }

    /// A number of a range, small ones as often as large ones of each magnitude.
    pub(crate) fn magnitude(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = range.into_inner();
        let doublings = (high / low).ilog2();
        let top = low << self.within(0..=u64::from(doublings));
        self.within(low..=top.clamp(low, high))
    }

    /// True once in `n`.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.within(1..=n) == 1
    }

    /// A probability of at most that many per mille.
    pub(crate) fn per_mille(&mut self, most: u64) -> f64 {
        self.within(0..=most) as f64 / 1000.0
    }

    /// One of some.
    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        let last = u64::try_from(of.len().saturating_sub(1)).unwrap_or_default();
        of[usize::try_from(self.within(0..=last)).unwrap_or_default()]
    }

    /// Another order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            let other = self.within(0..=end as u64);
            items.swap(end, usize::try_from(other).unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_and_a_stream_decide_everything() {
        let throw = |seed, stream| {
            let mut dice = Dice::new(seed, stream);
            [(); 8].map(|()| dice.within(0..=1000))
        };
        assert_eq!(throw(1, 2), throw(1, 2));
        assert_ne!(throw(1, 2), throw(1, 3));
        assert_ne!(throw(1, 2), throw(2, 2));
    }

    #[test]
    fn choices_stay_in_their_range_and_reach_its_ends() {
        let mut dice = Dice::new(7, 0);
        let numbers: Vec<u64> = (0..2000).map(|_| dice.within(3..=6)).collect();
        assert_eq!((numbers.iter().min(), numbers.iter().max()), (Some(&3), Some(&6)));
        let sizes: Vec<u64> = (0..2000).map(|_| dice.magnitude(1..=1 << 20)).collect();
        assert!(sizes.iter().all(|size| (1..=1 << 20).contains(size)));
        assert!(sizes.contains(&1) && sizes.iter().any(|size| *size > 1 << 19));
        let mut items: Vec<u64> = (0..20).collect();
        dice.shuffle(&mut items);
        assert_ne!(items, (0..20).collect::<Vec<u64>>());
        items.sort_unstable();
        assert_eq!(items, (0..20).collect::<Vec<u64>>());
    }
}
