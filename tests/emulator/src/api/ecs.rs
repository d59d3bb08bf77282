//! The ECS API, as much as finds containers.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::ApiError;
use super::operations::{allow, arn, read};
use crate::config::Container;
use crate::counters::Counter;
use crate::world::{Seen, World};

/// What the names of its operations begin with.
pub(super) const PREFIX: &str = "AmazonEC2ContainerServiceV20141113.";

/// Most answers of a page, and most tasks of one DescribeTasks.
const PAGE: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListClusters {
    #[serde(flatten)]
    page: Page,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListTasks {
    cluster: String,
    #[serde(default)]
    service_name: Option<String>,
    #[serde(default)]
    desired_status: Option<String>,
    #[serde(flatten)]
    page: Page,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribeTasks {
    cluster: String,
    tasks: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    max_results: Option<usize>,
    #[serde(default)]
    next_token: Option<String>,
}

/// The containers of a task, by its cluster and its id.
type Tasks = BTreeMap<(String, String), Vec<(Container, Seen)>>;

pub(super) fn dispatch(world: &World, target: &str, region: &str, body: &[u8]) -> Result<Value, ApiError> {
    let answer = match target.strip_prefix(PREFIX).unwrap_or_default() {
        "ListClusters" => read(body).and_then(|input| list_clusters(world, region, &input)),
        "ListTasks" => {
            world.counters.increment(Counter::ApiListTasks);
            read(body).and_then(|input| list_tasks(world, region, &input))
        }
        "DescribeTasks" => read(body).and_then(|input| describe_tasks(world, region, &input)),
        other => Err(ApiError::unknown_operation(other)),
    };
    if answer.as_ref().is_err_and(|error| error.code != "AccessDeniedException") {
        world.counters.increment(Counter::ApiInvalid);
    }
    answer
}

/// Cluster and task of a container's id, `ecs:CLUSTER_TASK_RUNTIME`. Only the cluster's name may hold an underscore.
pub(super) fn place(id: &str) -> Option<(&str, &str)> {
    let mut parts = id.strip_prefix("ecs:")?.rsplitn(3, '_').skip(1);
    let (task, cluster) = (parts.next()?, parts.next()?);
    Some((cluster, task))
}

pub(super) fn task_arn(world: &World, region: &str, cluster: &str, task: &str) -> String {
    arn(world, region, "ecs", &format!("task/{cluster}/{task}"))
}

fn list_clusters(world: &World, region: &str, input: &ListClusters) -> Result<Value, ApiError> {
    allow(world, "ecs:ListClusters", "*")?;
    let arns = clusters(world, region).iter().map(|cluster| cluster_arn(world, region, cluster)).collect();
    let (arns, next) = input.page.of(arns);
    Ok(json!({ "clusterArns": arns, "nextToken": next }))
}

fn list_tasks(world: &World, region: &str, input: &ListTasks) -> Result<Value, ApiError> {
    let cluster = known_cluster(world, region, "ecs:ListTasks", &input.cluster)?;
    let mut tasks = tasks(world, region);
    tasks.retain(|(of, _), _| of == cluster);
    if let Some(service) = &input.service_name {
        tasks.retain(|_, containers| containers.iter().all(|(container, _)| container.service == *service));
        if tasks.is_empty() {
            return Err(ApiError::no_such_service());
        }
    }
    let wanted = input.desired_status.as_deref().unwrap_or("RUNNING");
    tasks.retain(|_, containers| desired_status(containers) == wanted);
    let arns = tasks.keys().map(|(cluster, id)| task_arn(world, region, cluster, id)).collect();
    let (arns, next) = input.page.of(arns);
    Ok(json!({ "taskArns": arns, "nextToken": next }))
}

/// Tasks that are stopped are told of for a while, as in AWS.
fn describe_tasks(world: &World, region: &str, input: &DescribeTasks) -> Result<Value, ApiError> {
    let cluster = known_cluster(world, region, "ecs:DescribeTasks", &input.cluster)?;
    if input.tasks.is_empty() || input.tasks.len() > PAGE {
        return Err(ApiError::invalid_parameter("Tasks must have 1 to 100 elements."));
    }
    let all = tasks(world, region);
    let (mut tasks, mut failures) = (Vec::new(), Vec::new());
    for id in input.tasks.iter().map(|arn| last_part(arn)) {
        let arn = task_arn(world, region, cluster, id);
        match all.get(&(cluster.to_owned(), id.to_owned())) {
            Some(containers) => tasks.push(task(&arn, &cluster_arn(world, region, cluster), containers)),
            None => failures.push(json!({ "arn": arn, "reason": "MISSING" })),
        }
    }
    Ok(json!({ "tasks": tasks, "failures": failures }))
}

fn task(arn: &str, cluster_arn: &str, containers: &[(Container, Seen)]) -> Value {
    let status = desired_status(containers);
    let (first, seen) = &containers[0];
    let started = OffsetDateTime::parse(&seen.instance.launched_at, &Rfc3339);
    let address = seen.instance.address.map(|address| {
        json!({
            "type": "ElasticNetworkInterface",
            "status": "ATTACHED",
            "details": [{ "name": "privateIPv4Address", "value": address }],
        })
    });
    json!({
        "taskArn": arn,
        "clusterArn": cluster_arn,
        "group": format!("service:{}", first.service),
        "desiredStatus": status,
        "lastStatus": status,
        "enableExecuteCommand": containers.iter().any(|(_, seen)| seen.instance.registered),
        "platformFamily": "Linux",
        "startedAt": started.ok().map(OffsetDateTime::unix_timestamp),
        "attachments": Vec::from_iter(address),
        "containers": containers.iter().map(|(container, seen)| container_of(container, seen)).collect::<Vec<_>>(),
    })
}

fn container_of(container: &Container, seen: &Seen) -> Value {
    let agent = json!({
        "name": "ExecuteCommandAgent",
        "lastStatus": if seen.away { "STOPPED" } else { "RUNNING" },
    });
    json!({
        "name": container.name,
        "runtimeId": seen.instance.id.rsplit('_').next(),
        "lastStatus": if seen.terminated { "STOPPED" } else { "RUNNING" },
        "managedAgents": Vec::from_iter(seen.instance.registered.then_some(agent)),
    })
}

/// A task is stopped with the first of its containers.
fn desired_status(containers: &[(Container, Seen)]) -> &'static str {
    if containers.iter().any(|(_, seen)| seen.terminated) { "STOPPED" } else { "RUNNING" }
}

fn tasks(world: &World, region: &str) -> Tasks {
    let mut tasks = Tasks::new();
    for seen in world.nodes(region) {
        let Some(container) = seen.instance.container.clone() else { continue };
        let Some((cluster, id)) = place(&seen.instance.id) else { continue };
        let key = (cluster.to_owned(), id.to_owned());
        tasks.entry(key).or_default().push((container, seen));
    }
    tasks
}

fn clusters(world: &World, region: &str) -> BTreeSet<String> {
    tasks(world, region).into_keys().map(|(cluster, _)| cluster).collect()
}

/// The cluster's name, of a name or an ARN.
fn known_cluster<'a>(
    world: &World,
    region: &str,
    action: &str,
    cluster: &'a str,
) -> Result<&'a str, ApiError> {
    let name = last_part(cluster);
    allow(world, action, &cluster_arn(world, region, name))?;
    if clusters(world, region).contains(name) { Ok(name) } else { Err(ApiError::no_such_cluster()) }
}

fn cluster_arn(world: &World, region: &str, cluster: &str) -> String {
    arn(world, region, "ecs", &format!("cluster/{cluster}"))
}

fn last_part(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

impl Page {
    /// One page of them, and the token of the next one.
    fn of(&self, all: Vec<String>) -> (Vec<String>, Option<String>) {
        let skip = self.next_token.as_ref().and_then(|token| token.parse().ok()).unwrap_or(0_usize);
        let size = self.max_results.unwrap_or(PAGE).clamp(1, PAGE);
        let next = (skip + size < all.len()).then(|| (skip + size).to_string());
        (all.into_iter().skip(skip).take(size).collect(), next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_taken_apart_from_its_end() {
        assert_eq!(place("ecs:my_cluster_0af_0af-12"), Some(("my_cluster", "0af")));
        assert_eq!(place("ecs:cluster_0af"), None);
        assert_eq!(place("i-0123456789abcdef0"), None);
    }
}
