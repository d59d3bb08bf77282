//! When a tunnel holds sessions, and how it spreads connections over them.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use stormtunnel_engine::EngineHandle;
use stormtunnel_engine::testing::{MemoryClient, spec, wait_until};
use stormtunnel_model::{Keep, SsmSessionId, StartOptions, Tunnel, TunnelSpec, TunnelState};
use tokio::time::Instant;

use crate::cloud::Setup;
use crate::{assert_reset, bytes, echo, is_up};

/// A little more than the shortest idle timeout that an account may set.
const UNUSED: Duration = Duration::from_secs(61);

fn is_idle(tunnel: &Tunnel) -> bool {
    tunnel.status.state == TunnelState::Idle
}

async fn start(handle: &EngineHandle, keep: Keep, sessions: u8) -> u16 {
    let spec = TunnelSpec { keep, sessions: sessions.try_into().unwrap(), ..spec("db") };
    handle.create(None, spec, true).await.unwrap();
    let tunnel = wait_until(handle, "db", |tunnel| is_up(tunnel) || is_idle(tunnel)).await;
    tunnel.status.listening[0].port().unwrap()
}

async fn connect(setup: &Setup, port: u16) -> MemoryClient {
    setup.world.network.connect(port).await.unwrap()
}

/// The state is reached by time alone: nothing but the clock moves meanwhile.
async fn pass(time: Duration) {
    tokio::time::advance(time).await;
}

