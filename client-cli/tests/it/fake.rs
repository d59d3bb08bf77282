//! A daemon with the API and without tunnels: what it is told to say, it says.

mod daemon;
mod events;
mod profiles;
mod prompts;
mod settings;
mod sign_ins;
mod sso_config;
mod targets;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use stormtunnel_model::{
    Account, Attempt, ConnectStep, Epoch, Event, Fault, FaultKind, Intent, Revision, SignIn, StartOptions,
    Tunnel, TunnelState, TunnelStatistics,
};
use stormtunnel_proto::calls::{
    CreateTunnel, EventWatchUpdate, LoginUpdate, PromptEvent, StartTunnels, TargetList, TunnelOutcome,
    TunnelPage, UpdateTunnel, UpdatedTunnel, WatchEvent, WatchTunnels, WatchUpdate,
};
use stormtunnel_proto::status::from_fault;
use stormtunnel_proto::v1::daemon_service_server::DaemonServiceServer;
use stormtunnel_proto::v1::event_service_server::EventServiceServer;
use stormtunnel_proto::v1::profile_service_server::ProfileServiceServer;
use stormtunnel_proto::v1::prompt_service_server::PromptServiceServer;
use stormtunnel_proto::v1::settings_service_server::SettingsServiceServer;
use stormtunnel_proto::v1::sign_in_service_server::SignInServiceServer;
use stormtunnel_proto::v1::target_service_server::TargetServiceServer;
use stormtunnel_proto::v1::tunnel_service_server::{TunnelService, TunnelServiceServer};
use stormtunnel_proto::{API_LEVEL, v1};
use tokio::net::UnixListener;
use tokio::sync::broadcast;
use tokio_stream::wrappers::{BroadcastStream, UnixListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

pub(crate) use self::daemon::OWN_SOCKET;
pub(crate) use self::prompts::CODE;
pub(crate) use self::settings::TEMPLATE;
use crate::support::{running, stopped};

/// A daemon to talk to. Clones share everything.
#[derive(Clone)]
pub(crate) struct Fake {
    state: Arc<Mutex<State>>,
    changes: broadcast::Sender<WatchUpdate>,
    news: broadcast::Sender<EventWatchUpdate>,
    questions: broadcast::Sender<PromptEvent>,
    socket: PathBuf,
}

struct State {
    tunnels: BTreeMap<String, Tunnel>,
    events: Vec<Event>,
    statistics: Vec<TunnelStatistics>,
    /// What tunnels can go through.
    targets: Option<TargetList>,
    sign_ins: Vec<SignIn>,
    profiles: profiles::Told,
    /// What the person may use.
    accounts: Vec<(Account, Vec<String>)>,
    /// Nobody is signed in yet.
    lacks_login: bool,
    /// What the config file of AWS says, section by section.
    sections: BTreeMap<String, String>,
    /// What becomes of a login.
    login: Option<Vec<Result<LoginUpdate, Fault>>>,
    /// Logins are begun and never end.
    holds_logins: bool,
    /// Held by each login that is waited for.
    waiting_login: Arc<()>,
    /// What becomes of a tunnel after its next start or stop.
    plots: BTreeMap<String, Vec<TunnelState>>,
    /// And after the one that follows.
    later_plots: BTreeMap<String, Vec<TunnelState>>,
    /// What was asked.
    asked: Vec<String>,
    /// What every answer of the tunnel service is, if anything.
    refusal: Option<Fault>,
    /// Stops are accepted and never answered.
    holds_stops: bool,
    /// The next daemon takes the place of one that stops at once.
    successor: bool,
    /// API level.
    level: u32,
    /// The program on disk is another one by now.
    replaced: bool,
    /// How often somebody asked what the daemon is.
    looks: u32,
    counter: u64,
}

impl Fake {
    /// Runs `test` beside a daemon that has these tunnels.
    pub(crate) async fn beside<T>(tunnels: Vec<Tunnel>, test: impl AsyncFnOnce(Fake) -> T) -> T {
        Self::of_level(API_LEVEL, tunnels, test).await
    }

    /// The same with a daemon of this API level, without the services that came later.
    pub(crate) async fn of_level<T>(
        level: u32,
        tunnels: Vec<Tunnel>,
        test: impl AsyncFnOnce(Fake) -> T,
    ) -> T {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("daemon.sock");
        Self::beside_with(level, &socket, &socket, tunnels, test).await
    }

    /// The same with a daemon that listens at `bound` while its clients look at `socket`.
    pub(crate) async fn beside_at<T>(
        bound: &Path,
        socket: &Path,
        tunnels: Vec<Tunnel>,
        test: impl AsyncFnOnce(Fake) -> T,
    ) -> T {
        Self::beside_with(API_LEVEL, bound, socket, tunnels, test).await
    }

    async fn beside_with<T>(
        level: u32,
        bound: &Path,
        socket: &Path,
        tunnels: Vec<Tunnel>,
        test: impl AsyncFnOnce(Fake) -> T,
    ) -> T {
        let tunnels = tunnels.into_iter().map(|tunnel| (tunnel.spec.name.to_string(), tunnel)).collect();
        let state = State {
            tunnels,
            events: Vec::new(),
            statistics: Vec::new(),
            targets: None,
            sign_ins: Vec::new(),
            profiles: Default::default(),
            accounts: Vec::new(),
            lacks_login: false,
            sections: BTreeMap::new(),
            login: None,
            holds_logins: false,
            waiting_login: Arc::default(),
            plots: BTreeMap::new(),
            later_plots: BTreeMap::new(),
            asked: Vec::new(),
            refusal: None,
            holds_stops: false,
            successor: false,
            level,
            replaced: false,
            looks: 0,
            counter: 0,
        };
        // More than any test publishes.
        let ((changes, _), (news, _)) = (broadcast::channel(64), broadcast::channel(64));
        let (questions, _) = broadcast::channel(64);
        let fake =
            Self { state: Arc::new(Mutex::new(state)), changes, news, questions, socket: socket.to_owned() };
        let server = fake.serve(bound);
        tokio::select! {
            () = server => panic!("the server ended"),
            answer = test(fake.clone()) => answer,
        }
    }

    fn serve(&self, bound: &Path) -> impl Future<Output = ()> + use<> {
        let incoming = UnixListenerStream::new(UnixListener::bind(bound).unwrap());
        let since = |level: u32| Some(self.clone()).filter(|fake| fake.lock().level >= level);
        let router = Server::builder()
            .add_service(TunnelServiceServer::new(self.clone()))
            .add_optional_service(since(2).map(EventServiceServer::new))
            .add_optional_service(since(3).map(TargetServiceServer::new))
            .add_optional_service(since(5).map(PromptServiceServer::new))
            .add_optional_service(since(4).map(SignInServiceServer::new))
            .add_optional_service(since(5).map(ProfileServiceServer::new))
            .add_service(SettingsServiceServer::new(self.clone()))
            .add_service(DaemonServiceServer::new(self.clone()));
        async move { router.serve_with_incoming(incoming).await.unwrap() }
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// After its next start or stop the tunnel goes through these states.
    pub(crate) fn plot(&self, name: &str, states: Vec<TunnelState>) {
        self.lock().plots.insert(name.to_owned(), states);
    }

    /// After the start or stop that follows that one, through these.
    pub(crate) fn plot_after(&self, name: &str, states: Vec<TunnelState>) {
        self.lock().later_plots.insert(name.to_owned(), states);
    }

    /// Every call about tunnels fails with this.
    pub(crate) fn refuse(&self, fault: Fault) {
        self.lock().refusal = Some(fault);
    }

    /// Sessions take longer to end than any test waits.
    pub(crate) fn hold_stops(&self) {
        self.lock().holds_stops = true;
    }

    /// When this daemon stops, the next one listens before anybody looks.
    pub(crate) fn has_a_successor(&self) {
        self.lock().successor = true;
    }

    /// What the history holds.
    pub(crate) fn remember(&self, events: Vec<Event>, statistics: Vec<TunnelStatistics>) {
        let mut state = self.lock();
        (state.events, state.statistics) = (events, statistics);
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.lock().asked.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn heard(&self, what: String) -> Result<(), Status> {
        let mut state = self.lock();
        state.asked.push(what);
        state.refusal.clone().map_or(Ok(()), |fault| Err(from_fault(fault)))
    }

    fn publish(&self, event: WatchEvent) {
        let revision = {
            let mut state = self.lock();
            state.counter += 1;
            revision(state.counter)
        };
        // Nobody has to listen.
        drop(self.changes.send(WatchUpdate { revision, event }));
    }

    /// Sets tunnels on their way; their plots follow the answer through the watch.
    fn set_going(&self, names: &[String], intent: Intent, first: &TunnelState) -> Vec<v1::TunnelResult> {
        names.iter().map(|name| self.set_one_going(name, intent, first.clone()).into()).collect()
    }

    /// Starts what need not be confirmed, or was.
    fn start(&self, start: StartTunnels) -> Vec<v1::TunnelResult> {
        let StartTunnels { tunnels, options } = start;
        let one = |name: String| {
            let spec = self.lock().tunnels.get(&name).map(|tunnel| tunnel.spec.clone());
            let label = spec.and_then(|spec| spec.confirm_label()).filter(|_| !options.confirmed);
            let outcome = match label {
                Some(label) => {
                    let kind =
                        FaultKind::ConfirmationNeeded { tunnel: name.clone(), label: label.to_string() };
                    TunnelOutcome { requested: name, outcome: Err(Fault::new(kind, "")) }
                }
                None => self.set_one_going(&name, Intent::Run, connecting()),
            };
            outcome.into()
        };
        tunnels.into_iter().map(one).collect()
    }

    fn next_plot(&self, name: &str) -> Vec<TunnelState> {
        let mut state = self.lock();
        let plot = state.plots.remove(name).unwrap_or_default();
        if let Some(later) = state.later_plots.remove(name) {
            state.plots.insert(name.to_owned(), later);
        }
        plot
    }

    fn set_one_going(&self, name: &str, intent: Intent, first: TunnelState) -> TunnelOutcome {
        let Some(mut tunnel) = self.lock().tunnels.get(name).cloned() else {
            let fault = Fault::new(FaultKind::TunnelNotFound { tunnel: name.to_owned() }, "");
            return TunnelOutcome { requested: name.to_owned(), outcome: Err(fault) };
        };
        tunnel.intent = intent;
        tunnel.status.attempt = Attempt(tunnel.status.attempt.0 + 1);
        tunnel.status.state = first;
        let answer = tunnel.clone();
        let plot = self.next_plot(name);
        for state in plot {
            let spec = &tunnel.spec;
            let shown = running(name, &spec.remote.to_string(), &spec.local.to_string(), state);
            tunnel.status =
                stormtunnel_model::TunnelStatus { attempt: tunnel.status.attempt, ..shown.status };
            self.publish(WatchEvent::Changed(Box::new(tunnel.clone())));
        }
        self.lock().tunnels.insert(name.to_owned(), tunnel);
        TunnelOutcome { requested: name.to_owned(), outcome: Ok(answer) }
    }
}

/// What was asked for, without what was left out.
fn shown(start: &StartTunnels) -> String {
    let StartTunnels { tunnels, options: StartOptions { confirmed, reason, ttl } } = start;
    let reason = reason.as_ref().map(|reason| format!(" reason={reason}")).unwrap_or_default();
    let ttl = ttl.map(|ttl| format!(" ttl={ttl}")).unwrap_or_default();
    format!("{}{}{reason}{ttl}", tunnels.join(" "), if *confirmed { " confirmed" } else { "" })
}

fn revision(counter: u64) -> Revision {
    Revision { epoch: Epoch(u64::MAX), counter }
}

fn connecting() -> TunnelState {
    TunnelState::Connecting { step: ConnectStep::Session }
}

#[tonic::async_trait]
impl TunnelService for Fake {
    type WatchTunnelsStream = Pin<Box<dyn Stream<Item = Result<v1::WatchTunnelsResponse, Status>> + Send>>;

    async fn create_tunnel(
        &self,
        request: Request<v1::CreateTunnelRequest>,
    ) -> Result<Response<v1::CreateTunnelResponse>, Status> {
        let CreateTunnel { request_id, spec, start } = request.into_inner().try_into()?;
        let name = spec.name.to_string();
        self.heard(format!("create {name} start={start} id={}", request_id.unwrap().0.len()))?;
        let tunnel = Tunnel { spec, ..stopped(&name, "1", "auto") };
        self.lock().tunnels.insert(name.clone(), tunnel.clone());
        let tunnel = if start {
            self.set_one_going(&name, Intent::Run, connecting()).outcome.unwrap()
        } else {
            tunnel
        };
        Ok(Response::new(v1::CreateTunnelResponse { tunnel: Some(tunnel.into()) }))
    }

    async fn update_tunnel(
        &self,
        request: Request<v1::UpdateTunnelRequest>,
    ) -> Result<Response<v1::UpdateTunnelResponse>, Status> {
        let update = UpdateTunnel::try_from(request.into_inner())?;
        self.heard(format!("update {} {:?}", update.tunnel, update.patch))?;
        let found = self.lock().tunnels.get(&update.tunnel).cloned();
        let missing = || from_fault(Fault::new(FaultKind::TunnelNotFound { tunnel: update.tunnel }, ""));
        let mut tunnel = found.ok_or_else(missing)?;
        let next = tunnel.spec.patched(&update.patch);
        let (reconnects, rebinds) =
            (tunnel.spec.needs_new_session(&next), tunnel.spec.needs_new_listener(&next));
        tunnel.spec = next;
        Ok(Response::new(UpdatedTunnel { tunnel, reconnects, rebinds }.into()))
    }

    async fn delete_tunnels(
        &self,
        request: Request<v1::DeleteTunnelsRequest>,
    ) -> Result<Response<v1::DeleteTunnelsResponse>, Status> {
        let names = request.into_inner().tunnels;
        self.heard(format!("delete {}", names.join(" ")))?;
        let results = self.set_going(&names, Intent::Stop, &TunnelState::Stopped);
        Ok(Response::new(v1::DeleteTunnelsResponse { results }))
    }

    async fn start_tunnels(
        &self,
        request: Request<v1::StartTunnelsRequest>,
    ) -> Result<Response<v1::StartTunnelsResponse>, Status> {
        let start = StartTunnels::try_from(request.into_inner())?;
        self.heard(format!("start {}", shown(&start)))?;
        let results = self.start(start);
        Ok(Response::new(v1::StartTunnelsResponse { results }))
    }

    async fn stop_tunnels(
        &self,
        request: Request<v1::StopTunnelsRequest>,
    ) -> Result<Response<v1::StopTunnelsResponse>, Status> {
        let names = request.into_inner().tunnels;
        self.heard(format!("stop {}", names.join(" ")))?;
        let results = self.set_going(&names, Intent::Stop, &TunnelState::Stopping);
        let holds = self.lock().holds_stops;
        if holds {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(v1::StopTunnelsResponse { results }))
    }

    async fn restart_tunnels(
        &self,
        request: Request<v1::RestartTunnelsRequest>,
    ) -> Result<Response<v1::RestartTunnelsResponse>, Status> {
        let start = StartTunnels::try_from(request.into_inner())?;
        self.heard(format!("restart {}", shown(&start)))?;
        let results = self.start(start);
        Ok(Response::new(v1::RestartTunnelsResponse { results }))
    }

    async fn get_tunnel(
        &self,
        request: Request<v1::GetTunnelRequest>,
    ) -> Result<Response<v1::GetTunnelResponse>, Status> {
        let name = request.into_inner().tunnel;
        self.heard(format!("get {name}"))?;
        let tunnel = self.lock().tunnels.get(&name).cloned();
        let missing = || from_fault(Fault::new(FaultKind::TunnelNotFound { tunnel: name }, ""));
        let tunnel = tunnel.ok_or_else(missing)?;
        Ok(Response::new(v1::GetTunnelResponse { tunnel: Some(tunnel.into()) }))
    }

    /// Two tunnels per page, so that clients have to ask again.
    async fn list_tunnels(
        &self,
        request: Request<v1::ListTunnelsRequest>,
    ) -> Result<Response<v1::ListTunnelsResponse>, Status> {
        let after = request.into_inner().page_token;
        self.heard(format!("list {after}"))?;
        let later: Vec<Tunnel> = self
            .lock()
            .tunnels
            .iter()
            .filter(|(name, _)| **name > after)
            .map(|(_, tunnel)| tunnel.clone())
            .collect();
        let tunnels: Vec<Tunnel> = later.iter().take(2).cloned().collect();
        let next_page_token = (later.len() > 2).then(|| tunnels[1].spec.name.to_string());
        Ok(Response::new(TunnelPage { tunnels, next_page_token }.into()))
    }

    async fn watch_tunnels(
        &self,
        request: Request<v1::WatchTunnelsRequest>,
    ) -> Result<Response<Self::WatchTunnelsStream>, Status> {
        let watch = WatchTunnels::from(request.into_inner());
        self.heard(format!("watch {}", watch.tunnels.join(" ")))?;
        let changes = BroadcastStream::new(self.changes.subscribe());
        let tunnels = self.lock().tunnels.values().cloned().collect();
        let snapshot = WatchUpdate { revision: revision(0), event: WatchEvent::Snapshot(tunnels) };
        let stream = tokio_stream::once(Ok(snapshot)).chain(changes);
        // A newer daemon may tell of something that nobody here knows.
        let unknown = v1::WatchTunnelsResponse { revision: Some(revision(0).into()), event: None };
        let unknown = (self.lock().level > API_LEVEL).then_some(Ok(unknown));
        let ends = stream.map(|update| match update.unwrap() {
            // Tests end a watch with this.
            WatchUpdate { event: WatchEvent::Resumed, .. } => {
                Err(from_fault(Fault::new(FaultKind::ShuttingDown, "")))
            }
            update => Ok(update.into()),
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(unknown).chain(ends))))
    }
}

impl Fake {
    /// Publishes a change, to watchers that there are already.
    pub(crate) fn change(&self, tunnel: Tunnel) {
        self.publish(WatchEvent::Changed(Box::new(tunnel)));
    }

    /// Publishes the end of a tunnel, likewise.
    pub(crate) fn delete(&self, tunnel: &Tunnel) {
        self.publish(WatchEvent::Deleted { id: tunnel.id, name: tunnel.spec.name.clone() });
    }

    /// Ends all watches as a daemon does that stops.
    pub(crate) fn end_watches(&self) {
        self.publish(WatchEvent::Resumed);
    }

    /// Waits for the first watcher.
    pub(crate) async fn watched(&self) {
        while self.changes.receiver_count() == 0 {
            tokio::task::yield_now().await;
        }
    }
}
