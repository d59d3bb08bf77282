//! SSO-OIDC, shared file, key store and browser, as a sign-in sees them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use stormtunnel_model::{Fault, SignInEvent, SignInName, Timestamp};
use tokio::sync::watch;

use super::PATIENCE;
use crate::ports::PortFuture;
use crate::sign_in::classify::{LoginFailure, ServiceError, SsoError};
use crate::sign_in::credentials::{Role, RoleCredentials};
use crate::sign_in::flow::{LoginFlow, Opener};
use crate::sign_in::machine::Notice;
use crate::sign_in::policy::Sharing;
use crate::sign_in::ports::{
    Authorization, AuthorizationCode, Browser, DeviceLogin, Grant, KeyStore, OidcApi, PortalApi, SharedCache,
    SharedFile, SignInObserver, SignInSite,
};
use crate::sign_in::token::{IssuedToken, OidcClient, RefreshGrant, SsoToken, StoredClient, StoredToken};

/// When registrations of [`MemoryOidc`] expire: in the year 2100.
const REGISTERED_UNTIL: Timestamp = Timestamp::from_millis(4_102_444_800_000);

/// An SSO-OIDC that takes each refresh token once, and issues tokens for an hour.
#[derive(Debug)]
pub struct MemoryOidc {
    inner: Mutex<Inner>,
    /// While true, calls wait.
    held: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Inner {
    valid: BTreeSet<String>,
    issued: u32,
    registered: u32,
    refreshed: u32,
    revoked: u32,
    polls: u32,
    failures: VecDeque<SsoError>,
    panics: bool,
}

impl Default for MemoryOidc {
    fn default() -> Self {
        Self { inner: Mutex::default(), held: watch::Sender::new(false) }
    }
}

impl MemoryOidc {
    /// A token that this service issued earlier, good until then.
    pub fn token(&self, name: &str, expires_at: Timestamp) -> Arc<SsoToken> {
        let refresh = format!("refresh {name}");
        self.inner().valid.insert(refresh.clone());
        let grant = RefreshGrant { token: refresh.into(), client: Arc::new(client(0)) };
        Arc::new(SsoToken { access: name.into(), expires_at, refresh: Some(grant) })
    }

    /// Lets the next request for a token fail.
    pub fn fail_next(&self, error: SsoError) {
        self.inner().failures.push_back(error);
    }

    /// Lets the next request for a token fail with that exception.
    pub fn refuse_next(&self, code: &str, status: u16) {
        self.fail_next(service_error(code, status));
    }

    /// Lets the next request for a token panic.
    pub fn panic_next(&self) {
        self.inner().panics = true;
    }

    /// Ends the session at the portal: no refresh token is good any more.
    pub fn end_session(&self) {
        self.inner().valid.clear();
    }

    /// While `held`, requests for tokens are received and not answered.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Clients registered.
    pub fn registered(&self) -> u32 {
        self.inner().registered
    }

    /// Refresh tokens received, good or not.
    pub fn refreshed(&self) -> u32 {
        self.inner().refreshed
    }

    /// Tokens revoked.
    pub fn revoked(&self) -> u32 {
        self.inner().revoked
    }

    /// Polls received.
    pub fn polls(&self) -> u32 {
        self.inner().polls
    }

    #[expect(clippy::panic, reason = "test support: a panic is what was asked for")]
    fn issue(&self, grant: &Grant<'_>) -> Result<IssuedToken, SsoError> {
        let mut inner = self.inner();
        if std::mem::take(&mut inner.panics) {
            drop(inner);
            panic!("the service fell over");
        }
        match grant {
            Grant::Refresh(_) => inner.refreshed += 1,
            Grant::Device { .. } => inner.polls += 1,
            Grant::Code { .. } => {}
        }
        if let Some(error) = inner.failures.pop_front() {
            return Err(error);
        }
        if let Grant::Refresh(grant) = grant
            && !inner.valid.remove(grant.token.expose_secret())
        {
            return Err(service_error("InvalidGrantException", 400));
        }
        inner.issued += 1;
        let name = format!("token {}", inner.issued);
        let refresh = format!("refresh {name}");
        inner.valid.insert(refresh.clone());
        let expires_in = Duration::from_secs(3600);
        Ok(IssuedToken { access: name.into(), expires_in, refresh: Some(refresh.into()) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn service_error(code: &str, status: u16) -> SsoError {
    SsoError::Service(ServiceError { status, code: code.to_owned(), ..ServiceError::default() })
}

fn client(number: u32) -> OidcClient {
    let secret = SecretString::from("a client's secret");
    OidcClient { id: format!("client {number}"), secret, expires_at: REGISTERED_UNTIL }
}

impl OidcApi for MemoryOidc {
    fn register<'a>(
        &'a self,
        _site: &'a SignInSite,
        _flow: LoginFlow,
    ) -> PortFuture<'a, Result<OidcClient, SsoError>> {
        let mut inner = self.inner();
        inner.registered += 1;
        Box::pin(std::future::ready(Ok(client(inner.registered))))
    }

    fn start_device<'a>(
        &'a self,
        _site: &'a SignInSite,
        _client: &'a OidcClient,
    ) -> PortFuture<'a, Result<DeviceLogin, SsoError>> {
        Box::pin(std::future::ready(Ok(DeviceLogin {
            device_code: "a device code".into(),
            user_code: "ABCD-EFGH".to_owned(),
            url: "https://device.invalid/".to_owned(),
            complete_url: Some("https://device.invalid/?user_code=ABCD-EFGH".to_owned()),
            expires_in: Duration::from_secs(600),
            interval: Duration::from_secs(5),
        })))
    }