#[tokio::test(start_paused = true)]
async fn on_demand_there_is_a_session_only_while_it_is_used() {
    let setup = Setup::new().await;
    let port = start(&setup.handle, Keep::OnDemand, 1).await;
    assert!(is_idle(&setup.handle.get("db").unwrap()));
    for used in 1..=3 {
        assert_eq!((setup.cloud.started(), setup.cloud.open_sessions()), (used - 1, 0));
        let client = echo(connect(&setup, port).await, &bytes(10_000, u64::from(used))).await;
        assert_eq!((setup.cloud.started(), setup.cloud.open_sessions()), (used, 1));
        drop(client);
        wait_until(&setup.handle, "db", |tunnel| tunnel.status.connections == 0).await;
        pass(UNUSED).await;
        setup.cloud.close_sessions("Session timed out").await;
        wait_until(&setup.handle, "db", is_idle).await;
    }
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_proven_tunnel_waits_for_use_once_the_service_has_closed_it() {
    for (keep, sessions) in [(Keep::Auto, 1), (Keep::Warm, 2)] {
        let setup = Setup::new().await;
        let port = start(&setup.handle, keep, 1).await;
        assert!(is_up(&setup.handle.get("db").unwrap()), "proven before anybody connects");
        pass(UNUSED).await;
        setup.cloud.close_sessions("Session timed out").await;
        match keep {
            Keep::Warm => {
                wait_until(&setup.handle, "db", |tunnel| is_up(tunnel) && setup.cloud.open_sessions() == 1)
                    .await;
            }
            Keep::Auto | Keep::OnDemand => drop(wait_until(&setup.handle, "db", is_idle).await),
        }
        assert_eq!(setup.cloud.started(), sessions, "{keep}");
        echo(connect(&setup, port).await, &bytes(10_000, 1)).await;
        assert_eq!(setup.cloud.started(), 2);
        setup.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_closed_in_use_is_replaced_at_once() {
    let setup = Setup::new().await;
    let port = start(&setup.handle, Keep::Auto, 1).await;
    let mut client = echo(connect(&setup, port).await, &bytes(1000, 1)).await;
    pass(UNUSED).await;
    setup.cloud.close_sessions("maximum duration").await;
    assert_reset(&mut client).await;
    wait_until(&setup.handle, "db", |tunnel| is_up(tunnel) && setup.cloud.started() == 2).await;
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_waits_for_a_minute_at_most_and_is_reset_then() {
    let setup = Setup::new().await;
    let port = start(&setup.handle, Keep::OnDemand, 1).await;
    setup.cloud.set_network_down(true).await;
    let start = Instant::now();
    let mut client = connect(&setup, port).await;
    assert_reset(&mut client).await;
    assert_eq!(start.elapsed().as_secs(), 60);
    let tunnel = wait_until(&setup.handle, "db", is_idle).await;
    assert!(tunnel.status.last_fault.is_some(), "the reason is told");

    setup.cloud.set_network_down(false).await;
    echo(connect(&setup, port).await, &bytes(1000, 2)).await;
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn connections_that_come_together_have_a_session_each_and_sessions_go_with_them() {
    let setup = Setup::new().await;
    let port = start(&setup.handle, Keep::Auto, 8).await;
    assert_eq!(setup.cloud.open_sessions(), 1, "nobody needs more yet");
    let clients = join_all((0..8).map(|seed| {
        let setup = &setup;
        async move { echo(connect(setup, port).await, &bytes(100_000, seed)).await }
    }));
    let clients = clients.await;
    assert_eq!((setup.cloud.started(), setup.cloud.open_sessions()), (8, 8));
    assert_eq!(setup.cloud.busiest(), 1, "each has one of its own");
    drop(clients);
    wait_until(&setup.handle, "db", |tunnel| tunnel.status.connections == 0).await;
    setup.cloud.until_open(1).await;
    assert!(is_up(&setup.handle.get("db").unwrap()));
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn one_session_more_than_is_used_stands_ready() {
    let setup = Setup::new().await;
    let port = start(&setup.handle, Keep::Auto, 3).await;
    let first = echo(connect(&setup, port).await, &bytes(1000, 1)).await;
    setup.cloud.until_open(2).await;
    let now = Instant::now();
    let second = echo(connect(&setup, port).await, &bytes(1000, 2)).await;
    assert!(now.elapsed() < Duration::from_secs(1), "it did not wait for a session");
    setup.cloud.until_open(3).await;
    let rest = join_all((3..9).map(|seed| {
        let setup = &setup;
        async move { echo(connect(setup, port).await, &bytes(1000, seed)).await }
    }));
    let rest = rest.await;
    assert_eq!((setup.cloud.open_sessions(), setup.cloud.busiest()), (3, 3), "eight connections in three");
    drop((first, second, rest));
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_ends_a_tunnel_ends_all_its_sessions() {
    let setup = Setup::new().await;
    let port = start(&setup.handle, Keep::Auto, 4).await;
    let mut clients = join_all((0..4).map(|seed| {
        let setup = &setup;
        async move { echo(connect(setup, port).await, &bytes(1000, seed)).await }
    }))
    .await;
    assert_eq!(setup.cloud.open_sessions(), 4);
    setup.handle.restart(vec!["db".to_owned()], StartOptions::default()).await;
    for client in &mut clients {
        assert_reset(client).await;
    }
    wait_until(&setup.handle, "db", is_up).await;
    setup.cloud.until_open(1).await;
    echo(connect(&setup, port).await, &bytes(1000, 9)).await;
    setup.handle.stop(vec!["db".to_owned()]).await;
    assert_eq!(setup.cloud.open_sessions(), 0);
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn every_session_is_resumed_for_itself() {
    let setup = Setup::new().await;
    let port = start(&setup.handle, Keep::Auto, 4).await;
    let mut clients = join_all((0..4).map(|_| connect(&setup, port))).await;
    for round in 0..10 {
        clients = join_all(
            clients.into_iter().map(|client| async move { echo(client, &bytes(50_000, round)).await }),
        )
        .await;
        setup.cloud.drop_channels().await;
    }
    assert_eq!((setup.cloud.started(), setup.cloud.open_sessions()), (4, 4), "all on their sessions");
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn every_session_shows_what_it_carries_and_has_an_end_of_its_own() {
    let setup = Setup::new().await;
    let port = start(&setup.handle, Keep::Auto, 3).await;
    let alone = setup.handle.get("db").unwrap().status;
    assert_eq!(alone.sessions.len(), 1);
    let clients = join_all((0..3).map(|seed| {
        let setup = &setup;
        async move { echo(connect(setup, port).await, &bytes(1000, seed)).await }
    }))
    .await;
    let status = setup.handle.get("db").unwrap().status;
    assert_eq!(status.sessions[0].id, *alone.session.as_ref().unwrap(), "the main one comes first");
    for session in &status.sessions {
        assert_eq!((session.connections, session.traffic.sent, session.traffic.received), (1, 1000, 1000));
    }
    let ids: BTreeSet<&SsmSessionId> = status.sessions.iter().map(|session| &session.id).collect();
    assert_eq!(ids.len(), 3, "{status:?}");
    drop(clients);
    wait_until(&setup.handle, "db", |tunnel| tunnel.status.sessions.len() == 1).await;
    setup.handle.stop(vec!["db".to_owned()]).await;
    assert_eq!(setup.handle.get("db").unwrap().status.sessions, []);
    let told = setup.handle.events(&["db".to_owned()], None, 0, None).await.unwrap();
    for kind in ["session_started", "session_ended"] {
        let of_kind = told.iter().filter(|event| event.kind.name() == kind);
        let named: BTreeSet<&SsmSessionId> =
            of_kind.filter_map(|event| event.subject.as_ref()?.session.as_ref()).collect();
        assert_eq!(named, ids, "{kind}");
    }
    setup.shutdown().await;
}
