//! A role that is assumed with a token from a file, which somebody else keeps fresh. The SDK's own provider asks STS where the
//! environment says, and not where a setting or the profile does.

use std::fmt;
use std::io;

use aws_config::retry::RetryConfig;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use aws_types::SdkConfig;
use stormtunnel_aws_files::{Endpoints, WebIdentity};
use stormtunnel_model::{Fault, FaultKind, Profile, Region};

use super::sts::{self, SESSION_NAME};
use crate::classify::{Call, Subject};
use crate::endpoint::EndpointGuard;
use crate::network::{AwsNetwork, MAX_ATTEMPTS};

const CALL: Call<'static> = Call { action: "sts:AssumeRoleWithWebIdentity", node: None, document: None };

/// Provides the credentials of the role.
pub(super) struct WebIdentityProvider {
    identity: WebIdentity,
    subject: Subject,
    config: SdkConfig,
}

impl WebIdentityProvider {
    pub(super) async fn new(
        network: &AwsNetwork,
        identity: &WebIdentity,
        (profile, endpoints, region): (&Profile, &Endpoints, &Region),
    ) -> Result<Self, Fault> {
        let retry = RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS);
        let config = sts::config(network, (endpoints, region), retry).await?;
        let subject = Subject { profile: profile.to_string(), region: region.clone() };
        Ok(Self { identity: identity.clone(), subject, config })
    }

    async fn assume(&self) -> provider::Result {
        // Read each time: it is another one after a while.
        let token = tokio::fs::read_to_string(&self.identity.token_file).await;
        let token = token.map_err(|error| self.without_token(&error))?;
        let token = token.trim();
        let config = aws_sdk_sts::config::Builder::from(&self.config).interceptor(EndpointGuard).build();
        let answer = aws_sdk_sts::Client::from_conf(config)
            .assume_role_with_web_identity()
            .role_arn(&self.identity.role_arn)
            .role_session_name(self.identity.session_name.as_deref().unwrap_or(SESSION_NAME))
            .web_identity_token(token)
            .send()
            .await;
        let fault =
            |error| CredentialsError::provider_error(sts::fault(&error, &self.subject, &CALL, &[token]));
        sts::keys(answer.map_err(fault)?.credentials, "web-identity").ok_or_else(|| {
            let strange = "AWS answered AssumeRoleWithWebIdentity without credentials";
            CredentialsError::provider_error(Fault::new(FaultKind::PeerViolation, strange))
        })
    }

    fn without_token(&self, error: &io::Error) -> CredentialsError {
        let kind = FaultKind::CredentialsInvalid { profile: self.subject.profile.clone() };
        let file = &self.identity.token_file;
        let detail = format!("web_identity_token_file {file} cannot be read: {error}");
        CredentialsError::provider_error(Fault::new(kind, detail))
    }
}

impl ProvideCredentials for WebIdentityProvider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.assume())
    }
}

impl fmt::Debug for WebIdentityProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebIdentityProvider").field("role", &self.identity.role_arn).finish_non_exhaustive()
    }
}
