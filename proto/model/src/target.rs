//! Targets: what the user wrote, and what was found for it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::Timestamp;
use crate::name::{InvalidName, checked_name};

checked_name! {
    /// The managed node that a tunnel goes through, as the user wrote it: a node by its id (`i-…`, `mi-…`,
    /// `ecs:<cluster>_<task id>_<runtime id>`), or what to find one by: an instance (`name:VALUE`,
    /// `tag:KEY=VALUE[,KEY=VALUE]`, `asg:NAME`, `ip:ADDRESS`, `dns:NAME`) or a container of an ECS task
    /// (`ecs-service:CLUSTER/SERVICE[/CONTAINER]`, `ecs-task:CLUSTER/TASK[/CONTAINER]`). [`Target::form`] takes it apart.
    Target, "target", check_target
}

checked_name! {
    /// The managed node that was found for a target: an instance id (`i-…`), a hybrid node (`mi-…`) or an ECS container.
    ResolvedTarget, "node", check_node
}

/// A target, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetForm<'a> {
    /// A node by its id: there is nothing to be found.
    Node(ResolvedTarget),
    /// Instances, which EC2 knows.
    Instances(InstanceForm<'a>),
    /// Containers, which ECS knows.
    Containers(ContainerForm<'a>),
}

/// What instances are found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstanceForm<'a> {
    /// All of these tags. A name is the tag `Name`, an Auto Scaling group one that AWS sets.
    Tags(Vec<(&'a str, &'a str)>),
    /// The private address.
    Address(Ipv4Addr),
    /// The private DNS name.
    DnsName(&'a str),
}

/// What containers are found by. It is written as the user wrote the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerForm<'a> {
    /// The name of their cluster.
    pub cluster: &'a str,
    /// The tasks that they are part of.
    pub tasks: TaskForm<'a>,
    /// The name of the container in its task. It need not be said where only one can be gone through.
    pub container: Option<&'a str>,
}

/// What tasks are found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskForm<'a> {
    /// The name of their service.
    Service(&'a str),
    /// The id: a UUID, with or without hyphens.
    Id(&'a str),
}

/// The tag that holds an instance's name.
pub const NAME_TAG: &str = "Name";

/// The tag that AWS gives to the instances of an Auto Scaling group.
const GROUP_TAG: &str = "aws:autoscaling:groupName";

/// StartSession takes 1 to 400 characters; a filter needs no more.
const MAX_LENGTH: usize = 400;
/// Limits of AWS on the keys and values of tags, in characters.
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 256;
/// Limit of AWS on the names of clusters, services and containers, in characters.
const MAX_ECS_NAME: usize = 255;

impl Target {
    /// What stands in it.
    pub fn form(&self) -> TargetForm<'_> {
        // Parsed once already: what the grammar cannot take cannot be here, and would find nothing.
        parse(self.as_str()).unwrap_or(TargetForm::Instances(InstanceForm::Tags(Vec::new())))
    }

    /// The node, when the target is its id.
    pub fn as_node(&self) -> Option<ResolvedTarget> {
        match self.form() {
            TargetForm::Node(node) => Some(node),
            TargetForm::Instances(_) | TargetForm::Containers(_) => None,
        }
    }
}

impl From<ResolvedTarget> for Target {
    /// A node is a target that names it.
    fn from(node: ResolvedTarget) -> Self {
        Self(node.0)
    }
}

/// Whether the agent of a node is connected to Session Manager. Better ones come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AgentStatus {
    /// It is.
    Online,
    /// AWS does not let us know.
    Unknown,
    /// It was, and is silent now.
    Lost,
    /// It never was: there is no agent, or it may not register.
    Unregistered,
}

impl AgentStatus {
    /// Its name in the API and in tables; stable.
    pub fn name(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Unknown => "unknown",
            Self::Lost => "lost",
            Self::Unregistered => "unregistered",
        }
    }

    /// Whether a session may come about.
    pub fn may_answer(self) -> bool {
        match self {
            Self::Online | Self::Unknown => true,
            Self::Lost | Self::Unregistered => false,
        }
    }
}

/// A node that a tunnel could go through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub node: ResolvedTarget,
    /// Its name: the tag `Name`, what a hybrid node was registered as, or `SERVICE/CONTAINER` of a container.
    pub name: Option<String>,
    /// Its private address.
    pub address: Option<IpAddr>,
    /// Its agent.
    pub agent: AgentStatus,
    /// Its operating system, as far as its agent told.
    pub platform: Option<String>,
    /// When it was launched, started or registered.
    pub launched_at: Option<Timestamp>,
}

