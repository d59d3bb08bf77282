//! One SSM session at the gateway: two sides that come and go, and a line in each direction between them.
//!
//! The session outlives its connections. A frame for an absent side waits in the line; the side that stays is told to
//! pause, and to start again when both are there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use base64::Engine as _;
use bytes::Bytes;
use serde::Serialize;
use ssm_session::payload::Acknowledge;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::AgentHabits;
use crate::counters::{Counter, Held};
use crate::credentials::{fill_random, random_text};
use crate::gateway::client::Order;
use crate::gateway::frames;
use crate::gateway::hole::Holes;
use crate::gateway::line::{Line, LineEnd};
use crate::gateway::repeats::Repeats;
use crate::inject::Direction;
use crate::world::World;

/// Frames between a line and a connection. A few more than one pacing interval brings; the rest waits in the line.
const SIDE_CAPACITY: usize = 64;
/// Orders for one connection: more than one at a time means that it is closing anyway.
const ORDER_CAPACITY: usize = 8;

/// What StartSession was asked for.
#[derive(Clone, Debug)]
pub(crate) struct SessionRequest {
    pub(crate) target: String,
    pub(crate) region: String,
    pub(crate) document: String,
    /// Absent: the node itself.
    pub(crate) host: Option<String>,
    pub(crate) port: u16,
    /// Why, for the audit trail.
    pub(crate) reason: Option<String>,
    /// Properties of the handshake.
    pub(crate) properties: BTreeMap<String, String>,
}

/// One session. It is over once, and remembered after that.
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) target: String,
    pub(crate) request: SessionRequest,
    pub(crate) habits: AgentHabits,
    pub(crate) to_agent: Line,
    pub(crate) to_client: Line,
    pub(crate) over: CancellationToken,
    pub(crate) crash: CancellationToken,
    world: Weak<World>,
    client: watch::Sender<Option<Side>>,
    agent: watch::Sender<Option<Side>>,
    state: Mutex<State>,
}

struct State {
    grant: Grant,
    client_id: Option<String>,
    generation: u64,
    clients_attached: u64,
    attached_at_ms: Option<u64>,
    repeats: Repeats,
    drops: Drops,
    open: Option<Held>,
}

/// What a client needs to connect.
#[derive(Clone)]
pub(crate) struct Grant {
    pub(crate) token: String,
    pub(crate) cell_number: String,
    used: bool,
}

#[derive(Default)]
struct Drops {
    order: u64,
    bytes: u64,
    done: u32,
}

/// One end of a connection, as the lines see it.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    pub(crate) generation: u64,
    pub(crate) frames: mpsc::Sender<Bytes>,
    orders: mpsc::Sender<Order>,
    cut: CancellationToken,
    /// Of a client's connection; an agent's has none that open.
    holes: Arc<Holes>,
}

/// The other end of it.
pub(crate) struct Wires {
    pub(crate) generation: u64,
    pub(crate) frames: mpsc::Receiver<Bytes>,
    pub(crate) orders: mpsc::Receiver<Order>,
    /// Cancelled when the agent's connection is cut.
    pub(crate) cut: CancellationToken,
}

/// Why an open message is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("the session is over")]
    Over,
    #[error("the token is not the session's")]
    Token,
    #[error("the token was used before")]
    TokenUsed,
    #[error("the client id is not the one the session began with")]
    ClientId,
}

/// A session as seen from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionInfo {
    /// Its id.
    pub id: String,
    /// The managed node.
    pub target: String,
    /// The document it was started with.
    pub document: String,
    /// Why it was started, for the audit trail.
    pub reason: Option<String>,
    /// Whether it is not over.
    pub open: bool,
    /// Whether a client is attached.
    pub client_connected: bool,
    /// Whether the agent is.
    pub agent_connected: bool,
    /// Clients attached so far: one more than reconnects.
    pub clients_attached: u64,
    /// When the last of them was, in milliseconds since 1970.
    pub attached_at_ms: Option<u64>,
    /// Acknowledgements of messages that the agent had to send again.
    pub repeats_acknowledged: u64,
    /// The longest time that one of those took, from the message to its acknowledgement, in microseconds.
    pub slowest_repeat_us: u64,
}