    fn create_token<'a>(
        &'a self,
        _site: &'a SignInSite,
        grant: Grant<'a>,
    ) -> PortFuture<'a, Result<IssuedToken, SsoError>> {
        Box::pin(async move {
            let mut held = self.held.subscribe();
            // The sender lives as long as `self`.
            let _never_closed = held.wait_for(|held| !held).await;
            self.issue(&grant)
        })
    }

    fn logout<'a>(
        &'a self,
        _site: &'a SignInSite,
        _token: &'a SsoToken,
    ) -> PortFuture<'a, Result<(), SsoError>> {
        self.inner().revoked += 1;
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Shared token files. A change is told to nobody: the test does.
#[derive(Debug, Default)]
pub struct MemoryCache(watch::Sender<BTreeMap<SignInName, SharedFile>>);

impl MemoryCache {
    /// What the file of a sign-in holds.
    pub fn file(&self, name: &SignInName) -> SharedFile {
        self.0.borrow().get(name).cloned().unwrap_or(SharedFile::Missing)
    }

    /// Its access token.
    pub fn access(&self, name: &SignInName) -> Option<String> {
        access(&self.file(name))
    }

    /// Waits until it holds that access token.
    ///
    /// # Panics
    /// When it does not within [`PATIENCE`].
    pub async fn wait_for_access(&self, name: &SignInName, wanted: &str) {
        let mut files = self.0.subscribe();
        let found = files.wait_for(|files| files.get(name).and_then(access).as_deref() == Some(wanted));
        let waited = tokio::time::timeout(PATIENCE, found).await.is_ok();
        assert!(waited, "the file never held {wanted}; it holds {:?}", self.access(name));
    }

    /// Another tool writes the file, or deletes it.
    pub fn set(&self, name: &SignInName, file: SharedFile) {
        self.0.send_modify(|files| drop(files.insert(name.clone(), file)));
    }
}

fn access(file: &SharedFile) -> Option<String> {
    match file {
        SharedFile::Token(token) => Some(token.access.expose_secret().to_owned()),
        SharedFile::Missing | SharedFile::Torn | SharedFile::Failed(_) => None,
    }
}

impl SharedCache for MemoryCache {
    fn read<'a>(&'a self, site: &'a SignInSite) -> PortFuture<'a, SharedFile> {
        Box::pin(std::future::ready(self.file(&site.name)))
    }

