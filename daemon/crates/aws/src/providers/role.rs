//! A role that is assumed with the credentials of what comes before it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use aws_sdk_ssm::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_types::SdkConfig;
use secrecy::{ExposeSecret as _, SecretString};
use stormtunnel_aws_files::{Endpoints, Role};
use stormtunnel_engine::ports::Clock;
use stormtunnel_engine::prompts::{CODE_TIMEOUT, CODES, CodeQuestion};
use stormtunnel_model::{Fault, FaultKind, Region};

use super::sts::{self, SESSION_NAME};
use super::{AskCode, ProfileCredentials};
use crate::classify::{Call, Subject};
use crate::credentials::CachedCredentials;
use crate::endpoint::EndpointGuard;
use crate::network::{AwsNetwork, CREDENTIALS_OPERATION_TIMEOUT, MAX_ATTEMPTS};

/// What STS says of a code that is wrong. There is no other sign of it: the error is the one of whatever is denied.
const WRONG_CODE: &str = "invalid MFA one time pass code";

const CALL: Call<'static> = Call { action: "sts:AssumeRole", node: None, document: None };

/// Provides the credentials of one role.
pub(super) struct RoleProvider {
    base: Base,
    role: Role,
    subject: Subject,
    /// Of the calls to STS, but for the credentials.
    config: SdkConfig,
    codes: Arc<dyn AskCode>,
}

/// What a role is assumed with.
pub(super) struct Base {
    source: ProfileCredentials,
    cached: CachedCredentials,
}

impl Base {
    pub(super) fn new(source: ProfileCredentials, clock: &Arc<dyn Clock>) -> Self {
        let cached = source.cached(clock);
        Self { source, cached }
    }

    /// AWS did not take what was had last: the next are others.
    fn reject(&self) {
        self.source.rejected();
        self.cached.forget();
    }
}

/// What STS says of credentials that it does not take any more, though nothing here says that they are over.
const OVER: [&str; 4] =
    ["ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"];

/// Why there are no credentials.
enum Refusal {
    /// Another code may help.
    WrongCode(CredentialsError),
    /// Other credentials to assume the role with may help.
    Over(CredentialsError),
    Other(CredentialsError),
}

impl RoleProvider {
    pub(super) async fn new(
        network: &AwsNetwork,
        base: Base,
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
        let subject = Subject { profile: role.profile.to_string(), region: region.clone() };
        Ok(Self { base, role: role.clone(), subject, config, codes: Arc::clone(codes) })
    }

    /// How long this step may take.
    pub(super) fn patience(&self) -> Duration {
        match self.role.mfa_serial {
            Some(_) => (CREDENTIALS_OPERATION_TIMEOUT + CODE_TIMEOUT) * CODES,
            None => CREDENTIALS_OPERATION_TIMEOUT,
        }
    }

    async fn assume(&self) -> provider::Result {
        let mut answer = self.assume_once(false).await;
        if matches!(&answer, Err(Refusal::Over(_))) && self.base.source.renews() {
            self.base.reject();
            answer = self.assume_once(false).await;
        }
        for _ in 1..CODES {
            if !matches!(&answer, Err(Refusal::WrongCode(_))) {
                break;
            }
            answer = self.assume_once(true).await;
        }
        answer.map_err(|refusal| match refusal {
            Refusal::WrongCode(error) | Refusal::Over(error) | Refusal::Other(error) => error,
        })
    }

    /// One try, with one code where one is needed. `refused`: the last one was wrong.
    async fn assume_once(&self, refused: bool) -> Result<Keys, Refusal> {
        let base = self.base.cached.current().await.map_err(Refusal::Other)?;
        let code =
            self.code(refused).await.map_err(CredentialsError::provider_error).map_err(Refusal::Other)?;
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
        let refusal = |error: SdkError<AssumeRoleError, HttpResponse>| {
            let is_wrong = error.message().is_some_and(|message| message.contains(WRONG_CODE));
            let fault = sts::fault(&error, &self.subject, &CALL, &secrets);
            if is_wrong {
                // Denied, but nothing that an administrator could allow.
                let fault = Fault::new(self.invalid(), fault.detail);
                return Refusal::WrongCode(CredentialsError::provider_error(fault));
            }
            let is_over = error.code().is_some_and(|code| OVER.contains(&code));
            let refusal = if is_over { Refusal::Over } else { Refusal::Other };
            refusal(CredentialsError::provider_error(fault))
        };
        sts::keys(answer.map_err(refusal)?.credentials, "role").ok_or_else(|| {
            let strange = "AWS answered AssumeRole without credentials";
            Refusal::Other(CredentialsError::provider_error(Fault::new(FaultKind::PeerViolation, strange)))
        })
    }

    async fn code(&self, refused: bool) -> Result<Option<SecretString>, Fault> {
        let Role { profile, mfa_serial: Some(serial), .. } = &self.role else { return Ok(None) };
        let question = CodeQuestion { profile, serial, refused, patience: CODE_TIMEOUT };
        self.codes.code(question).await.map(Some)
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
