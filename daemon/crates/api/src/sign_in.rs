//! The sign-in service.

use std::future::ready;

use futures_util::{Stream, StreamExt, stream};
use stormtunnel_engine::EngineHandle;
use stormtunnel_engine::sign_in::board::{SignInChange, SignInNews};
use stormtunnel_engine::sign_in::machine::LoginBy;
use stormtunnel_engine::sign_in::registry::{LoginRequest, SignIns};
use stormtunnel_engine::sign_in::running::LoginNews;
use stormtunnel_model::{AccountId, Revision, SsoConfig};
use stormtunnel_proto::calls::{Login, LoginUpdate, Logout, SignInWatchEvent, SignInWatchUpdate};
use stormtunnel_proto::conversions::{ConversionError, parse_choice};
use stormtunnel_proto::status::from_fault;
use stormtunnel_proto::v1;
use stormtunnel_proto::v1::sign_in_service_server::SignInService;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::watch::{Messages, stopping, watch};

type Answer<T> = Result<Response<T>, Status>;

pub(crate) struct SignInApi {
    sign_ins: SignIns,
    stopping: CancellationToken,
}

impl SignInApi {
    pub(crate) fn new(engine: &EngineHandle, stopping: CancellationToken) -> Self {
        Self { sign_ins: engine.sign_ins().clone(), stopping }
    }
}

#[tonic::async_trait]
impl SignInService for SignInApi {
    type WatchSignInsStream = Messages<v1::WatchSignInsResponse>;
    type LoginStream = Messages<v1::LoginResponse>;

    async fn list_sign_ins(&self, _: Request<v1::ListSignInsRequest>) -> Answer<v1::ListSignInsResponse> {
        let sign_ins = self.sign_ins.list().into_iter().map(Into::into).collect();
        Ok(Response::new(v1::ListSignInsResponse { sign_ins }))
    }

    async fn watch_sign_ins(
        &self,
        request: Request<v1::WatchSignInsRequest>,
    ) -> Answer<Self::WatchSignInsStream> {
        let since = request.into_inner().since.map(Revision::from);
        let news = self.sign_ins.watch(since).map(|news| Ok(update(news).into()));
        Ok(Response::new(watch(news, self.stopping.clone())))
    }

    async fn login(&self, request: Request<v1::LoginRequest>) -> Answer<Self::LoginStream> {
        let Login { sign_in, wishes, surroundings, if_needed } = request.into_inner().try_into()?;
        // Somebody is there: the call.
        let by = if if_needed { LoginBy::Tunnel { attended: true } } else { LoginBy::Person };
        let request = LoginRequest { sign_in, by, wishes, surroundings };
        let login = self.sign_ins.login(&request).map_err(from_fault)?;
        let news = login.map(|news| news.map(|news| told(news).into()).map_err(from_fault));
        Ok(Response::new(until_stopped(news, self.stopping.clone())))
    }

    async fn cancel_login(
        &self,
        request: Request<v1::CancelLoginRequest>,
    ) -> Answer<v1::CancelLoginResponse> {
        let choice = parse_choice(request.into_inner().sign_in)?;
        self.sign_ins.cancel_login(&choice).await.map_err(from_fault)?;
        Ok(Response::new(v1::CancelLoginResponse {}))
    }

    async fn logout(&self, request: Request<v1::LogoutRequest>) -> Answer<v1::LogoutResponse> {
        let names = match Logout::try_from(request.into_inner())? {
            Logout::All => self.sign_ins.logout_all().await.map_err(from_fault)?,
            Logout::One(choice) => vec![self.sign_ins.logout(&choice).await.map_err(from_fault)?],
        };
        let sign_ins = names.into_iter().map(String::from).collect();
        Ok(Response::new(v1::LogoutResponse { sign_ins }))
    }

    async fn refresh(&self, request: Request<v1::RefreshRequest>) -> Answer<v1::RefreshResponse> {
        let choice = parse_choice(request.into_inner().sign_in)?;
        let sign_in = self.sign_ins.refresh(&choice).await.map_err(from_fault)?;
        Ok(Response::new(v1::RefreshResponse { sign_in: Some(sign_in.into()) }))
    }

    async fn list_accounts(
        &self,
        request: Request<v1::ListAccountsRequest>,
    ) -> Answer<v1::ListAccountsResponse> {
        let choice = parse_choice(request.into_inner().sign_in)?;
        let accounts = self.sign_ins.accounts(&choice).await.map_err(from_fault)?;
        let accounts = accounts.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::ListAccountsResponse { accounts }))
    }

    async fn list_roles(&self, request: Request<v1::ListRolesRequest>) -> Answer<v1::ListRolesResponse> {
        let v1::ListRolesRequest { sign_in, account } = request.into_inner();
        let (choice, account) =
            (parse_choice(sign_in)?, account.parse::<AccountId>().map_err(ConversionError::from)?);
        let roles = self.sign_ins.roles(&choice, &account).await.map_err(from_fault)?;
        Ok(Response::new(v1::ListRolesResponse { roles }))
    }

    async fn configure(&self, request: Request<v1::ConfigureRequest>) -> Answer<v1::ConfigureResponse> {
        let config = SsoConfig::try_from(request.into_inner())?;
        let configured = self.sign_ins.configure(&config).await.map_err(from_fault)?;
        Ok(Response::new(configured.into()))
    }
}

/// The messages to their end; or until the daemon stops, which does not wait for a person, and with that as their reason.
fn until_stopped<T: Send + 'static>(
    messages: impl Stream<Item = Result<T, Status>> + Send + 'static,
    stop: CancellationToken,
) -> Messages<T> {
    let to_their_end = messages.map(Some).chain(stream::once(ready(None)));
    let stopped = stream::once(async { Some(Err(stopping())) });
    let all = to_their_end.take_until(stop.cancelled_owned()).chain(stopped);
    Box::pin(all.take_while(|message| ready(message.is_some())).filter_map(ready))
}

fn update(SignInNews { revision, change }: SignInNews) -> SignInWatchUpdate {
    let event = match change {
        SignInChange::Snapshot(sign_ins) => SignInWatchEvent::Snapshot(sign_ins),
        SignInChange::Changed(sign_in) => SignInWatchEvent::Changed(sign_in),
        SignInChange::Removed(name) => SignInWatchEvent::Removed(name),
        SignInChange::Resumed => SignInWatchEvent::Resumed,
    };
    SignInWatchUpdate { revision, event }
}

fn told(news: LoginNews) -> LoginUpdate {
    match news {
        LoginNews::Begun { sign_in, plan } => {
            LoginUpdate::Begun { sign_in, flow: plan.flow, reason: plan.reason.to_owned() }
        }
        LoginNews::Progress(progress) => LoginUpdate::Progress(progress),
        LoginNews::SignedIn(sign_in) => LoginUpdate::SignedIn(sign_in),
    }
}
