//! What the two ways to assume a role have in common.

use std::error::Error;
use std::time::SystemTime;

use aws_config::retry::RetryConfig;
use aws_credential_types::Credentials as Keys;
use aws_sdk_ssm::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::types::Credentials as Issued;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_types::SdkConfig;
use stormtunnel_aws_files::Endpoints;
use stormtunnel_model::{Fault, FaultKind, Region};

use crate::classify::{Call, Subject, api_fault};
use crate::environment::Service;
use crate::network::{AwsNetwork, at_endpoint, credentials_timeouts};

/// Name of sessions of roles where the profile names none: it stands in the audit trail.
pub(super) const SESSION_NAME: &str = "stormtunnel";

/// Of calls to STS, but for the credentials.
pub(super) async fn config(
    network: &AwsNetwork,
    (endpoints, region): (&Endpoints, &Region),
    retry: RetryConfig,
) -> Result<SdkConfig, Fault> {
    let route = network.route(Some(endpoints)).await?;
    let config = network.sdk_config(region, &route)?;
    let config = config.timeout_config(credentials_timeouts()).retry_config(retry).build();
    Ok(at_endpoint(&config, network.endpoint(Service::Sts, Some(endpoints))?.as_deref()))
}

/// What STS says no to stays refused: the profile asks for something that the role does not give.
pub(super) fn fault<E>(
    error: &SdkError<E, HttpResponse>,
    subject: &Subject,
    call: &Call<'_>,
    secrets: &[&str],
) -> Fault
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let fault = api_fault(error, subject, call, secrets);
    let status = error.raw_response().map_or(0, |answer| answer.status().as_u16());
    let refused = error.code().is_some() && (400..500).contains(&status);
    let unplaced = matches!(fault.kind, FaultKind::Network | FaultKind::InvalidArgument { .. });
    let kind = FaultKind::CredentialsInvalid { profile: subject.profile.clone() };
    if refused && unplaced { Fault::new(kind, fault.detail) } else { fault }
}

/// What STS issued; none in an answer without it.
pub(super) fn keys(issued: Option<Issued>, provider: &'static str) -> Option<Keys> {
    let issued = issued?;
    let expires = SystemTime::try_from(issued.expiration).ok()?;
    let token = Some(issued.session_token);
    Some(Keys::new(issued.access_key_id, issued.secret_access_key, token, Some(expires), provider))
}
