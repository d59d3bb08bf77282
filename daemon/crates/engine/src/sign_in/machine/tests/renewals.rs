//! Renewals that fail, are wanted, or are not accepted.

use super::*;

#[test]
fn the_network_never_costs_the_login() {
    let mut bench = Bench::new();
    let ours = bench.token("ours", 60);
    bench.holding(&ours).pass(MINUTE * 40);
    let mut tries = 0;
    let start = bench.now.mono;
    while bench.now.mono < start + HOUR * 3 {
        bench.own_file();
        if matches!(bench.machine.work, Work::Renewing(_)) {
            tries += 1;
            bench.answer(Answer::RefreshFailed(RefreshFailure::Unreachable(network())));
        }
        bench.pass(SECOND);
    }
    assert!((360..6_000).contains(&tries), "{tries} tries in three hours");
    assert_eq!((bench.label(), bench.notices()), ("Expired", 0));
    assert!(matches!(bench.machine.usable(bench.now), Usable::No(fault) if fault == network()));
    let again = Input::Incident(Incident::NetworkChanged);
    bench.input(again).own_file().pass(RETURN_WITHIN).own_file();
    bench.answer(Answer::Refreshed(issued("new")));
    assert_eq!(bench.label(), "Authenticated");
}

#[test]
fn slow_down_is_heeded() {
    let mut bench = Bench::new();
    let ours = bench.token("ours", 60);
    bench.holding(&ours).pass(MINUTE * 40).own_file();
    let fault = Fault::new(FaultKind::Throttled, "slow down");
    bench.answer(Answer::RefreshFailed(RefreshFailure::Throttled(fault))).forget_effects();
    bench.pass(THROTTLED_FLOOR);
    assert_eq!(bench.refreshes(), 0);
    assert!(matches!(bench.renewal(), Renewal::At { rule: RenewalRule::Retry, .. }));
    bench.pass(THROTTLED_CAP).own_file();
    assert_eq!(bench.refreshes(), 1);
}

#[test]
fn what_a_person_must_mend_is_tried_again_and_a_login_is_no_remedy() {
    let mut bench = Bench::new();
    let ours = bench.token("ours", 60);
    bench.holding(&ours).pass(MINUTE * 40).own_file();
    let kind = FaultKind::InvalidArgument { field: "sso_region".to_owned() };
    let fault = Fault::new(kind, "KMS_DisabledException");
    let refused = || RefreshFailure::Refused(fault.clone());
    bench.answer(Answer::RefreshFailed(refused()));
    assert_eq!((bench.label(), bench.notices()), ("Expiring soon", 0));
    for _ in 0..6 {
        bench.pass(REFUSED_RETRY).own_file().answer(Answer::RefreshFailed(refused()));
    }
    assert_eq!((bench.label(), bench.refreshes(), bench.notices()), ("Expired", 7, 0));
    assert!(matches!(bench.renewal(), Renewal::At { rule: RenewalRule::Retry, .. }));
    assert!(matches!(bench.machine.usable(bench.now), Usable::No(told) if told == fault));
    bench.command(order(TUNNEL));
    assert_eq!((bench.login_ended(), bench.browsers()), (Some(Err(LoginFailure::Refused(fault))), 0));
    bench.pass(REFUSED_RETRY).own_file().answer(Answer::Refreshed(issued("mended"))).own_file();
    assert_eq!(bench.label(), "Authenticated");
}

#[test]
fn a_client_that_is_gone_costs_the_login_and_its_registration() {
    let mut bench = Bench::new();
    let ours = bench.token("ours", 60);
    bench.holding(&ours).pass(MINUTE * 40).own_file();
    bench.answer(Answer::RefreshFailed(RefreshFailure::ClientGone)).own_file();
    assert_eq!(bench.count(|effect| matches!(effect, Effect::ForgetClients)), 1);
    assert_eq!((bench.renewal(), bench.notices()), (Renewal::Impossible(CannotRenew::Refused), 1));
}

#[test]
fn a_rejected_token_is_renewed_once_whoever_reports_it() {
    let mut bench = Bench::new();
    let ours = bench.token("ours", 60);
    bench.holding(&ours).forget_effects();
    let generation = bench.generation();
    for _ in 0..20 {
        bench.input(Input::Rejected(generation));
        assert!(matches!(bench.machine.usable(bench.now), Usable::Wait));
    }
    bench.own_file().own_file().own_file();
    bench.answer(Answer::Refreshed(issued("new"))).own_file();
    assert_eq!((bench.refreshes(), bench.label()), (1, "Authenticated"));
    bench.input(Input::Rejected(generation)).own_file();
    assert_eq!((bench.refreshes(), bench.access().as_deref()), (1, Some("new")), "an old report");
}

