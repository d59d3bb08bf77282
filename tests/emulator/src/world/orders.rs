//! Carries orders out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use crate::counters::Counter;
use crate::gateway::client::Order;
use crate::gateway::frames;
use crate::gateway::session::Session;
use crate::inject::{Corruption, Direction, Injection, LineFaults};
use crate::world::{Plan, UnansweredDials, World};

impl World {
    /// Carries an order out. What it did is counted when it happens, which for "the next …" is later.
    pub(crate) fn inject(self: &Arc<Self>, injection: Injection) {
        tracing::info!(?injection, "injecting");
        match injection {
            Injection::DropClient { session } => {
                self.order_clients(session.as_deref(), Counter::InjectedClientDrops, &Order::Reset);
            }
            Injection::DropClientEveryBytes { bytes, times } => self.plan().drop_every.renew(bytes, times),
            Injection::DropClientEvery { every_ms, times } => {
                self.every((every_ms, times), |world, _| {
                    world.order_clients(None, Counter::InjectedClientDrops, &Order::Reset);
                });
            }
            Injection::CloseClient { session, code, reason } => {
                self.order_clients(
                    session.as_deref(),
                    Counter::InjectedCloses,
                    &Order::Close { code, reason },
                );
            }
            Injection::OversizeClose { session, bytes } => {
                let order = Order::OversizeClose { bytes: bytes.max(126) };
                self.order_clients(session.as_deref(), Counter::InjectedOversizeCloses, &order);
            }
            Injection::DropAgent { session } => self.each(session.as_deref(), Session::cut_agent),
            Injection::DropAgentEvery { every_ms, times } => {
                self.every((every_ms, times), |world, _| world.each(None, Session::cut_agent));
            }
            Injection::CrashAgent { session } => self.each(session.as_deref(), Session::crash_agent),
            Injection::Line { direction, faults } => {
                self.line(direction).send_replace(faults);
            }
            Injection::LoseNext { direction, frame, count } => {
                self.plan().lose.push((direction, frame, count));
            }
            Injection::Corrupt { corruption } => self.corrupt(corruption),
            Injection::PauseAgent { session } => self.pause(session.as_deref(), true),
            Injection::ResumeAgent { session } => self.pause(session.as_deref(), false),
            Injection::PauseStorm { every_ms, times } => {
                let ticks = times.saturating_mul(2);
                self.every((every_ms, ticks), |world, tick| world.pause(None, tick % 2 == 0));
            }
            Injection::OneSidedBlackHole { session, direction } => {
                self.each(session.as_deref(), |session| session.open_hole(direction));
            }
            Injection::BlackHole { on } => self.switch(&self.black_hole, on, Counter::InjectedBlackHoles),
            Injection::GatewayDown { on } => self.set_down(on),
            Injection::KillSession { session, output } => self.kill(session.as_deref(), &output),
            Injection::Restart => self.restart(),
            Injection::InstanceOffline { instance, offline } => self.set_offline(&instance, offline),
            Injection::AddInstance { instance } => self.fleet.add(instance),
            Injection::TerminateInstance { instance, end_sessions } => {
                self.terminate(&instance, end_sessions);
            }
            Injection::ExpireCredentials { access_key_id, expired } => {
                self.keyring.set_expired(access_key_id.as_deref(), expired);
            }
            Injection::SignIn { order } => self.order_sign_in(order),
            Injection::Calm => self.calm(),
            Injection::RefuseUpgrades { status, count } => self.plan().refuse_upgrades = (status, count),
            Injection::SilentAgents { count } => self.plan().silent_agents = count,
            Injection::Habits { habits } => self.plan().habits = habits,
            Injection::BlackHoleDials { session, count, for_ms } => {
                let lasting = Duration::from_millis(for_ms);
                self.plan().unanswered_dials = UnansweredDials { session, count, lasting };
            }
            Injection::Deny { action, denied } => self.deny(action, denied),
            Injection::Throttle { count } => self.plan().throttle = count,
            Injection::StreamUrl { url } => self.plan().stream_url = Some(url),
            Injection::AnswerResume { answer } => self.plan().resume_answer = answer,
        }
    }

