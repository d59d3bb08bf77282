//! Local guards and local ends: reason, time to live, confirmation, Unix sockets, ports that are claimed.

#![expect(clippy::unwrap_used, reason = "a helper's panic is its test's failure")]

use std::time::Duration;

use stormtunnel_engine::incidents::QUIET;
use stormtunnel_engine::ports::{Incident, SessionRequest, StoredTunnel};
use stormtunnel_engine::testing::{PATIENCE, World, spec, wait_until};
use stormtunnel_engine::{Engine, EngineHandle};
use stormtunnel_model::{
    BoundAddress, EventKind, Fault, FaultKind, Intent, Label, LocalEndpoint, RunTerms, StartOptions,
    Timestamp, Tunnel, TunnelSpec, TunnelSpecPatch, TunnelState,
};
use tokio::time::{Instant, timeout};

const BOUND: Duration = Duration::from_secs(30);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

async fn start(world: &World) -> (Engine, EngineHandle) {
    Engine::start(world.ports(), world.settings.subscribe()).await.unwrap()
}

fn for_at_most(ttl: Duration) -> StartOptions {
    StartOptions { ttl: Some(ttl.try_into().unwrap()), ..StartOptions::default() }
}

fn because(reason: &str) -> StartOptions {
    StartOptions { reason: Some(reason.parse().unwrap()), ..StartOptions::default() }
}

fn guarded(name: &str) -> TunnelSpec {
    let label: Label = "confirm=true".parse().unwrap();
    TunnelSpec { labels: [label.into()].into(), ..spec(name) }
}

fn at(name: &str, local: &str) -> TunnelSpec {
    TunnelSpec { local: local.parse().unwrap(), ..spec(name) }
}

async fn up(handle: &EngineHandle, name: &str, options: StartOptions) -> Result<Tunnel, Fault> {
    handle.start(vec![name.to_owned()], options).await.remove(0).outcome
}

fn is_stopped(tunnel: &Tunnel) -> bool {
    (tunnel.intent, &tunnel.status.state) == (Intent::Stop, &TunnelState::Stopped)
}

fn stored(world: &World) -> StoredTunnel {
    world.store.state().tunnels.remove(0)
}

