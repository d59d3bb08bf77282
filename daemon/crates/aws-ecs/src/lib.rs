//! Finds the containers that a target stands for, through the ECS API.
//!
//! A crate of its own, so that nothing else waits for the SDK for ECS to compile. Profile, credentials, endpoint, HTTP
//! client and faults are those of [`stormtunnel_aws`].

mod tasks;

use std::error::Error;

use aws_sdk_ecs::Client;
use aws_sdk_ecs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ecs::types::{DesiredStatus, Task};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use futures_util::future::join_all;
use stormtunnel_aws::{ContainerFinder, EndpointGuard, ServiceAccess, sdk_endpoint};
use stormtunnel_engine::ports::{Candidates, PortFuture};
use stormtunnel_model::{Candidate, ContainerForm, Fault, TaskForm};

/// Tasks of one DescribeTasks and of one page of ListTasks: the most that ECS takes.
const BATCH: usize = 100;
const PAGE: i32 = 100;

/// Clusters that a list of everything looks into, and of each so many tasks as one page holds.
const CLUSTERS: i32 = 10;

/// Finds containers with ListTasks and DescribeTasks, clusters with ListClusters.
#[derive(Clone, Copy, Debug, Default)]
pub struct EcsContainers;

impl ContainerFinder for EcsContainers {
    fn running<'a>(
        &'a self,
        ecs: &'a ServiceAccess,
        form: Option<&'a ContainerForm<'a>>,
    ) -> PortFuture<'a, Result<Candidates, Fault>> {
        let search = Search { ecs, client: client(ecs) };
        Box::pin(async move {
            match form {
                Some(form) => search.find(form).await,
                None => search.list().await,
            }
        })
    }

    fn url<'a>(&'a self, ecs: &'a ServiceAccess) -> PortFuture<'a, Result<String, Fault>> {
        Box::pin(async move { sdk_endpoint!(aws_sdk_ecs, ecs.config_ecs()) })
    }
}

/// A client costs nothing to make: connections are those of the HTTP client in the configuration.
fn client(ecs: &ServiceAccess) -> Client {
    let config = aws_sdk_ecs::config::Builder::from(&ecs.config_ecs()).interceptor(EndpointGuard);
    Client::from_conf(config.build())
}

struct Search<'a> {
    ecs: &'a ServiceAccess,
    client: Client,
}

/// Why there are no tasks to choose from.
enum NoTasks {
    /// ECS does not know what they are part of.
    Unknown(&'static str),
    Failed(Fault),
}

impl Search<'_> {
    async fn find(&self, form: &ContainerForm<'_>) -> Result<Candidates, Fault> {
        match self.tasks(form).await {
            Ok(tasks) => {
                let found = tasks::meant(&tasks, form)?;
                let way_out = tasks::way_out(&tasks, form, &found);
                Ok(self.candidates(found, way_out.into_iter().collect()))
            }
            Err(NoTasks::Unknown(what)) => Ok(self.candidates(Vec::new(), vec![what.to_owned()])),
            Err(NoTasks::Failed(fault)) => Err(fault),
        }
    }

    async fn tasks(&self, form: &ContainerForm<'_>) -> Result<Vec<Task>, NoTasks> {
        let arns = match form.tasks {
            TaskForm::Service(service) => self.tasks_of_service(form.cluster, service).await?,
            TaskForm::Id(id) => vec![id.to_owned()],
        };
        self.describe(form.cluster, &arns).await
    }

    async fn tasks_of_service(&self, cluster: &str, service: &str) -> Result<Vec<String>, NoTasks> {
        let list = self.client.list_tasks().cluster(cluster).service_name(service);
        let list = list.desired_status(DesiredStatus::Running);
        let mut items = list.into_paginator().page_size(PAGE).items().send();
        let mut arns = Vec::new();
        while let Some(item) = items.next().await {
            match item {
                Ok(arn) => arns.push(arn),
                Err(error) => return Err(self.no_tasks("ecs:ListTasks", &error)),
            }
        }
        Ok(arns)
    }

    /// Those of the tasks that run and are to go on running.
    async fn describe(&self, cluster: &str, arns: &[String]) -> Result<Vec<Task>, NoTasks> {
        let mut tasks = Vec::new();
        for batch in arns.chunks(BATCH) {
            let describe = self.client.describe_tasks().cluster(cluster).set_tasks(Some(batch.to_vec()));
            match describe.send().await {
                Ok(answer) => tasks.extend(answer.tasks.unwrap_or_default()),
                Err(error) => return Err(self.no_tasks("ecs:DescribeTasks", &error)),
            }
        }
        tasks.retain(tasks::is_running);
        Ok(tasks)
    }

    async fn list(&self) -> Result<Candidates, Fault> {
        let clusters = match self.client.list_clusters().max_results(CLUSTERS).send().await {
            Ok(clusters) => clusters,
            Err(error) => return Err(self.ecs.fault("ecs:ListClusters", &error)),
        };
        let names = clusters.cluster_arns().iter().map(|arn| tasks::last_part(arn));
        let mut list = self.candidates(Vec::new(), Vec::new());
        for (containers, note) in join_all(names.map(|name| self.list_cluster(name))).await {
            list.candidates.extend(containers);
            list.notes.extend(note);
        }
        if clusters.next_token().is_some() {
            list.notes.push(format!("of ECS clusters only the first {CLUSTERS} are listed"));
        }
        Ok(list)
    }

    /// The containers of a cluster, and what is to be said of them.
    async fn list_cluster(&self, cluster: &str) -> (Vec<Candidate>, Option<String>) {
        let list = self.client.list_tasks().cluster(cluster).desired_status(DesiredStatus::Running);
        let page = match list.max_results(PAGE).send().await {
            Ok(page) => page,
            Err(error) => {
                return (Vec::new(), self.unlisted(cluster, self.no_tasks("ecs:ListTasks", &error)));
            }
        };
        match self.describe(cluster, page.task_arns()).await {
            Ok(tasks) => {
                let more = page
                    .next_token()
                    .map(|_| format!("of ECS cluster {cluster} only the first {PAGE} tasks are listed"));
                (tasks::all(&tasks), more)
            }
            Err(trouble) => (Vec::new(), self.unlisted(cluster, trouble)),
        }
    }

    /// A cluster that went away meanwhile is worth no word.
    fn unlisted(&self, cluster: &str, trouble: NoTasks) -> Option<String> {
        match trouble {
            NoTasks::Unknown(_) => None,
            NoTasks::Failed(fault) => {
                Some(format!("no containers of ECS cluster {cluster} are listed: {fault}"))
            }
        }
    }

    fn no_tasks<E>(&self, action: &'static str, error: &SdkError<E, HttpResponse>) -> NoTasks
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match error.code() {
            Some("ClusterNotFoundException") => NoTasks::Unknown("ECS knows no cluster of that name there"),
            Some("ServiceNotFoundException") => {
                NoTasks::Unknown("ECS knows no service of that name in that cluster")
            }
            Some(_) | None => NoTasks::Failed(self.ecs.fault(action, error)),
        }
    }

    fn candidates(&self, candidates: Vec<Candidate>, notes: Vec<String>) -> Candidates {
        Candidates { region: self.ecs.region().clone(), candidates, notes }
    }
}