    fn order_clients(&self, only: Option<&str>, counter: Counter, order: &Order) {
        for session in self.open_sessions(only) {
            if session.order_client(order.clone()) {
                self.counters.increment(counter);
            }
        }
    }

    fn deny(&self, action: String, denied: bool) {
        let denied_actions = &mut self.plan().denied;
        if denied {
            denied_actions.insert(action);
        } else {
            denied_actions.remove(&action);
        }
    }

    fn each(&self, only: Option<&str>, act: impl Fn(&Session)) {
        self.open_sessions(only).iter().for_each(|session| act(session));
    }

    fn pause(&self, only: Option<&str>, pause: bool) {
        self.each(only, |session| session.pause_agent(pause));
    }

    fn set_down(&self, down: bool) {
        self.switch(&self.gateway_down, down, Counter::InjectedOutages);
        if down {
            self.order_clients(None, Counter::InjectedClientDrops, &Order::Reset);
        }
    }

    fn kill(&self, only: Option<&str>, output: &str) {
        self.each(only, |session| {
            self.counters.increment(Counter::InjectedKills);
            session.end(output);
        });
    }

    fn restart(&self) {
        self.counters.increment(Counter::InjectedRestarts);
        self.order_clients(None, Counter::InjectedClientDrops, &Order::Reset);
        self.each(None, |session| session.end(""));
        self.forget_sessions();
    }

    fn switch(&self, switch: &watch::Sender<bool>, on: bool, counter: Counter) {
        if !switch.send_replace(on) && on {
            self.counters.increment(counter);
        }
    }

    /// Does something at intervals, until it was done often enough or calm is ordered. It is told how often it was done
    /// before.
    fn every(
        self: &Arc<Self>,
        (every_ms, times): (u64, u32),
        act: impl Fn(&Self, u32) + Send + Sync + 'static,
    ) {
        let (world, calm) = (Arc::clone(self), self.plan().calm.clone());
        self.tasks.spawn("repeated order", async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(every_ms.max(1)));
            ticks.tick().await;
            for done in 0..times {
                if calm.run_until_cancelled(ticks.tick()).await.is_none() {
                    return;
                }
                act(&world, done);
            }
        });
    }

    fn corrupt(&self, corruption: Corruption) {
        let extra: Option<Bytes> = match corruption {
            Corruption::Garbage => Some(frames::garbage()),
            Corruption::TruncatedHeader => Some(frames::truncated()),
            Corruption::WrongLength => Some(frames::wrong_length()),
            Corruption::BadDigest | Corruption::SmuxViolation => None,
        };
        let Some(extra) = extra else {
            self.plan().corrupt.push(corruption);
            return;
        };
        for session in self.open_sessions(None) {
            session.send_client(extra.clone());
            self.counters.increment(Counter::InjectedCorrupted);
        }
    }

    fn set_offline(&self, instance: &str, offline: bool) {
        self.fleet.set_away(instance, offline);
        if offline {
            self.sessions_through(instance).iter().for_each(|session| session.cut_agent());
        }
    }

    fn terminate(&self, instance: &str, end_sessions: bool) {
        self.fleet.terminate(instance);
        self.counters.increment(Counter::InjectedTerminations);
        for session in self.sessions_through(instance) {
            session.cut_agent();
            if end_sessions {
                session.end("");
            }
        }
    }

    fn sessions_through(&self, instance: &str) -> Vec<Arc<Session>> {
        self.open_sessions(None).into_iter().filter(|session| session.target == instance).collect()
    }

    fn calm(&self) {
        self.line(Direction::ToAgent).send_replace(LineFaults::default());
        self.line(Direction::ToClient).send_replace(LineFaults::default());
        self.black_hole.send_replace(false);
        self.gateway_down.send_replace(false);
        self.fleet.calm();
        self.keyring.set_expired(None, false);
        self.troubles.calm();
        let mut plan = self.plan();
        plan.calm.cancel();
        *plan = Plan::new(plan.habits.clone(), self.config.resume_answer, plan.drop_every.order + 1);
    }
}
