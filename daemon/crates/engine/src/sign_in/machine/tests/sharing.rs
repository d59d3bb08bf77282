//! Key store and shared file: whose token counts.

use super::*;

#[test]
fn the_login_of_another_tool_is_ours() {
    let mut bench = Bench::new();
    let token = bench.token("theirs", 60);
    bench.answer(Answer::Loaded(None)).file(&SharedFile::Token(token));
    assert_eq!((bench.label(), bench.stores(), bench.writes()), ("Authenticated", 1, 0));
    let newer = bench.token("newer", 61);
    bench.forget_effects().input(Input::SharedChanged).file(&SharedFile::Token(newer));
    assert_eq!(bench.access().as_deref(), Some("newer"));
    assert_eq!(bench.stores(), 1);
}

#[test]
fn an_expired_login_of_another_tool_is_renewed_where_there_is_nothing_better() {
    let mut bench = Bench::new();
    let expired = token("theirs", bench.now.wall);
    bench.answer(Answer::Loaded(None)).file(&SharedFile::Token(Arc::clone(&expired)));
    assert_eq!((bench.label(), bench.notices()), ("Expired", 0));
    bench.own_file();
    assert_eq!(bench.refreshes(), 1);
    bench.answer(Answer::RefreshFailed(RefreshFailure::GrantGone)).own_file();
    assert_eq!(bench.state(), SignInState::NeedsLogin { reason: LoginReason::SessionEnded });
    bench.pass(HOUR);
    assert_eq!((bench.refreshes(), bench.notices()), (1, 1), "once");
    let mut bench = Bench::new();
    let over = plain(&bench.token("over", 0));
    bench.holding(&over).input(Input::SharedChanged).file(&SharedFile::Token(expired));
    assert_eq!(bench.access().as_deref(), Some("theirs"), "what is over and cannot be renewed is no better");
}

#[test]
fn an_expired_token_of_another_tool_replaces_nothing_that_is_good_or_renewed() {
    let mut bench = Bench::new();
    let expired = plain(&token("theirs", bench.now.wall));
    bench.answer(Answer::Loaded(None)).file(&SharedFile::Token(Arc::clone(&expired)));
    assert_eq!(bench.state(), SignInState::NeedsLogin { reason: LoginReason::ExpiredElsewhere });
    assert_eq!((bench.refreshes(), bench.stores()), (0, 0));
    let expired = token("theirs", bench.now.wall);
    for ours in [bench.token("ours", 60), plain(&bench.token("ours", 60)), bench.token("ours", 0)] {
        let mut bench = Bench::with(SignInPolicy { auto_refresh: false, ..SignInPolicy::default() });
        bench.holding(&ours).forget_effects().input(Input::SharedChanged);
        bench.file(&SharedFile::Token(Arc::clone(&expired)));
        assert_eq!(bench.access().as_deref(), Some("ours"));
        assert_eq!(bench.writes(), usize::from(ours.expires_at > bench.now.wall), "the file is mended");
    }
}

#[test]
fn a_file_that_the_last_daemon_could_not_write_is_not_believed() {
    let mut bench = Bench::new();
    let (old, new) = (bench.token("old", 10), bench.token("new", 50));
    bench.answer(loaded(&new, true));
    bench.file(&SharedFile::Token(Arc::clone(&old)));
    assert_eq!((bench.access().as_deref(), bench.writes()), (Some("new"), 1));
    bench.forget_effects().input(Input::SharedChanged).file(&SharedFile::Token(old));
    assert_eq!((bench.access().as_deref(), bench.writes()), (Some("new"), 1));
}

#[test]
fn a_deleted_file_is_a_logout() {
    let mut bench = Bench::new();
    let ours = bench.token("ours", 60);
    bench.holding(&ours).forget_effects().input(Input::SharedChanged);
    bench.answer(Answer::Shared(SharedFile::Missing));
    assert!(matches!(bench.machine.usable(bench.now), Usable::Token(..)), "it may be replaced just now");
    bench.file(&SharedFile::Missing);
    assert_eq!(bench.state(), SignInState::NeedsLogin { reason: LoginReason::SignedOutElsewhere });
    assert!(bench.wiped());
    assert_eq!(bench.writes(), 0, "it is not put back");
    bench.input(Input::SharedChanged).file(&SharedFile::Token(ours));
    assert_eq!(bench.label(), "Needs login", "and does not come back");
}

