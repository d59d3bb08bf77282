//! Which containers of tasks a session can go through. Pure functions of what ECS told.

use std::net::IpAddr;

use aws_sdk_ecs::types::{Container, DesiredStatus, ManagedAgent, ManagedAgentName, Task};
use stormtunnel_model::{AgentStatus, Candidate, ContainerForm, Fault, FaultKind, TaskForm, Timestamp};

/// What the agent of ECS Exec needs to reach Session Manager.
const ROLE: &str = "the task role needs ssmmessages:CreateControlChannel, ssmmessages:CreateDataChannel, \
                    ssmmessages:OpenControlChannel and ssmmessages:OpenDataChannel";

/// A task that starts has not all of its containers yet, and one that is stopped is told of for another hour.
pub(crate) fn is_running(task: &Task) -> bool {
    let running = Some(DesiredStatus::Running.as_str());
    task.desired_status() == running && task.last_status() == running
}

/// Every container that runs.
pub(crate) fn all(tasks: &[Task]) -> Vec<Candidate> {
    let of_task = |task| running(task).filter_map(|container| candidate(task, container)).collect::<Vec<_>>();
    tasks.iter().flat_map(of_task).collect()
}

/// At most one container of each task. A task in which none can be told from the others, or that has none of that name,
/// is passed over while there are others, as during a deployment.
///
/// # Errors
/// `InvalidArgument` when all are passed over, with the names to choose from.
pub(crate) fn meant(tasks: &[Task], form: &ContainerForm<'_>) -> Result<Vec<Candidate>, Fault> {
    let (mut clear, mut passed_over) = (Vec::new(), None);
    for task in tasks {
        match meant_in(task, form) {
            Ok(container) => clear.push(container.and_then(|container| candidate(task, container))),
            Err(fault) => passed_over = Some(fault),
        }
    }
    match passed_over {
        Some(fault) if clear.is_empty() => Err(fault),
        Some(_) | None => Ok(clear.into_iter().flatten().collect()),
    }
}

/// The container that is named; else the only one with an agent of ECS Exec, whatever its state, so that the answer does
/// not change while agents start; else the only one. `None`: it does not run.
fn meant_in<'a>(task: &'a Task, form: &ContainerForm<'_>) -> Result<Option<&'a Container>, Fault> {
    if let Some(name) = form.container {
        let named = task.containers().iter().find(|container| container.name() == Some(name));
        return match named {
            Some(container) => Ok(Some(container).filter(|container| runs(container))),
            None => {
                let what = format!("has no container {name}");
                Err(unclear(task, form, &what, task.containers()))
            }
        };
    }
    let running: Vec<&Container> = running(task).collect();
    let with_agent: Vec<&Container> =
        running.iter().copied().filter(|container| exec_agent(container).is_some()).collect();
    let meant = if with_agent.is_empty() { running } else { with_agent };
    match meant[..] {
        [] => Ok(None),
        [only] => Ok(Some(only)),
        _ => Err(unclear(task, form, "has several containers that a session could go through", meant)),
    }
}

fn unclear<'a>(
    task: &Task,
    form: &ContainerForm<'_>,
    what: &str,
    containers: impl IntoIterator<Item = &'a Container>,
) -> Fault {
    let names: Vec<&str> = containers.into_iter().filter_map(Container::name).collect();
    let example = ContainerForm { container: names.first().copied(), ..*form };
    let id = last_part(task.task_arn().unwrap_or_default());
    Fault::new(
        FaultKind::InvalidArgument { field: "target".to_owned() },
        format!("task {id} {what}: {}; name one of them, as in {example}", names.join(", ")),
    )
}

/// What to do when containers were found and none of them can be gone through.
pub(crate) fn way_out(tasks: &[Task], form: &ContainerForm<'_>, found: &[Candidate]) -> Option<String> {
    if found.is_empty() || found.iter().any(|candidate| candidate.agent.may_answer()) {
        return None;
    }
    if tasks.iter().any(Task::enable_execute_command) {
        return Some(format!("the agent of ECS Exec does not run: {ROLE}"));
    }
    let switch = match form.tasks {
        TaskForm::Service(service) => format!(
            "`aws ecs update-service --cluster {} --service {service} --enable-execute-command --force-new-deployment` \
             starts tasks with it",
            form.cluster
        ),
        TaskForm::Id(_) => "start the task with `--enable-execute-command`".to_owned(),
    };
    Some(format!("ECS Exec, which brings the agent, is off: {switch}, and {ROLE}"))
}

fn running(task: &Task) -> impl Iterator<Item = &Container> {
    task.containers().iter().filter(|container| runs(container))
}

/// One that prepares the others stops before they start, and keeps its runtime id.
fn runs(container: &Container) -> bool {
    container.runtime_id().is_some() && container.last_status() != Some("STOPPED")
}

fn exec_agent(container: &Container) -> Option<&ManagedAgent> {
    container
        .managed_agents()
        .iter()
        .find(|agent| agent.name() == Some(&ManagedAgentName::ExecuteCommandAgent))
}

/// Nothing for a container whose parts make no proper id, which a session could not be opened to.
fn candidate(task: &Task, container: &Container) -> Option<Candidate> {
    let (cluster, id) = (last_part(task.cluster_arn()?), last_part(task.task_arn()?));
    let started = task.started_at().and_then(|time| time.to_millis().ok());
    Some(Candidate {
        node: format!("ecs:{cluster}_{id}_{}", container.runtime_id()?).parse().ok()?,
        name: name(task, container),
        address: address(task),
        agent: match exec_agent(container).map(|agent| agent.last_status()) {
            Some(Some("RUNNING")) => AgentStatus::Online,
            Some(_) => AgentStatus::Lost,
            None => AgentStatus::Unregistered,
        },
        platform: task.platform_family().map(str::to_owned),
        launched_at: started.and_then(|millis| u64::try_from(millis).ok()).map(Timestamp::from_millis),
    })
}

