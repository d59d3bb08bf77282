//! Specs, intent and who wins: the engine against scripted twins of the world.

#![expect(clippy::unwrap_used, reason = "a helper's panic is its test's failure")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use stormtunnel_engine::ports::{AwsScope, OpenSession, StoredState};
use stormtunnel_engine::testing::{MemoryStore, World, spec, stored, wait_until};
use stormtunnel_engine::{Change, Engine, EngineHandle, TunnelResult};
use stormtunnel_model::{
    Etag, Fault, FaultKind, Intent, RequestId, SsmSessionId, StartOptions, Tunnel, TunnelSpec,
    TunnelSpecPatch, TunnelState,
};

const BOUND: Duration = Duration::from_secs(30);

async fn start(world: &World) -> (Engine, EngineHandle) {
    Engine::start(world.ports(), world.settings.subscribe()).await.unwrap()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn one(mut results: Vec<TunnelResult>) -> Result<Tunnel, Fault> {
    assert_eq!(results.len(), 1);
    results.remove(0).outcome
}

fn kind<T: std::fmt::Debug>(outcome: Result<T, Fault>) -> FaultKind {
    outcome.unwrap_err().kind
}

fn fixed(name: &str, port: u16) -> TunnelSpec {
    TunnelSpec { local: port.to_string().parse().unwrap(), ..spec(name) }
}

fn denied() -> Fault {
    let text = String::new;
    let action = "ssm:StartSession".to_owned();
    Fault::new(FaultKind::PermissionDenied { principal: text(), action, resource: text() }, "")
}

#[tokio::test(start_paused = true)]
async fn a_repeated_creation_gives_the_same_tunnel() {
    let world = World::default();
    let (engine, handle) = start(&world).await;
    let request = Some(RequestId("r1".to_owned()));
    let first = handle.create(request.clone(), spec("db"), false).await.unwrap();
    assert_eq!(handle.create(request.clone(), spec("db"), false).await.unwrap(), first);
    assert_eq!(handle.create(None, spec("db"), false).await.unwrap(), first, "same name, same spec");
    let other = TunnelSpec { remote: "5433".parse().unwrap(), ..spec("db") };
    let exists = FaultKind::TunnelExists { tunnel: "db".to_owned() };
    assert_eq!(kind(handle.create(None, other, false).await), exists);
    handle.stop(names(&["db"])).await;
    let repeated = handle.create(request, spec("db"), true).await.unwrap();
    assert_eq!(repeated.intent, Intent::Stop, "an old request undoes nothing that came after it");
    assert_eq!(world.store.state().tunnels.len(), 1);
    engine.shutdown(BOUND).await;
}

#[tokio::test(start_paused = true)]
async fn intent_is_stored_before_the_answer() {
    let world = World::default();
    let (engine, handle) = start(&world).await;
    handle.create(None, spec("db"), true).await.unwrap();
    assert_eq!(world.store.state().tunnels[0].intent, Intent::Run);
    one(handle.stop(names(&["db"])).await).unwrap();
    assert_eq!(world.store.state().tunnels[0].intent, Intent::Stop);
    world.store.break_with(Some(Fault::internal("disk full")));
    assert_eq!(kind(one(handle.start(names(&["db"]), StartOptions::default()).await)), FaultKind::Internal);
    let tunnel = handle.get("db").unwrap();
    assert_eq!(
        (tunnel.intent, tunnel.status.state),
        (Intent::Stop, TunnelState::Stopped),
        "what is not stored is not done"
    );
    assert_eq!(kind(handle.create(None, spec("web"), true).await), FaultKind::Internal);
    assert_eq!(handle.list().len(), 1);
    engine.shutdown(BOUND).await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_undoes_nothing() {
    let world = World::default();
    let (engine, handle) = start(&world).await;
    assert!(handle.create(None, spec("db"), true).now_or_never().is_none(), "asked, not answered");
    let tunnel = wait_until(&handle, "db", |tunnel| tunnel.status.state != TunnelState::Stopped).await;
    assert_eq!(tunnel.intent, Intent::Run);
    engine.shutdown(BOUND).await;
}

#[tokio::test(start_paused = true)]
async fn a_port_belongs_to_one_tunnel() {
    let world = World::default();
    let (engine, handle) = start(&world).await;
    handle.create(None, fixed("db", 5432), false).await.unwrap();
    let taken = FaultKind::PortInUse {
        address: "localhost:5432".to_owned(),
        holder: Some("tunnel \"db\"".to_owned()),
    };
    assert_eq!(kind(handle.create(None, fixed("web", 5432), false).await), taken);
    handle.create(None, fixed("web", 5433), false).await.unwrap();
    let patch = TunnelSpecPatch { local: Some("5432".parse().unwrap()), ..TunnelSpecPatch::default() };
    assert_eq!(kind(handle.update("web", patch, None, false).await), taken);
    engine.shutdown(BOUND).await;
}

#[tokio::test(start_paused = true)]
async fn an_automatic_port_is_kept_and_never_replaced() {
    let world = World::default();
    let (engine, handle) = start(&world).await;
    handle.create(None, spec("db"), true).await.unwrap();
    let listens = |tunnel: &Tunnel| !tunnel.status.listening.is_empty();
    let port = wait_until(&handle, "db", listens).await.status.listening[0].port().unwrap();
    engine.shutdown(BOUND).await;
    assert_eq!(world.store.state().tunnels[0].kept_port, Some(port));

    world.network.occupy(port, "nginx (pid 7)");
    let (engine, handle) = start(&world).await;
    let tunnel = wait_until(&handle, "db", |tunnel| tunnel.status.state.fault().is_some()).await;
    let fault = tunnel.status.state.fault().unwrap();
    assert!(
        matches!(&fault.kind, FaultKind::PortInUse { holder: Some(holder), .. } if holder == "nginx (pid 7)")
    );
    world.network.vacate(port);
    assert_eq!(wait_until(&handle, "db", listens).await.status.listening[0].port().unwrap(), port);
    engine.shutdown(BOUND).await;
}

#[tokio::test(start_paused = true)]
async fn an_update_says_what_it_does() {
    let world = World::default();
    let (engine, handle) = start(&world).await;
    let created = handle.create(None, fixed("db", 5432), true).await.unwrap();
    let patch = |local: Option<&str>, remote: Option<&str>, name: Option<&str>| TunnelSpecPatch {
        local: local.map(|local| local.parse().unwrap()),
        remote: remote.map(|remote| remote.parse().unwrap()),
        name: name.map(|name| name.parse().unwrap()),
        ..TunnelSpecPatch::default()
    };
    let planned = handle.update("db", patch(Some("5433"), Some("80"), None), None, true).await.unwrap();
    assert_eq!((planned.reconnects, planned.rebinds), (true, true));
    assert_eq!(handle.get("db").unwrap().spec, created.spec, "validate_only changes nothing");

    let stale = handle.update("db", patch(Some("5433"), None, None), Some(Etag(77)), false).await;
    assert_eq!(kind(stale), FaultKind::EtagMismatch { tunnel: "db".to_owned() });
    let moved =
        handle.update("db", patch(Some("5433"), None, None), Some(created.etag), false).await.unwrap();
    assert_eq!((moved.reconnects, moved.rebinds), (false, true));
    assert_ne!(moved.tunnel.etag, created.etag);
    wait_until(&handle, "db", |_| world.network.listening() == [5433]).await;

    let renamed = handle.update("db", patch(None, None, Some("pg")), None, false).await.unwrap();
    assert_eq!((renamed.reconnects, renamed.rebinds), (false, false));
    assert_eq!(handle.get(&created.id.to_string()).unwrap().spec.name.as_str(), "pg");
    assert_eq!(kind(handle.get("db")), FaultKind::TunnelNotFound { tunnel: "db".to_owned() });

    let open = handle.update("pg", patch(Some("0.0.0.0:5433"), None, None), None, false).await;
    assert_eq!(kind(open), FaultKind::InvalidArgument { field: "local".to_owned() });
    engine.shutdown(BOUND).await;
}

#[tokio::test(start_paused = true)]
async fn several_tunnels_give_one_result_each_and_repeats_do_no_harm() {
    let world = World::default();
    let (engine, handle) = start(&world).await;
    let id = handle.create(None, spec("db"), false).await.unwrap().id.to_string();
    let results =
        handle.start(vec!["nope".to_owned(), id.clone(), "db".to_owned()], StartOptions::default()).await;
    assert_eq!(
        results.iter().map(|result| result.requested.as_str()).collect::<Vec<_>>(),
        ["nope", &id, "db"]
    );
    assert_eq!(kind(results[0].outcome.clone()), FaultKind::TunnelNotFound { tunnel: "nope".to_owned() });
    assert!(results[1..].iter().all(|result| result.outcome.as_ref().unwrap().intent == Intent::Run));
    for _ in 0..2 {
        let stopped = one(handle.stop(names(&["db"])).await).unwrap();
        assert_eq!(stopped.status.state, TunnelState::Stopped);
    }
    one(handle.delete(names(&["db"])).await).unwrap();
    assert_eq!(
        kind(one(handle.delete(names(&["db"])).await)),
        FaultKind::TunnelNotFound { tunnel: "db".to_owned() }
    );
    assert_eq!((handle.list(), world.store.state().tunnels), (Vec::new(), Vec::new()));
    engine.shutdown(BOUND).await;
}

#[tokio::test(start_paused = true)]
async fn a_deletion_ends_the_session_and_is_told() {
    let world = World::default();
    let (engine, handle) = start(&world).await;
    handle.create(None, spec("db"), true).await.unwrap();
    let _channel = world.dialer.dialled().await;
    let mut watcher = handle.watch(None, Vec::new());
    assert!(matches!(watcher.next().await.unwrap().change, Change::Snapshot(_)));
    one(handle.delete(names(&["db"])).await).unwrap();
    assert_eq!(world.ssm.open_sessions(), []);
    assert_eq!(world.network.listening(), [0; 0]);
    let deleted = async {
        while let Some(event) = watcher.next().await {
            if matches!(event.change, Change::Deleted { .. }) {
                return true;
            }
        }
        false
    };
    assert!(deleted.await);
    handle.create(None, spec("db"), false).await.expect("the name is free again");
    engine.shutdown(BOUND).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_a_session_that_is_being_started() {
    let world = World::default();
    let (engine, handle) = start(&world).await;
    world.ssm.hold(true);
    handle.create(None, spec("db"), true).await.unwrap();
    wait_until(&handle, "db", |tunnel| !tunnel.status.listening.is_empty()).await;
    let stop = handle.stop(names(&["db"]));
    let mut stop = std::pin::pin!(stop);
    assert!(stop.as_mut().now_or_never().is_none());
    wait_until(&handle, "db", |tunnel| tunnel.status.state == TunnelState::Stopping).await;
    world.ssm.hold(false);
    assert_eq!(one(stop.await).unwrap().status.state, TunnelState::Stopped);
    assert_eq!(world.ssm.open_sessions(), []);
    engine.shutdown(BOUND).await;
}

#[tokio::test(start_paused = true)]
async fn what_aws_forbids_is_asked_once() {
    let world = World::default();
    world.ssm.fail_next_start(denied());
    let (engine, handle) = start(&world).await;
    handle.create(None, spec("db"), true).await.unwrap();
    let blocked = |tunnel: &Tunnel| matches!(tunnel.status.state, TunnelState::Blocked { .. });
    wait_until(&handle, "db", blocked).await;
    tokio::time::advance(Duration::from_secs(3600)).await;
    // Through the actor and back: whatever the hour brought has happened.
    let harmless = TunnelSpecPatch { allow_non_loopback: Some(true), ..TunnelSpecPatch::default() };
    handle.update("db", harmless, None, false).await.unwrap();
    assert_eq!(world.ssm.started().len(), 1);
    one(handle.start(names(&["db"]), StartOptions::default()).await).unwrap();
    assert_eq!(world.dialer.dialled().await.session, SsmSessionId("test-002".to_owned()));
    engine.shutdown(BOUND).await;
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_falls_over_gets_up_and_the_others_live_on() {
    let world = World::default();
    let (engine, handle) = start(&world).await;
    handle.create(None, spec("steady"), true).await.unwrap();
    let _channel = world.dialer.dialled().await;
    let steady = handle.get("steady").unwrap();
    world.network.panic_next();
    handle.create(None, spec("clumsy"), true).await.unwrap();
    let fallen = |tunnel: &Tunnel| matches!(&tunnel.status.state, TunnelState::Retrying { fault, .. } if fault.kind == FaultKind::Internal);
    let tunnel = wait_until(&handle, "clumsy", fallen).await;
    assert_eq!(tunnel.status.state.fault().unwrap().detail, "the listener fell over");
    let channel = world.dialer.dialled().await;
    // Its first life may have left a session that was just being started.
    world.store.wait_until(|state| state.open_sessions.len() == 2).await;
    assert_eq!(world.ssm.open_sessions(), [steady.status.session.clone().unwrap(), channel.session]);
    assert_eq!(handle.get("steady").unwrap().status.session, steady.status.session);
    engine.shutdown(BOUND).await;
}

#[tokio::test(start_paused = true)]
async fn sessions_of_a_crashed_daemon_are_ended() {
    let left = |number: u32| OpenSession {
        id: SsmSessionId(format!("left-{number}")),
        scope: AwsScope { profile: None, region: None },
        target: spec("db").target,
    };
    let open_sessions: Vec<_> = (0..10).map(left).collect();
    let world = World {
        store: Arc::new(MemoryStore::with(StoredState { tunnels: vec![stored(spec("db"))], open_sessions })),
        ..World::default()
    };
    (0..10).for_each(|number| world.ssm.add_open(left(number).id));
    world.ssm.fail_next_terminate(Fault::new(FaultKind::Throttled, ""));
    let (engine, handle) = start(&world).await;
    world.store.wait_until(|state| state.open_sessions.is_empty()).await;
    assert_eq!(world.ssm.open_sessions(), []);
    assert_eq!(handle.get("db").unwrap().status.state, TunnelState::Stopped);
    engine.shutdown(BOUND).await;
}

/// Settings and profile may name another region by the time the session is resumed or ended.
#[tokio::test(start_paused = true)]
async fn a_session_is_noted_with_the_region_that_it_was_opened_in() {
    let world = World::default();
    let (engine, handle) = start(&world).await;
    let anywhere = TunnelSpec { region: None, ..spec("db") };
    handle.create(None, anywhere, true).await.unwrap();
    let opened_in = |session: &OpenSession| session.scope.region.as_ref().map(ToString::to_string);
    let pinned = Some("eu-west-1".to_owned());
    world.store.wait_until(|state| state.open_sessions.iter().map(opened_in).eq([pinned.clone()])).await;
    engine.shutdown(BOUND).await;
}

#[tokio::test(start_paused = true)]
async fn many_tunnels_start_politely() {
    let world = World::default();
    let (engine, handle) = start(&world).await;
    for number in 0..50 {
        handle.create(None, spec(&format!("t-{number}")), true).await.unwrap();
    }
    let before = tokio::time::Instant::now();
    let mut channels = Vec::new();
    while channels.len() < 50 {
        channels.push(world.dialer.dialled().await);
    }
    let took = before.elapsed();
    assert!(
        (Duration::from_secs(8)..Duration::from_secs(9)).contains(&took),
        "10 at once, then 5 a second: {took:?}"
    );
    engine.shutdown(BOUND).await;
}

#[tokio::test(start_paused = true)]
async fn throttling_slows_all_down_for_a_while() {
    let world = World::default();
    let (engine, handle) = start(&world).await;
    world.ssm.fail_next_start(Fault::new(FaultKind::Throttled, ""));
    for number in 0..50 {
        handle.create(None, spec(&format!("t-{number}")), true).await.unwrap();
    }
    let before = tokio::time::Instant::now();
    // Nobody answers on the channels, so that some are dialled again.
    let mut sessions = std::collections::BTreeMap::new();
    while sessions.len() < 50 {
        let dialled = world.dialer.dialled().await;
        sessions.insert(dialled.session.clone(), dialled);
    }
    let took = before.elapsed();
    // Without it, 8 s; at half the rate to the end, 20 s.
    assert!((Duration::from_secs(12)..Duration::from_secs(15)).contains(&took), "{took:?}");
    assert_eq!(world.ssm.started().len(), 51, "the throttled call was repeated, and none beside it");
    engine.shutdown(BOUND).await;
}

#[tokio::test(start_paused = true)]
async fn who_is_waited_for_starts_before_the_others() {
    let world = World::default();
    let (engine, handle) = start(&world).await;
    for number in 0..200 {
        handle.create(None, spec(&format!("t-{number}")), true).await.unwrap();
    }
    let last = wait_until(&handle, "t-199", |tunnel| tunnel.status.turn_at.is_some()).await;
    let wait = last.status.turn_at.unwrap().since(last.status.since);
    assert!(
        (Duration::from_secs(37)..Duration::from_secs(39)).contains(&wait),
        "190 of 200 at 5 a second: {wait:?}"
    );
    let before = tokio::time::Instant::now();
    let port = last.status.listening[0].port().unwrap();
    let _waiting = world.network.connect(port).await.unwrap();
    wait_until(&handle, "t-199", |tunnel| tunnel.status.turn_at.is_none()).await;
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
    assert!(world.ssm.started().iter().any(|request| request.local_port == Some(port)));
    engine.shutdown(BOUND).await;
}

/// A daemon that is killed in that moment comes back with the port that somebody has seen.
#[tokio::test(start_paused = true)]
async fn a_port_is_stored_before_it_is_shown() {
    let world = World::default();
    let (engine, handle) = start(&world).await;
    for number in 0..20 {
        let name = format!("t-{number}");
        handle.create(None, spec(&name), true).await.unwrap();
        let shown = wait_until(&handle, &name, |tunnel| !tunnel.status.listening.is_empty()).await;
        let stored = world.store.state().tunnels.into_iter().find(|stored| stored.id == shown.id).unwrap();
        assert_eq!(stored.kept_port, shown.status.listening[0].port());
    }
    engine.shutdown(BOUND).await;
}

#[tokio::test(start_paused = true)]
async fn who_is_stopped_leaves_the_queue() {
    let world = World::default();
    let (engine, handle) = start(&world).await;
    let all: Vec<String> = (0..200).map(|number| format!("t-{number}")).collect();
    for name in &all {
        handle.create(None, spec(name), true).await.unwrap();
    }
    handle.stop(all).await;
    let before = tokio::time::Instant::now();
    handle.start(names(&["t-199"]), StartOptions::default()).await;
    wait_until(&handle, "t-199", |tunnel| tunnel.status.session.is_some()).await;
    assert!(before.elapsed() < Duration::from_secs(3), "it waits for nobody: {:?}", before.elapsed());
    engine.shutdown(BOUND).await;
}

#[tokio::test(start_paused = true)]
async fn watchers_end_with_the_engine() {
    let world = World::default();
    let (engine, handle) = start(&world).await;
    let mut watcher = handle.watch(None, Vec::new());
    assert!(matches!(watcher.next().await.unwrap().change, Change::Snapshot(_)));
    engine.shutdown(BOUND).await;
    assert!(watcher.next().await.is_none());
}
