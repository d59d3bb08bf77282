//! What sign-ins need of the world.
//!
//! Every call ends by itself: whoever implements one bounds it, an answer that never comes would hold its sign-in up for ever.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use stormtunnel_model::{
    Account, DEFAULT_SCOPE, Fault, Region, SignInEvent, SignInName, SsoConfig, SsoConfigured,
};

use super::classify::{LoginFailure, SsoError};
use super::credentials::{Role, RoleCredentials};
use super::flow::{LoginFlow, Opener};
use super::machine::Notice;
use super::policy::Sharing;
use super::token::{IssuedToken, OidcClient, RefreshGrant, SsoToken, StoredClient, StoredToken};
use crate::ports::{Clock, Entropy, PortFuture};

/// Where a sign-in signs in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SignInSite {
    /// The sign-in.
    pub name: SignInName,
    /// Its start URL, as configured.
    pub start_url: String,
    /// The region of its IAM Identity Center instance.
    pub region: Region,
    /// `sso_registration_scopes`; empty if there are none.
    pub scopes: Vec<String>,
}

/// Where a browser comes back to on this machine, whatever the port. Clients are registered with it, as those of the AWS CLI are.
pub const CALLBACK_PATH: &str = "/oauth/callback";

impl SignInSite {
    /// What a login by authorization code asks for: what is configured, else what the AWS CLI asks for, since with that the token
    /// can be renewed.
    pub fn code_scopes(&self) -> Vec<String> {
        if self.scopes.is_empty() { vec![DEFAULT_SCOPE.to_owned()] } else { self.scopes.clone() }
    }
}

/// A device login that was begun.
pub struct DeviceLogin {
    /// What polls are made with.
    pub device_code: SecretString,
    /// What the person compares or types.
    pub user_code: String,
    /// Where the person types it.
    pub url: String,
    /// The same with the code in it, where there is one.
    pub complete_url: Option<String>,
    /// How long both codes are good.
    pub expires_in: Duration,
    /// How long to wait between two polls.
    pub interval: Duration,
}

/// What a token is asked for with. Each may be sent once.
pub enum Grant<'a> {
    /// A refresh token, with the client that it was given to.
    Refresh(&'a RefreshGrant),
    /// A device code.
    Device {
        /// The client that began the login.
        client: &'a OidcClient,
        /// Its code.
        device_code: &'a SecretString,
    },
    /// An authorization code.
    Code {
        /// The client that began the login.
        client: &'a OidcClient,
        /// What the browser brought.
        code: &'a AuthorizationCode,
    },
}

/// What a browser brought back.
pub struct AuthorizationCode {
    /// The code.
    pub code: SecretString,
    /// What proves that we asked for it.
    pub verifier: SecretString,
    /// The address that it came back to.
    pub redirect_uri: String,
}

/// SSO-OIDC, and the one call of the access portal that belongs to a sign-in. No call is sent a second time by itself: a
/// refresh token may be good for one.
pub trait OidcApi: Send + Sync {
    /// Registers a client for one way to sign in.
    fn register<'a>(
        &'a self,
        site: &'a SignInSite,
        flow: LoginFlow,
    ) -> PortFuture<'a, Result<OidcClient, SsoError>>;
    /// Begins a device login.
    fn start_device<'a>(
        &'a self,
        site: &'a SignInSite,
        client: &'a OidcClient,
    ) -> PortFuture<'a, Result<DeviceLogin, SsoError>>;
    /// Asks for a token.
    fn create_token<'a>(
        &'a self,
        site: &'a SignInSite,
        grant: Grant<'a>,
    ) -> PortFuture<'a, Result<IssuedToken, SsoError>>;
    /// Has a token revoked, as well as that goes.
    fn logout<'a>(
        &'a self,
        site: &'a SignInSite,
        token: &'a SsoToken,
    ) -> PortFuture<'a, Result<(), SsoError>>;
}

/// The access portal.
pub trait PortalApi: Send + Sync {
    /// Credentials of a role.
    fn role_credentials<'a>(
        &'a self,
        site: &'a SignInSite,
        token: &'a SsoToken,
        role: &'a Role,
    ) -> PortFuture<'a, Result<RoleCredentials, SsoError>>;
}

/// What a person may use, as the access portal lists it.
pub trait AccountsApi: Send + Sync {
    /// The accounts in which the person has a role.
    fn accounts<'a>(
        &'a self,
        site: &'a SignInSite,
        token: &'a SsoToken,
    ) -> PortFuture<'a, Result<Vec<Account>, SsoError>>;
    /// The names of the person's roles in an account, which are those of permission sets.
    fn roles<'a>(
        &'a self,
        site: &'a SignInSite,
        token: &'a SsoToken,
        account: &'a str,
    ) -> PortFuture<'a, Result<Vec<String>, SsoError>>;
}