#[test]
fn a_file_that_comes_back_at_once_is_none() {
    let mut bench = Bench::new();
    let ours = bench.token("ours", 60);
    bench.holding(&ours).input(Input::SharedChanged).answer(Answer::Shared(SharedFile::Missing));
    bench.pass(Duration::from_millis(500)).own_file();
    assert_eq!(bench.label(), "Authenticated");
    bench.input(Input::SharedChanged).answer(Answer::Shared(SharedFile::Missing));
    bench.pass(Duration::from_millis(500)).answer(Answer::Shared(SharedFile::Torn));
    bench.pass(Duration::from_millis(100)).answer(Answer::Shared(SharedFile::Missing));
    assert_eq!(bench.label(), "Authenticated", "twice, with something in between");
}

#[test]
fn a_logout_while_the_daemon_was_down_counts() {
    let mut bench = Bench::new();
    let token = bench.token("ours", 60);
    bench.answer(loaded(&token, true));
    bench.file(&SharedFile::Missing);
    assert_eq!(bench.state(), SignInState::NeedsLogin { reason: LoginReason::SignedOutElsewhere });
    assert!(bench.wiped());
    let mut bench = Bench::new();
    bench.answer(loaded(&token, false));
    bench.file(&SharedFile::Missing);
    assert_eq!((bench.label(), bench.writes()), ("Authenticated", 1), "it never was there: it is now");
    bench.kept();
    let marked = bench.count(|effect| matches!(effect, Effect::Store(_, StoredToken { shared: true, .. })));
    assert_eq!(marked, 1, "from now on its absence is a logout");
}

#[test]
fn half_a_file_is_read_again_and_a_broken_one_mended() {
    let mut bench = Bench::new();
    let ours = bench.token("ours", 60);
    bench.holding(&ours).forget_effects().input(Input::SharedChanged);
    bench.answer(Answer::Shared(SharedFile::Torn)).pass(Duration::from_millis(100)).own_file();
    assert_eq!((bench.writes(), bench.label()), (0, "Authenticated"));
    bench.input(Input::SharedChanged).file(&SharedFile::Torn);
    assert_eq!((bench.writes(), bench.label()), (1, "Authenticated"));
    let mut bench = Bench::new();
    bench.answer(Answer::Loaded(None)).file(&SharedFile::Torn);
    assert_eq!((bench.writes(), bench.label()), (0, "Needs login"), "nothing to mend it with");
}

#[test]
fn what_was_not_written_is_written_at_the_next_check() {
    let mut bench = Bench::new();
    let theirs = bench.token("theirs", 60);
    bench.answer(Answer::Loaded(None)).file(&SharedFile::Token(Arc::clone(&theirs)));
    let locked = Fault::internal("the key store is locked");
    bench.not_kept(locked.clone()).forget_effects();
    assert_eq!(bench.machine.status(bench.now).trouble, Some(locked));
    bench.pass(MINUTE);
    assert_eq!(bench.stores(), 1);
    bench.kept();
    assert_eq!(bench.machine.status(bench.now).trouble, None);
}

#[test]
fn a_file_that_cannot_be_written_is_told_until_it_can() {
    let mut bench = Bench::new();
    let token = bench.token("ours", 480);
    bench.answer(loaded(&token, false)).file(&SharedFile::Missing);
    let full = || Fault::internal("the disk is full");
    for _ in 0..3 {
        bench.not_kept(full()).forget_effects();
        bench.pass(MINUTE).file(&SharedFile::Missing);
        assert_eq!((bench.writes(), bench.machine.status(bench.now).trouble), (1, Some(full())));
    }
    bench.kept();
    assert_eq!(bench.machine.status(bench.now).trouble, None);
}

