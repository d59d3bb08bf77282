//! What a tunnel's life leaves behind: the engine against an agent in memory, and the events and figures it records.

use std::time::Duration;

use stormtunnel_engine::EngineHandle;
use stormtunnel_engine::ports::Incident;
use stormtunnel_engine::testing::{PATIENCE, spec, wait_until};
use stormtunnel_model::{
    Event, EventKind, Fault, FaultKind, Intent, Principal, RemoteHealth, StartOptions, Traffic,
    TunnelSpecPatch,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::cloud::{Remote, Setup};
use super::is_up;

async fn events(handle: &EngineHandle, tunnel: &str) -> Vec<Event> {
    handle.events(&[tunnel.to_owned()], None, 0, None).await.unwrap()
}

async fn kinds(handle: &EngineHandle, tunnel: &str) -> Vec<&'static str> {
    events(handle, tunnel).await.iter().map(|event| event.kind.name()).collect()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

async fn pass(seconds: u32) {
    for _ in 0..seconds {
        tokio::time::advance(Duration::from_secs(1)).await;
    }
}

async fn echo(setup: &Setup, text: &[u8]) {
    let port = setup.handle.get("db").unwrap().status.listening[0].port().unwrap();
    let mut client = setup.world.network.connect(port).await.unwrap();
    client.write_all(text).await.unwrap();
    let mut back = vec![0; text.len()];
    timeout(PATIENCE, client.read_exact(&mut back)).await.expect("an echo").unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_life_is_told_in_order_with_sessions_bytes_and_reasons() {
    let setup = Setup::new().await;
    setup.handle.create(None, spec("db"), true).await.unwrap();
    let session = wait_until(&setup.handle, "db", is_up).await.status.session;
    echo(&setup, b"12345").await;
    setup.cloud.drop_channels().await;
    wait_until(&setup.handle, "db", |tunnel| !is_up(tunnel)).await;
    wait_until(&setup.handle, "db", is_up).await;
    setup.cloud.close_sessions("Session timed out").await;
    wait_until(&setup.handle, "db", |tunnel| is_up(tunnel) && tunnel.status.session != session).await;
    setup.handle.stop(names(&["db"])).await;

    let told = events(&setup.handle, "db").await;
    let kinds: Vec<&str> = told.iter().map(|event| event.kind.name()).collect();
    assert_eq!(
        kinds,
        [
            "daemon_started",
            "created",
            "intent_changed",
            "connecting",
            "session_started",
            "up",
            "connecting",
            "session_resumed",
            "up",
            "session_ended",
            "connecting",
            "session_started",
            "up",
            "intent_changed",
            "session_ended",
            "stopped",
        ]
    );
    let ends: Vec<&Event> = told.iter().filter(|event| event.kind.name() == "session_ended").collect();
    let EventKind::SessionEnded { fault, traffic, lasted } = &ends[0].kind else { panic!("{ends:?}") };
    assert_eq!(*lasted, ends[0].at.since(told[4].at));
    assert_eq!(fault.as_ref().unwrap().detail, "Session timed out");
    assert_eq!(*traffic, Traffic { sent: 5, received: 5 });
    let ended = ends[0].subject.as_ref().unwrap();
    assert_eq!(ended.session, session);
    assert_eq!(ended.node.as_ref().unwrap().as_str(), "i-0abcdef1234567890");
    let EventKind::SessionEnded { fault: None, traffic, .. } = &ends[1].kind else { panic!("{ends:?}") };
    assert_eq!(*traffic, Traffic::default(), "each session has its own bytes");
    let EventKind::Connecting { fault: Some(broke), .. } = &told[6].kind else { panic!("{told:?}") };
    assert_eq!(broke.kind, FaultKind::Network);
    let subject = told[4].subject.as_ref().unwrap();
    assert_eq!((subject.name.as_str(), subject.target.as_str()), ("db", "i-0abcdef1234567890"));
    assert_eq!(subject.region.as_ref().unwrap().as_str(), "eu-west-1");
    assert!(told.windows(2).all(|pair| pair[0].id < pair[1].id && pair[0].at <= pair[1].at));
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_night_without_a_network_is_one_event() {
    let setup = Setup::new().await;
    setup.cloud.set_network_down(true).await;
    setup.handle.create(None, spec("db"), true).await.unwrap();
    wait_until(&setup.handle, "db", |tunnel| tunnel.status.attempt.0 > 200).await;
    let night = ["daemon_started", "created", "intent_changed", "connecting", "retrying"];
    assert_eq!(kinds(&setup.handle, "db").await, night);
    setup.cloud.set_network_down(false).await;
    wait_until(&setup.handle, "db", is_up).await;
    let morning = kinds(&setup.handle, "db").await;
    assert_eq!(morning[night.len()..], ["session_started", "up"]);
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_is_told_once_until_one_is_taken() {
    let setup = Setup::new().await;
    setup.cloud.set_remote(Remote::Refuses);
    setup.handle.create(None, spec("db"), true).await.unwrap();
    let port = wait_until(&setup.handle, "db", is_up).await.status.listening[0].port().unwrap();
    for _ in 0..3 {
        let mut client = setup.world.network.connect(port).await.unwrap();
        let _reset = timeout(PATIENCE, client.read_to_end(&mut Vec::new())).await.expect("an end");
    }
    wait_until(&setup.handle, "db", |tunnel| tunnel.status.remote == RemoteHealth::Refused).await;
    let told = events(&setup.handle, "db").await;
    let refused: Vec<&Event> =
        told.iter().filter(|event| event.kind.name() == "connection_refused").collect();
    assert_eq!(refused.len(), 1, "{told:?}");
    let remote = "db.internal:5432".to_owned();
    assert_eq!(refused[0].kind.fault().unwrap().kind, FaultKind::RemoteRefused { remote });
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn changes_name_their_fields_and_history_outlives_its_tunnel() {
    let setup = Setup::new().await;
    let handle = &setup.handle;
    let made = handle.create(None, spec("db"), false).await.unwrap();
    let rename = TunnelSpecPatch { name: Some("pg".parse().unwrap()), ..TunnelSpecPatch::default() };
    handle.update("db", rename.clone(), None, false).await.unwrap();
    handle.update("pg", rename, None, false).await.unwrap();
    handle.restart(names(&["pg"]), StartOptions::default()).await;
    wait_until(handle, "pg", is_up).await;
    handle.restart(names(&["pg"]), StartOptions::default()).await;
    wait_until(handle, "pg", is_up).await;
    handle.delete(names(&["pg"])).await;
    let told = events(handle, "pg").await;
    let changed = EventKind::Changed { fields: names(&["name"]) };
    assert_eq!(
        told.iter().filter(|event| event.kind == changed).count(),
        1,
        "nothing changed the second time"
    );
    let wanted = EventKind::IntentChanged { intent: Intent::Run };
    assert_eq!(told.iter().filter(|event| event.kind == wanted).count(), 1, "{told:?}");
    assert_eq!(told.iter().filter(|event| event.kind == EventKind::Restarted).count(), 1, "{told:?}");
    assert!(told.iter().any(|event| event.kind == EventKind::Deleted), "{told:?}");
    assert_eq!(events(handle, &made.id.to_string()).await, told, "by its id, too");
    assert_eq!(events(handle, "db").await, told, "by the name that it had once, too");
    let missing = handle.events(&names(&["nosuch"]), None, 0, None).await.unwrap_err();
    assert_eq!(missing.kind, FaultKind::TunnelNotFound { tunnel: "nosuch".to_owned() });
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn events_and_figures_go_on_in_the_next_life() {
    let setup = Setup::new().await;
    setup.handle.create(None, spec("db"), true).await.unwrap();
    wait_until(&setup.handle, "db", is_up).await;
    echo(&setup, b"12345").await;
    pass(100).await;
    setup.cloud.drop_channels().await;
    wait_until(&setup.handle, "db", |tunnel| !is_up(tunnel)).await;
    wait_until(&setup.handle, "db", is_up).await;
    let before = setup.handle.statistics(&[]).unwrap().remove(0);
    assert_eq!(before.since_created, before.since_started);
    let figures = before.since_started;
    assert_eq!((figures.traffic, figures.connections), (Traffic { sent: 5, received: 5 }, 1));
    assert_eq!((figures.sessions, figures.reconnects), (1, 1));
    assert!(figures.uptime >= Duration::from_secs(100), "{:?}", figures.uptime);
    let world = setup.world.clone();
    setup.shutdown().await;
    let stored = world.history.events();
    assert_eq!(
        stored.iter().rev().take(3).map(|event| event.kind.name()).collect::<Vec<_>>(),
        ["stopped", "session_ended", "daemon_stopping"]
    );

    let setup = Setup::with(world).await;
    wait_until(&setup.handle, "db", is_up).await;
    let after = setup.handle.statistics(&names(&["db"])).unwrap().remove(0);
    assert_eq!(after.since_started.traffic, Traffic::default());
    assert_eq!(after.since_created.traffic, Traffic { sent: 5, received: 5 });
    assert_eq!((after.since_created.sessions, after.since_started.sessions), (2, 1));
    let told = events(&setup.handle, "db").await;
    assert_eq!(told[..stored.len()], stored[..], "the old ones first");
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_history_that_cannot_be_stored_stops_no_tunnel() {
    let setup = Setup::new().await;
    setup.world.history.break_with(Some(Fault::internal("disk full")));
    setup.handle.create(None, spec("db"), true).await.unwrap();
    wait_until(&setup.handle, "db", is_up).await;
    echo(&setup, b"12345").await;
    while setup.handle.warnings().is_empty() {
        pass(1).await;
    }
    let warnings = setup.handle.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("disk full"), "{warnings:?}");
    assert!(kinds(&setup.handle, "db").await.contains(&"up"), "kept in memory");
    setup.world.history.break_with(None);
    setup.world.history.wait_for(|kind| kind.name() == "up").await;
    while !setup.handle.warnings().is_empty() {
        pass(1).await;
    }
    setup.shutdown().await;
}

fn ada() -> Principal {
    "arn:aws:sts::123456789012:assumed-role/Dev/ada".parse().unwrap()
}

/// The principals that events of a kind name.
fn principals<'a>(told: &'a [Event], kind: &str) -> Vec<Option<&'a Principal>> {
    let of_kind = told.iter().filter(|event| event.kind.name() == kind);
    of_kind.map(|event| event.subject.as_ref().unwrap().principal.as_ref()).collect()
}

#[tokio::test(start_paused = true)]
async fn who_opened_a_session_is_told_with_its_start() {
    let setup = Setup::new().await;
    setup.world.identity.answer(Ok(ada()));
    setup.handle.create(None, spec("db"), true).await.unwrap();
    let status = wait_until(&setup.handle, "db", is_up).await.status;
    assert_eq!(status.sessions[0].principal, Some(ada()));
    setup.handle.stop(names(&["db"])).await;
    let told = events(&setup.handle, "db").await;
    for kind in ["session_started", "up", "session_ended"] {
        assert_eq!(principals(&told, kind), [Some(&ada())], "{kind}");
    }
    assert_eq!(principals(&told, "connecting"), [None], "there was no session yet");
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_for_who_opened_a_session_and_a_later_event_has_it() {
    let setup = Setup::new().await;
    let before = tokio::time::Instant::now();
    setup.handle.create(None, spec("db"), true).await.unwrap();
    wait_until(&setup.handle, "db", is_up).await;
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
    setup.world.identity.answer(Err(Fault::new(FaultKind::Network, "no route to STS")));
    while setup.world.identity.asked() < 3 {
        pass(1).await;
    }
    setup.world.identity.answer(Ok(ada()));
    let known = wait_until(&setup.handle, "db", |tunnel| tunnel.status.sessions[0].principal.is_some()).await;
    assert!(is_up(&known), "a question that fails is nobody's trouble");
    setup.handle.stop(names(&["db"])).await;
    let told = events(&setup.handle, "db").await;
    assert_eq!(principals(&told, "session_started"), [None]);
    assert_eq!(principals(&told, "session_ended"), [Some(&ada())]);
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_over_asks_no_more_who_opened_it() {
    let setup = Setup::new().await;
    setup.world.identity.answer(Err(Fault::new(FaultKind::Network, "no route to STS")));
    setup.handle.create(None, spec("db"), true).await.unwrap();
    wait_until(&setup.handle, "db", is_up).await;
    setup.handle.stop(names(&["db"])).await;
    let asked = setup.world.identity.asked();
    pass(1000).await;
    assert_eq!(setup.world.identity.asked(), asked);
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_happened_to_the_machine_is_told_before_what_it_caused() {
    let setup = Setup::new().await;
    setup.handle.create(None, spec("db"), true).await.unwrap();
    wait_until(&setup.handle, "db", is_up).await;
    setup.cloud.swallow_channels().await;
    let slept = Duration::from_secs(7 * 3600);
    setup.world.incidents.report(Incident::Woke { slept, dark: false });
    setup.world.incidents.report(Incident::NetworkChanged);
    wait_until(&setup.handle, "db", |tunnel| !is_up(tunnel)).await;
    wait_until(&setup.handle, "db", is_up).await;
    let told = events(&setup.handle, "db").await;
    let woke = told.iter().position(|event| event.kind.name() == "woke").unwrap();
    assert_eq!(told[woke].kind, EventKind::Woke { slept, dark: false });
    assert_eq!(told[woke].subject, None, "it is nobody's alone");
    let rest: Vec<&str> = told[woke..].iter().map(|event| event.kind.name()).collect();
    assert_eq!(rest, ["woke", "network_changed", "connecting", "session_resumed", "up"]);
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_link_that_flaps_does_not_fill_the_history() {
    let setup = Setup::new().await;
    setup.handle.create(None, spec("db"), true).await.unwrap();
    wait_until(&setup.handle, "db", is_up).await;
    for _ in 0..600 {
        setup.world.incidents.report(Incident::NetworkChanged);
        pass(1).await;
    }
    let told = kinds(&setup.handle, "db").await;
    let changes = told.iter().filter(|kind| **kind == "network_changed").count();
    assert!((2..=7).contains(&changes), "{changes} in ten minutes: {told:?}");
    setup.shutdown().await;
}
