//! The contract as a client sees it: real gRPC over a real socket, the engine on fake ports.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a broken expectation is a failed test")]

#[cfg(test)]
mod events;
#[cfg(test)]
mod profiles;
#[cfg(test)]
mod prompts;
#[cfg(test)]
mod sign_in;
#[cfg(test)]
mod targets;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use stormtunnel_api::{Api, DaemonControl, SettingsControl};
use stormtunnel_engine::doctor::Doctor;
use stormtunnel_engine::ports::{Entropy as _, PortFuture};
use stormtunnel_engine::profiles::registry::Profiles;
use stormtunnel_engine::prompts::Prompts;
use stormtunnel_engine::sign_in::registry::SignIns;
use stormtunnel_engine::testing::{SoundMachine, TestClock, TestEntropy, World, spec};
use stormtunnel_engine::{Engine, Ports};
use stormtunnel_model::{
    Epoch, Fault, FaultKind, Intent, Label, RequestId, StartOptions, Timestamp, TunnelSpec, TunnelSpecPatch,
};
use stormtunnel_proto::calls::{
    CreateTunnel, DaemonInfo, ReplacedSettings, SettingChange, SettingState, SettingsFile, SettingsProblem,
    SettingsState, StartTunnels, UpdateTunnel, WatchEvent, WatchTunnels,
};
use stormtunnel_proto::v1::tunnel_service_client::TunnelServiceClient;
use stormtunnel_proto::{API_LEVEL, CallError, Client, v1};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_tunnel_is_made_once_however_often_it_is_asked_for() {
    let daemon = Daemon::start().await;
    let client = daemon.client().await;
    let create = |spec: TunnelSpec, id: &str| CreateTunnel {
        request_id: Some(RequestId(id.to_owned())),
        spec,
        start: false,
    };

    let made = client.create_tunnel(create(spec("db"), "r-1")).await.unwrap();
    assert_eq!((made.spec.clone(), made.intent), (spec("db"), Intent::Stop));
    assert_eq!(
        client.create_tunnel(create(spec("db"), "r-1")).await.unwrap().id,
        made.id,
        "the same request"
    );
    assert_eq!(client.create_tunnel(create(spec("db"), "r-2")).await.unwrap().id, made.id, "the same wish");

    let other = TunnelSpec { remote: "other.internal:5432".parse().unwrap(), ..spec("db") };
    let fault = fault(client.create_tunnel(create(other, "r-3")).await);
    assert_eq!(fault.kind, FaultKind::TunnelExists { tunnel: "db".to_owned() });
    assert_eq!(client.tunnel(&made.id.to_string()).await.unwrap().spec.name, made.spec.name, "found by id");
    daemon.stop().await;
}

