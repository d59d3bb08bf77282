//! The control API: what [`crate::Emulator`] offers to Rust, as HTTP with JSON, for every other language.
//!
//! `GET /counters`, `GET /counters/wait?counter=…&at_least=…&at_most=…&timeout_ms=…`, `GET /sessions`,
//! `GET /refreshes`, `GET /environment`, `POST /inject`, `POST /hosts`. A user who approves a device code is an injection, too:
//! `{"kind":"sign_in","order":{"kind":"decide","agree":true}}`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::counters::{Counter, Snapshot};
use crate::gateway::session::SessionInfo;
use crate::inject::Injection;
use crate::sign_in::RefreshAttempt;
use crate::world::World;

type Refusal = (StatusCode, Json<Value>);

/// A host in the VPC. Without a port, `address` is an IP address and ports stay as they are.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Host {
    name: String,
    #[serde(default)]
    port: Option<u16>,
    /// Absent: forget the name.
    #[serde(default)]
    address: Option<String>,
}

pub(crate) fn router(world: Arc<World>, environment: Vec<(String, String)>) -> Router {
    let environment: BTreeMap<_, _> = environment.into_iter().collect();
    Router::new()
        .route("/counters", get(counters))
        .route("/counters/wait", get(wait))
        .route("/sessions", get(sessions))
        .route("/refreshes", get(refreshes))
        .route("/environment", get(async move || Json(environment)))
        .route("/inject", post(inject))
        .route("/hosts", post(hosts))
        .with_state(world)
}

async fn counters(State(world): State<Arc<World>>) -> Json<Snapshot> {
    Json(world.counters.snapshot())
}

async fn sessions(State(world): State<Arc<World>>) -> Json<Vec<SessionInfo>> {
    Json(world.sessions().iter().map(|session| session.info()).collect())
}

async fn refreshes(State(world): State<Arc<World>>) -> Json<Vec<RefreshAttempt>> {
    Json(world.sign_in.refreshes())
}

async fn inject(State(world): State<Arc<World>>, Json(injection): Json<Injection>) -> StatusCode {
    world.inject(injection);
    StatusCode::NO_CONTENT
}

async fn hosts(State(world): State<Arc<World>>, Json(host): Json<Host>) -> Result<StatusCode, Refusal> {
    match (host.port, host.address) {
        (_, None) => world.hosts.unmap(&host.name),
        (Some(port), Some(address)) => {
            let address: SocketAddr = address.parse().map_err(|_| refusal("address must be ip:port"))?;
            world.hosts.map_service(&host.name, port, address);
        }
        (None, Some(address)) => {
            let address: IpAddr = address.parse().map_err(|_| refusal("address must be an IP address"))?;
            world.hosts.map_address(&host.name, address);
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn wait(State(world): State<Arc<World>>, RawQuery(query): RawQuery) -> Result<Json<Snapshot>, Refusal> {
    let query = query.unwrap_or_default();
    let fields: BTreeMap<_, _> = url::form_urlencoded::parse(query.as_bytes()).collect();
    let name = fields.get("counter").ok_or_else(|| refusal("counter is missing"))?;
    let counter = Counter::ALL.iter().copied().find(|counter| counter.name() == name.as_ref());
    let counter = counter.ok_or_else(|| refusal(&format!("there is no counter {name}")))?;
    let number = |field: &str, default: u64| match fields.get(field) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| refusal(&format!("{field} must be a number"))),
    };
    let (at_least, at_most) = (number("at_least", 0)?, number("at_most", u64::MAX)?);
    let deadline = Duration::from_millis(number("timeout_ms", 10_000)?);
    let reached = |n: u64| (at_least..=at_most).contains(&n);
    match world.counters.wait(deadline, |counters| reached(counters.value(counter))).await {
        Ok(()) => Ok(Json(world.counters.snapshot())),
        Err(error) => Err((StatusCode::REQUEST_TIMEOUT, Json(json!(error.counters)))),
    }
}

fn refusal(text: &str) -> Refusal {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": text })))
}