    fn write<'a>(
        &'a self,
        site: &'a SignInSite,
        token: &'a SsoToken,
        sharing: Sharing,
    ) -> PortFuture<'a, Result<(), Fault>> {
        let refresh = token.refresh.clone().filter(|_| sharing == Sharing::Full);
        let token = SsoToken { access: token.access.clone(), expires_at: token.expires_at, refresh };
        self.set(&site.name, SharedFile::Token(Arc::new(token)));
        Box::pin(std::future::ready(Ok(())))
    }

    fn delete<'a>(&'a self, site: &'a SignInSite) -> PortFuture<'a, Result<(), Fault>> {
        self.set(&site.name, SharedFile::Missing);
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A key store that forgets everything with the process.
#[derive(Debug, Default)]
pub struct MemoryKeys(Mutex<Keys>);

#[derive(Debug, Default)]
struct Keys {
    tokens: BTreeMap<SignInName, StoredToken>,
    clients: BTreeMap<(SignInName, LoginFlow), StoredClient>,
    locked: Option<Fault>,
}

impl MemoryKeys {
    /// The token stored for a sign-in.
    pub fn stored(&self, name: &SignInName) -> Option<StoredToken> {
        self.keys().tokens.get(name).cloned()
    }

    /// Its access token.
    pub fn access(&self, name: &SignInName) -> Option<String> {
        self.stored(name).map(|stored| stored.token.access.expose_secret().to_owned())
    }

    /// What an earlier daemon stored.
    pub fn put(&self, name: &SignInName, stored: StoredToken) {
        self.keys().tokens.insert(name.clone(), stored);
    }

    /// From now on everything fails with `fault`; `None` unlocks it.
    pub fn lock(&self, fault: Option<Fault>) {
        self.keys().locked = fault;
    }

    fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Keys) -> T,
    ) -> PortFuture<'static, Result<T, Fault>> {
        let mut keys = self.keys();
        let outcome = match keys.locked.clone() {
            Some(fault) => Err(fault),
            None => Ok(work(&mut keys)),
        };
        Box::pin(std::future::ready(outcome))
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyStore for MemoryKeys {
    fn token<'a>(&'a self, name: &'a SignInName) -> PortFuture<'a, Result<Option<StoredToken>, Fault>> {
        self.with(|keys| keys.tokens.get(name).cloned())
    }

    fn put_token<'a>(
        &'a self,
        name: &'a SignInName,
        token: Option<StoredToken>,
    ) -> PortFuture<'a, Result<(), Fault>> {
        self.with(|keys| match token {
            Some(token) => drop(keys.tokens.insert(name.clone(), token)),
            None => drop(keys.tokens.remove(name)),
        })
    }

    fn client<'a>(
        &'a self,
        name: &'a SignInName,
        flow: LoginFlow,
    ) -> PortFuture<'a, Result<Option<StoredClient>, Fault>> {
        self.with(|keys| keys.clients.get(&(name.clone(), flow)).cloned())
    }

    fn put_client<'a>(
        &'a self,
        name: &'a SignInName,
        flow: LoginFlow,
        client: Option<StoredClient>,
    ) -> PortFuture<'a, Result<(), Fault>> {
        let key = (name.clone(), flow);
        self.with(|keys| match client {
            Some(client) => drop(keys.clients.insert(key, client)),
            None => drop(keys.clients.remove(&key)),
        })
    }
}

/// A browser whose person does what the test says.
#[derive(Debug)]
pub struct ScriptedBrowser {
    opened: watch::Sender<Vec<String>>,
    /// While true, its command does not return.
    stuck: watch::Sender<bool>,
    came_back: watch::Sender<Option<Result<(), LoginFailure>>>,
}

impl Default for ScriptedBrowser {
    fn default() -> Self {
        Self {
            opened: watch::Sender::default(),
            stuck: watch::Sender::new(false),
            came_back: watch::Sender::new(None),
        }
    }
}

impl ScriptedBrowser {
    /// Pages that were opened, in order.
    pub fn opened(&self) -> Vec<String> {
        self.opened.borrow().clone()
    }

    /// Waits until so many pages were opened.
    ///
    /// # Panics
    /// When they are not within [`PATIENCE`].
    pub async fn wait_for_opened(&self, count: usize) {
        let mut opened = self.opened.subscribe();
        let waited = tokio::time::timeout(PATIENCE, opened.wait_for(|pages| pages.len() >= count)).await;
        assert!(waited.is_ok(), "{:?} were opened", self.opened());
    }

    /// While `stuck`, pages open and the command that opens them does not return.
    pub fn get_stuck(&self, stuck: bool) {
        self.stuck.send_replace(stuck);
    }

    /// From now on the person is done as soon as the page is open; `None`: the person takes time.
    pub fn finish(&self, outcome: Option<Result<(), LoginFailure>>) {
        self.came_back.send_replace(outcome);
    }
}

impl Browser for ScriptedBrowser {
    fn authorize<'a>(
        &'a self,
        _site: &'a SignInSite,
        client: &'a OidcClient,
    ) -> PortFuture<'a, Result<Box<dyn Authorization>, Fault>> {
        let url = format!("https://oidc.invalid/authorize?client_id={}", client.id);
        let authorization = PendingAuthorization { url, came_back: self.came_back.subscribe() };
        Box::pin(std::future::ready(Ok(Box::new(authorization) as Box<dyn Authorization>)))
    }

    fn open<'a>(&'a self, url: &'a str, _opener: &'a Opener) -> PortFuture<'a, bool> {
        self.opened.send_modify(|opened| opened.push(url.to_owned()));
        let mut stuck = self.stuck.subscribe();
        Box::pin(async move {
            // The sender lives as long as `self`.
            let _never_closed = stuck.wait_for(|stuck| !stuck).await;
            true
        })
    }
}

