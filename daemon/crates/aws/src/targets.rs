//! Finds the nodes behind a target: instances through EC2 and their agents through Session Manager, containers with their
//! agents through ECS.
//!
//! No permission is taken for granted. Without `ssm:DescribeInstanceInformation` nothing is known of the agents of
//! instances, and StartSession has to tell; without `ec2:DescribeInstances` or `ecs:ListClusters` a list is as good as the
//! others make it, but a target that has to be looked up cannot be without the service that knows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use stormtunnel_engine::ports::{AwsScope, Candidates, PortFuture, TargetDirectory};
use stormtunnel_model::{
    AgentStatus, Candidate, ContainerForm, Fault, FaultKind, InstanceForm, ResolvedTarget, Target, TargetForm,
};

use crate::access::{AwsAccess, ScopedClient};
use crate::agents::agents;
use crate::service::ServiceAccess;

/// Finds instances. It is a crate of its own, because the SDK for EC2 takes longer to compile than all the rest.
pub trait InstanceFinder: Send + Sync {
    /// Running instances that `form` describes, or all of them. Of their agents nothing is known yet.
    fn running<'a>(
        &'a self,
        ec2: &'a ServiceAccess,
        form: Option<&'a InstanceForm<'a>>,
    ) -> PortFuture<'a, Result<Vec<Candidate>, Fault>>;

    /// The URL of EC2 that is asked.
    fn url<'a>(&'a self, ec2: &'a ServiceAccess) -> PortFuture<'a, Result<String, Fault>>;
}

/// Finds containers of ECS tasks. It is a crate of its own, because of the SDK for ECS.
pub trait ContainerFinder: Send + Sync {
    /// Running containers that `form` describes, with the state of their agents, and the way out when none can be gone
    /// through. A cluster or service that ECS does not know has no containers. Or those of all clusters, as many as a list
    /// can hold.
    fn running<'a>(
        &'a self,
        ecs: &'a ServiceAccess,
        form: Option<&'a ContainerForm<'a>>,
    ) -> PortFuture<'a, Result<Candidates, Fault>>;

    /// The URL of ECS that is asked.
    fn url<'a>(&'a self, ecs: &'a ServiceAccess) -> PortFuture<'a, Result<String, Fault>>;
}

/// What looks nodes up. What the daemon was built without is absent.
#[derive(Clone, Default)]
pub struct Finders {
    /// Through EC2. Without it a list holds what Session Manager knows.
    pub instances: Option<Arc<dyn InstanceFinder>>,
    /// Through ECS. Without it a list holds no containers.
    pub containers: Option<Arc<dyn ContainerFinder>>,
}

/// The nodes of AWS.
pub struct AwsTargets {
    access: Arc<AwsAccess>,
    finders: Finders,
}

impl AwsTargets {
    /// Looks with the credentials of `access`.
    pub fn new(access: Arc<AwsAccess>, finders: Finders) -> Self {
        Self { access, finders }
    }

    async fn find(&self, client: Arc<ScopedClient>, target: &Target) -> Result<Candidates, Fault> {
        let service = ServiceAccess::new(&self.access, client);
        let running = match target.form() {
            // The list of agents has no containers.
            TargetForm::Node(node) if node.as_str().starts_with("ecs:") => {
                return Ok(candidates(&service, vec![unknown(node)], Vec::new()));
            }
            // It has any other kind of node.
            TargetForm::Node(node) => vec![unknown(node)],
            TargetForm::Instances(form) => {
                let found = self.instances(&service, Some(&form)).await;
                found.map_err(|fault| {
                    with_way_out(fault, "a target that is an instance id needs no ec2:DescribeInstances")
                })?
            }
            TargetForm::Containers(form) => {
                let found = self.containers(&service, &form).await;
                return found.map_err(|fault| {
                    with_way_out(fault, "a target that is a node's id, ecs:…, needs none of ECS")
                });
            }
        };
        let ids: Vec<ResolvedTarget> = running.iter().map(|candidate| candidate.node.clone()).collect();
        let agents = if ids.is_empty() {
            Ok(Vec::new())
        } else {
            agents(&self.access, service.client(), Some(&ids)).await
        };
        let (agents, notes) = known(agents);
        Ok(candidates(&service, with_agents(running, agents.as_deref()), notes))
    }

