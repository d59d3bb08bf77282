//! Sign-ins: what the daemon was told.

use std::pin::Pin;
use std::sync::Arc;

use stormtunnel_model::{Fault, FaultKind, LoginFlow, Opener, SignIn, SignInChoice};
use stormtunnel_proto::calls::{Login, LoginUpdate, Logout};
use stormtunnel_proto::conversions::parse_choice;
use stormtunnel_proto::status::from_fault;
use stormtunnel_proto::v1;
use stormtunnel_proto::v1::sign_in_service_server::SignInService;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

use super::Fake;

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl SignInService for Fake {
    type WatchSignInsStream = Messages<v1::WatchSignInsResponse>;
    type LoginStream = Messages<v1::LoginResponse>;

    async fn list_sign_ins(
        &self,
        _: Request<v1::ListSignInsRequest>,
    ) -> Result<Response<v1::ListSignInsResponse>, Status> {
        let sign_ins = self.lock().sign_ins.iter().cloned().map(Into::into).collect();
        Ok(Response::new(v1::ListSignInsResponse { sign_ins }))
    }

    async fn watch_sign_ins(
        &self,
        _: Request<v1::WatchSignInsRequest>,
    ) -> Result<Response<Self::WatchSignInsStream>, Status> {
        Err(Status::unimplemented("no command watches sign-ins"))
    }

    /// Tells what the test planned, and then signed in; or waits for ever after it.
    async fn login(&self, request: Request<v1::LoginRequest>) -> Result<Response<Self::LoginStream>, Status> {
        let Login { sign_in, wishes, surroundings, if_needed } = request.into_inner().try_into()?;
        let flow = match wishes.flow {
            None => "-",
            Some(LoginFlow::AuthorizationCode) => "code",
            Some(LoginFlow::DeviceCode) => "device",
        };
        let opener = match wishes.opener {
            Opener::Default => "-".to_owned(),
            Opener::Nobody => "nobody".to_owned(),
            Opener::Command(command) => command,
        };
        let remote = if surroundings.remote { " remote" } else { "" };
        let needed = if if_needed { " if needed" } else { "" };
        self.heard(format!("login {} {flow} {opener}{remote}{needed}", shown(&sign_in)))?;
        if self.lock().holds_logins {
            // Drops what it holds when the client is gone.
            let waiting = Arc::clone(&self.lock().waiting_login);
            let held = tokio_stream::pending().map(move |message| {
                let _waiting = &waiting;
                message
            });
            return Ok(Response::new(Box::pin(held)));
        }
        let plan = self.lock().login.clone();
        let plan = plan.ok_or_else(|| from_fault(unknown(&sign_in)))?;
        self.lock().lacks_login &= !matches!(plan.last(), Some(Ok(LoginUpdate::SignedIn(_))));
        let messages: Vec<Result<v1::LoginResponse, Status>> =
            plan.into_iter().map(|update| update.map(Into::into).map_err(from_fault)).collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(messages))))
    }

    async fn cancel_login(
        &self,
        _: Request<v1::CancelLoginRequest>,
    ) -> Result<Response<v1::CancelLoginResponse>, Status> {
        Err(Status::unimplemented("no command cancels a login but by leaving"))
    }

    async fn logout(
        &self,
        request: Request<v1::LogoutRequest>,
    ) -> Result<Response<v1::LogoutResponse>, Status> {
        let logout = Logout::try_from(request.into_inner())?;
        let sign_ins = match &logout {
            Logout::All => self.lock().sign_ins.iter().map(|one| one.name.to_string()).collect(),
            Logout::One(choice) => vec![self.meant(choice)?.name.into()],
        };
        Ok(Response::new(v1::LogoutResponse { sign_ins }))
    }

    async fn refresh(
        &self,
        request: Request<v1::RefreshRequest>,
    ) -> Result<Response<v1::RefreshResponse>, Status> {
        let choice = parse_choice(request.into_inner().sign_in)?;
        let sign_in = self.meant(&choice)?;
        if let Some(fault) = sign_in.status.state.fault(&sign_in.name) {
            return Err(from_fault(fault));
        }
        Ok(Response::new(v1::RefreshResponse { sign_in: Some(sign_in.into()) }))
    }

    async fn list_accounts(
        &self,
        request: Request<v1::ListAccountsRequest>,
    ) -> Result<Response<v1::ListAccountsResponse>, Status> {
        let choice = parse_choice(request.into_inner().sign_in)?;
        self.heard(format!("accounts of {}", shown(&choice)))?;
        let accounts = self.accounts(&choice).map_err(from_fault)?.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::ListAccountsResponse { accounts }))
    }

    async fn list_roles(
        &self,
        request: Request<v1::ListRolesRequest>,
    ) -> Result<Response<v1::ListRolesResponse>, Status> {
        let account = request.into_inner().account;
        self.heard(format!("roles in {account}"))?;
        Ok(Response::new(v1::ListRolesResponse { roles: self.roles(&account) }))
    }

    async fn configure(
        &self,
        request: Request<v1::ConfigureRequest>,
    ) -> Result<Response<v1::ConfigureResponse>, Status> {
        let config = request.into_inner().try_into()?;
        let configured = self.write(&config)?;
        Ok(Response::new(configured.map_err(from_fault)?.into()))
    }
}

impl Fake {
    /// The sign-ins from now on, and what becomes of a login; without a plan there is no such sign-in.
    pub(crate) fn sign_in(&self, sign_ins: Vec<SignIn>, login: Option<Vec<Result<LoginUpdate, Fault>>>) {
        let mut state = self.lock();
        (state.sign_ins, state.login) = (sign_ins, login);
    }

    /// Logins take longer than any test waits.
    pub(crate) fn hold_logins(&self) {
        self.lock().holds_logins = true;
    }

    /// Waits until so many clients wait for a login.
    pub(crate) async fn logins_waited_for(&self, count: usize) {
        // One is the daemon's own.
        let waiting = || Arc::strong_count(&self.lock().waiting_login) - 1;
        let reached = async {
            while waiting() != count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), reached).await.expect("they come and go");
    }

    fn meant(&self, choice: &SignInChoice) -> Result<SignIn, Status> {
        let is_meant = |one: &&SignIn| match choice {
            SignInChoice::Only => true,
            SignInChoice::Named(name) => one.name == *name,
            SignInChoice::OfProfile(profile) => one.profiles.iter().any(|other| other.profile == *profile),
            SignInChoice::At { start_url, .. } => one.start_url == start_url.as_str(),
        };
        let found = self.lock().sign_ins.iter().find(is_meant).cloned();
        found.ok_or_else(|| from_fault(unknown(choice)))
    }
}

pub(super) fn shown(choice: &SignInChoice) -> String {
    match choice {
        SignInChoice::Only => "only".to_owned(),
        SignInChoice::Named(name) => name.to_string(),
        SignInChoice::OfProfile(profile) => format!("of {profile}"),
        SignInChoice::At { start_url, region } => format!("{start_url} in {region}"),
    }
}

fn unknown(choice: &SignInChoice) -> Fault {
    Fault::new(FaultKind::SignInNotFound { sign_in: shown(choice) }, "known are corp, lab")
}