async fn sessions(world: &World, handle: &EngineHandle, count: usize) -> Vec<SessionRequest> {
    wait_until(handle, "db", |_| world.ssm.started().len() >= count).await;
    world.ssm.started()
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_whose_time_is_over_stops_by_itself() {
    let world = World::default();
    let (engine, handle) = start(&world).await;
    handle.create(None, spec("db"), false).await.unwrap();
    let begin = Instant::now();
    let tunnel = up(&handle, "db", for_at_most(MINUTE)).await.unwrap();
    assert_eq!(tunnel.terms.stops_at, Some(Timestamp::from_millis(1_700_000_060_000)));
    assert_eq!(stored(&world).terms, tunnel.terms, "stored before the answer");
    let tunnel = wait_until(&handle, "db", is_stopped).await;
    assert!(begin.elapsed() >= MINUTE && begin.elapsed() < MINUTE + QUIET, "{:?}", begin.elapsed());
    assert_eq!(tunnel.terms, RunTerms::default());
    assert_eq!((stored(&world).intent, stored(&world).terms), (Intent::Stop, RunTerms::default()));
    world.history.wait_for(|kind| *kind == EventKind::TtlOver).await;
    engine.shutdown(BOUND).await;
    assert_eq!(world.ssm.open_sessions(), []);
}

/// The machine slept, and nobody has looked at the clock yet.
#[tokio::test(start_paused = true)]
async fn a_start_after_the_time_was_over_begins_anew() {
    let world = World::default();
    let (engine, handle) = start(&world).await;
    handle.create(None, spec("db"), false).await.unwrap();
    up(&handle, "db", for_at_most(HOUR)).await.unwrap();
    world.skip_wall_clock(9 * HOUR);
    let tunnel = up(&handle, "db", StartOptions::default()).await.unwrap();
    assert_eq!((tunnel.intent, tunnel.terms), (Intent::Run, RunTerms::default()));
    world.incidents.report(Incident::Woke { slept: 9 * HOUR, dark: false });
    tokio::time::advance(2 * MINUTE).await;
    assert_eq!(handle.get("db").unwrap().intent, Intent::Run, "yesterday's end does not count");
    engine.shutdown(BOUND).await;
}

#[tokio::test(start_paused = true)]
async fn another_start_renews_the_time_and_a_restart_does_not() {
    let world = World::default();
    let (engine, handle) = start(&world).await;
    let limited = TunnelSpec { ttl: Some(HOUR.try_into().unwrap()), ..spec("db") };
    let first = handle.create(None, limited, true).await.unwrap().terms.stops_at.unwrap();
    tokio::time::advance(HOUR / 2).await;
    let restarted = handle.restart(vec!["db".to_owned()], StartOptions::default()).await.remove(0);
    assert_eq!(restarted.outcome.unwrap().terms.stops_at, Some(first));
    let renewed = up(&handle, "db", StartOptions::default()).await.unwrap();
    assert_eq!(renewed.terms.stops_at, Some(first.plus(HOUR / 2)));
    tokio::time::advance(HOUR / 2 + MINUTE).await;
    assert_eq!(handle.get("db").unwrap().intent, Intent::Run, "the first end is no end any more");
    wait_until(&handle, "db", is_stopped).await;
    engine.shutdown(BOUND).await;
}

/// Timers stand still while the machine sleeps, and know nothing of a clock that is set.
#[tokio::test(start_paused = true)]
async fn a_time_that_is_over_while_the_machine_sleeps_ends_with_its_waking() {
    let woke = Incident::Woke { slept: HOUR, dark: false };
    let set = Incident::ClockJumped { by_ms: 3_600_000 };
    for (told, within) in [(Some(woke), 2 * QUIET), (Some(set), 2 * QUIET), (None, MINUTE)] {
        let world = World::default();
        let (engine, handle) = start(&world).await;
        handle.create(None, spec("db"), false).await.unwrap();
        up(&handle, "db", for_at_most(HOUR)).await.unwrap();
        tokio::time::advance(MINUTE / 2).await;
        assert_eq!(handle.get("db").unwrap().intent, Intent::Run);
        world.skip_wall_clock(HOUR);
        told.into_iter().for_each(|incident| world.incidents.report(incident));
        let begin = Instant::now();
        wait_until(&handle, "db", is_stopped).await;
        assert!(begin.elapsed() <= within, "{told:?}: {:?}", begin.elapsed());
        engine.shutdown(BOUND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_outlives_the_daemon() {
    let world = World::default();
    let (engine, handle) = start(&world).await;
    handle.create(None, spec("db"), false).await.unwrap();
    up(&handle, "db", for_at_most(HOUR)).await.unwrap();
    engine.shutdown(BOUND).await;
    assert_eq!(stored(&world).intent, Intent::Run);

    world.skip_wall_clock(HOUR / 2);
    let (engine, handle) = start(&world).await;
    let end = handle.get("db").unwrap().terms.stops_at;
    assert_eq!(end, Some(Timestamp::from_millis(1_700_003_600_000)), "as it was");
    engine.shutdown(BOUND).await;
    let begun = world.ssm.started().len();

    world.skip_wall_clock(HOUR);
    let (engine, handle) = start(&world).await;
    assert!(is_stopped(&handle.get("db").unwrap()), "its time was over while no daemon ran");
    assert_eq!((stored(&world).intent, world.ssm.started().len()), (Intent::Stop, begun));
    world.history.wait_for(|kind| *kind == EventKind::TtlOver).await;
    engine.shutdown(BOUND).await;
}

#[tokio::test(start_paused = true)]
async fn an_end_that_cannot_be_stored_holds_all_the_same() {
    let world = World::default();
    let (engine, handle) = start(&world).await;
    handle.create(None, spec("db"), false).await.unwrap();
    up(&handle, "db", for_at_most(MINUTE)).await.unwrap();
    world.store.break_with(Some(Fault::internal("disk full")));
    wait_until(&handle, "db", |tunnel| tunnel.status.state == TunnelState::Stopping).await;
    wait_until(&handle, "db", |tunnel| tunnel.status.state == TunnelState::Stopped).await;
    assert_eq!(stored(&world).intent, Intent::Run);
    world.store.break_with(None);
    timeout(2 * MINUTE, wait_until(&handle, "db", is_stopped)).await.unwrap();
    assert_eq!(stored(&world).intent, Intent::Stop, "stored once the disk takes it");
    engine.shutdown(BOUND).await;
}

#[tokio::test(start_paused = true)]
async fn a_reason_goes_with_every_session_until_the_tunnel_is_stopped() {
    let world = World::default();
    let (engine, handle) = start(&world).await;
    let spec = TunnelSpec { reason: because("routine").reason, ..spec("db") };
    handle.create(None, spec, true).await.unwrap();
    sessions(&world, &handle, 1).await;
    let asked = handle.restart(vec!["db".to_owned()], because("INC-4711")).await.remove(0).outcome.unwrap();
    assert_eq!(asked.terms.reason, because("INC-4711").reason);
    sessions(&world, &handle, 2).await;
    engine.shutdown(BOUND).await;
    let (engine, handle) = start(&world).await;
    sessions(&world, &handle, 3).await;
    handle.stop(vec!["db".to_owned()]).await;
    up(&handle, "db", StartOptions::default()).await.unwrap();
    let started = sessions(&world, &handle, 4).await;
    let reasons: Vec<String> = started.into_iter().map(|asked| asked.reason.unwrap().to_string()).collect();
    assert_eq!(reasons, ["routine", "INC-4711", "INC-4711", "routine"]);
    engine.shutdown(BOUND).await;
}

#[tokio::test(start_paused = true)]
async fn a_guarded_tunnel_starts_only_when_somebody_confirmed_it() {
    let world = World::default();
    let (engine, handle) = start(&world).await;
    let (tunnel, label) = ("db".to_owned(), "confirm=true".to_owned());
    let needed = FaultKind::ConfirmationNeeded { tunnel, label };
    assert_eq!(handle.create(None, guarded("db"), true).await.unwrap_err().kind, needed);
    assert!(handle.list().is_empty(), "nothing was made");
    handle.create(None, guarded("db"), false).await.unwrap();
    assert_eq!(handle.create(None, guarded("db"), true).await.unwrap_err().kind, needed, "it exists by now");
    assert_eq!(up(&handle, "db", StartOptions::default()).await.unwrap_err().kind, needed);
    let restart = handle.restart(vec!["db".to_owned()], StartOptions::default()).await.remove(0);
    assert_eq!(restart.outcome.unwrap_err().kind, needed);
    assert!(is_stopped(&handle.get("db").unwrap()));

    let confirmed = StartOptions { confirmed: true, ..StartOptions::default() };
    assert_eq!(up(&handle, "db", confirmed).await.unwrap().intent, Intent::Run);
    engine.shutdown(BOUND).await;
    let (engine, handle) = start(&world).await;
    wait_until(&handle, "db", |tunnel| tunnel.status.state != TunnelState::Stopped).await;
    engine.shutdown(BOUND).await;
}

/// The system gives an automatic port that nobody listens on. Whether somebody will, only the supervisor knows.
#[tokio::test(start_paused = true)]
async fn an_automatic_port_is_never_one_that_a_stopped_tunnel_claims() {
    let world = World::default();
    let (engine, handle) = start(&world).await;
    handle.create(None, at("fixed", "40001"), false).await.unwrap();
    handle.create(None, spec("db"), true).await.unwrap();
    let listens =
        |tunnel: &Tunnel| tunnel.status.listening.first().and_then(BoundAddress::port) == Some(40_002);
    wait_until(&handle, "db", listens).await;
    world.store.wait_until(|state| state.tunnels.iter().any(|one| one.kept_port == Some(40_002))).await;
    assert_eq!(world.network.listening(), [40_002], "the other one is free for its tunnel");

    let taken = |local: &str| {
        let holder = Some("tunnel \"db\"".to_owned());
        FaultKind::PortInUse { address: local.to_owned(), holder }
    };
    handle.stop(vec!["db".to_owned()]).await;
    let fault = handle.create(None, at("web", "40002"), false).await.unwrap_err();
    assert_eq!(fault.kind, taken("localhost:40002"), "kept by a tunnel that is stopped");
    let patch = TunnelSpecPatch { local: Some("127.0.0.1:40002".parse().unwrap()), ..Default::default() };
    let fault = handle.update("fixed", patch, None, false).await.unwrap_err();
    assert_eq!(fault.kind, taken("127.0.0.1:40002"));
    engine.shutdown(BOUND).await;
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_listens_on_a_unix_socket() {
    let world = World::default();
    let (engine, handle) = start(&world).await;
    let socket = "unix:/run/user/1000/db.sock";
    handle.create(None, at("db", socket), true).await.unwrap();
    let started = sessions(&world, &handle, 1).await;
    assert_eq!(started[0].local_port, None, "there is none");
    let tunnel = wait_until(&handle, "db", |tunnel| !tunnel.status.listening.is_empty()).await;
    assert_eq!(tunnel.status.listening[0].to_string(), socket);
    let Ok(LocalEndpoint::Unix(path)) = socket.parse() else { panic!("no socket") };
    assert!(world.network.connect_to_socket(&path).await.is_some());
    assert_eq!(stored(&world).kept_port, None);

    let fault = handle.create(None, at("web", socket), false).await.unwrap_err();
    let holder = Some("tunnel \"db\"".to_owned());
    assert_eq!(fault.kind, FaultKind::PortInUse { address: socket.to_owned(), holder });
    let patch = TunnelSpecPatch { local: Some("5432".parse().unwrap()), ..Default::default() };
    let moved = handle.update("db", patch, None, false).await.unwrap();
    assert!(moved.rebinds && !moved.reconnects);
    let listens =
        |tunnel: &Tunnel| tunnel.status.listening.first().and_then(BoundAddress::port) == Some(5432);
    timeout(PATIENCE, wait_until(&handle, "db", listens)).await.unwrap();
    assert!(world.network.connect_to_socket(&path).await.is_none(), "closed");
    engine.shutdown(BOUND).await;
}
