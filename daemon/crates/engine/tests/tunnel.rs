//! The engine against an agent in memory, from the local application to the remote server, under a clock that stands
//! still unless everybody waits.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a helper's panic is its test's failure")]

#[cfg(test)]
mod chaos;
mod cloud;
#[cfg(test)]
mod disturbed;
#[cfg(test)]
mod history;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod presence;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod targets;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stormtunnel_engine::EngineHandle;
use stormtunnel_engine::testing::{MemoryClient, PATIENCE, World, spec, wait_until};
use stormtunnel_model::settings::Settings;
use stormtunnel_model::{FaultKind, Intent, RemoteHealth, StartOptions, Tunnel, TunnelLimit, TunnelState};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

use cloud::{Remote, Setup};

fn is_up(tunnel: &Tunnel) -> bool {
    tunnel.status.state == TunnelState::Up
}

/// Makes and starts a tunnel and waits until it is up; answers its port.
async fn up(handle: &EngineHandle, name: &str) -> u16 {
    handle.create(None, spec(name), true).await.unwrap();
    wait_until(handle, name, is_up).await.status.listening[0].port().unwrap()
}

/// Bytes that repeat nowhere, so that any loss, repetition or swap shows.
fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// Sends `data` and reads as much back, both at once.
async fn echo(client: MemoryClient, data: &[u8]) -> MemoryClient {
    let (mut reader, mut writer) = tokio::io::split(client);
    let mut back = vec![0; data.len()];
    let (sent, received) =
        tokio::join!(writer.write_all(data), timeout(PATIENCE, reader.read_exact(&mut back)));
    sent.unwrap();
    received.expect("the echo comes to its end").unwrap();
    assert!(back == data, "the echo differs");
    reader.unsplit(writer)
}

async fn read_to_end(client: &mut MemoryClient) -> std::io::Result<Vec<u8>> {
    let mut data = Vec::new();
    timeout(PATIENCE, client.read_to_end(&mut data)).await.expect("an end")?;
    Ok(data)
}

