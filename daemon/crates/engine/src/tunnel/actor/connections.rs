//! Local connections: each waits in front, mostly for no time at all, until there is a session with a place for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ssm_session::OpenError;

use super::{Actor, ActorParts};
use crate::clock::Now;
use crate::ports::BoxLocalStream;
use crate::tunnel::front::Front;
use crate::tunnel::lanes::Lane;
use crate::tunnel::machine::Input;
use crate::tunnel::pump::{Pump, PumpContext};
use crate::tunnel::shared_session::SharedSession;
use crate::tunnel::spread::{self, Load, Place};

/// How long a connection waits for a session of its own rather than share one: opening one takes a second or two.
const LANE_WAIT: Duration = Duration::from_secs(3);

impl Actor {
    pub(super) fn on_connection(&mut self, local: BoxLocalStream) {
        let settings = self.parts.context.settings();
        let full = self.parts.meter.connections() >= settings.max_connections;
        if full || !self.lanes.main.machine.holds_connections() {
            Front::refuse(local);
        } else {
            // Every connection waits for its place, mostly for no time at all.
            let most = settings.max_held_connections as usize;
            self.front.hold(local, most, self.parts.context.now().mono);
            self.tell_waiting();
        }
    }

    /// Hands the held connections to sessions, in the order they came, as far as there are places for them.
    pub(super) fn forward_held(&mut self) {
        let now = self.parts.context.now();
        let most = usize::from(self.parts.wanted.spec.sessions.get());
        let before = self.front.held();
        while let Some(since) = self.front.waiting_since() {
            let loads = self.loads(now);
            self.open_lanes(&loads, most, now);
            let patient = now.mono < since + LANE_WAIT;
            let Place::On(index) = spread::place(&loads, patient) else { break };
            let (Some(session), Some(local)) = (self.session_of_lane(index), self.front.release()) else {
                break;
            };
            self.forward(&session, local);
        }
        if self.front.held() != before {
            self.tell_waiting();
        }
        if !self.lanes.is_one() {
            self.tidy_lanes(most, now);
        }
    }

    fn open_lanes(&mut self, loads: &[Load], most: usize, now: Now) {
        // Further lanes follow the main one: what keeps it down would keep them down as well.
        if most > 1 && self.lanes.main.machine.session_up().is_some() {
            let wanted = spread::wanted(loads, self.front.held(), most);
            let entropy = &self.parts.context.ports.entropy;
            self.lanes.open(wanted, || entropy.seed(), now);
        }
    }

    fn tidy_lanes(&mut self, most: usize, now: Now) {
        let wanted = spread::wanted(&self.loads(now), self.front.held(), most);
        let sessions = &self.sessions;
        self.lanes.tidy(wanted, now, |machine| {
            let session = machine.session().and_then(|session| sessions.get(&session));
            session.map_or(Duration::ZERO, |session| session.shared.unused_for(now))
        });
    }

    /// What the lanes carry, the main one first.
    fn loads(&mut self, now: Now) -> Vec<Load> {
        let sessions = &self.sessions;
        let load = |(_, lane): (u64, &mut Lane)| {
            let session = lane.machine.session().and_then(|session| sessions.get(&session));
            let carried = session.map(|session| session.shared.meter().traffic());
            Load {
                up: lane.machine.session_up().is_some(),
                coming: lane.machine.is_connecting(),
                connections: session.map_or(0, |session| session.shared.connections()),
                rate: lane.rate(carried.map_or(0, |carried| carried.sent + carried.received), now.mono),
            }
        };
        self.lanes.all().map(load).collect()
    }

    fn session_of_lane(&mut self, index: usize) -> Option<Arc<SharedSession>> {
        let (_, lane) = self.lanes.all().nth(index)?;
        let session = self.sessions.get(&lane.machine.session_up()?)?;
        Some(Arc::clone(&session.shared))
    }

    /// Tells the main machine whether somebody waits.
    pub(super) fn tell_waiting(&mut self) {
        let waiting = self.front.has_held();
        if waiting {
            self.lanes.hurry();
        }
        self.lanes.main.machine.handle_input(Input::Waiting(waiting), self.parts.context.now());
    }

    fn forward(&self, session: &Arc<SharedSession>, local: BoxLocalStream) {
        let ActorParts { context, meter, .. } = &self.parts;
        match session.open(context.now()) {
            Ok(stream) => {
                let pump = PumpContext {
                    session: Arc::clone(session),
                    clock: Arc::clone(&context.ports.clock),
                    meter: Arc::clone(meter),
                    cancelled: context.tasks.cancelled().clone(),
                };
                // Refused only while the daemon stops: dropping the pump closes the connection.
                let _stopping = context.tasks.spawn("connection", Pump::new(pump, stream, local).run());
            }
            Err(error @ (OpenError::SessionOver | OpenError::Exhausted)) => {
                tracing::debug!(%error, "a connection came too late for its session");
                Front::refuse(local);
            }
        }
    }

    /// When the connection that has waited longest shares a session rather than wait on.
    pub(super) fn next_place(&self, now: Now) -> Option<Instant> {
        let at = self.front.waiting_since().map(|since| since + LANE_WAIT);
        at.filter(|at| *at > now.mono)
    }
}
