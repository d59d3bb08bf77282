//! Renewals: when one is due, and what became of it.

use std::time::{Duration, Instant};

use stormtunnel_model::{CannotRenew, Fault, FaultKind, LoginReason, Renewal, RenewalRule, SignInEvent};

use super::reading::{Look, Purpose};
use super::{
    Arc, Effect, Generation, IssuedToken, LASTS, Notice, Now, REFUSED_RETRY, RETRY_CAP, RefreshFailure,
    SignInMachine, Source, THROTTLED_CAP, THROTTLED_FLOOR, Timestamp, Work,
};
use crate::sign_in::policy::PERSON_NEEDS;

/// When a renewal that failed is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retry {
    pub(super) at: Instant,
    /// `at` as shown: computed once, or each look at the clocks would differ by a rounding.
    pub(super) shown: Timestamp,
}

impl SignInMachine {
    /// A person wants a new token now.
    pub(super) fn refresh_now(&mut self, now: Now) {
        self.somebody_is_there();
        if self.success.renewal {
            // One that is being kept is new enough.
            return;
        }
        let Some(held) = &self.held else { return self.renewal_ended_without_token() };
        if let Some(why) = held.token.cannot_renew(now.wall) {
            let fault = self.sign_in_needed(why.in_words());
            return self.renewal_ended(Err(fault));
        }
        self.lost = None;
        self.retry = None;
        self.demand = true;
    }

    /// AWS did not accept that token. One renewal is tried, whoever reports it and however often.
    pub(super) fn rejected(&mut self, generation: Generation, now: Now) {
        let current = self.held.as_mut().filter(|held| held.generation == generation);
        let Some(held) = current.filter(|held| held.rejected_at.is_none()) else { return };
        held.rejected_at = Some(now.wall);
        self.look_again = true;
        let just_renewed = held.after_rejection.is_some_and(|at| now.mono < at + LASTS);
        if just_renewed {
            self.lose(LoginReason::TokenRejected, now);
        } else if self.lost.is_none() {
            self.retry = None;
            self.demand = true;
        }
    }

    /// Somebody needs a token, and there is none that is good.
    pub(super) fn needed(&mut self, now: Now) {
        let renewable = self
            .held
            .as_ref()
            .is_some_and(|held| !held.is_usable(now) && held.token.cannot_renew(now.wall).is_none());
        self.demand |= renewable && self.lost.is_none();
    }

    pub(super) fn wants_renewal(&self, now: Now) -> bool {
        self.renewal_due(now).is_some_and(|due| due <= now.mono)
    }

    /// When the next renewal is due; none while nothing would come of one.
    pub(super) fn renewal_due(&self, now: Now) -> Option<Instant> {
        let held = self.held.as_ref().filter(|_| self.lost.is_none() && !self.dark)?;
        let renewable = held.token.cannot_renew(now.wall).is_none();
        let wait = if self.demand || renewable && held.rejected_at.is_some() {
            Duration::ZERO
        } else if renewable && self.policy.auto_refresh {
            held.remaining(now).saturating_sub(self.policy.lead(held.lifetime).0)
        } else {
            return None;
        };
        let due = now.mono + wait;
        Some(self.retry.map_or(due, |retry| retry.at.max(due)))
    }

    /// Nobody was faster: renew it.
    pub(super) fn renew(&mut self, now: Now) {
        let Some(held) = &self.held else { return };
        if held.token.cannot_renew(now.wall).is_some() {
            if held.rejected_at.is_some() {
                self.lose(LoginReason::TokenRejected, now);
            }
            self.demand = false;
        } else if !self.dark {
            let token = Arc::clone(&held.token);
            let attempt = self.next_attempt();
            self.work = Work::Renewing(attempt);
            self.effects.push_back(Effect::Refresh(attempt, token));
        }
    }

    pub(super) fn refreshed(&mut self, issued: IssuedToken, now: Now) {
        self.work = Work::Nothing;
        let Some(held) = &self.held else { return };
        let source = match held.rejected_at {
            Some(_) => Source::IssuedAfterRejection(issued.expires_in),
            None => Source::Issued(issued.expires_in),
        };
        let token = Arc::new(held.token.renewed(issued, now.wall));
        self.record(SignInEvent::TokenRenewed { expires_at: token.expires_at });
        self.hold(token, source, now);
        // AWS takes no other refresh token any more, whatever the key store has.
        self.loaded = true;
        self.store();
        self.renewal_ended(Ok(()));
        self.read(Look::at(Purpose::Share), now);
    }

