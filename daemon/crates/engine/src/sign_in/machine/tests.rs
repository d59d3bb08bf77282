//! Stories; and in `matrix`, every state with every input.

mod clocks;
mod leaving;
mod logins;
mod matrix;
mod pair;
mod renewals;
mod sharing;

use secrecy::{ExposeSecret as _, SecretString};
use stormtunnel_model::{CannotRenew, FaultKind, Renewal, RenewalRule};

use super::*;
use crate::sign_in::flow::{LoginFlow, Opener};
use crate::sign_in::token::RefreshGrant;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// The answer of key store or shared file.
type Kept = fn(Result<(), Fault>) -> Answer;

/// A machine under clocks of its own, with the effects that nobody has looked at yet.
struct Bench {
    machine: SignInMachine,
    now: Now,
    effects: Vec<Effect>,
}

impl Bench {
    fn new() -> Self {
        Self::with(SignInPolicy::default())
    }

    fn with(policy: SignInPolicy) -> Self {
        let wall = Timestamp::from_millis(1_000_000_000_000);
        let now = Now { mono: tokio::time::Instant::now().into_std(), wall };
        let machine = SignInMachine::new(site(), policy, now, [9; 32]);
        let mut bench = Self { machine, now, effects: Vec::new() };
        bench.drain();
        bench
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

    /// The answer to the login that runs.
    fn login_answer(&mut self, answer: Answer) -> &mut Self {
        let attempt = self.machine.login.as_ref().map(|login| login.attempt).expect("a login runs");
        self.input(Input::Answer(attempt, answer))
    }

    /// Key store and shared file do what is asked of them.
    fn kept(&mut self) -> &mut Self {
        while let Some((attempt, answer)) = self.asked_to_keep() {
            self.input(Input::Answer(attempt, answer(Ok(()))));
        }
        self
    }

    /// Key store or shared file fail at what was asked of them first.
    fn not_kept(&mut self, fault: Fault) -> &mut Self {
        let (attempt, answer) = self.asked_to_keep().expect("something is asked of them");
        self.input(Input::Answer(attempt, answer(Err(fault))))
    }

    /// What was asked of them first, of what is not answered.
    fn asked_to_keep(&self) -> Option<(Attempt, Kept)> {
        let pending = [self.machine.storing, self.machine.writing];
        let kept = |effect: &Effect| {
            let (attempt, answer): (Attempt, Kept) = if let Effect::Store(attempt, _) = effect {
                (*attempt, Answer::Stored)
            } else if let Effect::Wipe(attempt) = effect {
                (*attempt, Answer::Wiped)
            } else if let Effect::WriteShared(attempt, ..) = effect {
                (*attempt, Answer::Written)
            } else if let Effect::DeleteShared(attempt) = effect {
                (*attempt, Answer::Deleted)
            } else {
                return None;
            };
            pending.contains(&Some(attempt)).then_some((attempt, answer))
        };
        self.effects.iter().find_map(kept)
    }

    fn drain(&mut self) -> Option<Instant> {
        loop {
            match self.machine.poll_output() {
                Output::Effect(effect) => self.effects.push(effect),
                Output::Timeout(due) => return due,
            }
        }
    }

    /// Attempt of the work under way.
    fn asked(&self) -> Attempt {
        match self.machine.work {
            Work::Loading(attempt) | Work::Reading(attempt, _) | Work::Renewing(attempt) => attempt,
            Work::Nothing | Work::Waiting(..) => panic!("no work: {:?}", self.machine.work),
        }
    }

    /// The shared file as it is, for as long as the machine reads.
    fn file(&mut self, file: &SharedFile) -> &mut Self {
        while matches!(self.machine.work, Work::Reading(..) | Work::Waiting(..)) {
            if let Work::Waiting(at, _) = self.machine.work {
                self.pass(at.saturating_duration_since(self.now.mono));
            } else {
                self.answer(Answer::Shared(file.clone()));
            }
        }
        self
    }

    /// The key store has this token, and the shared file as well.
    fn holding(&mut self, token: &Arc<SsoToken>) -> &mut Self {
        self.answer(loaded(token, true));
        self.file(&SharedFile::Token(Arc::clone(token)))
    }

    /// The shared file holds what the machine does.
    fn own_file(&mut self) -> &mut Self {
        let held = Arc::clone(&self.machine.held.as_ref().expect("a token").token);
        self.file(&SharedFile::Token(held))
    }

    /// Moves time on, one timeout after the other. Reads find the file as it should be.
    fn pass(&mut self, time: Duration) -> &mut Self {
        let end = self.now.after(time);
        while let Some(due) = self.drain().filter(|due| *due <= end.mono) {
            self.now = self.now.after(due.saturating_duration_since(self.now.mono));
            self.machine.handle_timeout(self.now);
            if matches!(self.machine.work, Work::Reading(..)) && due < end.mono {
                self.drain();
                self.answer(Answer::Shared(self.usual_file()));
            }
        }
        self.now = self.now.after(end.mono.saturating_duration_since(self.now.mono));
        self.drain();
        self
    }

    fn usual_file(&self) -> SharedFile {
        let held = self.machine.held.as_ref();
        held.map_or(SharedFile::Missing, |held| SharedFile::Token(Arc::clone(&held.token)))
    }

    /// The wall clock is set.
    fn set_clock(&mut self, by_ms: i64) -> &mut Self {
        let wall = self.now.wall.as_millis().saturating_add_signed(by_ms);
        self.now.wall = Timestamp::from_millis(wall);
        self
    }

    fn forget_effects(&mut self) -> &mut Self {
        self.effects.clear();
        self
    }

    fn token(&self, name: &str, minutes: u64) -> Arc<SsoToken> {
        token(name, self.now.wall.plus(MINUTE * u32::try_from(minutes).unwrap()))
    }

    fn state(&self) -> SignInState {
        self.machine.status(self.now).state
    }

    fn label(&self) -> &'static str {
        self.state().label()
    }

