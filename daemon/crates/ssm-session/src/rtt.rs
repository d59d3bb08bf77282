//! Round-trip time and retransmission timeout.
//!
//! The estimator is that of AWS's client and agent (RFC 6298 with alpha 1/8, beta 1/4 and a 10 ms granularity), the
//! bounds are ours: never below 200 ms, because the agent acknowledges from the thread that writes to the destination.

use std::time::Duration;

/// Starting value of the smoothed round-trip time, from the official programs.
const INITIAL_RTT: Duration = Duration::from_millis(100);
/// Starting value and lower bound of the timeout.
const MIN_RTO: Duration = Duration::from_millis(200);
/// Upper bound of the timeout, back-off included: a peer that comes back is found within this time.
pub(crate) const MAX_RTO: Duration = Duration::from_secs(10);
/// Clock granularity of the official programs.
const GRANULARITY: Duration = Duration::from_millis(10);

/// The estimator. Feed it only messages that were sent once (Karn's rule).
#[derive(Clone, Debug)]
pub struct RttEstimator {
    smoothed: Duration,
    variation: Duration,
    rto: Duration,
}

impl Default for RttEstimator {
    fn default() -> Self {
        Self { smoothed: INITIAL_RTT, variation: Duration::ZERO, rto: MIN_RTO }
    }
}

impl RttEstimator {
    /// Takes one measured round trip in.
    pub fn sample(&mut self, measured: Duration) {
        self.variation = self.variation * 3 / 4 + self.smoothed.abs_diff(measured) / 4;
        self.smoothed = self.smoothed * 7 / 8 + measured / 8;
        self.rto = (self.smoothed + GRANULARITY.max(self.variation * 4)).clamp(MIN_RTO, MAX_RTO);
    }

    /// The smoothed round-trip time.
    #[must_use]
    pub fn smoothed(&self) -> Duration {
        self.smoothed
    }

    /// The timeout of a first transmission.
    #[must_use]
    pub fn rto(&self) -> Duration {
        self.rto
    }

    /// The timeout after `transmissions` sendings of the same message: doubled for each but the first.
    #[must_use]
    pub fn backed_off(&self, transmissions: u32) -> Duration {
        let doublings = transmissions.saturating_sub(1).min(16);
        self.rto.saturating_mul(1 << doublings).min(MAX_RTO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn starts_with_the_official_constants() {
        let rtt = RttEstimator::default();
        assert_eq!((rtt.smoothed(), rtt.rto()), (ms(100), ms(200)));
    }

    #[test]
    fn updates_variation_before_the_mean() {
        let mut rtt = RttEstimator::default();
        rtt.sample(ms(500));
        // variation 0 * 3/4 + 400/4 = 100; mean 100 * 7/8 + 500/8 = 150; 150 + 4 * 100 = 550.
        assert_eq!((rtt.smoothed(), rtt.rto()), (ms(150), ms(550)));
        rtt.sample(ms(150));
        // variation 75; mean 150; 150 + 300 = 450.
        assert_eq!((rtt.smoothed(), rtt.rto()), (ms(150), ms(450)));
    }

    #[test]
    fn a_fast_link_never_goes_below_200_ms() {
        let mut rtt = RttEstimator::default();
        for _ in 0..100 {
            rtt.sample(ms(1));
        }
        assert_eq!(rtt.rto(), ms(200));
    }

    #[test]
    fn back_off_doubles_up_to_ten_seconds() {
        let rtt = RttEstimator::default();
        let timeouts: Vec<_> = (1..=8).map(|sent| rtt.backed_off(sent).as_millis()).collect();
        assert_eq!(timeouts, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(rtt.backed_off(u32::MAX), MAX_RTO);
    }
}
