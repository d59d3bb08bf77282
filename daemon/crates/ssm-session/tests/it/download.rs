//! Downloads: acknowledgements in bulk, and losses that an agent repairs at its own pace.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use ssm_session::payload::Acknowledge;
use ssm_session::{AgentConfig, Config, Habits, MessageType, Resend, SessionEvent};

use crate::pair::fast_agent;
use crate::support::apps::Job;
use crate::support::leg::Faults;
use crate::support::ms;
use crate::support::pair::Pair;

const SECOND: Duration = Duration::from_secs(1);

fn up(agent: AgentConfig, faults: Faults) -> Pair {
    let mut pair = Pair::new(Config::default(), agent, faults, 1);
    pair.run_until_up();
    pair
}

/// Numbers acknowledged on the client's wire, with the time.
fn acknowledged(pair: &Pair) -> Vec<(Duration, i64)> {
    let acks = pair.sent.iter().filter(|(_, message)| message.message_type == MessageType::Acknowledge);
    let number = |payload: &[u8]| {
        serde_json::from_slice::<Acknowledge>(payload).unwrap().acknowledged_message_sequence_number
    };
    acks.map(|(at, message)| (*at, number(&message.payload))).collect()
}

/// Every arrival is acknowledged, in the order of arrival; answers how long each took.
fn delays(pair: &Pair) -> Vec<Duration> {
    let acknowledged = acknowledged(pair);
    assert_eq!(acknowledged.len(), pair.received.len());
    let pairs = pair.received.iter().zip(&acknowledged);
    pairs
        .map(|((arrived, number), (left, acknowledged))| {
            assert_eq!(number, acknowledged);
            *left - *arrived
        })
        .collect()
}

#[test]
fn in_bulk_acknowledgements_leave_together_within_six_milliseconds() {
    let mut pair = up(AgentConfig::default(), Faults::NONE);
    pair.open(Job { number: 1, upload: 10, download: 500_000 });
    pair.run_until(Duration::from_secs(5), Pair::all_done);
    pair.run_for(ms(10));
    let delays = delays(&pair);
    assert!(delays.iter().all(|delay| *delay <= ms(6)), "{:?}", delays.iter().max());
    assert!(delays[..16].iter().all(Duration::is_zero), "the handshake and the first ones at once");
    let mut batches: Vec<_> = acknowledged(&pair).into_iter().map(|(at, _)| at).collect();
    batches.dedup();
    assert!(batches.len() < delays.len() / 4, "{} batches for {}", batches.len(), delays.len());
}

/// The figure of the promise: 10 ms, on a path that does everything wrong, and at once where an agent waits for it.
#[test]
fn on_a_bad_path_too_each_message_is_acknowledged_within_ten_milliseconds() {
    let faults = Faults {
        loss: 10,
        duplication: 10,
        reordering: 50,
        lateness: ms(100),
        delay: ms(20),
        ..Faults::NONE
    };
    let mut pair = up(AgentConfig::default(), faults);
    pair.open(Job { number: 1, upload: 10, download: 2_000_000 });
    pair.run_until(Duration::from_secs(600), Pair::all_done);
    pair.run_for(ms(10));
    let (delays, received) = (delays(&pair), &pair.received);
    assert!(delays.iter().all(|delay| *delay <= ms(10)), "{:?}", delays.iter().max());
    let (mut seen, mut expected) = (BTreeSet::new(), 0);
    for (delay, (_, number)) in delays.iter().zip(received) {
        assert!(*number == expected || delay.is_zero(), "{number} came out of turn");
        seen.insert(*number);
        expected = (expected..).find(|next| !seen.contains(next)).unwrap();
    }
}

#[test]
fn a_reply_does_not_wait_for_acknowledgements_nor_they_for_it() {
    let mut pair = up(AgentConfig::default(), Faults::NONE);
    pair.open(Job { number: 1, upload: 10, download: 500_000 });
    let other = pair.client.open(pair.now).unwrap();
    pair.run_for(ms(100));
    let waiting = |pair: &Pair| {
        let counters = pair.client.statistics().counters;
        counters.messages_in - counters.acks_out
    };
    pair.run_until(SECOND, |pair| waiting(pair) >= 2);
    let (waited, already) = (waiting(&pair) as usize, pair.sent.len());
    pair.client.write(other, &mut Bytes::from_static(b"reply"), pair.now).unwrap();
    let before = pair.elapsed();
    pair.run_for(ms(0));
    assert_eq!(pair.elapsed(), before);
    let kinds: Vec<_> = pair.sent[already..].iter().map(|(_, message)| message.message_type).collect();
    assert_eq!(kinds.len(), waited + 1, "{kinds:?}");
    assert!(kinds[..waited].iter().all(|kind| *kind == MessageType::Acknowledge), "{kinds:?}");
    assert_eq!(kinds[waited], MessageType::InputStreamData);
}

