//! Which of several nodes a session goes through, and when one counts as lost. Pure functions of what was found.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use stormtunnel_model::{
    Candidate, ContainerForm, Fault, FaultKind, InstanceForm, ResolvedTarget, Target, TargetForm, TaskForm,
};

use crate::ports::Candidates;

/// How long a node that failed stands behind the others: longer than two attempts are apart, so that all of them get
/// their turn, and no longer than an instance takes to start again.
const REMEMBERED: Duration = Duration::from_secs(120);

/// Candidates that a fault names, so that it stays a sentence.
const NAMED: usize = 5;

/// Nodes that failed lately, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RecentFailures(BTreeMap<ResolvedTarget, Instant>);

impl RecentFailures {
    /// Remembers that a session through the node came to nothing, if that says something of the node.
    pub(crate) fn note(&mut self, node: &ResolvedTarget, fault: &Fault, now: Instant) {
        self.0.retain(|_, at| now.saturating_duration_since(*at) < REMEMBERED);
        if blames_node(&fault.kind) {
            self.0.insert(node.clone(), now);
        }
    }

    fn of(&self, node: &ResolvedTarget, now: Instant) -> Option<Instant> {
        let at = self.0.get(node).copied();
        at.filter(|at| now.saturating_duration_since(*at) < REMEMBERED)
    }
}

/// Whether another node may do better after this fault.
fn blames_node(kind: &FaultKind) -> bool {
    match kind {
        FaultKind::TargetNotConnected { .. }
        | FaultKind::AgentUnresponsive
        | FaultKind::AgentUnsupported { .. }
        | FaultKind::RemoteUnresolvable { .. }
        | FaultKind::RemoteForbidden { .. }
        | FaultKind::PeerViolation => true,
        FaultKind::ProfileNotFound { .. }
        | FaultKind::CredentialsInvalid { .. }
        | FaultKind::SignInNeeded { .. }
        | FaultKind::PermissionDenied { .. }
        | FaultKind::TargetNotFound { .. }
        | FaultKind::RemoteRefused { .. }
        | FaultKind::LocalReaderStalled
        | FaultKind::PortInUse { .. }
        | FaultKind::Network
        | FaultKind::Throttled
        | FaultKind::SessionEnded
        | FaultKind::Internal
        | FaultKind::InvalidArgument { .. }
        | FaultKind::TunnelNotFound { .. }
        | FaultKind::TunnelExists { .. }
        | FaultKind::EtagMismatch { .. }
        | FaultKind::ShuttingDown
        | FaultKind::ConfirmationNeeded { .. }
        | FaultKind::KeyStoreUnavailable { .. }
        | FaultKind::SignInNotFound { .. }
        | FaultKind::SectionExists { .. }
        | FaultKind::LoginFailed { .. } => false,
    }
}

/// The candidate for the next session: one that did not fail lately before one that did, the one that failed longest ago
/// before the others, an agent that is online before one of which nothing is known, then the newest instance.
///
/// # Errors
/// `TargetNotFound` when there is no candidate, `TargetNotConnected` when none has an agent that may answer.
pub(crate) fn choose<'a>(
    target: &Target,
    found: &'a Candidates,
    failures: &RecentFailures,
    now: Instant,
) -> Result<&'a Candidate, Fault> {
    let rank = |candidate: &&Candidate| {
        let failed = failures.of(&candidate.node, now);
        (failed, candidate.agent, Reverse(candidate.launched_at), candidate.node.clone())
    };
    let answering = found.candidates.iter().filter(|candidate| candidate.agent.may_answer());
    answering.min_by_key(rank).ok_or_else(|| nobody(target, found))
}

/// Why a session that goes through `node` cannot be helped any more: another node has to take its place.
pub(crate) fn lost(target: &Target, node: &ResolvedTarget, found: &Candidates) -> Option<Fault> {
    let gone = |what: &str| {
        let kind =
            FaultKind::TargetNotConnected { target: node.to_string(), region: found.region.to_string() };
        Some(Fault::new(kind, format!("{what} {target}")))
    };
    match found.candidates.iter().find(|candidate| candidate.node == *node) {
        None => gone("it runs no more as"),
        // With nobody to take its place it may as well come back.
        Some(present) if !present.agent.may_answer() => {
            let replaced = found.candidates.iter().any(|other| other.agent.may_answer());
            if replaced { gone("its agent is silent, while another one is online for") } else { None }
        }
        Some(_) => None,
    }
}

