//! What is told of a sign-in: to people, and to whoever needs its token.

use stormtunnel_model::{FaultKind, SignInActivity, SignInEvent};

use super::reading::Purpose;
use super::{
    Arc, Effect, Fault, Generation, LoginReason, Now, SignInMachine, SignInState, SignInStatus, SsoToken,
    Work,
};

/// What somebody who needs the token gets.
#[derive(Clone, Debug)]
pub enum Usable {
    /// This; if AWS does not accept it, say so with that number.
    Token(Generation, Arc<SsoToken>),
    /// Nothing yet: ask again after the next change.
    Wait,
    /// Nothing, and why.
    No(Fault),
}

/// What failed last, of each kind, and has not worked since.
#[derive(Clone, Debug, Default)]
pub(super) struct Troubles {
    pub(super) renewal: Option<Fault>,
    pub(super) keys: Option<Fault>,
    /// The shared file: written or deleted.
    pub(super) writing: Option<Fault>,
    /// The shared file: read.
    pub(super) reading: Option<Fault>,
}

impl Troubles {
    /// The worst of them.
    fn worst(&self) -> Option<&Fault> {
        let files = self.writing.as_ref().or(self.reading.as_ref());
        self.renewal.as_ref().or(self.keys.as_ref()).or(files)
    }
}

/// What has come about and is told once it is kept: whoever hears of it may look for the token at once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Success {
    pub(super) login: bool,
    pub(super) renewal: bool,
}

impl SignInMachine {
    /// What somebody who needs the token gets now. To be asked after [`Input::Needed`](super::Input::Needed), which has one
    /// that is over renewed.
    pub fn usable(&self, now: Now) -> Usable {
        match &self.held {
            _ if !self.looked => return Usable::Wait,
            Some(held) if held.is_usable(now) => {
                return Usable::Token(held.generation, Arc::clone(&held.token));
            }
            Some(_) | None => {}
        }
        if self.is_seeking() {
            return Usable::Wait;
        }
        let lost = self.state(now).fault(&self.site.name);
        let asleep = || Fault::new(FaultKind::Network, "the token is renewed when the machine is awake");
        let fault = lost.or_else(|| self.dark.then(asleep)).or_else(|| self.troubles.worst().cloned());
        fault.map_or(Usable::Wait, Usable::No)
    }

    /// Whether AWS was asked for a new token and has not answered yet.
    pub fn is_renewing(&self) -> bool {
        matches!(self.work, Work::Renewing(_))
    }

    /// Whether what is done now may bring a token.
    fn is_seeking(&self) -> bool {
        match self.work {
            Work::Nothing => self.demand && self.lost.is_none() && self.retry.is_none() && !self.dark,
            Work::Loading(_) | Work::Renewing(_) => true,
            Work::Reading(_, look) | Work::Waiting(_, look) => look.purpose != Purpose::Check,
        }
    }

    /// Tells of success once key store and shared file have answered.
    pub(super) fn tell_success(&mut self) {
        let to_be_shared = match self.work {
            Work::Reading(_, look) | Work::Waiting(_, look) => look.purpose == Purpose::Share,
            Work::Nothing | Work::Loading(_) | Work::Renewing(_) => false,
        };
        if to_be_shared || self.storing.is_some() || self.writing.is_some() {
            return;
        }
        let Success { login, renewal } = std::mem::take(&mut self.success);
        if login {
            self.effects.push_back(Effect::LoginEnded(Ok(())));
        }
        if renewal {
            self.effects.push_back(Effect::RenewalEnded(Ok(())));
        }
    }

    /// What to show.
    pub fn status(&self, now: Now) -> SignInStatus {
        let activity = match (&self.login, self.work) {
            (Some(login), _) => Some(SignInActivity::LoggingIn(login.progress.clone())),
            (None, Work::Renewing(_)) => Some(SignInActivity::Renewing),
            (None, Work::Loading(_)) => Some(SignInActivity::Reading),
            (None, Work::Reading(_, look) | Work::Waiting(_, look)) => match look.purpose {
                // A glance each minute is nothing to show.
                Purpose::Check if self.looked => None,
                Purpose::Check | Purpose::Login => Some(SignInActivity::Reading),
                Purpose::Renew | Purpose::Rival(_) | Purpose::Share => Some(SignInActivity::Renewing),
            },
            (None, Work::Nothing) => None,
        };
        SignInStatus { state: self.state(now), activity, trouble: self.troubles.worst().cloned() }
    }

    fn state(&self, now: Now) -> SignInState {
        if !self.looked {
            return SignInState::Unknown;
        }
        let Some(held) = &self.held else {
            return match self.lost {
                Some(reason) => SignInState::NeedsLogin { reason },
                None if self.loaded => SignInState::NeedsLogin { reason: LoginReason::NeverSignedIn },
                None => SignInState::Unknown,
            };
        };
        let renewal = self.renewal(held, now);
        let expires_at = held.expires_at();
        if !held.is_usable(now) {
            match self.lost {
                Some(reason) => SignInState::NeedsLogin { reason },
                None => SignInState::Expired { since: held.rejected_at.unwrap_or(expires_at), renewal },
            }
        } else if held.remaining(now) <= self.soon(now) {
            SignInState::ExpiringSoon { expires_at, renewal }
        } else {
            SignInState::Authenticated { expires_at, renewal }
        }
    }

    pub(super) fn record(&mut self, event: SignInEvent) {
        self.effects.push_back(Effect::Record(event));
    }

    pub(super) fn publish(&mut self, now: Now) {
        let status = self.status(now);
        if self.published.as_ref() != Some(&status) {
            self.published = Some(status.clone());
            self.effects.push_back(Effect::Publish(status));
        }
    }
}