impl Session {
    pub(crate) fn start(world: &Arc<World>, request: SessionRequest) -> Arc<Self> {
        let (to_agent, agent_end) = Line::new(Direction::ToAgent);
        let (to_client, client_end) = Line::new(Direction::ToClient);
        let session = Arc::new(Self {
            id: format!("{}-{}", world.config.session_prefix, hex_text(9)),
            target: request.target.clone(),
            request,
            habits: world.plan().habits.clone(),
            to_agent,
            to_client,
            over: CancellationToken::new(),
            crash: CancellationToken::new(),
            world: Arc::downgrade(world),
            client: watch::Sender::new(None),
            agent: watch::Sender::new(None),
            state: Mutex::new(State {
                grant: Grant::new(),
                client_id: None,
                generation: 0,
                clients_attached: 0,
                attached_at_ms: None,
                repeats: Repeats::default(),
                drops: Drops::default(),
                open: Some(world.counters.hold(Counter::SessionsOpen)),
            }),
        });
        world.counters.increment(Counter::SessionsStarted);
        session.run_line(world, agent_end, &session.agent);
        session.run_line(world, client_end, &session.client);
        world.add_session(Arc::clone(&session));
        session
    }

    fn run_line(self: &Arc<Self>, world: &Arc<World>, end: LineEnd, side: &watch::Sender<Option<Side>>) {
        let line = end.run(Arc::clone(world), Arc::clone(self), side.subscribe());
        world.tasks.spawn("line", line);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    pub(crate) fn grant(&self) -> Grant {
        self.state().grant.clone()
    }

    /// A new token and a new cell number; the old ones are worth nothing from now on.
    pub(crate) fn renew_grant(&self) -> Grant {
        let mut state = self.state();
        state.grant = Grant::new();
        state.grant.clone()
    }

    /// Checks a client's open message and makes its connection the session's; an older one is evicted.
    pub(crate) fn attach_client(
        &self,
        token: &str,
        client_id: &str,
        holes: Arc<Holes>,
    ) -> Result<Wires, OpenError> {
        let world = self.world.upgrade().ok_or(OpenError::Over)?;
        let (side, wires) = {
            let mut state = self.state();
            if self.is_over() {
                return Err(OpenError::Over);
            }
            if state.grant.token != token {
                return Err(OpenError::Token);
            }
            if state.grant.used && world.config.one_use_tokens {
                return Err(OpenError::TokenUsed);
            }
            if state.client_id.as_ref().is_some_and(|known| known != client_id) {
                return Err(OpenError::ClientId);
            }
            state.grant.used = true;
            state.client_id = Some(client_id.to_owned());
            state.clients_attached += 1;
            state.attached_at_ms = Some(clock::now().wall_ms);
            state.next_side(holes)
        };
        world.counters.increment(Counter::ClientsAttached);
        if let Some(old) = self.client.borrow().as_ref()
            && old.orders.try_send(Order::Evicted).is_ok()
        {
            world.counters.increment(Counter::ClientsEvicted);
        }
        let agent_present = self.agent.borrow().is_some();
        if agent_present {
            self.to_agent.urgent(frames::publication(true));
            // A fresh channel has room.
            let _ = side.frames.try_send(frames::publication(true));
        }
        self.client.send_replace(Some(side));
        Ok(wires)
    }

    /// The connection is gone. Nothing happens if a newer one took its place.
    pub(crate) fn detach_client(&self, generation: u64) {
        if detach(&self.client, generation) {
            self.to_agent.urgent(frames::publication(false));
        }
    }

    /// Nothing more will be sent: the connection may end when it has written what it has.
    pub(crate) fn release_client(&self) {
        self.client.send_replace(None);
    }

    /// The agent connects; `None` when the session is over.
    pub(crate) fn attach_agent(&self) -> Option<Wires> {
        if self.is_over() {
            return None;
        }
        let (side, wires) = self.state().next_side(Arc::default());
        let client_present = self.client.borrow().is_some();
        let _ = side.frames.try_send(frames::publication(client_present));
        if client_present {
            self.to_client.urgent(frames::publication(true));
        }
        self.agent.send_replace(Some(side));
        Some(wires)
    }

    pub(crate) fn detach_agent(&self, generation: u64) {
        if detach(&self.agent, generation) && !self.is_over() {
            self.to_client.urgent(frames::publication(false));
        }
    }

    /// Gives the client's connection an order; false when there is none.
    pub(crate) fn order_client(&self, order: Order) -> bool {
        self.client.borrow().as_ref().is_some_and(|side| side.orders.try_send(order).is_ok())
    }

    /// Sends the client a frame ahead of all others.
    pub(crate) fn send_client(&self, frame: Bytes) {
        self.to_client.urgent(frame);
    }

    pub(crate) fn cut_agent(&self) {
        if let Some(side) = self.agent.borrow().as_ref() {
            side.cut.cancel();
            self.count(Counter::InjectedAgentDrops);
        }
    }

    /// Lets one direction of the client's connection vanish.
    pub(crate) fn open_hole(&self, direction: Direction) {
        if self.client.borrow().as_ref().is_some_and(|side| side.holes.open(direction)) {
            self.count(Counter::InjectedOneSidedBlackHoles);
        }
    }

    pub(crate) fn crash_agent(&self) {
        if !self.crash.is_cancelled() {
            self.crash.cancel();
            self.count(Counter::InjectedCrashes);
        }
    }

    pub(crate) fn pause_agent(&self, pause: bool) {
        self.to_agent.urgent(frames::publication(!pause));
        if pause {
            self.count(Counter::InjectedPauses);
        }
    }

    /// Ends the session: the client gets `channel_closed` behind everything that is on its way.
    pub(crate) fn end(&self, output: &str) {
        let open = {
            let mut state = self.state();
            self.over.cancel();
            state.open.take()
        };
        if open.is_some() {
            self.to_client.last(frames::channel_closed(&self.id, &self.target, output));
            self.count(Counter::SessionsEnded);
        }
    }

    /// Notes relayed connection data; true when the client's connection was ordered to be dropped after it. While there
    /// is none, a drop that is due waits for the next one.
    pub(crate) fn relayed(&self, world: &World, bytes: u64) -> bool {
        let plan = world.plan().drop_every;
        if plan.times == 0 {
            return false;
        }
        let drops = &mut self.state().drops;
        if drops.order != plan.order {
            *drops = Drops { order: plan.order, ..Drops::default() };
        }
        drops.bytes += bytes;
        let due = drops.bytes >= plan.bytes && drops.done < plan.times;
        let dropped = due && self.order_client(Order::Reset);
        if dropped {
            drops.bytes = 0;
            drops.done += 1;
        }
        dropped
    }

    /// A message that the agent sent before passes on its way to the client.
    pub(crate) fn repeated(&self, number: i64) {
        self.state().repeats.passed(number, Instant::now());
    }

    /// The client acknowledges a message.
    pub(crate) fn acknowledged(&self, payload: &[u8]) {
        let repeats = &mut self.state().repeats;
        // Nearly always nobody waits, and then it is not read.
        if repeats.any_waits()
            && let Ok(acknowledge) = serde_json::from_slice::<Acknowledge>(payload)
        {
            repeats.acknowledged(acknowledge.acknowledged_message_sequence_number, Instant::now());
        }
    }

    pub(crate) fn info(&self) -> SessionInfo {
        let state = self.state();
        let (repeats_acknowledged, slowest) = state.repeats.summary();
        SessionInfo {
            id: self.id.clone(),
            target: self.target.clone(),
            document: self.request.document.clone(),
            reason: self.request.reason.clone(),
            open: !self.is_over(),
            client_connected: self.client.borrow().is_some(),
            agent_connected: self.agent.borrow().is_some(),
            clients_attached: state.clients_attached,
            attached_at_ms: state.attached_at_ms,
            repeats_acknowledged,
            slowest_repeat_us: u64::try_from(slowest.as_micros()).unwrap_or(u64::MAX),
        }
    }

    fn count(&self, counter: Counter) {
        if let Some(world) = self.world.upgrade() {
            world.counters.increment(counter);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next_side(&mut self, holes: Arc<Holes>) -> (Side, Wires) {
        self.generation += 1;
        let generation = self.generation;
        let (frames, frames_end) = mpsc::channel(SIDE_CAPACITY);
        let (orders, orders_end) = mpsc::channel(ORDER_CAPACITY);
        let cut = CancellationToken::new();
        let side = Side { generation, frames, orders, cut: cut.clone(), holes };
        (side, Wires { generation, frames: frames_end, orders: orders_end, cut })
    }
}

impl Grant {
    fn new() -> Self {
        let mut cell = [0; 9];
        fill_random(&mut cell);
        let cell = base64::engine::general_purpose::STANDARD.encode(cell);
        // A real one looks like base64 and holds all three characters that clients like to re-encode.
        Self {
            token: format!("AAEAA{}", random_text(200)),
            cell_number: format!("AAEAA+x/y{cell}="),
            used: false,
        }
    }
}

fn detach(side: &watch::Sender<Option<Side>>, generation: u64) -> bool {
    side.send_if_modified(|side| {
        let current = side.as_ref().is_some_and(|side| side.generation == generation);
        if current {
            *side = None;
        }
        current
    })
}

fn hex_text(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    fill_random(&mut random);
    hex::encode(random)
}
