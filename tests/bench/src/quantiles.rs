//! Quantiles of durations.

use std::time::Duration;

/// Samples of one figure.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quantiles {
    samples: Vec<Duration>,
}

impl Quantiles {
    pub(crate) fn extend(&mut self, samples: impl IntoIterator<Item = Duration>) {
        self.samples.extend(samples);
    }

    /// The least sample that at least `part` (0 to 1) of all samples do not exceed; zero without samples.
    pub(crate) fn at(&self, part: f64) -> Duration {
        let mut sorted = self.samples.clone();
        sorted.sort_unstable();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "there are few samples, and the product is not negative"
        )]
        let rank = (part * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.max(1) - 1).copied().unwrap_or_default()
    }

    /// The same in milliseconds.
    pub(crate) fn millis(&self, part: f64) -> f64 {
        self.at(part).as_secs_f64() * 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(millis: impl IntoIterator<Item = u64>) -> Quantiles {
        Quantiles { samples: millis.into_iter().map(Duration::from_millis).collect() }
    }

    #[test]
    fn a_quantile_is_a_sample() {
        let hundred = of((1..=100).rev());
        assert_eq!(hundred.at(0.5), Duration::from_millis(50));
        assert_eq!(hundred.at(0.99), Duration::from_millis(99));
        assert_eq!(hundred.at(1.0), Duration::from_millis(100));
        assert_eq!(hundred.at(0.0), Duration::from_millis(1));
    }

    #[test]
    fn few_samples_are_enough() {
        assert_eq!(of([7]).at(0.99), Duration::from_millis(7));
        assert_eq!(of([3, 1]).at(0.5), Duration::from_millis(1));
        assert_eq!(of([]).at(0.5), Duration::ZERO);
    }
}
