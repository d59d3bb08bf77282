//! The history of the daemon: what it was told to remember.

use std::pin::Pin;

use stormtunnel_model::{Event, Fault, FaultKind, Timestamp, TunnelStatistics};
use stormtunnel_proto::calls::{EventUpdate, EventWatchUpdate, ListEvents, WatchEvents};
use stormtunnel_proto::status::from_fault;
use stormtunnel_proto::v1;
use stormtunnel_proto::v1::event_service_server::EventService;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

use super::Fake;

#[tonic::async_trait]
impl EventService for Fake {
    type WatchEventsStream = Pin<Box<dyn Stream<Item = Result<v1::WatchEventsResponse, Status>> + Send>>;

    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        let ListEvents { tunnels, since, limit, before } = request.into_inner().try_into()?;
        let since = since.map(Timestamp::as_millis);
        let before = before.map(|id| id.0);
        self.heard(format!("events {} since={since:?} limit={limit} before={before:?}", tunnels.join(" ")))?;
        let state = self.lock();
        let admitted = |event: &&Event| {
            since.is_none_or(|since| event.at.as_millis() >= since)
                && before.is_none_or(|before| event.id.0 < before)
        };
        let mut events: Vec<v1::Event> =
            state.events.iter().filter(admitted).cloned().map(Into::into).collect();
        let surplus = events.len().saturating_sub(limit.min(1000) as usize);
        Ok(Response::new(v1::ListEventsResponse { events: events.split_off(surplus) }))
    }

    async fn watch_events(
        &self,
        request: Request<v1::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let watch = WatchEvents::try_from(request.into_inner())?;
        self.heard(format!("watch events {} limit={}", watch.tunnels.join(" "), watch.limit))?;
        let news = BroadcastStream::new(self.news.subscribe());
        let events = self.lock().events.clone();
        let last = events.last().map(|event| event.id).unwrap_or_default();
        let snapshot = EventWatchUpdate { last, update: EventUpdate::Snapshot(events) };
        let stream = tokio_stream::once(Ok(snapshot)).chain(news);
        let ends = stream.map(|update| match update.unwrap() {
            // Tests end a watch with this.
            EventWatchUpdate { update: EventUpdate::Resumed, .. } => {
                Err(from_fault(Fault::new(FaultKind::ShuttingDown, "")))
            }
            update => Ok(update.into()),
        });
        Ok(Response::new(Box::pin(ends)))
    }

    async fn get_statistics(
        &self,
        request: Request<v1::GetStatisticsRequest>,
    ) -> Result<Response<v1::GetStatisticsResponse>, Status> {
        let tunnels = request.into_inner().tunnels;
        self.heard(format!("statistics {}", tunnels.join(" ")))?;
        let state = self.lock();
        let wanted = |one: &&TunnelStatistics| tunnels.is_empty() || tunnels.contains(&one.name.to_string());
        let statistics: Vec<v1::TunnelStatistics> =
            state.statistics.iter().filter(wanted).cloned().map(Into::into).collect();
        match tunnels.first() {
            Some(tunnel) if statistics.is_empty() => {
                Err(from_fault(Fault::new(FaultKind::TunnelNotFound { tunnel: tunnel.clone() }, "")))
            }
            _ => Ok(Response::new(v1::GetStatisticsResponse { statistics })),
        }
    }
}

impl Fake {
    /// Tells watchers of events something.
    pub(crate) async fn tell(&self, update: EventWatchUpdate) {
        while self.news.receiver_count() == 0 {
            tokio::task::yield_now().await;
        }
        drop(self.news.send(update));
    }
}
