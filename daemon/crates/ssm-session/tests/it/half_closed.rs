//! When the FIN of a locally finished stream leaves: exactly one grace after the last sign of its remote end, or after
//! everything that was written arrived there; and never because of a path that is broken.

use std::time::Duration;

use bytes::Bytes;
use ssm_session::{AgentEvent, Config, StreamId};

use crate::pair::{fast_agent, without_rate_limit};
use crate::support::leg::Faults;
use crate::support::ms;
use crate::support::pair::Pair;

const SECOND: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(30);

/// A pair without any delay, that dials nothing by itself.
fn up(config: Config) -> Pair {
    let faults = Faults { delay: Duration::ZERO, ..Faults::NONE };
    let mut pair = Pair::new(config, fast_agent(), faults, 1);
    pair.run_until_up();
    pair.dials = false;
    pair
}

/// Opens a stream that is dialled at once; answers both ends.
fn connect(pair: &mut Pair) -> (StreamId, StreamId) {
    let stream = pair.client.open(pair.now).unwrap();
    pair.run_for(ms(0));
    let remote = *pair.dialled().last().unwrap();
    pair.agent.dial_succeeded(remote, pair.now);
    (stream, remote)
}

/// The same, and its local side finishes.
fn half_close(pair: &mut Pair) -> (StreamId, StreamId) {
    let (stream, remote) = connect(pair);
    pair.client.finish(stream, pair.now);
    (stream, remote)
}

/// The remote end says something.
fn answer(pair: &mut Pair, remote: StreamId) {
    pair.agent.write(remote, &mut Bytes::from_static(b"answer"), pair.now).unwrap();
    pair.run_for(ms(0));
}

fn read(pair: &mut Pair, stream: StreamId) {
    assert_eq!(pair.client.read(stream, pair.now).as_deref(), Some(&b"answer"[..]));
    pair.run_for(ms(0));
}

/// The remote end takes all that came: it hears of no FIN before.
fn take(pair: &mut Pair, remote: StreamId) {
    pair.run_for(ms(0));
    while pair.agent.read(remote, pair.now).is_some() {}
}

/// When the FIN of that stream came, if it did.
fn fin(pair: &Pair, remote: StreamId) -> Option<Duration> {
    let mut fins = pair.agent_events.iter().filter(|(_, event)| *event == AgentEvent::PeerFinished(remote));
    let at = fins.next().map(|(at, _)| *at);
    assert_eq!(fins.next(), None, "a FIN comes once");
    at
}

#[test]
fn each_answer_puts_the_fin_off() {
    let mut pair = up(Config::default());
    let (stream, remote) = half_close(&mut pair);
    for _ in 0..5 {
        pair.run_for(GRACE - ms(1));
        answer(&mut pair, remote);
        read(&mut pair, stream);
        assert_eq!(pair.client.read(stream, pair.now), None);
    }
    let heard = pair.elapsed();
    pair.run_for(3 * GRACE);
    assert_eq!(fin(&pair, remote), Some(heard + GRACE));
    assert_eq!(pair.client.stream_count(), 0);
}

#[test]
fn what_was_heard_before_the_local_side_finished_counts_for_nothing() {
    let mut pair = up(Config::default());
    let (stream, remote) = connect(&mut pair);
    answer(&mut pair, remote);
    read(&mut pair, stream);
    pair.run_for(10 * SECOND);
    let finished = pair.elapsed();
    pair.client.finish(stream, pair.now);
    pair.client.finish(stream, pair.now);
    pair.run_for(2 * GRACE);
    assert_eq!(fin(&pair, remote), Some(finished + GRACE));
}

#[test]
fn while_bytes_are_unread_there_is_no_fin_and_their_reader_starts_the_grace() {
    let mut pair = up(Config::default());
    let (stream, remote) = half_close(&mut pair);
    for _ in 0..2 {
        answer(&mut pair, remote);
        pair.run_for(3 * GRACE);
        // A reader that has not yet been told that this was all: of what comes next there is no new event.
        read(&mut pair, stream);
        pair.run_for(GRACE - ms(1));
    }
    answer(&mut pair, remote);
    pair.run_for(3 * GRACE);
    assert_eq!(fin(&pair, remote), None);
    read(&mut pair, stream);
    let heard = pair.elapsed();
    pair.run_for(3 * GRACE);
    assert_eq!(fin(&pair, remote), Some(heard + GRACE));
}

