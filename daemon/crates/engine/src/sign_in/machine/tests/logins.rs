//! Who may open a browser, and how often.

use stormtunnel_model::SignInActivity;

use super::*;

fn signed_out() -> Bench {
    let mut bench = Bench::new();
    bench.answer(Answer::Loaded(None)).file(&SharedFile::Missing).forget_effects();
    bench
}

fn logged_in(name: &str) -> Answer {
    Answer::LoggedIn(issued(name), client())
}

fn other_flow() -> Command {
    let plan = LoginPlan { flow: LoginFlow::DeviceCode, opener: Opener::Nobody, reason: "you asked for it" };
    Command::Login(LoginOrder { by: PERSON, plan })
}

#[test]
fn one_browser_for_all_who_ask() {
    let mut bench = signed_out();
    for _ in 0..100 {
        bench.command(order(TUNNEL));
    }
    bench.file(&SharedFile::Missing).command(order(PERSON));
    assert_eq!(bench.browsers(), 1);
    bench.login_answer(logged_in("new"));
    assert_eq!((bench.label(), bench.stores(), bench.writes()), ("Authenticated", 1, 1));
    assert_eq!(bench.login_ended(), None, "it is not kept yet");
    bench.command(order(PERSON));
    assert_eq!(bench.browsers(), 1, "who asks meanwhile waits for the same");
    bench.kept();
    assert_eq!(bench.login_ended(), Some(Ok(())));
    bench.command(order(TUNNEL));
    assert_eq!(bench.browsers(), 1, "who comes late finds it done");
}

#[test]
fn a_tunnel_takes_the_login_of_another_tool_first() {
    let mut bench = signed_out();
    let theirs = bench.token("theirs", 60);
    bench.command(order(TUNNEL)).file(&SharedFile::Token(theirs)).kept();
    assert_eq!((bench.browsers(), bench.login_ended()), (0, Some(Ok(()))));
}

#[test]
fn a_tunnel_has_the_expired_login_of_another_tool_renewed_first() {
    let mut bench = signed_out();
    let theirs = token("theirs", bench.now.wall);
    bench.command(order(TUNNEL)).file(&SharedFile::Token(theirs)).pass(Duration::ZERO).own_file();
    assert_eq!((bench.browsers(), bench.refreshes()), (0, 1));
    let mut over = signed_out();
    let plain = plain(&token("plain", over.now.wall));
    over.command(order(TUNNEL)).file(&SharedFile::Token(plain));
    assert_eq!((over.browsers(), over.refreshes()), (1, 0));
}

#[test]
fn a_tunnel_has_an_expired_token_renewed_first() {
    let expired = || {
        let mut bench = Bench::with(SignInPolicy { auto_refresh: false, ..SignInPolicy::default() });
        let token = bench.token("a", 60);
        bench.holding(&token).pass(HOUR).own_file().command(order(TUNNEL)).own_file();
        bench
    };
    let mut renewed = expired();
    renewed.answer(Answer::Refreshed(issued("new"))).own_file().kept();
    assert_eq!((renewed.browsers(), renewed.login_ended()), (0, Some(Ok(()))));
    let mut over = expired();
    over.answer(Answer::RefreshFailed(RefreshFailure::GrantGone)).own_file().own_file();
    assert_eq!((over.browsers(), over.refreshes()), (1, 1));
    let mut offline = expired();
    offline.answer(Answer::RefreshFailed(RefreshFailure::Unreachable(network())));
    assert_eq!(offline.login_ended(), Some(Err(LoginFailure::Unreachable(network()))));
    assert_eq!(offline.browsers(), 0);
}

#[test]
fn a_person_replaces_a_good_token() {
    let mut bench = Bench::new();
    let token = bench.token("a", 60);
    bench.holding(&token).forget_effects().command(order(PERSON));
    assert_eq!((bench.browsers(), bench.label()), (1, "Authenticated"));
    let newer = bench.token("renewed by another tool", 61);
    bench.input(Input::SharedChanged).file(&SharedFile::Token(newer));
    assert!(bench.machine.login.is_some(), "that is not what the person wanted");
    bench.login_answer(logged_in("new"));
    assert_eq!(bench.access().as_deref(), Some("new"));
}

