//! Finds the nodes behind a target: instances through EC2, their agents through Session Manager.
//!
//! Neither permission is taken for granted. Without `ssm:DescribeInstanceInformation` nothing is known of the agents, and
//! StartSession has to tell; without `ec2:DescribeInstances` a list is as good as Session Manager knows it, but a target
//! that has to be looked up cannot be.

use std::collections::BTreeMap;
use std::sync::Arc;

use stormtunnel_engine::ports::{AwsScope, Candidates, PortFuture, TargetDirectory};
use stormtunnel_model::{AgentStatus, Candidate, Fault, FaultKind, ResolvedTarget, Target, TargetForm};

use crate::access::AwsAccess;
use crate::agents::agents;
use crate::service::Ec2Access;

/// Finds instances. It is a crate of its own, because the SDK for EC2 takes longer to compile than all the rest.
pub trait InstanceFinder: Send + Sync {
    /// Running instances that `form` describes, or all of them. Of their agents nothing is known yet.
    fn running<'a>(
        &'a self,
        ec2: &'a Ec2Access,
        form: Option<&'a TargetForm<'a>>,
    ) -> PortFuture<'a, Result<Vec<Candidate>, Fault>>;
}

/// The nodes of AWS.
pub struct AwsTargets {
    access: Arc<AwsAccess>,
    instances: Option<Arc<dyn InstanceFinder>>,
}

impl AwsTargets {
    /// Looks with the credentials of `access`. Without `instances` only Session Manager is asked.
    pub fn new(access: Arc<AwsAccess>, instances: Option<Arc<dyn InstanceFinder>>) -> Self {
        Self { access, instances }
    }

    async fn find(&self, scope: &AwsScope, target: &Target) -> Result<Candidates, Fault> {
        let form = target.form();
        let ec2 = Ec2Access::of(&self.access, scope).await?;
        let running = match &form {
            // The agent's own list has it, whatever kind of node it is.
            TargetForm::Node(node) => vec![unknown(node.clone())],
            TargetForm::Tags(_) | TargetForm::Address(_) | TargetForm::DnsName(_) => {
                self.running(&ec2, Some(&form)).await.map_err(with_way_out)?
            }
        };
        let ids: Vec<ResolvedTarget> = running.iter().map(|candidate| candidate.node.clone()).collect();
        let agents = if ids.is_empty() {
            Ok(Vec::new())
        } else {
            agents(&self.access, ec2.client(), Some(&ids)).await
        };
        let (agents, notes) = known(agents);
        let candidates = with_agents(running, agents.as_deref());
        Ok(Candidates { region: ec2.region().clone(), candidates, notes })
    }

    async fn list(&self, scope: &AwsScope) -> Result<Candidates, Fault> {
        let ec2 = Ec2Access::of(&self.access, scope).await?;
        let region = ec2.region().clone();
        let (running, agents) =
            tokio::join!(self.running(&ec2, None), agents(&self.access, ec2.client(), None));
        let (running, agents, mut notes) = match (running, agents) {
            (Err(fault), Err(_)) => return Err(fault),
            (Ok(running), agents) => {
                let (agents, notes) = known(agents);
                (running, agents, notes)
            }
            (Err(fault), Ok(agents)) => {
                let note = format!("only what Session Manager knows: {fault}");
                return Ok(Candidates { region, candidates: agents, notes: vec![note] });
            }
        };
        let hybrid = agents.iter().flatten().filter(|agent| agent.node.as_str().starts_with("mi-"));
        let mut candidates: Vec<Candidate> = hybrid.cloned().collect();
        candidates.extend(with_agents(running, agents.as_deref()));
        notes.dedup();
        Ok(Candidates { region, candidates, notes })
    }

    async fn running(&self, ec2: &Ec2Access, form: Option<&TargetForm<'_>>) -> Result<Vec<Candidate>, Fault> {
        match &self.instances {
            Some(instances) => instances.running(ec2, form).await,
            None => Err(Fault::new(
                FaultKind::InvalidArgument { field: "target".to_owned() },
                "this daemon was built without EC2 and cannot look instances up: name the node by its id",
            )),
        }
    }
}

/// What is known of the agents, and what to say when that is nothing.
fn known(agents: Result<Vec<Candidate>, Fault>) -> (Option<Vec<Candidate>>, Vec<String>) {
    match agents {
        Ok(agents) => (Some(agents), Vec::new()),
        Err(fault) => {
            tracing::debug!(%fault, "nothing is known of the agents");
            (None, vec![format!("whether the agents are online is not known: {fault}")])
        }
    }
}

/// What was found, with what is known of its agents. Where they are known, a node without one is unregistered.
fn with_agents(found: Vec<Candidate>, agents: Option<&[Candidate]>) -> Vec<Candidate> {
    let Some(agents) = agents else { return found };
    let by_node: BTreeMap<&ResolvedTarget, &Candidate> =
        agents.iter().map(|agent| (&agent.node, agent)).collect();
    let joined = |candidate: Candidate| match by_node.get(&candidate.node) {
        Some(agent) => Candidate {
            agent: agent.agent,
            platform: agent.platform.clone().or(candidate.platform),
            name: candidate.name.or_else(|| agent.name.clone()),
            address: candidate.address.or(agent.address),
            launched_at: candidate.launched_at.or(agent.launched_at),
            node: candidate.node,
        },
        None => Candidate { agent: AgentStatus::Unregistered, ..candidate },
    };
    found.into_iter().map(joined).collect()
}

fn unknown(node: ResolvedTarget) -> Candidate {
    let agent = AgentStatus::Unknown;
    Candidate { node, name: None, address: None, agent, platform: None, launched_at: None }
}

/// Who may not look instances up may still go through one.
fn with_way_out(mut fault: Fault) -> Fault {
    if matches!(fault.kind, FaultKind::PermissionDenied { .. }) {
        fault.detail.push_str(" (a target that is an instance id needs no ec2:DescribeInstances)");
    }
    fault
}

impl TargetDirectory for AwsTargets {
    fn candidates<'a>(
        &'a self,
        scope: &'a AwsScope,
        target: &'a Target,
    ) -> PortFuture<'a, Result<Candidates, Fault>> {
        Box::pin(self.find(scope, target))
    }

    fn reachable<'a>(&'a self, scope: &'a AwsScope) -> PortFuture<'a, Result<Candidates, Fault>> {
        Box::pin(self.list(scope))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(node: &str, agent: AgentStatus) -> Candidate {
        Candidate { agent, ..unknown(node.parse().unwrap()) }
    }

    #[test]
    fn agents_complete_what_was_found() {
        let found =
            ["i-0aaaaaaa1", "i-0aaaaaaa2", "i-0aaaaaaa3"].map(|id| candidate(id, AgentStatus::Unknown));
        let mut online = candidate("i-0aaaaaaa1", AgentStatus::Online);
        online.platform = Some("Amazon Linux".to_owned());
        let lost = candidate("i-0aaaaaaa2", AgentStatus::Lost);
        let joined = with_agents(found.to_vec(), Some(&[lost, online]));
        let states: Vec<AgentStatus> = joined.iter().map(|candidate| candidate.agent).collect();
        assert_eq!(states, [AgentStatus::Online, AgentStatus::Lost, AgentStatus::Unregistered]);
        assert_eq!(joined[0].platform.as_deref(), Some("Amazon Linux"));
        assert_eq!(with_agents(found.to_vec(), None), found, "nothing is known");
    }
}
