//! What is true now, for everybody who wants to know: the board of all tunnels, and the log of its latest changes.
//!
//! A change gets the next [`Revision`] and goes into one bounded log that all watchers share; a watcher is a position
//! in that log. One that falls behind the log's end gets a new snapshot: memory does not grow with slow watchers, and
//! nothing is lost silently.
//!
//! Traffic counters and other figures change with every packet. They are read live, and published at most once a second, only while
//! somebody watches.

mod meter;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, stream};
use stormtunnel_model::{Epoch, Revision, Timestamp, Tunnel, TunnelId, TunnelName, TunnelStatus};
use tokio::sync::{Notify, watch};

pub use self::meter::{Connected, Meter, SessionMeter};
use crate::ports::StoredTunnel;

/// Changes that a watcher may be behind before it gets a snapshot instead. A state change of each of 1000 tunnels,
/// as after a network outage, fits.
const LOG_LENGTH: usize = 2048;

/// How often traffic counters are published at most.
const STATISTICS_INTERVAL: Duration = Duration::from_secs(1);

/// One message to a watcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchEvent {
    /// The state of affairs after this message.
    pub revision: Revision,
    /// What it brings.
    pub change: Change,
}

/// What a watcher is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all values are the large variant, and each lives for a moment"
)]
pub enum Change {
    /// Replaces all that the watcher knows; ordered by name.
    Snapshot(Vec<Tunnel>),
    /// One tunnel is new or different.
    Changed(Tunnel),
    /// One tunnel is gone.
    Deleted {
        /// Its id.
        id: TunnelId,
        /// Its last name.
        name: TunnelName,
    },
    /// The first message to a watcher that resumes: nothing was lost, changes follow.
    Resumed,
}

/// The board and its log. Cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    shared: Arc<Shared>,
}

struct Shared {
    epoch: Epoch,
    board: Mutex<Board>,
    /// Number of the last change; `None` once the engine is gone.
    latest: watch::Sender<Option<u64>>,
    /// Somebody began to watch.
    watched: Notify,
}

#[derive(Default)]
struct Board {
    counter: u64,
    tunnels: BTreeMap<TunnelId, Entry>,
    /// Consecutive; the last one has number `counter`.
    log: VecDeque<Logged>,
}

struct Entry {
    tunnel: Tunnel,
    meter: Arc<Meter>,
}

#[derive(Clone)]
enum Logged {
    Changed(Arc<Tunnel>),
    Deleted { id: TunnelId, name: TunnelName },
}

impl Entry {
    fn live(&self) -> Tunnel {
        let mut tunnel = self.tunnel.clone();
        self.meter.write_to(&mut tunnel.status);
        tunnel
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("epoch", &self.shared.epoch).finish_non_exhaustive()
    }
}

impl Publisher {
    /// An empty board.
    pub fn new(epoch: Epoch) -> Self {
        let latest = watch::Sender::new(Some(0));
        let shared = Shared { epoch, board: Mutex::default(), latest, watched: Notify::new() };
        Self { shared: Arc::new(shared) }
    }

    /// This daemon life.
    pub fn epoch(&self) -> Epoch {
        self.shared.epoch
    }

    /// Adds a tunnel.
    pub fn add(&self, tunnel: Tunnel, meter: Arc<Meter>) {
        let mut board = self.board();
        let logged = Logged::Changed(Arc::new(tunnel.clone()));
        board.tunnels.insert(tunnel.id, Entry { tunnel, meter });
        self.log(&mut board, logged);
    }

    /// Publishes another spec or intent, or other terms.
    pub fn set_stored(&self, stored: &StoredTunnel) {
        self.change(stored.id, |tunnel| {
            tunnel.etag = stored.etag;
            tunnel.spec.clone_from(&stored.spec);
            tunnel.intent = stored.intent;
            tunnel.terms.clone_from(&stored.terms);
        });
    }

    /// Publishes another status; its counters are taken from the meter.
    pub fn set_status(&self, id: TunnelId, status: &TunnelStatus) {
        self.change(id, |tunnel| tunnel.status.clone_from(status));
    }