struct PendingAuthorization {
    url: String,
    came_back: watch::Receiver<Option<Result<(), LoginFailure>>>,
}

impl Authorization for PendingAuthorization {
    fn url(&self) -> &str {
        &self.url
    }

    fn code(&mut self) -> PortFuture<'_, Result<AuthorizationCode, LoginFailure>> {
        Box::pin(async move {
            let outcome = match self.came_back.wait_for(Option::is_some).await {
                Ok(outcome) => outcome.clone(),
                Err(_gone) => None,
            };
            outcome.unwrap_or(Err(LoginFailure::Cancelled))?;
            Ok(AuthorizationCode {
                code: "a code".into(),
                verifier: "a verifier".into(),
                redirect_uri: "http://127.0.0.1:1/oauth/callback".to_owned(),
            })
        })
    }
}

/// Notes what it is told.
#[derive(Debug, Default)]
pub struct MemoryObserver(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    notices: Vec<Notice>,
    events: Vec<SignInEvent>,
    forgotten: u32,
}

impl MemoryObserver {
    /// What persons were to know.
    pub fn notices(&self) -> Vec<Notice> {
        self.noted().notices.clone()
    }

    /// What was to be in the history.
    pub fn events(&self) -> Vec<SignInEvent> {
        self.noted().events.clone()
    }

    /// How often credentials were to be forgotten.
    pub fn forgotten(&self) -> u32 {
        self.noted().forgotten
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SignInObserver for MemoryObserver {
    fn notify(&self, _name: &SignInName, notice: &Notice) {
        self.noted().notices.push(notice.clone());
    }

    fn record(&self, _name: &SignInName, event: &SignInEvent) {
        self.noted().events.push(event.clone());
    }

    fn forget_credentials(&self, _name: &SignInName) {
        self.noted().forgotten += 1;
    }
}

/// An access portal that gives credentials for any role, until told otherwise.
#[derive(Debug)]
pub struct MemoryPortal {
    inner: Mutex<Portal>,
    held: watch::Sender<bool>,
}

#[derive(Debug)]
struct Portal {
    asked: Vec<Role>,
    expires_at: Timestamp,
    failures: VecDeque<SsoError>,
}

impl MemoryPortal {
    /// Its credentials are good until then.
    pub fn new(expires_at: Timestamp) -> Self {
        let inner = Portal { asked: Vec::new(), expires_at, failures: VecDeque::new() };
        Self { inner: Mutex::new(inner), held: watch::Sender::new(false) }
    }

    /// From now on they are good until then.
    pub fn set_expiry(&self, expires_at: Timestamp) {
        self.inner().expires_at = expires_at;
    }

    /// Lets the next request fail.
    pub fn fail_next(&self, error: SsoError) {
        self.inner().failures.push_back(error);
    }

    /// Lets the next request fail with that exception.
    pub fn refuse_next(&self, code: &str, status: u16) {
        self.fail_next(service_error(code, status));
    }

    /// While `held`, requests are received and not answered.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// What was asked for, in order.
    pub fn asked(&self) -> Vec<Role> {
        self.inner().asked.clone()
    }

    fn answer(&self) -> Result<RoleCredentials, SsoError> {
        let mut inner = self.inner();
        if let Some(error) = inner.failures.pop_front() {
            return Err(error);
        }
        Ok(RoleCredentials {
            access_key_id: format!("ASIA{}", inner.asked.len()),
            secret_access_key: "a secret access key".into(),
            session_token: "a session token".into(),
            expires_at: inner.expires_at,
        })
    }

    fn inner(&self) -> MutexGuard<'_, Portal> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PortalApi for MemoryPortal {
    fn role_credentials<'a>(
        &'a self,
        _site: &'a SignInSite,
        _token: &'a SsoToken,
        role: &'a Role,
    ) -> PortFuture<'a, Result<RoleCredentials, SsoError>> {
        Box::pin(async move {
            self.inner().asked.push(role.clone());
            let mut held = self.held.subscribe();
            // The sender lives as long as `self`.
            let _never_closed = held.wait_for(|held| !held).await;
            self.answer()
        })
    }
}
