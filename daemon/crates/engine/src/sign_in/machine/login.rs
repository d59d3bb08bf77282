//! Logins: one at a time, whoever asks, and not without end.

use std::collections::VecDeque;
use std::time::Instant;

use stormtunnel_model::{Attempt, LoginPage, LoginProgress, LoginReason, Recovery, SignInEvent};

use super::reading::{Look, Purpose};
use super::{
    Arc, Effect, Fault, IssuedToken, LASTS, LOGIN_LIMIT, LOGINS_THAT_FAIL, LoginBy, LoginFailure, LoginOrder,
    LoginPlan, Notice, Now, OidcClient, SignInMachine, Source, SsoToken, Work,
};
use crate::sign_in::flow::LoginFlow;

/// The login that runs.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) attempt: Attempt,
    plan: LoginPlan,
    pub(super) deadline: Instant,
    pub(super) progress: LoginProgress,
    /// The client was registered anew for it: AWS forgot the one that was known.
    registered: bool,
}

/// Whether logins last.
#[derive(Debug, Default)]
pub(super) struct Lasting {
    last: Option<Instant>,
    /// When logins were that did not.
    failed: VecDeque<Instant>,
    /// The person was told of the present pause.
    told: bool,
}

impl Lasting {
    fn logged_in(&mut self, now: Instant) {
        self.last = Some(now);
    }

    /// The token is lost.
    pub(super) fn lost(&mut self, now: Instant) {
        if let Some(login) = self.last.take().filter(|login| now < *login + LASTS) {
            self.failed.push_back(login);
        }
    }

    /// When the next login may begin, if not now.
    fn pause_until(&mut self, now: Instant) -> Option<Instant> {
        while self.failed.front().is_some_and(|login| *login + LASTS <= now) {
            self.failed.pop_front();
        }
        let enough = self.failed.len() >= LOGINS_THAT_FAIL;
        self.told &= enough;
        self.failed.front().filter(|_| enough).map(|login| *login + LASTS)
    }
}

impl SignInMachine {
    pub(super) fn order_login(&mut self, order: LoginOrder, now: Now) {
        match (&self.login, order.by) {
            (Some(login), LoginBy::Person) if !login.plan.goes_as(&order.plan) => {
                // Whoever waits for it waits for the other one now.
                self.effects.push_back(Effect::EndLogin(login.attempt));
                self.login = None;
                self.somebody_is_there();
                self.begin_login(order.plan, now);
            }
            // Whoever asks sees the one that runs.
            (Some(_), _) => {}
            // Or the one that is being kept.
            (None, LoginBy::Person) if self.success.login => {}
            (None, LoginBy::Person) => {
                self.somebody_is_there();
                self.begin_login(order.plan, now);
            }
            (None, LoginBy::Tunnel { .. }) => {
                self.needed(now);
                // Where somebody is there for one of them, a browser may be opened for all.
                let unattended = LoginBy::Tunnel { attended: false };
                self.wish = self.wish.take().filter(|wish| wish.by != unattended).or(Some(order));
            }
        }
    }

    /// A tunnel's wish, once nothing is done that may make it needless.
    pub(super) fn grant_wish(&mut self, now: Now) {
        if self.wish.is_none() || self.work != Work::Nothing || !self.looked {
            return;
        }
        let held = self.held.as_ref();
        if held.is_some_and(|held| held.is_usable(now)) {
            self.wish = None;
            self.success.login = true;
        } else if let Some(fault) = self.passing_trouble() {
            // It is renewed, or found, by itself when that has passed; a login is no remedy.
            let passes = fault.recovery() == Recovery::Retry;
            self.refuse_wish(if passes { LoginFailure::Unreachable } else { LoginFailure::Refused }(fault));
        } else if held.is_none() || self.cannot_renew(now).is_some() {
            self.read(Look::at(Purpose::Login), now);
        } else if self.dark {
            self.refuse_wish(LoginFailure::NobodyThere);
        } else {
            self.demand = true;
        }
    }

    /// What keeps a token from us that is there.
    fn passing_trouble(&self) -> Option<Fault> {
        let renewal = self.troubles.renewal.clone().filter(|_| self.retry.is_some());
        renewal.or_else(|| self.troubles.keys.clone().filter(|_| !self.loaded))
    }

    fn refuse_wish(&mut self, failure: LoginFailure) {
        self.wish = None;
        self.effects.push_back(Effect::LoginEnded(Err(failure)));
    }

