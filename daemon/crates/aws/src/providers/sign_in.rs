//! Credentials of a role of IAM Identity Center.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use secrecy::ExposeSecret as _;
use stormtunnel_aws_files::SsoRole;
use stormtunnel_engine::sign_in::credentials::{CredentialBroker, Role, RoleCredentials};
use stormtunnel_model::SignInName;

use super::FindSignIn;
use crate::credentials::system_time;

/// How long a fetch may take: a token is renewed and credentials are asked for, and both once more.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);

/// Provides what the broker has for a role.
pub(super) struct SignInProvider {
    broker: Arc<CredentialBroker>,
    find: Arc<FindSignIn>,
    name: SignInName,
    role: Role,
    last: Mutex<Option<Arc<RoleCredentials>>>,
}

impl SignInProvider {
    pub(super) fn new(broker: &Arc<CredentialBroker>, find: &Arc<FindSignIn>, role: &SsoRole) -> Self {
        Self {
            broker: Arc::clone(broker),
            find: Arc::clone(find),
            name: role.sign_in.clone(),
            role: Role { account: role.account.clone(), name: role.role.clone() },
            last: Mutex::default(),
        }
    }

    /// AWS did not accept what was provided last.
    pub(super) fn rejected(&self) {
        if let Some(last) = self.last().take() {
            self.broker.rejected(&self.name, &self.role, &last);
        }
    }

    async fn provide(&self) -> provider::Result {
        // Looked up each time: it is another one after a change of the files.
        let sign_in = (self.find)(&self.name).map_err(CredentialsError::provider_error)?;
        let credentials = self.broker.credentials(&sign_in, &self.role).await;
        let credentials = credentials.map_err(CredentialsError::provider_error)?;
        let keys = Keys::new(
            &*credentials.access_key_id,
            credentials.secret_access_key.expose_secret(),
            Some(credentials.session_token.expose_secret().to_owned()),
            Some(system_time(credentials.expires_at)),
            "sign-in",
        );
        *self.last() = Some(credentials);
        Ok(keys)
    }

    fn last(&self) -> MutexGuard<'_, Option<Arc<RoleCredentials>>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProvideCredentials for SignInProvider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.provide())
    }
}

impl fmt::Debug for SignInProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignInProvider")
            .field("name", &self.name)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}
