//! What goes wrong when: a list that only the seed decides.
//!
//! Every kind of fault has its turn in each round, in another order each time, so that a run with one whole round has had
//! them all.

use std::time::Duration;

use aws_emulator::{Corruption, Direction, FrameKind, Injection, LineFaults};

use crate::dice::Dice;

/// Milliseconds between two faults. Some last longer, so that they meet.
const BETWEEN: std::ops::RangeInclusive<u64> = 200..=2000;
/// How far a clock steps, in seconds: less than AWS tolerates in a signature.
const CLOCK: u64 = 400;

/// One thing to do at one time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Act {
    /// From the beginning of the run.
    pub(crate) at: Duration,
    pub(crate) what: What,
}

/// What is done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum What {
    /// An order to the emulator.
    Inject(Injection),
    /// The daemon's wall clock is off by this from now on.
    ClockOff {
        /// Seconds ahead.
        seconds: i64,
    },
}

/// A kind of fault that has its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    AgentReconnects,
    BadDigest,
    BadLine,
    BlackHole,
    ClockStep,
    Close,
    Delay,
    Drop,
    GatewayDown,
    InstanceOffline,
    LostAcks,
    OneSidedBlackHole,
    OversizeClose,
    Pauses,
    RefusedUpgrades,
    Throttling,
}

const KINDS: [Kind; 16] = [
    Kind::AgentReconnects,
    Kind::BadDigest,
    Kind::BadLine,
    Kind::BlackHole,
    Kind::ClockStep,
    Kind::Close,
    Kind::Delay,
    Kind::Drop,
    Kind::GatewayDown,
    Kind::InstanceOffline,
    Kind::LostAcks,
    Kind::OneSidedBlackHole,
    Kind::OversizeClose,
    Kind::Pauses,
    Kind::RefusedUpgrades,
    Kind::Throttling,
];

/// The acts of a run of at least `length`, in their order: whole rounds.
pub(crate) fn schedule(seed: u64, length: Duration, instance: &str) -> Vec<Act> {
    let mut writer = Writer { dice: Dice::new(seed, 0), instance, now: Duration::ZERO, acts: Vec::new() };
    while writer.now < length {
        let mut round = KINDS;
        writer.dice.shuffle(&mut round);
        for kind in round {
            writer.now += Duration::from_millis(writer.dice.within(BETWEEN));
            writer.write(kind);
        }
    }
    writer.acts.sort_by_key(|act| act.at);
    writer.acts
}

struct Writer<'a> {
    dice: Dice,
    instance: &'a str,
    now: Duration,
    acts: Vec<Act>,
}

impl Writer<'_> {
    fn write(&mut self, kind: Kind) {
        let dice = &mut self.dice;
        match kind {
            Kind::AgentReconnects => {
                let every_ms = dice.within(300..=900);
                self.inject(Injection::DropAgentEvery { every_ms, times: 3 });
            }
            Kind::BadDigest => self.inject(Injection::Corrupt { corruption: Corruption::BadDigest }),
            Kind::BadLine | Kind::Delay => self.weather(kind),
            Kind::BlackHole => self.outage(|on| Injection::BlackHole { on }),
            Kind::ClockStep => {
                let seconds = dice.within(120..=CLOCK).cast_signed();
                let seconds = if dice.one_in(2) { seconds } else { -seconds };
                self.act(What::ClockOff { seconds });
            }
            Kind::Close => {
                self.inject(Injection::CloseClient { session: None, code: 1000, reason: "Bye".into() });
            }
            Kind::Drop => self.inject(Injection::DropClient { session: None }),
            Kind::GatewayDown => self.outage(|on| Injection::GatewayDown { on }),
            Kind::InstanceOffline => {
                let instance = self.instance.to_owned();
                self.outage(|offline| Injection::InstanceOffline { instance: instance.clone(), offline });
            }
            Kind::LostAcks => {
                for direction in [Direction::ToAgent, Direction::ToClient] {
                    let count = u32::try_from(self.dice.within(2..=12)).unwrap_or(2);
                    self.inject(Injection::LoseNext { direction, frame: FrameKind::Ack, count });
                }
            }
            Kind::OneSidedBlackHole => {
                let direction = dice.pick(&[Direction::ToAgent, Direction::ToClient]);
                self.inject(Injection::OneSidedBlackHole { session: None, direction });
            }
            Kind::OversizeClose => self.inject(Injection::OversizeClose { session: None, bytes: 300 }),
            Kind::Pauses => {
                let every_ms = dice.within(20..=200);
                self.inject(Injection::PauseStorm { every_ms, times: 10 });
            }
            Kind::RefusedUpgrades => {
                self.inject(Injection::RefuseUpgrades { status: 503, count: 2 });
                self.inject(Injection::DropClient { session: None });
            }
            Kind::Throttling => {
                self.inject(Injection::Throttle { count: 2 });
                self.inject(Injection::DropClient { session: None });
            }
        }
    }

    /// The lines until the next change of weather.
    fn weather(&mut self, kind: Kind) {
        for direction in [Direction::ToAgent, Direction::ToClient] {
            let dice = &mut self.dice;
            let mut faults = LineFaults { seed: dice.within(0..=u64::MAX - 1), ..LineFaults::default() };
            if kind == Kind::BadLine {
                faults.loss = dice.per_mille(30);
                faults.duplicate = dice.per_mille(30);
                faults.reorder = dice.per_mille(100);
                faults.reorder_ms = dice.magnitude(1..=64);
            } else {
                faults.latency_ms = dice.within(0..=50);
                faults.jitter_ms = dice.within(10..=200);
                faults.jitter_reorders = dice.one_in(2);
                faults.loss = dice.per_mille(10);
            }
            self.inject(Injection::Line { direction, faults });
        }
    }

    /// Something that begins now and ends by itself.
    fn outage(&mut self, order: impl Fn(bool) -> Injection) {
        self.inject(order(true));
        let end = self.now + Duration::from_millis(self.dice.within(300..=2500));
        self.acts.push(Act { at: end, what: What::Inject(order(false)) });
    }

    fn inject(&mut self, injection: Injection) {
        self.act(What::Inject(injection));
    }

    fn act(&mut self, what: What) {
        self.acts.push(Act { at: self.now, what });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_seed_decides_the_whole_schedule() {
        assert_eq!(schedule(7, MINUTE, "i-1"), schedule(7, MINUTE, "i-1"));
        assert_ne!(schedule(7, MINUTE, "i-1"), schedule(8, MINUTE, "i-1"));
    }

    #[test]
    fn one_round_has_every_kind_of_fault_and_what_begins_ends() {
        let acts = schedule(7, Duration::from_millis(1), "i-1");
        let count = |wanted: &dyn Fn(&What) -> bool| acts.iter().filter(|act| wanted(&act.what)).count();
        assert_eq!(count(&|what| matches!(what, What::ClockOff { .. })), 1);
        assert_eq!(count(&|what| matches!(what, What::Inject(Injection::DropClient { .. }))), 3);
        assert_eq!(count(&|what| matches!(what, What::Inject(Injection::Line { .. }))), 4);
        for on in [true, false] {
            assert_eq!(count(&|what| *what == What::Inject(Injection::BlackHole { on })), 1);
        }
        assert!(acts.is_sorted_by_key(|act| act.at));
    }
}
