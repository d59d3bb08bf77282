//! Just before and just after; sleep; clocks that are set.

use super::*;

const INSTANT: Duration = Duration::from_millis(1);
const HOUR_MS: i64 = 3_600_000;

fn late() -> SignInPolicy {
    SignInPolicy { early_renewal: false, ..SignInPolicy::default() }
}

fn reads(bench: &Bench) -> usize {
    bench.count(|effect| matches!(effect, Effect::ReadShared(_)))
}

fn woke(slept: Duration, dark: bool) -> Input {
    Input::Incident(Incident::Woke { slept, dark })
}

/// What the machine was told of a sleep of nine hours, in which the monotonic clock stood still.
fn night(bench: &mut Bench, dark: bool) -> &mut Bench {
    bench.set_clock(9 * HOUR_MS).input(woke(HOUR * 9, dark))
}

#[test]
fn the_file_is_looked_at_every_60_s_and_as_the_setting_says() {
    let mut bench = Bench::new();
    let token = bench.token("a", 480);
    bench.holding(&token).forget_effects().pass(MINUTE - INSTANT);
    assert_eq!(reads(&bench), 0);
    bench.pass(INSTANT);
    assert_eq!(reads(&bench), 1);
    let often = SignInPolicy { check_interval: SECOND * 10, ..SignInPolicy::default() };
    bench.own_file().input(Input::Policy(often)).forget_effects().pass(SECOND * 10);
    assert_eq!(reads(&bench), 1, "the setting is live");
    println!("promise sso.check: nothing at 59.999 s, looked at at 60.000 s; the setting is live");
}

#[test]
fn a_renewal_begins_at_its_time() {
    let early = [
        (SignInPolicy::default(), 40, RenewalRule::EarlyTwentyMinutes),
        (late(), 55, RenewalRule::Threshold),
    ];
    for (policy, minute, rule) in early {
        let mut bench = Bench::with(policy);
        let token = bench.token("a", 60);
        bench.holding(&token);
        let at = bench.now.wall.plus(MINUTE * minute);
        assert_eq!(bench.renewal(), Renewal::At { at, rule });
        bench.pass(MINUTE * minute - INSTANT).own_file();
        assert_eq!((bench.label(), bench.refreshes()), ("Authenticated", 0), "{policy:?}");
        bench.pass(INSTANT).own_file().own_file();
        assert_eq!((bench.label(), bench.refreshes()), ("Expiring soon", 1), "{policy:?}");
    }
    println!("promise sso.renewal: not 1 ms before and at 40 min of 60 (early), at 55 min of 60 (late)");
}

#[test]
fn a_live_threshold_takes_effect_at_once() {
    let mut bench = Bench::with(late());
    let token = bench.token("a", 60);
    bench.holding(&token).pass(MINUTE * 35 + SECOND).own_file().forget_effects();
    bench.input(Input::Policy(SignInPolicy { refresh_threshold: MINUTE * 25, ..late() })).own_file();
    assert_eq!(bench.refreshes(), 1);
}

#[test]
fn a_token_ends_at_its_second() {
    let mut bench = Bench::with(SignInPolicy { auto_refresh: false, ..late() });
    let token = bench.token("a", 60);
    bench.holding(&token).pass(HOUR - INSTANT).own_file();
    assert!(matches!(bench.machine.usable(bench.now), Usable::Token(..)));
    assert_eq!(bench.label(), "Expiring soon");
    bench.pass(INSTANT).own_file();
    assert_eq!(bench.label(), "Expired");
    let shown =
        bench.count(|effect| matches!(effect, Effect::Publish(status) if status.state.label() == "Expired"));
    assert_eq!(shown, 1, "nobody has to ask");
    println!("promise sso.expiry: good 1 ms before its end, Expired at it, shown once");
}

#[test]
fn who_must_sign_in_is_told_a_quarter_of_an_hour_before() {
    let mut bench = Bench::new();
    let token = plain(&bench.token("a", 480));
    bench.holding(&token).pass(MINUTE * 465 - INSTANT).own_file();
    assert_eq!((bench.label(), bench.notices()), ("Authenticated", 0));
    bench.pass(INSTANT).own_file();
    assert_eq!((bench.label(), bench.notices()), ("Expiring soon", 1));
    assert_eq!(bench.renewal(), Renewal::Impossible(CannotRenew::NoRefreshToken));
    bench.pass(HOUR).own_file();
    assert_eq!((bench.label(), bench.notices(), bench.refreshes()), ("Expired", 1, 0));
    assert!(matches!(bench.machine.usable(bench.now), Usable::No(_)));
}

#[test]
fn a_registration_that_expires_makes_a_token_one_that_cannot_be_renewed() {
    let mut bench = Bench::new();
    let mut token = bench.token("a", 60);
    let client = OidcClient {
        id: "old".to_owned(),
        secret: "secret".into(),
        expires_at: bench.now.wall.plus(MINUTE * 30),
    };
    let grant = RefreshGrant { token: "refresh".into(), client: Arc::new(client) };
    Arc::get_mut(&mut token).unwrap().refresh = Some(grant);
    bench.holding(&token);
    assert!(matches!(bench.renewal(), Renewal::At { .. }));
    bench.pass(MINUTE * 50).own_file();
    assert_eq!(bench.renewal(), Renewal::Impossible(CannotRenew::RegistrationExpired));
    assert_eq!((bench.refreshes(), bench.notices()), (0, 1));
}

