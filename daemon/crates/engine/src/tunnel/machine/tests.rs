//! Stories; and in `matrix`, every state with every input.

mod disturbed;
mod keep;
mod matrix;

use super::*;
use stormtunnel_model::Timestamp;

const TIMEOUT: Duration = Duration::from_secs(30);

fn admitted() -> Answer {
    Answer::Admitted { within: TIMEOUT, patience: Duration::ZERO }
}

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
            | Effect::Verify(_)
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
        self.command(Command::Run).answer(Answer::ListenerBound).answer(admitted())
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
    SessionNews::Ended { fault: Fault::new(FaultKind::SessionEnded, ""), over: true, unused: false }
}

fn closed_unused() -> SessionNews {
    SessionNews::Ended { fault: Fault::new(FaultKind::SessionEnded, "timed out"), over: true, unused: true }
}

fn states_shown(bench: &Bench) -> Vec<TunnelState> {
    let shown = |effect: &Effect| match effect {
        Effect::Publish(state) => Some(state.clone()),
        Effect::BindListener(_)
        | Effect::CloseListener
        | Effect::StartSession(_)
        | Effect::Dial(_)
        | Effect::ResumeSession(_)
        | Effect::Verify(_)
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
    bench.forget_effects().input(Input::Answer(asking, Answer::SessionGone { unused: false }));
    let fault = Fault::new(FaultKind::SessionEnded, "it was over when its connection came back");
    assert!(bench.did(&Effect::EndSession { session, over: true, fault: Some(fault) }));
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
        bench.answer(admitted()).answer(Answer::SessionStarted).answer(Answer::ChannelOpened);
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
        bench.answer(admitted()).answer(Answer::SessionFailed(network()));
        bench.wait();
    }
    bench.answer(admitted()).answer(Answer::SessionStarted).answer(Answer::ChannelOpened);
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
        bench.answer(admitted()).answer(Answer::SessionFailed(network()));
        if matches!(&bench.machine.state, State::Retrying { at, .. } if *at <= bench.now.mono + RETRY_CAP_WAITING)
        {
            bench.wait();
        }
    }
    bench.input(Input::Waiting(true));
    assert_eq!(bench.wait(), RETRY_CAP_WAITING);
    for _ in 0..30 {
        bench.answer(admitted()).answer(Answer::SessionFailed(network()));
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
fn a_person_who_types_a_code_has_time_and_the_agent_has_not() {
    let person = Answer::Admitted { within: TIMEOUT, patience: TIMEOUT * 12 };
    let mut bench = Bench::new();
    bench.command(Command::Run).answer(Answer::ListenerBound).answer(person.clone());
    assert_eq!(bench.wait(), TIMEOUT * 13);
    let mut bench = Bench::new();
    bench.command(Command::Run).answer(Answer::ListenerBound).answer(person);
    bench.answer(Answer::SessionStarted).answer(Answer::ChannelOpened);
    assert_eq!(bench.wait(), TIMEOUT);
    let fault = bench.machine.shown().fault().map(|fault| fault.kind.clone());
    assert_eq!(fault, Some(FaultKind::AgentUnresponsive));
}

#[test]
fn the_connect_timeout_names_who_did_not_answer() {
    let kind = |bench: &Bench| bench.machine.shown().fault().map(|fault| fault.kind.clone());
    let mut bench = Bench::new();
    bench.command(Command::Run).answer(Answer::ListenerBound);
    assert_eq!(bench.drain(), None, "it does not run while the call queues");
    bench.answer(admitted());
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
    assert_eq!(bench.effects, [Effect::EndSession { session: late, over: false, fault: None }]);
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
    assert!(bench.did(&Effect::EndSession { session: starting, over: false, fault: None }));
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
    assert!(bench.did(&Effect::EndSession { session, over: false, fault: None }));
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
    bench.command(Command::Run).answer(Answer::ListenerFailed(taken.clone()));
    assert_eq!(bench.machine.shown(), TunnelState::Blocked { fault: taken.clone() });
    for _ in 0..3 {
        bench.forget_effects();
        assert_eq!(bench.wait(), PORT_RECHECK);
        assert_eq!(bench.count(|effect| matches!(effect, Effect::BindListener(_))), 1);
        assert_eq!(bench.drain(), None, "one try at a time");
        bench.answer(Answer::ListenerFailed(taken.clone()));
        assert_eq!(states_shown(&bench), [], "that it looks is no news");
    }
    bench.forget_effects().wait();
    bench.answer(Answer::ListenerBound);
    assert_eq!(
        (bench.shown(), bench.count(|effect| matches!(effect, Effect::StartSession(_)))),
        ("Connecting", 1)
    );
}

#[test]
fn a_crash_counts_like_any_failure() {
    let bench = Bench::new();
    let mut machine = TunnelMachine::crashed(bench.now, [1; 32], 4, Fault::internal("it fell over"));
    assert!(matches!(machine.poll_output(), Output::Effect(Effect::Note(_))));
    assert!(matches!(machine.poll_output(), Output::Effect(Effect::Publish(TunnelState::Retrying { .. }))));
    assert_eq!(machine.backoff.failures(), 4);
}
