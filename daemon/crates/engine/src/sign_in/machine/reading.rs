//! Key store and shared file: what is in them, and who is right.

use super::{
    Arc, Duration, Effect, Fault, Held, LoginReason, Now, SharedFile, Sharing, SignInEvent, SignInMachine,
    SignInPolicy, Source, SsoToken, StoredToken, Work,
};

/// A file that is missing for so long is gone: whoever replaces it by deleting it first has had the time.
pub(super) const MISSING_FOR: Duration = Duration::from_millis(500);
/// How long to wait before half a file is read again. Writers that rewrite it in place take milliseconds.
pub(super) const TORN_WAITS: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(200), Duration::from_millis(400)];
/// Between two looks for the token of somebody who was faster: it is used before it is written.
pub(super) const RIVAL_WAIT: Duration = Duration::from_millis(500);
/// How often to look for it.
pub(super) const RIVAL_LOOKS: u8 = 4;

/// Why the shared file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To see whether it changed.
    Check,
    /// A renewal is due, unless somebody else was faster.
    Renew,
    /// A renewal was refused, perhaps because somebody else was faster; else this is why a login is needed.
    Rival(LoginReason),
    /// The token was renewed, and is to be written.
    Share,
    /// A tunnel needs a login, unless somebody else has signed in.
    Login,
}

/// A look at the shared file, which may take several reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) purpose: Purpose,
    /// Half a file was found so often.
    torn: u8,
    /// No file was found the last time.
    missing: bool,
    /// Looks for a rival's token so far.
    looks: u8,
}

impl Look {
    pub(super) fn at(purpose: Purpose) -> Self {
        Self { purpose, torn: 0, missing: false, looks: 0 }
    }
}

/// What a token in the shared file is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// The one in use.
    Same,
    /// One to use from now on.
    Newer,
    /// One that is over.
    Older,
    /// One that is good for others; ours is better.
    Other,
}

impl SignInMachine {
    pub(super) fn load(&mut self) {
        let attempt = self.next_attempt();
        self.work = Work::Loading(attempt);
        self.effects.push_back(Effect::Load(attempt));
    }

    pub(super) fn on_loaded(&mut self, stored: Option<StoredToken>, now: Now) {
        self.loaded = true;
        self.troubles.keys = None;
        match stored {
            Some(StoredToken { token, site, .. }) if site != self.site => {
                self.forget_if_held(&token);
                self.past.add(&token);
            }
            Some(StoredToken { token, signed_out: true, .. }) => self.go_on_leaving(token),
            Some(StoredToken { token, shared, .. }) => self.take_stored(token, shared, now),
            None => {}
        }
        if !self.stored {
            self.store();
        }
        self.read(Look::at(Purpose::Check), now);
    }

    /// Uses what the key store has, unless it was locked and what was found meanwhile is better.
    fn take_stored(&mut self, token: Arc<SsoToken>, shared: bool, now: Now) {
        let Some(held) = &mut self.held else {
            self.hold(token, Source::Found, now);
            self.shared = shared;
            self.stored = true;
            return;
        };
        if held.token.is_same(&token) {
            // The shared file may have it without what renews it.
            if held.token.refresh.is_none() {
                held.token = token;
                self.lost = None;
                self.told = false;
            }
        } else if self.outlasts_stored(&token, now) {
            self.past.add(&token);
        } else {
            self.effects.push_back(Effect::ForgetCredentials);
            self.hold(token, Source::Found, now);
            self.stored = shared == self.shared;
        }
    }

    /// Whether the token in use, which was found in the shared file, counts and not that of the key store: as it would if the
    /// key store had been read first.
    fn outlasts_stored(&self, stored: &SsoToken, now: Now) -> bool {
        let Some(held) = &self.held else { return false };
        let good = self.lost.is_none() && held.is_usable(now);
        let later = stored.expires_at <= now.wall || held.expires_at() >= stored.expires_at;
        self.past.contains(stored) || good && later
    }

    /// Looks at everything that may have changed by itself.
    pub(super) fn check(&mut self, now: Now) {
        if !self.stored {
            self.store();
        }
        self.wipe_again();
        if self.loaded {
            self.read(Look::at(Purpose::Check), now);
        } else {
            self.check_at = now.mono + self.policy.check_interval;
            self.look_again = false;
            self.load();
        }
    }

    pub(super) fn read(&mut self, look: Look, now: Now) {
        self.check_at = now.mono + self.policy.check_interval;
        self.look_again = false;
        self.read_now(look, now);
    }