    pub(super) fn refresh_failed(&mut self, failure: RefreshFailure, now: Now) {
        self.work = Work::Nothing;
        match failure {
            RefreshFailure::GrantGone => {
                self.read(Look::at(Purpose::Rival(LoginReason::SessionEnded)), now);
            }
            RefreshFailure::ClientGone => {
                self.forget_clients();
                self.read(Look::at(Purpose::Rival(LoginReason::RefreshRefused)), now);
            }
            // A login would not mend it, and meet the same refusal.
            RefreshFailure::Refused(fault) => self.retry_after(REFUSED_RETRY, fault, now),
            RefreshFailure::Throttled(fault) => {
                let wait = THROTTLED_FLOOR + self.backoff.next_wait(THROTTLED_CAP);
                self.retry_after(wait, fault, now);
            }
            RefreshFailure::Unreachable(fault) => {
                let wait = self.backoff.next_wait(RETRY_CAP);
                self.retry_after(wait, fault, now);
            }
        }
    }

    fn retry_after(&mut self, wait: Duration, fault: Fault, now: Now) {
        let at = now.mono + wait;
        self.retry = Some(Retry { at, shown: now.wall_at(at) });
        let before = self.troubles.renewal.replace(fault.clone());
        if before.is_none_or(|before| before.kind != fault.kind) {
            self.record(SignInEvent::RenewalFailed { fault: fault.clone() });
        }
        self.renewal_ended(Err(fault));
    }

    /// Only a login brings a new token. The present one is used while it lives.
    pub(super) fn lose(&mut self, reason: LoginReason, now: Now) {
        self.lost = Some(reason);
        self.retry = None;
        self.lasting.lost(now.mono);
        self.renewal_ended_without_token();
        let usable = self.held.as_ref().filter(|held| held.is_usable(now));
        let before = usable.map(super::Held::expires_at);
        self.tell(Notice::LoginNeeded { reason: reason.in_words(), before });
    }

    /// Tells whoever waits for a renewal, if one was wanted.
    pub(super) fn renewal_ended(&mut self, outcome: Result<(), Fault>) {
        self.demand = false;
        self.success.renewal = outcome.is_ok();
        if outcome.is_err() {
            self.effects.push_back(Effect::RenewalEnded(outcome));
        }
    }

    pub(super) fn renewal_ended_without_token(&mut self) {
        let reason = self.lost.map_or("nobody signed in yet", LoginReason::in_words);
        let fault = self.sign_in_needed(reason);
        self.renewal_ended(Err(fault));
    }

    pub(super) fn sign_in_needed(&self, reason: &str) -> Fault {
        Fault::new(FaultKind::SignInNeeded { sign_in: self.site.name.to_string() }, reason)
    }

    /// Tells the person in time of a token that only a person can replace.
    pub(super) fn tell_in_time(&mut self, now: Now) {
        let Some(held) = self.held.as_ref().filter(|_| self.looked && self.lost.is_none()) else { return };
        let Some(why) = held.token.cannot_renew(now.wall) else { return };
        let usable = held.is_usable(now);
        let in_time = held.remaining(now) > self.soon(now);
        let may_pass = !usable && (self.work != Work::Nothing || self.demand);
        if in_time || may_pass {
            return;
        }
        let before = usable.then(|| held.expires_at());
        self.tell(Notice::LoginNeeded { reason: why.in_words(), before });
    }

    pub(super) fn tell(&mut self, notice: Notice) {
        if !std::mem::replace(&mut self.told, true) {
            self.effects.push_back(Effect::Notify(notice));
        }
    }

    /// How long before its end the token expires soon: when its renewal is due, or when the person should know. One that is lost
    /// does in any case.
    pub(super) fn soon(&self, now: Now) -> Duration {
        let Some(held) = &self.held else { return Duration::ZERO };
        if self.lost.is_some() {
            return Duration::MAX;
        }
        let renews = self.cannot_renew(now).is_none() && self.policy.auto_refresh;
        if renews {
            self.policy.lead(held.lifetime).0
        } else {
            self.policy.refresh_threshold.max(PERSON_NEEDS).min(held.lifetime / 2)
        }
    }

    pub(super) fn cannot_renew(&self, now: Now) -> Option<CannotRenew> {
        let of_loss = self.lost.map(|reason| match reason {
            LoginReason::RefreshRefused | LoginReason::TokenRejected => CannotRenew::Refused,
            LoginReason::NeverSignedIn
            | LoginReason::SignedOutHere
            | LoginReason::SignedOutElsewhere
            | LoginReason::ExpiredElsewhere
            | LoginReason::SessionEnded
            | LoginReason::Other => CannotRenew::SessionEnded,
        });
        of_loss.or_else(|| self.held.as_ref()?.token.cannot_renew(now.wall))
    }

    /// What is to become of the token.
    pub(super) fn renewal(&self, held: &super::Held, now: Now) -> Renewal {
        if let Some(why) = self.cannot_renew(now) {
            return Renewal::Impossible(why);
        }
        let (lead, rule) = self.policy.lead(held.lifetime);
        let due = held.remaining(now) <= lead;
        if self.dark && due {
            return Renewal::WhenAwake;
        }
        if let Some(retry) = self.retry {
            return Renewal::At { at: retry.shown, rule: RenewalRule::Retry };
        }
        if !self.policy.auto_refresh && !self.demand {
            return Renewal::OnDemand;
        }
        Renewal::At { at: held.before_expiry(lead), rule }
    }
}
