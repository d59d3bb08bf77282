//! Every decision about a sign-in, without a clock, a task or a socket.
//!
//! One input, then [`SignInMachine::poll_output`] until it answers [`Output::Timeout`]. Work that the machine asks for carries
//! an [`Attempt`]; its answer must carry the same, and is dropped when the machine has moved on. Every work is answered.
//!
//! The machine holds a token or none, and does one thing at a time: *nothing*, *loading* (the key store), *reading* (the
//! shared file), *renewing*. A login runs beside that. A row reads: when doing that, on that input, go on with that.
//!
//! | doing | input | next | effects |
//! |---|---|---|---|
//! | loading | Loaded, LoadFailed | reading, to check | ReadShared |
//! | nothing | a check is due, the file changed, an incident | reading, to check | ReadShared |
//! | nothing | a renewal is due; Refresh, Rejected, Needed | reading, to renew | ReadShared |
//! | reading | a newer token | as below, with that token | Store |
//! | reading | no file, where there was one | reading again in 0.5 s | |
//! | reading | still no file | nothing: signed out elsewhere | Wipe, ForgetCredentials |
//! | reading | half a file | reading again, thrice | |
//! | reading | no file, a broken one, an older or an expired token | as below | WriteShared, if there is a good token |
//! | reading | an expired token that can be renewed, and nothing better is held | as below, with that token | Store |
//! | reading, to check | the file | nothing | |
//! | reading, to renew | the file | renewing; nothing with a newer token | Refresh |
//! | renewing | Refreshed | reading, to share | Store |
//! | reading, to share | the file | nothing | WriteShared |
//! | renewing | RefreshFailed: the grant or the client is gone | reading, for somebody's success | |
//! | reading, for somebody's success | nothing newer in 2 s | nothing: a login is needed | Notify |
//! | renewing | RefreshFailed: the network, throttled | nothing; a retry | |
//! | renewing | RefreshFailed: refused | nothing; a retry | |
//! | any | Login by a person | login | BeginLogin |
//! | any | Login for a tunnel | login, once neither the file nor a renewal helped | BeginLogin |
//! | login | LoggedIn | nothing | Store, WriteShared; LoginEnded when both have answered |
//! | login | LoginFailed, Cancel, 10 minutes | no login | EndLogin, LoginEnded |
//! | any | Logout | nothing: signed out here | EndLogin, Revoke, ForgetCredentials, DeleteShared, then Wipe, then LoggedOut |
//! | signed out | not Deleted, not Wiped | the same, again at the next check | LoggedOut with the fault; Store, as signed out |
//!
//! - **The old token is used while it lives**, whatever became of its renewal. Only what AWS says makes a login needed,
//!   never the network.
//! - **A token's end is what the sooner of the two clocks says.** The monotonic clock does not count sleep, the wall clock
//!   may be set: back, and the token seems to live longer than it does; forward, and it is renewed too early.
//! - **In a dark waking nothing is renewed and no browser opened**: the machine may sleep again before the answer comes, and a
//!   refresh token that AWS accepts once would be lost with it. Somebody who needs the token waits for the next full waking.
//! - **A token that was replaced or signed out never comes back**, and an expired one of another tool replaces nothing that is good or
//!   can be renewed. But when our refresh token was used up, what the file holds is our own login as somebody else renewed it,
//!   and goes on as ours.
//! - **What was issued for another start URL, region or other scopes is not used**, wherever it is found.
//! - **The key store counts even if it was locked**: nothing that was found without it is stored over what it has.
//! - **One notice per loss**, and one per token that only a person can replace.

mod held;
mod leaving;
mod login;
mod reading;
mod renewal;
mod shown;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stormtunnel_model::{
    Attempt, Fault, LoginPage, LoginProgress, LoginReason, SignInEvent, SignInState, SignInStatus, Timestamp,
};

use self::held::{Held, Source};
use self::leaving::Leaving;
use self::login::{Lasting, Login};
use self::reading::{Look, Purpose};
use self::renewal::Retry;
pub use self::shown::Usable;
use self::shown::{Success, Troubles};
use super::classify::{LoginFailure, RefreshFailure};
use super::flow::LoginPlan;
use super::policy::{Sharing, SignInPolicy};
use super::ports::{SharedFile, SignInSite};
use super::token::{Generation, IssuedToken, OidcClient, PastTokens, SsoToken, StoredToken};
use crate::clock::Now;
use crate::ports::Incident;
use crate::retry::Backoff;