fn nobody(target: &Target, found: &Candidates) -> Fault {
    let (written, region) = (target.to_string(), found.region.to_string());
    let notes: String = found.notes.iter().map(|note| format!("; {note}")).collect();
    if found.candidates.is_empty() {
        let detail =
            format!("looked for {}; what is starting or stopping does not count{notes}", filter(target));
        return Fault::new(FaultKind::TargetNotFound { target: written, region }, detail);
    }
    let named = found.candidates.iter().take(NAMED).map(|candidate| {
        let name = candidate.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        format!("{}{name} is {}", candidate.node, candidate.agent.name())
    });
    let more = match found.candidates.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let detail = format!(
        "{} found, none with an SSM agent online: {}{more}{notes}",
        found.candidates.len(),
        named.collect::<Vec<_>>().join(", ")
    );
    Fault::new(FaultKind::TargetNotConnected { target: written, region }, detail)
}

/// What was looked for, in words.
fn filter(target: &Target) -> String {
    match target.form() {
        TargetForm::Node(node) => format!("instance id {node}"),
        TargetForm::Instances(InstanceForm::Tags(tags)) => {
            let tags: Vec<String> =
                tags.iter().map(|(key, value)| format!("tag \"{key}\" = \"{value}\"")).collect();
            tags.join(" and ")
        }
        TargetForm::Instances(InstanceForm::Address(address)) => format!("private address {address}"),
        TargetForm::Instances(InstanceForm::DnsName(name)) => format!("private DNS name {name}"),
        TargetForm::Containers(ContainerForm { cluster, tasks, container }) => {
            let container = container.map(|name| format!("container {name} of ")).unwrap_or_default();
            let tasks = match tasks {
                TaskForm::Service(name) => format!("tasks of ECS service {name}"),
                TaskForm::Id(id) => format!("ECS task {id}"),
            };
            format!("{container}{tasks} in cluster {cluster}")
        }
    }
}

#[cfg(test)]
mod tests {
    use stormtunnel_model::{AgentStatus, Timestamp};

    use super::*;

    const A: &str = "i-0aaaaaaaaaaaaaaaa";
    const B: &str = "i-0bbbbbbbbbbbbbbbb";
    const C: &str = "i-0cccccccccccccccc";

    fn candidate(node: &str, agent: AgentStatus, launched: u64) -> Candidate {
        Candidate {
            node: node.parse().unwrap(),
            name: Some("web".to_owned()),
            address: None,
            agent,
            platform: None,
            launched_at: Some(Timestamp::from_millis(launched)),
        }
    }

    fn found(candidates: &[Candidate]) -> Candidates {
        let region = "eu-west-1".parse().unwrap();
        Candidates { region, candidates: candidates.to_vec(), notes: Vec::new() }
    }

    fn target() -> Target {
        "tag:Env=prod".parse().unwrap()
    }

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn offline(node: &str) -> Fault {
        let kind = FaultKind::TargetNotConnected { target: node.to_owned(), region: "eu-west-1".to_owned() };
        Fault::new(kind, "")
    }

    fn choice(candidates: &[Candidate], failures: &RecentFailures, now: Instant) -> String {
        choose(&target(), &found(candidates), failures, now).unwrap().node.to_string()
    }

    #[test]
    fn online_comes_before_unknown_and_the_newest_before_the_older() {
        let none = RecentFailures::default();
        let online = |node, launched| candidate(node, AgentStatus::Online, launched);
        assert_eq!(choice(&[online(A, 1), online(B, 3), online(C, 2)], &none, now()), B);
        assert_eq!(choice(&[candidate(A, AgentStatus::Unknown, 9), online(B, 1)], &none, now()), B);
        assert_eq!(choice(&[candidate(A, AgentStatus::Lost, 9), online(B, 1)], &none, now()), B);
        assert_eq!(choice(&[online(B, 1), online(A, 1)], &none, now()), A, "the id decides between equals");
    }

