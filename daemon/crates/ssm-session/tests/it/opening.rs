//! The beginning of streams, and their end by the local side.

use std::time::Duration;

use bytes::Bytes;
use ssm_session::{AgentConfig, Config, ResetReason, SessionEvent, StreamId};

use crate::support::apps::{Job, RemoteApp};
use crate::support::leg::Faults;
use crate::support::ms;
use crate::support::pair::Pair;

const SECOND: Duration = Duration::from_secs(1);

fn up_with(max_undialled: usize) -> Pair {
    let config = Config { max_undialled, ..Config::default() };
    let mut pair = Pair::new(config, AgentConfig::default(), Faults::NONE, 1);
    pair.run_until_up();
    pair
}

fn up() -> Pair {
    up_with(Config::default().max_undialled)
}

#[test]
fn a_refused_connect_resets_the_right_stream() {
    let mut pair = up();
    pair.dials = false;
    let refused = pair.client.open(pair.now).unwrap();
    let other = pair.open(Job { number: 2, upload: 10, download: 10 });
    pair.run_for(ms(20));
    let first = pair.dialled()[0];
    assert_eq!(pair.dialled().len(), 1, "dials are serial");
    pair.dials = true;
    pair.agent.dial_failed(first, pair.now);
    pair.run_until(SECOND, |pair| pair.local[&other].is_done());
    assert_eq!(pair.resets(), [(refused, ResetReason::RefusedByRemote)]);
    assert!(pair.seen(|event| *event == SessionEvent::RemoteConnectFailed));
    assert_eq!(pair.client.stream_count(), 0);
}

#[test]
fn streams_beyond_the_dial_cap_wait_inside_with_their_data() {
    let mut pair = up_with(4);
    pair.dials = false;
    for number in 0..10 {
        pair.open(Job { number, upload: 2_000, download: 2_000 });
    }
    pair.run_for(ms(200));
    assert_eq!(pair.agent.statistics().streams, 4, "announced");
    pair.dials = true;
    let first = pair.dialled()[0];
    pair.remote.insert(first, RemoteApp::default());
    pair.agent.dial_succeeded(first, pair.now);
    pair.run_until(Duration::from_secs(5), Pair::all_done);
}

#[test]
fn silent_connections_do_not_block_new_ones_for_ever() {
    let mut pair = up_with(2);
    for _ in 0..2 {
        pair.client.open(pair.now).unwrap();
    }
    pair.run_for(SECOND);
    let third = pair.open(Job { number: 3, upload: 1, download: 1 });
    pair.run_until(Duration::from_secs(11), |pair| pair.local[&third].is_done());
    assert!(pair.elapsed() > Duration::from_secs(9));
}

#[test]
fn an_aborted_stream_is_forgotten_on_both_sides() {
    let mut pair = up();
    let stream = pair.open(Job { number: 1, upload: 100_000, download: 1_000_000 });
    pair.run_for(ms(100));
    pair.local.remove(&stream);
    let told = pair.events.len();
    pair.client.abort(stream, pair.now);
    pair.run_for(SECOND);
    assert!(pair.events[told..].iter().all(|(_, event)| event.stream() != Some(stream)));
    assert_eq!((pair.client.stream_count(), pair.agent.statistics().streams), (0, 0));
    pair.open(Job { number: 2, upload: 100, download: 100 });
    pair.run_until(SECOND, Pair::all_done);
}

/// The failed connect is reported by a flag that names no stream. The one it belongs to is gone already; the next
/// one that closes without a byte closes, and is not refused.
#[test]
fn a_failed_connect_of_an_aborted_stream_is_not_blamed_on_another() {
    let mut pair = up();
    pair.dials = false;
    let aborted = pair.client.open(pair.now).unwrap();
    pair.run_for(ms(10));
    pair.client.abort(aborted, pair.now);
    pair.run_for(ms(10));
    pair.agent.dial_failed(pair.dialled()[0], pair.now);
    pair.run_for(ms(10));
    assert!(pair.seen(|event| *event == SessionEvent::RemoteConnectFailed));
    let silent = pair.client.open(pair.now).unwrap();
    pair.run_for(ms(10));
    let remote = pair.dialled()[1];
    pair.agent.dial_succeeded(remote, pair.now);
    pair.agent.finish(remote, pair.now);
    pair.run_for(ms(10));
    assert_eq!(pair.resets(), []);
    assert!(pair.seen(|event| *event == SessionEvent::Closed(silent)));
    assert_eq!((pair.client.stream_count(), pair.agent.statistics().streams), (0, 0));
}

#[test]
fn a_stream_aborted_before_its_announcement_left_does_not_count_as_undialled() {
    let mut pair = up_with(1);
    let aborted = pair.client.open(pair.now).unwrap();
    pair.client.abort(aborted, pair.now);
    let next = pair.open(Job { number: 1, upload: 1, download: 1 });
    pair.run_until(SECOND, |pair| pair.local[&next].is_done());
}

/// It stops reading when 1024 of them wait.
#[test]
fn an_outage_does_not_pile_up_streams_for_the_agent_to_dial() {
    let mut pair = up_with(4);
    pair.dials = false;
    pair.drop_client(Duration::from_secs(120));
    for number in 0..50 {
        pair.open(Job { number, upload: 10, download: 10 });
    }
    pair.run_for(Duration::from_secs(121));
    assert_eq!(pair.agent.statistics().streams, 4, "announced");
    pair.dials = true;
    let first = pair.dialled()[0];
    pair.remote.insert(first, RemoteApp::default());
    pair.agent.dial_succeeded(first, pair.now);
    pair.run_until(Duration::from_secs(5), Pair::all_done);
}

#[test]
fn no_event_of_an_aborted_stream_is_left_behind() {
    let mut pair = up();
    let stream = pair.open(Job { number: 1, upload: 10, download: 100_000 });
    pair.local.remove(&stream);
    pair.run_for(ms(50));
    let other = pair.open(Job { number: 2, upload: 10, download: 10 });
    while pair.client.read(stream, pair.now).is_some() {}
    assert!(pair.next_message_to_client(), "more data");
    pair.client.abort(stream, pair.now);
    let told = pair.events.len();
    pair.run_until(SECOND, |pair| pair.local[&other].is_done());
    assert!(pair.events[told..].iter().all(|(_, event)| event.stream() != Some(stream)));
}

/// Time that grows with the square of their number would show: this takes a moment, or minutes.
#[test]
fn a_hundred_thousand_streams_end_with_their_session() {
    let mut pair = up();
    let streams: Vec<_> = (0..100_000).map(|_| pair.client.open(pair.now).unwrap()).collect();
    let written = pair.client.write(streams[99_999], &mut Bytes::from_static(b"held"), pair.now);
    assert_eq!(written, Ok(4));
    pair.client.handle_disconnected(pair.now);
    pair.client.terminate(pair.now);
    let mut resets: Vec<StreamId> = Vec::new();
    while let ssm_session::Output::Event(event) = pair.client.poll_output(pair.now) {
        if let SessionEvent::Reset { stream, reason: ResetReason::SessionEnded } = event {
            resets.push(stream);
        }
    }
    assert_eq!(resets, streams);
}
