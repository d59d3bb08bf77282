//! Watchers of the history: each is a position in it.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::{Stream, stream};
use stormtunnel_model::{Event, EventId, Fault, Timestamp, TunnelId};
use tokio::sync::watch::Receiver;

use super::{History, lock};
use crate::ports::{EventQuery, QueryEnd, StoredEvents};

/// Events that a watcher takes at a time.
const PAGE: usize = 256;

/// One message to a watcher of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventNews {
    /// Everything up to this event has been told.
    pub last: EventId,
    /// What it brings.
    pub change: EventChange,
}

/// What a watcher of events is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all values are the large variant, and each lives for a moment"
)]
pub enum EventChange {
    /// Replaces all that the watcher knows: the newest events, oldest first.
    Snapshot(Vec<Event>),
    /// Something happened.
    Recorded(Event),
    /// The first message to a watcher that resumes: nothing was lost, events follow.
    Resumed,
}

/// What a watcher of events wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EventsWatched {
    /// Empty means all.
    pub(crate) tunnels: Vec<TunnelId>,
    pub(crate) after: Option<EventId>,
    /// Of a snapshot.
    pub(crate) since: Option<Timestamp>,
    /// Of a snapshot.
    pub(crate) limit: u32,
}

/// A stream of [`EventNews`] that ends with the engine, or with the fault of a store that cannot be read. The first one
/// is a snapshot, or [`EventChange::Resumed`].
pub struct EventWatcher {
    news: Pin<Box<dyn Stream<Item = Result<EventNews, Fault>> + Send>>,
}

impl fmt::Debug for EventWatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventWatcher").finish_non_exhaustive()
    }
}

impl Stream for EventWatcher {
    type Item = Result<EventNews, Fault>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.news.as_mut().poll_next(cx)
    }
}

impl History {
    pub(crate) fn watch(&self, watched: EventsWatched) -> EventWatcher {
        let position = Position::Start(watched.after);
        let latest = self.shared.latest.subscribe();
        let reader = Reader { history: self.clone(), latest, watched, position, ahead: VecDeque::new() };
        let news = stream::unfold(Some(reader), |reader| async move {
            let mut reader = reader?;
            match reader.next().await {
                Ok(news) => Some((Ok(news?), Some(reader))),
                Err(fault) => Some((Err(fault), None)),
            }
        });
        EventWatcher { news: Box::pin(news) }
    }
}

/// The state of one watcher.
struct Reader {
    history: History,
    latest: Receiver<Option<EventId>>,
    watched: EventsWatched,
    position: Position,
    /// Taken from the history and not told yet.
    ahead: VecDeque<Arc<Event>>,
}

#[derive(Clone, Copy)]
enum Position {
    /// Nothing was told yet.
    Start(Option<EventId>),
    /// Everything up to this event was taken.
    At(EventId),
}

impl Reader {
    async fn next(&mut self) -> Result<Option<EventNews>, Fault> {
        loop {
            if self.latest.borrow_and_update().is_none() {
                return Ok(None);
            }
            if let Some(event) = self.ahead.pop_front() {
                let change = EventChange::Recorded(Event::clone(&event));
                return Ok(Some(EventNews { last: event.id, change }));
            }
            match self.position {
                Position::Start(None) => return self.snapshot().await.map(Some),
                Position::Start(Some(after)) => return self.resume(after).await.map(Some),
                Position::At(told) => {
                    if !self.take_after(told).await? {
                        return self.snapshot().await.map(Some);
                    }
                }
            }
            if self.ahead.is_empty() && self.has_all() && self.latest.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    fn has_all(&self) -> bool {
        let last = lock(&self.history.shared.log).last();
        matches!(self.position, Position::At(taken) if taken == last)
    }

    async fn snapshot(&mut self) -> Result<EventNews, Fault> {
        let last = lock(&self.history.shared.log).last();
        let EventsWatched { tunnels, since, limit, .. } = self.watched.clone();
        let until = Some(EventId(last.0.saturating_add(1)));
        let events = self.history.newest(tunnels, since, limit, until).await?;
        self.position = Position::At(last);
        Ok(EventNews { last, change: EventChange::Snapshot(events) })
    }

    async fn resume(&mut self, after: EventId) -> Result<EventNews, Fault> {
        let (last, covers) = {
            let log = lock(&self.history.shared.log);
            (log.last(), log.covers_after())
        };
        if after > last || (after < covers && !self.take_stored(after, covers).await?) {
            return self.snapshot().await;
        }
        if after >= covers {
            self.position = Position::At(after);
        }
        Ok(EventNews { last: after, change: EventChange::Resumed })
    }

    /// Takes what came after `told`. Answers false when some of that is not kept any more.
    async fn take_after(&mut self, told: EventId) -> Result<bool, Fault> {
        let (events, covers) = {
            let log = lock(&self.history.shared.log);
            let covers = log.covers_after();
            (if told >= covers { log.after(told, PAGE) } else { Vec::new() }, covers)
        };
        if told < covers {
            return self.take_stored(told, covers).await;
        }
        if let Some(last) = events.last() {
            self.position = Position::At(last.id);
        }
        let query = self.query(None);
        self.ahead.extend(events.into_iter().filter(|event| query.admits(event)));
        Ok(true)
    }

    /// The same from the store, where everything up to `covers` is.
    async fn take_stored(&mut self, told: EventId, covers: EventId) -> Result<bool, Fault> {
        let StoredEvents { events, oldest } =
            self.history.shared.store.events(self.query(Some(told))).await?;
        if oldest.is_none_or(|oldest| oldest > told) {
            return Ok(false);
        }
        let taken = match events.last() {
            Some(last) if events.len() == PAGE => last.id,
            Some(last) => last.id.max(covers),
            None => covers,
        };
        self.position = Position::At(taken);
        self.ahead.extend(events.into_iter().map(Arc::new));
        Ok(true)
    }

    fn query(&self, after: Option<EventId>) -> EventQuery {
        EventQuery {
            tunnels: self.watched.tunnels.clone(),
            after,
            limit: PAGE,
            end: QueryEnd::Oldest,
            ..EventQuery::default()
        }
    }
}
