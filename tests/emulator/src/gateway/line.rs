//! One direction between client and agent: counts every frame, lets faults happen to it, and keeps it while the other
//! side is away.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore as _, SeedableRng as _};
use ssm_session::{Message, MessageType};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use crate::clock;
use crate::counters::Counter;
use crate::gateway::frames;
use crate::gateway::session::{Session, Side};
use crate::inject::{Corruption, Direction, FrameKind, LineFaults};
use crate::world::World;

/// Frames that may wait at the entrance: enough to keep a line busy, little enough that a slow reader is felt.
const ENTRANCE: usize = 64;
/// Frames that may be delayed at once; more wait at the entrance.
const DELAYED: usize = 4096;
/// Frames taken from the entrance at once.
const BATCH: usize = 16;
/// Frames kept for an absent side. What comes after is lost, and resent by its sender.
const ABSENT: usize = 1000;

/// A message whose date is further off tells of a wrong clock and not of a long way.
const MISDATED_MS: u64 = 60_000;

/// The entrance of a line.
pub(crate) struct Line {
    pub(crate) entrance: mpsc::Sender<Bytes>,
    urgent: Arc<Urgent>,
}

/// What the line's task works with.
pub(crate) struct LineEnd {
    direction: Direction,
    frames: mpsc::Receiver<Bytes>,
    urgent: Arc<Urgent>,
}

/// Messages of the service itself: no faults, and no waiting behind data.
#[derive(Default)]
struct Urgent {
    frames: Mutex<VecDeque<Service>>,
    added: Notify,
}

enum Service {
    Now(Bytes),
    /// Behind everything that is in the line; nothing follows.
    Last(Bytes),
}

impl Line {
    pub(crate) fn new(direction: Direction) -> (Self, LineEnd) {
        let (entrance, frames) = mpsc::channel(ENTRANCE);
        let urgent = Arc::<Urgent>::default();
        (Self { entrance, urgent: Arc::clone(&urgent) }, LineEnd { direction, frames, urgent })
    }

    pub(crate) fn urgent(&self, frame: Bytes) {
        self.urgent.push(Service::Now(frame));
    }

    pub(crate) fn last(&self, frame: Bytes) {
        self.urgent.push(Service::Last(frame));
    }
}

impl Urgent {
    fn push(&self, frame: Service) {
        self.queue().push_back(frame);
        self.added.notify_one();
    }

    fn pop(&self) -> Option<Service> {
        self.queue().pop_front()
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Service>> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LineEnd {
    /// Runs the line until its last message, or until the session is over and nothing is left.
    pub(crate) async fn run(
        self,
        world: Arc<World>,
        session: Arc<Session>,
        side: watch::Receiver<Option<Side>>,
    ) {
        let faults = world.line_faults(self.direction);
        let rng = seeded(*faults.borrow(), self.direction);
        let mut runner = Runner {
            rng,
            direction: self.direction,
            urgent: self.urgent,
            world,
            session,
            attached: None,
            side,
            faults,
            delayed: BinaryHeap::new(),
            absent: VecDeque::new(),
            entered: 0,
            last_due: Instant::now(),
            next_number: 0,
        };
        runner.run(self.frames).await;
    }
}

struct Runner {
    direction: Direction,
    urgent: Arc<Urgent>,
    world: Arc<World>,
    session: Arc<Session>,
    /// Who takes the frames, as of the last look at `side`.
    attached: Option<Side>,
    side: watch::Receiver<Option<Side>>,
    faults: watch::Receiver<LineFaults>,
    rng: ChaCha8Rng,
    /// By due time, then by entry.
    delayed: BinaryHeap<Reverse<(Instant, u64, Bytes)>>,
    absent: VecDeque<Bytes>,
    entered: u64,
    last_due: Instant,
    next_number: i64,
}

impl Runner {
    async fn run(&mut self, mut frames: mpsc::Receiver<Bytes>) {
        let urgent = Arc::clone(&self.urgent);
        let over = self.session.over.clone();
        let mut entering = Vec::with_capacity(BATCH);
        loop {
            while let Some(service) = urgent.pop() {
                match service {
                    Service::Now(frame) => self.deliver(frame).await,
                    Service::Last(frame) => return self.finish(frame, &mut frames).await,
                }
            }
            self.deliver_due().await;
            let due = self.delayed.peek().map(|Reverse((due, ..))| *due);
            tokio::select! {
                biased;
                () = urgent.added.notified() => {}
                () = over.cancelled(), if self.direction == Direction::ToAgent => return,
                changed = self.side.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.look().await;
                }
                changed = self.faults.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.rng = seeded(*self.faults.borrow(), self.direction);
                }
                () = sleep_until(due) => {}
                received = frames.recv_many(&mut entering, BATCH), if self.delayed.len() < DELAYED => {
                    if received == 0 {
                        return;
                    }
                    for frame in entering.drain(..) {
                        self.enter(frame);
                    }
                }
            }
        }
    }

