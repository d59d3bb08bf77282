//! Registered clients, and what they may do.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Deserialize;
use time::{Duration, OffsetDateTime};
use url::Url;

use crate::credentials::random_text;
use crate::sign_in::refused;
use crate::trouble::Refusal;

pub(super) const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
pub(super) const AUTHORIZATION_CODE: &str = "authorization_code";
pub(super) const REFRESH_TOKEN: &str = "refresh_token";

/// The scope of logins that can be refreshed.
const REFRESHABLE: &str = "sso:account:access";

/// What RegisterClient is asked.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Registration {
    client_name: String,
    client_type: String,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    grant_types: Vec<String>,
    #[serde(default)]
    redirect_uris: Vec<String>,
    #[serde(default)]
    issuer_url: Option<String>,
}

impl Registration {
    /// What the emulator registers for [`crate::Emulator::log_in`].
    pub(super) fn of_device(name: &str) -> Self {
        Self {
            client_name: name.to_owned(),
            client_type: "public".to_owned(),
            scopes: vec![REFRESHABLE.to_owned()],
            grant_types: Vec::new(),
            redirect_uris: Vec::new(),
            issuer_url: None,
        }
    }

    /// The redirect URIs, when everything is as the service wants it.
    fn check(&self) -> Result<Vec<Url>, Refusal> {
        if self.client_type != "public" || self.client_name.is_empty() {
            return Err(refused(
                "InvalidClientMetadataException",
                "The client must be public and have a name",
            ));
        }
        if self.scopes.iter().any(|scope| scope.contains(' ') || !scope.contains(':')) {
            return Err(refused("InvalidScopeException", "Invalid scope"));
        }
        let known = [DEVICE_CODE, AUTHORIZATION_CODE, REFRESH_TOKEN];
        if self.grant_types.iter().any(|grant| !known.contains(&grant.as_str())) {
            return Err(refused("UnsupportedGrantTypeException", "Unsupported grant type"));
        }
        let has = |wanted: &str| self.grant_types.iter().any(|grant| grant == wanted);
        // Some instances take both; a client that relies on it fails at the others.
        if has(DEVICE_CODE) && has(AUTHORIZATION_CODE) {
            return Err(refused("InvalidRequestException", "Grant types cannot be combined"));
        }
        if has(AUTHORIZATION_CODE) && self.redirect_uris.is_empty() {
            return Err(refused("InvalidRedirectUriException", "A redirect URI is required"));
        }
        let redirects = self.redirect_uris.iter().map(|uri| loopback(uri)).collect::<Option<_>>();
        redirects.ok_or_else(|| refused("InvalidRedirectUriException", "Invalid redirect URI"))
    }
}

/// A client that has registered.
pub(super) struct Client {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) expires: OffsetDateTime,
    pub(super) issuer: Option<String>,
    pub(super) scopes: Vec<String>,
    grants: Vec<String>,
    redirects: Vec<Url>,
}

impl Client {
    /// Whether it may ask for tokens so. A client that named no way has that of devices.
    pub(super) fn may(&self, grant: &str) -> bool {
        if self.grants.is_empty() {
            return grant != AUTHORIZATION_CODE;
        }
        self.grants.iter().any(|registered| registered == grant)
    }

    /// Whether its logins can be refreshed.
    pub(super) fn is_refreshable(&self) -> bool {
        self.may(REFRESH_TOKEN) && self.scopes.iter().any(|scope| scope == REFRESHABLE)
    }

    /// Whether a browser may be sent there: as registered, on any port if none was.
    pub(super) fn may_redirect(&self, uri: &str) -> bool {
        let Some(uri) = loopback(uri) else { return false };
        let fits = |registered: &Url| {
            let same_port = registered.port().is_none() || registered.port() == uri.port();
            same_port && registered.path() == uri.path()
        };
        self.redirects.iter().any(fits)
    }
}

/// All clients, by id.
#[derive(Default)]
pub(super) struct Clients(BTreeMap<String, Client>);

impl Clients {
    pub(super) fn register(
        &mut self,
        asked: Registration,
        expires: OffsetDateTime,
    ) -> Result<&Client, Refusal> {
        let redirects = asked.check()?;
        let (id, secret) = (random_text(22), format!("eyJraWQi{}", random_text(120)));
        let client = Client {
            id: id.clone(),
            secret,
            expires,
            issuer: asked.issuer_url,
            scopes: asked.scopes,
            grants: asked.grant_types,
            redirects,
        };
        Ok(self.0.entry(id).or_insert(client))
    }

    /// The client with this id, known and not expired.
    pub(super) fn find(&self, id: &str, now: OffsetDateTime) -> Option<&Client> {
        self.0.get(id).filter(|client| now < client.expires)
    }

    /// The client that shows this secret, if it may ask for tokens so.
    pub(super) fn check(
        &self,
        (id, secret): (&str, &str),
        grant: &str,
        now: OffsetDateTime,
    ) -> Result<&Client, Refusal> {
        let client = self.find(id, now).filter(|client| client.secret == secret).ok_or_else(|| {
            let (status, code) = (StatusCode::UNAUTHORIZED, "InvalidClientException");
            Refusal::new(status, code, "Invalid client provided")
        })?;
        if !client.may(grant) {
            return Err(refused(
                "UnauthorizedClientException",
                "The client is not registered for this grant",
            ));
        }
        Ok(client)
    }

    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    pub(super) fn age(&mut self, by: Duration) {
        self.0.values_mut().for_each(|client| client.expires -= by);
    }
}

/// The one host to which the service sends a browser back.
fn loopback(uri: &str) -> Option<Url> {
    let uri = Url::parse(uri).ok()?;
    let bare = uri.query().is_none() && uri.fragment().is_none() && uri.username().is_empty();
    (bare && uri.scheme() == "http" && uri.host_str() == Some("127.0.0.1")).then_some(uri)
}