fn check_target(text: &str) -> Result<(), &'static str> {
    parse(text).map(|_| ())
}

fn check_node(text: &str) -> Result<(), &'static str> {
    match parse(text)? {
        TargetForm::Node(_) => Ok(()),
        TargetForm::Instances(_) | TargetForm::Containers(_) => Err(NODE_RULE),
    }
}

const NODE_RULE: &str = "a node is an instance id (\"i-…\"), a hybrid node (\"mi-…\") or \"ecs:<cluster>_<task id>_<runtime id>\"";

fn parse(text: &str) -> Result<TargetForm<'_>, &'static str> {
    if text.len() > MAX_LENGTH {
        return Err("it has more than 400 characters");
    }
    if text.chars().any(char::is_control) {
        return Err("control characters cannot stand in a target");
    }
    if text.starts_with("i-") || text.starts_with("mi-") {
        return parse_instance(text);
    }
    let Some((kind, rest)) = text.split_once(':') else { return Err(TARGET_RULE) };
    match kind {
        "ecs" => parse_node_of_ecs(text, rest),
        "name" => check_value(rest).map(|()| instances(InstanceForm::Tags(vec![(NAME_TAG, rest)]))),
        "asg" => check_value(rest).map(|()| instances(InstanceForm::Tags(vec![(GROUP_TAG, rest)]))),
        "tag" => parse_tags(rest).map(InstanceForm::Tags).map(instances),
        "ip" => parse_address(rest).map(InstanceForm::Address).map(instances),
        "dns" => parse_dns_name(rest).map(InstanceForm::DnsName).map(instances),
        "ecs-service" => parse_service(rest).map(TargetForm::Containers),
        "ecs-task" => parse_task(rest).map(TargetForm::Containers),
        _ => Err(TARGET_RULE),
    }
}

const TARGET_RULE: &str = "a target is an instance id (\"i-…\", \"mi-…\"), \"name:VALUE\", \"tag:KEY=VALUE[,KEY=VALUE]\", \
                           \"asg:NAME\", \"ip:10.0.1.2\", \"dns:NAME\", \"ecs-service:CLUSTER/SERVICE[/CONTAINER]\", \
                           \"ecs-task:CLUSTER/TASK[/CONTAINER]\" or \"ecs:<cluster>_<task id>_<runtime id>\"";

fn instances(form: InstanceForm<'_>) -> TargetForm<'_> {
    TargetForm::Instances(form)
}

fn parse_instance(text: &str) -> Result<TargetForm<'_>, &'static str> {
    let hex = text.strip_prefix('m').unwrap_or(text).strip_prefix("i-").unwrap_or_default();
    let is_hex = hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if (8..=17).contains(&hex.len()) && is_hex {
        Ok(TargetForm::Node(ResolvedTarget(text.to_owned())))
    } else {
        Err("an instance id is \"i-\" or \"mi-\" and 8 to 17 characters of 0-9 and a-f")
    }
}

fn parse_node_of_ecs<'a>(text: &'a str, container: &str) -> Result<TargetForm<'a>, &'static str> {
    let parts: Vec<&str> = container.split('_').collect();
    let valid = |part: &&str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    // A cluster name may itself hold underscores; task and runtime id may not.
    if parts.len() >= 3 && parts.iter().all(valid) {
        Ok(TargetForm::Node(ResolvedTarget(text.to_owned())))
    } else {
        Err("an ECS container is \"ecs:<cluster>_<task id>_<runtime id>\"")
    }
}

/// A comma ends a pair, so that it cannot stand in a value; AWS hardly lets anybody put one there.
fn parse_tags(text: &str) -> Result<Vec<(&str, &str)>, &'static str> {
    const RULE: &str = "tags are \"tag:KEY=VALUE\" or \"tag:KEY=VALUE,KEY=VALUE\"";
    let mut keys = BTreeSet::new();
    let mut tags = Vec::new();
    for pair in text.split(',') {
        let (key, value) = pair.split_once('=').ok_or(RULE)?;
        check_key(key)?;
        check_value(value)?;
        if !keys.insert(key) {
            return Err("a tag key stands in it twice, which no instance can fit");
        }
        tags.push((key, value));
    }
    Ok(tags)
}

fn check_key(key: &str) -> Result<(), &'static str> {
    match key.chars().count() {
        0 => Err("a tag key is empty; write \"tag:KEY=VALUE\""),
        1..=MAX_KEY if key.trim() == key => Ok(()),
        1..=MAX_KEY => Err("a tag key begins or ends with a space"),
        _ => Err("a tag key has more than 128 characters"),
    }
}