#[tokio::test]
async fn a_request_that_cannot_be_right_names_its_field() {
    let daemon = Daemon::start().await;
    let mut raw = TunnelServiceClient::new(daemon.channel().await);
    let spec = v1::TunnelSpec { name: "NO NAME".to_owned(), ..v1::TunnelSpec::from(spec("db")) };
    let request = v1::CreateTunnelRequest { spec: Some(spec), ..Default::default() };
    let status = raw.create_tunnel(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let fault = stormtunnel_proto::status::to_fault(&status).expect("typed");
    assert!(
        matches!(fault.kind, FaultKind::InvalidArgument { ref field } if field.ends_with("name")),
        "{fault}"
    );
    assert_eq!(
        raw.create_tunnel(v1::CreateTunnelRequest::default()).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    daemon.stop().await;
}

#[tokio::test]
async fn a_start_says_what_it_is_for_and_is_confirmed_where_a_label_asks() {
    let daemon = Daemon::start().await;
    let client = daemon.client().await;
    let label: Label = "confirm=true".parse().unwrap();
    let guarded = TunnelSpec { labels: [label.into()].into(), ..spec("prod-db") };
    let create = |start| CreateTunnel { request_id: None, spec: guarded.clone(), start };
    let needed =
        FaultKind::ConfirmationNeeded { tunnel: "prod-db".to_owned(), label: "confirm=true".to_owned() };
    assert_eq!(fault(client.create_tunnel(create(true)).await).kind, needed);
    client.create_tunnel(create(false)).await.unwrap();
    let options = StartOptions {
        confirmed: true,
        reason: Some("INC-4711".parse().unwrap()),
        ttl: Some(3600.try_into().unwrap()),
    };
    let asked = StartTunnels { tunnels: vec!["prod-db".to_owned()], options };
    let unconfirmed = StartOptions { confirmed: false, ..asked.options.clone() };
    let refused = StartTunnels { options: unconfirmed, ..asked.clone() };
    let results = client.restart_tunnels(refused.clone()).await.unwrap();
    assert_eq!(results[0].outcome.as_ref().unwrap_err().kind, needed);
    let results = client.start_tunnels(refused).await.unwrap();
    assert_eq!(results[0].outcome.as_ref().unwrap_err().kind, needed);
    let started = client.start_tunnels(asked).await.unwrap().remove(0).outcome.unwrap();
    assert_eq!(started.terms.reason.map(String::from).as_deref(), Some("INC-4711"));
    assert!(started.terms.stops_at.is_some());
    daemon.stop().await;
}

#[tokio::test]
async fn several_tunnels_get_one_result_each_in_order() {
    let daemon = Daemon::start().await;
    let client = daemon.client().await;
    daemon.make(&client, &["a", "b"]).await;
    let names = ["b", "missing", "a"].map(str::to_owned);
    let start = StartTunnels { tunnels: names.to_vec(), ..StartTunnels::default() };
    let results = client.start_tunnels(start).await.unwrap();
    assert_eq!(
        results.iter().map(|result| result.requested.as_str()).collect::<Vec<_>>(),
        ["b", "missing", "a"]
    );
    assert_eq!(results[0].outcome.as_ref().unwrap().intent, Intent::Run);
    let missing = FaultKind::TunnelNotFound { tunnel: "missing".to_owned() };
    assert_eq!(results[1].outcome.as_ref().unwrap_err().kind, missing);

    let stopped = client.stop_tunnels(&names[..1]).await.unwrap().remove(0);
    assert_eq!(stopped.outcome.unwrap().intent, Intent::Stop);
    let deleted = client.delete_tunnels(&names[2..]).await.unwrap().remove(0);
    assert_eq!(deleted.outcome.unwrap().spec.name.as_str(), "a", "shown as it was last");
    assert_eq!(fault(client.tunnel("a").await).kind, FaultKind::TunnelNotFound { tunnel: "a".to_owned() });
    daemon.stop().await;
}

#[tokio::test]
async fn an_update_says_what_it_does_and_respects_the_etag() {
    let daemon = Daemon::start().await;
    let client = daemon.client().await;
    daemon.make(&client, &["db"]).await;
    let old = client.tunnel("db").await.unwrap();
    let patch = TunnelSpecPatch { remote: Some("other.internal:1".parse().unwrap()), ..Default::default() };
    let mut update =
        UpdateTunnel { tunnel: "db".to_owned(), patch, etag: Some(old.etag), validate_only: true };

    assert_eq!(
        client.update_tunnel(update.clone()).await.unwrap().tunnel.spec.remote.to_string(),
        "other.internal:1"
    );
    assert_eq!(client.tunnel("db").await.unwrap(), old, "nothing was changed");
    update.validate_only = false;
    let updated = client.update_tunnel(update.clone()).await.unwrap();
    assert!(!updated.rebinds && updated.tunnel.etag != old.etag);
    let fault = fault(client.update_tunnel(update).await);
    assert_eq!(fault.kind, FaultKind::EtagMismatch { tunnel: "db".to_owned() });
    daemon.stop().await;
}

#[tokio::test]
async fn lists_come_in_pages() {
    let daemon = Daemon::start().await;
    daemon.make(&daemon.client().await, &["c", "a", "b"]).await;
    let mut raw = TunnelServiceClient::new(daemon.channel().await);
    let first =
        raw.list_tunnels(v1::ListTunnelsRequest { page_size: 2, page_token: String::new() }).await.unwrap();
    let v1::ListTunnelsResponse { tunnels, next_page_token } = first.into_inner();
    assert_eq!(names(&tunnels), ["a", "b"]);
    let second =
        raw.list_tunnels(v1::ListTunnelsRequest { page_size: 2, page_token: next_page_token }).await.unwrap();
    assert_eq!(names(&second.get_ref().tunnels), ["c"]);
    assert_eq!(second.get_ref().next_page_token, "");
    daemon.stop().await;
}

#[tokio::test]
async fn a_watch_begins_with_a_snapshot_goes_on_and_resumes() {
    let daemon = Daemon::start().await;
    let client = daemon.client().await;
    daemon.make(&client, &["a"]).await;
    let mut watch = client.watch_tunnels(WatchTunnels::default()).await.unwrap();
    let snapshot = within(watch.next()).await.unwrap().unwrap();
    assert!(matches!(&snapshot.event, WatchEvent::Snapshot(tunnels) if tunnels.len() == 1), "{snapshot:?}");

    daemon.make(&client, &["b"]).await;
    let changed = within(watch.next()).await.unwrap().unwrap();
    assert!(
        matches!(&changed.event, WatchEvent::Changed(tunnel) if tunnel.spec.name.as_str() == "b"),
        "{changed:?}"
    );
    assert!(changed.revision > snapshot.revision);
    drop(watch);

    let since = WatchTunnels { since: Some(snapshot.revision), tunnels: Vec::new() };
    let mut resumed = client.watch_tunnels(since).await.unwrap();
    assert_eq!(within(resumed.next()).await.unwrap().unwrap().event, WatchEvent::Resumed);
    assert_eq!(
        within(resumed.next()).await.unwrap().unwrap(),
        changed,
        "nothing is lost, nothing comes twice"
    );

    let mut strange = snapshot.revision;
    strange.epoch = Epoch(strange.epoch.0.wrapping_add(1));
    let since = WatchTunnels { since: Some(strange), tunnels: vec!["a".to_owned()] };
    let mut other = client.watch_tunnels(since).await.unwrap();
    let snapshot = within(other.next()).await.unwrap().unwrap();
    assert!(
        matches!(&snapshot.event, WatchEvent::Snapshot(tunnels) if tunnels.len() == 1),
        "another life: {snapshot:?}"
    );
    daemon.stop().await;
}

#[tokio::test]
async fn a_watch_of_a_tunnel_that_does_not_exist_is_refused() {
    let daemon = Daemon::start().await;
    let watch = WatchTunnels { since: None, tunnels: vec!["missing".to_owned()] };
    let fault = fault(daemon.client().await.watch_tunnels(watch).await);
    assert_eq!(fault.kind, FaultKind::TunnelNotFound { tunnel: "missing".to_owned() });
    daemon.stop().await;
}

#[tokio::test]
async fn a_watch_ends_with_a_reason_when_the_daemon_stops() {
    let daemon = Daemon::start().await;
    let mut watch = daemon.client().await.watch_tunnels(WatchTunnels::default()).await.unwrap();
    within(watch.next()).await.unwrap().unwrap();
    daemon.stopping.cancel();
    let error = within(watch.next()).await.unwrap_err();
    assert!(matches!(error, CallError::Fault(Fault { kind: FaultKind::ShuttingDown, .. })), "{error}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_call_whose_time_ran_out_is_given_up_by_the_daemon_too() {
    let daemon = Daemon::start().await;
    let client = daemon.client().await.with_deadline(Duration::from_millis(50));
    let change = SettingChange { key: FakeSettings::HANGS.to_owned(), value: None };
    let error = within(client.update_settings(vec![change])).await.unwrap_err();
    assert!(matches!(error, CallError::DeadlineExceeded), "{error}");
    within(daemon.settings.given_up.notified()).await;
    daemon.stop().await;
}

#[tokio::test]
async fn settings_and_daemon_answer() {
    let daemon = Daemon::start().await;
    let client = daemon.client().await;
    let change = SettingChange { key: "log.filter".to_owned(), value: Some("debug".to_owned()) };
    assert_eq!(client.update_settings(vec![change]).await.unwrap()[0].value, "debug");
    assert_eq!(client.settings(&[]).await.unwrap().path, "/settings.toml");
    let unknown = client.settings(&["x.y".to_owned()]).await;
    assert_eq!(fault(unknown).kind, FaultKind::InvalidArgument { field: "x.y".to_owned() });
    assert_eq!(client.settings_file().await.unwrap(), settings_place());
    let replaced = client.replace_settings_file("bad".to_owned(), "e1".to_owned()).await.unwrap();
    let problem = SettingsProblem { at: Some((2, 7)), message: "bad".to_owned() };
    assert_eq!(replaced, ReplacedSettings::Refused(vec![problem]));
    let late = client.replace_settings_file(String::new(), "e0".to_owned()).await.unwrap();
    assert_eq!(late, ReplacedSettings::ChangedMeanwhile);
    assert_eq!(client.daemon_info().await.unwrap(), info());
    assert_eq!(client.set_log_filter("warn").await.unwrap(), "warn");
    client.shutdown().await.unwrap();
    within(daemon.stop_asked.cancelled()).await;
    daemon.stop().await;
}

#[tokio::test]
async fn health_and_reflection_need_no_proto_files() {
    let daemon = Daemon::start().await;
    let mut health = HealthClient::new(daemon.channel().await);
    for service in
        ["", "stormtunnel.v1.TunnelService", "stormtunnel.v1.EventService", "stormtunnel.v1.TargetService"]
    {
        let request = HealthCheckRequest { service: service.to_owned() };
        assert_eq!(
            health.check(request).await.unwrap().get_ref().status(),
            ServingStatus::Serving,
            "{service:?}"
        );
    }
    let mut reflection = ServerReflectionClient::new(daemon.channel().await);
    let list = MessageRequest::ListServices(String::new());
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let mut answers =
        reflection.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let answer = within(answers.next()).await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
    let mut services: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    services.sort();
    let expected = [
        "DaemonService",
        "DoctorService",
        "EventService",
        "ProfileService",
        "SettingsService",
        "SignInService",
        "TargetService",
        "TunnelService",
    ]
    .map(|name| format!("stormtunnel.v1.{name}"));
    assert!(expected.iter().all(|name| services.contains(name)), "{services:?}");
    daemon.stop().await;
}

struct Daemon {
    home: TempDir,
    world: World,
    engine: Engine,
    prompts: Prompts,
    server: JoinHandle<Result<(), stormtunnel_api::ServeError>>,
    settings: Arc<FakeSettings>,
    stopping: CancellationToken,
    stop_asked: CancellationToken,
}

impl Daemon {
    async fn start() -> Self {
        Self::with(SignIns::none()).await
    }

    async fn with(sign_ins: SignIns) -> Self {
        Self::with_profiles(sign_ins, Profiles::none()).await
    }

    async fn with_profiles(sign_ins: SignIns, profiles: Profiles) -> Self {
        let home = TempDir::new().unwrap();
        let world = World::default();
        let ports = Ports { sign_ins, profiles, ..world.ports() };
        let (engine, handle) = Engine::start(ports, world.settings.subscribe()).await.unwrap();
        let settings = Arc::new(FakeSettings::default());
        let (stopping, stop_asked) = (CancellationToken::new(), CancellationToken::new());
        let prompts = Prompts::new(Arc::new(TestClock::new()), TestEntropy::default().seed());
        let api = Api {
            doctor: Doctor::new(Arc::new(SoundMachine), handle.clone()),
            engine: handle,
            prompts: prompts.clone(),
            settings: Arc::clone(&settings) as _,
            daemon: Arc::new(FakeDaemon(stop_asked.clone())),
            stopping: stopping.clone(),
        };
        let connections = UnixListenerStream::new(UnixListener::bind(socket(home.path())).unwrap());
        #[expect(clippy::disallowed_methods, reason = "the test joins it in stop()")]
        let server = tokio::spawn(stormtunnel_api::serve(api, connections));
        Self { home, world, engine, prompts, server, settings, stopping, stop_asked }
    }

    async fn client(&self) -> Client {
        Client::connect(&socket(self.home.path())).await.unwrap()
    }

    async fn channel(&self) -> Channel {
        let uri = format!("unix:{}", socket(self.home.path()).display());
        Endpoint::from_shared(uri).unwrap().connect().await.unwrap()
    }

    async fn make(&self, client: &Client, names: &[&str]) {
        for name in names {
            client
                .create_tunnel(CreateTunnel { request_id: None, spec: spec(name), start: false })
                .await
                .unwrap();
        }
    }

    async fn stop(self) {
        self.stopping.cancel();
        self.engine.shutdown(DEADLINE).await;
        within(self.server).await.unwrap().unwrap();
    }
}

#[derive(Default)]
struct FakeSettings {
    given_up: Arc<Notify>,
}

impl FakeSettings {
    const HANGS: &str = "log.hangs";
}

impl SettingsControl for FakeSettings {
    fn settings(&self, keys: &[String]) -> Result<SettingsState, Fault> {
        match keys.first() {
            Some(key) => Err(Fault::new(FaultKind::InvalidArgument { field: key.clone() }, "unknown")),
            None => {
                Ok(SettingsState { settings: Vec::new(), path: "/settings.toml".to_owned(), problem: None })
            }
        }
    }

    fn update(&self, changes: Vec<SettingChange>) -> PortFuture<'_, Result<Vec<SettingState>, Fault>> {
        let given_up = GivenUp(Arc::clone(&self.given_up));
        Box::pin(async move {
            if changes[0].key == Self::HANGS {
                std::future::pending::<()>().await;
            }
            drop(given_up);
            Ok(changes.into_iter().map(state).collect())
        })
    }

    fn file(&self) -> PortFuture<'_, Result<SettingsFile, Fault>> {
        Box::pin(async { Ok(settings_place()) })
    }

    fn replace(&self, text: String, etag: String) -> PortFuture<'_, Result<ReplacedSettings, Fault>> {
        Box::pin(async move {
            let problem = || SettingsProblem { at: Some((2, 7)), message: text };
            Ok(match etag.as_str() {
                "e1" => ReplacedSettings::Refused(vec![problem()]),
                _ => ReplacedSettings::ChangedMeanwhile,
            })
        })
    }
}

