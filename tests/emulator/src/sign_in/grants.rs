//! What a user agreed to and a client can turn into a token: device codes and authorization codes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};

use crate::credentials::{from_alphabet, random_text};
use crate::sign_in::config::SignInHabits;
use crate::sign_in::refused;
use crate::trouble::Refusal;

/// By how much each `slow_down` makes the interval longer (RFC 8628, section 3.5).
const SLOWER: Duration = Duration::seconds(5);
/// Letters of user codes: no vowels, so that no words come out.
const CONSONANTS: &[u8] = b"BCDFGHJKLMNPQRSTVWXZ";

/// A device code, with what the user says to it.
pub(super) struct Device {
    pub(super) code: String,
    pub(super) user_code: String,
    pub(super) start_url: String,
    client: String,
    expires: OffsetDateTime,
    interval: Duration,
    last_poll: Option<OffsetDateTime>,
    polls: u32,
    decision: Option<bool>,
    used: bool,
}

/// All device codes.
#[derive(Default)]
pub(super) struct Devices(Vec<Device>);

impl Devices {
    pub(super) fn start(
        &mut self,
        client: &str,
        start_url: &str,
        expires: OffsetDateTime,
        interval: Duration,
    ) -> &Device {
        self.0.push(Device {
            code: random_text(64),
            user_code: user_code(),
            start_url: start_url.to_owned(),
            client: client.to_owned(),
            expires,
            interval,
            last_poll: None,
            polls: 0,
            decision: None,
            used: false,
        });
        &self.0[self.0.len() - 1]
    }

    /// What the user says to this code, or to all that wait. Answers whether there was any.
    pub(super) fn decide(&mut self, user_code: Option<&str>, agree: bool, now: OffsetDateTime) -> bool {
        let waits = |device: &&mut Device| device.decision.is_none() && now < device.expires;
        let named = |device: &&mut Device| user_code.is_none_or(|code| code == device.user_code);
        self.0.iter_mut().filter(waits).filter(named).map(|device| device.decision = Some(agree)).count() > 0
    }

    /// The start URL of a login that the user agreed to.
    pub(super) fn poll(
        &mut self,
        code: &str,
        client: &str,
        habits: &SignInHabits,
        now: OffsetDateTime,
    ) -> Result<String, Refusal> {
        let device = self.0.iter_mut().find(|device| device.code == code && device.client == client);
        let device = device.filter(|device| !device.used);
        let device =
            device.ok_or_else(|| refused("InvalidGrantException", "Invalid device code provided"))?;
        if now >= device.expires {
            return Err(refused("ExpiredTokenException", "Device code has expired"));
        }
        let early = device.last_poll.replace(now).is_some_and(|last| now < last + device.interval);
        device.polls += 1;
        if habits.agrees_after_polls.is_some_and(|polls| device.polls > polls) {
            device.decision.get_or_insert(true);
        }
        match device.decision {
            Some(true) => {
                device.used = true;
                Ok(device.start_url.clone())
            }
            Some(false) => Err(refused("AccessDeniedException", "The user refused")),
            None if early && habits.slow_down => {
                device.interval += SLOWER;
                Err(refused("SlowDownException", "Polled too often"))
            }
            None => Err(refused("AuthorizationPendingException", "The user has not decided yet")),
        }
    }

    pub(super) fn age(&mut self, by: Duration) {
        for device in &mut self.0 {
            device.expires -= by;
            device.last_poll = device.last_poll.map(|last| last - by);
        }
    }
}

fn user_code() -> String {
    format!("{}-{}", from_alphabet(CONSONANTS, 4), from_alphabet(CONSONANTS, 4))
}

/// What an authorization code is bound to.
pub(super) struct Bound {
    pub(super) client: String,
    pub(super) redirect_uri: String,
    pub(super) challenge: String,
    pub(super) start_url: String,
}

/// An authorization code that was not used yet.
struct Code {
    text: String,
    bound: Bound,
    expires: OffsetDateTime,
}

/// All authorization codes.
#[derive(Default)]
pub(super) struct Codes(Vec<Code>);

impl Codes {
    pub(super) fn issue(&mut self, bound: Bound, expires: OffsetDateTime) -> String {
        let text = random_text(64);
        self.0.push(Code { text: text.clone(), bound, expires });
        text
    }

    /// Uses a code up, and answers the start URL of the login. It is gone even if what comes with it is wrong.
    pub(super) fn redeem(
        &mut self,
        text: &str,
        client: &str,
        (redirect_uri, verifier): (&str, &str),
        now: OffsetDateTime,
    ) -> Result<String, Refusal> {
        let invalid = |what: &str| refused("InvalidGrantException", what);
        let found = self.0.iter().position(|code| code.text == text);
        let found = found.ok_or_else(|| invalid("Invalid authorization code provided"))?;
        let Code { bound, expires, .. } = self.0.remove(found);
        if now >= expires || bound.client != client || bound.redirect_uri != redirect_uri {
            return Err(invalid("Invalid authorization code provided"));
        }
        if URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)) != bound.challenge {
            return Err(invalid("PKCE verification failed"));
        }
        Ok(bound.start_url)
    }

    pub(super) fn age(&mut self, by: Duration) {
        self.0.iter_mut().for_each(|code| code.expires -= by);
    }
}
