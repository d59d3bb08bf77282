//! One rule at a time, with both roles.

use std::time::Duration;

use bytes::Bytes;
use ssm_session::{
    AgentConfig, AgentEnd, AgentEvent, Config, MessageType, OpenError, PayloadType, ResetReason, SessionEnd,
    SessionEvent, StreamId, WriteError,
};

use crate::pair::{fast_agent, without_rate_limit};
use crate::support::apps::Job;
use crate::support::leg::Faults;
use crate::support::ms;
use crate::support::pair::Pair;

const SECOND: Duration = Duration::from_secs(1);

fn dialled(pair: &Pair) -> Vec<StreamId> {
    let dial = |event: &AgentEvent| if let AgentEvent::Dial(stream) = event { Some(*stream) } else { None };
    pair.agent_events.iter().filter_map(|(_, event)| dial(event)).collect()
}

fn resets(pair: &Pair) -> Vec<(StreamId, ResetReason)> {
    let reset = |event: &SessionEvent| match event {
        SessionEvent::Reset { stream, reason } => Some((*stream, *reason)),
        _ => None,
    };
    pair.events.iter().filter_map(|(_, event)| reset(event)).collect()
}

fn end(pair: &Pair) -> Option<SessionEnd> {
    match pair.events.last() {
        Some((_, SessionEvent::Ended(end))) => Some(end.clone()),
        _ => None,
    }
}

fn up() -> Pair {
    let mut pair = Pair::clean();
    pair.run_until_up();
    pair
}

/// Data messages on the client's wire between two times.
fn data_messages(pair: &Pair, from: Duration, to: Duration) -> usize {
    let is_data = |kind: MessageType| kind == MessageType::InputStreamData;
    pair.sent.iter().filter(|(at, m)| is_data(m.message_type) && (from..to).contains(at)).count()
}

#[test]
fn up_means_that_a_message_after_the_handshake_was_acknowledged() {
    let mut agent = AgentConfig::default();
    agent.habits.not_ready = ms(55);
    let mut pair = Pair::new(Config::default(), agent, Faults::NONE, 1);
    pair.run_until_up();
    let order: Vec<_> = pair.events.iter().map(|(_, event)| event.clone()).collect();
    assert!(matches!(order[0], SessionEvent::HandshakeComplete { .. }), "{order:?}");
    assert_eq!(order[1], SessionEvent::Up);
    let nops: Vec<_> =
        pair.sent.iter().filter(|(_, m)| m.payload_type == PayloadType::Output).map(|(at, _)| *at).collect();
    assert_eq!(pair.sent.last().unwrap().1.payload, Bytes::from_static(&[1, 3, 0, 0, 0, 0, 0, 0]));
    let gaps: Vec<_> = nops.iter().map(|at| (*at - nops[0]).as_millis()).collect();
    assert_eq!(gaps, [0, 10, 20, 40, 80], "the agent was not ready for 55 ms");
}

#[test]
fn a_session_that_fails_at_its_start_is_never_up() {
    let mut pair = Pair::clean();
    pair.run_until(SECOND, |pair| !pair.agent_events.is_empty());
    pair.agent.fail("Forwarding to IP address 169.254.169.254 is forbidden.", pair.now);
    pair.run_until(Duration::from_secs(5), |pair| {
        pair.agent_events.iter().any(|(_, event)| matches!(event, AgentEvent::Ended(AgentEnd::Failed { .. })))
    });
    let body = br#"{"Output":"Forwarding to IP address 169.254.169.254 is forbidden."}"#;
    pair.tell_client(MessageType::ChannelClosed, body);
    pair.run_for(ms(1));
    let output = "Forwarding to IP address 169.254.169.254 is forbidden.".to_owned();
    assert_eq!(end(&pair), Some(SessionEnd::ServiceClosed { output }));
    assert!(!pair.seen(|event| *event == SessionEvent::Up));
}

