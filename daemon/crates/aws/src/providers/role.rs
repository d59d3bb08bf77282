//! A role that is assumed with the credentials of what comes before it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use aws_types::SdkConfig;
use secrecy::{ExposeSecret as _, SecretString};
use stormtunnel_aws_files::{Endpoints, Role};
use stormtunnel_model::{Fault, FaultKind, Region};
use tokio::time::timeout;

use super::AskCode;
use super::sts::{self, SESSION_NAME};
use crate::classify::{Call, Subject};
use crate::credentials::CachedCredentials;
use crate::endpoint::EndpointGuard;
use crate::network::{AwsNetwork, CREDENTIALS_OPERATION_TIMEOUT, MAX_ATTEMPTS};

/// How long a person may take to find the device and type its code, which lives for half a minute.
const CODE_TIMEOUT: Duration = Duration::from_secs(120);

const CALL: Call<'static> = Call { action: "sts:AssumeRole", node: None, document: None };

/// Provides the credentials of one role.
pub(super) struct RoleProvider {
    base: CachedCredentials,
    role: Role,
    subject: Subject,
    /// Of the calls to STS, but for the credentials.
    config: SdkConfig,
    codes: Arc<dyn AskCode>,
}

impl RoleProvider {
    pub(super) async fn new(
        network: &AwsNetwork,
        base: CachedCredentials,
        role: &Role,
        (endpoints, region): (&Endpoints, &Region),
        codes: &Arc<dyn AskCode>,
    ) -> Result<Self, Fault> {
        // A code is good for one attempt.
        let retry = match role.mfa_serial {
            Some(_) => RetryConfig::disabled(),
            None => RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS),
        };
        let config = sts::config(network, (endpoints, region), retry).await?;
        let subject = Subject { profile: role.profile.to_string(), region: region.clone(), sign_in: None };
        Ok(Self { base, role: role.clone(), subject, config, codes: Arc::clone(codes) })
    }

    /// How long this step may take.
    pub(super) fn patience(&self) -> Duration {
        let code = if self.role.mfa_serial.is_some() { CODE_TIMEOUT } else { Duration::ZERO };
        CREDENTIALS_OPERATION_TIMEOUT + code
    }

    async fn assume(&self) -> provider::Result {
        let base = self.base.current().await?;
        let code = self.code().await.map_err(CredentialsError::provider_error)?;
        let code = code.as_ref().map(|code| code.expose_secret().to_owned());
        let config = aws_sdk_sts::config::Builder::from(&self.config)
            .credentials_provider(base.clone())
            .interceptor(EndpointGuard)
            .build();
        let role = &self.role;
        let duration = role.duration.and_then(|duration| i32::try_from(duration.as_secs()).ok());
        let answer = aws_sdk_sts::Client::from_conf(config)
            .assume_role()
            .role_arn(&role.arn)
            .role_session_name(role.session_name.as_deref().unwrap_or(SESSION_NAME))
            .set_external_id(role.external_id.clone())
            .set_duration_seconds(duration)
            .set_serial_number(role.mfa_serial.clone())
            .set_token_code(code)
            .send()
            .await;
        let secrets = [base.secret_access_key(), base.session_token().unwrap_or_default()];
        let fault =
            |error| CredentialsError::provider_error(sts::fault(&error, &self.subject, &CALL, &secrets));
        sts::keys(answer.map_err(fault)?.credentials, "role").ok_or_else(|| {
            let strange = "AWS answered AssumeRole without credentials";
            CredentialsError::provider_error(Fault::new(FaultKind::PeerViolation, strange))
        })
    }

    async fn code(&self) -> Result<Option<SecretString>, Fault> {
        let Role { profile, mfa_serial: Some(serial), .. } = &self.role else { return Ok(None) };
        let Ok(code) = timeout(CODE_TIMEOUT, self.codes.code(profile, serial)).await else {
            let detail = format!("nobody typed the code of {serial} within {} s", CODE_TIMEOUT.as_secs());
            return Err(Fault::new(self.invalid(), detail));
        };
        code.map(Some)
    }

    fn invalid(&self) -> FaultKind {
        FaultKind::CredentialsInvalid { profile: self.subject.profile.clone() }
    }
}

impl ProvideCredentials for RoleProvider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.assume())
    }
}

impl fmt::Debug for RoleProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoleProvider").field("role", &self.role.arn).finish_non_exhaustive()
    }
}