    /// The shared file was looked at for the wish.
    pub(super) fn login_if_needed(&mut self, now: Now) {
        // A renewal comes first, if there may be one.
        if self.held.as_ref().is_some_and(|held| held.is_usable(now) || self.cannot_renew(now).is_none()) {
            return;
        }
        let Some(order) = self.wish.take().filter(|_| self.login.is_none()) else { return };
        if self.dark || order.by == (LoginBy::Tunnel { attended: false }) {
            let reason = self.cannot_renew(now).map_or("nobody signed in yet", |why| why.in_words());
            let reason = self.lost.map_or(reason, LoginReason::in_words);
            self.tell(Notice::LoginNeeded { reason, before: None });
            self.effects.push_back(Effect::LoginEnded(Err(LoginFailure::NobodyThere)));
        } else {
            self.begin_login(order.plan, now);
        }
    }

    fn begin_login(&mut self, plan: LoginPlan, now: Now) {
        self.wish = None;
        if let Some(until) = self.lasting.pause_until(now.mono) {
            let failure = LoginFailure::DoesNotLast { until: now.wall_at(until) };
            if !std::mem::replace(&mut self.lasting.told, true) {
                self.effects.push_back(Effect::Notify(Notice::LoginsDoNotLast));
            }
            self.effects.push_back(Effect::LoginEnded(Err(failure)));
            return;
        }
        let attempt = self.next_attempt();
        let register = self.client_gone;
        self.effects.push_back(Effect::BeginLogin { attempt, plan: plan.clone(), register });
        let deadline = now.mono + LOGIN_LIMIT;
        let progress = LoginProgress::Starting;
        self.login = Some(Login { attempt, plan, deadline, progress, registered: register });
    }

    pub(super) fn cancel_login(&mut self) {
        self.end_login(Err(LoginFailure::Cancelled));
        if self.wish.is_some() {
            self.refuse_wish(LoginFailure::Cancelled);
        }
    }

    /// The login that runs, if there is one, is over.
    pub(super) fn end_login(&mut self, outcome: Result<(), LoginFailure>) {
        if let Some(login) = self.login.take() {
            self.effects.push_back(Effect::EndLogin(login.attempt));
            match outcome {
                Ok(()) => self.success.login = true,
                Err(failure) => self.effects.push_back(Effect::LoginEnded(Err(failure))),
            }
        }
    }

    pub(super) fn expire_login(&mut self, now: Now) {
        let Some(login) = self.login.as_ref().filter(|login| login.deadline <= now.mono) else { return };
        // For a client that AWS forgot its page leads nowhere, and nothing comes back to tell.
        if login.plan.flow == LoginFlow::AuthorizationCode && !login.registered {
            self.forget_clients();
        }
        self.end_login(Err(LoginFailure::TimedOut));
    }

    pub(super) fn login_progress(&mut self, attempt: Attempt, progress: LoginProgress) {
        if let Some(login) = self.login.as_mut().filter(|login| login.attempt == attempt) {
            login.progress = progress;
        }
    }

    pub(super) fn page(&mut self, attempt: Attempt, became: LoginPage) {
        if let Some(login) = self.login.as_mut().filter(|login| login.attempt == attempt)
            && let LoginProgress::Waiting { page, .. } = &mut login.progress
        {
            *page = became;
        }
    }

    pub(super) fn logged_in(
        &mut self,
        attempt: Attempt,
        issued: IssuedToken,
        client: &Arc<OidcClient>,
        now: Now,
    ) {
        if self.login.as_ref().is_none_or(|login| login.attempt != attempt) {
            return;
        }
        self.login = None;
        // What was under way was about the token before.
        self.work = Work::Nothing;
        let lifetime = issued.expires_in;
        let token = Arc::new(SsoToken::of_login(issued, client, now.wall));
        self.hold(token, Source::Issued(lifetime), now);
        self.lasting.logged_in(now.mono);
        self.record(SignInEvent::SignedIn { elsewhere: false });
        self.shared = false;
        self.looked = true;
        self.loaded = true;
        self.client_gone = false;
        self.store();
        // Another person may have signed in, with other rights.
        self.effects.push_back(Effect::ForgetCredentials);
        self.share(now);
        self.renewal_ended(Ok(()));
        self.success.login = true;
        if !self.held.as_ref().is_some_and(|held| held.is_usable(now)) {
            self.lose(LoginReason::TokenRejected, now);
        }
    }

    pub(super) fn login_failed(&mut self, attempt: Attempt, failure: LoginFailure) {
        let Some(login) = self.login.as_mut().filter(|login| login.attempt == attempt) else { return };
        if failure == LoginFailure::ClientGone && !login.registered {
            login.registered = true;
            login.progress = LoginProgress::Starting;
            let plan = login.plan.clone();
            let attempt = self.next_attempt();
            if let Some(login) = &mut self.login {
                login.attempt = attempt;
            }
            self.forget_clients();
            self.effects.push_back(Effect::BeginLogin { attempt, plan, register: true });
        } else {
            self.login = None;
            self.effects.push_back(Effect::LoginEnded(Err(failure)));
        }
    }

    pub(super) fn forget_clients(&mut self) {
        self.client_gone = true;
        self.effects.push_back(Effect::ForgetClients);
    }
}