/// Longest wait between two tries to renew.
pub const RETRY_CAP: Duration = Duration::from_secs(30);
/// The same after AWS asked to slow down, and the least one.
pub const THROTTLED_CAP: Duration = Duration::from_secs(60);
/// Least wait after AWS asked to slow down: what a device login adds to its interval then.
pub const THROTTLED_FLOOR: Duration = Duration::from_secs(5);
/// When a renewal that AWS refused is tried again: somebody may have changed something meanwhile.
pub const REFUSED_RETRY: Duration = Duration::from_secs(5 * 60);
/// Over how much time sign-ins spread what they try again after the machine woke or its network changed.
pub const RETURN_WITHIN: Duration = Duration::from_secs(1);
/// How long a login may take, which is what the AWS CLI gives it.
pub const LOGIN_LIMIT: Duration = Duration::from_secs(10 * 60);
/// A login whose token is lost within this did not last.
pub const LASTS: Duration = Duration::from_secs(10 * 60);
/// After so many logins that did not last, within the same time, no browser is opened.
pub const LOGINS_THAT_FAIL: usize = 3;

/// What a sign-in is told.
#[derive(Debug)]
pub enum Input {
    /// A person's will.
    Command(Command),
    /// What became of work that the machine asked for.
    Answer(Attempt, Answer),
    /// The shared file changed, or may have.
    SharedChanged,
    /// AWS did not accept that token.
    Rejected(Generation),
    /// Somebody needs a token.
    Needed,
    /// The settings are others.
    Policy(SignInPolicy),
    /// Something happened to the machine.
    Incident(Incident),
}

/// A person's will, or what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Sign in.
    Login(LoginOrder),
    /// Give up the login that runs.
    CancelLogin,
    /// Renew the token now.
    Refresh,
    /// Sign out.
    Logout,
}

/// Who wants a login, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginOrder {
    /// Who.
    pub by: LoginBy,
    /// The way to go.
    pub plan: LoginPlan,
}

/// Who wants a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginBy {
    /// A person, in so many words. The present token is replaced even if it is good.
    Person,
    /// A tunnel that somebody started. A login is the last resort.
    Tunnel {
        /// That somebody is still there.
        attended: bool,
    },
}

/// What became of work that the machine asked for.
#[derive(Debug)]
pub enum Answer {
    /// What the key store has.
    Loaded(Option<StoredToken>),
    /// The key store does not answer: it is locked, perhaps.
    LoadFailed(Fault),
    /// What the shared file holds.
    Shared(SharedFile),
    /// The renewed token.
    Refreshed(IssuedToken),
    /// There is none.
    RefreshFailed(RefreshFailure),
    /// The key store keeps the token, or it does not.
    Stored(Result<(), Fault>),
    /// The key store has forgotten the token, or it has not.
    Wiped(Result<(), Fault>),
    /// The shared file is written, or it is not.
    Written(Result<(), Fault>),
    /// The shared file is deleted, or it is not.
    Deleted(Result<(), Fault>),
    /// How far the login is.
    LoginProgress(LoginProgress),
    /// What became of its page.
    Page(LoginPage),
    /// Somebody signed in.
    LoggedIn(IssuedToken, Arc<OidcClient>),
    /// Nobody did.
    LoginFailed(LoginFailure),
}

/// What the sign-in has to have done. Key store and shared file: one after the other, in this order.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Read the key store.
    Load(Attempt),
    /// Read the shared file.
    ReadShared(Attempt),
    /// Renew this token.
    Refresh(Attempt, Arc<SsoToken>),
    /// Keep this in the key store.
    Store(Attempt, StoredToken),
    /// Forget what the key store has.
    Wipe(Attempt),
    /// Write the shared file.
    WriteShared(Attempt, Arc<SsoToken>, Sharing),
    /// Delete the shared file.
    DeleteShared(Attempt),
    /// Have AWS revoke this token.
    Revoke(Arc<SsoToken>),
    /// Forget the credentials of roles that came from this sign-in.
    ForgetCredentials,
    /// Forget the registered clients: AWS does.
    ForgetClients,
    /// Have a person sign in.
    BeginLogin {
        /// Which login.
        attempt: Attempt,
        /// The way.
        plan: LoginPlan,
        /// With a new client: AWS forgot the one that is known.
        register: bool,
    },
    /// Stop that.
    EndLogin(Attempt),
    /// Tell who waits for a login.
    LoginEnded(Result<(), LoginFailure>),
    /// Tell who waits for a renewal.
    RenewalEnded(Result<(), Fault>),
    /// Tell who waits for a logout.
    LoggedOut(Result<(), Fault>),
    /// Tell the person, if anything needs this sign-in.
    Notify(Notice),
    /// Have this in the history. What is a notice is there as well.
    Record(SignInEvent),
    /// Show this.
    Publish(SignInStatus),
}