#[test]
fn a_login_in_another_tool_ends_ours() {
    let mut bench = signed_out();
    bench.command(order(PERSON));
    let theirs = bench.token("theirs", 60);
    bench.input(Input::SharedChanged).file(&SharedFile::Token(theirs)).kept();
    assert_eq!(bench.count(|effect| matches!(effect, Effect::EndLogin(_))), 1);
    assert_eq!(bench.login_ended(), Some(Ok(())));
}

#[test]
fn nobody_there_means_no_browser_and_one_notice() {
    let mut bench = signed_out();
    for _ in 0..100 {
        bench.command(order(LoginBy::Tunnel { attended: false })).file(&SharedFile::Missing);
    }
    assert_eq!((bench.browsers(), bench.notices()), (0, 1));
    assert_eq!(bench.login_ended(), Some(Err(LoginFailure::NobodyThere)));
}

#[test]
fn one_who_is_there_is_enough() {
    for attended in [[true, false], [false, true]] {
        let mut bench = signed_out();
        for attended in attended {
            bench.command(order(LoginBy::Tunnel { attended }));
        }
        bench.file(&SharedFile::Missing);
        assert_eq!(bench.browsers(), 1, "{attended:?}");
    }
}

#[test]
fn a_wish_can_be_cancelled() {
    let mut bench = signed_out();
    bench.command(order(TUNNEL)).command(Command::CancelLogin).file(&SharedFile::Missing);
    assert_eq!((bench.browsers(), bench.login_ended()), (0, Some(Err(LoginFailure::Cancelled))));
}

#[test]
fn a_person_may_change_the_way() {
    let mut bench = signed_out();
    bench.command(order(PERSON));
    let first = bench.machine.login.as_ref().unwrap().attempt;
    bench.command(other_flow());
    assert_eq!(bench.browsers(), 2);
    assert_eq!(bench.count(|effect| matches!(effect, Effect::EndLogin(ended) if *ended == first)), 1);
    bench.input(Input::Answer(first, logged_in("late")));
    assert_eq!(bench.access(), None, "the first one is over");
    assert_eq!(bench.login_ended(), None, "whoever waits for it waits for the other one");
    bench.login_answer(logged_in("new")).kept();
    assert_eq!(bench.login_ended(), Some(Ok(())));
}

#[test]
fn another_reason_is_no_other_way() {
    let mut bench = signed_out();
    bench.command(order(PERSON));
    let Command::Login(mut same) = order(PERSON) else { panic!("a login") };
    same.plan.reason = "you asked for it";
    bench.command(Command::Login(same));
    assert_eq!(bench.browsers(), 1);
}

#[test]
fn a_page_that_opened_is_shown_as_opened() {
    let mut bench = signed_out();
    bench.command(order(PERSON));
    let progress = |page| LoginProgress::Waiting { url: "https://x".to_owned(), user_code: None, page };
    let shown = |bench: &Bench| bench.machine.status(bench.now).activity;
    bench.login_answer(Answer::LoginProgress(progress(LoginPage::Opening)));
    bench.login_answer(Answer::Page(LoginPage::Opened));
    assert_eq!(shown(&bench), Some(SignInActivity::LoggingIn(progress(LoginPage::Opened))));
    bench
        .login_answer(Answer::LoginProgress(LoginProgress::Finishing))
        .login_answer(Answer::Page(LoginPage::Opened));
    assert_eq!(shown(&bench), Some(SignInActivity::LoggingIn(LoginProgress::Finishing)), "that was late");
}

#[test]
fn a_page_that_leads_nowhere_costs_the_client_that_is_known() {
    let forgotten = |bench: &Bench| bench.count(|effect| matches!(effect, Effect::ForgetClients));
    let anew = |effect: &Effect| matches!(effect, Effect::BeginLogin { register: true, .. });
    let mut bench = signed_out();
    bench.command(order(PERSON)).pass(LOGIN_LIMIT);
    assert_eq!((bench.login_ended(), forgotten(&bench)), (Some(Err(LoginFailure::TimedOut)), 1));
    bench.command(order(PERSON));
    assert_eq!(bench.count(anew), 1);
    bench.pass(LOGIN_LIMIT);
    assert_eq!(forgotten(&bench), 1, "that one was new");
    let mut bench = signed_out();
    bench.command(other_flow()).pass(LOGIN_LIMIT);
    assert_eq!(forgotten(&bench), 0, "a device login tells of it at once");
}

