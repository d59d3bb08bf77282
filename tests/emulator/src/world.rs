//! What all parts of one emulator share: its settings, the sessions, and what was ordered to go wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::{AgentHabits, Config};
use crate::counters::{Counter, Counters};
use crate::credentials::Keyring;
use crate::gateway::client::Order;
use crate::gateway::frames;
use crate::gateway::session::Session;
use crate::hosts::Hosts;
use crate::inject::{Corruption, Direction, FrameKind, Injection, LineFaults, ResumeAnswer};
use crate::tasks::Tasks;
use crate::tls::Tls;

/// Everything shared. Locks are held for a few instructions and never across an await.
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) counters: Arc<Counters>,
    pub(crate) tasks: Tasks,
    pub(crate) keyring: Keyring,
    pub(crate) hosts: Hosts,
    pub(crate) tls: Option<Tls>,
    pub(crate) gateway_address: SocketAddr,
    pub(crate) black_hole: watch::Sender<bool>,
    pub(crate) gateway_down: watch::Sender<bool>,
    offline: BTreeMap<String, watch::Sender<bool>>,
    lines: [watch::Sender<LineFaults>; 2],
    plan: Mutex<Plan>,
    sessions: Mutex<BTreeMap<String, Arc<Session>>>,
    tokens: Mutex<Vec<String>>,
}

/// Standing orders, and orders for the next few of something.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) habits: AgentHabits,
    pub(crate) resume_answer: ResumeAnswer,
    pub(crate) denied: BTreeSet<String>,
    pub(crate) throttle: u32,
    pub(crate) stream_url: Option<String>,
    pub(crate) refuse_upgrades: (u16, u32),
    pub(crate) silent_agents: u32,
    pub(crate) drop_every: DropEvery,
    lose: Vec<(Direction, FrameKind, u32)>,
    corrupt: Vec<Corruption>,
    calm: CancellationToken,
}

/// Drops by volume; `times == 0`: none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DropEvery {
    pub(crate) bytes: u64,
    pub(crate) times: u32,
    /// Grows with every order, so that sessions count anew.
    pub(crate) order: u64,
}

impl DropEvery {
    fn renew(&mut self, bytes: u64, times: u32) {
        *self = Self { bytes: bytes.max(1), times, order: self.order + 1 };
    }
}

impl Plan {
    fn new(habits: AgentHabits, resume_answer: ResumeAnswer, order: u64) -> Self {
        Self {
            habits,
            resume_answer,
            denied: BTreeSet::new(),
            throttle: 0,
            stream_url: None,
            refuse_upgrades: (0, 0),
            silent_agents: 0,
            drop_every: DropEvery { order, ..DropEvery::default() },
            lose: Vec::new(),
            corrupt: Vec::new(),
            calm: CancellationToken::new(),
        }
    }

    /// Whether this frame is one of those to lose.
    pub(crate) fn loses(&mut self, direction: Direction, kind: FrameKind) -> bool {
        let of_kind =
            |order: &&mut (Direction, FrameKind, u32)| (order.0, order.1) == (direction, kind) && order.2 > 0;
        self.lose.iter_mut().find(of_kind).map(|order| order.2 -= 1).is_some()
    }

    /// What is to be done to the next data message, if anything.
    pub(crate) fn next_corruption(&mut self) -> Option<Corruption> {
        if self.corrupt.is_empty() { None } else { Some(self.corrupt.remove(0)) }
    }
}

/// Counts one of "the next n" down; true while there was one.
pub(crate) fn take_one(count: &mut u32) -> bool {
    let some = *count > 0;
    *count = count.saturating_sub(1);
    some
}

impl World {
    pub(crate) fn new(
        config: Config,
        keyring: Keyring,
        tls: Option<Tls>,
        gateway_address: SocketAddr,
    ) -> Self {
        let offline =
            config.instances.iter().map(|instance| (instance.id.clone(), watch::Sender::new(false)));
        Self {
            offline: offline.collect(),
            plan: Mutex::new(Plan::new(config.habits.clone(), config.resume_answer, 0)),
            config,
            counters: Arc::default(),
            tasks: Tasks::default(),
            keyring,
            hosts: Hosts::default(),
            tls,
            gateway_address,
            black_hole: watch::Sender::new(false),
            gateway_down: watch::Sender::new(false),
            lines: [watch::Sender::new(LineFaults::default()), watch::Sender::new(LineFaults::default())],
            sessions: Mutex::default(),
            tokens: Mutex::default(),
        }
    }

    pub(crate) fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Faults of one direction, and their changes.
    pub(crate) fn line_faults(&self, direction: Direction) -> watch::Receiver<LineFaults> {
        self.line(direction).subscribe()
    }

    fn line(&self, direction: Direction) -> &watch::Sender<LineFaults> {
        match direction {
            Direction::ToAgent => &self.lines[0],
            Direction::ToClient => &self.lines[1],
        }
    }

