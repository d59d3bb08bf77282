//! The machine slept, or its network changed.

use super::super::disturbed::STEP_IS_YOUNG;
use super::*;

fn verifications(bench: &Bench) -> usize {
    bench.count(|effect| matches!(effect, Effect::Verify(_)))
}

#[test]
fn an_open_channel_is_asked_for_proof_and_nothing_else_happens() {
    for mut bench in [Bench::new(), Bench::new()].into_iter().enumerate().map(|(index, mut bench)| {
        if index == 0 {
            bench.up()
        } else {
            bench.opened()
        };
        bench
    }) {
        let session = bench.machine.session().unwrap();
        let before = bench.machine.state.clone();
        bench.forget_effects().input(Input::Disturbed);
        assert_eq!(bench.effects, [Effect::Verify(session)]);
        assert_eq!(bench.machine.state, before);
    }
}

#[test]
fn a_tunnel_that_waits_for_its_next_try_leaves_within_a_second() {
    let mut bench = Bench::new();
    bench.started().answer(Answer::SessionFailed(network()));
    while bench.wait() < Duration::from_secs(5) {
        bench.answer(admitted()).answer(Answer::SessionFailed(network()));
    }
    bench.answer(admitted()).answer(Answer::SessionFailed(network()));
    let before = bench.drain().unwrap();
    bench.forget_effects().input(Input::Disturbed);
    assert!(bench.drain().unwrap() <= before);
    assert!(bench.wait() <= RETURN_WITHIN);
    assert_eq!(bench.shown(), "Connecting");
    assert!(bench.did(&Effect::StartSession(bench.asked())));
}

#[test]
fn disturbances_put_nothing_off() {
    let mut bench = Bench::new();
    bench.started().answer(Answer::SessionFailed(network()));
    let first = bench.drain().unwrap();
    for _ in 0..20 {
        bench.input(Input::Disturbed);
        assert!(bench.drain().unwrap() <= first, "it would have left by then");
    }
}

#[test]
fn a_resume_that_waits_goes_on() {
    let mut bench = Bench::new();
    bench.up().lose_channel(false);
    while bench.wait() < Duration::from_secs(5) {
        bench.answer(Answer::ResumeFailed(network()));
    }
    bench.answer(Answer::ResumeFailed(network())).forget_effects().input(Input::Disturbed);
    assert_eq!(verifications(&bench), 0, "there is nothing to verify");
    assert!(bench.wait() <= RETURN_WITHIN);
    assert!(bench.did(&Effect::ResumeSession(bench.asked())));
}

#[test]
fn a_step_that_left_through_the_old_network_begins_anew_and_a_young_one_does_not() {
    let mut bench = Bench::new();
    bench.up().pass(RESUME_AT_ONCE_AFTER).lose_channel(true);
    let asked = bench.asked();
    bench.pass(STEP_IS_YOUNG).input(Input::Disturbed);
    assert!(bench.machine.wants_resumption(asked), "it left just now");
    bench.pass(Duration::from_secs(1)).input(Input::Disturbed);
    assert!(!bench.machine.wants_resumption(asked));
    bench.wait();
    let again = bench.asked();
    assert!(again != asked && bench.machine.wants_resumption(again));
    bench.answer(Answer::Resumed).pass(Duration::from_secs(5)).input(Input::Disturbed);
    assert_eq!(bench.machine.wants_channel(again), None, "a dial is a step as well");
    bench.wait();
    bench.answer(Answer::Resumed).answer(Answer::ChannelOpened);
    assert_eq!(bench.shown(), "Up");
}

/// A session costs money, and a second one beside it more: a start under way keeps its deadline.
#[test]
fn a_start_is_left_alone() {
    let mut bench = Bench::new();
    let before = bench.started().machine.state.clone();
    bench.pass(Duration::from_secs(10)).forget_effects().input(Input::Disturbed);
    assert_eq!((bench.machine.state.clone(), bench.effects.len()), (before, 0));
}

#[test]
fn what_a_person_must_mend_is_not_tried_again() {
    let mut bench = Bench::new();
    bench.started().answer(Answer::SessionFailed(denied())).forget_effects().input(Input::Disturbed);
    assert_eq!((bench.shown(), bench.effects.len()), ("Blocked", 0));
    assert_eq!(bench.drain(), None);
}

#[test]
fn tunnels_that_are_disturbed_together_spread() {
    let leaves_after = |seed: u8| {
        let mut bench = Bench { machine: TunnelMachine::new([seed; 32]), ..Bench::new() };
        bench.up().lose_channel(false);
        while bench.wait() < Duration::from_secs(5) {
            bench.answer(Answer::ResumeFailed(network()));
        }
        bench.answer(Answer::ResumeFailed(network())).input(Input::Disturbed).wait()
    };
    let waits: BTreeSet<Duration> = (0..50).map(leaves_after).collect();
    assert!(waits.len() > 30 && waits.iter().all(|wait| *wait <= RETURN_WITHIN), "{waits:?}");
}
