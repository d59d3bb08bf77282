//! What the client of another AWS service needs: the same profile, region, credentials, HTTP client and faults as ours.

use std::error::Error;
use std::sync::Arc;

use aws_sdk_ssm::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_types::SdkConfig;
use stormtunnel_model::{Fault, FaultKind, Region};

use crate::access::{AwsAccess, ScopedClient};
use crate::classify::Call;
use crate::network::at_endpoint;

/// The way to another service for one profile and region, with credentials that are there.
pub struct ServiceAccess {
    access: Arc<AwsAccess>,
    client: Arc<ScopedClient>,
}

impl ServiceAccess {
    pub(crate) fn new(access: &Arc<AwsAccess>, client: Arc<ScopedClient>) -> Self {
        Self { access: Arc::clone(access), client }
    }

    /// What to build the client of EC2 from. [`EndpointGuard`](crate::EndpointGuard) has to be among its interceptors.
    pub fn config_ec2(&self) -> SdkConfig {
        at_endpoint(&self.client.config, self.client.endpoints.ec2.as_deref())
    }

    /// The same for the client of ECS.
    pub fn config_ecs(&self) -> SdkConfig {
        at_endpoint(&self.client.config, self.client.endpoints.ecs.as_deref())
    }

    /// The fault behind a failed call of that action (as IAM calls it).
    pub fn fault<E>(&self, action: &'static str, error: &SdkError<E, HttpResponse>) -> Fault
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let call = Call { action, node: None, document: None };
        self.access.call_fault(&self.client, &call, error)
    }

    /// The region of the calls.
    pub fn region(&self) -> &Region {
        &self.client.subject.region
    }

    pub(crate) fn client(&self) -> &Arc<ScopedClient> {
        &self.client
    }
}

/// The URL at which the client of an SDK asks, made of that [`SdkConfig`]: the endpoint in it, or else what the SDK's own table of
/// names has for the region, FIPS and dual stack. A [`Fault`] where the table has nothing. To be used in async code.
#[macro_export]
macro_rules! sdk_endpoint {
    ($sdk:ident, $config:expr) => {{
        use $sdk::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
        let config = $config;
        let params = Params::builder()
            .set_region(config.region().map(ToString::to_string))
            .set_use_fips(config.use_fips())
            .set_use_dual_stack(config.use_dual_stack())
            .set_endpoint(config.endpoint_url().map(str::to_owned))
            .build();
        match params {
            Ok(params) => match DefaultResolver::new().resolve_endpoint(&params).await {
                Ok(endpoint) => Ok(endpoint.url().to_owned()),
                Err(error) => Err($crate::no_endpoint(&*error)),
            },
            Err(error) => Err($crate::no_endpoint(&error)),
        }
    }};
}

/// There is no such endpoint of AWS: [`FaultKind::InvalidArgument`].
pub fn no_endpoint(why: &dyn Error) -> Fault {
    Fault::new(FaultKind::InvalidArgument { field: "region".to_owned() }, why.to_string())
}