    /// Whether the agent of a node in `region` is away, and changes of that; `None`: no such node there.
    pub(crate) fn instance(&self, id: &str, region: &str) -> Option<watch::Receiver<bool>> {
        let instance = self.config.instances.iter().find(|instance| instance.id == id)?;
        let home = instance.region.as_deref().unwrap_or(&self.config.region);
        if home == region { self.offline.get(id).map(watch::Sender::subscribe) } else { None }
    }

    /// Counts a denial when `action` is denied.
    pub(crate) fn denies(&self, action: &str) -> bool {
        let denied = self.plan().denied.contains(action);
        if denied {
            self.counters.increment(Counter::InjectedDenials);
        }
        denied
    }

    /// Remembers a token that was handed out, so that a test can look for it where it must not be.
    pub(crate) fn note_token(&self, token: &str) {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).push(token.to_owned());
    }

    /// All tokens handed out.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn add_session(&self, session: Arc<Session>) {
        self.all_sessions().insert(session.id.clone(), session);
    }

    pub(crate) fn session(&self, id: &str) -> Option<Arc<Session>> {
        self.all_sessions().get(id).map(Arc::clone)
    }

    pub(crate) fn sessions(&self) -> Vec<Arc<Session>> {
        self.all_sessions().values().map(Arc::clone).collect()
    }

    fn all_sessions(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_sessions(&self, only: Option<&str>) -> Vec<Arc<Session>> {
        let wanted = |session: &Arc<Session>| !session.is_over() && only.is_none_or(|id| id == session.id);
        self.all_sessions().values().filter(|session| wanted(session)).map(Arc::clone).collect()
    }

    fn order_clients(&self, only: Option<&str>, counter: Counter, order: &Order) {
        for session in self.open_sessions(only) {
            if session.order_client(order.clone()) {
                self.counters.increment(counter);
            }
        }
    }

    /// Carries an order out. What it did is counted when it happens, which for "the next …" is later.
    pub(crate) fn inject(self: &Arc<Self>, injection: Injection) {
        tracing::info!(?injection, "injecting");
        match injection {
            Injection::DropClient { session } => {
                self.order_clients(session.as_deref(), Counter::InjectedClientDrops, &Order::Reset);
            }
            Injection::DropClientEveryBytes { bytes, times } => self.plan().drop_every.renew(bytes, times),
            Injection::DropClientEvery { every_ms, times } => self.drop_clients_every(every_ms, times),
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
            Injection::BlackHole { on } => self.switch(&self.black_hole, on, Counter::InjectedBlackHoles),
            Injection::GatewayDown { on } => self.set_down(on),
            Injection::KillSession { session, output } => self.kill(session.as_deref(), &output),
            Injection::InstanceOffline { instance, offline } => self.set_offline(&instance, offline),
            Injection::ExpireCredentials { access_key_id, expired } => {
                self.keyring.set_expired(access_key_id.as_deref(), expired);
            }
            Injection::Calm => self.calm(),
            Injection::RefuseUpgrades { status, count } => self.plan().refuse_upgrades = (status, count),
            Injection::SilentAgents { count } => self.plan().silent_agents = count,
            Injection::Habits { habits } => self.plan().habits = habits,
            Injection::Deny { action, denied } => self.deny(action, denied),
            Injection::Throttle { count } => self.plan().throttle = count,
            Injection::StreamUrl { url } => self.plan().stream_url = Some(url),
            Injection::AnswerResume { answer } => self.plan().resume_answer = answer,
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

    fn switch(&self, switch: &watch::Sender<bool>, on: bool, counter: Counter) {
        if !switch.send_replace(on) && on {
            self.counters.increment(counter);
        }
    }

    fn drop_clients_every(self: &Arc<Self>, every_ms: u64, times: u32) {
        let (world, calm) = (Arc::clone(self), self.plan().calm.clone());
        self.tasks.spawn("drop clients", async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(every_ms.max(1)));
            ticks.tick().await;
            for _ in 0..times {
                if calm.run_until_cancelled(ticks.tick()).await.is_none() {
                    return;
                }
                world.order_clients(None, Counter::InjectedClientDrops, &Order::Reset);
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
        if let Some(switch) = self.offline.get(instance) {
            switch.send_replace(offline);
        }
        if offline {
            for session in self.open_sessions(None).iter().filter(|session| session.target == instance) {
                session.cut_agent();
            }
        }
    }

    fn calm(&self) {
        self.line(Direction::ToAgent).send_replace(LineFaults::default());
        self.line(Direction::ToClient).send_replace(LineFaults::default());
        self.black_hole.send_replace(false);
        self.gateway_down.send_replace(false);
        self.offline.values().for_each(|offline| {
            offline.send_replace(false);
        });
        self.keyring.set_expired(None, false);
        let mut plan = self.plan();
        plan.calm.cancel();
        *plan = Plan::new(plan.habits.clone(), self.config.resume_answer, plan.drop_every.order + 1);
    }
}
