//! Targets that have to be looked for: found anew at each session, failed over, replaced when they are gone.

use std::time::Duration;

use stormtunnel_engine::testing::{candidate, spec, wait_until};
use stormtunnel_model::{
    AgentStatus, Candidate, Event, EventKind, FaultKind, Tunnel, TunnelSpec, TunnelState, TunnelStatus,
};
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use super::cloud::Setup;
use super::{echo, is_up};

const OLD: &str = "i-0aaaaaaaaaaaaaaaa";
const NEW: &str = "i-0bbbbbbbbbbbbbbbb";

fn tagged() -> TunnelSpec {
    TunnelSpec { target: "tag:Role=bastion".parse().unwrap(), ..spec("db") }
}

fn online(node: &str, launched: u64) -> Candidate {
    candidate(node, AgentStatus::Online, launched)
}

fn node(status: &TunnelStatus) -> Option<&str> {
    status.node.as_ref().map(|node| node.as_str())
}

fn is_up_through(wanted: &str) -> impl Fn(&Tunnel) -> bool {
    move |tunnel| is_up(tunnel) && node(&tunnel.status) == Some(wanted)
}

async fn chosen(setup: &Setup) -> Vec<String> {
    let events = setup.handle.events(&["db".to_owned()], None, 1000, None).await.unwrap();
    let node = |event: Event| {
        if let EventKind::NodeChosen { node, .. } = event.kind { Some(node.to_string()) } else { None }
    };
    events.into_iter().filter_map(node).collect()
}

/// A tunnel that is up through the old node, and its port.
async fn up_through_old() -> (Setup, u16) {
    let setup = Setup::new().await;
    setup.world.targets.set(vec![online(OLD, 1)]);
    setup.handle.create(None, tagged(), true).await.unwrap();
    let tunnel = wait_until(&setup.handle, "db", is_up_through(OLD)).await;
    (setup, tunnel.status.listening[0].port().unwrap())
}

#[tokio::test(start_paused = true)]
async fn each_session_is_looked_up_anew_and_no_resumption_is() {
    let (setup, port) = up_through_old().await;
    let client = echo(setup.world.network.connect(port).await.unwrap(), b"before").await;
    setup.world.targets.set(vec![online(OLD, 1), online(NEW, 2)]);
    setup.cloud.drop_channels().await;
    echo(client, b"resumed").await;
    assert_eq!(setup.world.targets.asked().len(), 1);
    assert_eq!(node(&setup.handle.get("db").unwrap().status), Some(OLD));

    setup.cloud.close_sessions("Session timed out").await;
    wait_until(&setup.handle, "db", is_up_through(NEW)).await;
    assert_eq!(setup.world.targets.asked().len(), 2);
    assert_eq!(chosen(&setup).await, [OLD, NEW]);
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_by_its_id_is_never_looked_up() {
    let setup = Setup::new().await;
    setup.handle.create(None, spec("db"), true).await.unwrap();
    let tunnel = wait_until(&setup.handle, "db", is_up).await;
    assert_eq!(node(&tunnel.status), Some("i-0abcdef1234567890"));
    assert_eq!(setup.world.targets.asked(), []);
    assert_eq!(chosen(&setup).await, Vec::<String>::new());
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_next_attempt_goes_through_another_node() {
    let setup = Setup::new().await;
    // The newer one is online by what AWS says, which lags behind.
    setup.world.targets.set(vec![online(OLD, 1), online(NEW, 2)]);
    setup.cloud.set_offline(NEW);
    setup.handle.create(None, tagged(), true).await.unwrap();
    wait_until(&setup.handle, "db", is_up_through(OLD)).await;
    assert_eq!(setup.cloud.asked(), [NEW, OLD]);
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn new_connections_reach_the_node_that_took_the_place_of_a_silent_one() {
    let (setup, port) = up_through_old().await;
    setup.world.targets.set(vec![online(NEW, 2)]);
    setup.cloud.mute().await;
    let begin = Instant::now();
    let mut lost = setup.world.network.connect(port).await.unwrap();
    lost.write_all(b"to nobody").await.unwrap();
    wait_until(&setup.handle, "db", is_up_through(NEW)).await;
    echo(setup.world.network.connect(port).await.unwrap(), b"after").await;
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    let fault = setup.handle.get("db").unwrap().status.last_fault.unwrap();
    assert!(matches!(fault.kind, FaultKind::TargetNotConnected { .. }), "{fault}");
    setup.shutdown().await;
}

/// Nobody uses the tunnel: the pause is all that there is to be noticed.
#[tokio::test(start_paused = true)]
async fn a_pause_that_lasts_makes_the_daemon_look_and_a_short_one_does_not() {
    let (setup, _port) = up_through_old().await;
    setup.cloud.pause(true).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    setup.cloud.pause(false).await;
    for _ in 0..60 {
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(setup.world.targets.asked().len(), 1, "only at the start");

    setup.world.targets.set(vec![online(NEW, 2)]);
    let begin = Instant::now();
    setup.cloud.pause(true).await;
    wait_until(&setup.handle, "db", is_up_through(NEW)).await;
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_without_an_end_is_not_looked_at_for_ever() {
    let (setup, port) = up_through_old().await;
    setup.cloud.pause(true).await;
    for _ in 0..600 {
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert!(setup.world.targets.asked().len() <= 6, "{:?}", setup.world.targets.asked().len());
    echo(setup.world.network.connect(port).await.unwrap(), b"still there").await;
    assert_eq!(setup.cloud.started(), 1);
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_that_is_still_there_and_may_have_a_reason_keeps_its_session() {
    let (setup, port) = up_through_old().await;
    // As much as an agent takes in for a destination that reads nothing. With less it would have no reason.
    echo(setup.world.network.connect(port).await.unwrap(), &crate::bytes(5 << 20, 1)).await;
    setup.cloud.mute().await;
    let mut client = setup.world.network.connect(port).await.unwrap();
    client.write_all(b"patience").await.unwrap();
    // It is looked at again and again; a look that fails says nothing.
    let network = stormtunnel_model::Fault::new(FaultKind::Network, "no route");
    setup.world.targets.fail_next(network);
    for _ in 0..120 {
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert!(setup.world.targets.asked().len() > 3, "{:?}", setup.world.targets.asked().len());
    assert_eq!(setup.cloud.started(), 1);
    assert!(is_up(&setup.handle.get("db").unwrap()));
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_yet_is_looked_for_until_it_is() {
    let setup = Setup::new().await;
    setup.handle.create(None, tagged(), true).await.unwrap();
    let retrying = |tunnel: &Tunnel| matches!(tunnel.status.state, TunnelState::Retrying { .. });
    let tunnel = wait_until(&setup.handle, "db", retrying).await;
    let fault = tunnel.status.state.fault().unwrap();
    let expected =
        FaultKind::TargetNotFound { target: "tag:Role=bastion".to_owned(), region: "eu-west-1".to_owned() };
    assert_eq!(fault.kind, expected);
    assert_eq!(setup.cloud.asked(), Vec::<String>::new(), "nobody was there to ask for");
    setup.world.targets.set(vec![online(NEW, 1)]);
    wait_until(&setup.handle, "db", is_up_through(NEW)).await;
    setup.shutdown().await;
}
