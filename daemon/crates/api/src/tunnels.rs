//! The tunnel service.

use futures_util::StreamExt;
use stormtunnel_engine::{Change, EngineHandle, TunnelResult, Updated, WatchEvent};
use stormtunnel_model::Revision;
use stormtunnel_proto::calls::{
    self, CreateTunnel, StartTunnels, TunnelOutcome, UpdateTunnel, UpdatedTunnel, WatchTunnels, WatchUpdate,
};
use stormtunnel_proto::status::from_fault;
use stormtunnel_proto::v1;
use stormtunnel_proto::v1::tunnel_service_server::TunnelService;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::page::page;
use crate::watch::{Messages, watch};

type Answer<T> = Result<Response<T>, Status>;

pub(crate) struct TunnelApi {
    engine: EngineHandle,
    stopping: CancellationToken,
}

impl TunnelApi {
    pub(crate) fn new(engine: EngineHandle, stopping: CancellationToken) -> Self {
        Self { engine, stopping }
    }

    /// A watch of a tunnel that does not exist would wait for ever. One that resumes may name a tunnel that is gone
    /// since: it is told so by the events.
    fn check_known(&self, since: Option<Revision>, tunnels: &[String]) -> Result<(), Status> {
        if since.is_some() {
            return Ok(());
        }
        tunnels.iter().try_for_each(|tunnel| self.engine.get(tunnel).map(drop)).map_err(from_fault)
    }
}

#[tonic::async_trait]
impl TunnelService for TunnelApi {
    type WatchTunnelsStream = Messages<v1::WatchTunnelsResponse>;

    async fn create_tunnel(
        &self,
        request: Request<v1::CreateTunnelRequest>,
    ) -> Answer<v1::CreateTunnelResponse> {
        let CreateTunnel { request_id, spec, start } = request.into_inner().try_into()?;
        let tunnel = self.engine.create(request_id, spec, start).await.map_err(from_fault)?;
        Ok(Response::new(v1::CreateTunnelResponse { tunnel: Some(tunnel.into()) }))
    }

    async fn update_tunnel(
        &self,
        request: Request<v1::UpdateTunnelRequest>,
    ) -> Answer<v1::UpdateTunnelResponse> {
        let UpdateTunnel { tunnel, patch, etag, validate_only } = request.into_inner().try_into()?;
        let updated = self.engine.update(&tunnel, patch, etag, validate_only).await.map_err(from_fault)?;
        let Updated { tunnel, reconnects, rebinds } = updated;
        Ok(Response::new(UpdatedTunnel { tunnel, reconnects, rebinds }.into()))
    }

    async fn delete_tunnels(
        &self,
        request: Request<v1::DeleteTunnelsRequest>,
    ) -> Answer<v1::DeleteTunnelsResponse> {
        let results = results(self.engine.delete(request.into_inner().tunnels).await);
        Ok(Response::new(v1::DeleteTunnelsResponse { results }))
    }

    async fn start_tunnels(
        &self,
        request: Request<v1::StartTunnelsRequest>,
    ) -> Answer<v1::StartTunnelsResponse> {
        let StartTunnels { tunnels, options } = request.into_inner().try_into()?;
        let results = results(self.engine.start(tunnels, options).await);
        Ok(Response::new(v1::StartTunnelsResponse { results }))
    }

    async fn stop_tunnels(
        &self,
        request: Request<v1::StopTunnelsRequest>,
    ) -> Answer<v1::StopTunnelsResponse> {
        let results = results(self.engine.stop(request.into_inner().tunnels).await);
        Ok(Response::new(v1::StopTunnelsResponse { results }))
    }

    async fn restart_tunnels(
        &self,
        request: Request<v1::RestartTunnelsRequest>,
    ) -> Answer<v1::RestartTunnelsResponse> {
        let StartTunnels { tunnels, options } = request.into_inner().try_into()?;
        let results = results(self.engine.restart(tunnels, options).await);
        Ok(Response::new(v1::RestartTunnelsResponse { results }))
    }

    async fn get_tunnel(&self, request: Request<v1::GetTunnelRequest>) -> Answer<v1::GetTunnelResponse> {
        let tunnel = self.engine.get(&request.into_inner().tunnel).map_err(from_fault)?;
        Ok(Response::new(v1::GetTunnelResponse { tunnel: Some(tunnel.into()) }))
    }

    async fn list_tunnels(
        &self,
        request: Request<v1::ListTunnelsRequest>,
    ) -> Answer<v1::ListTunnelsResponse> {
        let v1::ListTunnelsRequest { page_size, page_token } = request.into_inner();
        let page = page(self.engine.list(), page_size, &page_token).map_err(from_fault)?;
        Ok(Response::new(page.into()))
    }

    async fn watch_tunnels(
        &self,
        request: Request<v1::WatchTunnelsRequest>,
    ) -> Answer<Self::WatchTunnelsStream> {
        let WatchTunnels { since, tunnels } = request.into_inner().into();
        self.check_known(since, &tunnels)?;
        let events = self.engine.watch(since, tunnels).map(|event| Ok(update(event).into()));
        Ok(Response::new(watch(events, self.stopping.clone())))
    }
}

fn results(results: Vec<TunnelResult>) -> Vec<v1::TunnelResult> {
    let outcome = |TunnelResult { requested, outcome }| TunnelOutcome { requested, outcome };
    results.into_iter().map(outcome).map(Into::into).collect()
}

fn update(event: WatchEvent) -> WatchUpdate {
    let WatchEvent { revision, change } = event;
    let event = match change {
        Change::Snapshot(tunnels) => calls::WatchEvent::Snapshot(tunnels),
        Change::Changed(tunnel) => calls::WatchEvent::Changed(Box::new(tunnel)),
        Change::Deleted { id, name } => calls::WatchEvent::Deleted { id, name },
        Change::Resumed => calls::WatchEvent::Resumed,
    };
    WatchUpdate { revision, event }
}