/// The official client rewrites a payload of one LF to CR, for every kind of session.
#[test]
fn official_bug_a_lone_line_feed_stays_one() {
    let mut pair = up();
    let stream = pair.client.open(pair.now).unwrap();
    pair.run_for(ms(20));
    pair.client.write(stream, &mut Bytes::from_static(b"\n"), pair.now).unwrap();
    pair.run_for(ms(20));
    let last = &pair.sent.iter().rev().find(|(_, m)| m.payload_type == PayloadType::Output).unwrap().1;
    assert_eq!(last.payload.last(), Some(&b'\n'));
    assert_eq!(pair.agent.statistics().counters.bytes_in, pair.client.statistics().counters.bytes_out);
}

#[test]
fn a_refused_connect_resets_the_right_stream() {
    let mut pair = up();
    pair.dials = false;
    let refused = pair.client.open(pair.now).unwrap();
    let other = pair.open(Job { number: 2, upload: 10, download: 10 });
    pair.run_for(ms(20));
    let first = dialled(&pair)[0];
    assert_eq!(dialled(&pair).len(), 1, "dials are serial");
    pair.dials = true;
    pair.agent.dial_failed(first, pair.now);
    pair.run_until(SECOND, |pair| pair.local[&other].is_done());
    assert_eq!(resets(&pair), [(refused, ResetReason::RefusedByRemote)]);
    assert!(pair.seen(|event| *event == SessionEvent::RemoteConnectFailed));
    assert_eq!(pair.client.stream_count(), 0);
}

/// A client's FIN makes the agent close both directions: the official client loses the answer.
#[test]
fn official_bug_the_answer_after_a_local_half_close_arrives() {
    let mut pair = up();
    let stream = pair.open(Job { number: 1, upload: 5_000, download: 400_000 });
    pair.client.finish(stream, pair.now);
    assert_eq!(pair.client.write(stream, &mut Bytes::from_static(b"x"), pair.now), Err(WriteError::Closed));
    pair.run_until(Duration::from_secs(5), Pair::all_done);
}

#[test]
fn a_half_closed_stream_is_given_up_thirty_seconds_after_the_last_byte() {
    let mut pair = up();
    pair.dials = false;
    let stream = pair.client.open(pair.now).unwrap();
    pair.run_for(ms(100));
    let remote = dialled(&pair)[0];
    pair.agent.dial_succeeded(remote, pair.now);
    pair.client.finish(stream, pair.now);
    pair.run_for(Duration::from_secs(20));
    pair.agent.write(remote, &mut Bytes::from_static(b"late"), pair.now).unwrap();
    pair.run_for(Duration::from_secs(29));
    assert_eq!(pair.client.stream_count(), 1);
    let heard = pair.client.read(stream, pair.now);
    assert_eq!(heard.as_deref(), Some(&b"late"[..]));
    pair.run_for(Duration::from_secs(31));
    assert!(pair.agent_events.iter().any(|(_, event)| *event == AgentEvent::PeerFinished(remote)));
    assert_eq!(pair.client.stream_count(), 0);
    assert!(pair.seen(|event| *event == SessionEvent::Closed(stream)));
}

/// The reader is slow, not the remote end: a FIN now would cost the rest of the answer, and look like its end.
#[test]
fn a_half_closed_stream_is_not_given_up_while_its_answer_waits_to_be_read() {
    let mut pair = up();
    pair.dials = false;
    let stream = pair.client.open(pair.now).unwrap();
    pair.run_for(ms(100));
    let remote = dialled(&pair)[0];
    pair.agent.dial_succeeded(remote, pair.now);
    pair.client.finish(stream, pair.now);
    pair.agent.write(remote, &mut Bytes::from_static(b"first half"), pair.now).unwrap();
    pair.run_for(Duration::from_secs(60));
    assert_eq!(pair.client.stream_count(), 1);
    assert_eq!(pair.client.read(stream, pair.now).as_deref(), Some(&b"first half"[..]));
    assert_eq!(pair.client.read(stream, pair.now), None);
    pair.agent.write(remote, &mut Bytes::from_static(b"second half"), pair.now).unwrap();
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.client.read(stream, pair.now).as_deref(), Some(&b"second half"[..]));
}

