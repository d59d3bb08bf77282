//! When a session is held that nobody uses.

use super::*;

fn keeping(keep: Keep) -> Bench {
    let mut bench = Bench::new();
    bench.machine.set_keep(keep);
    bench
}

fn starts(bench: &Bench) -> usize {
    bench.count(|effect| matches!(effect, Effect::StartSession(_)))
}

#[test]
fn what_aws_closes_for_want_of_use_is_replaced_when_it_is_wanted() {
    let mut bench = keeping(Keep::Auto);
    bench.up().forget_effects().news(closed_unused());
    assert_eq!(bench.shown(), "Idle");
    assert_eq!(bench.drain(), None, "nothing is due");
    assert_eq!(
        (starts(&bench), bench.count(|effect| matches!(effect, Effect::CloseListener | Effect::Note(_)))),
        (0, 0)
    );
    assert!(bench.machine.holds_connections());
    bench.input(Input::Waiting(true));
    assert_eq!((bench.shown(), starts(&bench)), ("Connecting", 1));
}

#[test]
fn a_warm_tunnel_is_never_without_a_session() {
    let mut bench = keeping(Keep::Warm);
    bench.up().forget_effects().news(closed_unused());
    assert_eq!((bench.shown(), starts(&bench)), ("Connecting", 1));
}

#[test]
fn a_session_that_was_in_use_is_replaced_at_once() {
    for keep in Keep::ALL {
        let mut bench = keeping(keep);
        bench.input(Input::Waiting(true)).up().input(Input::Waiting(false)).forget_effects().news(ended());
        assert_eq!((bench.shown(), starts(&bench)), ("Connecting", 1), "{keep}");
    }
}

#[test]
fn on_demand_begins_with_the_first_connection() {
    let mut bench = keeping(Keep::OnDemand);
    bench.command(Command::Run).answer(Answer::ListenerBound);
    assert_eq!((bench.shown(), starts(&bench)), ("Idle", 0));
    bench.command(Command::Run);
    assert_eq!((bench.shown(), starts(&bench)), ("Idle", 0), "it is ready already");
    bench.input(Input::Waiting(true));
    assert_eq!((bench.shown(), starts(&bench)), ("Connecting", 1));
    bench.answer(admitted()).answer(Answer::SessionStarted).answer(Answer::ChannelOpened);
    bench.news(SessionNews::HandshakeUp).input(Input::Waiting(false));
    assert_eq!(bench.shown(), "Up");
    bench.command(Command::Restart);
    assert_eq!((bench.shown(), starts(&bench)), ("Idle", 1), "the next connection takes a new one");
}

#[test]
fn who_gives_up_waiting_ends_the_tries() {
    let mut bench = keeping(Keep::OnDemand);
    bench.command(Command::Run).answer(Answer::ListenerBound).input(Input::Waiting(true));
    bench.answer(admitted()).answer(Answer::SessionFailed(network()));
    assert_eq!(bench.shown(), "Retrying");
    bench.input(Input::Waiting(false));
    assert_eq!((bench.shown(), bench.drain()), ("Idle", None));

    bench.input(Input::Waiting(true)).answer(admitted()).input(Input::Waiting(false));
    assert_eq!(bench.shown(), "Connecting", "what is under way may finish");
    bench.answer(Answer::SessionFailed(network()));
    assert_eq!((bench.shown(), bench.drain()), ("Idle", None), "and is not tried again");
}

#[test]
fn what_a_person_must_mend_blocks_an_idle_tunnel_too() {
    let mut bench = keeping(Keep::OnDemand);
    bench.command(Command::Run).answer(Answer::ListenerBound).input(Input::Waiting(true));
    bench.answer(admitted()).answer(Answer::SessionFailed(denied()));
    assert_eq!(bench.shown(), "Blocked");
    assert!(bench.did(&Effect::ResetHeld), "whoever waits is told");
}

#[test]
fn an_idle_tunnel_that_is_to_be_warm_connects() {
    let mut bench = keeping(Keep::OnDemand);
    bench.command(Command::Run).answer(Answer::ListenerBound);
    bench.machine.set_keep(Keep::Warm);
    bench.command(Command::SpecChanged { session: false, listener: false });
    assert_eq!((bench.shown(), starts(&bench)), ("Connecting", 1));
}

#[test]
fn a_new_listener_of_an_idle_tunnel_is_bound() {
    let mut bench = keeping(Keep::OnDemand);
    bench.command(Command::Run).answer(Answer::ListenerBound);
    bench.command(Command::SpecChanged { session: false, listener: true });
    assert_eq!(bench.shown(), "Idle");
    bench.answer(Answer::ListenerBound);
    assert_eq!((bench.shown(), bench.machine.listener), ("Idle", Listener::Bound));
}
