//! The whole daemon in one process, on fake AWS ports and a real socket, database and settings file.

use std::path::Path;

use stormtunnel_engine::Ports;
use stormtunnel_engine::prompts::Prompts;
use stormtunnel_engine::testing::{SoundMachine, TestEntropy, World, spec};
use stormtunnel_model::{EventKind, Intent};
use stormtunnel_proto::calls::{CreateTunnel, EventUpdate, SettingChange, WatchEvents, WatchTunnels};
use stormtunnel_proto::{CallError, Client};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn it_serves_stops_on_request_and_leaves_no_trace_of_itself() {
    let home = TempDir::new().unwrap();
    let daemon = Running::start(home.path()).await;
    let client = daemon.client().await;
    let info = client.daemon_info().await.unwrap();
    assert_eq!(info.pid, std::process::id());
    assert_eq!(info.state_directory, daemon.paths.state_dir.display().to_string());
    assert_eq!(info.warnings, [""; 0]);
    client.shutdown().await.unwrap();
    within(daemon.ended).await.unwrap().unwrap();
    assert!(!daemon.paths.socket.exists(), "the socket's path is gone");
    assert!(matches!(Instance::claim(&daemon.paths).unwrap(), Claim::Mine(_)), "the locks are free");
}

#[tokio::test]
async fn tunnels_and_intent_outlive_the_daemon() {
    let home = TempDir::new().unwrap();
    let daemon = Running::start(home.path()).await;
    let client = daemon.client().await;
    for (name, start) in [("db", true), ("web", false)] {
        client.create_tunnel(CreateTunnel { request_id: None, spec: spec(name), start }).await.unwrap();
    }
    let before = client.tunnel("db").await.unwrap();
    daemon.stop().await;

    let daemon = Running::start(home.path()).await;
    let tunnels = daemon.client().await.list_tunnels().await.unwrap();
    let intents: Vec<_> = tunnels.iter().map(|tunnel| (tunnel.spec.name.as_str(), tunnel.intent)).collect();
    assert_eq!(intents, [("db", Intent::Run), ("web", Intent::Stop)]);
    assert_eq!(tunnels[0].id, before.id);
    daemon.stop().await;
}

#[tokio::test]
async fn watchers_are_told_and_new_clients_refused_when_it_stops() {
    let home = TempDir::new().unwrap();
    let daemon = Running::start(home.path()).await;
    let mut watch = daemon.client().await.watch_tunnels(WatchTunnels::default()).await.unwrap();
    within(watch.next()).await.unwrap().unwrap();
    daemon.stop.cancel();
    let error = within(watch.next()).await.unwrap_err();
    assert!(matches!(error, CallError::Fault(_)), "{error}");
    within(daemon.ended).await.unwrap().unwrap();
    assert!(Client::connect(&daemon.paths.socket).await.is_err());
}

#[tokio::test]
async fn a_damaged_database_is_a_warning_and_no_end() {
    let home = TempDir::new().unwrap();
    std::fs::create_dir(home.path().join("state")).unwrap();
    std::fs::write(home.path().join("state/stormtunnel.db"), "no database, whatever its name says").unwrap();
    let daemon = Running::start(home.path()).await;
    let warnings = daemon.client().await.daemon_info().await.unwrap().warnings;
    assert!(warnings.len() == 1 && warnings[0].contains(".broken-"), "{warnings:?}");
    daemon.stop().await;
}

/// A side file that cannot be made stands for a full disk and for a directory that nobody may write to.
#[tokio::test]
async fn a_database_that_cannot_be_written_stops_no_tunnel_and_says_so() {
    let home = TempDir::new().unwrap();
    let daemon = Running::start(home.path()).await;
    let create = |name: &str| CreateTunnel { request_id: None, spec: spec(name), start: true };
    daemon.client().await.create_tunnel(create("db")).await.unwrap();
    daemon.stop().await;
    std::fs::create_dir(home.path().join("state/stormtunnel.db-wal")).unwrap();

    let daemon = Running::start(home.path()).await;
    let client = daemon.client().await;
    assert_eq!(client.tunnel("db").await.unwrap().intent, Intent::Run);
    let mut events = client.watch_events(WatchEvents::default()).await.unwrap();
    let snapshot = within(events.next()).await.unwrap().unwrap();
    let EventUpdate::Snapshot(told) = &snapshot.update else { panic!("{snapshot:?}") };
    assert!(told.iter().any(|event| event.kind == EventKind::Created), "the old ones are read: {told:?}");
    let refused = client.create_tunnel(create("web")).await.unwrap_err();
    assert!(matches!(&refused, CallError::Fault(fault) if fault.detail.contains("readonly")), "{refused}");
    let both = async {
        loop {
            let warnings = client.daemon_info().await.unwrap().warnings;
            if let [at_the_start, now] = warnings.as_slice() {
                break (at_the_start.clone(), now.clone());
            }
        }
    };
    let (at_the_start, now) = within(both).await;
    assert!(at_the_start.contains("cannot be written"), "{at_the_start}");
    assert!(now.contains("event history cannot be stored"), "{now}");
    daemon.stop().await;
}