fn settings_place() -> SettingsFile {
    SettingsFile { path: "/settings.toml".to_owned(), etag: "e1".to_owned(), template: "# all\n".to_owned() }
}

struct GivenUp(Arc<Notify>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

fn state(change: SettingChange) -> SettingState {
    SettingState {
        key: change.key,
        value: change.value.unwrap_or_default(),
        default_value: String::new(),
        range: String::new(),
        meaning: String::new(),
        is_set: true,
    }
}

struct FakeDaemon(CancellationToken);

impl DaemonControl for FakeDaemon {
    fn info(&self) -> DaemonInfo {
        info()
    }

    fn shutdown(&self) {
        self.0.cancel();
    }

    fn set_log_filter(&self, filter: &str) -> Result<String, Fault> {
        Ok(filter.to_owned())
    }
}

fn info() -> DaemonInfo {
    DaemonInfo {
        version: "1.2.3".to_owned(),
        api_level: API_LEVEL,
        started_at: Timestamp::from_millis(1_700_000_000_000),
        epoch: Epoch(7),
        pid: 42,
        log_path: None,
        state_directory: "/state".to_owned(),
        warnings: vec!["a warning".to_owned()],
        build: None,
        program: None,
        program_replaced: false,
    }
}

fn socket(home: &Path) -> PathBuf {
    home.join("api.sock")
}

fn names(tunnels: &[v1::Tunnel]) -> Vec<&str> {
    tunnels.iter().map(|tunnel| tunnel.spec.as_ref().unwrap().name.as_str()).collect()
}

fn fault<T: std::fmt::Debug>(result: Result<T, CallError>) -> Fault {
    let error = result.unwrap_err();
    let CallError::Fault(fault) = error else { panic!("no fault: {error}") };
    fault
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("it happens before the deadline")
}
