//! Every state meets every input.

use super::*;

const STATES: [&str; 14] = [
    "stopped",
    "binding",
    "idle",
    "queued",
    "starting",
    "dialling",
    "handshaking",
    "up",
    "resume waiting",
    "resume asking",
    "resume dialling",
    "retrying",
    "blocked",
    "stopping",
];

/// A machine in that state, with its effects so far forgotten.
fn in_state(state: &str) -> Bench {
    let mut bench = Bench::new();
    let at_once = Duration::from_secs(20);
    match state {
        "stopped" => &mut bench,
        "binding" => bench.command(Command::Run),
        "idle" => bench.up().news(closed_unused()),
        "queued" => bench.command(Command::Run).answer(Answer::ListenerBound),
        "starting" => bench.started(),
        "dialling" => bench.started().answer(Answer::SessionStarted),
        "handshaking" => bench.opened(),
        "up" => bench.up(),
        "resume waiting" => bench.up().lose_channel(false),
        "resume asking" => bench.up().pass(at_once).lose_channel(true),
        "resume dialling" => bench.up().pass(at_once).lose_channel(true).answer(Answer::Resumed),
        "retrying" => bench.started().answer(Answer::SessionFailed(network())),
        "blocked" => bench.started().answer(Answer::SessionFailed(denied())),
        "stopping" => bench.up().command(Command::Stop),
        _ => unreachable!("{state}"),
    };
    bench
}

fn inputs(bench: &Bench) -> Vec<(&'static str, Input)> {
    let asked = bench.effects.iter().any(|effect| matches!(effect, Effect::BindListener(_)));
    let attempt = if asked { bench.asked() } else { Attempt(1) };
    let session = bench.machine.session().unwrap_or(attempt);
    let channel = bench.machine.session.as_ref().map_or(attempt, |session| session.channel);
    let answer = |answer| Input::Answer(attempt, answer);
    let news = |news| Input::Session(session, news);
    let changed = |session, listener| Input::Command(Command::SpecChanged { session, listener });
    vec![
        ("Run", Input::Command(Command::Run)),
        ("Stop", Input::Command(Command::Stop)),
        ("Restart", Input::Command(Command::Restart)),
        ("Delete", Input::Command(Command::Delete)),
        ("SpecChanged nothing", changed(false, false)),
        ("SpecChanged session", changed(true, false)),
        ("SpecChanged listener", changed(false, true)),
        ("SpecChanged both", changed(true, true)),
        ("ListenerBound", answer(Answer::ListenerBound)),
        ("ListenerFailed", answer(Answer::ListenerFailed(network()))),
        ("Admitted", answer(admitted())),
        ("SessionStarted", answer(Answer::SessionStarted)),
        ("SessionFailed", answer(Answer::SessionFailed(network()))),
        ("SessionFailed, denied", answer(Answer::SessionFailed(denied()))),
        ("Resumed", answer(Answer::Resumed)),
        ("ResumeFailed", answer(Answer::ResumeFailed(network()))),
        ("ResumeFailed, denied", answer(Answer::ResumeFailed(denied()))),
        ("SessionGone", answer(Answer::SessionGone { unused: false })),
        ("SessionGone unused", answer(Answer::SessionGone { unused: true })),
        ("ChannelOpened", answer(Answer::ChannelOpened)),
        ("ChannelFailed", answer(Answer::ChannelFailed(network()))),
        ("HandshakeUp", news(SessionNews::HandshakeUp)),
        ("ChannelLost", news(SessionNews::ChannelLost { channel, proven: true, fault: network() })),
        ("Ended", news(ended())),
        ("Ended unused", news(closed_unused())),
        ("Closed", news(SessionNews::Closed)),
        ("Waiting", Input::Waiting(true)),
        ("not Waiting", Input::Waiting(false)),
        ("Disturbed", Input::Disturbed),
    ]
}

