//! Logins, with their access tokens and refresh tokens.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};

use crate::credentials::random_text;
use crate::sign_in::clients::Client;
use crate::sign_in::config::{Lifetimes, Rotation, SignInHabits};
use crate::sign_in::refused;
use crate::trouble::Refusal;

/// How AWS's tokens begin.
const ACCESS: &str = "aoaAAAAA";
const REFRESH: &str = "aorAAAAA";

/// A refresh that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefreshAttempt {
    /// When it was decided: milliseconds since 1970.
    pub at_ms: i64,
    /// The refresh token that was shown, as [`RefreshAttempt::fingerprint`] has it.
    pub token: String,
    /// Who showed it.
    pub client_id: String,
    /// Another refresh of the same login was under way when this one came.
    pub concurrent: bool,
    /// What became of it.
    pub outcome: RefreshOutcome,
}

/// What became of a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefreshOutcome {
    /// Granted.
    Granted,
    /// Granted although the token had been used, because that was a moment ago.
    Graced,
    /// Refused because the token had been used.
    Replayed,
    /// Refused for another reason.
    Refused,
}

impl RefreshAttempt {
    /// The first half of a token's SHA-256 in hex: tells tokens apart and cannot be used.
    #[must_use]
    pub fn fingerprint(token: &str) -> String {
        hex::encode(&Sha256::digest(token)[..16])
    }
}

/// A login of the user.
struct Login {
    start_url: String,
    client: String,
    expires: OffsetDateTime,
    refreshable: bool,
    /// Refreshes that have come and were not decided yet.
    under_way: u32,
}

struct Access {
    login: usize,
    expires: OffsetDateTime,
}

struct Refresh {
    login: usize,
    expires: OffsetDateTime,
    used: Option<OffsetDateTime>,
}

/// What a client gets.
pub(super) struct Granted {
    pub(super) access_token: String,
    pub(super) expires: OffsetDateTime,
    /// Seconds until then.
    pub(super) expires_in: i64,
    pub(super) refresh_token: Option<String>,
}

/// A refresh that has come and is not decided yet.
#[derive(Clone, Copy)]
pub(super) struct UnderWay {
    login: Option<usize>,
    pub(super) concurrent: bool,
}

/// Everything issued. Logins are never forgotten, so that a number names one for good.
#[derive(Default)]
pub(super) struct Tokens {
    logins: Vec<Login>,
    access: BTreeMap<String, Access>,
    refresh: BTreeMap<String, Refresh>,
    attempts: Vec<RefreshAttempt>,
}

impl Tokens {
    pub(super) fn log_in(
        &mut self,
        client: &Client,
        start_url: String,
        lifetimes: &Lifetimes,
        now: OffsetDateTime,
    ) -> Granted {
        self.logins.push(Login {
            start_url,
            client: client.id.clone(),
            expires: after(now, lifetimes.login_s),
            refreshable: client.is_refreshable(),
            under_way: 0,
        });
        let login = self.logins.len() - 1;
        let refresh_token = self.logins[login].refreshable.then(|| self.issue_refresh(login, lifetimes, now));
        self.grant(login, refresh_token, lifetimes, now)
    }

    /// Notes that a refresh has come; [`Tokens::leave`] ends it.
    pub(super) fn arrive(&mut self, token: &str) -> UnderWay {
        let login = self.refresh.get(token).map(|refresh| refresh.login);
        let mut concurrent = false;
        if let Some(login) = login {
            concurrent = self.logins[login].under_way > 0;
            self.logins[login].under_way += 1;
        }
        UnderWay { login, concurrent }
    }

    pub(super) fn leave(&mut self, refresh: UnderWay) {
        if let Some(login) = refresh.login {
            self.logins[login].under_way -= 1;
        }
    }

    /// Decides a refresh and notes it.
    pub(super) fn refresh(
        &mut self,
        token: &str,
        client: &str,
        concurrent: bool,
        (habits, lifetimes): (&SignInHabits, &Lifetimes),
        now: OffsetDateTime,
    ) -> Result<Granted, Refusal> {
        let (outcome, answer) = match self.check_refresh(token, client, habits, now) {
            Ok((login, outcome)) => (outcome, Ok(self.renew(login, token, habits.rotation, lifetimes, now))),
            Err((outcome, refusal)) => (outcome, Err(refusal)),
        };
        self.attempts.push(RefreshAttempt {
            at_ms: i64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or_default(),
            token: RefreshAttempt::fingerprint(token),
            client_id: client.to_owned(),
            concurrent,
            outcome,
        });
        answer
    }