/// What a person is to know although nobody asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A login is needed.
    LoginNeeded {
        /// Why, as a sentence part.
        reason: &'static str,
        /// The token is good until then; absent when it is not any more.
        before: Option<Timestamp>,
    },
    /// Logins do not last.
    LoginsDoNotLast,
}

/// Answer of [`SignInMachine::poll_output`].
#[derive(Clone, Debug)]
pub enum Output {
    /// Have this done.
    Effect(Effect),
    /// Nothing more to do before that instant.
    Timeout(Option<Instant>),
}

/// What the machine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Nothing,
    Loading(Attempt),
    Reading(Attempt, Look),
    /// To read again at that time.
    Waiting(Instant, Look),
    Renewing(Attempt),
}

/// The machine of one sign-in.
#[derive(Debug)]
pub struct SignInMachine {
    site: Arc<SignInSite>,
    policy: SignInPolicy,
    held: Option<Held>,
    past: PastTokens,
    /// Why only a login brings a new token, even if the present one is still good.
    lost: Option<LoginReason>,
    work: Work,
    login: Option<Login>,
    /// A tunnel's wish for a login, until it is known that nothing else helps.
    wish: Option<LoginOrder>,
    success: Success,
    /// A sign-out that is not through.
    leaving: Option<Leaving>,
    lasting: Lasting,
    /// AWS forgot the client that is known.
    client_gone: bool,
    /// The key store has answered.
    loaded: bool,
    /// What is held is in the key store, or on its way there.
    stored: bool,
    /// The shared file held what is held: its absence is a logout. While nothing is shared: it is still to be deleted.
    shared: bool,
    /// The shared file was looked at.
    looked: bool,
    /// Look at the shared file again as soon as nothing else is done.
    look_again: bool,
    /// Somebody wants a renewal now.
    demand: bool,
    /// The machine woke for itself.
    dark: bool,
    retry: Option<Retry>,
    check_at: Instant,
    troubles: Troubles,
    /// The person was told of the present loss.
    told: bool,
    generation: Generation,
    attempt: Attempt,
    /// The last change of the key store, until it is answered.
    storing: Option<Attempt>,
    /// The last change of the shared file, until it is answered.
    writing: Option<Attempt>,
    backoff: Backoff,
    effects: VecDeque<Effect>,
    due: Option<Instant>,
    published: Option<SignInStatus>,
}

impl SignInMachine {
    /// A sign-in of which nothing is known yet.
    pub fn new(site: Arc<SignInSite>, policy: SignInPolicy, now: Now, seed: [u8; 32]) -> Self {
        let mut machine = Self {
            site,
            policy,
            held: None,
            past: PastTokens::default(),
            lost: None,
            work: Work::Nothing,
            login: None,
            wish: None,
            success: Success::default(),
            leaving: None,
            lasting: Lasting::default(),
            client_gone: false,
            loaded: false,
            stored: true,
            shared: false,
            looked: false,
            look_again: false,
            demand: false,
            dark: false,
            retry: None,
            check_at: now.mono + policy.check_interval,
            troubles: Troubles::default(),
            told: false,
            generation: Generation::default(),
            attempt: Attempt::default(),
            storing: None,
            writing: None,
            backoff: Backoff::new(seed),
            effects: VecDeque::new(),
            due: None,
            published: None,
        };
        machine.load();
        machine.settle(now);
        machine
    }

    /// Takes an input.
    pub fn handle_input(&mut self, input: Input, now: Now) {
        match input {
            Input::Command(command) => self.handle_command(command, now),
            Input::Answer(attempt, answer) => self.handle_answer(attempt, answer, now),
            Input::SharedChanged => self.look_again = true,
            Input::Rejected(generation) => self.rejected(generation, now),
            Input::Needed => self.needed(now),
            Input::Policy(policy) => self.change_policy(policy, now),
            Input::Incident(incident) => self.disturbed(incident, now),
        }
        self.settle(now);
    }

    /// Does what is due. Calling it early does no harm.
    pub fn handle_timeout(&mut self, now: Now) {
        self.settle(now);
    }

    /// The next thing to be done.
    pub fn poll_output(&mut self) -> Output {
        match self.effects.pop_front() {
            Some(effect) => Output::Effect(effect),
            None => Output::Timeout(self.due),
        }
    }