    fn renewal(&self) -> Renewal {
        match self.state() {
            SignInState::Authenticated { renewal, .. }
            | SignInState::ExpiringSoon { renewal, .. }
            | SignInState::Expired { renewal, .. } => renewal,
            state @ (SignInState::Unknown | SignInState::NeedsLogin { .. }) => panic!("no token: {state:?}"),
        }
    }

    fn access(&self) -> Option<String> {
        self.machine.held.as_ref().map(|held| held.token.access.expose_secret().to_owned())
    }

    fn generation(&self) -> Generation {
        self.machine.generation
    }

    fn count(&self, wanted: impl Fn(&Effect) -> bool) -> usize {
        self.effects.iter().filter(|effect| wanted(effect)).count()
    }

    fn refreshes(&self) -> usize {
        self.count(|effect| matches!(effect, Effect::Refresh(..)))
    }

    fn writes(&self) -> usize {
        self.count(|effect| matches!(effect, Effect::WriteShared(..)))
    }

    fn stores(&self) -> usize {
        self.count(|effect| matches!(effect, Effect::Store(..)))
    }

    fn browsers(&self) -> usize {
        self.count(|effect| matches!(effect, Effect::BeginLogin { .. }))
    }

    fn notices(&self) -> usize {
        self.count(|effect| matches!(effect, Effect::Notify(_)))
    }

    fn deletions(&self) -> usize {
        self.count(|effect| matches!(effect, Effect::DeleteShared(_)))
    }

    fn wipes(&self) -> usize {
        self.count(|effect| matches!(effect, Effect::Wipe(_)))
    }

    fn wiped(&self) -> bool {
        self.wipes() == 1 && self.count(|effect| matches!(effect, Effect::ForgetCredentials)) == 1
    }

    fn login_ended(&self) -> Option<Result<(), LoginFailure>> {
        let outcome = |effect: &Effect| {
            if let Effect::LoginEnded(outcome) = effect { Some(outcome.clone()) } else { None }
        };
        self.effects.iter().rev().find_map(outcome)
    }
}

fn site() -> Arc<SignInSite> {
    Arc::new(SignInSite {
        name: "corp".parse().unwrap(),
        start_url: "https://x.awsapps.com/start".to_owned(),
        region: "eu-west-1".parse().unwrap(),
        scopes: Vec::new(),
    })
}

/// The key store has that token. `shared`: and the file was there.
fn loaded(token: &Arc<SsoToken>, shared: bool) -> Answer {
    Answer::Loaded(Some(StoredToken::new(Arc::clone(token), site(), shared)))
}

fn client() -> Arc<OidcClient> {
    let secret = SecretString::from("client secret");
    let expires_at = Timestamp::from_millis(1_000_000_000_000).plus(HOUR * 24 * 90);
    Arc::new(OidcClient { id: "client".to_owned(), secret, expires_at })
}

/// A token that can be renewed.
fn token(name: &str, expires_at: Timestamp) -> Arc<SsoToken> {
    let grant = RefreshGrant { token: format!("refresh {name}").into(), client: client() };
    Arc::new(SsoToken { access: name.into(), expires_at, refresh: Some(grant) })
}

