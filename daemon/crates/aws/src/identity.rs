//! Who AWS takes us for: GetCallerIdentity, which needs no permission, once per credentials.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stormtunnel_engine::ports::{AwsScope, Identity, PortFuture};
use stormtunnel_model::{Fault, FaultKind, Principal};

use crate::access::{AwsAccess, ScopedClient};
use crate::classify::{Call, credentials_fault};
use crate::endpoint::EndpointGuard;
use crate::network::at_endpoint;

/// For how long a question that failed is not asked again: a network that lets everything but STS through must not cost
/// a call with each session.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(60);

const CALL: Call<'static> = Call { action: "sts:GetCallerIdentity", node: None, document: None };

/// The principals of all scopes.
pub struct AwsIdentity {
    access: Arc<AwsAccess>,
}

/// What is known of the owner of credentials.
pub(crate) struct Caller {
    /// The access key that the question was signed with.
    key: String,
    told: Result<Principal, Fault>,
    at: Instant,
}

impl Caller {
    fn is_good(&self, key: &str, now: Instant) -> bool {
        let lasts = self.told.is_ok() || now.saturating_duration_since(self.at) < ASK_AGAIN_AFTER;
        self.key == key && lasts
    }
}

impl AwsIdentity {
    /// Asks with the credentials of `access`.
    pub fn new(access: Arc<AwsAccess>) -> Self {
        Self { access }
    }

    /// Who comes while somebody asks waits for the same answer, unless it has to be asked `anew`.
    async fn find(&self, client: Arc<ScopedClient>, anew: bool) -> Result<Principal, Fault> {
        let credentials = client.credentials.current().await;
        let credentials = credentials.map_err(|error| credentials_fault(&error, &client.subject, &[]))?;
        let (key, clock) = (credentials.access_key_id(), self.access.clock());
        let mut known = client.caller.lock().await;
        if let Some(caller) = known.as_ref().filter(|caller| !anew && caller.is_good(key, clock.mono())) {
            return caller.told.clone();
        }
        let told = self.ask(&client).await;
        *known = Some(Caller { key: key.to_owned(), told: told.clone(), at: clock.mono() });
        told
    }

    async fn ask(&self, client: &Arc<ScopedClient>) -> Result<Principal, Fault> {
        let config = at_endpoint(&client.config, client.endpoints.sts.as_deref());
        let config = aws_sdk_sts::config::Builder::from(&config).interceptor(EndpointGuard);
        let sts = aws_sdk_sts::Client::from_conf(config.build());
        match sts.get_caller_identity().send().await {
            Ok(answer) => {
                let strange = |what: &str| Fault::new(FaultKind::PeerViolation, what);
                let arn =
                    answer.arn.ok_or_else(|| strange("AWS answered GetCallerIdentity without an ARN"))?;
                arn.parse()
                    .map_err(|_| strange("AWS answered GetCallerIdentity with something else than an ARN"))
            }
            Err(error) => Err(self.access.call_fault(client, &CALL, &error)),
        }
    }
}

impl Identity for AwsIdentity {
    fn caller<'a>(&'a self, scope: &'a AwsScope) -> PortFuture<'a, Result<Principal, Fault>> {
        Box::pin(self.access.call(scope, |client| self.find(client, false)))
    }

    fn check<'a>(&'a self, scope: &'a AwsScope) -> PortFuture<'a, Result<Principal, Fault>> {
        Box::pin(self.access.call(scope, |client| self.find(client, true)))
    }
}
