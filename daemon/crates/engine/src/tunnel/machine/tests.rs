//! Stories, and the complete matrix of states and inputs.

use super::*;
use stormtunnel_model::Timestamp;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A machine under a clock of its own, with the effects that nobody has looked at yet.
struct Bench {
    machine: TunnelMachine,
    now: Now,
    effects: Vec<Effect>,
}

impl Bench {
    fn new() -> Self {
        let now =
            Now { mono: tokio::time::Instant::now().into_std(), wall: Timestamp::from_millis(1_000_000) };
        Self { machine: TunnelMachine::new([9; 32]), now, effects: Vec::new() }
    }

    fn input(&mut self, input: Input) -> &mut Self {
        self.machine.handle_input(input, self.now);
        self.drain();
        self
    }

    fn command(&mut self, command: Command) -> &mut Self {
        self.input(Input::Command(command))
    }

    fn answer(&mut self, answer: Answer) -> &mut Self {
        let attempt = self.asked();
        self.input(Input::Answer(attempt, answer))
    }

    fn news(&mut self, news: SessionNews) -> &mut Self {
        let session = self.machine.session().expect("a session");
        self.input(Input::Session(session, news))
    }

    fn lose_channel(&mut self, proven: bool) -> &mut Self {
        let channel = self.machine.session.as_ref().expect("a session").channel;
        self.news(SessionNews::ChannelLost { channel, proven, fault: network() })
    }

    fn drain(&mut self) -> Option<Instant> {
        loop {
            match self.machine.poll_output() {
                Output::Effect(effect) => self.effects.push(effect),
                Output::Timeout(due) => return due,
            }
        }
    }

    /// Attempt of the last work asked for.
    fn asked(&self) -> Attempt {
        let attempt = |effect: &Effect| match effect {
            Effect::BindListener(attempt)
            | Effect::StartSession(attempt)
            | Effect::Dial(attempt)
            | Effect::ResumeSession(attempt) => Some(*attempt),
            Effect::CloseListener
            | Effect::EndSession { .. }
            | Effect::ResetHeld
            | Effect::Note(_)
            | Effect::Publish(_)
            | Effect::Finished => None,
        };
        self.effects.iter().rev().find_map(attempt).expect("work was asked for")
    }

    /// Moves time on to the next timeout.
    fn wait(&mut self) -> Duration {
        let due = self.drain().expect("something is due");
        let wait = due.saturating_duration_since(self.now.mono);
        self.now = self.now.after(wait);
        self.machine.handle_timeout(self.now);
        self.drain();
        wait
    }

    fn pass(&mut self, time: Duration) -> &mut Self {
        self.now = self.now.after(time);
        self.machine.handle_timeout(self.now);
        self.drain();
        self
    }

    fn forget_effects(&mut self) -> &mut Self {
        self.effects.clear();
        self
    }

    fn started(&mut self) -> &mut Self {
        self.command(Command::Run).answer(Answer::ListenerBound).answer(Answer::Admitted(TIMEOUT))
    }

    fn opened(&mut self) -> &mut Self {
        self.started().answer(Answer::SessionStarted).answer(Answer::ChannelOpened)
    }

    fn up(&mut self) -> &mut Self {
        self.opened().news(SessionNews::HandshakeUp)
    }

    fn shown(&self) -> &'static str {
        self.machine.shown().label()
    }

    fn did(&self, effect: &Effect) -> bool {
        self.effects.contains(effect)
    }

    fn count(&self, wanted: impl Fn(&Effect) -> bool) -> usize {
        self.effects.iter().filter(|effect| wanted(effect)).count()
    }
}

fn network() -> Fault {
    Fault::new(FaultKind::Network, "connection reset by peer")
}

fn denied() -> Fault {
    let kind = FaultKind::PermissionDenied {
        principal: String::new(),
        action: "ssm:StartSession".to_owned(),
        resource: String::new(),
    };
    Fault::new(kind, "")
}

fn signed_out() -> Fault {
    Fault::new(FaultKind::SignInNeeded { sign_in: String::new() }, "")
}

fn ended() -> SessionNews {
    SessionNews::Ended { fault: Fault::new(FaultKind::SessionEnded, ""), over: true }
}

fn states_shown(bench: &Bench) -> Vec<TunnelState> {
    let shown = |effect: &Effect| match effect {
        Effect::Publish(state) => Some(state.clone()),
        Effect::BindListener(_)
        | Effect::CloseListener
        | Effect::StartSession(_)
        | Effect::Dial(_)
        | Effect::ResumeSession(_)
        | Effect::EndSession { .. }
        | Effect::ResetHeld
        | Effect::Note(_)
        | Effect::Finished => None,
    };
    bench.effects.iter().filter_map(shown).collect()
}

