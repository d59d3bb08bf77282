//! The operations: each reads its input, decides, answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::ecs;
use super::error::ApiError;
use crate::agent;
use crate::counters::Counter;
use crate::gateway::session::{Session, SessionRequest};
use crate::gateway::upgrade;
use crate::inject::ResumeAnswer;
use crate::world::{Seen, World, take_one};

const PORT_DOCUMENT: &str = "AWS-StartPortForwardingSession";
const REMOTE_HOST_DOCUMENT: &str = "AWS-StartPortForwardingSessionToRemoteHost";

/// Most results of one DescribeInstanceInformation, and most values of its filter.
const MAX_AGENT_PAGE: usize = 50;
const MAX_AGENT_FILTER: usize = 50;

/// Names with dots come from the service's model; parameters are always lists, even of one value.
type Parameters = BTreeMap<String, Vec<String>>;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StartSession {
    target: String,
    #[serde(default)]
    document_name: Option<String>,
    #[serde(default)]
    parameters: Parameters,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OfSession {
    session_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OfTarget {
    target: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeAgents {
    #[serde(default)]
    filters: Vec<AgentFilter>,
    #[serde(default)]
    max_results: Option<usize>,
    #[serde(default)]
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AgentFilter {
    key: String,
    values: Vec<String>,
}

pub(super) fn dispatch(
    world: &Arc<World>,
    target: &str,
    region: &str,
    body: &[u8],
) -> Result<Value, ApiError> {
    let counters = &world.counters;
    let answer = match target {
        "AmazonSSM.StartSession" => {
            counters.increment(Counter::ApiStartSession);
            read(body).and_then(|input| start_session(world, region, input))
        }
        "AmazonSSM.ResumeSession" => {
            counters.increment(Counter::ApiResumeSession);
            read(body).and_then(|input| resume_session(world, region, &input))
        }
        "AmazonSSM.TerminateSession" => {
            counters.increment(Counter::ApiTerminateSession);
            read(body).and_then(|input| terminate_session(world, region, &input))
        }
        "AmazonSSM.GetConnectionStatus" => {
            read(body).and_then(|input| connection_status(world, region, &input))
        }
        "AmazonSSM.DescribeInstanceInformation" => {
            read(body).and_then(|input| describe_agents(world, region, &input))
        }
        other => Err(ApiError::unknown_operation(other)),
    };
    if let Err(error) = &answer {
        match error.code {
            "TargetNotConnected" => counters.increment(Counter::ApiTargetNotConnected),
            // Counted where it was decided.
            "AccessDeniedException" => {}
            _ => counters.increment(Counter::ApiInvalid),
        }
    }
    answer
}

pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::invalid(error.to_string()))
}

fn start_session(world: &Arc<World>, region: &str, input: StartSession) -> Result<Value, ApiError> {
    allow(world, "ssm:StartSession", &target_arn(world, region, &input.target))?;
    let length = input.reason.as_ref().map(|reason| reason.chars().count());
    if length.is_some_and(|length| !(1..=256).contains(&length)) {
        return Err(ApiError::invalid("Value at 'reason' must have length between 1 and 256"));
    }
    let request = session_request(region, input)?;
    let away = world.instance(&request.target, region).is_none_or(|offline| *offline.borrow());
    if away {
        return Err(ApiError::target_not_connected(&request.target));
    }
    let session = Session::start(world, request);
    if take_one(&mut world.plan().silent_agents) {
        world.counters.increment(Counter::InjectedSilentAgents);
    } else {
        world.tasks.spawn("agent", agent::run(Arc::clone(world), Arc::clone(&session)));
    }
    Ok(grant(world, &session, false))
}

/// A container is part of a resource, its task.
fn target_arn(world: &World, region: &str, target: &str) -> String {
    match ecs::place(target) {
        Some((cluster, task)) => ecs::task_arn(world, region, cluster, task),
        None => arn(world, region, "ec2", &format!("instance/{target}")),
    }
}

fn session_request(region: &str, input: StartSession) -> Result<SessionRequest, ApiError> {
    let document = input.document_name.unwrap_or_else(|| "SSM-SessionManagerRunShell".to_owned());
    let allowed: &[&str] = match document.as_str() {
        PORT_DOCUMENT => &["portNumber", "localPortNumber"],
        REMOTE_HOST_DOCUMENT => &["host", "portNumber", "localPortNumber"],
        other => return Err(ApiError::no_such_document(other)),
    };
    if let Some(unknown) = input.parameters.keys().find(|name| !allowed.contains(&name.as_str())) {
        return Err(ApiError::parameters(format!(
            "Parameter {unknown} is not defined in document {document}."
        )));
    }
    let value = |name: &str| match input.parameters.get(name).map(Vec::as_slice) {
        None => Ok(None),
        Some([value]) => Ok(Some(value.clone())),
        Some(_) => Err(ApiError::parameters(format!("Parameter {name} must have exactly one value."))),
    };
    let port = value("portNumber")?.unwrap_or_else(|| "80".to_owned());
    let local_port = value("localPortNumber")?.unwrap_or_else(|| "0".to_owned());
    let host = value("host")?;
    if document == REMOTE_HOST_DOCUMENT && host.as_ref().is_none_or(String::is_empty) {
        return Err(ApiError::parameters("Parameter host is required."));
    }
    let number = port_number(&port).filter(|port| *port > 0).ok_or_else(|| bad_port("portNumber", &port))?;
    port_number(&local_port).ok_or_else(|| bad_port("localPortNumber", &local_port))?;
    let mut properties = BTreeMap::from([
        ("localPortNumber".to_owned(), local_port),
        ("portNumber".to_owned(), port),
        ("type".to_owned(), "LocalPortForwarding".to_owned()),
    ]);
    if let Some(host) = &host {
        properties.insert("host".to_owned(), host.clone());
    }
    let (target, region) = (input.target, region.to_owned());
    Ok(SessionRequest { target, region, document, host, port: number, reason: input.reason, properties })
}

/// A port as the documents' pattern has it: digits without leading zeros.
fn port_number(text: &str) -> Option<u16> {
    let port: u16 = text.parse().ok()?;
    (port.to_string() == text).then_some(port)
}

fn bad_port(name: &str, value: &str) -> ApiError {
    ApiError::parameters(format!(
        "Parameter \"{name}\" with value \"{value}\" does not match the allowed pattern."
    ))
}

fn resume_session(world: &World, region: &str, input: &OfSession) -> Result<Value, ApiError> {
    allow(world, "ssm:ResumeSession", &session_arn(world, region, &input.session_id))?;
    let session =
        world.session(&input.session_id).ok_or_else(|| ApiError::no_such_session(&input.session_id))?;
    if session.is_over() {
        return match world.plan().resume_answer {
            ResumeAnswer::EmptyToken => {
                Ok(json!({ "SessionId": session.id, "StreamUrl": "", "TokenValue": "" }))
            }
            ResumeAnswer::DoesNotExist => Err(ApiError::no_such_session(&session.id)),
        };
    }
    world.counters.increment(Counter::SessionsResumed);
    Ok(grant(world, &session, true))
}

/// Ending a session that is over, or that nobody knows, is no error.
fn terminate_session(world: &World, region: &str, input: &OfSession) -> Result<Value, ApiError> {
    allow(world, "ssm:TerminateSession", &session_arn(world, region, &input.session_id))?;
    if let Some(session) = world.session(&input.session_id) {
        session.end("");
    }
    Ok(json!({ "SessionId": input.session_id }))
}

fn connection_status(world: &World, region: &str, input: &OfTarget) -> Result<Value, ApiError> {
    let resource = arn(world, region, "ec2", &format!("instance/{}", input.target));
    allow(world, "ssm:GetConnectionStatus", &resource)?;
    let away = world.instance(&input.target, region).is_none_or(|offline| *offline.borrow());
    let status = if away { "notconnected" } else { "connected" };
    Ok(json!({ "Target": input.target, "Status": status }))
}

/// Agents that ever registered, in pages. Nodes that are gone are told of for a while, as in AWS, containers never.
fn describe_agents(world: &World, region: &str, input: &DescribeAgents) -> Result<Value, ApiError> {
    world.counters.increment(Counter::ApiDescribeAgents);
    allow(world, "ssm:DescribeInstanceInformation", "*")?;
    let mut nodes = world.nodes(region);
    nodes.retain(|seen| seen.instance.registered && !seen.instance.id.starts_with("ecs:"));
    for AgentFilter { key, values } in &input.filters {
        if key != "InstanceIds" || values.is_empty() || values.len() > MAX_AGENT_FILTER {
            return Err(ApiError::invalid(format!("Value at 'filters' is not valid: {key}")));
        }
        nodes.retain(|seen| values.contains(&seen.instance.id));
    }
    let skip = input.next_token.as_ref().and_then(|token| token.parse().ok()).unwrap_or(0_usize);
    let size = input.max_results.unwrap_or(MAX_AGENT_PAGE).clamp(1, MAX_AGENT_PAGE);
    let list: Vec<_> =
        nodes.iter().skip(skip).take(size).map(|seen| agent_information(world, seen)).collect();
    let next = (skip + size < nodes.len()).then(|| (skip + size).to_string());
    Ok(json!({ "InstanceInformationList": list, "NextToken": next }))
}

fn agent_information(world: &World, seen: &Seen) -> Value {
    let hybrid = seen.instance.id.starts_with("mi-");
    json!({
        "InstanceId": seen.instance.id,
        "PingStatus": if seen.away { "ConnectionLost" } else { "Online" },
        "AgentVersion": world.plan().habits.agent_version,
        "PlatformType": "Linux",
        "PlatformName": "Amazon Linux",
        "Name": if hybrid { seen.instance.tags.get("Name") } else { None },
        "IPAddress": seen.instance.address,
        "ResourceType": if hybrid { "ManagedInstance" } else { "EC2Instance" },
    })
}

fn grant(world: &World, session: &Session, renew: bool) -> Value {
    let grant = if renew { session.renew_grant() } else { session.grant() };
    world.note_token(&grant.token);
    let scheme = if world.tls.is_some() { "wss" } else { "ws" };
    let address = world.gateway_address;
    let (path, query) = (upgrade::path(&session.id), upgrade::query(&grant.cell_number));
    let hostile = world.plan().stream_url.take();
    if hostile.is_some() {
        world.counters.increment(Counter::InjectedStreamUrls);
    }
    let place = if world.config.aws_stream_urls {
        format!("ssmmessages.{}.amazonaws.com", world.config.region)
    } else {
        address.to_string()
    };
    let url = hostile.unwrap_or_else(|| format!("{scheme}://{place}{path}?{query}"));
    json!({ "SessionId": session.id, "StreamUrl": url, "TokenValue": grant.token })
}

pub(super) fn allow(world: &World, action: &str, resource: &str) -> Result<(), ApiError> {
    if world.denies(action) {
        return Err(ApiError::denied(action, resource));
    }
    Ok(())
}

fn session_arn(world: &World, region: &str, id: &str) -> String {
    arn(world, region, "ssm", &format!("session/{id}"))
}

pub(super) fn arn(world: &World, region: &str, service: &str, resource: &str) -> String {
    format!("arn:aws:{service}:{region}:{}:{resource}", world.config.account)
}
