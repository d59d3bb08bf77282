//! A Session Manager that knows which sessions are open.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use secrecy::SecretString;
use stormtunnel_model::{Fault, FaultKind, Region, ResolvedTarget, SsmSessionId};
use tokio::sync::watch;

use crate::ports::{AwsScope, PortFuture, Resumption, SessionGrant, SessionRequest, SsmApi};

/// Succeeds unless told otherwise.
#[derive(Debug)]
pub struct ScriptedSsm {
    inner: Mutex<Inner>,
    /// While true, calls wait.
    held: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Inner {
    started: Vec<SessionRequest>,
    open: BTreeSet<SsmSessionId>,
    start_failures: VecDeque<Fault>,
    resume_failures: VecDeque<Fault>,
    terminate_failures: VecDeque<Fault>,
    resumes: u32,
    terminates: u32,
}

impl Default for ScriptedSsm {
    fn default() -> Self {
        Self { inner: Mutex::default(), held: watch::Sender::new(false) }
    }
}

impl ScriptedSsm {
    /// Lets the next StartSession fail.
    pub fn fail_next_start(&self, fault: Fault) {
        self.inner().start_failures.push_back(fault);
    }

    /// Lets the next ResumeSession fail.
    pub fn fail_next_resume(&self, fault: Fault) {
        self.inner().resume_failures.push_back(fault);
    }

    /// Lets the next TerminateSession fail.
    pub fn fail_next_terminate(&self, fault: Fault) {
        self.inner().terminate_failures.push_back(fault);
    }

    /// While `held`, calls are received and not answered.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Ends a session as AWS does: nobody is told, the next resume finds it gone.
    pub fn end(&self, id: &SsmSessionId) {
        self.inner().open.remove(id);
    }

    /// A session that some earlier daemon opened.
    pub fn add_open(&self, id: SsmSessionId) {
        self.inner().open.insert(id);
    }

    /// Sessions that are open.
    pub fn open_sessions(&self) -> Vec<SsmSessionId> {
        self.inner().open.iter().cloned().collect()
    }

    /// What StartSession was asked, in order.
    pub fn started(&self) -> Vec<SessionRequest> {
        self.inner().started.clone()
    }

    /// Calls to ResumeSession.
    pub fn resumes(&self) -> u32 {
        self.inner().resumes
    }

    /// Calls to TerminateSession.
    pub fn terminates(&self) -> u32 {
        self.inner().terminates
    }

    fn start_now(&self, request: &SessionRequest) -> Result<SessionGrant, Fault> {
        let mut inner = self.inner();
        inner.started.push(request.clone());
        if let Some(fault) = inner.start_failures.pop_front() {
            return Err(fault);
        }
        let id = SsmSessionId(format!("test-{:03}", inner.started.len()));
        inner.open.insert(id.clone());
        grant(id, &request.scope)
    }

    fn resume_now(&self, scope: &AwsScope, id: &SsmSessionId) -> Result<Resumption, Fault> {
        let mut inner = self.inner();
        inner.resumes += 1;
        if let Some(fault) = inner.resume_failures.pop_front() {
            return Err(fault);
        }
        if inner.open.contains(id) {
            grant(id.clone(), scope).map(Resumption::Granted)
        } else {
            Ok(Resumption::Gone)
        }
    }

    fn terminate_now(&self, id: &SsmSessionId) -> Result<(), Fault> {
        let mut inner = self.inner();
        inner.terminates += 1;
        if let Some(fault) = inner.terminate_failures.pop_front() {
            return Err(fault);
        }
        inner.open.remove(id);
        Ok(())
    }

    async fn answer(&self) {
        let mut held = self.held.subscribe();
        // The sender lives as long as `self`.
        let _never_closed = held.wait_for(|held| !held).await;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn grant(id: SsmSessionId, scope: &AwsScope) -> Result<SessionGrant, Fault> {
    let default: Result<Region, _> = "eu-west-1".parse();
    let default = default.map_err(|error| Fault::new(FaultKind::Internal, error.to_string()))?;
    Ok(SessionGrant {
        stream_url: format!("wss://ssmmessages.invalid/v1/data-channel/{id}"),
        token: SecretString::from(format!("token-of-{id}")),
        region: scope.region.clone().unwrap_or(default),
        id,
    })
}

impl SsmApi for ScriptedSsm {
    fn start_session<'a>(
        &'a self,
        request: &'a SessionRequest,
    ) -> PortFuture<'a, Result<SessionGrant, Fault>> {
        Box::pin(async move {
            self.answer().await;
            self.start_now(request)
        })
    }

    fn resume_session<'a>(
        &'a self,
        scope: &'a AwsScope,
        id: &'a SsmSessionId,
    ) -> PortFuture<'a, Result<Resumption, Fault>> {
        Box::pin(async move {
            self.answer().await;
            self.resume_now(scope, id)
        })
    }

    fn is_connected<'a>(
        &'a self,
        _scope: &'a AwsScope,
        _node: &'a ResolvedTarget,
    ) -> PortFuture<'a, Result<bool, Fault>> {
        Box::pin(std::future::ready(Ok(true)))
    }

    fn terminate_session<'a>(
        &'a self,
        _scope: &'a AwsScope,
        id: &'a SsmSessionId,
    ) -> PortFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            self.answer().await;
            self.terminate_now(id)
        })
    }
}