#[tokio::test]
async fn settings_go_to_the_file_and_their_problems_to_people() {
    let home = TempDir::new().unwrap();
    let daemon = Running::start(home.path()).await;
    let client = daemon.client().await;
    let change =
        |value: &str| vec![SettingChange { key: "log.filter".to_owned(), value: Some(value.to_owned()) }];
    assert!(client.update_settings(change("debug")).await.unwrap()[0].is_set);
    assert_eq!(std::fs::read_to_string(&daemon.paths.settings).unwrap(), "[log]\nfilter = \"debug\"\n");

    let error = client.update_settings(change("a=b=c")).await.unwrap_err();
    assert!(error.to_string().contains("log.filter is not valid"), "{error}");
    let unknown = client.settings(&["log.colour".to_owned()]).await.unwrap_err();
    assert!(unknown.to_string().contains("stctl settings get"), "{unknown}");

    std::fs::write(&daemon.paths.settings, "[log]\nfilter = 5\nfiltre = 1\n").unwrap();
    let change = SettingChange { key: "tunnels.message_rate".to_owned(), value: Some("800".to_owned()) };
    client.update_settings(vec![change]).await.unwrap();
    let state = client.settings(&[]).await.unwrap();
    assert!(state.problem.unwrap().contains("settings.toml:3:1: there is no setting \"log.filtre\""));
    assert!(client.daemon_info().await.unwrap().warnings[0].contains("log.filtre"));
    daemon.stop().await;
}

#[tokio::test]
async fn the_second_daemon_says_who_is_in_the_way() {
    let home = TempDir::new().unwrap();
    let daemon = Running::start(home.path()).await;
    let socket = daemon.paths.socket.display().to_string();
    let flags = ["--socket", socket.as_str(), "--state-dir"];
    let state = daemon.paths.state_dir.display().to_string();
    let args = [&["stormtunneld"][..], &flags, &[&state, "--config", "/c.toml"]].concat();
    let error = within(run(&clap::Parser::parse_from(args), Service::none())).await.unwrap_err();
    assert!(matches!(error, AppError::Held { .. }), "{error}");
    let pid = format!("(pid {})", std::process::id());
    assert!(error.to_string().contains(&pid) && error.to_string().contains("stctl daemon stop"), "{error}");
    daemon.stop().await;
}

struct Running {
    paths: Paths,
    stop: CancellationToken,
    ended: JoinHandle<Result<(), AppError>>,
}

impl Running {
    async fn start(home: &Path) -> Self {
        let paths = Paths {
            socket: home.join("run/daemon.sock"),
            state_dir: home.join("state"),
            settings: home.join("settings.toml"),
        };
        let Claim::Mine(instance) = Instance::claim(&paths).unwrap() else { panic!("in use") };
        let stop = CancellationToken::new();
        let start = Start {
            instance,
            paths: paths.clone(),
            log: logging::unattached(),
            log_path: None,
            service: Service::none(),
            stop: stop.clone(),
            adapters: fake_adapters,
        };
        let daemon = Daemon::start(start).await.unwrap();
        #[expect(clippy::disallowed_methods, reason = "the test joins it")]
        let ended = tokio::spawn(daemon.serve_until_stopped());
        Self { paths, stop, ended }
    }

    async fn client(&self) -> Client {
        Client::connect(&self.paths.socket).await.unwrap()
    }

    async fn stop(self) {
        self.stop.cancel();
        within(self.ended).await.unwrap().unwrap();
    }
}

/// AWS and the local network are fakes; the database is real.
async fn fake_adapters(surroundings: Surroundings) -> Result<Adapters, AppError> {
    let (store, history) = (Arc::new(surroundings.store.clone()), Arc::new(surroundings.store));
    let ports = Ports { store, history, ..World::default().ports() };
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(TestEntropy::default()));
    Ok(Adapters {
        ports: Ports { clock, entropy, ..ports },
        prompts: Prompts::new(Arc::new(SystemClock), [0; 32]),
        diagnostics: Arc::new(SoundMachine),
        warnings: Vec::new(),
    })
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("it happens before the deadline")
}