    /// Empties the line, sends the last message and lets the client go.
    async fn finish(&mut self, last: Bytes, frames: &mut mpsc::Receiver<Bytes>) {
        while let Ok(frame) = frames.try_recv() {
            self.enter(frame);
        }
        while let Some(Reverse((_, _, frame))) = self.delayed.pop() {
            self.deliver(frame).await;
        }
        self.deliver(last).await;
        self.session.release_client();
    }

    /// Counts a frame and decides what becomes of it.
    fn enter(&mut self, mut frame: Bytes) {
        let message = Message::decode(frame.clone()).ok();
        let kind = frames::kind(message.as_ref());
        let repeated = self.count(kind, message.as_ref());
        if message.as_ref().is_some_and(|message| message.message_type == MessageType::AgentSessionState) {
            // For the service alone.
            return;
        }
        let faults = *self.faults.borrow();
        if self.world.plan().loses(self.direction, kind) || self.chance(faults.loss) {
            return self.world.counters.increment(Counter::InjectedLost);
        }
        if let Some(message) = &message {
            match self.direction {
                Direction::ToClient if repeated => self.session.repeated(message.sequence_number),
                Direction::ToAgent if kind == FrameKind::Ack => self.session.acknowledged(&message.payload),
                Direction::ToClient | Direction::ToAgent => {}
            }
        }
        if let (FrameKind::Data, Direction::ToClient, Some(message)) = (kind, self.direction, message) {
            frame = self.corrupted(frame, message);
        }
        let due = self.due(faults);
        if self.chance(faults.duplicate) {
            self.world.counters.increment(Counter::InjectedDuplicated);
            self.push(due, frame.clone());
        }
        self.push(due, frame);
    }

    /// When a frame that enters now is to be delivered.
    fn due(&mut self, faults: LineFaults) -> Instant {
        let counters = Arc::clone(&self.world.counters);
        let punctual = Instant::now() + Duration::from_millis(faults.latency_ms);
        if faults.latency_ms > 0 {
            counters.increment(Counter::InjectedDelayed);
        }
        let jitter = self.up_to(faults.jitter_ms);
        if !jitter.is_zero() {
            counters.increment(Counter::InjectedJittered);
        }
        if faults.jitter_ms > 0 && faults.jitter_reorders {
            return punctual + jitter;
        }
        let in_order = self.last_due.max(punctual + jitter);
        if self.chance(faults.reorder) {
            counters.increment(Counter::InjectedReordered);
            return in_order + Duration::from_millis(faults.reorder_ms.max(1));
        }
        self.last_due = in_order;
        in_order
    }

    fn push(&mut self, due: Instant, frame: Bytes) {
        self.entered += 1;
        self.delayed.push(Reverse((due, self.entered, frame)));
    }

    fn corrupted(&self, frame: Bytes, message: Message) -> Bytes {
        let Some(corruption) = self.world.plan().next_corruption() else { return frame };
        self.world.counters.increment(Counter::InjectedCorrupted);
        match corruption {
            Corruption::BadDigest => frames::with_bad_digest(&frame),
            Corruption::SmuxViolation => frames::with_mux_violation(message),
            // Sent at once when they were ordered.
            Corruption::Garbage | Corruption::TruncatedHeader | Corruption::WrongLength => frame,
        }
    }