fn check_value(value: &str) -> Result<(), &'static str> {
    match value.chars().count() {
        0 => Err("the value is empty; write \"name:VALUE\", \"asg:NAME\" or \"tag:KEY=VALUE\""),
        1..=MAX_VALUE if value.trim() == value => Ok(()),
        1..=MAX_VALUE => Err("the value begins or ends with a space"),
        _ => Err("the value has more than 256 characters"),
    }
}

fn parse_address(text: &str) -> Result<Ipv4Addr, &'static str> {
    text.parse().map_err(|_| "a private address is \"ip:\" and IPv4, such as \"ip:10.0.1.2\"")
}

fn parse_dns_name(name: &str) -> Result<&str, &'static str> {
    let valid_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let valid = |label: &str| !label.is_empty() && label.len() <= 63 && label.bytes().all(valid_byte);
    if name.len() <= 253 && name.split('.').all(valid) {
        Ok(name)
    } else {
        Err("a private DNS name is \"dns:\" and a name such as \"ip-10-0-1-2.eu-west-1.compute.internal\"")
    }
}

fn parse_service(path: &str) -> Result<ContainerForm<'_>, &'static str> {
    let parts = parse_path(path).ok_or(
        "an ECS service is \"ecs-service:CLUSTER/SERVICE\" or \"ecs-service:CLUSTER/SERVICE/CONTAINER\"; names are \
         letters, digits, \"-\" and \"_\", at most 255",
    );
    parts.map(|(cluster, service, container)| ContainerForm {
        cluster,
        tasks: TaskForm::Service(service),
        container,
    })
}

fn parse_task(path: &str) -> Result<ContainerForm<'_>, &'static str> {
    let parts = parse_path(path).filter(|(_, id, _)| Uuid::try_parse(id).is_ok());
    let parts = parts.ok_or(
        "an ECS task is \"ecs-task:CLUSTER/TASK\" or \"ecs-task:CLUSTER/TASK/CONTAINER\" with the cluster's name and the \
         task's id: 32 characters of 0-9 and a-f, or a UUID",
    );
    parts.map(|(cluster, id, container)| ContainerForm { cluster, tasks: TaskForm::Id(id), container })
}

/// Cluster, service or task, and container. A slash cannot stand in any of them.
fn parse_path(path: &str) -> Option<(&str, &str, Option<&str>)> {
    let names: Vec<&str> = path.split('/').collect();
    let valid_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let valid = |name: &&str| (1..=MAX_ECS_NAME).contains(&name.len()) && name.bytes().all(valid_byte);
    match names[..] {
        _ if !names.iter().all(valid) => None,
        [cluster, tasks] => Some((cluster, tasks, None)),
        [cluster, tasks, container] => Some((cluster, tasks, Some(container))),
        _ => None,
    }
}

