//! Local readers that do not read, alone and among others.

use std::time::Duration;

use bytes::Bytes;
use ssm_session::{Config, Output, ResetReason, SessionEvent, StreamId};

use crate::pair::{fast_agent, without_rate_limit};
use crate::support::apps::Job;
use crate::support::leg::Faults;
use crate::support::ms;
use crate::support::pair::Pair;

const SECOND: Duration = Duration::from_secs(1);
/// A transfer that never ends.
const ENDLESS: u64 = 1 << 40;

/// A session that an agent fills within milliseconds.
fn small() -> Pair {
    let config = Config { stream_buffer: 100_000, session_buffer: 400_000, ..without_rate_limit() };
    let faults = Faults { rate: Some(100_000_000), ..Faults::NONE };
    let mut pair = Pair::new(config, fast_agent(), faults, 1);
    pair.run_until_up();
    pair
}

/// A stream that asks for so much and reads nothing.
fn stuck(pair: &mut Pair, number: u32, download: u64) -> StreamId {
    let stream = pair.open(Job { number, upload: 0, download });
    pair.local.remove(&stream);
    stream
}

fn gave_way(pair: &Pair) -> Vec<StreamId> {
    let given = |(stream, reason): &(StreamId, ResetReason)| {
        assert!(matches!(reason, ResetReason::GaveWay(_)), "{reason:?}");
        *stream
    };
    pair.resets().iter().map(given).collect()
}

/// Alone on its session a reader may sleep: the session just stops reading, nothing is lost.
#[test]
fn a_sleeping_reader_alone_stops_the_input_and_loses_nothing() {
    let mut pair = small();
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
    let config = Config { stream_buffer: 100_000, session_buffer: 5_000_000, ..without_rate_limit() };
    let mut pair = Pair::new(config, fast_agent(), Faults::NONE, 1);
    pair.run_until_up();
    let sleeper = stuck(&mut pair, 1, 2_000_000);
    pair.run_for(SECOND);
    assert!(!pair.client.wants_input(), "alone");
    let before = pair.elapsed();
    let other = pair.open(Job { number: 2, upload: 1_000, download: 2_000_000 });
    pair.run_until(Duration::from_secs(5), |pair| pair.local[&other].is_done());
    let third = pair.client.open(pair.now).unwrap();
    pair.run_for(Duration::from_secs(40) - (pair.elapsed() - before));
    let resets = pair.resets();
    let [(stream, ResetReason::StalledReader(backlog))] = resets[..] else { panic!("{resets:?}") };
    assert_eq!(stream, sleeper);
    assert!(backlog.unread > 1_900_000 && backlog.idle > Duration::from_secs(29), "{backlog:?}");
    assert!(pair.client.stream_statistics(third).is_some());
}

#[test]
fn of_two_sleeping_readers_only_one_is_reset_because_the_other_is_alone_then() {
    let config = Config { stream_buffer: 100_000, session_buffer: 5_000_000, ..without_rate_limit() };
    let mut pair = Pair::new(config, fast_agent(), Faults::NONE, 1);
    pair.run_until_up();
    stuck(&mut pair, 1, 1_000_000);
    stuck(&mut pair, 2, 1_000_000);
    pair.run_for(Duration::from_secs(300));
    assert_eq!((pair.resets().len(), pair.client.stream_count()), (1, 1));
}

/// The agent fills the session within milliseconds, and its neighbours must not wait for the grace.
#[test]
fn one_stuck_reader_holds_twenty_busy_ones_for_two_seconds_at_most() {
    let mut pair = small();
    let sleeper = stuck(&mut pair, 0, ENDLESS);
    for number in 1..=20 {
        pair.open(Job { number, upload: 10_000, download: 1_000_000 });
    }
    let before = pair.elapsed();
    pair.run_until(Duration::from_secs(3), Pair::all_done);
    let took = pair.elapsed() - before;
    assert!((2 * SECOND..2 * SECOND + ms(500)).contains(&took), "{took:?}");
    assert_eq!(gave_way(&pair), [sleeper]);
}

#[test]
fn unread_bytes_spread_over_many_streams_have_a_way_out_too() {
    let mut pair = small();
    for number in 0..20 {
        stuck(&mut pair, number, 30_000);
    }
    pair.run_for(SECOND * 60);
    assert_eq!(pair.resets(), [], "none is over its limit, and nobody waits");
    assert!(!pair.client.wants_input());
    let before = pair.elapsed();
    let busy = pair.open(Job { number: 20, upload: 10, download: 1_000_000 });
    pair.run_until(Duration::from_secs(3), |pair| pair.local[&busy].is_done());
    assert!(
        pair.elapsed() - before < SECOND,
        "they have been idle long enough: {:?}",
        pair.elapsed() - before
    );
    assert!((1..20).contains(&gave_way(&pair).len()), "{:?}", pair.resets());
}

