//! What all parts of one emulator share: its settings, the sessions, and what was ordered to go wrong.

mod fleet;
mod orders;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::{AgentHabits, Config};
use crate::counters::{Counter, Counters};
use crate::credentials::{AccessKey, Identity, Keyring};
use crate::gateway::session::Session;
use crate::hosts::Hosts;
use crate::inject::{Corruption, Direction, FrameKind, LineFaults, ResumeAnswer};
use crate::metadata::Metadata;
use crate::sign_in::SignIn;
use crate::tasks::Tasks;
use crate::tls::Tls;
use crate::trouble::Troubles;
use crate::world::fleet::Fleet;

pub(crate) use self::fleet::Seen;

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
    pub(crate) fleet: Fleet,
    pub(crate) sign_in: SignIn,
    pub(crate) metadata: Metadata,
    pub(crate) troubles: Troubles,
    lines: [watch::Sender<LineFaults>; 2],
    plan: Mutex<Plan>,
    sessions: Mutex<BTreeMap<String, Arc<Session>>>,
    tokens: Mutex<Vec<String>>,
    proxied: Mutex<BTreeSet<String>>,
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
    unanswered_dials: UnansweredDials,
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

/// Dials that will get no answer; `count == 0`: none.
#[derive(Debug, Default)]
struct UnansweredDials {
    session: Option<String>,
    count: u32,
    lasting: Duration,
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
            unanswered_dials: UnansweredDials::default(),
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

/// The silence behind a dial that nobody answers.
#[derive(Debug)]
pub(crate) struct Silence {
    lasting: Duration,
    calm: CancellationToken,
}

impl Silence {
    /// Waits until the system would give the dial up.
    pub(crate) async fn end(self) {
        self.calm.run_until_cancelled(tokio::time::sleep(self.lasting)).await;
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
        Self {
            fleet: Fleet::new(config.instances.clone()),
            sign_in: SignIn::new(&config),
            metadata: Metadata::new(),
            troubles: Troubles::default(),
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
            proxied: Mutex::default(),
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
        self.fleet.agent(id, region, &self.config.region)
    }

    /// The nodes of a region.
    pub(crate) fn nodes(&self, region: &str) -> Vec<Seen> {
        self.fleet.seen(region, &self.config.region)
    }

    /// Counts a denial when `action` is denied.
    pub(crate) fn denies(&self, action: &str) -> bool {
        let denied = self.plan().denied.contains(action);
        if denied {
            self.counters.increment(Counter::InjectedDenials);
        }
        denied
    }

    /// What the next dial of a session's agent meets instead of its destination, if it was ordered so.
    pub(crate) fn silence_of_next_dial(&self, session: &str) -> Option<Silence> {
        let mut plan = self.plan();
        if plan.unanswered_dials.session.as_ref().is_some_and(|only| only != session) {
            return None;
        }
        take_one(&mut plan.unanswered_dials.count).then(|| {
            self.counters.increment(Counter::InjectedDialsUnanswered);
            Silence { lasting: plan.unanswered_dials.lasting, calm: plan.calm.clone() }
        })
    }

    /// Makes a temporary key for somebody.
    pub(crate) fn issue_key(&self, identity: Identity, expires: OffsetDateTime) -> AccessKey {
        let key = self.keyring.issue(identity, expires);
        [Some(key.secret()), key.session_token()]
            .into_iter()
            .flatten()
            .for_each(|text| self.note_token(text));
        key
    }

    /// Who a key belongs to.
    pub(crate) fn identity(&self, key_id: &str) -> Identity {
        self.keyring.identity(key_id).unwrap_or_else(|| Identity::of(&self.config.principal))
    }

    /// The address by which a caller found the API.
    pub(crate) fn base_url(&self, headers: &HeaderMap) -> String {
        let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
        format!("{}://{host}", if self.tls.is_some() { "https" } else { "http" })
    }

    /// Keeps where the proxy led.
    pub(crate) fn note_proxied(&self, host: &str) {
        self.proxied.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned());
    }

    /// Where the proxy led since this was asked last.
    pub(crate) fn take_proxied(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.proxied.lock().unwrap_or_else(PoisonError::into_inner))
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

    fn forget_sessions(&self) {
        self.all_sessions().clear();
    }

    fn all_sessions(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_sessions(&self, only: Option<&str>) -> Vec<Arc<Session>> {
        let wanted = |session: &Arc<Session>| !session.is_over() && only.is_none_or(|id| id == session.id);
        self.all_sessions().values().filter(|session| wanted(session)).map(Arc::clone).collect()
    }
}