#[test]
fn after_a_night_the_token_is_renewed_at_once() {
    let mut bench = Bench::new();
    let token = bench.token("a", 60);
    bench.holding(&token);
    night(&mut bench, false).own_file().own_file();
    assert_eq!((bench.label(), bench.refreshes(), bench.notices()), ("Expired", 1, 0));
    bench.answer(Answer::Refreshed(issued("new"))).own_file();
    assert_eq!(bench.label(), "Authenticated");
    println!("promise sso.night: after 9 h of sleep 1 renewal, 0 notices, Authenticated");
}

#[test]
fn a_night_that_nobody_reports_is_noticed_at_the_next_check() {
    let mut bench = Bench::new();
    let token = bench.token("a", 60);
    bench.holding(&token).set_clock(9 * HOUR_MS).pass(MINUTE).own_file().own_file();
    assert_eq!(bench.refreshes(), 1);
}

#[test]
fn after_a_night_that_ended_the_session_one_notice_and_no_browser() {
    let mut bench = Bench::new();
    let token = bench.token("a", 60);
    bench.holding(&token);
    night(&mut bench, false).own_file().own_file();
    bench.answer(Answer::RefreshFailed(RefreshFailure::GrantGone)).own_file();
    assert_eq!(bench.state(), SignInState::NeedsLogin { reason: LoginReason::SessionEnded });
    bench.pass(HOUR);
    assert_eq!((bench.notices(), bench.browsers()), (1, 0));
}

#[test]
fn a_dark_waking_renews_nothing_and_opens_nothing() {
    let mut bench = Bench::new();
    let token = bench.token("a", 60);
    bench.holding(&token);
    night(&mut bench, true)
        .own_file()
        .input(Input::Needed)
        .command(order(TUNNEL))
        .pass(MINUTE * 5)
        .own_file();
    assert_eq!((bench.refreshes(), bench.browsers(), bench.notices()), (0, 0, 0));
    assert_eq!(bench.renewal(), Renewal::WhenAwake);
    assert_eq!(bench.login_ended(), Some(Err(LoginFailure::NobodyThere)));
    assert!(matches!(bench.machine.usable(bench.now), Usable::No(fault) if fault.kind == FaultKind::Network));
    bench.input(woke(Duration::ZERO, false)).own_file().own_file();
    assert_eq!(bench.refreshes(), 1);
}

#[test]
fn a_person_ends_a_dark_waking() {
    let mut bench = Bench::new();
    let token = bench.token("a", 60);
    bench.holding(&token);
    night(&mut bench, true).own_file().command(Command::Refresh).own_file();
    assert_eq!(bench.refreshes(), 1);
}

#[test]
fn a_clock_set_back_does_not_make_a_token_live_longer() {
    let mut bench = Bench::new();
    let token = bench.token("a", 60);
    bench.holding(&token).pass(MINUTE * 10).own_file().set_clock(-HOUR_MS);
    bench.input(Input::Incident(Incident::ClockJumped { by_ms: -HOUR_MS })).own_file();
    let at = bench.now.wall.plus(MINUTE * 30);
    assert_eq!(bench.renewal(), Renewal::At { at, rule: RenewalRule::EarlyTwentyMinutes });
    bench.pass(MINUTE * 30 - INSTANT).own_file();
    assert_eq!(bench.refreshes(), 0);
    bench.pass(INSTANT).own_file().own_file();
    assert_eq!(bench.refreshes(), 1, "half an hour of real time before its end");
    println!("promise sso.clock: set back 1 h after 10 min: renewed at 40 min of real time, not 1 ms before");
}

#[test]
fn a_clock_set_forward_renews_early_and_loses_nothing() {
    let mut bench = Bench::new();
    let token = bench.token("a", 60);
    bench.holding(&token).set_clock(HOUR_MS);
    bench.input(Input::Incident(Incident::ClockJumped { by_ms: HOUR_MS })).own_file().own_file();
    assert_eq!((bench.label(), bench.refreshes()), ("Expired", 1));
    bench.answer(Answer::Refreshed(issued("new"))).own_file();
    assert_eq!((bench.label(), bench.notices()), ("Authenticated", 0));
}

#[test]
fn a_clock_set_to_and_fro_takes_nothing_from_a_token_that_cannot_be_renewed() {
    let mut bench = Bench::new();
    let token = plain(&bench.token("a", 480));
    bench.holding(&token).set_clock(24 * HOUR_MS);
    bench.input(Input::Incident(Incident::ClockJumped { by_ms: 24 * HOUR_MS })).own_file();
    assert_eq!(bench.label(), "Expired");
    bench.set_clock(-24 * HOUR_MS);
    bench.input(Input::Incident(Incident::ClockJumped { by_ms: -24 * HOUR_MS })).own_file();
    assert_eq!(bench.label(), "Authenticated");
}

#[test]
fn watchers_are_not_told_of_roundings() {
    let mut bench = Bench::new();
    let token = bench.token("a", 480);
    bench.holding(&token).set_clock(-90 * 60_000);
    bench.input(Input::Incident(Incident::ClockJumped { by_ms: -90 * 60_000 })).own_file().forget_effects();
    for step in 0..100 {
        bench.set_clock(if step % 2 == 0 { 700 } else { -700 }).pass(MINUTE).own_file();
    }
    assert_eq!(bench.count(|effect| matches!(effect, Effect::Publish(_))), 0);
}