    #[test]
    fn what_failed_lately_waits_until_all_had_their_turn() {
        let candidates = [candidate(A, AgentStatus::Online, 2), candidate(B, AgentStatus::Online, 1)];
        let (start, mut failures) = (now(), RecentFailures::default());
        failures.note(&A.parse().unwrap(), &offline(A), start);
        assert_eq!(choice(&candidates, &failures, start), B);
        let later = start + Duration::from_secs(5);
        failures.note(&B.parse().unwrap(), &offline(B), later);
        assert_eq!(choice(&candidates, &failures, later), A, "it failed longer ago");
        assert_eq!(choice(&candidates, &failures, start + REMEMBERED), A, "its failure is forgotten");
    }

    #[test]
    fn a_fault_of_the_network_says_nothing_of_the_node() {
        let candidates = [candidate(A, AgentStatus::Online, 2), candidate(B, AgentStatus::Online, 1)];
        let (start, mut failures) = (now(), RecentFailures::default());
        for kind in [FaultKind::Network, FaultKind::Throttled, FaultKind::SessionEnded] {
            failures.note(&A.parse().unwrap(), &Fault::new(kind, ""), start);
        }
        assert_eq!(choice(&candidates, &failures, start), A);
    }

    #[test]
    fn nobody_there_and_nobody_online_are_two_faults() {
        let none = RecentFailures::default();
        let fault = choose(&target(), &found(&[]), &none, now()).unwrap_err();
        let expected =
            FaultKind::TargetNotFound { target: "tag:Env=prod".to_owned(), region: "eu-west-1".to_owned() };
        assert_eq!(fault.kind, expected);
        assert!(fault.detail.contains("tag \"Env\" = \"prod\""), "{fault}");
        let silent = [candidate(A, AgentStatus::Lost, 1), candidate(B, AgentStatus::Unregistered, 1)];
        let fault = choose(&target(), &found(&silent), &none, now()).unwrap_err();
        assert!(matches!(fault.kind, FaultKind::TargetNotConnected { .. }), "{fault}");
        assert!(fault.detail.contains(&format!("{A} (web) is lost, {B} (web) is unregistered")), "{fault}");
        let many: Vec<_> =
            (0..9).map(|number| candidate(&format!("i-0000000{number}"), AgentStatus::Lost, 1)).collect();
        let fault = choose(&target(), &found(&many), &none, now()).unwrap_err();
        assert!(fault.detail.ends_with("and 4 more"), "{fault}");
    }

    #[test]
    fn a_fault_says_what_was_looked_for_and_what_the_search_noted() {
        let target: Target = "ecs-service:main/web/app".parse().unwrap();
        let noted = |candidates: &[Candidate]| {
            let notes = vec!["its tasks run without an agent".to_owned()];
            let found = Candidates { notes, ..found(candidates) };
            choose(&target, &found, &RecentFailures::default(), now()).unwrap_err()
        };
        let nobody = noted(&[]);
        assert!(
            nobody.detail.contains("container app of tasks of ECS service web in cluster main"),
            "{nobody}"
        );
        let offline = noted(&[candidate("ecs:main_0af_0af-1", AgentStatus::Unregistered, 1)]);
        for fault in [nobody, offline] {
            assert!(fault.detail.ends_with("; its tasks run without an agent"), "{fault}");
        }
    }

    #[test]
    fn a_node_is_lost_when_it_is_gone_or_another_can_take_its_place() {
        let node = A.parse().unwrap();
        let lost = |candidates: &[Candidate]| lost(&target(), &node, &found(candidates)).is_some();
        let (silent, online) = (candidate(A, AgentStatus::Lost, 1), candidate(B, AgentStatus::Online, 1));
        assert!(lost(&[]));
        assert!(lost(std::slice::from_ref(&online)));
        assert!(lost(&[silent.clone(), online.clone()]));
        assert!(!lost(&[silent]), "it may come back");
        assert!(!lost(&[candidate(A, AgentStatus::Online, 1), online]));
        assert!(!lost(&[candidate(A, AgentStatus::Unknown, 1)]));
    }
}
