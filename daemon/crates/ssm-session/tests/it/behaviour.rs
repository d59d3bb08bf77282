//! One rule at a time, with both roles.

use std::time::Duration;

use bytes::Bytes;
use ssm_session::{
    AgentConfig, AgentEnd, AgentEvent, Config, MessageType, OpenError, PayloadType, ResetReason, SessionEnd,
    SessionEvent, WriteError,
};

use crate::pair::{fast_agent, without_rate_limit};
use crate::support::apps::Job;
use crate::support::leg::Faults;
use crate::support::ms;
use crate::support::pair::Pair;

const SECOND: Duration = Duration::from_secs(1);

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

/// When data messages left on the client's wire.
fn data_messages(pair: &Pair) -> Vec<Duration> {
    let is_data = |kind: MessageType| kind == MessageType::InputStreamData;
    pair.sent.iter().filter(|(_, message)| is_data(message.message_type)).map(|(at, _)| *at).collect()
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
    let remote = pair.dialled()[0];
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
    let remote = pair.dialled()[0];
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
    let remote = pair.dialled()[0];
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
    let remote = pair.dialled()[0];
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
fn terminate_is_confirmed_by_the_agent() {
    let mut pair = up();
    let stream = pair.client.open(pair.now).unwrap();
    pair.run_for(ms(20));
    pair.client.terminate(pair.now);
    assert_eq!(pair.client.open(pair.now), Err(OpenError::SessionOver));
    pair.run_until(SECOND, |pair| pair.client.is_over());
    assert_eq!(end(&pair), Some(SessionEnd::UserTerminated { confirmed: true }));
    assert_eq!(pair.resets(), [(stream, ResetReason::SessionEnded)]);
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
    let at: Vec<_> = data_messages(&pair);
    let busiest = at
        .iter()
        .enumerate()
        .map(|(first, from)| at[first..].partition_point(|later| *later <= *from + 2 * SECOND));
    assert!(busiest.max().unwrap() <= 2000, "in two seconds");
    let most = 180 + at.last().unwrap().as_millis() * 900 / 1000;
    assert!(at.len() as u128 <= most, "{} of {most}", at.len());
}

#[test]
fn the_message_rate_leaves_fourteen_megabytes_a_second() {
    let mut pair = Pair::new(Config::default(), fast_agent(), Faults { delay: ms(10), ..Faults::NONE }, 1);
    pair.run_until_up();
    pair.open(Job { number: 1, upload: 1 << 30, download: 0 });
    pair.run_for(SECOND);
    let before = pair.client.statistics().counters.bytes_out;
    pair.run_for(5 * SECOND);
    let rate = (pair.client.statistics().counters.bytes_out - before) / 5;
    assert!(rate >= 14_000_000, "{rate} bytes per second");
}

#[test]
fn a_silent_agent_is_reported_and_so_is_its_return() {
    let lost_after = Duration::from_secs(3600);
    let config = Config { payload_size: 1024, agent_lost_after: lost_after, ..Config::default() };
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

/// A pair whose agent confirms nothing more once it was sent about so many bytes.
fn abandoned(upload: u64) -> Pair {
    let mut pair = Pair::new(without_rate_limit(), fast_agent(), Faults::NONE, 1);
    pair.run_until_up();
    let job = pair.open(Job { number: 1, upload, download: 0 });
    pair.run_until(Duration::from_secs(60), Pair::all_done);
    pair.client.abort(job, pair.now);
    pair.run_for(SECOND);
    pair.up.faults.loss = 1000;
    let stream = pair.client.open(pair.now).unwrap();
    pair.client.write(stream, &mut Bytes::from_static(b"anybody there?"), pair.now).unwrap();
    pair
}

#[test]
fn an_agent_that_confirms_nothing_is_given_up_if_no_destination_can_be_the_reason() {
    let mut pair = abandoned(100_000);
    let before = pair.elapsed();
    pair.run_for(Duration::from_secs(31));
    assert!(pair.seen(|event| matches!(event, SessionEvent::AgentStalled { maybe_remote: false, .. })));
    assert!(matches!(end(&pair), Some(SessionEnd::AgentLost { silence }) if silence.as_secs() == 30));
    let (at, _) = pair.events.last().unwrap();
    assert!((*at - before).as_secs() == 30, "{at:?}");
}

#[test]
fn an_agent_whose_destination_may_take_nothing_is_waited_for() {
    let mut pair = abandoned(4 << 20);
    pair.run_for(Duration::from_secs(600));
    assert!(pair.seen(|event| matches!(event, SessionEvent::AgentStalled { maybe_remote: true, .. })));
    assert_eq!(end(&pair), None);
}

#[test]
fn an_agent_is_not_blamed_for_a_path_on_which_not_even_a_ping_comes_back() {
    let mut pair = abandoned(100_000);
    pair.mute_pongs = true;
    // It goes on talking, so that the connection does not count as silent.
    pair.run_for(Duration::from_secs(39));
    assert_eq!(end(&pair), None);
    pair.run_for(Duration::from_secs(30));
    assert!(pair.seen(|event| *event == SessionEvent::ChannelDead));
    assert_eq!(end(&pair), None, "the session can resume");
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
fn a_channel_that_died_in_its_sleep_is_found_out_within_seconds_of_being_asked() {
    let mut pair = up();
    pair.run_for(Duration::from_secs(61));
    pair.mute_pongs = true;
    let now = pair.now;
    pair.client.verify(now);
    pair.run_until(Duration::from_secs(6), |pair| pair.seen(|event| *event == SessionEvent::ChannelDead));
    assert_eq!(pair.pings, 5, "one more than there would have been");
    assert!(!pair.client.is_over(), "the session can resume");
}

#[test]
fn a_channel_that_answers_notices_nothing_of_being_asked() {
    let mut pair = up();
    pair.run_for(Duration::from_secs(61));
    for _ in 0..10 {
        let now = pair.now;
        pair.client.verify(now);
        pair.run_for(Duration::from_secs(7));
    }
    assert!(!pair.seen(|event| *event == SessionEvent::ChannelDead));
    assert_eq!(pair.client.statistics().connections, 1);
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

#[test]
fn an_agent_that_waits_in_vain_for_the_handshake_says_so() {
    let mut pair = Pair::clean();
    pair.drop_client(Duration::from_secs(60));
    pair.run_for(Duration::from_secs(20));
    let (at, event) = pair.agent_events.last().unwrap();
    assert_eq!(*at, Duration::from_secs(17), "15 s for the handshake, 2 s of drain");
    assert!(matches!(event, AgentEvent::Ended(AgentEnd::Failed { output }) if output.contains("timed out")));
}
