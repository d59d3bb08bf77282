//! The event service.

use futures_util::StreamExt;
use stormtunnel_engine::{EngineHandle, EventChange, EventNews};
use stormtunnel_proto::calls::{EventUpdate, EventWatchUpdate, ListEvents, WatchEvents};
use stormtunnel_proto::status::from_fault;
use stormtunnel_proto::v1;
use stormtunnel_proto::v1::event_service_server::EventService;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::watch::{Messages, watch};

type Answer<T> = Result<Response<T>, Status>;

pub(crate) struct EventApi {
    engine: EngineHandle,
    stopping: CancellationToken,
}

impl EventApi {
    pub(crate) fn new(engine: EngineHandle, stopping: CancellationToken) -> Self {
        Self { engine, stopping }
    }
}

#[tonic::async_trait]
impl EventService for EventApi {
    type WatchEventsStream = Messages<v1::WatchEventsResponse>;

    async fn list_events(&self, request: Request<v1::ListEventsRequest>) -> Answer<v1::ListEventsResponse> {
        let ListEvents { tunnels, since, limit, before } = request.into_inner().try_into()?;
        let events = self.engine.events(&tunnels, since, limit, before).await.map_err(from_fault)?;
        Ok(Response::new(v1::ListEventsResponse { events: events.into_iter().map(Into::into).collect() }))
    }

    async fn watch_events(
        &self,
        request: Request<v1::WatchEventsRequest>,
    ) -> Answer<Self::WatchEventsStream> {
        let WatchEvents { tunnels, after, since, limit } = request.into_inner().try_into()?;
        let watched = self.engine.watch_events(&tunnels, after, since, limit).await;
        let news = watched.map_err(from_fault)?.map(|news| news.map(message).map_err(from_fault));
        Ok(Response::new(watch(news, self.stopping.clone())))
    }

    async fn get_statistics(
        &self,
        request: Request<v1::GetStatisticsRequest>,
    ) -> Answer<v1::GetStatisticsResponse> {
        let statistics = self.engine.statistics(&request.into_inner().tunnels).map_err(from_fault)?;
        let statistics = statistics.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::GetStatisticsResponse { statistics }))
    }
}

fn message(EventNews { last, change }: EventNews) -> v1::WatchEventsResponse {
    let update = match change {
        EventChange::Snapshot(events) => EventUpdate::Snapshot(events),
        EventChange::Recorded(event) => EventUpdate::Recorded(Box::new(event)),
        EventChange::Resumed => EventUpdate::Resumed,
    };
    EventWatchUpdate { last, update }.into()
}