#[test]
fn a_token_that_is_rejected_again_needs_a_login() {
    let mut bench = Bench::new();
    let ours = bench.token("ours", 60);
    bench.holding(&ours);
    let generation = bench.generation();
    bench.input(Input::Rejected(generation)).own_file().own_file();
    bench.answer(Answer::Refreshed(issued("new"))).own_file().forget_effects();
    let generation = bench.generation();
    bench.input(Input::Rejected(generation)).own_file();
    assert_eq!(bench.state(), SignInState::NeedsLogin { reason: LoginReason::TokenRejected });
    assert_eq!((bench.refreshes(), bench.notices(), bench.browsers()), (0, 1, 0));
}

#[test]
fn a_rejected_token_that_cannot_be_renewed_needs_a_login_unless_somebody_signed_in() {
    let mut bench = Bench::new();
    let ours = plain(&bench.token("ours", 480));
    bench.holding(&ours);
    let generation = bench.generation();
    bench.input(Input::Rejected(generation)).own_file().own_file();
    assert_eq!(bench.state(), SignInState::NeedsLogin { reason: LoginReason::TokenRejected });
    let mut bench = Bench::new();
    bench.holding(&ours);
    let (generation, theirs) = (bench.generation(), bench.token("theirs", 60));
    bench.input(Input::Rejected(generation)).file(&SharedFile::Token(theirs));
    assert_eq!((bench.access().as_deref(), bench.notices()), (Some("theirs"), 0));
}

#[test]
fn without_auto_refresh_only_need_renews() {
    let mut bench = Bench::with(SignInPolicy { auto_refresh: false, ..SignInPolicy::default() });
    let ours = bench.token("ours", 60);
    bench.holding(&ours);
    assert_eq!(bench.renewal(), Renewal::OnDemand);
    bench.pass(HOUR * 2).own_file();
    assert_eq!((bench.label(), bench.refreshes(), bench.notices()), ("Expired", 0, 0));
    bench.input(Input::Needed);
    assert!(matches!(bench.machine.usable(bench.now), Usable::Wait));
    bench.own_file();
    assert_eq!(bench.refreshes(), 1);
    let live = SignInPolicy { auto_refresh: true, ..bench.machine.policy };
    bench.answer(Answer::Refreshed(issued("new"))).own_file().input(Input::Policy(live));
    assert!(matches!(bench.renewal(), Renewal::At { .. }), "settings are live");
}

#[test]
fn success_is_told_once_it_is_kept() {
    let told = |bench: &Bench| bench.count(|effect| matches!(effect, Effect::RenewalEnded(Ok(()))));
    let mut bench = Bench::new();
    let ours = bench.token("ours", 60);
    bench.holding(&ours).forget_effects().command(Command::Refresh).own_file();
    bench.answer(Answer::Refreshed(issued("new")));
    bench.kept();
    assert_eq!(told(&bench), 0, "the shared file is not looked at");
    bench.file(&SharedFile::Token(ours));
    assert_eq!((bench.writes(), told(&bench)), (1, 0));
    bench.not_kept(Fault::internal("the disk is full"));
    assert_eq!(told(&bench), 1, "it is renewed all the same");
    let mut bench = Bench::with(SignInPolicy { sharing: Sharing::Off, ..SignInPolicy::default() });
    let ours = bench.token("ours", 60);
    bench.answer(loaded(&ours, false)).forget_effects().command(Command::Refresh);
    bench.answer(Answer::Refreshed(issued("new")));
    assert_eq!(told(&bench), 0);
    bench.kept();
    assert_eq!(told(&bench), 1, "nothing is shared");
}

#[test]
fn a_person_can_have_it_renewed_at_any_time() {
    let mut bench = Bench::new();
    let ours = bench.token("ours", 60);
    bench.holding(&ours).forget_effects().command(Command::Refresh).own_file();
    assert_eq!(bench.refreshes(), 1);
    bench.answer(Answer::RefreshFailed(RefreshFailure::Unreachable(network())));
    let failed = |effect: &Effect| matches!(effect, Effect::RenewalEnded(Err(fault)) if *fault == network());
    assert_eq!((bench.count(failed), bench.label()), (1, "Authenticated"));
    let mut bench = Bench::new();
    bench.answer(Answer::Loaded(None)).file(&SharedFile::Missing).command(Command::Refresh);
    let needed = |effect: &Effect| matches!(effect, Effect::RenewalEnded(Err(fault)) if matches!(fault.kind, FaultKind::SignInNeeded { .. }));
    assert_eq!(bench.count(needed), 1);
}
