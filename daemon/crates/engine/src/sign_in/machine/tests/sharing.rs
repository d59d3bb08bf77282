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
fn an_expired_token_of_another_tool_is_never_used() {
    let mut bench = Bench::new();
    let expired = token("theirs", bench.now.wall);
    bench.answer(Answer::Loaded(None)).file(&SharedFile::Token(Arc::clone(&expired)));
    assert_eq!(bench.state(), SignInState::NeedsLogin { reason: LoginReason::ExpiredElsewhere });
    assert_eq!((bench.refreshes(), bench.stores()), (0, 0));
    let ours = bench.token("ours", 60);
    let mut bench = Bench::new();
    bench.holding(&ours).forget_effects().input(Input::SharedChanged).file(&SharedFile::Token(expired));
    assert_eq!(bench.access().as_deref(), Some("ours"));
    assert_eq!(bench.writes(), 1, "the file is mended");
}

#[test]
fn a_file_that_the_last_daemon_could_not_write_is_not_believed() {
    let mut bench = Bench::new();
    let (old, new) = (bench.token("old", 10), bench.token("new", 50));
    bench.answer(Answer::Loaded(Some(StoredToken { token: new, shared: true })));
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
    bench.answer(Answer::Loaded(Some(StoredToken { token: Arc::clone(&token), shared: true })));
    bench.file(&SharedFile::Missing);
    assert_eq!(bench.state(), SignInState::NeedsLogin { reason: LoginReason::SignedOutElsewhere });
    assert!(bench.wiped());
    let mut bench = Bench::new();
    bench.answer(Answer::Loaded(Some(StoredToken { token, shared: false })));
    bench.file(&SharedFile::Missing);
    assert_eq!((bench.label(), bench.writes()), ("Authenticated", 1), "it never was there: it is now");
    let writing = bench.machine.writing;
    bench.forget_effects().input(Input::Answer(writing, Answer::Written(Ok(()))));
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
    let (storing, locked) = (bench.machine.storing, Fault::internal("the key store is locked"));
    bench.input(Input::Answer(storing, Answer::Stored(Err(locked.clone())))).forget_effects();
    assert_eq!(bench.machine.status(bench.now).trouble, Some(locked));
    bench.pass(MINUTE);
    assert_eq!(bench.stores(), 1);
    let storing = bench.machine.storing;
    bench.input(Input::Answer(storing, Answer::Stored(Ok(()))));
    assert_eq!(bench.machine.status(bench.now).trouble, None);
}

#[test]
fn a_file_that_cannot_be_written_is_told_until_it_can() {
    let mut bench = Bench::new();
    let token = bench.token("ours", 480);
    bench.answer(Answer::Loaded(Some(StoredToken { token, shared: false }))).file(&SharedFile::Missing);
    let full = || Fault::internal("the disk is full");
    for _ in 0..3 {
        let writing = bench.machine.writing;
        bench.input(Input::Answer(writing, Answer::Written(Err(full())))).forget_effects();
        bench.pass(MINUTE).file(&SharedFile::Missing);
        assert_eq!((bench.writes(), bench.machine.status(bench.now).trouble), (1, Some(full())));
    }
    let writing = bench.machine.writing;
    bench.input(Input::Answer(writing, Answer::Written(Ok(()))));
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
    bench.pass(MINUTE).answer(Answer::Loaded(Some(StoredToken { token, shared: true }))).own_file();
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
    assert_eq!(bench.count(|effect| matches!(effect, Effect::DeleteShared)), 1);
    bench.pass(MINUTE * 30);
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
    bench.input(Input::SharedChanged).file(&SharedFile::Token(full));
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