#[test]
fn a_half_closed_stream_is_not_given_up_because_of_an_outage() {
    let mut pair = up();
    pair.dials = false;
    let stream = pair.client.open(pair.now).unwrap();
    pair.run_for(ms(100));
    let remote = dialled(&pair)[0];
    pair.agent.dial_succeeded(remote, pair.now);
    pair.client.finish(stream, pair.now);
    pair.drop_client(Duration::from_secs(120));
    pair.run_for(Duration::from_secs(125));
    assert_eq!(pair.client.stream_count(), 1, "the agent has had no chance to answer yet");
    pair.agent.write(remote, &mut Bytes::from_static(b"late"), pair.now).unwrap();
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.client.read(stream, pair.now).as_deref(), Some(&b"late"[..]));
}

/// Every message would be overdue before its acknowledgement, and be sent at least twice for ever.
#[test]
fn a_path_slower_than_the_first_timeout_is_not_sent_everything_twice() {
    let faults = Faults { delay: ms(150), ..Faults::NONE };
    let mut pair = Pair::new(without_rate_limit(), fast_agent(), faults, 3);
    pair.run_until_up();
    pair.open(Job { number: 1, upload: 3_000_000, download: 10 });
    pair.run_until(Duration::from_secs(60), Pair::all_done);
    let statistics = pair.client.statistics();
    assert!(statistics.counters.retransmissions < 60, "{statistics:?}");
}

#[test]
fn writing_after_the_remote_closed_is_refused() {
    let mut pair = up();
    pair.dials = false;
    let stream = pair.client.open(pair.now).unwrap();
    pair.run_for(ms(10));
    let remote = dialled(&pair)[0];
    pair.agent.dial_succeeded(remote, pair.now);
    pair.agent.write(remote, &mut Bytes::from_static(b"bye"), pair.now).unwrap();
    pair.agent.finish(remote, pair.now);
    pair.run_for(ms(20));
    let late = pair.client.write(stream, &mut Bytes::from_static(b"x"), pair.now);
    assert_eq!(late, Err(WriteError::RemoteFinished));
    assert_eq!(pair.client.read(stream, pair.now).as_deref(), Some(&b"bye"[..]));
    pair.run_for(ms(20));
    let tail: Vec<_> = pair.events.iter().rev().take(2).map(|(_, event)| event.clone()).collect();
    assert_eq!(tail, [SessionEvent::Closed(stream), SessionEvent::RemoteFinished(stream)]);
}

#[test]
fn streams_beyond_the_dial_cap_wait_inside_with_their_data() {
    let config = Config { max_undialled: 4, ..Config::default() };
    let mut pair = Pair::new(config, AgentConfig::default(), Faults::NONE, 1);
    pair.run_until_up();
    pair.dials = false;
    for number in 0..10 {
        pair.open(Job { number, upload: 2_000, download: 2_000 });
    }
    pair.run_for(ms(200));
    assert_eq!(pair.agent.statistics().streams, 4, "announced");
    pair.dials = true;
    let first = dialled(&pair)[0];
    pair.remote.insert(first, crate::support::apps::RemoteApp::default());
    pair.agent.dial_succeeded(first, pair.now);
    pair.run_until(Duration::from_secs(5), Pair::all_done);
}

#[test]
fn silent_connections_do_not_block_new_ones_for_ever() {
    let config = Config { max_undialled: 2, ..Config::default() };
    let mut pair = Pair::new(config, AgentConfig::default(), Faults::NONE, 1);
    pair.run_until_up();
    for _ in 0..2 {
        pair.client.open(pair.now).unwrap();
    }
    pair.run_for(SECOND);
    let third = pair.open(Job { number: 3, upload: 1, download: 1 });
    pair.run_until(Duration::from_secs(11), |pair| pair.local[&third].is_done());
    assert!(pair.elapsed() > Duration::from_secs(9));
}

#[test]
fn terminate_is_confirmed_by_the_agent() {
    let mut pair = up();
    let stream = pair.client.open(pair.now).unwrap();
    pair.run_for(ms(20));
    pair.client.terminate(pair.now);
    assert_eq!(pair.client.open(pair.now), Err(OpenError::SessionOver));
    pair.run_until(SECOND, |pair| pair.client.is_over());
    assert_eq!(end(&pair), Some(SessionEnd::UserTerminated { confirmed: true }));
    assert_eq!(resets(&pair), [(stream, ResetReason::SessionEnded)]);
    pair.run_for(ms(50));
    let ends = [AgentEvent::Terminated, AgentEvent::Ended(AgentEnd::Terminated)];
    assert!(ends.iter().all(|end| pair.agent_events.iter().any(|(_, event)| event == end)));
}

