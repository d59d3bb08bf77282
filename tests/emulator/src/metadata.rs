//! The services at link-local addresses, here at one loopback address: the instance metadata service (version 2 alone),
//! and credentials for containers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::{get, put};
use http::{HeaderMap, Response, StatusCode, Uri};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::clock;
use crate::credentials::{AccessKey, Identity, random_text};
use crate::trouble::{Operation, Refusal, answer, meet, with_header};
use crate::world::World;

/// Where a container finds its credentials.
pub(crate) const CONTAINER_PATH: &str = "/container/credentials";

const TOKEN: &str = "x-aws-ec2-metadata-token";
const TOKEN_TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
/// Longest life of a session token: six hours.
const MAX_TTL: i64 = 21_600;
const ROLES: &str = "/latest/meta-data/iam/security-credentials";

/// What these services remember.
pub(crate) struct Metadata {
    /// What the `Authorization` header of a container has to hold.
    pub(crate) container_token: String,
    tokens: Mutex<BTreeMap<String, OffsetDateTime>>,
}

impl Metadata {
    pub(crate) fn new() -> Self {
        Self { container_token: random_text(200), tokens: Mutex::default() }
    }

    pub(crate) fn age(&self, by: Duration) {
        self.tokens().values_mut().for_each(|expires| *expires -= by);
    }

    fn tokens(&self) -> MutexGuard<'_, BTreeMap<String, OffsetDateTime>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/latest/api/token", put(token))
        .route(CONTAINER_PATH, get(container_credentials))
        .fallback(look_up)
        .with_state(world)
}

/// A proxy between caller and instance shows in a header; the service refuses those.
async fn token(State(world): State<Arc<World>>, headers: HeaderMap) -> Response<Body> {
    meet(&world, Operation::MetadataToken, form, async {
        if headers.contains_key("x-forwarded-for") {
            return Err(refusal(StatusCode::FORBIDDEN));
        }
        let seconds = header(&headers, TOKEN_TTL).and_then(|text| text.parse::<i64>().ok());
        let seconds = seconds.filter(|seconds| (1..=MAX_TTL).contains(seconds));
        let seconds = seconds.ok_or_else(|| refusal(StatusCode::BAD_REQUEST))?;
        let token = random_text(56);
        let expires = clock::wall() + Duration::seconds(seconds);
        world.metadata.tokens().insert(token.clone(), expires);
        world.note_token(&token);
        Ok(with_header(answer(StatusCode::OK, "text/plain", token), TOKEN_TTL, &seconds.to_string()))
    })
    .await
}

async fn look_up(State(world): State<Arc<World>>, uri: Uri, headers: HeaderMap) -> Response<Body> {
    meet(&world, Operation::Metadata, form, async {
        let expires = header(&headers, TOKEN).and_then(|token| world.metadata.tokens().get(token).copied());
        if expires.is_none_or(|expires| clock::wall() >= expires) {
            return Err(refusal(StatusCode::UNAUTHORIZED));
        }
        let text = value_at(&world, uri.path().trim_end_matches('/'));
        text.map(|text| answer(StatusCode::OK, "text/plain", text))
            .ok_or_else(|| refusal(StatusCode::NOT_FOUND))
    })
    .await
}

fn value_at(world: &World, path: &str) -> Option<String> {
    let config = &world.config;
    let (region, id) = (&config.region, config.instances.first().map_or("", |instance| &instance.id));
    let role = config.instance_role.as_deref();
    match path {
        ROLES => Some(role_name(role?).to_owned()),
        "/latest/meta-data/instance-id" => Some(id.to_owned()),
        "/latest/meta-data/placement/region" => Some(region.clone()),
        "/latest/meta-data/placement/availability-zone" => Some(format!("{region}a")),
        "/latest/dynamic/instance-identity/document" => {
            let zone = format!("{region}a");
            Some(
                json!({ "accountId": config.account, "instanceId": id, "region": region, "availabilityZone": zone })
                    .to_string(),
            )
        }
        other => {
            let name = other.strip_prefix(ROLES)?.strip_prefix('/')?;
            (name == role_name(role?)).then(|| credentials(world, role?, id)).flatten().map(|mut body| {
                body["Code"] = json!("Success");
                body["Type"] = json!("AWS-HMAC");
                body["LastUpdated"] = json!(clock::stamp(clock::wall()));
                body.to_string()
            })
        }
    }
}

async fn container_credentials(State(world): State<Arc<World>>, headers: HeaderMap) -> Response<Body> {
    meet(&world, Operation::ContainerCredentials, form, async {
        if header(&headers, "authorization") != Some(&world.metadata.container_token) {
            return Err(refusal(StatusCode::FORBIDDEN));
        }
        let role = world.config.task_role.as_deref().ok_or_else(|| refusal(StatusCode::NOT_FOUND))?;
        let mut body = credentials(&world, role, "task").ok_or_else(|| refusal(StatusCode::NOT_FOUND))?;
        body["RoleArn"] = json!(role);
        Ok(answer(StatusCode::OK, "application/json", body.to_string()))
    })
    .await
}

/// Fresh keys of a role; `None`: its ARN is none.
fn credentials(world: &World, role: &str, session: &str) -> Option<Value> {
    let identity = Identity::of_role(role, session)?;
    let expires = clock::wall() + Duration::seconds(i64::from(world.sign_in.lifetimes().role_credentials_s));
    let key: AccessKey = world.issue_key(identity, expires);
    Some(json!({
        "AccessKeyId": key.id,
        "SecretAccessKey": key.secret(),
        "Token": key.session_token(),
        "Expiration": clock::stamp(expires),
    }))
}

fn role_name(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or_default()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn refusal(status: StatusCode) -> Refusal {
    Refusal::new(status, status.canonical_reason().unwrap_or_default(), "")
}

fn form(refusal: &Refusal) -> Response<Body> {
    answer(refusal.status, "text/plain", refusal.code.clone().into_owned())
}