#[test]
fn what_waits_does_not_wait_for_a_resume() {
    let mut pair = up(AgentConfig::default(), Faults::NONE);
    pair.open(Job { number: 1, upload: 10, download: 500_000 });
    pair.run_for(ms(100));
    let due = |pair: &Pair| {
        let counters = pair.client.statistics().counters;
        counters.messages_in > counters.acks_out
    };
    pair.run_until(SECOND, due);
    pair.drop_client(ms(0));
    let already = pair.sent.len();
    pair.run_for(ms(0));
    assert!(pair.sent[already..].iter().any(|(_, m)| m.message_type == MessageType::Acknowledge));
    assert!(!due(&pair));
}

/// Slow events of the download, with their times.
fn slow(pair: &Pair) -> Vec<(Duration, SessionEvent)> {
    let wanted = |event: &SessionEvent| {
        matches!(event, SessionEvent::AgentResendsSlowly { .. } | SessionEvent::AgentCaughtUp)
    };
    pair.events.iter().filter(|(_, event)| wanted(event)).cloned().collect()
}

#[test]
fn an_agent_that_resends_one_message_at_a_time_is_named_as_the_limit() {
    let mut pair = up(AgentConfig::default(), Faults::NONE);
    pair.open(Job { number: 1, upload: 10, download: 3_000_000 });
    pair.run_for(ms(100));
    pair.down.faults.loss = 1000;
    pair.run_for(ms(40));
    pair.down.faults.loss = 0;
    let lost_at = pair.elapsed();
    let lost = pair.down.lost;
    assert!((30..50).contains(&lost), "{lost}");
    pair.run_until(Duration::from_secs(2), |pair| !slow(pair).is_empty());
    let Some((at, SessionEvent::AgentResendsSlowly { missing, waiting })) = slow(&pair).pop() else {
        panic!("{:?}", slow(&pair));
    };
    assert!(at - lost_at < ms(1_700), "{:?}", at - lost_at);
    assert!((15..lost).contains(&missing), "{missing} of {lost}");
    let statistics = pair.client.statistics();
    assert_eq!(statistics.missing_messages, missing);
    assert!(statistics.early_bytes >= waiting);
    assert!(waiting > 1_000_000, "a second's worth of the agent's pace: {waiting}");
    pair.run_until(Duration::from_secs(10), Pair::all_done);
    pair.run_for(Duration::from_secs(3));
    let events = slow(&pair);
    assert!(matches!(events[..], [_, (_, SessionEvent::AgentCaughtUp)]), "{events:?}");
    let recovered = events[1].0 - lost_at;
    assert!(recovered > ms(100) * lost as u32, "the pace is the agent's: {recovered:?} for {lost}");
}

#[test]
fn messages_that_overtake_each_other_and_single_losses_name_nobody() {
    let jitter = Faults { reordering: 300, lateness: ms(200), delay: ms(20), ..Faults::NONE };
    let mut pair = up(AgentConfig::default(), jitter);
    pair.open(Job { number: 1, upload: 10, download: 5_000_000 });
    pair.run_until(Duration::from_secs(60), Pair::all_done);
    assert!(pair.down.late > 1_000);
    assert_eq!(slow(&pair), []);

    let everything = Habits { message_bytes: 1024, resend: Resend::AllOverdue, ..fast_agent().habits };
    let agent = AgentConfig { habits: everything, ..AgentConfig::default() };
    let losses = Faults { loss: 20, rate: Some(1_000_000), ..jitter };
    let mut pair = up(agent, losses);
    pair.open(Job { number: 1, upload: 10, download: 5_000_000 });
    pair.run_until(Duration::from_secs(60), Pair::all_done);
    assert!(pair.down.lost > 50);
    assert_eq!(slow(&pair), []);
}