#[test]
fn terminate_does_not_wait_longer_than_a_second_for_a_dead_agent() {
    let mut pair = up();
    pair.up.faults.loss = 1000;
    let before = pair.elapsed();
    pair.client.terminate(pair.now);
    pair.run_until(Duration::from_secs(2), |pair| pair.client.is_over());
    assert_eq!(pair.elapsed() - before, SECOND);
    assert_eq!(end(&pair), Some(SessionEnd::UserTerminated { confirmed: false }));
}

#[test]
fn payloads_grow_after_a_probe_of_nops() {
    let mut pair = Pair::new(without_rate_limit(), fast_agent(), Faults::NONE, 1);
    pair.run_until_up();
    assert_eq!(pair.client.payload_size(), 1024);
    pair.open(Job { number: 1, upload: 300_000, download: 0 });
    pair.run_until(Duration::from_secs(5), Pair::all_done);
    assert_eq!(pair.client.payload_size(), 16 << 10);
    let large: Vec<_> = pair.sent.iter().map(|(_, m)| m).filter(|m| m.payload.len() > 1024).collect();
    assert_eq!(large[0].payload.len(), 16 << 10);
    assert!(large[0].payload.chunks(8).all(|frame| frame == [1, 3, 0, 0, 0, 0, 0, 0]));
    assert!(large.len() > 5);
}

#[test]
fn a_path_that_refuses_large_payloads_costs_nothing_but_size() {
    let mut pair = Pair::new(without_rate_limit(), fast_agent(), Faults::NONE, 1);
    pair.largest_payload = Some(1024);
    pair.run_until_up();
    pair.open(Job { number: 1, upload: 300_000, download: 300_000 });
    pair.run_until(Duration::from_secs(20), Pair::all_done);
    assert_eq!(pair.client.payload_size(), 1024);
    assert_eq!(pair.drops, 2, "two attempts");
    assert!(pair.seen(|event| *event == SessionEvent::PayloadReduced { limit: 1024 }));
}

#[test]
fn data_messages_keep_the_rate_even_after_a_resume() {
    let config = Config { payload_size: 1024, ..Config::default() };
    let mut pair = Pair::new(config, fast_agent(), Faults { delay: ms(30), ..Faults::NONE }, 1);
    pair.run_until_up();
    pair.open(Job { number: 1, upload: 6_000_000, download: 0 });
    for _ in 0..4 {
        pair.run_for(ms(700));
        pair.drop_client(ms(10));
    }
    pair.run_until(Duration::from_secs(60), Pair::all_done);
    let last = pair.elapsed().as_millis();
    for second in 0..last / 1000 {
        let from = Duration::from_secs(second as u64);
        let count = data_messages(&pair, from, from + SECOND);
        assert!(count <= 1801, "{count} in second {second}");
    }
    let total = data_messages(&pair, ms(0), pair.elapsed());
    assert!(total as u128 <= 901 + last * 900 / 1000, "{total} in {last} ms");
}

#[test]
fn a_silent_agent_is_reported_and_so_is_its_return() {
    let config = Config { payload_size: 1024, ..Config::default() };
    let mut pair = Pair::new(config, AgentConfig::default(), Faults::NONE, 1);
    pair.run_until_up();
    pair.open(Job { number: 1, upload: 5_000_000, download: 0 });
    pair.run_for(ms(500));
    pair.up.faults.loss = 1000;
    let before = pair.elapsed();
    pair.run_for(Duration::from_secs(30));
    let stalls: Vec<_> = pair
        .events
        .iter()
        .filter(|(_, event)| matches!(event, SessionEvent::AgentStalled { .. }))
        .map(|(at, _)| *at)
        .collect();
    assert_eq!(stalls.len(), 1);
    assert!((ms(9_900)..ms(10_100)).contains(&(stalls[0] - before)), "{stalls:?}");
    pair.up.faults.loss = 0;
    pair.run_until(Duration::from_secs(60), Pair::all_done);
    assert!(pair.seen(|event| *event == SessionEvent::AgentRecovered));
}

