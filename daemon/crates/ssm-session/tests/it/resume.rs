//! After an outage on either side: how soon everything flows again.

use std::time::Duration;

use bytes::Bytes;
use ssm_session::{Config, Message, MessageType};

use crate::pair::fast_agent;
use crate::support::apps::Job;
use crate::support::leg::Faults;
use crate::support::ms;
use crate::support::pair::Pair;

const SECOND: Duration = Duration::from_secs(1);
const ENDLESS: u64 = 1 << 40;

/// An upload in the middle, over a path with that round trip.
fn uploading(payload_size: usize, round_trip: Duration) -> Pair {
    let config = Config { payload_size, ..Config::default() };
    let faults = Faults { delay: round_trip / 2, ..Faults::NONE };
    let mut pair = Pair::new(config, fast_agent(), faults, 1);
    pair.run_until_up();
    pair.open(Job { number: 1, upload: ENDLESS, download: 0 });
    pair.run_for(Duration::from_secs(4));
    pair
}

fn numbers(pair: &Pair, from: usize) -> Vec<i64> {
    let is_data = |message: &Message| message.message_type == MessageType::InputStreamData;
    let sent = pair.sent[from..].iter().filter(|(_, message)| is_data(message));
    sent.map(|(_, message)| message.sequence_number).collect()
}

/// The promise: within one second of the reopened channel, at the default message rate.
#[test]
fn a_full_window_is_sent_again_and_new_data_flows_within_a_second() {
    for (payload, round_trip, outage) in [
        (16 << 10, ms(20), ms(500)),
        (16 << 10, ms(300), ms(500)),
        (1 << 10, ms(20), ms(500)),
        (1 << 10, ms(300), ms(500)),
        (1 << 10, ms(300), ms(0)),
    ] {
        let mut pair = uploading(payload, round_trip);
        // The agent hears nothing, so that the window fills.
        pair.up.faults.loss = 1000;
        pair.run_for(Duration::from_secs(3));
        let statistics = pair.client.statistics();
        let outstanding = statistics.outstanding_messages;
        assert!(
            outstanding == 450 || statistics.outstanding_bytes >= statistics.window,
            "full: {statistics:?}"
        );
        pair.up.faults.loss = 0;
        pair.drop_client(outage);
        let (from, received) = (pair.sent.len(), pair.agent.statistics().counters.bytes_in);
        let highest = numbers(&pair, 0).into_iter().max().unwrap();
        pair.run_until(SECOND, |pair| pair.client.is_connected());
        pair.run_for(SECOND);
        let sent = numbers(&pair, from);
        let resent = (highest + 1 - outstanding as i64..=highest).all(|number| sent.contains(&number));
        assert!(resent, "{outstanding} of {payload} bytes over {round_trip:?}");
        assert!(sent.iter().any(|number| *number > highest), "new data over {round_trip:?}");
        assert!(pair.agent.statistics().counters.bytes_in > received);
        let at_once = sent.iter().filter(|number| **number == highest).count();
        assert_eq!(at_once, 1, "and nothing needlessly twice");
    }
}

/// 256 KiB are 1500 messages of a few bytes, and those would take nearly two seconds.
#[test]
fn many_small_messages_are_a_full_window_too() {
    let mut pair = Pair::clean();
    pair.run_until_up();
    pair.dials = false;
    let stream = pair.client.open(pair.now).unwrap();
    pair.run_for(ms(100));
    pair.agent.dial_succeeded(pair.dialled()[0], pair.now);
    pair.up.faults.loss = 1000;
    for _ in 0..2_000 {
        pair.client.write(stream, &mut Bytes::from_static(b"key"), pair.now).unwrap();
        pair.run_for(ms(1));
    }
    assert_eq!(pair.client.statistics().outstanding_messages, 450);
    pair.up.faults.loss = 0;
    pair.drop_client(ms(0));
    pair.run_for(ms(900));
    assert_eq!(pair.client.statistics().outstanding_messages, 0);
}

/// Its own connection broke; ours never did. It is found within a second.
#[test]
fn an_upload_goes_on_soon_after_the_agent_is_back() {
    let mut pair = uploading(16 << 10, ms(20));
    pair.drop_agent(Duration::from_secs(60));
    let from = pair.sent.len();
    pair.run_for(Duration::from_secs(59));
    let in_vain = numbers(&pair, from).len();
    let window = pair.client.statistics().outstanding_messages;
    assert!(in_vain <= 3 * window + 60, "{in_vain} messages to nobody, {window} outstanding");
    let highest = numbers(&pair, 0).into_iter().max().unwrap();
    pair.run_for(SECOND);
    pair.run_until(ms(1_300), |pair| numbers(pair, from).iter().any(|number| *number > highest));
}