#[test]
fn the_way_up_shows_every_step_once() {
    let mut bench = Bench::new();
    bench.up();
    let connecting = |step| TunnelState::Connecting { step };
    let expected = [
        connecting(ConnectStep::Listener),
        connecting(ConnectStep::Session),
        connecting(ConnectStep::Channel),
        TunnelState::Up,
    ];
    assert_eq!(states_shown(&bench), expected);
    assert!(bench.machine.session_up().is_some());
}

#[test]
fn a_lost_channel_is_resumed_on_the_same_session() {
    let mut bench = Bench::new();
    bench.up().pass(Duration::from_secs(20)).forget_effects();
    let session = bench.machine.session();
    bench.lose_channel(true);
    assert!(matches!(bench.machine.shown(), TunnelState::Connecting { step: ConnectStep::Resume }));
    assert_eq!(
        bench.count(|effect| matches!(effect, Effect::ResumeSession(_))),
        1,
        "at once: it had proved itself"
    );
    bench.answer(Answer::Resumed).answer(Answer::ChannelOpened);
    assert_eq!(bench.shown(), "Up");
    assert_eq!(bench.machine.session(), session);
    assert_eq!(bench.count(|effect| matches!(effect, Effect::EndSession { .. } | Effect::ResetHeld)), 0);
}

#[test]
fn a_channel_that_keeps_breaking_is_not_resumed_in_a_storm() {
    let mut bench = Bench::new();
    bench.up();
    let mut waited = Duration::ZERO;
    for _ in 0..20 {
        bench.lose_channel(false);
        waited += bench.wait();
        bench.answer(Answer::Resumed).answer(Answer::ChannelOpened);
    }
    assert!(waited > Duration::from_secs(30), "20 resumes in {waited:?}");
}

#[test]
fn a_channel_that_works_and_breaks_is_resumed_quickly_every_time() {
    let mut bench = Bench::new();
    bench.up();
    for _ in 0..20 {
        bench.lose_channel(true);
        assert!(bench.wait() <= Duration::from_millis(200));
        bench.answer(Answer::Resumed).answer(Answer::ChannelOpened);
    }
}

#[test]
fn a_resume_is_tried_until_the_session_is_gone() {
    let mut bench = Bench::new();
    bench.up().pass(Duration::from_secs(61)).lose_channel(true);
    for _ in 0..100 {
        bench.answer(Answer::ResumeFailed(network()));
        assert!(bench.wait() <= RETRY_CAP);
    }
    let (session, asking) = (bench.machine.session().unwrap(), bench.asked());
    bench.forget_effects().input(Input::Answer(asking, Answer::SessionGone));
    assert!(bench.did(&Effect::EndSession { session, over: true }));
    assert_eq!(bench.count(|effect| matches!(effect, Effect::StartSession(_))), 1, "a new session at once");
    assert_eq!(bench.count(|effect| matches!(effect, Effect::CloseListener | Effect::ResetHeld)), 0);
}

#[test]
fn a_resume_step_that_hangs_is_tried_again() {
    let mut bench = Bench::new();
    bench.up().pass(Duration::from_secs(20)).lose_channel(true);
    let hanging = bench.asked();
    assert_eq!(bench.wait(), TIMEOUT);
    bench.wait();
    assert_ne!(bench.asked(), hanging);
    bench.forget_effects().input(Input::Answer(hanging, Answer::Resumed));
    assert_eq!(bench.effects, [], "the late answer changes nothing");
}

#[test]
fn a_session_that_ends_is_replaced_at_once_but_not_over_and_over() {
    let mut bench = Bench::new();
    bench.up().forget_effects().news(ended());
    assert_eq!(bench.count(|effect| matches!(effect, Effect::StartSession(_))), 1);
    for _ in 0..10 {
        bench.answer(Answer::Admitted(TIMEOUT)).answer(Answer::SessionStarted).answer(Answer::ChannelOpened);
        bench.news(SessionNews::HandshakeUp).forget_effects().news(ended());
        assert_eq!(bench.shown(), "Retrying", "it ended again before it proved itself");
        bench.wait();
    }
}

#[test]
fn a_minute_up_forgets_the_failures() {
    let mut bench = Bench::new();
    bench.command(Command::Run).answer(Answer::ListenerBound);
    for _ in 0..10 {
        bench.answer(Answer::Admitted(TIMEOUT)).answer(Answer::SessionFailed(network()));
        bench.wait();
    }
    bench.answer(Answer::Admitted(TIMEOUT)).answer(Answer::SessionStarted).answer(Answer::ChannelOpened);
    bench.news(SessionNews::HandshakeUp).pass(PROVED_AFTER - Duration::from_millis(1));
    assert_eq!(bench.machine.backoff.failures(), 10);
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.machine.backoff.failures(), 0);
}

