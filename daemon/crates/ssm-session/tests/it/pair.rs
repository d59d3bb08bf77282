//! Client and agent against each other: whatever happens on the way, every byte arrives exactly once and in order.

use std::time::Duration;

use proptest::prelude::*;
use ssm_session::{AgentConfig, Config, Habits, MessageType, Resend, SessionEvent};

use crate::support::apps::Job;
use crate::support::leg::Faults;
use crate::support::ms;
use crate::support::pair::Pair;

const HOUR: Duration = Duration::from_secs(3600);

/// An agent without its slow habits.
pub(crate) fn fast_agent() -> AgentConfig {
    let habits = Habits {
        message_bytes: 16 << 10,
        pacing: None,
        resend: Resend::AllOverdue,
        not_ready: Duration::ZERO,
        ..Habits::default()
    };
    AgentConfig { habits, ..AgentConfig::default() }
}

pub(crate) fn without_rate_limit() -> Config {
    Config { message_rate: None, ..Config::default() }
}

fn jobs(pair: &mut Pair, count: u32, upload: u64, download: u64) {
    for number in 0..count {
        let share = u64::from(number % 4);
        pair.open(Job { number, upload: upload * share / 3, download: download * (3 - share) / 3 });
    }
}

#[test]
fn one_connection_on_a_clean_path() {
    let mut pair = Pair::clean();
    pair.run_until_up();
    assert!(pair.elapsed() < ms(30), "{:?}", pair.elapsed());
    pair.open(Job { number: 1, upload: 100_000, download: 100_000 });
    pair.run_until(Duration::from_secs(5), Pair::all_done);
    assert_eq!(
        pair.client.statistics().counters.retransmissions,
        0,
        "except for the NOP: {}",
        pair.describe()
    );
}

#[test]
fn many_streams_upload_and_download_at_once() {
    let mut pair = Pair::new(without_rate_limit(), fast_agent(), Faults::NONE, 2);
    jobs(&mut pair, 100, 300_000, 300_000);
    pair.run_until(Duration::from_secs(60), Pair::all_done);
}

#[test]
fn everything_wrong_at_once() {
    let faults =
        Faults { loss: 50, duplication: 50, reordering: 200, lateness: ms(120), delay: ms(20), rate: None };
    for seed in 0..6 {
        let mut pair = Pair::new(Config::default(), AgentConfig::default(), faults, seed);
        jobs(&mut pair, 8, 60_000, 30_000);
        pair.run_until(HOUR, Pair::all_done);
        assert!(pair.up.lost > 0 && pair.down.doubled > 0 && pair.up.late > 0, "the faults happened");
    }
}

/// A stall that ends the official client's transfers: twenty lost connections in both directions at once.
#[test]
fn official_bug_transfers_survive_twenty_disconnects() {
    let mut pair = Pair::new(without_rate_limit(), fast_agent(), Faults { delay: ms(15), ..Faults::NONE }, 3);
    pair.run_until_up();
    jobs(&mut pair, 4, 6 << 20, 6 << 20);
    for round in 0..20 {
        pair.run_for(ms(120 + round * 7));
        pair.drop_client(ms(100));
    }
    pair.run_until(HOUR, Pair::all_done);
    assert_eq!(pair.drops, 20);
    assert!(!pair.seen(|event| matches!(event, SessionEvent::Reset { .. } | SessionEvent::Ended(_))));
}

#[test]
fn both_sides_may_vanish_and_pause() {
    for seed in 0..4 {
        let faults = Faults { loss: 10, delay: ms(10), ..Faults::NONE };
        let mut pair = Pair::new(Config::default(), AgentConfig::default(), faults, seed);
        jobs(&mut pair, 6, 200_000, 60_000);
        pair.run_until_up();
        for round in 0..12 {
            pair.run_for(ms(30 + 13 * (round % 5)));
            match (round + seed) % 4 {
                0 => pair.drop_agent(ms(200)),
                1 => pair.drop_client(ms(300)),
                2 => pair.pause_agent(),
                _ => pair.tell_client(MessageType::PausePublication, b""),
            }
        }
        pair.run_until(HOUR, Pair::all_done);
    }
}

/// The agent resends only the oldest message without acknowledgement. If the client does not repeat a lost
/// acknowledgement, a later lost message is never sent again and the download stops for good.
#[test]
fn official_bug_a_lost_acknowledgement_and_a_lost_message_do_not_stop_a_download() {
    let mut pair = Pair::clean();
    pair.run_until_up();
    pair.open(Job { number: 1, upload: 0, download: 300_000 });
    pair.run_for(ms(20));
    pair.up.faults.loss = 1000;
    pair.run_for(ms(20));
    pair.up.faults.loss = 0;
    pair.down.faults.loss = 300;
    pair.run_for(ms(20));
    pair.down.faults.loss = 0;
    assert!(pair.up.lost > 0 && pair.down.lost > 0);
    pair.run_until(HOUR, Pair::all_done);
}

