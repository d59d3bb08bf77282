//! Which nodes have an agent that is connected to Session Manager.

use std::net::IpAddr;
use std::sync::Arc;

use aws_sdk_ssm::types::{InstanceInformation, InstanceInformationStringFilter, PingStatus};
use stormtunnel_model::{AgentStatus, Candidate, Fault, ResolvedTarget, Timestamp};

use crate::access::{AwsAccess, ScopedClient};
use crate::classify::Call;

/// Ids that one call may ask for, and answers that one page may hold.
const CHUNK: usize = 50;
const PAGE: i32 = 50;

const CALL: Call<'static> = Call { action: "ssm:DescribeInstanceInformation", node: None, document: None };

/// The nodes that ever had an agent: all of them, or those among `only`.
pub(crate) async fn agents(
    access: &AwsAccess,
    client: &Arc<ScopedClient>,
    only: Option<&[ResolvedTarget]>,
) -> Result<Vec<Candidate>, Fault> {
    let Some(only) = only else { return pages(access, client, None).await };
    let mut agents = Vec::new();
    for nodes in only.chunks(CHUNK) {
        agents.extend(pages(access, client, Some(nodes)).await?);
    }
    Ok(agents)
}

async fn pages(
    access: &AwsAccess,
    client: &Arc<ScopedClient>,
    nodes: Option<&[ResolvedTarget]>,
) -> Result<Vec<Candidate>, Fault> {
    let mut describe = client.ssm.describe_instance_information().max_results(PAGE);
    if let Some(nodes) = nodes {
        let ids = nodes.iter().map(ToString::to_string).collect();
        let filter = InstanceInformationStringFilter::builder().key("InstanceIds").set_values(Some(ids));
        let filter = filter.build().map_err(|error| Fault::internal(error.to_string()))?;
        describe = describe.filters(filter);
    }
    let mut items = describe.into_paginator().items().send();
    let mut agents = Vec::new();
    while let Some(item) = items.next().await {
        match item {
            Ok(information) => agents.extend(candidate(&information)),
            Err(error) => return Err(access.call_fault(client, &CALL, &error)),
        }
    }
    Ok(agents)
}

/// Nothing for an id of a kind that we cannot go through.
fn candidate(information: &InstanceInformation) -> Option<Candidate> {
    let text = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    let platform = text(information.platform_name())
        .or_else(|| information.platform_type().and_then(|platform| text(Some(platform.as_str()))));
    Some(Candidate {
        node: information.instance_id()?.parse().ok()?,
        name: text(information.name()).or_else(|| text(information.computer_name())),
        address: information.ip_address().and_then(|address| address.parse::<IpAddr>().ok()),
        agent: match information.ping_status() {
            Some(PingStatus::Online) => AgentStatus::Online,
            Some(_) => AgentStatus::Lost,
            None => AgentStatus::Unknown,
        },
        platform,
        launched_at: information
            .registration_date()
            .and_then(|date| date.to_millis().ok())
            .and_then(|millis| u64::try_from(millis).ok())
            .map(Timestamp::from_millis),
    })
}
