//! What the client of another AWS service needs: the same profile, region, credentials, HTTP client and faults as ours.

use std::error::Error;
use std::sync::Arc;

use aws_sdk_ssm::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_types::SdkConfig;
use stormtunnel_model::{Fault, Region};

use crate::access::{AwsAccess, ScopedClient};
use crate::classify::Call;

/// The way to another service for one profile and region, with credentials that are there.
pub struct ServiceAccess {
    access: Arc<AwsAccess>,
    client: Arc<ScopedClient>,
}

impl ServiceAccess {
    pub(crate) fn new(access: &Arc<AwsAccess>, client: Arc<ScopedClient>) -> Self {
        Self { access: Arc::clone(access), client }
    }

    /// What to build the client from. [`EndpointGuard`](crate::EndpointGuard) has to be among its interceptors.
    pub fn config(&self) -> &SdkConfig {
        &self.client.config
    }

    /// The endpoint of EC2 in the place of AWS's own, if one is configured.
    pub fn endpoint_ec2(&self) -> Option<String> {
        self.client.endpoints.ec2.clone()
    }

    /// The endpoint of ECS in the place of AWS's own, if one is configured.
    pub fn endpoint_ecs(&self) -> Option<String> {
        self.client.endpoints.ecs.clone()
    }

    /// The fault behind a failed call of that action (as IAM calls it).
    pub async fn fault<E>(&self, action: &'static str, error: &SdkError<E, HttpResponse>) -> Fault
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