/// The official client ignores a pause of the agent; its own silence then lasts until somebody says something.
#[test]
fn official_bug_a_resume_wakes_a_paused_agent_at_once() {
    let mut pair = Pair::clean();
    pair.run_until_up();
    pair.open(Job { number: 1, upload: 0, download: 100_000 });
    pair.run_for(ms(20));
    pair.starts_publication = false;
    pair.drop_client(ms(500));
    pair.pause_agent();
    pair.run_for(ms(490));
    assert!(pair.agent.is_paused(pair.now));
    pair.run_for(ms(20));
    assert!(!pair.agent.is_paused(pair.now), "something was sent right after the resume");
    pair.run_until(HOUR, Pair::all_done);
}

#[test]
fn a_narrow_path_does_not_make_a_new_connection_wait_behind_a_bulk_upload() {
    let faults = Faults { delay: ms(10), rate: Some(2_000_000), ..Faults::NONE };
    let mut pair = Pair::new(Config::default(), fast_agent(), faults, 5);
    pair.run_until_up();
    pair.open(Job { number: 1, upload: 20_000_000, download: 0 });
    pair.run_for(Duration::from_secs(4));
    let before = pair.elapsed();
    let quick = pair.open(Job { number: 2, upload: 10, download: 10 });
    pair.run_until(Duration::from_secs(1), |pair| pair.local[&quick].is_done());
    let took = pair.elapsed() - before;
    assert!(took < ms(150), "{took:?}; window {}", pair.client.statistics().window);
}

#[test]
fn a_long_fat_path_is_filled() {
    let faults = Faults { delay: ms(40), rate: Some(12_000_000), ..Faults::NONE };
    let mut pair = Pair::new(Config::default(), fast_agent(), faults, 6);
    pair.run_until_up();
    pair.open(Job { number: 1, upload: 50_000_000, download: 0 });
    let before = pair.elapsed();
    pair.run_until(Duration::from_secs(60), Pair::all_done);
    let took = (pair.elapsed() - before).as_secs_f64();
    assert!(took < 6.5, "50 MB at 12 MB/s took {took} s, {}", pair.describe());
    assert!(
        pair.client.statistics().counters.retransmissions <= 4,
        "only the NOP, while the agent was not heard of"
    );
}

#[derive(Clone, Debug)]
enum Mishap {
    DropClient(u64),
    DropAgent(u64),
    PauseAgent,
    PauseClient,
}

fn mishap() -> impl Strategy<Value = (u64, Mishap)> {
    let kind = prop_oneof![
        (1..400u64).prop_map(Mishap::DropClient),
        (1..400u64).prop_map(Mishap::DropAgent),
        Just(Mishap::PauseAgent),
        Just(Mishap::PauseClient),
    ];
    (0..200u64, kind)
}

/// `PROPTEST_CASES` for a longer search.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(48)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_arrive_exactly_once_and_in_order(
        seed: u64,
        (loss, duplication, reordering) in (0..120u64, 0..120u64, 0..300u64),
        (lateness, delay) in (1..300u64, 0..60u64),
        rate in prop_oneof![Just(None), (200_000..5_000_000u64).prop_map(Some)],
        real_habits: bool,
        sizes in prop::collection::vec((0..120_000u64, 0..60_000u64), 1..10),
        mishaps in prop::collection::vec(mishap(), 0..8),
    ) {
        let faults =
            Faults { loss, duplication, reordering, lateness: ms(lateness), delay: ms(delay), rate };
        let agent = if real_habits { AgentConfig::default() } else { fast_agent() };
        let mut pair = Pair::new(Config::default(), agent, faults, seed);
        for (number, (upload, download)) in (0..).zip(sizes) {
            pair.open(Job { number, upload, download });
        }
        for (wait, mishap) in mishaps {
            pair.run_for(ms(wait));
            match mishap {
                Mishap::DropClient(outage) => pair.drop_client(ms(outage)),
                Mishap::DropAgent(outage) => pair.drop_agent(ms(outage)),
                Mishap::PauseAgent => pair.pause_agent(),
                Mishap::PauseClient => pair.tell_client(MessageType::PausePublication, b""),
            }
        }
        pair.run_until(HOUR, Pair::all_done);
    }
}
