//! The send window: how many bytes may be on their way.
//!
//! Twice the product of delivered rate and minimum round trip: enough to keep the path busy, little enough that a new
//! connection's first byte does not queue behind a bulk upload. On a short path it is the wake-ups of the programs along
//! it that count, and not its length: some milliseconds' worth in any case. The measurement follows BBR: each message remembers
//! how much had been delivered when it left, its acknowledgement gives one sample of the rate, and the best sample of
//! the last rounds counts. Samples taken while the application had nothing to send say nothing about the path.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Window before anything was measured.
const INITIAL: usize = 256 << 10;
/// Upper bound, whatever was measured.
const MAX: usize = 4 << 20;
/// Lower bound: four payloads of the usual size, so that acknowledgements always have something to clock.
const MIN: usize = 64 << 10;
/// What the programs along the path may sleep: without it a path of 0.1 ms would be given what fills 0.2 ms, and stand idle
/// whenever one of them wakes up late.
const WAKE_UPS: Duration = Duration::from_millis(4);
/// Rounds (one window's worth of acknowledgements each) that a rate sample counts.
const ROUNDS: usize = 8;
/// A minimum round trip older than this is measured again.
const MIN_RTT_LIFETIME: Duration = Duration::from_secs(10);
/// How long the window is kept at its lower bound to drain queues for that measurement: 2 % of the time.
const DRAIN: Duration = Duration::from_millis(200);

/// What a message remembers about the moment it left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Departure {
    delivered: u64,
    delivered_at: Instant,
    starved: bool,
}

/// Window state of one sender.
#[derive(Clone, Debug)]
pub(crate) struct SendWindow {
    limit: usize,
    delivered: u64,
    delivered_at: Instant,
    /// Samples are unreliable until more than this was delivered: the application had left the path idle before it.
    starved_until: Option<u64>,
    round_ends_at: u64,
    /// Bytes per second, best of each of the last rounds, newest last.
    rates: VecDeque<u64>,
    min_rtt: Option<Duration>,
    min_rtt_at: Instant,
    drain_until: Option<Instant>,
}

