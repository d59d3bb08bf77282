//! SSO tokens. They are credentials: no `Debug` shows what is in them.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use stormtunnel_model::{CannotRenew, Timestamp};

use super::ports::SignInSite;

/// How many tokens that are over are remembered. One that comes back does so within a renewal or two.
const REMEMBERED: usize = 16;

/// An SSO token: what the AWS access portal accepts for a while, and what renews it.
pub struct SsoToken {
    /// What the portal is shown.
    pub access: SecretString,
    /// When it expires, by the wall clock of whoever got it.
    pub expires_at: Timestamp,
    /// What renews it, where it can be renewed.
    pub refresh: Option<RefreshGrant>,
}

/// What a token is renewed with.
#[derive(Clone)]
pub struct RefreshGrant {
    /// The refresh token. AWS may accept it only once.
    pub token: SecretString,
    /// The client that it was given to: no other may use it.
    pub client: Arc<OidcClient>,
}

/// A client that was registered at SSO-OIDC.
pub struct OidcClient {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: SecretString,
    /// When its registration expires.
    pub expires_at: Timestamp,
}

/// The answer of CreateToken.
pub struct IssuedToken {
    /// The access token.
    pub access: SecretString,
    /// For how long it is good.
    pub expires_in: Duration,
    /// The refresh token, if there is one.
    pub refresh: Option<SecretString>,
}

/// A token as the key store has it.
#[derive(Clone)]
pub struct StoredToken {
    /// The token.
    pub token: Arc<SsoToken>,
    /// What it was issued for. After an edit of start URL, region or scopes it is of no use.
    pub site: Arc<SignInSite>,
    /// The shared file was there, so that its absence is a logout.
    pub shared: bool,
    /// Somebody signed out, and the shared file could not be deleted: what of it still holds this token is to go.
    pub signed_out: bool,
}

/// A registered client as the key store has it.
#[derive(Clone, Debug)]
pub struct StoredClient {
    /// The client.
    pub client: Arc<OidcClient>,
    /// What it was registered for. After an edit of start URL, region or scopes it is of no use.
    pub site: Arc<SignInSite>,
    /// When it was registered.
    pub registered_at: Timestamp,
}

/// Number of a token in one life of the daemon: who reports that one was refused says which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

impl Generation {
    /// The next token's.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl StoredToken {
    /// A token that is in use.
    pub fn new(token: Arc<SsoToken>, site: Arc<SignInSite>, shared: bool) -> Self {
        Self { token, site, shared, signed_out: false }
    }
}

impl StoredClient {
    /// Whether somebody may sign in to `site` with it at `now`. The token cannot be renewed once the registration has expired, so
    /// that less than half of its life is too little: a login would last shorter and shorter.
    pub fn serves(&self, site: &SignInSite, now: Timestamp) -> bool {
        let life = self.client.expires_at.since(self.registered_at);
        *self.site == *site && self.client.expires_at.since(now) > life / 2
    }
}

impl SsoToken {
    /// The token of a login that ended at `now`.
    pub fn of_login(issued: IssuedToken, client: &Arc<OidcClient>, now: Timestamp) -> Self {
        let grant = |token| RefreshGrant { token, client: Arc::clone(client) };
        Self {
            access: issued.access,
            expires_at: whole_second(now.plus(issued.expires_in)),
            refresh: issued.refresh.map(grant),
        }
    }

    /// The token that this one was renewed to at `now`. If the answer has no refresh token, the old one goes on.
    pub fn renewed(&self, issued: IssuedToken, now: Timestamp) -> Self {
        let refresh = self.refresh.as_ref().map(|old| RefreshGrant {
            token: issued.refresh.unwrap_or_else(|| old.token.clone()),
            client: Arc::clone(&old.client),
        });
        let expires_at = whole_second(now.plus(issued.expires_in));
        Self { access: issued.access, expires_at, refresh }
    }

    /// Why it cannot be renewed at `now`, if it cannot.
    pub fn cannot_renew(&self, now: Timestamp) -> Option<CannotRenew> {
        match &self.refresh {
            None => Some(CannotRenew::NoRefreshToken),
            Some(grant) if grant.client.expires_at <= now => Some(CannotRenew::RegistrationExpired),
            Some(_) => None,
        }
    }

    /// The same without what renews it.
    pub(super) fn access_only(&self) -> Self {
        Self { access: self.access.clone(), expires_at: self.expires_at, refresh: None }
    }

    /// Whether both let the same caller in.
    pub fn is_same(&self, other: &Self) -> bool {
        self.access.expose_secret() == other.access.expose_secret()
    }

    fn mark(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.access.expose_secret().hash(&mut hasher);
        hasher.finish()
    }
}

/// The shared file has whole seconds, rounded down: a token that went through it must be the same as before.
fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_millis(time.as_millis() / 1000 * 1000)
}