#[test]
fn a_reconnect_starts_the_grace_anew_whatever_was_due_meanwhile() {
    let mut pair = up(Config::default());
    let (_, silent) = half_close(&mut pair);
    let (late, finished_late) = connect(&mut pair);
    let (unread, heard) = half_close(&mut pair);
    answer(&mut pair, heard);
    pair.run_for(29 * SECOND);
    pair.drop_client(GRACE * 2);
    pair.run_for(SECOND);
    pair.client.finish(late, pair.now);
    pair.run_for(GRACE * 2 - SECOND);
    let back = pair.elapsed();
    pair.run_for(GRACE + SECOND);
    assert_eq!([silent, finished_late, heard].map(|remote| fin(&pair, remote)), {
        [Some(back + GRACE), Some(back + GRACE), None]
    });
    read(&mut pair, unread);
    pair.run_for(GRACE + SECOND);
    assert_eq!(fin(&pair, heard), Some(back + 2 * GRACE + SECOND));
}

#[test]
fn an_aborted_stream_leaves_no_timer_and_its_neighbours_theirs() {
    let mut pair = up(Config::default());
    let (gone, aborted) = half_close(&mut pair);
    let (_, neighbour) = half_close(&mut pair);
    let (closing, closed) = half_close(&mut pair);
    let finished = pair.elapsed();
    pair.run_for(10 * SECOND);
    pair.client.abort(gone, pair.now);
    pair.agent.finish(closed, pair.now);
    pair.run_for(ms(0));
    assert_eq!(fin(&pair, aborted), Some(finished + 10 * SECOND));
    assert_eq!(pair.client.stream_statistics(closing), None);
    pair.run_for(2 * GRACE);
    assert_eq!(fin(&pair, neighbour), Some(finished + GRACE));
    assert_eq!(fin(&pair, aborted), Some(finished + 10 * SECOND));
}

#[test]
fn of_many_streams_finished_at_once_each_has_its_own_end() {
    let mut pair = up(Config { max_undialled: 200, ..without_rate_limit() });
    let streams: Vec<_> = (0..200).map(|_| connect(&mut pair)).collect();
    let finished = pair.elapsed();
    streams.iter().for_each(|(stream, _)| pair.client.finish(*stream, pair.now));
    let (quiet, answered) = streams.split_at(100);
    pair.run_for(10 * SECOND);
    answered.iter().for_each(|(_, remote)| answer(&mut pair, *remote));
    pair.run_for(SECOND);
    answered.iter().for_each(|(stream, _)| read(&mut pair, *stream));
    let heard = pair.elapsed();
    pair.run_for(2 * GRACE);
    assert!(quiet.iter().all(|(_, remote)| fin(&pair, *remote) == Some(finished + GRACE)));
    assert!(answered.iter().all(|(_, remote)| fin(&pair, *remote) == Some(heard + GRACE)));
    assert_eq!(pair.client.stream_count(), 0);
}

/// The agent cannot be silent before it has heard of the stream: a FIN right behind the SYN would cost the answer.
#[test]
fn the_silence_of_a_stream_that_was_held_back_begins_when_the_agent_hears_of_it() {
    let mut pair = up(Config { max_undialled: 1, ..Config::default() });
    let streams: Vec<_> = (0..5).map(|_| pair.client.open(pair.now).unwrap()).collect();
    let finished = pair.elapsed();
    pair.client.finish(streams[4], pair.now);
    let mut remote = None;
    for announced in 1..=streams.len() {
        pair.run_until(10 * GRACE, |pair| pair.dialled().len() == announced);
        remote = pair.dialled().last().copied();
        // Nothing tells the client that this worked.
        pair.agent.dial_succeeded(remote.unwrap(), pair.now);
    }
    let (announced, remote) = (pair.elapsed(), remote.unwrap());
    assert!(announced > finished + GRACE, "it was held back for longer than the grace: {announced:?}");
    pair.run_for(2 * GRACE);
    assert_eq!(fin(&pair, remote), Some(announced + GRACE));
}