/// `service:web` or `family:web` is the group of a task, unless it was started in one of its own.
fn name(task: &Task, container: &Container) -> Option<String> {
    let container = container.name()?;
    let group = task.group().map(|group| group.split_once(':').map_or(group, |(_, name)| name));
    Some(group.map_or_else(|| container.to_owned(), |group| format!("{group}/{container}")))
}

/// That of the network interface that containers of a task share. On the network of their instance they have none.
fn address(task: &Task) -> Option<IpAddr> {
    let details = task.attachments().iter().flat_map(|attachment| attachment.details());
    let mut addresses = details.filter(|detail| detail.name() == Some("privateIPv4Address"));
    addresses.find_map(|detail| detail.value()?.parse().ok())
}

/// The name or id at the end of an ARN.
pub(crate) fn last_part(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

#[cfg(test)]
mod tests {
    use aws_sdk_ecs::types::{Attachment, KeyValuePair};

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    fn container(name: &str, agent: Option<&str>) -> Container {
        let agent = agent.map(|status| {
            ManagedAgent::builder().name(ManagedAgentName::ExecuteCommandAgent).last_status(status).build()
        });
        Container::builder()
            .name(name)
            .runtime_id(format!("{name}-1"))
            .last_status("RUNNING")
            .set_managed_agents(agent.map(|agent| vec![agent]))
            .build()
    }

    fn task(containers: &[Container]) -> Task {
        Task::builder()
            .task_arn(format!("arn:aws:ecs:eu-west-1:1:task/main/{ID}"))
            .cluster_arn("arn:aws:ecs:eu-west-1:1:cluster/main")
            .group("family:batch")
            .enable_execute_command(true)
            .set_containers(Some(containers.to_vec()))
            .build()
    }

    fn form(container: Option<&str>) -> ContainerForm<'_> {
        ContainerForm { cluster: "main", tasks: TaskForm::Service("web"), container }
    }

    fn names(tasks: &[Task], container: Option<&str>) -> Vec<String> {
        let found = meant(tasks, &form(container)).unwrap();
        found.into_iter().map(|candidate| candidate.name.unwrap()).collect()
    }

    #[test]
    fn the_only_container_that_could_be_meant_is() {
        let (app, plain) = (container("app", Some("PENDING")), container("plain", None));
        assert_eq!(names(&[task(std::slice::from_ref(&plain))], None), ["batch/plain"]);
        assert_eq!(names(&[task(&[plain.clone(), app.clone()])], None), ["batch/app"]);
        let done = Container::builder().name("init").runtime_id("init-1").last_status("STOPPED").build();
        assert_eq!(names(&[task(&[done.clone(), plain])], None), ["batch/plain"]);
        assert_eq!(names(&[task(std::slice::from_ref(&done))], None), Vec::<String>::new());
        assert_eq!(names(&[task(std::slice::from_ref(&done))], Some("init")), Vec::<String>::new());
        assert_eq!(all(&[task(&[done])]), []);
    }

    #[test]
    fn a_deployment_that_adds_a_container_leaves_the_clear_tasks() {
        let (app, proxy) = (container("app", Some("RUNNING")), container("proxy", Some("RUNNING")));
        let (before, after) = (task(std::slice::from_ref(&app)), task(&[app, proxy]));
        assert_eq!(names(&[before.clone(), after.clone()], None), ["batch/app"]);
        assert_eq!(names(&[before, after.clone()], Some("proxy")), ["batch/proxy"]);
        let fault = meant(&[after], &form(None)).unwrap_err();
        assert!(fault.detail.starts_with(&format!("task {ID} has several containers")), "{fault}");
    }

    #[test]
    fn the_way_out_is_told_when_there_is_no_other() {
        let told = |tasks: &[Task], form| way_out(tasks, form, &meant(tasks, form).unwrap());
        let web = form(None);
        assert_eq!(told(&[], &web), None, "nobody is there");
        let (silent, online) =
            (task(&[container("app", Some("STOPPED"))]), task(&[container("app", Some("RUNNING"))]));
        assert_eq!(told(&[silent.clone(), online], &web), None);
        assert!(
            told(&[silent], &web).unwrap().contains("the task role needs ssmmessages:CreateControlChannel")
        );
        let mut off = task(&[container("app", None)]);
        off.enable_execute_command = false;
        assert!(
            told(std::slice::from_ref(&off), &web)
                .unwrap()
                .contains("update-service --cluster main --service web")
        );
        let one = ContainerForm { tasks: TaskForm::Id(ID), ..web };
        assert!(told(&[off], &one).unwrap().contains("start the task with `--enable-execute-command`"));
    }

    #[test]
    fn the_address_is_that_of_the_network_interface() {
        let detail = |name, value| KeyValuePair::builder().name(name).value(value).build();
        let details = [detail("networkInterfaceId", "eni-1"), detail("privateIPv4Address", "10.0.1.2")];
        let attachment = Attachment::builder().set_details(Some(details.to_vec())).build();
        let mut task = task(&[container("app", None)]);
        assert_eq!(all(std::slice::from_ref(&task))[0].address, None);
        task.attachments = Some(vec![attachment]);
        assert_eq!(all(&[task])[0].address, Some([10, 0, 1, 2].into()));
    }
}
