//! What happened: events and figures, recorded without waiting, stored behind everybody's back.
//!
//! [`History::record`] numbers an event and puts it into a bounded log in memory; that is all that an actor pays. The
//! keeper ([`keeper`]) stores what is in the log, as fast as the disk takes it. When the disk is too slow, or full, the
//! oldest events that could not be stored fall out of the log, and an event says how many. A watcher is a position in
//! the log, like those of [`crate::publish`]; one that falls behind reads on in the store.

pub(crate) mod keeper;
pub(crate) mod ledger;
mod log;
pub(crate) mod watch;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stormtunnel_model::{
    Event, EventId, EventKind, EventSubject, Fault, FaultKind, Statistics, Timestamp, Tunnel, TunnelId,
    TunnelStatistics,
};
use tokio::sync::watch::Sender;

use crate::history::ledger::Ledger;
use crate::history::log::Log;
use crate::ports::{Clock, EventQuery, HistoryStore, QueryEnd, StoredEvents};
use crate::publish::Meter;

/// Events of an answer when the caller names no limit.
const DEFAULT_EVENTS: usize = 100;
/// Most events of one answer: far below the four MiB that gRPC clients take by default.
const MAX_EVENTS: usize = 1000;
/// Longest detail of a fault that is kept, in bytes: some services answer with whole pages.
const MAX_DETAIL: usize = 1024;

/// The history. Cheap to clone.
#[derive(Clone)]
pub(crate) struct History {
    shared: Arc<Shared>,
}

struct Shared {
    log: Mutex<Log>,
    /// The last event; `None` once the engine is gone.
    latest: Sender<Option<EventId>>,
    ledgers: Mutex<BTreeMap<TunnelId, Arc<Ledger>>>,
    /// Figures of earlier daemon lives, until their tunnels take them.
    earlier: Mutex<HashMap<TunnelId, Statistics>>,
    store: Arc<dyn HistoryStore>,
    clock: Arc<dyn Clock>,
    /// Why nothing can be stored at present.
    trouble: Mutex<Option<Fault>>,
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").finish_non_exhaustive()
    }
}

impl History {
    /// Goes on where the last daemon stopped.
    ///
    /// The first number is at least the time in milliseconds. So no number is given twice, even if the last events of a
    /// daemon that was killed, or a whole database, were lost.
    pub(crate) async fn open(store: Arc<dyn HistoryStore>, clock: Arc<dyn Clock>) -> Result<Self, Fault> {
        let stored = store.load_history().await?;
        let newest = stored.newest.unwrap_or_default();
        let last = newest.max(EventId(clock.wall().as_millis()));
        let shared = Shared {
            log: Mutex::new(Log::new(last)),
            latest: Sender::new(Some(last)),
            ledgers: Mutex::default(),
            earlier: Mutex::new(stored.statistics.into_iter().collect()),
            store,
            clock,
            trouble: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Records an event. Never waits.
    pub(crate) fn record(&self, subject: Option<EventSubject>, kind: EventKind) {
        let mut log = lock(&self.shared.log);
        let id = log.push(self.shared.clock.wall(), subject, kind);
        // A closed history stays closed.
        self.shared.latest.send_if_modified(|latest| {
            let open = latest.is_some();
            *latest = latest.map(|_| id);
            open
        });
    }

    /// The figures of a tunnel from now on.
    pub(crate) fn open_ledger(&self, id: TunnelId, meter: Arc<Meter>) -> Arc<Ledger> {
        let earlier = lock(&self.shared.earlier).remove(&id).unwrap_or_default();
        let ledger = Arc::new(Ledger::new(meter, earlier));
        lock(&self.shared.ledgers).insert(id, Arc::clone(&ledger));
        ledger
    }

    /// Forgets the figures of a tunnel.
    pub(crate) fn close_ledger(&self, id: TunnelId) {
        lock(&self.shared.ledgers).remove(&id);
    }

    /// The figures of a tunnel.
    pub(crate) fn statistics(&self, tunnel: &Tunnel) -> Option<TunnelStatistics> {
        let ledger = Arc::clone(lock(&self.shared.ledgers).get(&tunnel.id)?);
        let now = self.shared.clock.mono();
        Some(TunnelStatistics {
            id: tunnel.id,
            name: tunnel.spec.name.clone(),
            created_at: tunnel.created_at,
            since_created: ledger.since_created(now),
            since_started: ledger.since_started(now),
        })
    }

    /// The newest events, oldest first. `limit` 0 means the default; it is bounded in any case.
    pub(crate) async fn newest(
        &self,
        tunnels: Vec<TunnelId>,
        since: Option<Timestamp>,
        limit: u32,
        before: Option<EventId>,
    ) -> Result<Vec<Event>, Fault> {
        let limit = match limit as usize {
            0 => DEFAULT_EVENTS,
            limit => limit.min(MAX_EVENTS),
        };
        let query = EventQuery { tunnels, since, after: None, before, limit, end: QueryEnd::Newest };
        // Memory first: what leaves it meanwhile is found in the store.
        let recent = lock(&self.shared.log).matching(&query);
        let StoredEvents { events, .. } = self.shared.store.events(query).await?;
        let mut all: BTreeMap<EventId, Event> = events.into_iter().map(|event| (event.id, event)).collect();
        all.extend(recent.into_iter().map(|event| (event.id, Event::clone(&event))));
        let surplus = all.len().saturating_sub(limit);
        Ok(all.into_values().skip(surplus).collect())
    }

    /// The tunnel that events tell of under this name or id.
    ///
    /// # Errors
    /// `TunnelNotFound`, or those of the store.
    pub(crate) async fn find(&self, name_or_id: &str) -> Result<TunnelId, Fault> {
        let remembered = lock(&self.shared.log).find(name_or_id);
        let found = match remembered {
            Some(id) => Some(id),
            None => self.shared.store.find_tunnel(name_or_id.to_owned()).await?,
        };
        let missing = || Fault::new(FaultKind::TunnelNotFound { tunnel: name_or_id.to_owned() }, "");
        found.ok_or_else(missing)
    }

    /// What a person should know of the history itself.
    pub(crate) fn warning(&self) -> Option<String> {
        let trouble = lock(&self.shared.trouble);
        trouble.as_ref().map(|fault| {
            format!(
                "the event history cannot be stored ({}); the newest {} events are kept in memory meanwhile",
                fault.detail,
                log::LENGTH
            )
        })
    }

    /// Ends all watchers.
    pub(crate) fn close(&self) {
        self.shared.latest.send_replace(None);
    }
}

/// A fault as events hold it.
pub(crate) fn bounded(mut fault: Fault) -> Fault {
    if fault.detail.len() > MAX_DETAIL {
        fault.detail.truncate(fault.detail.floor_char_boundary(MAX_DETAIL));
        fault.detail.push('…');
    }
    fault
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that can panic runs between two changes of what these hold.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
