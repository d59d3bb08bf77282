//! Signing out: nothing may be left of the token, however often that has to be tried.

use std::sync::Arc;

use stormtunnel_model::{Fault, LoginReason, SignInEvent};

use super::shown::Troubles;
use super::{Effect, LoginFailure, SharedFile, Sharing, SignInMachine, SsoToken, StoredToken, Work};

/// A sign-out that is not through. The shared file goes first: as long as the key store knows that it was there, its absence is a
/// logout for the next daemon as well.
#[derive(Debug)]
pub(super) struct Leaving {
    /// What was signed out, if anything was.
    token: Option<Arc<SsoToken>>,
    /// The shared file may still hold it.
    pub(super) file: bool,
    /// The key store knows of it: a daemon that is started meanwhile goes on.
    marked: bool,
}

impl SignInMachine {
    /// A person signs out: of everything that shares the token.
    pub(super) fn sign_out(&mut self) {
        self.somebody_is_there();
        self.cancel_login();
        if let Some(held) = &self.held {
            self.effects.push_back(Effect::Revoke(Arc::clone(&held.token)));
        }
        let file = self.policy.sharing != Sharing::Off || self.shared;
        self.signed_out(LoginReason::SignedOutHere, file);
    }

    /// Nothing is to be left of the token. `file`: the shared file is to go as well.
    pub(super) fn signed_out(&mut self, reason: LoginReason, file: bool) {
        let token = self.held.take().map(|held| held.token);
        if let Some(token) = &token {
            self.past.add(token);
            self.record(SignInEvent::SignedOut { elsewhere: reason == LoginReason::SignedOutElsewhere });
        }
        // Whoever signs out once more has what is left of the first time tried again.
        let token = token.or_else(|| self.leaving.take()?.token);
        self.leaving = Some(Leaving { token, file, marked: false });
        self.lost = Some(reason);
        self.work = Work::Nothing;
        self.loaded = true;
        self.looked = true;
        self.shared = false;
        self.stored = true;
        self.retry = None;
        self.troubles = Troubles::default();
        self.backoff.reset();
        self.effects.push_back(Effect::ForgetCredentials);
        if std::mem::take(&mut self.success).login {
            self.effects.push_back(Effect::LoginEnded(Err(LoginFailure::Cancelled)));
        }
        self.renewal_ended_without_token();
        self.leave();
    }

    /// The last daemon did not get through: what of it still holds this token is to go.
    pub(super) fn go_on_leaving(&mut self, token: Arc<SsoToken>) {
        self.forget_if_held(&token);
        self.past.add(&token);
        if self.held.is_none() {
            self.lost = Some(LoginReason::SignedOutHere);
            self.leaving = Some(Leaving { token: Some(token), file: true, marked: true });
        }
    }

    /// What is held was found in the shared file, and is this, which must not be used.
    pub(super) fn forget_if_held(&mut self, token: &SsoToken) {
        if self.held.take_if(|held| held.token.is_same(token)).is_some() {
            self.shared = false;
            self.stored = true;
            self.effects.push_back(Effect::ForgetCredentials);
        }
    }

    /// The next step.
    pub(super) fn leave(&mut self) {
        match &self.leaving {
            Some(leaving) if leaving.file => self.delete_shared(),
            Some(_) => {
                let attempt = self.next_attempt();
                self.storing = Some(attempt);
                self.effects.push_back(Effect::Wipe(attempt));
            }
            None => {}
        }
    }

    pub(super) fn delete_shared(&mut self) {
        let attempt = self.next_attempt();
        self.writing = Some(attempt);
        self.effects.push_back(Effect::DeleteShared(attempt));
    }

    /// Tries again to wipe the key store. Whether the shared file is to be deleted says what it holds.
    pub(super) fn wipe_again(&mut self) {
        if self.storing.is_none() && self.leaving.as_ref().is_some_and(|leaving| !leaving.file) {
            self.leave();
        }
    }

    /// Whether the shared file may hold a token that is to go.
    pub(super) fn is_file_left(&self) -> bool {
        let of_leaving = self.leaving.as_ref().is_some_and(|leaving| leaving.file);
        self.writing.is_none() && (self.shared || of_leaving)
    }

    /// Nothing is shared, and this is what the file holds. What somebody else put there stays.
    pub(super) fn on_file_left(&mut self, file: &SharedFile) {
        let is_ours = match file {
            SharedFile::Token(token) => {
                let is_held = self.held.as_ref().is_some_and(|held| held.token.is_same(token));
                is_held || self.past.contains(token)
            }
            SharedFile::Missing => false,
            // The next check knows more.
            SharedFile::Torn | SharedFile::Failed(_) => return,
        };
        if self.leaving.is_some() {
            self.leave_file(is_ours);
        } else if is_ours {
            self.delete_shared();
        } else {
            self.set_shared(false);
        }
    }

    /// The shared file was read: it is there and holds nothing that is to stay, or it is not there.
    pub(super) fn leave_file(&mut self, is_there: bool) {
        if let Some(leaving) = self.leaving.as_mut().filter(|leaving| leaving.file && self.writing.is_none())
        {
            leaving.file = is_there;
            self.leave();
        }
    }

    pub(super) fn on_deleted(&mut self, outcome: Result<(), Fault>) {
        self.writing = None;
        self.troubles.writing = outcome.as_ref().err().cloned();
        match (&mut self.leaving, outcome) {
            (Some(leaving), Ok(())) => {
                leaving.file = false;
                self.leave();
            }
            (Some(_), Err(fault)) => {
                self.mark();
                self.effects.push_back(Effect::LoggedOut(Err(fault)));
            }
            (None, Ok(())) => self.set_shared(false),
            (None, Err(_)) => {}
        }
    }

    pub(super) fn on_wiped(&mut self, outcome: Result<(), Fault>) {
        self.storing = None;
        self.troubles.keys = outcome.as_ref().err().cloned();
        if outcome.is_ok() {
            self.leaving = None;
        }
        self.effects.push_back(Effect::LoggedOut(outcome));
    }

    /// Somebody signed in again: what is left of the last time is replaced.
    pub(super) fn stay(&mut self) {
        if self.leaving.take().is_some() {
            self.effects.push_back(Effect::LoggedOut(Ok(())));
        }
    }

    /// Has the key store know of the sign-out while the file cannot be deleted. It keeps nothing that renews the token.
    fn mark(&mut self) {
        let Some(Leaving { token: Some(token), marked: marked @ false, .. }) = &mut self.leaving else {
            return;
        };
        *marked = true;
        let token = Arc::new(token.access_only());
        let stored =
            StoredToken { signed_out: true, ..StoredToken::new(token, Arc::clone(&self.site), true) };
        let attempt = self.next_attempt();
        self.storing = Some(attempt);
        self.effects.push_back(Effect::Store(attempt, stored));
    }

    /// Whether the key store knows of the sign-out.
    pub(super) fn on_marked(&mut self, outcome: &Result<(), Fault>) {
        if let Some(leaving) = &mut self.leaving {
            leaving.marked = outcome.is_ok();
        }
    }
}