    async fn list(&self, client: Arc<ScopedClient>) -> Result<Candidates, Fault> {
        let service = ServiceAccess::new(&self.access, client);
        let (running, agents, containers) = tokio::join!(
            self.instances(&service, None),
            agents(&self.access, service.client(), None),
            self.all_containers(&service)
        );
        let mut list = match (running, agents) {
            (Err(fault), Err(_)) if containers.candidates.is_empty() => return Err(fault),
            (Err(fault), Err(_)) => {
                candidates(&service, Vec::new(), vec![format!("no instances are listed: {fault}")])
            }
            (Err(fault), Ok(agents)) => {
                let note = format!("of instances only what Session Manager knows: {fault}");
                candidates(&service, agents, vec![note])
            }
            (Ok(running), agents) => {
                let (agents, notes) = known(agents);
                let hybrid =
                    agents.iter().flatten().filter(|agent| agent.node.as_str().starts_with("mi-")).cloned();
                let nodes = hybrid.chain(with_agents(running, agents.as_deref())).collect();
                candidates(&service, nodes, notes)
            }
        };
        list.candidates.extend(containers.candidates);
        list.notes.extend(containers.notes);
        Ok(list)
    }

    async fn instances(
        &self,
        ec2: &ServiceAccess,
        form: Option<&InstanceForm<'_>>,
    ) -> Result<Vec<Candidate>, Fault> {
        match &self.finders.instances {
            Some(instances) => instances.running(ec2, form).await,
            None => Err(built_without("EC2", "instances")),
        }
    }

    async fn containers(&self, ecs: &ServiceAccess, form: &ContainerForm<'_>) -> Result<Candidates, Fault> {
        match &self.finders.containers {
            Some(containers) => containers.running(ecs, Some(form)).await,
            None => Err(built_without("ECS", "containers")),
        }
    }

    /// Those of the region. That they cannot be had is worth a note: most who list want instances.
    async fn all_containers(&self, ecs: &ServiceAccess) -> Candidates {
        let Some(containers) = &self.finders.containers else {
            return candidates(ecs, Vec::new(), Vec::new());
        };
        match containers.running(ecs, None).await {
            Ok(found) => found,
            Err(fault) => {
                candidates(ecs, Vec::new(), vec![format!("no containers of ECS are listed: {fault}")])
            }
        }
    }
}

fn candidates(service: &ServiceAccess, candidates: Vec<Candidate>, notes: Vec<String>) -> Candidates {
    Candidates { region: service.region().clone(), candidates, notes }
}

fn built_without(service: &str, nodes: &str) -> Fault {
    Fault::new(
        FaultKind::InvalidArgument { field: "target".to_owned() },
        format!(
            "this daemon was built without {service} and cannot look {nodes} up: name the node by its id"
        ),
    )
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

/// Who may not look nodes up may still go through one.
fn with_way_out(mut fault: Fault, way_out: &str) -> Fault {
    if matches!(fault.kind, FaultKind::PermissionDenied { .. }) {
        fault.detail.push_str(&format!(" ({way_out})"));
    }
    fault
}

impl TargetDirectory for AwsTargets {
    fn candidates<'a>(
        &'a self,
        scope: &'a AwsScope,
        target: &'a Target,
    ) -> PortFuture<'a, Result<Candidates, Fault>> {
        Box::pin(self.access.call(scope, |client| self.find(client, target)))
    }

    fn reachable<'a>(&'a self, scope: &'a AwsScope) -> PortFuture<'a, Result<Candidates, Fault>> {
        Box::pin(self.access.call(scope, |client| self.list(client)))
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