/// One that cannot.
fn plain(token: &SsoToken) -> Arc<SsoToken> {
    Arc::new(SsoToken { access: token.access.clone(), expires_at: token.expires_at, refresh: None })
}

fn issued(name: &str) -> IssuedToken {
    IssuedToken { access: name.into(), expires_in: HOUR, refresh: Some(format!("refresh {name}").into()) }
}

fn network() -> Fault {
    Fault::new(FaultKind::Network, "connection reset by peer")
}

fn order(by: LoginBy) -> Command {
    let plan = LoginPlan { flow: LoginFlow::AuthorizationCode, opener: Opener::Default, reason: "a test" };
    Command::Login(LoginOrder { by, plan })
}

const PERSON: LoginBy = LoginBy::Person;
const TUNNEL: LoginBy = LoginBy::Tunnel { attended: true };

#[test]
fn a_token_of_the_last_daemon_is_used_once_the_file_agrees() {
    let mut bench = Bench::new();
    assert_eq!(bench.label(), "Unknown");
    let token = bench.token("a", 50);
    bench.answer(loaded(&token, true));
    assert!(matches!(bench.machine.usable(bench.now), Usable::Wait), "it may have been signed out");
    bench.file(&SharedFile::Token(token));
    assert!(matches!(bench.machine.usable(bench.now), Usable::Token(..)));
    let at = bench.now.wall.plus(MINUTE * 30);
    assert_eq!(bench.renewal(), Renewal::At { at, rule: RenewalRule::EarlyTwentyMinutes });
    assert_eq!((bench.writes(), bench.stores()), (0, 0), "nothing was new");
}

#[test]
fn a_renewal_reads_first_and_shares_after() {
    let mut bench = Bench::new();
    let old = bench.token("old", 60);
    bench.holding(&old).pass(MINUTE * 40).forget_effects();
    assert_eq!(bench.refreshes(), 0);
    bench.file(&SharedFile::Token(Arc::clone(&old)));
    assert_eq!(bench.refreshes(), 1);
    bench.answer(Answer::Refreshed(issued("new")));
    assert_eq!((bench.stores(), bench.writes()), (1, 0), "kept at once");
    bench.file(&SharedFile::Token(old));
    assert_eq!((bench.writes(), bench.access().as_deref()), (1, Some("new")));
    assert_eq!(bench.label(), "Authenticated");
}

#[test]
fn whoever_renewed_before_us_saves_us_the_renewal() {
    let mut bench = Bench::new();
    let (ours, theirs) = (bench.token("ours", 60), bench.token("theirs", 100));
    bench.holding(&ours).pass(MINUTE * 40).forget_effects();
    bench.file(&SharedFile::Token(theirs));
    assert_eq!((bench.access().as_deref(), bench.refreshes()), (Some("theirs"), 0));
    assert_eq!(bench.machine.work, Work::Nothing);
}

#[test]
fn whoever_renewed_faster_than_us_is_found() {
    let mut bench = Bench::new();
    let ours = bench.token("ours", 60);
    bench.holding(&ours).pass(MINUTE * 40).own_file();
    bench.forget_effects().answer(Answer::RefreshFailed(RefreshFailure::GrantGone));
    bench.answer(Answer::Shared(SharedFile::Token(ours)));
    assert!(matches!(bench.machine.work, Work::Waiting(..)), "it is used before it is written");
    // One that expires even sooner than ours will do: ours cannot be renewed any more.
    let theirs = bench.token("theirs", 5);
    bench.file(&SharedFile::Token(theirs));
    assert_eq!((bench.access().as_deref(), bench.notices()), (Some("theirs"), 0));
}

#[test]
fn a_lost_login_is_told_once_and_its_token_used_while_it_lives() {
    let mut bench = Bench::new();
    let ours = bench.token("ours", 60);
    bench.holding(&ours).pass(MINUTE * 40).own_file();
    bench.answer(Answer::RefreshFailed(RefreshFailure::GrantGone)).own_file();
    assert_eq!((bench.label(), bench.notices(), bench.browsers()), ("Expiring soon", 1, 0));
    assert_eq!(bench.renewal(), Renewal::Impossible(CannotRenew::SessionEnded));
    assert!(matches!(bench.machine.usable(bench.now), Usable::Token(..)));
    bench.pass(MINUTE * 20);
    assert_eq!(bench.state(), SignInState::NeedsLogin { reason: LoginReason::SessionEnded });
    let Usable::No(fault) = bench.machine.usable(bench.now) else { panic!("it is over") };
    assert_eq!(fault.kind, FaultKind::SignInNeeded { sign_in: "corp".to_owned() });
    assert_eq!((bench.refreshes(), bench.notices()), (1, 1));
}
