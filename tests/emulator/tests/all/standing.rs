//! Faults that last: jitter, one-sided black holes, storms of pauses and cuts, dials that nobody answers.

use std::time::Duration;

use aws_emulator::{AgentHabits, Config, Counter, Direction, Emulator, Injection, LineFaults};
use bytes::Bytes;
use ssm_session::{ResetReason, SessionEvent};

use crate::support::{Client, DEADLINE, echo_server, now};

const PORT: u16 = 7;
const DATA: Bytes = Bytes::from_static(b"some bytes that come back");

async fn with_echo(habits: AgentHabits) -> Emulator {
    let emulator = Emulator::start(Config { habits, ..Config::default() }).await.unwrap();
    emulator.map_local_port(PORT, echo_server().await);
    emulator
}

/// A client that notices a dead connection soon.
async fn impatient(emulator: &Emulator) -> Client {
    let mut client = Client::start_with(emulator, None, PORT, |config| {
        config.ping_interval = Duration::from_millis(50);
        config.pong_timeout = Duration::from_millis(200);
    })
    .await;
    client.wait_for(|event| *event == SessionEvent::Up).await;
    client
}

#[tokio::test]
async fn jitter_keeps_the_order_or_does_not() {
    let data = Bytes::from(vec![7; 200_000]);
    for jitter_reorders in [false, true] {
        let emulator =
            with_echo(AgentHabits { message_bytes: 1024, pacing_us: 0, ..AgentHabits::unpaced() }).await;
        let mut client = impatient(&emulator).await;
        let faults =
            LineFaults { latency_ms: 1, jitter_ms: 20, jitter_reorders, seed: 3, ..LineFaults::default() };
        emulator.inject(Injection::Line { direction: Direction::ToClient, faults });
        assert_eq!(client.echo(&emulator, &data).await, data);
        assert_eq!(client.session.statistics().counters.early > 0, jitter_reorders);
        let counters = emulator.counters();
        for counter in [Counter::InjectedDelayed, Counter::InjectedJittered] {
            assert!(counters.value(counter) > 100, "{counter}: {:?}", counters.snapshot());
        }
        assert_eq!(counters.value(Counter::InjectedReordered), 0, "that is another fault");
    }
}

#[tokio::test]
async fn a_one_sided_black_hole_swallows_one_direction_until_a_new_connection() {
    for direction in [Direction::ToAgent, Direction::ToClient] {
        let emulator = with_echo(AgentHabits::unpaced()).await;
        let counters = emulator.counters();
        let mut client = impatient(&emulator).await;
        assert_eq!(client.echo(&emulator, &DATA).await, DATA);
        let arrived = counters.value(Counter::BytesFromClient);
        emulator.inject(Injection::OneSidedBlackHole { session: None, direction });
        let stream = client.session.open(now()).unwrap();
        client.session.write(stream, &mut DATA.clone(), now()).unwrap();
        let is_word = |event: &SessionEvent| {
            assert!(!matches!(event, SessionEvent::Readable(_)), "{direction:?}: an answer came through");
            *event == SessionEvent::ChannelDead
        };
        client.wait_for(is_word).await;
        let arrives = counters.value(Counter::BytesFromClient) > arrived;
        assert_eq!(arrives, direction == Direction::ToClient, "the other direction works");
        drop(client.resume(&emulator).await);
        client.wait_for(|event| *event == SessionEvent::Readable(stream)).await;
        assert_eq!(client.session.read(stream, now()).unwrap(), DATA);
        assert_eq!(counters.value(Counter::InjectedOneSidedBlackHoles), 1);
        assert!(counters.value(Counter::InjectedBytesVanished) > 0);
    }
}

#[tokio::test]
async fn a_storm_of_pauses_ends_by_itself_or_with_calm() {
    let emulator = with_echo(AgentHabits::default()).await;
    let counters = emulator.counters();
    let mut client = Client::start(&emulator, None, PORT).await;
    emulator.inject(Injection::PauseStorm { every_ms: 3, times: 15 });
    let data = Bytes::from(vec![9; 50_000]);
    assert_eq!(client.echo(&emulator, &data).await, data);
    client.meanwhile(counters.wait_at_least(Counter::InjectedPauses, 15, DEADLINE)).await.unwrap();
    emulator.inject(Injection::PauseStorm { every_ms: 1, times: u32::MAX });
    client.meanwhile(counters.wait_at_least(Counter::InjectedPauses, 20, DEADLINE)).await.unwrap();
    emulator.inject(Injection::Calm);
    let pauses = counters.value(Counter::InjectedPauses);
    assert_eq!(client.echo(&emulator, &data).await, data);
    assert!(counters.value(Counter::InjectedPauses) <= pauses + 1, "at most the one under way");
}

#[tokio::test]
async fn an_agent_that_is_cut_again_and_again_comes_back_each_time() {
    let emulator = with_echo(AgentHabits::unpaced()).await;
    let counters = emulator.counters();
    let mut client = Client::start(&emulator, None, PORT).await;
    client.wait_for(|event| *event == SessionEvent::Up).await;
    emulator.inject(Injection::DropAgentEvery { every_ms: 400, times: 3 });
    client.meanwhile(counters.wait_at_least(Counter::AgentConnects, 4, DEADLINE)).await.unwrap();
    assert_eq!(client.echo(&emulator, &DATA).await, DATA);
    assert_eq!(counters.value(Counter::InjectedAgentDrops), 3);
    assert_eq!(counters.value(Counter::SessionsStarted), 1);
}

#[tokio::test]
async fn a_dial_without_an_answer_delays_the_next_ones_and_fails() {
    let emulator = with_echo(AgentHabits::unpaced()).await;
    let counters = emulator.counters();
    let mut client = Client::start(&emulator, None, PORT).await;
    client.wait_for(|event| *event == SessionEvent::Up).await;
    emulator.inject(Injection::BlackHoleDials {
        session: Some(client.id.clone()),
        count: 1,
        for_ms: 3_600_000,
    });
    let lost = client.session.open(now()).unwrap();
    client.session.write(lost, &mut DATA.clone(), now()).unwrap();
    let next = client.session.open(now()).unwrap();
    client.session.write(next, &mut DATA.clone(), now()).unwrap();
    client.meanwhile(counters.wait_at_least(Counter::InjectedDialsUnanswered, 1, DEADLINE)).await.unwrap();
    assert_eq!(counters.value(Counter::AgentDials), 1, "the next one waits");
    emulator.inject(Injection::Calm);
    let reset = client.wait_for(|event| matches!(event, SessionEvent::Reset { .. })).await;
    assert_eq!(reset, SessionEvent::Reset { stream: lost, reason: ResetReason::RefusedByRemote });
    client.wait_for(|event| *event == SessionEvent::Readable(next)).await;
    assert_eq!(client.session.read(next, now()).unwrap(), DATA);
    assert_eq!(counters.value(Counter::AgentDialsFailed), 1);
}

#[tokio::test]
async fn an_agent_that_is_not_ready_ignores_what_it_gets_and_says_so() {
    let emulator = with_echo(AgentHabits { not_ready_ms: 300, ..AgentHabits::default() }).await;
    let mut client = Client::start(&emulator, None, PORT).await;
    client.wait_for(|event| *event == SessionEvent::Up).await;
    assert!(emulator.counters().value(Counter::AgentNotReady) >= 2, "{:?}", emulator.counters().snapshot());
    assert_eq!(client.echo(&emulator, &DATA).await, DATA);
}