    fn check_refresh(
        &mut self,
        token: &str,
        client: &str,
        habits: &SignInHabits,
        now: OffsetDateTime,
    ) -> Result<(usize, RefreshOutcome), (RefreshOutcome, Refusal)> {
        let invalid = |outcome| (outcome, refused("InvalidGrantException", "Invalid refresh token provided"));
        let refresh = self.refresh.get(token).ok_or_else(|| invalid(RefreshOutcome::Refused))?;
        let (login, used) = (refresh.login, refresh.used);
        if self.logins[login].client != client || now >= self.logins[login].expires {
            return Err(invalid(RefreshOutcome::Refused));
        }
        if now >= refresh.expires {
            let expired = refused("ExpiredTokenException", "Refresh token has expired");
            return Err((RefreshOutcome::Refused, expired));
        }
        let grace = Duration::milliseconds(i64::from(habits.grace_ms));
        match used {
            None => Ok((login, RefreshOutcome::Granted)),
            Some(at) if now < at + grace => Ok((login, RefreshOutcome::Graced)),
            Some(_) => {
                if habits.replay_ends_login {
                    self.end_login(login, now);
                }
                Err(invalid(RefreshOutcome::Replayed))
            }
        }
    }

    fn renew(
        &mut self,
        login: usize,
        token: &str,
        rotation: Rotation,
        lifetimes: &Lifetimes,
        now: OffsetDateTime,
    ) -> Granted {
        let next = match rotation {
            Rotation::Stays => None,
            Rotation::OneUse => {
                if let Some(refresh) = self.refresh.get_mut(token) {
                    refresh.used.get_or_insert(now);
                }
                Some(self.issue_refresh(login, lifetimes, now))
            }
        };
        self.grant(login, next, lifetimes, now)
    }

    fn grant(
        &mut self,
        login: usize,
        refresh_token: Option<String>,
        lifetimes: &Lifetimes,
        now: OffsetDateTime,
    ) -> Granted {
        let of = &self.logins[login];
        let expires = if of.refreshable { after(now, lifetimes.access_token_s) } else { of.expires };
        let access_token = format!("{ACCESS}{}", random_text(96));
        self.access.insert(access_token.clone(), Access { login, expires });
        Granted { access_token, expires, expires_in: (expires - now).whole_seconds(), refresh_token }
    }

    fn issue_refresh(&mut self, login: usize, lifetimes: &Lifetimes, now: OffsetDateTime) -> String {
        let token = format!("{REFRESH}{}", random_text(96));
        let expires = after(now, lifetimes.refresh_token_s);
        self.refresh.insert(token.clone(), Refresh { login, expires, used: None });
        token
    }

    /// The start URL of the login whose access token this is.
    pub(super) fn bearer(&self, token: &str, now: OffsetDateTime) -> Option<&str> {
        let access = self.access.get(token).filter(|access| now < access.expires)?;
        Some(&self.logins[access.login].start_url)
    }

    /// Ends the login whose access token this is, with all its tokens.
    pub(super) fn log_out(&mut self, token: &str, now: OffsetDateTime) {
        if let Some(login) = self.access.get(token).map(|access| access.login) {
            self.end_login(login, now);
        }
    }

    /// Ends logins; their access tokens live on until they expire.
    pub(super) fn end_logins(&mut self, start_url: Option<&str>, now: OffsetDateTime) {
        self.logins.iter_mut().filter(|login| login.is_of(start_url)).for_each(|login| login.expires = now);
    }

    /// Revokes the access tokens of logins, which can be refreshed.
    pub(super) fn revoke_access(&mut self, start_url: Option<&str>) {
        let logins = &self.logins;
        self.access.retain(|_, access| !logins[access.login].is_of(start_url));
    }

    pub(super) fn attempts(&self) -> Vec<RefreshAttempt> {
        self.attempts.clone()
    }

    pub(super) fn age(&mut self, by: Duration) {
        self.logins.iter_mut().for_each(|login| login.expires -= by);
        self.access.values_mut().for_each(|access| access.expires -= by);
        for refresh in self.refresh.values_mut() {
            refresh.expires -= by;
            refresh.used = refresh.used.map(|used| used - by);
        }
    }

    fn end_login(&mut self, login: usize, now: OffsetDateTime) {
        self.logins[login].expires = now;
        self.access.retain(|_, access| access.login != login);
    }
}

impl Login {
    fn is_of(&self, start_url: Option<&str>) -> bool {
        start_url.is_none_or(|url| url == self.start_url)
    }
}

/// `seconds` after `now`.
pub(super) fn after(now: OffsetDateTime, seconds: u32) -> OffsetDateTime {
    now + Duration::seconds(i64::from(seconds))
}
