//! Logouts: what is left of the token, and what is done about it.

use super::*;

fn locked() -> Fault {
    Fault::internal("the key store is locked")
}

fn read_only() -> Fault {
    Fault::internal("the disk is read-only")
}

fn logged_out(bench: &Bench) -> Vec<Result<(), Fault>> {
    let outcome = |effect: &Effect| {
        if let Effect::LoggedOut(outcome) = effect { Some(outcome.clone()) } else { None }
    };
    bench.effects.iter().filter_map(outcome).collect()
}

/// What the key store was asked to keep last.
fn stored(bench: &Bench) -> Option<StoredToken> {
    let stored =
        |effect: &Effect| if let Effect::Store(_, stored) = effect { Some(stored.clone()) } else { None };
    bench.effects.iter().rev().find_map(stored)
}

/// What the last daemon left of a logout.
fn left(token: &Arc<SsoToken>) -> Answer {
    Answer::Loaded(Some(StoredToken { signed_out: true, ..StoredToken::new(plain(token), site(), true) }))
}

#[test]
fn a_logout_leaves_nothing() {
    let mut bench = Bench::new();
    let token = bench.token("a", 60);
    bench.holding(&token).pass(MINUTE * 40).own_file().command(order(PERSON)).forget_effects();
    let renewing = bench.asked();
    let login = bench.machine.login.as_ref().unwrap().attempt;
    bench.command(Command::Logout);
    assert_eq!(bench.state(), SignInState::NeedsLogin { reason: LoginReason::SignedOutHere });
    assert_eq!(logged_out(&bench), [], "it is still to be done");
    bench.kept();
    assert!(bench.wiped());
    assert_eq!(bench.count(|effect| matches!(effect, Effect::Revoke(revoked) if revoked.is_same(&token))), 1);
    assert_eq!((bench.deletions(), logged_out(&bench)), (1, vec![Ok(())]));
    assert_eq!(bench.login_ended(), Some(Err(LoginFailure::Cancelled)));
    bench.input(Input::Answer(renewing, Answer::Refreshed(issued("late"))));
    bench
        .input(Input::Answer(login, Answer::LoggedIn(issued("late"), client())))
        .input(Input::SharedChanged)
        .file(&SharedFile::Token(token));
    assert_eq!((bench.access(), bench.stores(), bench.notices()), (None, 0, 0));
    let theirs = bench.token("theirs", 60);
    bench.input(Input::SharedChanged).file(&SharedFile::Token(theirs));
    assert_eq!(bench.label(), "Authenticated", "a new login counts");
}

#[test]
fn a_key_store_that_is_locked_is_told_and_wiped_once_it_can_be() {
    let mut bench = Bench::new();
    let token = bench.token("a", 60);
    bench.holding(&token).forget_effects().command(Command::Logout);
    let deleting = bench.asked_to_keep().unwrap().0;
    bench.input(Input::Answer(deleting, Answer::Deleted(Ok(())))).not_kept(locked());
    assert_eq!(logged_out(&bench), [Err(locked())]);
    assert_eq!((bench.label(), bench.machine.status(bench.now).trouble), ("Needs login", Some(locked())));
    bench.forget_effects().pass(MINUTE).file(&SharedFile::Missing);
    assert_eq!((bench.wipes(), bench.deletions()), (1, 0));
    bench.kept();
    assert_eq!((logged_out(&bench), bench.machine.status(bench.now).trouble), (vec![Ok(())], None));
    bench.forget_effects().pass(HOUR);
    assert_eq!(bench.wipes(), 0, "it is through");
}

#[test]
fn a_file_that_stays_is_told_and_deleted_once_it_can_be() {
    let mut bench = Bench::new();
    let token = bench.token("a", 60);
    bench.holding(&token).forget_effects().command(Command::Logout).not_kept(read_only());
    assert_eq!(logged_out(&bench), [Err(read_only())]);
    let mark = stored(&bench).unwrap();
    assert!(mark.signed_out && mark.token.is_same(&token) && mark.token.refresh.is_none());
    bench.kept();
    assert_eq!(bench.wipes(), 0, "the key store is to know of it");
    bench.forget_effects().pass(MINUTE).file(&SharedFile::Token(Arc::clone(&token)));
    assert_eq!((bench.deletions(), bench.access()), (1, None));
    bench.kept();
    assert_eq!((bench.wipes(), logged_out(&bench)), (1, vec![Ok(())]));
}

#[test]
fn the_next_daemon_goes_on_with_a_logout() {
    let mut bench = Bench::new();
    let token = bench.token("a", 60);
    bench.answer(left(&token)).file(&SharedFile::Token(Arc::clone(&token)));
    assert_eq!(bench.state(), SignInState::NeedsLogin { reason: LoginReason::SignedOutHere });
    assert_eq!((bench.deletions(), bench.wipes()), (1, 0));
    bench.kept();
    assert_eq!((bench.wipes(), bench.stores()), (1, 0));
    let mut bench = Bench::new();
    bench.answer(left(&token)).file(&SharedFile::Missing);
    assert_eq!((bench.label(), bench.deletions(), bench.wipes()), ("Needs login", 0, 1));
    let mut bench = Bench::new();
    let theirs = bench.token("theirs", 60);
    bench.answer(left(&token)).file(&SharedFile::Token(theirs)).kept();
    assert_eq!((bench.access().as_deref(), bench.deletions(), bench.wipes()), (Some("theirs"), 0, 0));
    assert!(!stored(&bench).unwrap().signed_out, "a new login counts");
}

#[test]
fn a_logout_that_was_found_late_counts_for_what_was_used_meanwhile() {
    let mut bench = Bench::new();
    let token = bench.token("a", 60);
    bench.answer(Answer::LoadFailed(locked())).file(&SharedFile::Token(Arc::clone(&token)));
    assert_eq!(bench.label(), "Authenticated");
    bench.pass(MINUTE).answer(left(&token)).file(&SharedFile::Token(Arc::clone(&token)));
    assert_eq!((bench.label(), bench.deletions()), ("Needs login", 1));
}

#[test]
fn where_nothing_is_shared_a_logout_is_of_the_key_store_alone() {
    let mut bench = Bench::with(SignInPolicy { sharing: Sharing::Off, ..SignInPolicy::default() });
    let token = bench.token("a", 60);
    bench.answer(loaded(&token, false)).forget_effects().command(Command::Logout).not_kept(locked());
    assert_eq!((bench.deletions(), logged_out(&bench)), (0, vec![Err(locked())]));
    bench.forget_effects().pass(MINUTE);
    assert_eq!(bench.wipes(), 1);
}

#[test]
fn a_login_ends_a_logout_that_was_not_through() {
    let mut bench = Bench::new();
    let token = bench.token("a", 60);
    bench.holding(&token).command(Command::Logout).not_kept(read_only()).forget_effects();
    bench.command(order(PERSON)).login_answer(Answer::LoggedIn(issued("new"), client())).kept();
    assert_eq!(bench.access().as_deref(), Some("new"));
    bench.pass(HOUR);
    assert_eq!((bench.deletions(), bench.wipes()), (0, 0));
}