impl fmt::Display for ContainerForm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, tasks, container } = self;
        match tasks {
            TaskForm::Service(service) => write!(f, "ecs-service:{cluster}/{service}")?,
            TaskForm::Id(id) => write!(f, "ecs-task:{cluster}/{id}")?,
        }
        container.map_or(Ok(()), |container| write!(f, "/{container}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        text.parse().unwrap_or_else(|error| panic!("{text:?} should be accepted: {error}"))
    }

    fn rule(text: &str) -> &'static str {
        match text.parse::<Target>() {
            Ok(target) => panic!("{target} should be refused"),
            Err(error) => error.rule,
        }
    }

    #[test]
    fn a_node_is_its_own_answer() {
        for text in ["i-0abcdef1234567890", "i-12345678", "mi-0123456789abcdef0", "ecs:my_cluster_0af_0af-12"]
        {
            let node = target(text).as_node().unwrap();
            assert_eq!(node.as_str(), text);
            assert_eq!(Target::from(node), target(text));
        }
        assert!("name:web".parse::<ResolvedTarget>().is_err());
    }

    fn tags(target: &Target) -> Vec<(&str, &str)> {
        let TargetForm::Instances(InstanceForm::Tags(tags)) = target.form() else {
            panic!("{target} has no tags")
        };
        tags
    }

    #[test]
    fn names_and_groups_are_tags() {
        assert_eq!(tags(&target("name:web 1")), [("Name", "web 1")]);
        assert_eq!(tags(&target("name:a:b=c,d")), [("Name", "a:b=c,d")]);
        assert_eq!(tags(&target("asg:web")), [("aws:autoscaling:groupName", "web")]);
    }

    #[test]
    fn all_tags_must_fit() {
        let two = target("tag:Env=prod,team/role=db=primary");
        assert_eq!(tags(&two), [("Env", "prod"), ("team/role", "db=primary")]);
        assert!(rule("tag:Env").contains("tag:KEY=VALUE"));
        assert!(rule("tag:=x").contains("empty"));
        assert!(rule("tag:Env=").contains("empty"));
        assert!(rule("tag:Env=a,").contains("tag:KEY=VALUE"));
        assert!(rule("tag:Env=a,Env=b").contains("twice"));
        assert!(rule("tag: Env=a").contains("space"));
    }

    #[test]
    fn addresses_and_dns_names_are_private_ones() {
        let address = InstanceForm::Address(Ipv4Addr::new(10, 0, 1, 2));
        assert_eq!(target("ip:10.0.1.2").form(), TargetForm::Instances(address));
        let dns = target("dns:ip-10-0-1-2.eu-west-1.compute.internal");
        let name = InstanceForm::DnsName("ip-10-0-1-2.eu-west-1.compute.internal");
        assert_eq!(dns.form(), TargetForm::Instances(name));
        for bad in ["ip:", "ip:10.0.1", "ip:10.0.1.256", "ip:fd00::1", "ip:web"] {
            assert!(rule(bad).contains("ip:10.0.1.2"), "{bad}");
        }
        for bad in ["dns:", "dns:a..b", "dns:a b", "dns:a/b"] {
            assert!(rule(bad).contains("compute.internal"), "{bad}");
        }
    }

    #[test]
    fn containers_are_found_by_service_or_by_task() {
        const ID: &str = "0123456789abcdef0123456789abcdef";
        const UUID: &str = "01234567-89ab-cdef-0123-456789abcdef";
        let long = "a".repeat(MAX_ECS_NAME);
        for (text, cluster, tasks, container) in [
            ("ecs-service:main/web", "main", TaskForm::Service("web"), None),
            ("ecs-service:My_1-x/web-2/_app", "My_1-x", TaskForm::Service("web-2"), Some("_app")),
            (&format!("ecs-service:main/{long}"), "main", TaskForm::Service(&long), None),
            (&format!("ecs-service:main/{ID}"), "main", TaskForm::Service(ID), None),
            (&format!("ecs-task:main/{ID}"), "main", TaskForm::Id(ID), None),
            (&format!("ecs-task:main/{UUID}/app"), "main", TaskForm::Id(UUID), Some("app")),
        ] {
            let target = target(text);
            let form = ContainerForm { cluster, tasks, container };
            assert_eq!(target.form(), TargetForm::Containers(form), "{text}");
            assert_eq!((form.to_string().as_str(), target.as_node()), (text, None));
            assert!(text.parse::<ResolvedTarget>().is_err());
        }
        for bad in
            ["", "main", "/web", "main/", "main/web/", "main/web/app/x", "main/w b", "main/w:b", "a.b/web"]
        {
            assert!(
                rule(&format!("ecs-service:{bad}")).contains("ecs-service:CLUSTER/SERVICE/CONTAINER"),
                "{bad}"
            );
        }
        assert!(rule(&format!("ecs-service:main/{long}a")).contains("at most 255"));
        for bad in [
            "",
            "main",
            ID,
            "main/web",
            "main/0123456789abcdef",
            "main/{01234567-89ab-cdef-0123-456789abcdef}",
        ] {
            assert!(rule(&format!("ecs-task:{bad}")).contains("ecs-task:CLUSTER/TASK/CONTAINER"), "{bad}");
        }
        assert!(rule(&format!("ecs-task:main/{ID}g")).contains("0-9 and a-f"));
    }

    #[test]
    fn what_is_none_of_them_is_told_all_of_them() {
        for bad in ["", "web", "10.0.0.1", "Name:web", "vm:web", "i", "ecs"] {
            let rule = rule(bad);
            assert!(
                ["i-", "name:", "tag:", "asg:", "ip:", "dns:", "ecs:", "ecs-service:", "ecs-task:"]
                    .iter()
                    .all(|form| rule.contains(form))
            );
        }
        for bad in ["i-", "i-xyz", "i-0ABCDEF12", "mi-1", "mmi-12345678", "ecs:cluster_task", "ecs:c_t_"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
        for bad in ["name:", "name: web", "name:a\nb", "asg:", &format!("name:{}", "a".repeat(257))] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_best_agent_comes_first() {
        let order = [AgentStatus::Online, AgentStatus::Unknown, AgentStatus::Lost, AgentStatus::Unregistered];
        assert!(order.is_sorted());
        assert_eq!(order.map(AgentStatus::may_answer), [true, true, false, false]);
    }
}