    fn handle_command(&mut self, command: Command, now: Now) {
        match command {
            Command::Login(order) => self.order_login(order, now),
            Command::CancelLogin => self.cancel_login(),
            Command::Refresh => self.refresh_now(now),
            Command::Logout => self.sign_out(),
        }
    }

    fn handle_answer(&mut self, attempt: Attempt, answer: Answer, now: Now) {
        match answer {
            Answer::Loaded(stored) if self.work == Work::Loading(attempt) => self.on_loaded(stored, now),
            Answer::LoadFailed(fault) if self.work == Work::Loading(attempt) => {
                self.troubles.keys = Some(fault);
                self.read(Look::at(Purpose::Check), now);
            }
            Answer::Shared(file) => {
                if let Work::Reading(current, look) = self.work
                    && current == attempt
                {
                    self.on_shared(file, look, now);
                }
            }
            Answer::Refreshed(issued) if self.work == Work::Renewing(attempt) => self.refreshed(issued, now),
            Answer::RefreshFailed(failure) if self.work == Work::Renewing(attempt) => {
                self.refresh_failed(failure, now);
            }
            Answer::Stored(outcome) if self.storing == Some(attempt) => self.on_stored(outcome),
            Answer::Wiped(outcome) if self.storing == Some(attempt) => self.on_wiped(outcome),
            Answer::Written(outcome) if self.writing == Some(attempt) => self.on_written(outcome),
            Answer::Deleted(outcome) if self.writing == Some(attempt) => self.on_deleted(outcome),
            Answer::LoginProgress(progress) => self.login_progress(attempt, progress),
            Answer::Page(became) => self.page(attempt, became),
            Answer::LoggedIn(issued, client) => self.logged_in(attempt, issued, &client, now),
            Answer::LoginFailed(failure) => self.login_failed(attempt, failure),
            Answer::Loaded(_)
            | Answer::LoadFailed(_)
            | Answer::Refreshed(_)
            | Answer::RefreshFailed(_)
            | Answer::Stored(_)
            | Answer::Wiped(_)
            | Answer::Written(_)
            | Answer::Deleted(_) => {}
        }
    }

    fn disturbed(&mut self, incident: Incident, now: Now) {
        if let Incident::Woke { dark, .. } = incident {
            self.dark = dark;
        }
        if let Some(retry) = &mut self.retry
            && !self.dark
            && !matches!(incident, Incident::ClockJumped { .. })
        {
            let soon = now.mono + self.backoff.spread(RETURN_WITHIN);
            if soon < retry.at {
                *retry = Retry { at: soon, shown: now.wall_at(soon) };
            }
        }
        self.look_again = true;
    }

    /// A person is there, whatever the system says.
    fn somebody_is_there(&mut self) {
        self.dark = false;
    }

    /// What follows from an input as a whole: what is due, what is shown.
    fn settle(&mut self, now: Now) {
        if let Some(held) = &mut self.held {
            held.notice_clock_set_back(now);
        }
        self.proceed(now);
        self.expire_login(now);
        self.grant_wish(now);
        self.tell_success();
        self.tell_in_time(now);
        self.publish(now);
        self.due = self.next_timeout(now);
    }

    /// Begins what is due, if nothing is done.
    fn proceed(&mut self, now: Now) {
        match self.work {
            Work::Waiting(at, look) if at <= now.mono => self.read_now(look, now),
            Work::Nothing if self.wants_renewal(now) => self.read(Look::at(Purpose::Renew), now),
            Work::Nothing if self.look_again || self.check_at <= now.mono => self.check(now),
            Work::Nothing | Work::Loading(_) | Work::Reading(..) | Work::Waiting(..) | Work::Renewing(_) => {}
        }
    }

    fn next_timeout(&self, now: Now) -> Option<Instant> {
        let work = match self.work {
            Work::Nothing => Some(self.check_at),
            Work::Waiting(at, _) => Some(at),
            Work::Loading(_) | Work::Reading(..) | Work::Renewing(_) => None,
        };
        let renewal = self.renewal_due(now).filter(|_| self.work == Work::Nothing);
        let held = self.held.as_ref().map(|held| held.remaining(now)).filter(|left| !left.is_zero());
        let expiry = held.map(|left| now.mono + left);
        let soon = held.and_then(|left| left.checked_sub(self.soon(now))).filter(|wait| !wait.is_zero());
        let soon = soon.map(|wait| now.mono + wait);
        let login = self.login.as_ref().map(|login| login.deadline);
        [work, renewal, expiry, soon, login].into_iter().flatten().min()
    }

    fn next_attempt(&mut self) -> Attempt {
        self.attempt = self.attempt.next();
        self.attempt
    }
}

#[cfg(test)]
mod tests;