/// It takes a minute until a black hole is noticed: longer than the grace. Whatever the agent said meanwhile is to come.
#[test]
fn a_black_hole_is_not_taken_for_the_silence_of_the_remote_end() {
    let set = |(up, down): (bool, bool), pair: &mut Pair, loss| {
        let legs = [(up, &mut pair.up), (down, &mut pair.down)];
        legs.into_iter().filter(|(vanishes, _)| *vanishes).for_each(|(_, leg)| leg.faults.loss = loss);
    };
    for legs in [(true, false), (false, true), (true, true)] {
        // It begins before the grace is over, and before the stream's last bytes arrive.
        for before in [GRACE - SECOND, Duration::ZERO] {
            let mut pair = up(Config { agent_stalled_after: 10 * GRACE, ..Config::default() });
            let (stream, remote) = connect(&mut pair);
            pair.client.write(stream, &mut Bytes::from_static(b"question"), pair.now).unwrap();
            if before == Duration::ZERO {
                set(legs, &mut pair, 1000);
            }
            pair.client.finish(stream, pair.now);
            pair.run_for(before);
            set(legs, &mut pair, 1000);
            pair.run_for(2 * SECOND);
            pair.agent.write(remote, &mut Bytes::from_static(b"answer"), pair.now).unwrap();
            pair.run_for(2 * GRACE);
            assert_eq!(fin(&pair, remote), None);
            pair.drop_client(SECOND);
            set(legs, &mut pair, 0);
            pair.run_for(3 * SECOND);
            read(&mut pair, stream);
            let heard = pair.elapsed();
            take(&mut pair, remote);
            pair.run_for(3 * GRACE);
            assert_eq!(fin(&pair, remote), Some(heard + GRACE), "{}", pair.describe());
        }
    }
}

#[test]
fn the_silence_begins_when_the_last_byte_has_arrived() {
    let rate = ssm_session::MessageRate { per_second: 1, burst: 1 };
    let config = Config { payload_size: 1024, message_rate: Some(rate), ..Config::default() };
    let mut pair = up(config);
    let stream = pair.client.open(pair.now).unwrap();
    pair.run_until(GRACE, |pair| pair.dialled().len() == 1);
    let remote = pair.dialled()[0];
    pair.agent.dial_succeeded(remote, pair.now);
    pair.client.write(stream, &mut Bytes::from(vec![7; 60_000]), pair.now).unwrap();
    let finished = pair.elapsed();
    pair.client.finish(stream, pair.now);
    pair.run_until(10 * GRACE, |pair| pair.agent.statistics().unread_bytes == 60_000);
    let arrived = pair.elapsed();
    take(&mut pair, remote);
    assert!(arrived > finished + GRACE + SECOND, "longer than the grace: {arrived:?}");
    pair.run_for(3 * GRACE);
    // The question waits for the message rate as well.
    let fin = fin(&pair, remote).unwrap();
    assert!(fin >= arrived + GRACE && fin <= arrived + GRACE + 2 * SECOND, "{fin:?}, arrived {arrived:?}");
}

#[test]
fn the_agent_is_asked_once_for_however_many_streams() {
    let mut pair = up(without_rate_limit());
    let remotes: Vec<_> = (0..20).map(|_| half_close(&mut pair).1).collect();
    pair.run_for(GRACE - ms(1));
    let before = pair.client.statistics().counters.messages_out;
    pair.run_for(GRACE);
    assert!(remotes.iter().all(|remote| fin(&pair, *remote).is_some()));
    assert_eq!(pair.client.statistics().counters.messages_out - before, 2, "a question, and all the FINs");
}

#[test]
fn what_has_left_has_not_arrived() {
    let mut pair = up(Config { agent_stalled_after: 10 * GRACE, ..Config::default() });
    let (stream, remote) = connect(&mut pair);
    pair.up.faults.loss = 1000;
    pair.client.write(stream, &mut Bytes::from_static(b"question"), pair.now).unwrap();
    pair.client.finish(stream, pair.now);
    pair.run_for(GRACE - SECOND);
    pair.up.faults.loss = 0;
    pair.run_until(GRACE, |pair| pair.agent.statistics().unread_bytes > 0);
    let arrived = pair.elapsed();
    take(&mut pair, remote);
    pair.run_for(3 * GRACE);
    assert_eq!(fin(&pair, remote), Some(arrived + GRACE));
}
