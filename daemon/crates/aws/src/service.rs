//! What the client of another AWS service needs: the same profile, region, credentials, HTTP client and faults as ours.

use std::error::Error;
use std::sync::Arc;

use aws_sdk_ssm::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_types::SdkConfig;
use stormtunnel_model::{Fault, Region};

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