#[test]
fn a_waiting_connection_shortens_the_wait() {
    let mut bench = Bench::new();
    bench.command(Command::Run).answer(Answer::ListenerBound);
    while !matches!(&bench.machine.state, State::Retrying { at, .. } if *at > bench.now.mono + RETRY_CAP_WAITING)
    {
        bench.answer(Answer::Admitted(TIMEOUT)).answer(Answer::SessionFailed(network()));
        if matches!(&bench.machine.state, State::Retrying { at, .. } if *at <= bench.now.mono + RETRY_CAP_WAITING)
        {
            bench.wait();
        }
    }
    bench.input(Input::Waiting(true));
    assert_eq!(bench.wait(), RETRY_CAP_WAITING);
    for _ in 0..30 {
        bench.answer(Answer::Admitted(TIMEOUT)).answer(Answer::SessionFailed(network()));
        assert!(bench.wait() <= RETRY_CAP_WAITING);
    }
}

#[test]
fn what_a_person_must_mend_is_not_retried() {
    let mut bench = Bench::new();
    bench.started().answer(Answer::SessionFailed(denied()));
    assert_eq!(bench.machine.shown(), TunnelState::Blocked { fault: denied() });
    assert_eq!(bench.drain(), None, "nothing is due");
    bench.forget_effects().command(Command::Run);
    assert_eq!(bench.count(|effect| matches!(effect, Effect::StartSession(_))), 1, "until somebody asks");
}

#[test]
fn a_needed_sign_in_is_looked_for_once_a_minute() {
    let mut bench = Bench::new();
    bench.started().answer(Answer::SessionFailed(signed_out()));
    assert_eq!(bench.shown(), "Blocked");
    assert_eq!(bench.wait(), SIGN_IN_RECHECK);
    assert_eq!(bench.shown(), "Connecting");
}

#[test]
fn the_connect_timeout_names_who_did_not_answer() {
    let kind = |bench: &Bench| bench.machine.shown().fault().map(|fault| fault.kind.clone());
    let mut bench = Bench::new();
    bench.command(Command::Run).answer(Answer::ListenerBound);
    assert_eq!(bench.drain(), None, "it does not run while the call queues");
    bench.answer(Answer::Admitted(TIMEOUT));
    assert_eq!(bench.wait(), TIMEOUT);
    assert_eq!(kind(&bench), Some(FaultKind::Network));

    let mut bench = Bench::new();
    bench.opened();
    assert_eq!(bench.wait(), TIMEOUT);
    assert_eq!(kind(&bench), Some(FaultKind::AgentUnresponsive));
    assert_eq!(bench.count(|effect| matches!(effect, Effect::EndSession { over: false, .. })), 1);

    let mut bench = Bench::new();
    bench.opened().pass(Duration::from_secs(20)).lose_channel(true);
    while bench.shown() == "Connecting" {
        bench.wait();
    }
    assert_eq!(kind(&bench), Some(FaultKind::AgentUnresponsive), "a resume does not stretch it");
}

#[test]
fn a_session_that_comes_too_late_is_ended() {
    let mut bench = Bench::new();
    bench.started();
    let late = bench.asked();
    bench.wait();
    bench.forget_effects().input(Input::Answer(late, Answer::SessionStarted));
    assert_eq!(bench.effects, [Effect::EndSession { session: late, over: false }]);
    assert_eq!(bench.shown(), "Retrying");
}

#[test]
fn stopped_means_that_nothing_is_left() {
    let mut bench = Bench::new();
    bench.started();
    let starting = bench.asked();
    bench.command(Command::Stop);
    assert!(bench.did(&Effect::CloseListener));
    assert_eq!(bench.shown(), "Stopping", "a session may still come into being");
    bench.input(Input::Answer(starting, Answer::SessionStarted));
    assert_eq!(bench.shown(), "Stopping");
    assert!(bench.did(&Effect::EndSession { session: starting, over: false }));
    bench.input(Input::Session(starting, SessionNews::Closed));
    assert_eq!(bench.shown(), "Stopped");
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    let mut bench = Bench::new();
    bench.up().command(Command::Stop);
    assert_eq!(bench.wait(), STOP_WAIT);
    assert_eq!(bench.shown(), "Stopped");
}

#[test]
fn stopping_remembers_what_comes_next() {
    for (commands, shown, finished) in [
        (&[Command::Stop, Command::Run][..], "Connecting", false),
        (&[Command::Stop, Command::Restart, Command::Stop], "Stopped", false),
        (&[Command::Stop, Command::Delete, Command::Run], "Stopped", true),
        (&[Command::Delete, Command::Stop], "Stopped", true),
    ] {
        let mut bench = Bench::new();
        bench.up();
        let session = bench.machine.session().unwrap();
        for command in commands {
            bench.command(*command);
        }
        assert_eq!(bench.shown(), "Stopping", "{commands:?}");
        bench.input(Input::Session(session, SessionNews::Closed));
        assert_eq!(bench.shown(), shown, "{commands:?}");
        assert_eq!(bench.did(&Effect::Finished), finished, "{commands:?}");
        assert!(states_shown(&bench).contains(&TunnelState::Stopped), "whoever waits for the stop sees it");
    }
}