    /// Takes a tunnel off the board and answers how it was last.
    pub fn remove(&self, id: TunnelId) -> Option<Tunnel> {
        let mut board = self.board();
        let last = board.tunnels.remove(&id)?.live();
        self.log(&mut board, Logged::Deleted { id, name: last.spec.name.clone() });
        Some(last)
    }

    /// One tunnel.
    pub fn tunnel(&self, id: TunnelId) -> Option<Tunnel> {
        self.board().tunnels.get(&id).map(Entry::live)
    }

    /// One tunnel, by name or id. A name goes first: it is what people type.
    pub fn find(&self, name_or_id: &str) -> Option<Tunnel> {
        let board = self.board();
        let by_name = board.tunnels.values().find(|entry| entry.tunnel.spec.name.as_str() == name_or_id);
        let by_id = || name_or_id.parse().ok().and_then(|id: TunnelId| board.tunnels.get(&id));
        by_name.or_else(by_id).map(Entry::live)
    }

    /// All tunnels, ordered by name.
    pub fn list(&self) -> Vec<Tunnel> {
        snapshot(&self.board(), |_| true)
    }

    /// See [`crate::EngineHandle::watch`].
    pub fn watch(&self, since: Option<Revision>, tunnels: Vec<String>) -> Watcher {
        let latest = self.shared.latest.subscribe();
        self.shared.watched.notify_one();
        let reader = Reader {
            shared: Arc::clone(&self.shared),
            latest,
            position: Position::Start(since),
            filter: Filter { wanted: tunnels, followed: BTreeSet::new() },
        };
        let events = stream::unfold(reader, |mut reader| async move {
            let event = reader.next().await?;
            Some((event, reader))
        });
        Watcher { events: Box::pin(events) }
    }

    /// Publishes changed counters once a second while somebody watches. Never ends.
    pub async fn publish_statistics(self) {
        loop {
            while self.shared.latest.receiver_count() == 0 {
                self.shared.watched.notified().await;
            }
            self.refresh_statistics();
            tokio::time::sleep(STATISTICS_INTERVAL).await;
        }
    }

    /// Ends all watchers.
    pub fn close(&self) {
        self.shared.latest.send_replace(None);
    }

    fn refresh_statistics(&self) {
        let ids: Vec<TunnelId> = self.board().tunnels.keys().copied().collect();
        for id in ids {
            self.change(id, |_| {});
        }
    }

    fn change(&self, id: TunnelId, change: impl FnOnce(&mut Tunnel)) {
        let mut board = self.board();
        let Some(entry) = board.tunnels.get_mut(&id) else { return };
        let mut next = entry.tunnel.clone();
        change(&mut next);
        entry.meter.write_to(&mut next.status);
        if next == entry.tunnel {
            return;
        }
        entry.tunnel.clone_from(&next);
        self.log(&mut board, Logged::Changed(Arc::new(next)));
    }

    fn log(&self, board: &mut Board, change: Logged) {
        board.counter += 1;
        if board.log.len() == LOG_LENGTH {
            board.log.pop_front();
        }
        board.log.push_back(change);
        let counter = board.counter;
        // A closed publisher stays closed.
        self.shared.latest.send_if_modified(|latest| latest.replace_if_open(counter));
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.shared.board()
    }
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board> {
        // No code that can panic runs between two changes of the board: it is whole even after a panic.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a closed publisher closed.
trait ReplaceIfOpen {
    fn replace_if_open(&mut self, counter: u64) -> bool;
}

impl ReplaceIfOpen for Option<u64> {
    fn replace_if_open(&mut self, counter: u64) -> bool {
        let open = self.is_some();
        *self = self.map(|_| counter);
        open
    }
}

fn snapshot(board: &Board, wanted: impl FnMut(&&Entry) -> bool) -> Vec<Tunnel> {
    let mut tunnels: Vec<Tunnel> = board.tunnels.values().filter(wanted).map(Entry::live).collect();
    tunnels.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
    tunnels
}

/// A stream of [`WatchEvent`]s that ends with the engine. The first one is a snapshot, or [`Change::Resumed`].
pub struct Watcher {
    events: Pin<Box<dyn Stream<Item = WatchEvent> + Send>>,
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").finish_non_exhaustive()
    }
}

impl Stream for Watcher {
    type Item = WatchEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        self.events.as_mut().poll_next(cx)
    }
}