    /// Answers whether it is a message that was sent before.
    fn count(&mut self, kind: FrameKind, message: Option<&Message>) -> bool {
        let names = CounterNames::of(self.direction);
        let counters = &self.world.counters;
        counters.increment(names.of_kind(kind));
        let Some(message) = message else { return false };
        let mut repeated = false;
        if matches!(message.message_type, MessageType::InputStreamData | MessageType::OutputStreamData) {
            repeated = message.sequence_number < self.next_number;
            if repeated {
                counters.increment(names.repeated);
            }
            if message.created_date.abs_diff(clock::now().wall_ms) > MISDATED_MS {
                counters.increment(names.misdated);
            }
            self.next_number = self.next_number.max(message.sequence_number + 1);
        }
        if kind == FrameKind::Data {
            let bytes = u64::try_from(message.payload.len()).unwrap_or(u64::MAX);
            counters.add(names.bytes, bytes);
            if self.session.relayed(&self.world, bytes) {
                counters.increment(Counter::InjectedClientDrops);
            }
        }
        repeated
    }

    fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && f64::from(self.rng.next_u32()) < probability * f64::from(u32::MAX)
    }

    /// A random time from 0 to `most_ms`.
    fn up_to(&mut self, most_ms: u64) -> Duration {
        let most = Duration::from_millis(most_ms);
        if most.is_zero() { most } else { most.mul_f64(f64::from(self.rng.next_u32()) / f64::from(u32::MAX)) }
    }

    async fn deliver_due(&mut self) {
        let now = Instant::now();
        while self.delayed.peek().is_some_and(|Reverse((due, ..))| *due <= now) {
            if let Some(Reverse((_, _, frame))) = self.delayed.pop() {
                self.deliver(frame).await;
            }
        }
    }

    /// Hands a frame to whoever is attached, or keeps it.
    async fn deliver(&mut self, frame: Bytes) {
        if self.side.has_changed().unwrap_or_default() {
            self.look().await;
        }
        match &self.attached {
            // A send fails when the connection has just gone: the frame is lost with it, as on a real network.
            Some(side) => {
                let _ = side.frames.send(frame).await;
            }
            None if self.absent.len() < ABSENT => {
                self.world.counters.increment(Counter::FramesBuffered);
                self.absent.push_back(frame);
            }
            None => self.world.counters.increment(Counter::FramesOverflowed),
        }
    }

    /// Sees who is attached now, and hands over what was kept for them.
    async fn look(&mut self) {
        self.attached = self.side.borrow_and_update().clone();
        let Some(side) = &self.attached else { return };
        for frame in self.absent.drain(..) {
            let _ = side.frames.send(frame).await;
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn seeded(faults: LineFaults, direction: Direction) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(faults.seed);
    rng.set_stream(u64::from(direction == Direction::ToClient));
    rng
}

struct CounterNames {
    data: Counter,
    acks: Counter,
    handshake: Counter,
    flags: Counter,
    other: Counter,
    repeated: Counter,
    misdated: Counter,
    bytes: Counter,
}

impl CounterNames {
    fn of(direction: Direction) -> &'static Self {
        match direction {
            Direction::ToAgent => &Self {
                data: Counter::DataFromClient,
                acks: Counter::AcksFromClient,
                handshake: Counter::HandshakeFromClient,
                flags: Counter::FlagsFromClient,
                other: Counter::OtherFromClient,
                repeated: Counter::RepeatedFromClient,
                misdated: Counter::MisdatedFromClient,
                bytes: Counter::BytesFromClient,
            },
            Direction::ToClient => &Self {
                data: Counter::DataFromAgent,
                acks: Counter::AcksFromAgent,
                handshake: Counter::HandshakeFromAgent,
                flags: Counter::FlagsFromAgent,
                other: Counter::OtherFromAgent,
                repeated: Counter::RepeatedFromAgent,
                misdated: Counter::MisdatedFromAgent,
                bytes: Counter::BytesFromAgent,
            },
        }
    }

    fn of_kind(&self, kind: FrameKind) -> Counter {
        match kind {
            FrameKind::Data => self.data,
            FrameKind::Ack => self.acks,
            FrameKind::Handshake => self.handshake,
            FrameKind::Flag => self.flags,
            FrameKind::Other => self.other,
        }
    }
}
