//! The machine sleeps and wakes, and changes its network: the engine against an agent in memory.

use std::time::Duration;

use stormtunnel_engine::incidents::QUIET;
use stormtunnel_engine::ports::Incident;
use stormtunnel_engine::testing::{spec, wait_until};
use stormtunnel_engine::tunnel::machine::RETURN_WITHIN;
use stormtunnel_model::{Keep, Tunnel, TunnelSpec, TunnelState};
use tokio::time::Instant;

use super::cloud::Setup;
use super::{bytes, echo, is_up, up};

const WOKE: Incident = Incident::Woke { slept: Duration::from_secs(3600), dark: false };
/// What a channel that is to prove itself may take, and what the machines of the test take.
const PROOF: Duration = Duration::from_secs(5);
const SLACK: Duration = Duration::from_millis(200);

/// Waits until the next try of the tunnel is far off.
async fn far_retry(setup: &Setup, name: &str) {
    let far = |tunnel: &Tunnel| {
        let TunnelState::Retrying { at, .. } = tunnel.status.state else { return false };
        at > tunnel.status.since.plus(Duration::from_secs(8))
    };
    wait_until(&setup.handle, name, far).await;
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_died_while_the_machine_slept_is_replaced_within_seconds_and_no_byte_is_lost() {
    let setup = Setup::new().await;
    let port = up(&setup.handle, "db").await;
    let session = setup.handle.get("db").unwrap().status.session;
    let client = echo(setup.world.network.connect(port).await.unwrap(), b"before").await;
    // Longer than the last ping is under observation, shorter than until the next one.
    tokio::time::advance(Duration::from_secs(12)).await;
    setup.cloud.swallow_channels().await;
    let woke = Instant::now();
    setup.world.incidents.report(WOKE);
    let noticed = async {
        wait_until(&setup.handle, "db", |tunnel| !is_up(tunnel)).await;
        let noticed = woke.elapsed();
        wait_until(&setup.handle, "db", is_up).await;
        (noticed, woke.elapsed())
    };
    let data = bytes(300_000, 3);
    let (client, (noticed, mended)) = tokio::join!(echo(client, &data), noticed);
    assert!((PROOF..=QUIET + PROOF + SLACK).contains(&noticed), "noticed after {noticed:?}");
    assert!(mended <= noticed + SLACK, "mended after {mended:?}");
    assert_eq!((setup.cloud.started(), setup.cloud.resumed()), (1, 1));
    assert_eq!(setup.handle.get("db").unwrap().status.session, session);
    drop(client);
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_healthy_channel_is_not_disturbed() {
    let setup = Setup::new().await;
    let port = up(&setup.handle, "db").await;
    let mut client = setup.world.network.connect(port).await.unwrap();
    for round in 0..20 {
        setup.world.incidents.report(if round % 2 == 0 { Incident::NetworkChanged } else { WOKE });
        client = echo(client, &bytes(50_000, round)).await;
        for _ in 0..30 {
            tokio::time::advance(Duration::from_millis(250)).await;
            assert!(is_up(&setup.handle.get("db").unwrap()));
        }
    }
    assert_eq!((setup.cloud.started(), setup.cloud.resumed()), (1, 0));
    drop(client);
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_that_waits_for_its_next_try_goes_now() {
    let setup = Setup::new().await;
    setup.cloud.set_network_down(true).await;
    setup.handle.create(None, spec("db"), true).await.unwrap();
    far_retry(&setup, "db").await;
    setup.cloud.set_network_down(false).await;
    let changed = Instant::now();
    setup.world.incidents.report(Incident::NetworkChanged);
    wait_until(&setup.handle, "db", is_up).await;
    assert!(changed.elapsed() <= QUIET + RETURN_WITHIN + SLACK, "{:?}", changed.elapsed());
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_resume_that_waits_for_the_network_goes_on_when_it_comes() {
    let setup = Setup::new().await;
    let port = up(&setup.handle, "db").await;
    let client = echo(setup.world.network.connect(port).await.unwrap(), b"before").await;
    tokio::time::advance(Duration::from_secs(30)).await;
    setup.cloud.set_network_down(true).await;
    wait_until(&setup.handle, "db", |tunnel| !is_up(tunnel)).await;
    for _ in 0..120 {
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    setup.cloud.set_network_down(false).await;
    let changed = Instant::now();
    setup.world.incidents.report(Incident::ClockJumped { by_ms: 120_000 });
    wait_until(&setup.handle, "db", is_up).await;
    assert!(changed.elapsed() <= QUIET + RETURN_WITHIN + SLACK, "{:?}", changed.elapsed());
    assert_eq!(setup.cloud.started(), 1, "the same session");
    drop(echo(client, b"after").await);
    setup.shutdown().await;
}

/// A dark waking is the same for tunnels: connections that live must not be dead when somebody comes.
#[tokio::test(start_paused = true)]
async fn a_dark_waking_looks_after_tunnels_as_well() {
    let setup = Setup::new().await;
    up(&setup.handle, "db").await;
    tokio::time::advance(Duration::from_secs(12)).await;
    setup.cloud.swallow_channels().await;
    let woke = Instant::now();
    setup.world.incidents.report(Incident::Woke { slept: Duration::from_secs(900), dark: true });
    wait_until(&setup.handle, "db", |tunnel| !is_up(tunnel)).await;
    assert!(woke.elapsed() <= QUIET + PROOF + SLACK, "{:?}", woke.elapsed());
    wait_until(&setup.handle, "db", is_up).await;
    setup.shutdown().await;
}

/// Every session of a tunnel with several is asked for proof.
#[tokio::test(start_paused = true)]
async fn all_sessions_of_a_tunnel_are_looked_after() {
    let setup = Setup::new().await;
    let spec = TunnelSpec { sessions: 2.try_into().unwrap(), ..spec("db") };
    setup.handle.create(None, spec, true).await.unwrap();
    let port = wait_until(&setup.handle, "db", is_up).await.status.listening[0].port().unwrap();
    let connect = || async { echo(setup.world.network.connect(port).await.unwrap(), b"before").await };
    let mut clients = vec![connect().await];
    while setup.cloud.started() < 2 {
        tokio::time::advance(Duration::from_secs(1)).await;
        clients.push(connect().await);
    }
    // The second session is up by then, and both have been pinged lately.
    tokio::time::advance(Duration::from_secs(2)).await;
    clients.push(connect().await);
    setup.cloud.swallow_channels().await;
    let woke = Instant::now();
    setup.world.incidents.report(WOKE);
    while setup.cloud.resumed() < 2 {
        // Small steps: each lets a task take only one of its own.
        tokio::time::advance(Duration::from_millis(2)).await;
        assert!(woke.elapsed() <= QUIET + PROOF + SLACK, "{} resumed", setup.cloud.resumed());
    }
    let echoes = clients.into_iter().map(|client| echo(client, b"after"));
    drop(futures_util::future::join_all(echoes).await);
    assert_eq!(setup.cloud.started(), 2);
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_that_waits_for_use_is_left_alone() {
    let setup = Setup::new().await;
    let spec = TunnelSpec { keep: Keep::OnDemand, ..spec("db") };
    setup.handle.create(None, spec, true).await.unwrap();
    wait_until(&setup.handle, "db", |tunnel| tunnel.status.state == TunnelState::Idle).await;
    setup.world.incidents.report(WOKE);
    for _ in 0..20 {
        tokio::time::advance(Duration::from_millis(500)).await;
    }
    assert_eq!((setup.handle.get("db").unwrap().status.state, setup.cloud.started()), (TunnelState::Idle, 0));
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn many_tunnels_come_back_together() {
    let setup = Setup::new().await;
    for number in 0..40 {
        up(&setup.handle, &format!("t-{number}")).await;
    }
    tokio::time::advance(Duration::from_secs(12)).await;
    setup.cloud.swallow_channels().await;
    let woke = Instant::now();
    setup.world.incidents.report(WOKE);
    for number in 0..40 {
        wait_until(&setup.handle, &format!("t-{number}"), |tunnel| !is_up(tunnel)).await;
    }
    for number in 0..40 {
        wait_until(&setup.handle, &format!("t-{number}"), is_up).await;
    }
    assert!(woke.elapsed() <= QUIET + PROOF + SLACK, "{:?}", woke.elapsed());
    assert_eq!((setup.cloud.started(), setup.cloud.resumed()), (40, 40));
    setup.shutdown().await;
}
