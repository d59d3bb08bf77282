//! The EC2 API, as much as finds instances: the Query protocol in, XML out.

use http::StatusCode;
use uuid::Uuid;

use super::error::ApiError;
use super::xml::{Parameters, escaped, parameters};
use crate::counters::Counter;
use crate::world::{Seen, World};

/// Answers of a page when the caller names no size.
const PAGE: usize = 1000;

/// One filter: a name, and values of which one has to fit.
struct Filter {
    name: String,
    values: Vec<String>,
}

pub(super) fn dispatch(world: &World, region: &str, body: &[u8]) -> Result<String, ApiError> {
    let parameters = parameters(body);
    match parameters.get("Action").map(String::as_str) {
        Some("DescribeInstances") => {
            world.counters.increment(Counter::ApiDescribeInstances);
            describe_instances(world, region, &parameters)
        }
        other => Err(ApiError::unknown_operation(other.unwrap_or_default())),
    }
}

fn describe_instances(world: &World, region: &str, parameters: &Parameters) -> Result<String, ApiError> {
    super::operations::allow(world, "ec2:DescribeInstances", "*")?;
    let filters = filters(parameters)?;
    let number = |name: &str| parameters.get(name).and_then(|text| text.parse::<usize>().ok());
    let (skip, size) = (number("NextToken").unwrap_or(0), number("MaxResults").unwrap_or(PAGE).max(1));
    let fitting: Vec<Seen> = world
        .nodes(region)
        .into_iter()
        .filter(|seen| seen.instance.id.starts_with("i-"))
        .filter(|seen| filters.iter().all(|filter| filter.fits(seen, region)))
        .collect();
    let items: String = fitting.iter().skip(skip).take(size).map(|seen| reservation(seen, region)).collect();
    let rest = skip + size;
    let token = if rest < fitting.len() { format!("<nextToken>{rest}</nextToken>") } else { String::new() };
    Ok(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <DescribeInstancesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
         <requestId>{}</requestId><reservationSet>{items}</reservationSet>{token}</DescribeInstancesResponse>",
        Uuid::new_v4()
    ))
}

/// `Filter.1.Name=…&Filter.1.Value.1=…`
fn filters(parameters: &Parameters) -> Result<Vec<Filter>, ApiError> {
    let mut filters = Vec::new();
    for number in 1.. {
        let Some(name) = parameters.get(&format!("Filter.{number}.Name")) else { break };
        let value = |index| parameters.get(&format!("Filter.{number}.Value.{index}")).cloned();
        let values: Vec<String> = (1..).map_while(value).collect();
        let known = ["instance-id", "instance-state-name", "private-ip-address", "private-dns-name"];
        if !name.starts_with("tag:") && !known.contains(&name.as_str()) {
            return Err(ApiError::invalid_filter(name));
        }
        filters.push(Filter { name: name.clone(), values });
    }
    Ok(filters)
}

impl Filter {
    fn fits(&self, seen: &Seen, region: &str) -> bool {
        let instance = &seen.instance;
        let value = match self.name.as_str() {
            "instance-id" => Some(instance.id.clone()),
            "instance-state-name" => Some(state(seen).1.to_owned()),
            "private-ip-address" => instance.address.map(|address| address.to_string()),
            "private-dns-name" => instance.dns_name(region),
            tag => tag.strip_prefix("tag:").and_then(|key| instance.tags.get(key).cloned()),
        };
        value.is_some_and(|value| self.values.iter().any(|pattern| matches(pattern, &value)))
    }
}

/// `*` stands for anything, `?` for one character, and `\` takes the meaning from the next one.
fn matches(pattern: &str, value: &str) -> bool {
    let mut pattern_rest = pattern.chars();
    match pattern_rest.next() {
        None => value.is_empty(),
        Some('*') => {
            let rest = pattern_rest.as_str();
            let mut tails = value.char_indices().map(|(index, _)| &value[index..]).chain([""]);
            tails.any(|tail| matches(rest, tail))
        }
        Some(first) => {
            let (wanted, any) = match first {
                '?' => (first, true),
                '\\' => (pattern_rest.next().unwrap_or(first), false),
                _ => (first, false),
            };
            let mut value_rest = value.chars();
            value_rest.next().is_some_and(|next| any || next == wanted)
                && matches(pattern_rest.as_str(), value_rest.as_str())
        }
    }
}

/// Code and name.
fn state(seen: &Seen) -> (u8, &'static str) {
    if seen.terminated { (48, "terminated") } else { (16, "running") }
}

fn reservation(seen: &Seen, region: &str) -> String {
    let instance = &seen.instance;
    let (code, state) = state(seen);
    let element = |name: &str, value: Option<String>| {
        value.map(|value| format!("<{name}>{}</{name}>", escaped(&value))).unwrap_or_default()
    };
    let tag = |(key, value): (&String, &String)| {
        format!("<item><key>{}</key><value>{}</value></item>", escaped(key), escaped(value))
    };
    let tags: String = instance.tags.iter().map(tag).collect();
    format!(
        "<item><reservationId>r-{id}</reservationId><groupSet/><instancesSet><item>\
         <instanceId>{id}</instanceId><instanceState><code>{code}</code><name>{state}</name></instanceState>\
         {dns}{address}<launchTime>{launched}</launchTime><platformDetails>Linux/UNIX</platformDetails>\
         <tagSet>{tags}</tagSet></item></instancesSet></item>",
        id = escaped(&instance.id),
        dns = element("privateDnsName", instance.dns_name(region)),
        address = element("privateIpAddress", instance.address.map(|address| address.to_string())),
        launched = escaped(&instance.launched_at),
    )
}

/// An error as this protocol has it, with its status: it names some of them otherwise than Session Manager.
pub(super) fn error(error: &ApiError) -> (StatusCode, String) {
    let (status, code) = match error.code {
        "AccessDeniedException" => (StatusCode::FORBIDDEN, "UnauthorizedOperation"),
        "ThrottlingException" => (StatusCode::SERVICE_UNAVAILABLE, "RequestLimitExceeded"),
        "UnrecognizedClientException" => (StatusCode::UNAUTHORIZED, "AuthFailure"),
        "ExpiredTokenException" => (StatusCode::BAD_REQUEST, "RequestExpired"),
        code => (error.status, code),
    };
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <Response><Errors><Error><Code>{code}</Code><Message>{}</Message></Error></Errors>\
         <RequestID>{}</RequestID></Response>",
        escaped(&error.message),
        Uuid::new_v4()
    );
    (status, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_the_service() {
        assert!(matches("web", "web") && !matches("web", "web-1") && !matches("we", "web"));
        assert!(matches("web*", "web-1") && matches("*", "") && matches("w?b", "web"));
        assert!(matches(r"web\*", "web*") && !matches(r"web\*", "web-1"));
    }
}