#[test]
fn a_locked_key_store_is_asked_again_and_is_no_reason_to_sign_in() {
    let mut bench = Bench::new();
    let locked = || Answer::LoadFailed(Fault::internal("the key store is locked"));
    bench.answer(locked()).file(&SharedFile::Missing);
    assert_eq!(bench.label(), "Unknown");
    bench.command(order(TUNNEL));
    assert!(matches!(
        bench.login_ended(),
        Some(Err(LoginFailure::Refused(_) | LoginFailure::Unreachable(_)))
    ));
    assert_eq!(bench.browsers(), 0);
    let token = bench.token("ours", 60);
    bench.pass(MINUTE).answer(loaded(&token, true)).own_file();
    assert_eq!(bench.label(), "Authenticated");
}

#[test]
fn sharing_can_be_changed_while_it_runs() {
    let mut bench = Bench::new();
    let ours = bench.token("ours", 60);
    bench.holding(&ours).forget_effects();
    let sharing = |sharing| Input::Policy(SignInPolicy { sharing, ..SignInPolicy::default() });
    bench.input(sharing(Sharing::AccessOnly)).own_file();
    let stripped = bench.count(|effect| matches!(effect, Effect::WriteShared(_, _, Sharing::AccessOnly)));
    assert_eq!(stripped, 1, "nobody else is to renew it");
    bench.forget_effects().input(sharing(Sharing::Off));
    assert_eq!(bench.deletions(), 1);
    bench.kept().pass(MINUTE * 30);
    assert_eq!((bench.label(), bench.writes()), ("Authenticated", 0), "nothing is read, nothing is lost");
    bench.forget_effects().input(sharing(Sharing::Full)).file(&SharedFile::Missing);
    assert_eq!((bench.label(), bench.writes()), ("Authenticated", 1));
}

#[test]
fn a_stripped_file_is_ours_and_a_full_one_is_adopted_and_stripped() {
    let mut bench = Bench::with(SignInPolicy { sharing: Sharing::AccessOnly, ..SignInPolicy::default() });
    let ours = bench.token("ours", 60);
    bench.holding(&plain(&ours)).forget_effects();
    let full = bench.token("full", 61);
    let file = SharedFile::Token(full);
    bench.input(Input::SharedChanged).file(&file);
    bench.not_kept(Fault::internal("the key store is locked")).pass(MINUTE).file(&file);
    assert_eq!(bench.writes(), 0, "it is nowhere else");
    bench.kept().file(&file);
    assert_eq!((bench.access().as_deref(), bench.writes()), (Some("full"), 1));
    assert!(matches!(bench.renewal(), Renewal::At { .. }), "the daemon renews it");
}

#[test]
fn a_weaker_token_of_another_tool_is_left_alone() {
    let mut bench = Bench::new();
    let (ours, theirs) = (bench.token("ours", 60), plain(&bench.token("theirs", 50)));
    bench.holding(&ours).forget_effects().input(Input::SharedChanged).file(&SharedFile::Token(theirs));
    assert_eq!((bench.access().as_deref(), bench.writes()), (Some("ours"), 0));
}

#[test]
fn a_change_during_a_renewal_is_looked_at_after_it() {
    let mut bench = Bench::new();
    let ours = bench.token("ours", 60);
    bench.holding(&ours).pass(MINUTE * 40).own_file().forget_effects();
    // Somebody signs in while we renew: that is the newer will.
    bench.input(Input::SharedChanged).answer(Answer::Refreshed(issued("renewed")));
    let theirs = bench.token("theirs", 60);
    bench.file(&SharedFile::Token(theirs));
    assert_eq!((bench.access().as_deref(), bench.writes()), (Some("theirs"), 0));
}