async fn assert_reset(client: &mut MemoryClient) {
    assert_eq!(read_to_end(client).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn bytes_arrive_exactly_in_several_connections_at_once() {
    let setup = Setup::new().await;
    let port = up(&setup.handle, "db").await;
    let transfers = (1..=4).map(|seed| {
        let network = &setup.world.network;
        async move { echo(network.connect(port).await.unwrap(), &bytes(200_000, seed)).await }
    });
    let clients = futures_util::future::join_all(transfers).await;
    let tunnel = setup.handle.get("db").unwrap();
    assert_eq!((tunnel.status.traffic.sent, tunnel.status.traffic.received), (800_000, 800_000));
    assert_eq!(tunnel.status.connections, 4);
    assert_eq!(tunnel.status.remote, RemoteHealth::Ok);
    assert_eq!(tunnel.status.agent_version.as_deref(), Some("3.3.1142.0"));
    drop(clients);
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_breaks_twenty_times_is_not_noticed() {
    let setup = Setup::new().await;
    let port = up(&setup.handle, "db").await;
    let (mut reader, mut writer) = tokio::io::split(setup.world.network.connect(port).await.unwrap());
    let data = bytes(2_000_000, 5);
    let read = async {
        let mut back = vec![0; data.len()];
        for part in back.chunks_mut(100_000) {
            timeout(PATIENCE, reader.read_exact(part)).await.expect("the echo goes on").unwrap();
            setup.cloud.drop_channels().await;
        }
        back
    };
    let (sent, back) = tokio::join!(writer.write_all(&data), read);
    sent.unwrap();
    assert!(back == data, "the echo differs");
    // The last break comes after the last byte, and may not have been mended yet.
    assert!(setup.cloud.resumed() >= 19, "{}", setup.cloud.resumed());
    assert_eq!(setup.cloud.started(), 1, "all on one session");
    setup.shutdown().await;
}

/// The WebSocket's buffers are full, so that not even a ping leaves: the missing pong has to be noticed all the same.
#[tokio::test(start_paused = true)]
async fn a_black_hole_during_an_upload_costs_seconds_and_no_byte() {
    let setup = Setup::new().await;
    let port = up(&setup.handle, "db").await;
    let client = echo(setup.world.network.connect(port).await.unwrap(), b"before").await;
    let begin = Instant::now();
    setup.cloud.swallow_channels().await;
    echo(client, &bytes(2_000_000, 9)).await;
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
    assert_eq!((setup.cloud.started(), setup.cloud.resumed()), (1, 1));
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_a_black_hole_ends_the_session_too() {
    let setup = Setup::new().await;
    let port = up(&setup.handle, "db").await;
    let mut client = echo(setup.world.network.connect(port).await.unwrap(), b"before").await;
    setup.cloud.swallow_channels().await;
    // As much as fits on the way into the hole.
    let _full = timeout(Duration::from_secs(5), client.write_all(&bytes(2_000_000, 9))).await.unwrap_err();
    let stopped = setup.handle.stop(vec!["db".to_owned()]).await.remove(0).outcome.unwrap();
    assert_eq!(stopped.status.state, TunnelState::Stopped);
    assert_eq!(setup.cloud.open_sessions(), 0);
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn connections_survive_an_outage_as_long_as_the_session() {
    let setup = Setup::new().await;
    let port = up(&setup.handle, "db").await;
    let client = echo(setup.world.network.connect(port).await.unwrap(), b"before").await;
    setup.cloud.set_network_down(true).await;
    let fault = |tunnel: &Tunnel| tunnel.status.last_fault.as_ref().map(|fault| fault.kind.clone());
    wait_until(&setup.handle, "db", |tunnel| fault(tunnel) == Some(FaultKind::Network)).await;
    let outage = Duration::from_secs(600);
    let data = bytes(50_000, 1);
    let transfer = echo(client, &data);
    let ((), _client) = tokio::join!(
        async {
            for _ in 0..outage.as_secs() {
                tokio::time::advance(Duration::from_secs(1)).await;
            }
            setup.cloud.set_network_down(false).await;
        },
        async { timeout(outage * 2, transfer).await.expect("the echo comes after the outage") }
    );
    assert_eq!(setup.cloud.started(), 1);
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_gone_resets_its_connections_and_holds_new_ones() {
    let setup = Setup::new().await;
    let port = up(&setup.handle, "db").await;
    let mut old = echo(setup.world.network.connect(port).await.unwrap(), b"before").await;
    setup.cloud.set_network_down(true).await;
    wait_until(&setup.handle, "db", |tunnel| !is_up(tunnel)).await;
    let held = setup.world.network.connect(port).await.expect("the listener stays");
    setup.cloud.expire_sessions().await;
    setup.cloud.set_network_down(false).await;
    echo(held, b"after").await;
    assert_reset(&mut old).await;
    assert_eq!(setup.cloud.started(), 2);
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_the_service_ends_is_replaced() {
    let setup = Setup::new().await;
    let port = up(&setup.handle, "db").await;
    let mut old = echo(setup.world.network.connect(port).await.unwrap(), b"before").await;
    setup.cloud.close_sessions("Session timed out").await;
    assert_reset(&mut old).await;
    let tunnel = wait_until(&setup.handle, "db", is_up).await;
    assert_eq!(tunnel.status.last_fault.unwrap().detail, "Session timed out");
    echo(setup.world.network.connect(port).await.unwrap(), b"after").await;
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn garbage_costs_the_session_and_nothing_else() {
    let setup = Setup::new().await;
    let port = up(&setup.handle, "db").await;
    setup.cloud.send_garbage().await;
    let violated = |tunnel: &Tunnel| {
        tunnel.status.last_fault.as_ref().is_some_and(|fault| fault.kind == FaultKind::PeerViolation)
    };
    wait_until(&setup.handle, "db", violated).await;
    wait_until(&setup.handle, "db", is_up).await;
    echo(setup.world.network.connect(port).await.unwrap(), b"after").await;
    assert_eq!(setup.cloud.started(), 2);
    setup.world.store.wait_until(|state| state.open_sessions.len() == 1).await;
    assert_eq!(setup.cloud.open_sessions(), 1);
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_remote_resets_at_once_and_shows() {
    let setup = Setup::new().await;
    setup.cloud.set_remote(Remote::Refuses);
    let port = up(&setup.handle, "db").await;
    let before = Instant::now();
    assert_reset(&mut setup.world.network.connect(port).await.unwrap()).await;
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
    let refused = |tunnel: &Tunnel| tunnel.status.remote == RemoteHealth::Refused;
    let tunnel = wait_until(&setup.handle, "db", refused).await;
    let kind = FaultKind::RemoteRefused { remote: "db.internal:5432".to_owned() };
    assert_eq!(tunnel.status.last_fault.unwrap().kind, kind);
    assert_eq!(tunnel.status.state, TunnelState::Up, "the tunnel is; the service behind it is not");
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_impossible_remote_host_is_never_shown_as_up() {
    let host = || "db.internal".to_owned();
    for (text, kind) in [
        ("lookup db.internal on 10.0.0.2:53: no such host", FaultKind::RemoteUnresolvable { host: host() }),
        (
            "Forwarding to IP address 169.254.169.254 is forbidden.",
            FaultKind::RemoteForbidden { host: host() },
        ),
    ] {
        let setup = Setup::new().await;
        setup.cloud.set_remote(Remote::Fails(text));
        let before = Instant::now();
        setup.handle.create(None, spec("db"), true).await.unwrap();
        let settled = |tunnel: &Tunnel| {
            assert!(!is_up(tunnel), "shown as Up");
            tunnel.status.state.fault().is_some()
        };
        let tunnel = wait_until(&setup.handle, "db", settled).await;
        assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
        assert!(matches!(tunnel.status.state, TunnelState::Blocked { .. }));
        assert_eq!(tunnel.status.state.fault().unwrap().kind, kind);
        assert_eq!(tunnel.status.state.fault().unwrap().detail, text);
        setup.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_never_answers_costs_the_connect_timeout() {
    let setup = Setup::new().await;
    setup.world.settings.send_modify(|settings| {
        *settings = Settings { connect_timeout: Duration::from_secs(10), ..Settings::default() }.into();
    });
    setup.cloud.set_remote(Remote::Silent);
    let before = Instant::now();
    setup.handle.create(None, spec("db"), true).await.unwrap();
    let tunnel = wait_until(&setup.handle, "db", |tunnel| tunnel.status.state.fault().is_some()).await;
    assert_eq!(tunnel.status.state.fault().unwrap().kind, FaultKind::AgentUnresponsive);
    assert_eq!(before.elapsed().as_secs(), 10);
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_after_a_local_half_close_arrives_whole() {
    let setup = Setup::new().await;
    let answer = bytes(300_000, 3);
    setup.cloud.set_remote(Remote::Answers(7, answer.clone().into()));
    let port = up(&setup.handle, "db").await;
    let mut client = setup.world.network.connect(port).await.unwrap();
    client.write_all(b"request").await.unwrap();
    client.shutdown().await.unwrap();
    assert!(read_to_end(&mut client).await.unwrap() == answer, "all of it, then an orderly end");
    assert!(!client.was_reset());
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_remote_end_of_file_is_passed_on_while_the_application_still_sends() {
    let setup = Setup::new().await;
    setup.cloud.set_remote(Remote::Answers(1, Bytes::from_static(b"goodbye")));
    let port = up(&setup.handle, "db").await;
    let mut client = setup.world.network.connect(port).await.unwrap();
    client.write_all(b"x").await.unwrap();
    assert_eq!(read_to_end(&mut client).await.unwrap(), b"goodbye");
    drop(client);
    wait_until(&setup.handle, "db", |tunnel| tunnel.status.connections == 0).await;
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn held_connections_are_served_in_order_and_bounded() {
    let world = World::default();
    world.settings.send_modify(|settings| {
        *settings = Settings { max_held_connections: 3, ..Settings::default() }.into();
    });
    let setup = Setup::with(world).await;
    setup.cloud.set_network_down(true).await;
    setup.handle.create(None, spec("db"), true).await.unwrap();
    let port = wait_until(&setup.handle, "db", |tunnel| !tunnel.status.listening.is_empty()).await;
    let port = port.status.listening[0].port().unwrap();
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(setup.world.network.connect(port).await.unwrap());
    }
    assert_reset(&mut clients.pop().unwrap()).await;
    setup.cloud.set_network_down(false).await;
    let before = Instant::now();
    for client in clients {
        echo(client, b"hello").await;
    }
    assert!(before.elapsed() <= Duration::from_secs(6), "a waiting connection shortens the wait");
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_cap_on_connections_is_live() {
    let setup = Setup::new().await;
    let port = up(&setup.handle, "db").await;
    let first = echo(setup.world.network.connect(port).await.unwrap(), b"first").await;
    setup.world.settings.send_modify(|settings| {
        *settings = Settings { max_connections: 1, ..Settings::default() }.into();
    });
    assert_reset(&mut setup.world.network.connect(port).await.unwrap()).await;
    drop(first);
    wait_until(&setup.handle, "db", |tunnel| tunnel.status.connections == 0).await;
    echo(setup.world.network.connect(port).await.unwrap(), b"second").await;
    setup.shutdown().await;
}

/// It sends one lost message again per 100 ms, and nothing that the daemon does makes it faster.
#[tokio::test(start_paused = true)]
async fn an_agent_that_repairs_losses_slowly_is_named_as_the_limit() {
    let setup = Setup::new().await;
    let answer = Bytes::from(bytes(4_000_000, 3));
    setup.cloud.set_remote(Remote::Answers(1, answer.clone()));
    let port = up(&setup.handle, "db").await;
    let mut client = setup.world.network.connect(port).await.unwrap();
    client.write_all(b"?").await.unwrap();
    wait_until(&setup.handle, "db", |tunnel| tunnel.status.traffic.received > 50_000).await;
    setup.cloud.lose_messages(60).await;
    let story = async {
        let limited = |least| {
            move |tunnel: &Tunnel| {
                let Some(TunnelLimit::AgentResend { waiting_bytes }) = tunnel.status.limit else {
                    return false;
                };
                waiting_bytes > least
            }
        };
        let tunnel = wait_until(&setup.handle, "db", limited(0)).await;
        assert_eq!(tunnel.status.state, TunnelState::Up);
        wait_until(&setup.handle, "db", limited(2_000_000)).await;
        let tunnel = wait_until(&setup.handle, "db", |tunnel| tunnel.status.limit.is_none()).await;
        assert_eq!(tunnel.status.last_fault, None, "nothing has failed");
    };
    let ((), data) = tokio::join!(story, read_to_end(&mut client));
    assert!(data.unwrap() == answer, "the answer differs");
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_leaves_nothing() {
    let setup = Setup::new().await;
    let port = up(&setup.handle, "db").await;
    let mut client = echo(setup.world.network.connect(port).await.unwrap(), b"before").await;
    assert_eq!(setup.world.store.state().open_sessions.len(), 1);
    let stopped = setup.handle.stop(vec!["db".to_owned()]).await.remove(0).outcome.unwrap();
    assert_eq!((stopped.intent, &stopped.status.state), (Intent::Stop, &TunnelState::Stopped));
    assert_eq!((stopped.status.session, stopped.status.listening), (None, Vec::new()));
    assert_eq!(setup.cloud.open_sessions(), 0);
    assert_eq!(setup.world.store.state().open_sessions, []);
    assert_eq!(setup.world.network.listening(), [0; 0]);
    assert_reset(&mut client).await;
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_leaves_no_session_and_the_next_start_finds_everything() {
    let setup = Setup::new().await;
    let port = up(&setup.handle, "db").await;
    let (world, cloud, handle) = (setup.world.clone(), Arc::clone(&setup.cloud), setup.handle.clone());
    let took = setup.shutdown().await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!((cloud.open_sessions(), world.store.state().open_sessions.len()), (0, 0));
    assert_eq!(world.network.listening(), [0; 0]);
    assert_eq!(world.store.state().tunnels[0].intent, Intent::Run, "what the user wants has not changed");
    let late = handle.create(None, spec("late"), false).await.unwrap_err();
    assert_eq!(late.kind, FaultKind::ShuttingDown);

    let again = Setup::with(world).await;
    let tunnel = wait_until(&again.handle, "db", is_up).await;
    assert_eq!(tunnel.status.listening[0].port().unwrap(), port, "the same port");
    echo(again.world.network.connect(port).await.unwrap(), b"again").await;
    again.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_keeps_the_listener_and_takes_a_new_session() {
    let setup = Setup::new().await;
    let port = up(&setup.handle, "db").await;
    let first = setup.handle.get("db").unwrap().status.session;
    setup.handle.restart(vec!["db".to_owned()], StartOptions::default()).await.remove(0).outcome.unwrap();
    let tunnel = wait_until(&setup.handle, "db", is_up).await;
    assert_ne!(tunnel.status.session, first);
    assert_eq!(tunnel.status.listening[0].port().unwrap(), port);
    setup.world.store.wait_until(|state| state.open_sessions.len() == 1).await;
    assert_eq!(setup.cloud.open_sessions(), 1);
    setup.shutdown().await;
}

/// The only test in real time: tasks run on several threads, and whatever locks they share must let them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_threads_and_breaking_channels_disturb_no_byte() {
    let setup = Setup::new().await;
    let port = up(&setup.handle, "db").await;
    let story = async {
        let transfers = (1..=8).map(|seed| {
            let network = &setup.world.network;
            async move { echo(network.connect(port).await.unwrap(), &bytes(100_000, seed)).await }
        });
        let breaks = async {
            for received in [100_000, 300_000, 500_000] {
                wait_until(&setup.handle, "db", |tunnel| tunnel.status.traffic.received > received).await;
                setup.cloud.drop_channels().await;
            }
        };
        tokio::join!(futures_util::future::join_all(transfers), breaks);
    };
    timeout(Duration::from_secs(60), story).await.expect("nobody waits for nobody");
    assert_eq!(setup.cloud.started(), 1);
    setup.shutdown().await;
}