    pub(super) fn read_now(&mut self, look: Look, now: Now) {
        let unread = self.policy.sharing == Sharing::Off;
        self.looked |= unread;
        if unread && !(look.purpose == Purpose::Check && self.is_file_left()) {
            self.work = Work::Nothing;
            self.after_look(look, false, now);
        } else {
            let attempt = self.next_attempt();
            self.work = Work::Reading(attempt, look);
            self.effects.push_back(Effect::ReadShared(attempt));
        }
    }

    pub(super) fn change_policy(&mut self, policy: SignInPolicy, now: Now) {
        let before = std::mem::replace(&mut self.policy, policy);
        self.check_at = self.check_at.min(now.mono + policy.check_interval);
        if policy.sharing == before.sharing {
            return;
        }
        if policy.sharing == Sharing::Off {
            self.stop_sharing(now);
        }
        self.look_again = true;
    }

    /// From now on nothing is shared, and nothing is taken from the file, were it on its way.
    fn stop_sharing(&mut self, now: Now) {
        self.troubles.reading = None;
        // A copy that stays would be renewed by somebody else, who uses our refresh token up. One that is being written will be
        // there.
        if self.writing.is_some() && self.leaving.is_none() {
            self.set_shared(true);
        }
        if self.shared {
            self.delete_shared();
        }
        if let Work::Reading(_, look) | Work::Waiting(_, look) = self.work {
            self.read_now(look, now);
        }
    }

    pub(super) fn on_shared(&mut self, file: SharedFile, mut look: Look, now: Now) {
        self.troubles.reading =
            if let SharedFile::Failed(fault) = &file { Some(fault.clone()) } else { None };
        if self.policy.sharing == Sharing::Off {
            self.work = Work::Nothing;
            self.on_file_left(&file);
            return;
        }
        let missing = matches!(file, SharedFile::Missing);
        let was_missing = std::mem::replace(&mut look.missing, missing);
        let before = self.generation;
        match file {
            SharedFile::Token(token) => self.on_shared_token(token, look.purpose, now),
            SharedFile::Missing if self.shared && !was_missing => {
                self.work = Work::Waiting(now.mono + MISSING_FOR, look);
                return;
            }
            SharedFile::Missing if self.shared => {
                self.signed_out(LoginReason::SignedOutElsewhere, false);
                return;
            }
            SharedFile::Torn => match TORN_WAITS.get(usize::from(look.torn)) {
                Some(wait) => {
                    look.torn += 1;
                    self.work = Work::Waiting(now.mono + *wait, look);
                    return;
                }
                None => {
                    self.leave_file(true);
                    self.share(now);
                }
            },
            SharedFile::Missing => {
                self.leave_file(false);
                self.share(now);
            }
            SharedFile::Failed(_) => {}
        }
        self.looked = true;
        self.work = Work::Nothing;
        self.after_look(look, self.generation != before, now);
    }

    fn on_shared_token(&mut self, token: Arc<SsoToken>, purpose: Purpose, now: Now) {
        match self.compare(&token, purpose, now) {
            Found::Same => {
                self.troubles.writing = None;
                self.set_shared(true);
                let (renews, is_to_renew) = (token.refresh.is_some(), self.shares_refresh());
                // What renews the token is taken from the file only when the key store has it.
                let kept = self.loaded && self.stored && self.storing.is_none();
                if renews != is_to_renew && (is_to_renew || kept) {
                    self.share(now);
                }
            }
            Found::Newer => self.adopt(token, now),
            Found::Older if self.held.is_some() => self.share(now),
            Found::Older if self.past.contains(&token) => self.leave_file(true),
            Found::Older => {
                self.lost.get_or_insert(LoginReason::ExpiredElsewhere);
            }
            Found::Other => {}
        }
    }

    fn compare(&mut self, token: &SsoToken, purpose: Purpose, now: Now) -> Found {
        let over = token.expires_at <= now.wall;
        let renewable = token.cannot_renew(now.wall).is_none();
        let Some(held) = &self.held else {
            // One that is over is worth a renewal where there is nothing else.
            let useless = self.past.contains(token) || over && !renewable;
            return if useless { Found::Older } else { Found::Newer };
        };
        if held.token.is_same(token) {
            Found::Same
        } else if self.past.contains(token) {
            Found::Older
        } else if matches!(purpose, Purpose::Rival(_)) && token.refresh.is_some() {
            // What became of our own login in somebody else's hands, even if it slept too long.
            Found::Newer
        } else if over {
            let hopeless = !held.is_usable(now) && self.cannot_renew(now).is_some();
            if hopeless && renewable { Found::Newer } else { Found::Older }
        } else if !held.is_usable(now)
            || self.lost.is_some()
            || matches!(purpose, Purpose::Rival(_))
            || token.expires_at > held.expires_at()
        {
            Found::Newer
        } else if !self.looked {
            // The last daemon could not write the file: it holds what came before the token in the key store.
            self.past.add(token);
            Found::Older
        } else if token.refresh.is_some() {
            // Unknown to us, so somebody wrote it after us.
            Found::Newer
        } else {
            Found::Other
        }
    }