/// However slow: something every 1.9 s. Others move at its pace meanwhile.
#[test]
fn a_slow_reader_is_not_reset() {
    let mut pair = small();
    let slow = stuck(&mut pair, 1, ENDLESS);
    let other = pair.open(Job { number: 2, upload: 10, download: 150_000 });
    let held_up = stuck(&mut pair, 3, 5_000);
    for _ in 0..100 {
        pair.run_for(ms(1_900));
        assert!(pair.client.read(slow, pair.now).is_some());
    }
    assert_eq!(pair.resets(), []);
    assert!(pair.local[&other].is_done(), "{}", pair.describe());
    assert!(pair.client.stream_statistics(held_up).is_some(), "it holds too little to be in anyone's way");
}

/// An accepted connection on which nothing has moved for so long that it waits for nothing; answers both ends.
fn idle(pair: &mut Pair) -> (StreamId, StreamId) {
    pair.dials = false;
    let stream = pair.client.open(pair.now).unwrap();
    pair.run_for(ms(100));
    let remote = *pair.dialled().last().unwrap();
    pair.agent.dial_succeeded(remote, pair.now);
    pair.dials = true;
    pair.run_for(Duration::from_secs(11));
    (stream, remote)
}

/// It had nothing to read all the time, and is given as long as any other once it has.
#[test]
fn a_reader_whose_data_has_only_come_is_not_taken_for_one_that_sleeps() {
    let mut pair = small();
    let (patient, remote) = idle(&mut pair);
    let (asking, _) = idle(&mut pair);
    let sleepers: Vec<_> = (0..14).map(|number| stuck(&mut pair, number, 28_800)).collect();
    pair.run_for(Duration::from_secs(20));
    assert!(!pair.client.wants_input());
    pair.agent.write(remote, &mut Bytes::from(vec![1; 60_000]), pair.now).unwrap();
    while pair.client.read(sleepers[0], pair.now).is_some() {}
    pair.client.write(asking, &mut Bytes::from_static(b"ask"), pair.now).unwrap();
    pair.run_for(ms(20));
    let gave_way = gave_way(&pair);
    assert!(!gave_way.is_empty() && !gave_way.contains(&patient), "{gave_way:?}");
    assert!(pair.client.stream_statistics(patient).unwrap().unread > 28_800, "it holds the most");
}

#[test]
fn a_connection_that_idles_is_no_reason_until_it_asks_for_something() {
    let mut pair = small();
    let (idle, remote) = idle(&mut pair);
    let paused = stuck(&mut pair, 1, ENDLESS);
    pair.run_for(Duration::from_secs(20));
    assert_eq!(pair.resets(), []);
    assert!(!pair.client.wants_input());
    pair.client.write(idle, &mut Bytes::from_static(b"ask"), pair.now).unwrap();
    pair.run_for(ms(10));
    assert_eq!(gave_way(&pair), [paused]);
    pair.agent.write(remote, &mut Bytes::from_static(b"answer"), pair.now).unwrap();
    pair.run_for(ms(10));
    assert_eq!(pair.client.read(idle, pair.now).as_deref(), Some(&b"answer"[..]));
}

/// A look at all streams is not repeated at once, but within what nobody notices.
#[test]
fn among_hundreds_of_streams_too_one_that_asks_gets_room_within_ten_milliseconds() {
    let mut pair = small();
    let (idle, _) = idle(&mut pair);
    for number in 0..500 {
        stuck(&mut pair, number, 100);
    }
    let paused = stuck(&mut pair, 500, ENDLESS);
    pair.run_for(Duration::from_secs(20));
    assert!(!pair.client.wants_input());
    let asked = pair.elapsed();
    pair.client.write(idle, &mut Bytes::from_static(b"ask"), pair.now).unwrap();
    pair.run_for(SECOND);
    assert_eq!(gave_way(&pair), [paused]);
    let reset = |event: &SessionEvent| matches!(event, SessionEvent::Reset { .. });
    let (at, _) = pair.events.iter().find(|(_, event)| reset(event)).unwrap();
    assert!(*at - asked < ms(10), "{:?}", *at - asked);
}

#[test]
fn a_session_that_stays_at_its_bound_wakes_only_for_its_pings() {
    let mut pair = small();
    let stream = stuck(&mut pair, 0, ENDLESS);
    stuck(&mut pair, 1, ENDLESS);
    pair.run_for(Duration::from_secs(25));
    assert!(pair.client.read(stream, pair.now).is_some());
    pair.run_for(SECOND);
    assert!(!pair.client.wants_input());
    let Output::Timeout(Some(at)) = pair.client.poll_event(pair.now) else { panic!("settled") };
    assert!(at - pair.now.mono > SECOND, "{:?}", at - pair.now.mono);
}

#[test]
fn an_owner_can_bound_a_session_further() {
    let mut pair = small();
    pair.client.limit_unread(50_000, pair.now);
    let stream = stuck(&mut pair, 1, ENDLESS);
    pair.run_for(SECOND);
    let unread = pair.client.statistics().unread_bytes;
    assert!((50_000..80_000).contains(&unread), "{unread}");
    pair.client.limit_unread(usize::MAX, pair.now);
    pair.run_for(SECOND);
    let unread = pair.client.statistics().unread_bytes;
    assert!((100_000..130_000).contains(&unread), "{unread}");
    pair.client.limit_unread(0, pair.now);
    assert!(!pair.client.wants_input());
    while pair.client.read(stream, pair.now).is_some() {}
    assert!(pair.client.wants_input(), "a session without unread bytes always reads");
}
