//! Every state meets every input.

use super::*;

const STATES: [&str; 16] = [
    "loading",
    "first look",
    "good",
    "checking",
    "missing once",
    "look before renewal",
    "renewing",
    "look after renewal",
    "retrying",
    "rival",
    "lost",
    "expired",
    "rejected",
    "needs login",
    "logging in",
    "dark",
];

/// A machine in that state, with its effects so far forgotten.
fn in_state(state: &str) -> Bench {
    let manual = SignInPolicy { auto_refresh: false, ..SignInPolicy::default() };
    let mut bench = if state == "expired" { Bench::with(manual) } else { Bench::new() };
    let token = bench.token("a", 60);
    let loaded = || loaded(&token, true);
    let due = MINUTE * 40;
    match state {
        "loading" => &mut bench,
        "first look" => bench.answer(loaded()),
        "good" => bench.holding(&token),
        "checking" => bench.holding(&token).input(Input::SharedChanged),
        "missing once" => {
            bench.holding(&token).input(Input::SharedChanged).answer(Answer::Shared(SharedFile::Missing))
        }
        "look before renewal" => bench.holding(&token).pass(due),
        "renewing" => bench.holding(&token).pass(due).own_file(),
        "look after renewal" => {
            bench.holding(&token).pass(due).own_file().answer(Answer::Refreshed(issued("b")))
        }
        "retrying" => {
            let failure = RefreshFailure::Refused(network());
            bench.holding(&token).pass(due).own_file().answer(Answer::RefreshFailed(failure))
        }
        "rival" => {
            let failure = Answer::RefreshFailed(RefreshFailure::GrantGone);
            bench.holding(&token).pass(due).own_file().answer(failure)
        }
        "lost" => {
            let failure = Answer::RefreshFailed(RefreshFailure::GrantGone);
            bench.holding(&token).pass(due).own_file().answer(failure).own_file()
        }
        "expired" => bench.holding(&token).pass(HOUR).own_file(),
        "rejected" => {
            bench.holding(&token);
            let generation = bench.generation();
            bench.input(Input::Rejected(generation))
        }
        "needs login" => bench.answer(Answer::Loaded(None)).file(&SharedFile::Missing),
        "logging in" => bench.answer(Answer::Loaded(None)).file(&SharedFile::Missing).command(order(PERSON)),
        "dark" => {
            let dark = Incident::Woke { slept: SECOND, dark: true };
            bench.holding(&token).input(Input::Incident(dark)).own_file().pass(due).own_file()
        }
        _ => unreachable!("{state}"),
    };
    bench.forget_effects();
    bench
}

fn inputs(bench: &Bench) -> Vec<(&'static str, Input)> {
    let work = match bench.machine.work {
        Work::Loading(attempt) | Work::Reading(attempt, _) | Work::Renewing(attempt) => attempt,
        Work::Nothing | Work::Waiting(..) => Attempt(0),
    };
    let login = bench.machine.login.as_ref().map_or(Attempt(0), |login| login.attempt);
    let answer = |answer| Input::Answer(work, answer);
    let of_login = |answer| Input::Answer(login, answer);
    let incident = Input::Incident;
    let shared = |token| Input::Answer(work, Answer::Shared(SharedFile::Token(token)));
    let held = bench.machine.held.as_ref().map(|held| Arc::clone(&held.token));
    let same = held.unwrap_or_else(|| token("a", bench.now.wall.plus(HOUR)));
    let loaded = loaded(&same, true);
    let failed = |failure| Answer::RefreshFailed(failure);
    let off = SignInPolicy { sharing: Sharing::Off, ..bench.machine.policy };
    let gone = || LoginFailure::ClientGone;
    vec![
        ("Login", Input::Command(order(PERSON))),
        ("Login for a tunnel", Input::Command(order(TUNNEL))),
        ("CancelLogin", Input::Command(Command::CancelLogin)),
        ("Refresh", Input::Command(Command::Refresh)),
        ("Logout", Input::Command(Command::Logout)),
        ("Loaded nothing", answer(Answer::Loaded(None))),
        ("Loaded", answer(loaded)),
        ("LoadFailed", answer(Answer::LoadFailed(network()))),
        ("Shared same", shared(same)),
        ("Shared newer", shared(bench.token("newer", 90))),
        ("Shared expired", shared(token("expired", bench.now.wall))),
        ("Shared missing", answer(Answer::Shared(SharedFile::Missing))),
        ("Shared torn", answer(Answer::Shared(SharedFile::Torn))),
        ("Shared failed", answer(Answer::Shared(SharedFile::Failed(network())))),
        ("Refreshed", answer(Answer::Refreshed(issued("new")))),
        ("RefreshFailed, gone", answer(failed(RefreshFailure::GrantGone))),
        ("RefreshFailed, client gone", answer(failed(RefreshFailure::ClientGone))),
        ("RefreshFailed, network", answer(failed(RefreshFailure::Unreachable(network())))),
        ("RefreshFailed, throttled", answer(failed(RefreshFailure::Throttled(network())))),
        ("RefreshFailed, refused", answer(failed(RefreshFailure::Refused(network())))),
        ("Stored", answer(Answer::Stored(Ok(())))),
        ("Written", answer(Answer::Written(Ok(())))),
        ("Wiped", answer(Answer::Wiped(Ok(())))),
        ("Deleted", answer(Answer::Deleted(Ok(())))),
        ("Page", of_login(Answer::Page(LoginPage::Opened))),
        ("LoginProgress", of_login(Answer::LoginProgress(LoginProgress::Finishing))),
        ("LoggedIn", of_login(Answer::LoggedIn(issued("login"), client()))),
        ("LoginFailed", of_login(Answer::LoginFailed(LoginFailure::Declined))),
        ("LoginFailed, client gone", of_login(Answer::LoginFailed(gone()))),
        ("SharedChanged", Input::SharedChanged),
        ("Rejected", Input::Rejected(bench.generation())),
        ("Needed", Input::Needed),
        ("Policy, not shared", Input::Policy(off)),
        ("Woke", incident(Incident::Woke { slept: SECOND, dark: false })),
        ("Woke, dark", incident(Incident::Woke { slept: SECOND, dark: true })),
        ("NetworkChanged", incident(Incident::NetworkChanged)),
        ("ClockJumped", incident(Incident::ClockJumped { by_ms: 5 })),
    ]
}

