//! The sessions of one tunnel, each driven by a machine of its own: the lane that every tunnel has, and further ones that
//! come and go with the connections.
//!
//! Answers find their machine by their attempt: those of lane n are n modulo [`LANES`].

use std::collections::BTreeMap;
use std::fmt;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use stormtunnel_model::Attempt;

use crate::clock::Now;
use crate::ports::SessionGrant;
use crate::tunnel::machine::{Command, Input, LANES, TunnelMachine};
use crate::tunnel::politeness::{Turn, Turned};

/// For how long a further lane may carry nothing before its session is ended.
const LINGER: Duration = Duration::from_secs(60);
/// How long no further lane is opened after one has failed: what does not work is not tried for every connection.
const COOL_DOWN: Duration = Duration::from_secs(15);

/// One of the machines, and what belongs to its work.
pub(crate) struct Lane {
    pub(crate) machine: TunnelMachine,
    /// What the next dial needs.
    pub(crate) grant: Option<SessionGrant>,
    /// The turn of the next StartSession among all those of its account.
    pub(crate) admission: Option<Admission>,
    /// The machine's last word on when it wants to be called.
    pub(crate) due: Option<Instant>,
    /// Bytes that its session had carried at that time, and their rate before.
    sample: Option<(Instant, u64)>,
    rate: u64,
}

pub(crate) struct Admission {
    pub(crate) attempt: Attempt,
    pub(crate) turn: Turn,
}

/// All lanes of a tunnel.
pub(crate) struct Lanes {
    /// The one that every tunnel has: its machine decides about the listener too.
    pub(crate) main: Lane,
    further: BTreeMap<u64, Lane>,
    /// Last attempts of lanes that are gone.
    last: BTreeMap<u64, Attempt>,
    cools_until: Option<Instant>,
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes").field("further", &self.further.keys()).finish_non_exhaustive()
    }
}

impl Lane {
    fn new(machine: TunnelMachine) -> Self {
        Self { machine, grant: None, admission: None, due: None, sample: None, rate: 0 }
    }

    /// Bytes per second of its session lately, which has carried `bytes` by now.
    pub(crate) fn rate(&mut self, bytes: u64, now: Instant) -> u64 {
        // Long enough to be a rate, short enough to be the present.
        const SPAN: Duration = Duration::from_millis(500);
        let Some((at, before)) = self.sample.filter(|(_, before)| *before <= bytes) else {
            self.sample = Some((now, bytes));
            self.rate = 0;
            return 0;
        };
        let span = now.saturating_duration_since(at);
        if span >= SPAN {
            let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
            self.rate = (bytes - before).saturating_mul(1000) / millis;
            self.sample = Some((now, bytes));
        }
        self.rate
    }
}

impl Lanes {
    pub(crate) fn new(main: TunnelMachine) -> Self {
        Self { main: Lane::new(main), further: BTreeMap::new(), last: BTreeMap::new(), cools_until: None }
    }

    /// The lane that asked for work with that number. A further one that is gone asks for nothing any more.
    pub(crate) fn of(&mut self, attempt: Attempt) -> Option<&mut Lane> {
        match attempt.0 % LANES {
            0 => Some(&mut self.main),
            number => self.further.get_mut(&number),
        }
    }

    /// All of them, the main one first, with their numbers.
    pub(crate) fn all(&mut self) -> impl Iterator<Item = (u64, &mut Lane)> {
        let further = self.further.iter_mut().map(|(number, lane)| (*number, lane));
        std::iter::once((0, &mut self.main)).chain(further)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        1 + self.further.len()
    }

    /// Whether the main one is alone.
    pub(crate) fn is_one(&self) -> bool {
        self.further.is_empty()
    }