impl SendWindow {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            limit: INITIAL,
            delivered: 0,
            delivered_at: now,
            starved_until: None,
            round_ends_at: 0,
            rates: VecDeque::from([0]),
            min_rtt: None,
            min_rtt_at: now,
            drain_until: None,
        }
    }

    /// Bytes that may be unacknowledged.
    pub(crate) fn limit(&self) -> usize {
        if self.drain_until.is_some() { MIN } else { self.limit }
    }

    /// The shortest round trip seen lately.
    pub(crate) fn min_rtt(&self) -> Option<Duration> {
        self.min_rtt
    }

    /// To be kept with a message that leaves now while `in_flight` bytes are on their way.
    pub(crate) fn departure(&mut self, in_flight: usize, now: Instant) -> Departure {
        if in_flight == 0 {
            // The clock of a rate sample must not run through the idle time before it.
            self.delivered_at = now;
        }
        Departure {
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            starved: self.starved_until.is_some_and(|until| self.delivered <= until),
        }
    }

    /// There was room and nothing to send.
    pub(crate) fn starve(&mut self, in_flight: usize) {
        self.starved_until = Some(self.delivered + in_flight as u64);
    }

    /// A message was acknowledged. `rtt` is absent if it had been sent more than once.
    pub(crate) fn acknowledged(
        &mut self,
        bytes: usize,
        departure: &Departure,
        rtt: Option<Duration>,
        now: Instant,
    ) {
        self.delivered += bytes as u64;
        self.delivered_at = now;
        let Some(rtt) = rtt else { return };
        self.measure_min_rtt(rtt, now);
        self.measure_rate(departure, now);
        if departure.delivered >= self.round_ends_at {
            self.end_round(departure.starved);
        }
    }

    /// The path is a new one: what was measured on the old one is void.
    pub(crate) fn restart(&mut self, now: Instant) {
        let delivered = self.delivered;
        *self =
            Self { delivered, starved_until: Some(delivered), round_ends_at: delivered, ..Self::new(now) };
    }

    fn measure_min_rtt(&mut self, rtt: Duration, now: Instant) {
        if self.drain_until.is_some_and(|until| now >= until) {
            self.drain_until = None;
        }
        if self.min_rtt.is_none_or(|min| rtt <= min) {
            (self.min_rtt, self.min_rtt_at) = (Some(rtt), now);
        } else if now - self.min_rtt_at > MIN_RTT_LIFETIME {
            // Start over with this sample; the drained path will bring it down to the truth.
            (self.min_rtt, self.min_rtt_at) = (Some(rtt), now);
            self.drain_until = Some(now + DRAIN + rtt);
        }
    }

    fn measure_rate(&mut self, departure: &Departure, now: Instant) {
        let interval = (now - departure.delivered_at).max(Duration::from_micros(1));
        let delivered = self.delivered - departure.delivered;
        let rate =
            u64::try_from(u128::from(delivered) * 1_000_000 / interval.as_micros()).unwrap_or(u64::MAX);
        let best = self.rates.iter().copied().max().unwrap_or(0);
        if let Some(newest) = self.rates.back_mut()
            && (!departure.starved || rate > best)
        {
            *newest = rate.max(*newest);
        }
    }

    fn end_round(&mut self, starved: bool) {
        self.round_ends_at = self.delivered;
        let best = self.rates.iter().copied().max().unwrap_or(0);
        if let Some(min_rtt) = self.min_rtt
            && self.drain_until.is_none()
        {
            let filled = min_rtt + min_rtt.max(WAKE_UPS);
            let product = u128::from(best) * filled.as_micros() / 1_000_000;
            let target = usize::try_from(product).unwrap_or(MAX).clamp(MIN, MAX);
            // A starved round proves nothing too small, so it may only widen.
            self.limit = if starved { self.limit.max(target) } else { target };
        }
        if !starved {
            self.rates.push_back(0);
            if self.rates.len() > ROUNDS {
                self.rates.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any instant serves as the origin of a virtual clock")]
    fn origin() -> Instant {
        Instant::now()
    }

    /// Sends 16 KiB messages as the window allows over a path of `rate` bytes/s and `delay`, for `time`.
    fn run(window: &mut SendWindow, start: Instant, rate: u64, delay: Duration, time: Duration) -> usize {
        const SIZE: usize = 16 << 10;
        let serial = Duration::from_micros(SIZE as u64 * 1_000_000 / rate);
        let mut flight: VecDeque<(Instant, Instant, Departure)> = VecDeque::new();
        let (mut now, mut free_at, mut delivered) = (start, start, 0);
        while now < start + time {
            while flight.len() * SIZE < window.limit() {
                let departure = window.departure(flight.len() * SIZE, now);
                free_at = free_at.max(now) + serial;
                flight.push_back((now, free_at + delay, departure));
            }
            let (sent, back, departure) = flight.pop_front().unwrap();
            now = now.max(back);
            window.acknowledged(SIZE, &departure, Some(now - sent), now);
            delivered += SIZE;
        }
        delivered
    }

    #[test]
    fn grows_to_fill_a_long_fat_path() {
        let start = origin();
        let mut window = SendWindow::new(start);
        let delay = Duration::from_millis(100);
        run(&mut window, start, 10_000_000, delay, Duration::from_secs(5));
        // 10 MB/s x 100 ms = 1 MB; twice that.
        assert!((1_600_000..=2_400_000).contains(&window.limit()), "{}", window.limit());
    }

    #[test]
    fn shrinks_on_a_slow_path_so_that_queues_stay_short() {
        let start = origin();
        let mut window = SendWindow::new(start);
        run(&mut window, start, 1_000_000, Duration::from_millis(20), Duration::from_secs(5));
        // 1 MB/s x 36 ms: the lower bound is more.
        assert!(window.limit() < 100_000, "{}", window.limit());
    }

    /// As on one machine, where a message's way is short and a sleeping program's is not.
    #[test]
    fn a_short_path_is_not_starved_by_late_wake_ups() {
        let start = origin();
        let mut window = SendWindow::new(start);
        run(&mut window, start, 200_000_000, Duration::from_micros(100), Duration::from_secs(2));
        // 200 MB/s x 4.3 ms.
        assert!((700_000..=1_000_000).contains(&window.limit()), "{}", window.limit());
    }

    #[test]
    fn recovers_when_the_path_becomes_longer() {
        let start = origin();
        let mut window = SendWindow::new(start);
        run(&mut window, start, 10_000_000, Duration::from_millis(2), Duration::from_secs(5));
        let later = start + Duration::from_secs(5);
        let long = Duration::from_millis(100);
        run(&mut window, later, 10_000_000, long, Duration::from_secs(30));
        let delivered =
            run(&mut window, later + Duration::from_secs(30), 10_000_000, long, Duration::from_secs(5));
        assert!(delivered > 35_000_000, "{delivered} of 50 MB possible");
    }

    #[test]
    fn an_application_that_sends_little_does_not_shrink_it() {
        let start = origin();
        let mut window = SendWindow::new(start);
        for step in 1..200u64 {
            let now = start + Duration::from_millis(step * 50);
            window.starve(0);
            let departure = window.departure(0, now);
            window.starve(10);
            window.acknowledged(
                10,
                &departure,
                Some(Duration::from_millis(1)),
                now + Duration::from_millis(1),
            );
        }
        assert_eq!(window.limit(), INITIAL);
    }

    #[test]
    fn never_exceeds_four_mebibytes() {
        let start = origin();
        let mut window = SendWindow::new(start);
        run(&mut window, start, 500_000_000, Duration::from_millis(300), Duration::from_secs(10));
        assert_eq!(window.limit(), MAX);
    }
}