#[test]
fn what_was_found_while_the_key_store_was_locked_is_not_stored_over_what_it_has() {
    let access_only = SignInPolicy { sharing: Sharing::AccessOnly, ..SignInPolicy::default() };
    let mut bench = Bench::with(access_only);
    let ours = bench.token("ours", 60);
    let file = SharedFile::Token(plain(&ours));
    bench.answer(Answer::LoadFailed(Fault::internal("locked"))).file(&file).kept();
    assert_eq!((bench.label(), bench.stores()), ("Authenticated", 0));
    assert_eq!(bench.renewal(), Renewal::Impossible(CannotRenew::NoRefreshToken));
    let generation = bench.generation();
    bench.pass(MINUTE).answer(loaded(&ours, true)).file(&file).kept();
    assert!(matches!(bench.renewal(), Renewal::At { .. }), "what renews it was in the key store");
    assert_eq!((bench.generation(), bench.writes()), (generation, 0), "it is the same token");
    let whole =
        |effect: &Effect| matches!(effect, Effect::Store(_, stored) if stored.token.refresh.is_some());
    assert_eq!(bench.count(whole), bench.stores());
}

#[test]
fn what_was_found_while_the_key_store_was_locked_counts_as_if_it_had_been_open() {
    for (stored, found, expected) in [(50, 40, "stored"), (40, 50, "found"), (0, 50, "found")] {
        let mut bench = Bench::new();
        let (stored, found) = (bench.token("stored", stored), bench.token("found", found));
        bench.answer(Answer::LoadFailed(Fault::internal("locked"))).file(&SharedFile::Token(found));
        bench.pass(MINUTE).answer(loaded(&stored, true));
        assert_eq!(bench.access().as_deref(), Some(expected), "{stored:?}");
    }
    let mut bench = Bench::new();
    let (stored, found) = (bench.token("stored", 40), plain(&bench.token("found", 50)));
    bench.answer(Answer::LoadFailed(Fault::internal("locked"))).file(&SharedFile::Token(found));
    let generation = bench.generation();
    bench.input(Input::Rejected(generation)).own_file().own_file();
    bench.pass(MINUTE).answer(loaded(&stored, true));
    assert_eq!(bench.access().as_deref(), Some("stored"), "the one that was found is of no use");
}

#[test]
fn a_full_file_keeps_what_renews_it_until_the_key_store_has_it() {
    let access_only = SignInPolicy { sharing: Sharing::AccessOnly, ..SignInPolicy::default() };
    let mut bench = Bench::with(access_only);
    let full = bench.token("full", 60);
    let file = SharedFile::Token(full);
    bench.answer(Answer::LoadFailed(Fault::internal("locked"))).file(&file);
    bench.input(Input::SharedChanged);
    assert_eq!(bench.writes(), 0);
    bench.answer(Answer::Loaded(None)).file(&file);
    assert_eq!((bench.stores(), bench.writes()), (1, 0));
    bench.kept().file(&file);
    assert_eq!((bench.stores(), bench.writes()), (1, 1));
}

#[test]
fn what_aws_issued_is_stored_whatever_the_key_store_had() {
    let mut bench = Bench::new();
    let theirs = bench.token("theirs", 60);
    bench.answer(Answer::LoadFailed(Fault::internal("locked"))).file(&SharedFile::Token(theirs));
    bench.command(Command::Refresh).own_file().answer(Answer::Refreshed(issued("new")));
    assert_eq!(bench.stores(), 1);
}

#[test]
fn what_stays_of_a_time_when_it_was_shared_is_deleted() {
    let off = SignInPolicy { sharing: Sharing::Off, ..SignInPolicy::default() };
    let mut bench = Bench::with(off);
    let ours = bench.token("ours", 480);
    let file = SharedFile::Token(Arc::clone(&ours));
    bench.answer(loaded(&ours, true));
    assert!(matches!(bench.machine.usable(bench.now), Usable::Token(..)), "the file does not matter");
    bench.file(&file);
    assert_eq!((bench.label(), bench.deletions()), ("Authenticated", 1));
    bench.not_kept(Fault::internal("the disk is read-only")).forget_effects().pass(MINUTE).file(&file);
    assert_eq!(bench.deletions(), 1, "tried again");
    bench.kept();
    let unshared = |effect: &Effect| matches!(effect, Effect::Store(_, stored) if !stored.shared);
    assert_eq!((bench.count(unshared), bench.machine.status(bench.now).trouble), (1, None));
    bench.forget_effects().pass(HOUR);
    assert_eq!(bench.deletions(), 0);
    let mut bench = Bench::with(off);
    let theirs = bench.token("theirs", 480);
    bench.answer(loaded(&ours, true)).file(&SharedFile::Token(theirs)).kept();
    assert_eq!((bench.access().as_deref(), bench.deletions()), (Some("ours"), 0), "what is not ours stays");
    assert!(!bench.machine.shared);
}