    /// The attempt of a lane whose StartSession has its turn now, or none when one is expected at another time.
    pub(crate) fn poll_admitted(&mut self, cx: &mut Context<'_>) -> Poll<Option<Attempt>> {
        for (_, lane) in self.all() {
            let Some(Admission { attempt, turn }) = &mut lane.admission else { continue };
            match turn.poll(cx) {
                Poll::Ready(Turned::Now) => {
                    let attempt = *attempt;
                    lane.admission = None;
                    return Poll::Ready(Some(attempt));
                }
                Poll::Ready(Turned::Moved) => return Poll::Ready(None),
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }

    /// Gives up the turns of sessions that are not wanted any more.
    pub(crate) fn leave_queue(&mut self) {
        for (_, Lane { machine, admission, .. }) in self.all() {
            admission.take_if(|admission| !machine.wants_session(admission.attempt));
        }
    }

    /// A local connection waits: the tunnel's StartSession goes before those that nobody waits for.
    pub(crate) fn hurry(&mut self) {
        if let Some(admission) = &mut self.main.admission {
            admission.turn.hurry();
        }
    }

    /// When one of the machines wants to be called.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.further.values().filter_map(|lane| lane.due).chain(self.main.due).min()
    }

    /// Opens further lanes until there are `wanted`, unless one has failed lately.
    pub(crate) fn open(&mut self, wanted: usize, mut seed: impl FnMut() -> [u8; 32], now: Now) {
        if self.cools_until.is_some_and(|until| until > now.mono) {
            return;
        }
        while self.count() < wanted
            && let Some(number) = (1..LANES).find(|number| !self.further.contains_key(number))
        {
            let last = self.last.remove(&number).unwrap_or(Attempt(number));
            let mut lane = Lane::new(TunnelMachine::lane(seed(), last));
            lane.machine.handle_input(Input::Command(Command::Run), now);
            self.further.insert(number, lane);
        }
    }

    /// Ends every further lane.
    pub(crate) fn close_all(&mut self, now: Now) {
        for lane in self.further.values_mut() {
            lane.machine.handle_input(Input::Command(Command::Stop), now);
        }
    }

    /// Ends further lanes that failed, and those beyond `wanted` that carried nothing for a while; `unused_for` tells.
    /// Forgets those that have come to an end.
    pub(crate) fn tidy(&mut self, wanted: usize, now: Now, unused_for: impl Fn(&TunnelMachine) -> Duration) {
        let mut count = self.count();
        for lane in self.further.values_mut().rev() {
            let machine = &mut lane.machine;
            let failed = machine.has_failed();
            if failed {
                self.cools_until = Some(now.mono + COOL_DOWN);
            }
            let unused = count > wanted && machine.session_up().is_some() && unused_for(machine) >= LINGER;
            if failed || unused || machine.is_idle() {
                count -= 1;
                machine.handle_input(Input::Command(Command::Stop), now);
            }
        }
        let last = &mut self.last;
        self.further.retain(|number, lane| {
            let over = lane.machine.is_stopped();
            if over {
                last.insert(*number, lane.machine.last_attempt());
            }
            !over
        });
    }

    /// When [`Lanes::tidy`] may find another lane to end.
    pub(crate) fn lingers(&self) -> Option<Duration> {
        (!self.further.is_empty()).then_some(LINGER)
    }
}

#[cfg(test)]
mod tests {
    use stormtunnel_model::Timestamp;

    use super::*;

    fn now() -> Now {
        Now { mono: tokio::time::Instant::now().into_std(), wall: Timestamp::from_millis(1) }
    }

    fn lanes() -> Lanes {
        Lanes::new(TunnelMachine::new([1; 32]))
    }

    #[test]
    fn an_attempt_leads_to_its_lane_and_to_no_later_one() {
        let (mut lanes, now) = (lanes(), now());
        lanes.open(3, || [2; 32], now);
        assert_eq!(lanes.count(), 3);
        let first = lanes.all().map(|(_, lane)| lane.machine.last_attempt()).collect::<Vec<_>>();
        assert_eq!(first, [Attempt(0), Attempt(1 + LANES), Attempt(2 + LANES)]);
        assert!(
            lanes.of(Attempt(1 + LANES)).is_some_and(|lane| lane.machine.wants_session(Attempt(1 + LANES)))
        );
        lanes.close_all(now);
        lanes.tidy(1, now, |_| Duration::ZERO);
        assert!(lanes.is_one());
        lanes.open(2, || [2; 32], now);
        assert!(
            !lanes.of(Attempt(1 + LANES)).is_some_and(|lane| lane.machine.wants_session(Attempt(1 + LANES)))
        );
    }

    #[test]
    fn there_are_never_more_than_the_most() {
        let (mut lanes, now) = (lanes(), now());
        lanes.open(100, || [2; 32], now);
        assert_eq!(lanes.count() as u64, LANES);
    }

    #[test]
    fn a_rate_is_that_of_the_last_span() {
        let mut lane = Lane::new(TunnelMachine::new([1; 32]));
        let start = now().mono;
        assert_eq!(lane.rate(1_000_000, start), 0, "nothing is known yet");
        assert_eq!(lane.rate(1_500_000, start + Duration::from_millis(499)), 0);
        assert_eq!(lane.rate(2_000_000, start + Duration::from_secs(1)), 1_000_000);
        assert_eq!(lane.rate(2_000_000, start + Duration::from_secs(2)), 0);
        assert_eq!(lane.rate(10, start + Duration::from_secs(3)), 0, "another session");
    }
}