#[test]
fn a_missing_pong_means_a_dead_channel() {
    let mut pair = up();
    pair.run_for(Duration::from_secs(60));
    assert_eq!(pair.pings, 4, "at once, then every 20 s");
    pair.mute_pongs = true;
    pair.run_until(Duration::from_secs(31), |pair| pair.seen(|event| *event == SessionEvent::ChannelDead));
    assert!(!pair.client.is_over(), "the session can resume");
}

#[test]
fn an_idle_session_wakes_only_for_its_pings() {
    let mut pair = up();
    pair.run_for(SECOND);
    let before = pair.sent.len();
    pair.run_for(Duration::from_secs(300));
    assert_eq!(pair.sent.len(), before, "nothing but pings");
}

#[test]
fn an_old_agent_gets_a_frame_within_every_thirty_seconds() {
    let agent = AgentConfig { agent_version: "3.1.1511.0".to_owned(), ..AgentConfig::default() };
    let mut pair = Pair::new(Config::default(), agent, Faults::NONE, 1);
    pair.run_until_up();
    let before = pair.sent.len();
    pair.run_for(Duration::from_secs(60));
    let nops = pair.sent[before..].iter().filter(|(_, m)| m.payload_type == PayloadType::Output).count();
    assert_eq!(nops, 6);
}

/// Alone on its session a reader may sleep: the session just stops reading, nothing is lost.
#[test]
fn a_sleeping_reader_alone_stops_the_input_and_loses_nothing() {
    let config = Config { stream_buffer: 100_000, ..without_rate_limit() };
    let mut pair = Pair::new(config, fast_agent(), Faults::NONE, 1);
    pair.run_until_up();
    pair.reads = false;
    let stream = pair.open(Job { number: 1, upload: 0, download: 2_000_000 });
    pair.run_for(Duration::from_secs(300));
    assert!(!pair.client.wants_input());
    assert!(pair.client.statistics().unread_bytes < 200_000, "{}", pair.describe());
    assert!(
        !pair.seen(|event| matches!(event, SessionEvent::AgentStalled { .. } | SessionEvent::ChannelDead))
    );
    pair.reads = true;
    let mut app = pair.local.remove(&stream).unwrap();
    app.read(stream, &mut pair.client, pair.now);
    pair.local.insert(stream, app);
    pair.run_until(Duration::from_secs(60), Pair::all_done);
}

#[test]
fn a_sleeping_reader_among_others_is_reset_after_its_grace() {
    let config = Config { stream_buffer: 100_000, crowded_stream_buffer: 5_000_000, ..without_rate_limit() };
    let mut pair = Pair::new(config, fast_agent(), Faults::NONE, 1);
    pair.run_until_up();
    pair.reads = false;
    let sleeper = pair.open(Job { number: 1, upload: 0, download: 2_000_000 });
    pair.run_for(SECOND);
    assert!(!pair.client.wants_input(), "alone");
    pair.reads = true;
    pair.local.remove(&sleeper);
    let before = pair.elapsed();
    let other = pair.open(Job { number: 2, upload: 1_000, download: 2_000_000 });
    pair.run_until(Duration::from_secs(5), |pair| pair.local[&other].is_done());
    let third = pair.client.open(pair.now).unwrap();
    pair.run_for(Duration::from_secs(40) - (pair.elapsed() - before));
    assert_eq!(resets(&pair), [(sleeper, ResetReason::StalledReader)]);
    assert!(pair.client.stream_statistics(third).is_some());
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

#[test]
fn an_agent_that_waits_in_vain_for_the_handshake_says_so() {
    let mut pair = Pair::clean();
    pair.drop_client(Duration::from_secs(60));
    pair.run_for(Duration::from_secs(20));
    let (at, event) = pair.agent_events.last().unwrap();
    assert_eq!(*at, Duration::from_secs(17), "15 s for the handshake, 2 s of drain");
    assert!(matches!(event, AgentEvent::Ended(AgentEnd::Failed { output }) if output.contains("timed out")));
}
