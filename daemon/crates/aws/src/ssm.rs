//! The Session Manager API through the SDK.

use std::sync::Arc;

use aws_sdk_ssm::config::retry::RetryConfig;
use aws_sdk_ssm::error::ProvideErrorMetadata;
use aws_sdk_ssm::types::ConnectionStatus;
use secrecy::SecretString;
use stormtunnel_engine::ports::{AwsScope, PortFuture, Resumption, SessionGrant, SessionRequest, SsmApi};
use stormtunnel_model::{Fault, FaultKind, RemoteEndpoint, ResolvedTarget, SsmSessionId};

use crate::access::{AwsAccess, ScopedClient};
use crate::classify::Call;

/// What AWS answers for a session that it does not know (any more).
const NO_SUCH_SESSION: &str = "DoesNotExistException";

/// StartSession, ResumeSession, TerminateSession and GetConnectionStatus.
pub struct AwsSsm {
    access: Arc<AwsAccess>,
}

impl AwsSsm {
    /// Calls with the credentials of `access`.
    pub fn new(access: Arc<AwsAccess>) -> Self {
        Self { access }
    }

    async fn start(
        &self,
        client: Arc<ScopedClient>,
        request: &SessionRequest,
    ) -> Result<SessionGrant, Fault> {
        let document = document_for(&request.remote);
        let call = Call { action: "ssm:StartSession", node: Some(&request.node), document: Some(document) };
        let port = |port: u16| vec![port.to_string()];
        let mut start = client
            .ssm
            .start_session()
            .target(request.node.as_str())
            .document_name(document)
            .parameters("portNumber", port(request.remote.port.get()))
            .set_reason(request.reason.as_ref().map(ToString::to_string));
        if let Some(local_port) = request.local_port {
            start = start.parameters("localPortNumber", port(local_port));
        }
        if let Some(host) = request.remote.host_beyond_target() {
            start = start.parameters("host", vec![host.to_owned()]);
        }
        let answer = match start.customize().config_override(once()).send().await {
            Ok(answer) => answer,
            Err(error) => return Err(self.access.call_fault(&client, &call, &error)),
        };
        let missing =
            || Fault::new(FaultKind::PeerViolation, "AWS answered StartSession without id, URL or token");
        let id = answer.session_id.ok_or_else(missing)?;
        let grant = Grant { stream_url: answer.stream_url, token: answer.token_value };
        grant.complete(SsmSessionId(id), &client).ok_or_else(missing)
    }

    async fn resume(&self, client: Arc<ScopedClient>, id: &SsmSessionId) -> Result<Resumption, Fault> {
        let call = Call { action: "ssm:ResumeSession", node: None, document: None };
        match client.ssm.resume_session().session_id(&id.0).send().await {
            Ok(answer) => {
                let grant = Grant { stream_url: answer.stream_url, token: answer.token_value };
                Ok(grant.complete(id.clone(), &client).map_or(Resumption::Gone, Resumption::Granted))
            }
            Err(error) if error.code() == Some(NO_SUCH_SESSION) => Ok(Resumption::Gone),
            Err(error) => Err(self.access.call_fault(&client, &call, &error)),
        }
    }

    async fn is_connected(&self, client: Arc<ScopedClient>, node: &ResolvedTarget) -> Result<bool, Fault> {
        let call = Call { action: "ssm:GetConnectionStatus", node: Some(node), document: None };
        match client.ssm.get_connection_status().target(node.as_str()).send().await {
            Ok(answer) => Ok(answer.status != Some(ConnectionStatus::NotConnected)),
            Err(error) => Err(self.access.call_fault(&client, &call, &error)),
        }
    }

    async fn terminate(&self, client: Arc<ScopedClient>, id: &SsmSessionId) -> Result<(), Fault> {
        let call = Call { action: "ssm:TerminateSession", node: None, document: None };
        match client.ssm.terminate_session().session_id(&id.0).send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some(NO_SUCH_SESSION) => Ok(()),
            Err(error) => Err(self.access.call_fault(&client, &call, &error)),
        }
    }
}

/// StartSession is not idempotent: after an attempt that timed out, a second one could leave a session behind that
/// nobody knows of.
fn once() -> aws_sdk_ssm::config::Builder {
    aws_sdk_ssm::Config::builder().retry_config(RetryConfig::disabled())
}

/// What StartSession and ResumeSession have in common. An empty value counts as a missing one.
struct Grant {
    stream_url: Option<String>,
    token: Option<String>,
}

impl Grant {
    fn complete(self, id: SsmSessionId, client: &ScopedClient) -> Option<SessionGrant> {
        let token = SecretString::from(self.token.filter(|token| !token.is_empty())?);
        let stream_url = self.stream_url.filter(|url| !url.is_empty())?;
        Some(SessionGrant { id, stream_url, token, region: client.subject.region.clone() })
    }
}

/// The document that reaches the remote: the target's own ports have a document without host.
fn document_for(remote: &RemoteEndpoint) -> &'static str {
    match remote.host_beyond_target() {
        Some(_) => "AWS-StartPortForwardingSessionToRemoteHost",
        None => "AWS-StartPortForwardingSession",
    }
}

impl SsmApi for AwsSsm {
    fn start_session<'a>(
        &'a self,
        request: &'a SessionRequest,
    ) -> PortFuture<'a, Result<SessionGrant, Fault>> {
        let start = |client| self.start(client, request);
        Box::pin(self.access.call(&request.scope, start))
    }

    fn resume_session<'a>(
        &'a self,
        scope: &'a AwsScope,
        id: &'a SsmSessionId,
    ) -> PortFuture<'a, Result<Resumption, Fault>> {
        Box::pin(self.access.call(scope, |client| self.resume(client, id)))
    }

    fn is_connected<'a>(
        &'a self,
        scope: &'a AwsScope,
        node: &'a ResolvedTarget,
    ) -> PortFuture<'a, Result<bool, Fault>> {
        Box::pin(self.access.call(scope, |client| self.is_connected(client, node)))
    }

    fn terminate_session<'a>(
        &'a self,
        scope: &'a AwsScope,
        id: &'a SsmSessionId,
    ) -> PortFuture<'a, Result<(), Fault>> {
        Box::pin(self.access.call(scope, |client| self.terminate(client, id)))
    }
}
