//! Finds the instances that a target stands for, through the EC2 API.
//!
//! A crate of its own: the SDK for EC2 is enormous and cannot be had in parts, so nothing else may depend on it. Profile,
//! credentials, endpoint, HTTP client and faults are those of [`stormtunnel_aws`].

use std::net::IpAddr;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, Instance};
use stormtunnel_aws::{EndpointGuard, InstanceFinder, ServiceAccess, sdk_endpoint};
use stormtunnel_engine::ports::PortFuture;
use stormtunnel_model::{AgentStatus, Candidate, Fault, InstanceForm, NAME_TAG, Timestamp};

/// Instances of one answer. EC2 takes up to 1000; an answer that large takes seconds.
const PAGE: i32 = 200;

/// Finds instances with DescribeInstances.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ec2Instances;

impl Ec2Instances {
    async fn find(ec2: &ServiceAccess, form: Option<&InstanceForm<'_>>) -> Result<Vec<Candidate>, Fault> {
        let describe = client(ec2).describe_instances().set_filters(Some(filters(form)));
        let mut pages = describe.into_paginator().page_size(PAGE).send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            match page {
                Ok(page) => {
                    let instances =
                        page.reservations().iter().flat_map(|reservation| reservation.instances());
                    found.extend(instances.filter_map(candidate));
                }
                Err(error) => return Err(ec2.fault("ec2:DescribeInstances", &error)),
            }
        }
        Ok(found)
    }
}

impl InstanceFinder for Ec2Instances {
    fn running<'a>(
        &'a self,
        ec2: &'a ServiceAccess,
        form: Option<&'a InstanceForm<'a>>,
    ) -> PortFuture<'a, Result<Vec<Candidate>, Fault>> {
        Box::pin(Self::find(ec2, form))
    }

    fn url<'a>(&'a self, ec2: &'a ServiceAccess) -> PortFuture<'a, Result<String, Fault>> {
        Box::pin(async move { sdk_endpoint!(aws_sdk_ec2, ec2.config_ec2()) })
    }
}

/// A client costs nothing to make: connections are those of the HTTP client in the configuration.
fn client(ec2: &ServiceAccess) -> Client {
    let config = aws_sdk_ec2::config::Builder::from(&ec2.config_ec2()).interceptor(EndpointGuard);
    Client::from_conf(config.build())
}

/// What to ask for. Only a running instance can be gone through.
fn filters(form: Option<&InstanceForm<'_>>) -> Vec<Filter> {
    let filter = |name: &str, value: &str| Filter::builder().name(name).values(literal(value)).build();
    let mut filters = vec![filter("instance-state-name", "running")];
    match form {
        None => {}
        Some(InstanceForm::Tags(tags)) => {
            filters.extend(tags.iter().map(|(key, value)| filter(&format!("tag:{key}"), value)));
        }
        Some(InstanceForm::Address(address)) => {
            filters.push(filter("private-ip-address", &address.to_string()));
        }
        Some(InstanceForm::DnsName(name)) => filters.push(filter("private-dns-name", name)),
    }
    filters
}

/// In a filter `*` and `?` stand for anything; a target means what it says.
fn literal(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '*' | '?' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// Nothing for an instance without a proper id, which a session could not be opened to.
fn candidate(instance: &Instance) -> Option<Candidate> {
    let name = instance.tags().iter().find(|tag| tag.key() == Some(NAME_TAG)).and_then(|tag| tag.value());
    let launched = instance.launch_time().and_then(|time| time.to_millis().ok());
    Some(Candidate {
        node: instance.instance_id()?.parse().ok()?,
        name: name.filter(|name| !name.is_empty()).map(str::to_owned),
        address: instance.private_ip_address().and_then(|address| address.parse::<IpAddr>().ok()),
        agent: AgentStatus::Unknown,
        platform: instance.platform_details().map(str::to_owned),
        launched_at: launched.and_then(|millis| u64::try_from(millis).ok()).map(Timestamp::from_millis),
    })
}

#[cfg(test)]
mod tests {
    use stormtunnel_model::{Target, TargetForm};

    use super::*;

    fn asked(target: &str) -> Vec<String> {
        let target: Target = target.parse().unwrap();
        let TargetForm::Instances(form) = target.form() else { panic!("{target} is no instance") };
        filters(Some(&form))
            .iter()
            .map(|filter| format!("{}={}", filter.name().unwrap(), filter.values().join("|")))
            .collect()
    }

    #[test]
    fn each_form_has_its_filter() {
        let running = "instance-state-name=running";
        assert_eq!(asked("name:web"), [running, "tag:Name=web"]);
        assert_eq!(asked("tag:Env=prod,Role=db"), [running, "tag:Env=prod", "tag:Role=db"]);
        assert_eq!(asked("asg:web"), [running, "tag:aws:autoscaling:groupName=web"]);
        assert_eq!(asked("ip:10.0.1.2"), [running, "private-ip-address=10.0.1.2"]);
        assert_eq!(
            asked("dns:ip-10-0-1-2.ec2.internal"),
            [running, "private-dns-name=ip-10-0-1-2.ec2.internal"]
        );
    }

    #[test]
    fn a_star_in_a_name_is_a_star() {
        assert_eq!(asked(r"name:web*?\")[1], r"tag:Name=web\*\?\\");
    }
}