    /// What the look was for. `newer`: it brought another token.
    fn after_look(&mut self, mut look: Look, newer: bool, now: Now) {
        match look.purpose {
            // What had to be written is: a file that holds anything else is older than the token.
            Purpose::Check | Purpose::Share => {}
            Purpose::Renew | Purpose::Rival(_) if newer => {}
            Purpose::Renew => self.renew(now),
            Purpose::Rival(_) if self.policy.sharing != Sharing::Off && look.looks + 1 < RIVAL_LOOKS => {
                look.looks += 1;
                self.work = Work::Waiting(now.mono + RIVAL_WAIT, look);
            }
            Purpose::Rival(reason) => self.lose(reason, now),
            Purpose::Login => self.login_if_needed(now),
        }
    }

    /// Takes the token of somebody else over: their login is our login.
    fn adopt(&mut self, token: Arc<SsoToken>, now: Now) {
        let was_good = self.lost.is_none() && self.held.as_ref().is_some_and(|held| held.is_usable(now));
        let was_out = self.held.is_none() || self.lost.is_some();
        self.hold(token, Source::Found, now);
        self.troubles.writing = None;
        self.shared = true;
        self.store();
        // Another person may have signed in, with other rights.
        self.effects.push_back(Effect::ForgetCredentials);
        if self.held.as_ref().is_some_and(|held| held.is_usable(now)) {
            self.renewal_ended(Ok(()));
            if was_out {
                self.record(SignInEvent::SignedIn { elsewhere: true });
            }
            if !was_good {
                self.end_login(Ok(()));
            }
        }
    }

    /// Uses that token from now on; what was wrong with the one before is forgotten.
    pub(super) fn hold(&mut self, token: Arc<SsoToken>, source: Source, now: Now) {
        self.stay();
        self.generation = self.generation.next();
        let held = Held::new(token, self.generation, source, now);
        if let Some(before) = self.held.replace(held) {
            self.past.add(&before.token);
        }
        self.lost = None;
        self.retry = None;
        self.troubles.renewal = None;
        self.told = false;
        self.stored = false;
        self.backoff.reset();
    }

    pub(super) fn store(&mut self) {
        let Some(held) = &self.held else { return };
        // What was found without the key store must not replace what it has before that is known.
        self.stored = self.loaded;
        if self.loaded {
            let stored = StoredToken::new(Arc::clone(&held.token), Arc::clone(&self.site), self.shared);
            let attempt = self.next_attempt();
            self.storing = Some(attempt);
            self.effects.push_back(Effect::Store(attempt, stored));
        }
    }

    pub(super) fn on_stored(&mut self, outcome: Result<(), Fault>) {
        self.storing = None;
        self.on_marked(&outcome);
        self.stored = outcome.is_ok();
        // What renews the token may be taken from the file now.
        self.look_again |= self.stored && self.policy.sharing == Sharing::AccessOnly;
        self.troubles.keys = outcome.err();
    }

    /// Writes the shared file, if there is something worth it.
    pub(super) fn share(&mut self, now: Now) {
        let sharing = self.policy.sharing;
        let good = self.held.as_ref().filter(|held| held.is_usable(now) && sharing != Sharing::Off);
        let Some(token) = good.map(|held| Arc::clone(&held.token)) else { return };
        let attempt = self.next_attempt();
        self.writing = Some(attempt);
        self.effects.push_back(Effect::WriteShared(attempt, token, sharing));
    }

    pub(super) fn on_written(&mut self, outcome: Result<(), Fault>) {
        self.writing = None;
        if outcome.is_ok() {
            self.set_shared(true);
        }
        self.troubles.writing = outcome.err();
    }

    pub(super) fn set_shared(&mut self, shared: bool) {
        if self.shared != shared {
            self.shared = shared;
            self.store();
        }
    }

    /// Whether the shared file is to hold what renews the token.
    fn shares_refresh(&self) -> bool {
        let renewable = self.held.as_ref().is_some_and(|held| held.token.refresh.is_some());
        renewable && self.policy.sharing == Sharing::Full
    }
}
