//! A history that forgets everything with the process.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use stormtunnel_model::{Event, EventKind, Fault, Statistics, TunnelId};
use tokio::sync::watch;

use super::PATIENCE;
use crate::ports::{
    EventQuery, HistoryBatch, HistoryStore, PortFuture, QueryEnd, StoredEvents, StoredHistory,
};

/// Events and statistics in memory.
#[derive(Debug, Default)]
pub struct MemoryHistory {
    events: watch::Sender<Vec<Event>>,
    statistics: Mutex<BTreeMap<TunnelId, Statistics>>,
    broken: watch::Sender<Option<Fault>>,
}

impl MemoryHistory {
    /// What is stored now, oldest first.
    pub fn events(&self) -> Vec<Event> {
        self.events.borrow().clone()
    }

    /// Stored figures of a tunnel.
    pub fn statistics(&self, id: TunnelId) -> Option<Statistics> {
        self.statistics.lock().unwrap_or_else(PoisonError::into_inner).get(&id).copied()
    }

    /// From now on nothing can be stored because of `fault`; `None` mends it.
    pub fn break_with(&self, fault: Option<Fault>) {
        self.broken.send_replace(fault);
    }

    /// Retention: forgets all but the newest events.
    pub fn keep_newest(&self, count: usize) {
        self.events.send_modify(|events| drop(events.drain(..events.len().saturating_sub(count))));
    }

    /// Waits until an event is stored.
    ///
    /// # Panics
    /// When it is not within [`PATIENCE`].
    pub async fn wait_for(&self, wanted: impl Fn(&EventKind) -> bool) {
        let mut events = self.events.subscribe();
        let stored = events.wait_for(|events| events.iter().any(|event| wanted(&event.kind)));
        let waited = tokio::time::timeout(PATIENCE, stored).await.is_ok();
        assert!(waited, "the event never came; there are {:?}", self.events());
    }
}

impl HistoryStore for MemoryHistory {
    fn load_history(&self) -> PortFuture<'_, Result<StoredHistory, Fault>> {
        let newest = self.events.borrow().last().map(|event| event.id);
        let statistics = self.statistics.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(std::future::ready(Ok(StoredHistory { newest, statistics })))
    }

    fn add_history(&self, batch: HistoryBatch) -> PortFuture<'_, Result<(), Fault>> {
        if let Some(fault) = self.broken.borrow().clone() {
            return Box::pin(std::future::ready(Err(fault)));
        }
        self.statistics.lock().unwrap_or_else(PoisonError::into_inner).extend(batch.statistics);
        self.events.send_modify(|events| {
            let newest = events.last().map(|event| event.id);
            let new = batch.events.iter().filter(|event| newest.is_none_or(|newest| event.id > newest));
            events.extend(new.map(|event| Event::clone(event)));
        });
        Box::pin(std::future::ready(Ok(())))
    }

    fn events(&self, query: EventQuery) -> PortFuture<'_, Result<StoredEvents, Fault>> {
        let stored = self.events.borrow();
        let mut events: Vec<Event> = stored.iter().filter(|event| query.admits(event)).cloned().collect();
        match query.end {
            QueryEnd::Newest => drop(events.drain(..events.len().saturating_sub(query.limit))),
            QueryEnd::Oldest => events.truncate(query.limit),
        }
        let oldest = stored.first().map(|event| event.id);
        Box::pin(std::future::ready(Ok(StoredEvents { events, oldest })))
    }

    fn find_tunnel(&self, name_or_id: String) -> PortFuture<'_, Result<Option<TunnelId>, Fault>> {
        let id: Option<TunnelId> = name_or_id.parse().ok();
        let stored = self.events.borrow();
        let subjects = stored.iter().rev().filter_map(|event| event.subject.as_ref());
        let mut named = subjects
            .filter(|subject| subject.name.as_str() == name_or_id || Some(subject.tunnel) == id)
            .map(|subject| subject.tunnel);
        Box::pin(std::future::ready(Ok(named.next())))
    }
}