/// The state of one watcher.
struct Reader {
    shared: Arc<Shared>,
    latest: watch::Receiver<Option<u64>>,
    position: Position,
    filter: Filter,
}

#[derive(Clone, Copy)]
enum Position {
    /// Nothing was told yet.
    Start(Option<Revision>),
    /// Everything up to this change was told.
    At(u64),
}

/// Which tunnels a watcher is interested in.
struct Filter {
    /// Names and ids; empty means all.
    wanted: Vec<String>,
    /// Tunnels that matched once: a new name does not lose them.
    followed: BTreeSet<TunnelId>,
}

impl Filter {
    fn admits(&mut self, id: TunnelId, name: &TunnelName) -> bool {
        let id_text = id.to_string();
        let named = |wanted: &String| wanted == name.as_str() || *wanted == id_text;
        if self.wanted.is_empty() || self.followed.contains(&id) {
            return true;
        }
        self.wanted.iter().any(named) && self.followed.insert(id)
    }
}

impl Reader {
    async fn next(&mut self) -> Option<WatchEvent> {
        loop {
            (*self.latest.borrow_and_update())?;
            if let Some(event) = self.next_now() {
                return Some(event);
            }
            self.latest.changed().await.ok()?;
        }
    }

    /// The next event that is there already.
    fn next_now(&mut self) -> Option<WatchEvent> {
        let shared = Arc::clone(&self.shared);
        let board = shared.board();
        let told = match self.position {
            Position::Start(Some(since)) if since.epoch == shared.epoch && board.remembers(since.counter) => {
                self.position = Position::At(since.counter);
                return Some(WatchEvent { revision: since, change: Change::Resumed });
            }
            Position::At(told) if board.remembers(told) => told,
            Position::Start(_) | Position::At(_) => return Some(self.snapshot(&board)),
        };
        for counter in told + 1..=board.counter {
            self.position = Position::At(counter);
            let change = match board.logged(counter)? {
                Logged::Changed(tunnel) if self.filter.admits(tunnel.id, &tunnel.spec.name) => {
                    Change::Changed(Tunnel::clone(tunnel))
                }
                Logged::Deleted { id, name } if self.filter.admits(*id, name) => {
                    Change::Deleted { id: *id, name: name.clone() }
                }
                Logged::Changed(_) | Logged::Deleted { .. } => continue,
            };
            return Some(WatchEvent { revision: Revision { epoch: shared.epoch, counter }, change });
        }
        None
    }

    fn snapshot(&mut self, board: &Board) -> WatchEvent {
        self.position = Position::At(board.counter);
        let filter = &mut self.filter;
        let tunnels = snapshot(board, |entry| filter.admits(entry.tunnel.id, &entry.tunnel.spec.name));
        let revision = Revision { epoch: self.shared.epoch, counter: board.counter };
        WatchEvent { revision, change: Change::Snapshot(tunnels) }
    }
}

impl Board {
    /// Whether all changes after `counter` are still in the log.
    fn remembers(&self, counter: u64) -> bool {
        (self.counter - self.log.len() as u64..=self.counter).contains(&counter)
    }

    fn logged(&self, counter: u64) -> Option<&Logged> {
        let first = self.counter - self.log.len() as u64 + 1;
        self.log.get(usize::try_from(counter - first).ok()?)
    }
}

/// A tunnel of which nothing runs, as the board shows it.
pub(crate) fn stopped_tunnel(stored: &StoredTunnel, since: Timestamp) -> Tunnel {
    Tunnel {
        id: stored.id,
        etag: stored.etag,
        created_at: stored.created_at,
        spec: stored.spec.clone(),
        intent: stored.intent,
        terms: stored.terms.clone(),
        status: TunnelStatus::stopped(since),
    }
}

#[cfg(test)]
mod tests;