/// The config file of AWS, as far as sign-ins and profiles are written into it.
pub trait ConfigFile: Send + Sync {
    /// Writes a session and profiles that use it, and tells whoever follows the file. Goes on when the future is dropped.
    ///
    /// # Errors
    /// `SectionExists`, `InvalidArgument`, `Internal`. The file is as it was.
    fn configure<'a>(&'a self, config: &'a SsoConfig) -> PortFuture<'a, Result<SsoConfigured, Fault>>;
}

/// What the shared token file holds.
#[derive(Clone, Debug)]
pub enum SharedFile {
    /// A token, whoever wrote it.
    Token(Arc<SsoToken>),
    /// There is no such file.
    Missing,
    /// Something that is no token: half of one while it is written, or broken.
    Torn,
    /// It cannot be read.
    Failed(Fault),
}

/// The token files that the AWS CLI and the SDKs read. That one changed is told by whoever watches the directory.
pub trait SharedCache: Send + Sync {
    /// Reads the file of a sign-in.
    fn read<'a>(&'a self, site: &'a SignInSite) -> PortFuture<'a, SharedFile>;
    /// Replaces it. `sharing` is never `Off`.
    fn write<'a>(
        &'a self,
        site: &'a SignInSite,
        token: &'a SsoToken,
        sharing: Sharing,
    ) -> PortFuture<'a, Result<(), Fault>>;
    /// Deletes it. One that is not there is no fault.
    fn delete<'a>(&'a self, site: &'a SignInSite) -> PortFuture<'a, Result<(), Fault>>;
}

/// Where tokens and client registrations are kept. Only the daemon reads them.
pub trait KeyStore: Send + Sync {
    /// The token of a sign-in.
    fn token<'a>(&'a self, name: &'a SignInName) -> PortFuture<'a, Result<Option<StoredToken>, Fault>>;
    /// Keeps it; none: forgets it.
    fn put_token<'a>(
        &'a self,
        name: &'a SignInName,
        token: Option<StoredToken>,
    ) -> PortFuture<'a, Result<(), Fault>>;
    /// The client of one way to sign in.
    fn client<'a>(
        &'a self,
        name: &'a SignInName,
        flow: LoginFlow,
    ) -> PortFuture<'a, Result<Option<StoredClient>, Fault>>;
    /// Keeps it; none: forgets it.
    fn put_client<'a>(
        &'a self,
        name: &'a SignInName,
        flow: LoginFlow,
        client: Option<StoredClient>,
    ) -> PortFuture<'a, Result<(), Fault>>;
}

/// A login whose browser comes back to this machine. Its listener is bound; dropping this closes it.
pub trait Authorization: Send {
    /// Where the browser is to go.
    fn url(&self) -> &str;
    /// Waits for it to come back. Cancel-safe.
    fn code(&mut self) -> PortFuture<'_, Result<AuthorizationCode, LoginFailure>>;
}

/// The person's browser.
pub trait Browser: Send + Sync {
    /// Begins a login whose browser comes back.
    fn authorize<'a>(
        &'a self,
        site: &'a SignInSite,
        client: &'a OidcClient,
    ) -> PortFuture<'a, Result<Box<dyn Authorization>, Fault>>;
    /// Opens a page, and answers whether it seems to have opened.
    fn open<'a>(&'a self, url: &'a str, opener: &'a Opener) -> PortFuture<'a, bool>;
}

/// Who has to know what happens to sign-ins. Every call returns at once.
pub trait SignInObserver: Send + Sync {
    /// A person is to know this, if anything needs that sign-in.
    fn notify(&self, name: &SignInName, notice: &Notice);
    /// This belongs into the history.
    fn record(&self, name: &SignInName, event: &SignInEvent);
    /// The credentials of roles that came from that sign-in are to be forgotten.
    fn forget_credentials(&self, name: &SignInName);
}

/// The world as a sign-in sees it.
#[derive(Clone)]
pub struct SignInPorts {
    /// SSO-OIDC.
    pub oidc: Arc<dyn OidcApi>,
    /// What is shared with other tools.
    pub cache: Arc<dyn SharedCache>,
    /// What is not.
    pub keys: Arc<dyn KeyStore>,
    /// The person's browser.
    pub browser: Arc<dyn Browser>,
    /// Who has to know.
    pub observer: Arc<dyn SignInObserver>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}
