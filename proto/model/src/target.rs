//! Targets: what the user wrote, and what was found for it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::Timestamp;
use crate::name::{InvalidName, checked_name};

checked_name! {
    /// The managed node that a tunnel goes through, as the user wrote it: a node by its id (`i-…`, `mi-…`,
    /// `ecs:<cluster>_<task id>_<runtime id>`), or what to find one by (`name:VALUE`, `tag:KEY=VALUE[,KEY=VALUE]`,
    /// `asg:NAME`, `ip:ADDRESS`, `dns:NAME`). [`Target::form`] takes it apart.
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
    /// Instances with all of these tags. A name is the tag `Name`, an Auto Scaling group one that AWS sets.
    Tags(Vec<(&'a str, &'a str)>),
    /// The instance with that private address.
    Address(Ipv4Addr),
    /// The instance with that private DNS name.
    DnsName(&'a str),
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

impl Target {
    /// What stands in it.
    pub fn form(&self) -> TargetForm<'_> {
        // Parsed once already: what the grammar cannot take cannot be here, and would find nothing.
        parse(self.as_str()).unwrap_or(TargetForm::Tags(Vec::new()))
    }

    /// The node, when the target is its id.
    pub fn as_node(&self) -> Option<ResolvedTarget> {
        match self.form() {
            TargetForm::Node(node) => Some(node),
            TargetForm::Tags(_) | TargetForm::Address(_) | TargetForm::DnsName(_) => None,
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
    /// Its name: the tag `Name`, or what a hybrid node was registered as.
    pub name: Option<String>,
    /// Its private address.
    pub address: Option<IpAddr>,
    /// Its agent.
    pub agent: AgentStatus,
    /// Its operating system, as far as its agent told.
    pub platform: Option<String>,
    /// When it was launched or registered.
    pub launched_at: Option<Timestamp>,
}

fn check_target(text: &str) -> Result<(), &'static str> {
    parse(text).map(|_| ())
}

fn check_node(text: &str) -> Result<(), &'static str> {
    match parse(text)? {
        TargetForm::Node(_) => Ok(()),
        TargetForm::Tags(_) | TargetForm::Address(_) | TargetForm::DnsName(_) => Err(NODE_RULE),
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
    match text.split_once(':') {
        Some(("ecs", container)) => parse_container(text, container),
        Some(("name", name)) => check_value(name).map(|()| TargetForm::Tags(vec![(NAME_TAG, name)])),
        Some(("asg", group)) => check_value(group).map(|()| TargetForm::Tags(vec![(GROUP_TAG, group)])),
        Some(("tag", tags)) => parse_tags(tags).map(TargetForm::Tags),
        Some(("ip", address)) => parse_address(address),
        Some(("dns", name)) => parse_dns_name(name),
        Some(_) | None => Err(
            "a target is an instance id (\"i-…\", \"mi-…\"), \"name:VALUE\", \"tag:KEY=VALUE[,KEY=VALUE]\", \
             \"asg:NAME\", \"ip:10.0.1.2\", \"dns:NAME\" or \"ecs:<cluster>_<task id>_<runtime id>\"",
        ),
    }
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

fn parse_container<'a>(text: &'a str, container: &str) -> Result<TargetForm<'a>, &'static str> {
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

fn parse_address(text: &str) -> Result<TargetForm<'_>, &'static str> {
    let address =
        text.parse().map_err(|_| "a private address is \"ip:\" and IPv4, such as \"ip:10.0.1.2\"")?;
    Ok(TargetForm::Address(address))
}

fn parse_dns_name(name: &str) -> Result<TargetForm<'_>, &'static str> {
    let valid_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let valid = |label: &str| !label.is_empty() && label.len() <= 63 && label.bytes().all(valid_byte);
    if name.len() <= 253 && name.split('.').all(valid) {
        Ok(TargetForm::DnsName(name))
    } else {
        Err("a private DNS name is \"dns:\" and a name such as \"ip-10-0-1-2.eu-west-1.compute.internal\"")
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

    #[test]
    fn names_and_groups_are_tags() {
        assert_eq!(target("name:web 1").form(), TargetForm::Tags(vec![("Name", "web 1")]));
        assert_eq!(target("name:a:b=c,d").form(), TargetForm::Tags(vec![("Name", "a:b=c,d")]));
        assert_eq!(target("asg:web").form(), TargetForm::Tags(vec![("aws:autoscaling:groupName", "web")]));
    }

    #[test]
    fn all_tags_must_fit() {
        let two = target("tag:Env=prod,team/role=db=primary");
        assert_eq!(two.form(), TargetForm::Tags(vec![("Env", "prod"), ("team/role", "db=primary")]));
        assert!(rule("tag:Env").contains("tag:KEY=VALUE"));
        assert!(rule("tag:=x").contains("empty"));
        assert!(rule("tag:Env=").contains("empty"));
        assert!(rule("tag:Env=a,").contains("tag:KEY=VALUE"));
        assert!(rule("tag:Env=a,Env=b").contains("twice"));
        assert!(rule("tag: Env=a").contains("space"));
    }

    #[test]
    fn addresses_and_dns_names_are_private_ones() {
        assert_eq!(target("ip:10.0.1.2").form(), TargetForm::Address(Ipv4Addr::new(10, 0, 1, 2)));
        let dns = target("dns:ip-10-0-1-2.eu-west-1.compute.internal");
        assert_eq!(dns.form(), TargetForm::DnsName("ip-10-0-1-2.eu-west-1.compute.internal"));
        for bad in ["ip:", "ip:10.0.1", "ip:10.0.1.256", "ip:fd00::1", "ip:web"] {
            assert!(rule(bad).contains("ip:10.0.1.2"), "{bad}");
        }
        for bad in ["dns:", "dns:a..b", "dns:a b", "dns:a/b"] {
            assert!(rule(bad).contains("compute.internal"), "{bad}");
        }
    }

    #[test]
    fn what_is_none_of_them_is_told_all_of_them() {
        for bad in ["", "web", "10.0.0.1", "Name:web", "vm:web", "i", "ecs"] {
            let rule = rule(bad);
            assert!(
                ["i-", "name:", "tag:", "asg:", "ip:", "dns:", "ecs:"].iter().all(|form| rule.contains(form))
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
