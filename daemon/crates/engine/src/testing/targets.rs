//! Nodes that can be found, in memory.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use stormtunnel_model::{AgentStatus, Candidate, Fault, FaultKind, Target, Timestamp};

use crate::ports::{AwsScope, Candidates, PortFuture, TargetDirectory};

/// Finds what the test put there, whatever the target.
#[derive(Debug, Default)]
pub struct MemoryTargets {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    candidates: Vec<Candidate>,
    failures: VecDeque<Fault>,
    asked: Vec<Target>,
}

impl MemoryTargets {
    /// From now on these are found.
    pub fn set(&self, candidates: Vec<Candidate>) {
        self.inner().candidates = candidates;
    }

    /// Lets the next search fail.
    pub fn fail_next(&self, fault: Fault) {
        self.inner().failures.push_back(fault);
    }

    /// What was searched for, in order.
    pub fn asked(&self) -> Vec<Target> {
        self.inner().asked.clone()
    }

    fn answer(&self, scope: &AwsScope, target: Option<&Target>) -> Result<Candidates, Fault> {
        let mut inner = self.inner();
        inner.asked.extend(target.cloned());
        if let Some(fault) = inner.failures.pop_front() {
            return Err(fault);
        }
        let missing = || Fault::new(FaultKind::InvalidArgument { field: "region".to_owned() }, "none is set");
        let region = scope.region.clone().ok_or_else(missing)?;
        Ok(Candidates { region, candidates: inner.candidates.clone(), notes: Vec::new() })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TargetDirectory for MemoryTargets {
    fn candidates<'a>(
        &'a self,
        scope: &'a AwsScope,
        target: &'a Target,
    ) -> PortFuture<'a, Result<Candidates, Fault>> {
        Box::pin(async move { self.answer(scope, Some(target)) })
    }

    fn reachable<'a>(&'a self, scope: &'a AwsScope) -> PortFuture<'a, Result<Candidates, Fault>> {
        Box::pin(async move { self.answer(scope, None) })
    }
}

/// A node whose agent is as told, launched at that second.
///
/// # Panics
/// When `node` is no node.
#[expect(clippy::expect_used, reason = "test support: a panic is the test's failure")]
pub fn candidate(node: &str, agent: AgentStatus, launched: u64) -> Candidate {
    Candidate {
        node: node.parse().expect("a node"),
        name: Some("web".to_owned()),
        address: None,
        agent,
        platform: None,
        launched_at: Some(Timestamp::from_millis(launched * 1000)),
    }
}