#[test]
fn a_restart_takes_a_new_session_and_keeps_the_listener() {
    let mut bench = Bench::new();
    bench.up().forget_effects();
    let session = bench.machine.session().unwrap();
    bench.command(Command::Restart);
    assert!(bench.did(&Effect::EndSession { session, over: false }));
    assert_eq!(bench.count(|effect| matches!(effect, Effect::StartSession(_))), 1);
    assert_eq!(bench.count(|effect| matches!(effect, Effect::CloseListener | Effect::BindListener(_))), 0);
}

#[test]
fn a_new_local_end_alone_leaves_the_session() {
    let mut bench = Bench::new();
    bench.up().forget_effects().command(Command::SpecChanged { session: false, listener: true });
    assert_eq!(bench.shown(), "Up");
    assert!(
        matches!(bench.effects[..], [Effect::CloseListener, Effect::BindListener(_)]),
        "{:?}",
        bench.effects
    );
    bench.answer(Answer::ListenerBound);
    assert_eq!((bench.shown(), bench.machine.listener), ("Up", Listener::Bound));
}

#[test]
fn a_new_target_takes_a_new_session() {
    let mut bench = Bench::new();
    bench.up().forget_effects().command(Command::SpecChanged { session: true, listener: false });
    assert_eq!(bench.count(|effect| matches!(effect, Effect::EndSession { .. })), 1);
    assert_eq!(bench.count(|effect| matches!(effect, Effect::StartSession(_))), 1);
    assert_eq!(bench.count(|effect| matches!(effect, Effect::CloseListener)), 0);
}

#[test]
fn a_taken_port_is_tried_again_and_never_replaced() {
    let mut bench = Bench::new();
    let taken = Fault::new(FaultKind::PortInUse { address: "localhost:1".to_owned(), holder: None }, "");
    bench.command(Command::Run).answer(Answer::ListenerFailed(taken));
    assert_eq!(bench.shown(), "Retrying");
    bench.forget_effects().wait();
    assert_eq!(bench.count(|effect| matches!(effect, Effect::BindListener(_))), 1);
}

#[test]
fn a_crash_counts_like_any_failure() {
    let bench = Bench::new();
    let mut machine = TunnelMachine::crashed(bench.now, [1; 32], 4, Fault::internal("it fell over"));
    assert!(matches!(machine.poll_output(), Output::Effect(Effect::Note(_))));
    assert!(matches!(machine.poll_output(), Output::Effect(Effect::Publish(TunnelState::Retrying { .. }))));
    assert_eq!(machine.backoff.failures(), 4);
}

mod matrix {
    //! Every state meets every input.

    use super::*;

    const STATES: [&str; 13] = [
        "stopped",
        "binding",
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
            ("Admitted", answer(Answer::Admitted(TIMEOUT))),
            ("SessionStarted", answer(Answer::SessionStarted)),
            ("SessionFailed", answer(Answer::SessionFailed(network()))),
            ("SessionFailed, denied", answer(Answer::SessionFailed(denied()))),
            ("Resumed", answer(Answer::Resumed)),
            ("ResumeFailed", answer(Answer::ResumeFailed(network()))),
            ("ResumeFailed, denied", answer(Answer::ResumeFailed(denied()))),
            ("SessionGone", answer(Answer::SessionGone)),
            ("ChannelOpened", answer(Answer::ChannelOpened)),
            ("ChannelFailed", answer(Answer::ChannelFailed(network()))),
            ("HandshakeUp", news(SessionNews::HandshakeUp)),
            ("ChannelLost", news(SessionNews::ChannelLost { channel, proven: true, fault: network() })),
            ("Ended", news(ended())),
            ("Closed", news(SessionNews::Closed)),
            ("Waiting", Input::Waiting(true)),
            ("not Waiting", Input::Waiting(false)),
        ]
    }

    /// Where that input leads; `None` where it changes nothing that is shown.
    fn expected(state: &str, input: &str) -> Option<&'static str> {
        let runs = !matches!(state, "stopped" | "stopping");
        let resuming = state.starts_with("resume");
        match input {
            "Run" if matches!(state, "stopped" | "retrying" | "blocked") => Some("Connecting"),
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
            "Ended" if matches!(state, "dialling" | "handshaking") => Some("Retrying"),
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
                    Input::Command(_) | Input::Waiting(_) => continue,
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
}