impl fmt::Debug for SsoToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SsoToken")
            .field("expires_at", &self.expires_at)
            .field("renewable", &self.refresh.is_some())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for OidcClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OidcClient").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedToken").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

impl fmt::Debug for StoredToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredToken")
            .field("token", &self.token)
            .field("shared", &self.shared)
            .field("signed_out", &self.signed_out)
            .finish_non_exhaustive()
    }
}

/// Tokens that are over: replaced, or signed out. A file that still holds one has nothing new. Only their hashes are kept.
#[derive(Debug, Default)]
pub(super) struct PastTokens(VecDeque<u64>);

impl PastTokens {
    pub(super) fn add(&mut self, token: &SsoToken) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(token.mark());
    }

    pub(super) fn contains(&self, token: &SsoToken) -> bool {
        self.0.contains(&token.mark())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_500);

    fn client(expires_at: u64) -> Arc<OidcClient> {
        let secret = SecretString::from("client-secret");
        Arc::new(OidcClient { id: "id".to_owned(), secret, expires_at: Timestamp::from_millis(expires_at) })
    }

    fn issued(access: &str, refresh: Option<&str>) -> IssuedToken {
        let expires_in = Duration::from_secs(3600);
        IssuedToken { access: access.into(), expires_in, refresh: refresh.map(SecretString::from) }
    }

    fn site(scopes: &[&str]) -> Arc<SignInSite> {
        Arc::new(SignInSite {
            name: "corp".parse().unwrap(),
            start_url: "https://x.awsapps.com/start".to_owned(),
            region: "eu-west-1".parse().unwrap(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        })
    }

    #[test]
    fn a_client_serves_half_of_its_life_and_one_site() {
        let (registered_at, over) = (Timestamp::from_millis(1_000), Timestamp::from_millis(5_000));
        let known = StoredClient { client: client(9_000), site: site(&["a"]), registered_at };
        assert!(known.serves(&site(&["a"]), Timestamp::from_millis(4_999)));
        assert!(!known.serves(&site(&["a"]), over), "half of it is left");
        let edited = SignInSite { region: "eu-west-2".parse().unwrap(), ..(*site(&["a"])).clone() };
        for other in [edited, (*site(&[])).clone()] {
            assert!(!known.serves(&other, registered_at), "{other:?}");
        }
    }

    #[test]
    fn an_answer_without_a_refresh_token_keeps_the_old_one() {
        let token = SsoToken::of_login(issued("a1", Some("r1")), &client(u64::MAX), NOW);
        let refresh = |token: &SsoToken| token.refresh.as_ref().unwrap().token.expose_secret().to_owned();
        assert_eq!(refresh(&token.renewed(issued("a2", None), NOW)), "r1");
        assert_eq!(refresh(&token.renewed(issued("a2", Some("r2")), NOW)), "r2");
    }

    #[test]
    fn expiry_is_what_the_shared_file_can_hold() {
        let token = SsoToken::of_login(issued("a", None), &client(u64::MAX), NOW);
        assert_eq!(token.expires_at, Timestamp::from_millis(4_600_000));
    }

    #[test]
    fn a_token_outlives_its_renewability() {
        let token = SsoToken::of_login(issued("a", Some("r")), &client(2_000_000), NOW);
        assert_eq!(token.cannot_renew(Timestamp::from_millis(1_999_999)), None);
        let over = Timestamp::from_millis(2_000_000);
        assert_eq!(token.cannot_renew(over), Some(CannotRenew::RegistrationExpired));
        let simple = SsoToken::of_login(issued("a", None), &client(u64::MAX), NOW);
        assert_eq!(simple.cannot_renew(NOW), Some(CannotRenew::NoRefreshToken));
    }

    #[test]
    fn nothing_of_a_token_is_shown() {
        let token = Arc::new(SsoToken::of_login(issued("SECRET1", Some("SECRET2")), &client(7), NOW));
        let stored = StoredToken::new(Arc::clone(&token), site(&[]), true);
        let stored_client =
            StoredClient { client: client(7), site: site(&[]), registered_at: Timestamp::default() };
        let shown = format!(
            "{token:?} {stored:?} {stored_client:?} {:?} {:?}",
            client(7),
            issued("SECRET3", Some("SECRET4"))
        );
        assert!(!shown.contains("SECRET") && !shown.contains("client-secret"), "{shown}");
    }

    #[test]
    fn the_oldest_of_the_past_is_forgotten() {
        let token = |number: usize| SsoToken::of_login(issued(&number.to_string(), None), &client(7), NOW);
        let mut past = PastTokens::default();
        (0..=REMEMBERED).for_each(|number| past.add(&token(number)));
        assert!(!past.contains(&token(0)));
        assert!((1..=REMEMBERED).all(|number| past.contains(&token(number))));
    }
}
