//! Whether a download waits for the agent's way of sending again.
//!
//! AWS's agent sends only its oldest unacknowledged message again, one each 100 ms. After a loss of many messages
//! their successors wait here, however fast each is acknowledged, and the user deserves to know whose pace that is. The
//! signs: gaps are filled one at a time, far apart, long after their loss was plain, and behind each is another one.
//! Messages that merely overtake each other, and an agent that sends everything again at once, show only some of them.

use std::time::{Duration, Instant};

/// A gap this old was not filled by a message that was late, nor after the agent's timeout, which is 1 s at most.
const OLD: Duration = Duration::from_secs(1);
/// Half of the agent's interval.
const APART: Duration = Duration::from_millis(50);
/// Such gaps in a row.
const IN_A_ROW: u32 = 3;
/// How long no such gap has been filled, since the last one was closed, when it is over: on a path that loses messages
/// all the time it would begin and end every second otherwise.
const CALM: Duration = Duration::from_secs(2);

/// Watches the gaps of one receiver.
#[derive(Debug, Default)]
pub(super) struct GapWatch {
    filled_at: Option<Instant>,
    /// Filled slowly, in a row.
    slow: u32,
    limited: bool,
    calm_since: Option<Instant>,
}

impl GapWatch {
    /// A gap was filled whose first successor has waited so long; behind it comes another one, or not.
    pub(super) fn filled(&mut self, waited: Duration, another: bool, now: Instant) {
        let apart = self.filled_at.replace(now).is_none_or(|at| now - at >= APART);
        if another && apart && waited >= OLD {
            self.slow += 1;
            self.calm_since = None;
            self.limited |= self.slow >= IN_A_ROW;
        } else {
            self.slow = 0;
        }
        if !another {
            self.calm_since = Some(now);
        }
    }

    /// Whether the agent's pace is the limit.
    pub(super) fn is_limited(&mut self, now: Instant) -> bool {
        if self.ends_at().is_some_and(|at| at <= now) {
            self.limited = false;
        }
        self.limited
    }

    /// When it stops being the limit, if nothing happens before.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        self.calm_since.filter(|_| self.limited).map(|since| since + CALM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any instant serves as the origin of a virtual clock")]
    fn origin() -> Instant {
        Instant::now()
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn old_gaps_filled_one_at_a_time_are_the_agents_pace() {
        let start = origin();
        let mut gaps = GapWatch::default();
        for step in 0..20 {
            let now = start + ms(step * 100);
            gaps.filled(ms(200 + step * 100), true, now);
            assert_eq!(gaps.is_limited(now), step >= 10, "{step}");
        }
        let end = start + ms(2_000);
        gaps.filled(ms(2_200), false, end);
        assert!(gaps.is_limited(end + CALM - ms(1)));
        assert_eq!(gaps.ends_at(), Some(end + CALM));
        assert!(!gaps.is_limited(end + CALM));
        assert_eq!(gaps.ends_at(), None);
    }

    #[test]
    fn losses_that_go_on_do_not_end_it_each_time() {
        let start = origin();
        let mut gaps = GapWatch::default();
        (0..5).for_each(|step| gaps.filled(OLD, true, start + ms(step * 100)));
        gaps.filled(OLD, false, start + ms(500));
        gaps.filled(OLD, true, start + ms(1_900));
        assert_eq!(gaps.ends_at(), None);
        assert!(gaps.is_limited(start + ms(9_000)));
    }

    #[test]
    fn late_messages_and_quick_repairs_are_not() {
        let start = origin();
        let mut gaps = GapWatch::default();
        for step in 0..100 {
            gaps.filled(ms(400), true, start + ms(step * 100));
        }
        for step in 0..100 {
            gaps.filled(ms(5_000), true, start + ms(20_000 + step));
        }
        for step in 0..100 {
            gaps.filled(ms(5_000), false, start + ms(30_000 + step * 100));
        }
        assert!(!gaps.is_limited(start + ms(40_000)));
    }
}