#[test]
fn a_login_is_shown_cancelled_and_limited() {
    let mut bench = signed_out();
    bench.command(order(PERSON));
    let progress =
        LoginProgress::Waiting { url: "https://x".to_owned(), user_code: None, page: LoginPage::Opened };
    bench.login_answer(Answer::LoginProgress(progress.clone()));
    let shown = SignInActivity::LoggingIn(progress);
    assert_eq!(bench.machine.status(bench.now).activity, Some(shown));
    bench.command(Command::CancelLogin);
    assert_eq!(bench.login_ended(), Some(Err(LoginFailure::Cancelled)));
    bench.command(order(PERSON)).pass(LOGIN_LIMIT - SECOND);
    assert!(bench.machine.login.is_some());
    bench.pass(SECOND);
    assert_eq!(bench.login_ended(), Some(Err(LoginFailure::TimedOut)));
    assert_eq!(bench.count(|effect| matches!(effect, Effect::EndLogin(_))), 2);
}

#[test]
fn a_client_that_aws_forgot_is_registered_again_once() {
    let mut bench = signed_out();
    bench.command(order(PERSON)).login_answer(Answer::LoginFailed(LoginFailure::ClientGone));
    assert_eq!(bench.browsers(), 2);
    assert_eq!(bench.count(|effect| matches!(effect, Effect::ForgetClients)), 1);
    assert_eq!(bench.count(|effect| matches!(effect, Effect::BeginLogin { register: true, .. })), 1);
    bench.login_answer(Answer::LoginFailed(LoginFailure::ClientGone));
    assert_eq!((bench.browsers(), bench.login_ended()), (2, Some(Err(LoginFailure::ClientGone))));
}

#[test]
fn logins_that_do_not_last_end_after_three() {
    let mut bench = signed_out();
    let start = bench.now.wall;
    for _ in 0..LOGINS_THAT_FAIL {
        bench.command(order(PERSON)).login_answer(logged_in("new")).kept();
        let generation = bench.generation();
        bench.input(Input::Rejected(generation)).own_file().own_file();
        bench.answer(Answer::RefreshFailed(RefreshFailure::GrantGone)).own_file();
        assert_eq!(bench.label(), "Needs login");
        bench.pass(MINUTE);
    }
    bench.file(&SharedFile::Missing).forget_effects();
    bench.command(order(PERSON)).command(order(TUNNEL)).file(&SharedFile::Missing);
    let Some(Err(LoginFailure::DoesNotLast { until })) = bench.login_ended() else {
        panic!("a fourth one: {:?}", bench.login_ended());
    };
    assert!(until.since(start) <= LASTS + SECOND * 10, "{until:?}");
    assert_eq!(bench.count(|effect| matches!(effect, Effect::Notify(Notice::LoginsDoNotLast))), 1);
    assert_eq!(bench.browsers(), 0);
    bench.pass(LASTS).command(order(PERSON));
    assert_eq!(bench.browsers(), 1);
}

#[test]
fn logins_that_last_are_not_counted() {
    let mut bench = signed_out();
    for _ in 0..5 {
        bench.command(order(PERSON)).login_answer(logged_in("new")).kept();
    }
    assert_eq!(bench.browsers(), 5);
    for _ in 0..5 {
        bench.pass(LASTS).own_file();
        let generation = bench.generation();
        bench.input(Input::Rejected(generation)).own_file().own_file();
        bench.answer(Answer::RefreshFailed(RefreshFailure::GrantGone)).own_file();
        bench.command(order(PERSON)).login_answer(logged_in("new")).kept();
    }
    assert_eq!(bench.browsers(), 10);
}

#[test]
fn a_token_that_is_over_when_it_comes_counts_as_well() {
    let mut bench = signed_out();
    bench.command(order(PERSON));
    let over = IssuedToken { expires_in: Duration::ZERO, ..issued("over") };
    bench.login_answer(Answer::LoggedIn(over, client()));
    assert_eq!(bench.state(), SignInState::NeedsLogin { reason: LoginReason::TokenRejected });
}

#[test]
fn a_login_counts_even_while_the_key_store_is_locked() {
    let mut bench = Bench::new();
    bench.answer(Answer::LoadFailed(Fault::internal("locked"))).file(&SharedFile::Missing);
    bench.command(order(PERSON)).login_answer(logged_in("new")).kept();
    bench.pass(MINUTE).own_file();
    assert_eq!((bench.label(), bench.access().as_deref()), ("Authenticated", Some("new")));
    assert_eq!(bench.count(|effect| matches!(effect, Effect::Load(_))), 1, "what was stored before is over");
}