/// Where that input leads; `None` where it changes nothing that is shown.
fn expected(state: &str, input: &str) -> Option<&'static str> {
    let looks = ["checking", "look before renewal", "look after renewal", "rival", "rejected"];
    let soon = ["look before renewal", "renewing", "retrying", "rival", "lost", "dark"];
    let good = ["good", "checking", "missing once", "look after renewal"];
    match input {
        "Logout" => Some("Needs login"),
        "Shared same" | "Shared expired" | "Shared failed" if state == "first look" => Some("Authenticated"),
        "Shared newer" if looks.contains(&state) || state == "first look" => Some("Authenticated"),
        // What somebody made of our login goes on as ours, and is renewed.
        "Shared expired" if state == "rival" => Some("Expired"),
        "Refreshed" if state == "renewing" => Some("Authenticated"),
        "LoggedIn" if state == "logging in" => Some("Authenticated"),
        "Rejected" if state == "lost" => Some("Needs login"),
        "Rejected" if good.contains(&state) || soon.contains(&state) => Some("Expired"),
        // Nobody to be faster than: 20 minutes are a while.
        "Policy, not shared" if soon.contains(&state) && !["rival", "lost"].contains(&state) => {
            Some("Authenticated")
        }
        "Policy, not shared" if state == "first look" => Some("Authenticated"),
        _ => None,
    }
}

#[test]
fn every_state_meets_every_input() {
    for state in STATES {
        for index in 0..inputs(&in_state(state)).len() {
            let mut bench = in_state(state);
            let before = bench.label();
            let (name, input) = inputs(&bench).swap_remove(index);
            bench.input(input);
            let expected = expected(state, name).unwrap_or(before);
            assert_eq!(bench.label(), expected, "{state} on {name}, {:?}", bench.effects);
            check_invariants(&mut bench, &format!("{state} on {name}"));
        }
    }
}

#[test]
fn late_answers_change_nothing() {
    for state in STATES {
        for index in 0..inputs(&in_state(state)).len() {
            let mut bench = in_state(state);
            let Input::Answer(_, answer) = inputs(&bench).swap_remove(index).1 else { continue };
            let before = format!("{:?}", bench.machine);
            let case = format!("{state} on a late {answer:?}");
            bench.input(Input::Answer(Attempt(777), answer));
            assert_eq!(format!("{:?}", bench.machine), before, "{case}");
            assert!(bench.effects.is_empty(), "{case}: {:?}", bench.effects);
        }
    }
}

#[test]
fn a_login_helps_in_every_state_after_every_input() {
    for state in STATES {
        for index in 0..inputs(&in_state(state)).len() {
            let mut bench = in_state(state);
            let (name, input) = inputs(&bench).swap_remove(index);
            bench.input(input).kept().command(order(PERSON));
            bench.login_answer(Answer::LoggedIn(issued("x"), client()));
            assert_eq!(bench.label(), "Authenticated", "{state}, then {name}, then a login");
            assert!(bench.stores() >= 1, "{state}, then {name}, then a login");
        }
    }
}

#[test]
fn a_logout_is_one_in_every_state_after_every_input() {
    for state in STATES {
        for index in 0..inputs(&in_state(state)).len() {
            let mut bench = in_state(state);
            let (name, input) = inputs(&bench).swap_remove(index);
            bench.input(input).command(Command::Logout).forget_effects().pass(HOUR);
            let case = format!("{state}, then {name}, then Logout");
            assert_eq!(bench.label(), "Needs login", "{case}");
            let quiet =
                (bench.refreshes(), bench.browsers(), bench.stores(), bench.writes(), bench.notices());
            assert_eq!(quiet, (0, 0, 0, 0, 0), "{case}");
        }
    }
}

/// What holds in every state.
fn check_invariants(bench: &mut Bench, case: &str) {
    let due = bench.drain();
    assert!(bench.refreshes() <= 1, "{case}: a refresh token may be good for one");
    assert!(bench.browsers() <= 1 && bench.notices() <= 1, "{case}");
    let machine = &bench.machine;
    let answered = matches!(machine.work, Work::Loading(_) | Work::Reading(..) | Work::Renewing(_));
    assert!(answered || due.is_some(), "{case}: nothing would ever happen");
    let renews = matches!(machine.work, Work::Renewing(_));
    assert!(!renews || machine.held.is_some(), "{case}: what is renewed?");
    if bench.label() == "Needs login" {
        assert!(matches!(machine.usable(bench.now), Usable::No(_) | Usable::Wait), "{case}");
    }
    let status = machine.status(bench.now);
    assert_eq!(machine.published.as_ref(), Some(&status), "{case}: it is shown as it is");
}