/// Where that input leads; `None` where it changes nothing that is shown.
fn expected(state: &str, input: &str) -> Option<&'static str> {
    let runs = !matches!(state, "stopped" | "stopping");
    let resuming = state.starts_with("resume");
    match input {
        "Run" if matches!(state, "stopped" | "idle" | "retrying" | "blocked") => Some("Connecting"),
        "Waiting" if state == "idle" => Some("Connecting"),
        "Restart" if state != "stopping" => Some("Connecting"),
        // With nothing under way a stop is complete at once.
        "Stop" | "Delete" if matches!(state, "binding" | "queued" | "retrying" | "blocked") => {
            Some("Stopped")
        }
        "Stop" | "Delete" if runs => Some("Stopping"),
        "SpecChanged session" | "SpecChanged both" if runs => Some("Connecting"),
        "SpecChanged listener" if matches!(state, "retrying" | "blocked") => Some("Connecting"),
        "ListenerFailed" if state == "binding" => Some("Retrying"),
        "SessionFailed" if matches!(state, "queued" | "starting") => Some("Retrying"),
        "SessionFailed, denied" if matches!(state, "queued" | "starting") => Some("Blocked"),
        "ResumeFailed, denied" if state == "resume asking" => Some("Blocked"),
        "ChannelOpened" if state == "resume dialling" => Some("Up"),
        "ChannelFailed" if state == "dialling" => Some("Retrying"),
        "HandshakeUp" if state == "dialling" || state == "handshaking" => Some("Up"),
        "ChannelLost" if state == "up" => Some("Connecting"),
        "Ended" if state == "up" || resuming => Some("Connecting"),
        "Ended unused" if state == "up" || resuming => Some("Idle"),
        "SessionGone unused" if state == "resume asking" => Some("Idle"),
        "Ended" | "Ended unused" if matches!(state, "dialling" | "handshaking") => Some("Retrying"),
        "Closed" if state == "stopping" => Some("Stopped"),
        _ => None,
    }
}

#[test]
fn every_state_meets_every_input() {
    for state in STATES {
        for index in 0..inputs(&in_state(state)).len() {
            let mut bench = in_state(state);
            let before = bench.shown();
            let (name, input) = inputs(&bench).swap_remove(index);
            bench.forget_effects().input(input);
            let expected = expected(state, name).unwrap_or(before);
            assert_eq!(bench.shown(), expected, "{state} on {name}, {:?}", bench.effects);
            check_invariants(&mut bench, &format!("{state} on {name}"));
        }
    }
}

#[test]
fn late_answers_change_nothing() {
    for state in STATES {
        for index in 0..inputs(&in_state(state)).len() {
            let mut bench = in_state(state);
            let late = Attempt(77);
            let input = match inputs(&bench).swap_remove(index).1 {
                Input::Answer(_, Answer::SessionStarted) => continue,
                Input::Answer(_, answer) => Input::Answer(late, answer),
                Input::Session(_, news) => Input::Session(late, news),
                Input::Command(_) | Input::Waiting(_) | Input::Disturbed => continue,
            };
            let before = bench.machine.state.clone();
            bench.forget_effects().input(input.clone());
            assert_eq!(bench.machine.state, before, "{state} on a late {input:?}");
            assert_eq!(bench.effects, [], "{state} on a late {input:?}");
        }
    }
}

#[test]
fn a_stop_reaches_stopped_from_every_state_after_every_input() {
    for state in STATES {
        for index in 0..inputs(&in_state(state)).len() {
            let mut bench = in_state(state);
            let (name, input) = inputs(&bench).swap_remove(index);
            bench.input(input).command(Command::Stop);
            while bench.drain().is_some() {
                bench.wait();
            }
            assert_eq!(bench.shown(), "Stopped", "{state}, then {name}, then Stop");
            assert_eq!(bench.machine.listener, Listener::Closed, "{state}, then {name}, then Stop");
            assert_eq!(bench.machine.session, None, "{state}, then {name}, then Stop");
        }
    }
}

/// What holds in every state.
fn check_invariants(bench: &mut Bench, case: &str) {
    let due = bench.drain();
    let machine = &bench.machine;
    let running = !matches!(machine.state, State::Stopped | State::Stopping { .. });
    assert!(running || machine.session.is_none(), "{case}: a session outlives its tunnel");
    assert!(running || machine.listener == Listener::Closed, "{case}: a listener outlives its tunnel");
    let has_session =
        matches!(machine.state, State::Opening { .. } | State::Up { .. } | State::Resuming { .. });
    assert_eq!(machine.session.is_some(), has_session, "{case}");
    let waits_for_time =
        matches!(machine.state, State::Opening { .. } | State::Resuming { .. } | State::Retrying { .. });
    assert!(!waits_for_time || due.is_some(), "{case}: nothing would ever happen");
    let sessions_ended = bench.count(|effect| matches!(effect, Effect::EndSession { .. }));
    assert!(sessions_ended <= 1, "{case}: one session, one end");
}