#[test]
fn what_is_being_written_when_sharing_ends_is_deleted_and_what_is_being_read_is_not_taken() {
    let off = || Input::Policy(SignInPolicy { sharing: Sharing::Off, ..SignInPolicy::default() });
    let mut bench = Bench::new();
    let ours = bench.token("ours", 60);
    bench.answer(loaded(&ours, false)).file(&SharedFile::Missing);
    let writing = bench.machine.writing.unwrap();
    bench.input(off());
    assert_eq!((bench.writes(), bench.deletions()), (1, 1));
    bench.input(Input::Answer(writing, Answer::Written(Ok(())))).kept();
    assert!(!bench.machine.shared, "the deletion came after it");
    let mut bench = Bench::new();
    let theirs = bench.token("theirs", 90);
    bench.holding(&ours).input(Input::SharedChanged);
    let reading = bench.asked();
    bench.input(off()).input(Input::Answer(reading, Answer::Shared(SharedFile::Token(theirs))));
    assert_eq!(bench.access().as_deref(), Some("ours"));
}

#[test]
fn a_token_of_another_site_is_not_used_wherever_it_is_found() {
    let elsewhere = SignInSite { region: "eu-west-2".parse().unwrap(), ..(*site()).clone() };
    let stored = |token: &Arc<SsoToken>| {
        Answer::Loaded(Some(StoredToken::new(Arc::clone(token), Arc::new(elsewhere.clone()), true)))
    };
    let mut bench = Bench::new();
    let old = bench.token("old", 60);
    let file = SharedFile::Token(Arc::clone(&old));
    bench.answer(stored(&old)).file(&file);
    assert_eq!(bench.state(), SignInState::NeedsLogin { reason: LoginReason::NeverSignedIn });
    assert_eq!((bench.wipes(), bench.deletions()), (0, 0), "other tools may use it");
    let mut late = Bench::new();
    late.answer(Answer::LoadFailed(network())).file(&file).pass(MINUTE).answer(stored(&old)).file(&file);
    assert_eq!((late.label(), late.stores()), ("Needs login", 0));
    let theirs = bench.token("theirs", 60);
    bench.input(Input::SharedChanged).file(&SharedFile::Token(theirs));
    assert_eq!(bench.access().as_deref(), Some("theirs"), "a new login counts");
}

#[test]
fn whose_login_another_tool_brings_is_not_known() {
    let mut bench = Bench::new();
    let (ours, theirs) = (bench.token("ours", 60), bench.token("theirs", 90));
    bench.holding(&ours).forget_effects().input(Input::SharedChanged).file(&SharedFile::Token(theirs));
    assert_eq!(bench.count(|effect| matches!(effect, Effect::ForgetCredentials)), 1);
}

#[test]
fn a_file_that_could_not_be_read_is_told_until_it_can() {
    let ours = Bench::new().token("ours", 480);
    for mended in [SharedFile::Token(plain(&Bench::new().token("other", 400))), SharedFile::Missing] {
        let mut bench = Bench::new();
        bench.answer(loaded(&ours, false)).file(&SharedFile::Failed(network()));
        assert_eq!(bench.machine.status(bench.now).trouble, Some(network()));
        bench.pass(MINUTE).answer(Answer::Shared(mended));
        assert_eq!(bench.machine.status(bench.now).trouble, None);
    }
}
