//! The Session Manager API: JSON 1.1 over POST, the operation in a header, errors with AWS's names and wording. And parts of
//! the APIs of EC2, ECS and STS, and sign-in, at the same address.

mod ec2;
mod ecs;
mod error;
mod operations;
mod sts;
mod xml;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use http::{HeaderValue, Response, StatusCode};
use uuid::Uuid;

use self::error::ApiError;
use crate::clock;
use crate::counters::Counter;
use crate::sign_in;
use crate::sigv4::{self, Received, Rejection, Scope, Signer};
use crate::world::{World, take_one};

/// No call of this service is larger.
const MAX_BODY: usize = 1 << 20;
const JSON: &str = "application/x-amz-json-1.1";

/// The services at this one address. What a call is for shows in its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Ssm,
    Ec2,
    Ecs,
}

pub(crate) fn router(world: Arc<World>) -> Router {
    sign_in::router().fallback(answer).with_state(world)
}

async fn answer(State(world): State<Arc<World>>, request: Request) -> Response<Body> {
    world.counters.increment(Counter::ApiCalls);
    let (parts, body) = request.into_parts();
    let service = Service::of(&parts);
    let answer = match to_bytes(body, MAX_BODY).await {
        Ok(body) if service == Service::Ec2 && sts::is_meant(&body) => {
            return sts::call(&world, &parts, &body).await;
        }
        Ok(body) => call(&world, service, &parts, &body),
        Err(error) => Err(ApiError::invalid(format!("the body cannot be read: {error}"))),
    };
    if let Err(error) = &answer {
        tracing::info!(code = error.code, message = error.message, "call refused");
    }
    let (status, body) = match (answer, service) {
        (Ok(body), _) => (StatusCode::OK, body),
        (Err(error), Service::Ssm | Service::Ecs) => (error.status, error.body().to_string()),
        (Err(error), Service::Ec2) => ec2::error(&error),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_static(service.content_type()));
    if let Ok(id) = HeaderValue::from_str(&Uuid::new_v4().to_string()) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

impl Service {
    fn of(parts: &http::request::Parts) -> Self {
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        if header("content-type").is_some_and(|form| form.starts_with("application/x-www-form-urlencoded")) {
            Self::Ec2
        } else if header("x-amz-target").is_some_and(|target| target.starts_with(ecs::PREFIX)) {
            Self::Ecs
        } else {
            Self::Ssm
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ssm => "ssm",
            Self::Ec2 => "ec2",
            Self::Ecs => "ecs",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Ssm | Self::Ecs => JSON,
            Self::Ec2 => xml::CONTENT_TYPE,
        }
    }
}

/// The checks every call goes through, in the service's order: who, how often, what.
fn call(
    world: &Arc<World>,
    service: Service,
    parts: &http::request::Parts,
    body: &[u8],
) -> Result<String, ApiError> {
    let Signer { key_id, region } =
        check_signature(world, service.name(), parts, body).map_err(|why| ApiError::rejected(&why))?;
    if take_one(&mut world.plan().throttle) {
        world.counters.increment(Counter::InjectedThrottles);
        return Err(ApiError::throttled());
    }
    let target = parts.headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let answer = match service {
        Service::Ssm => operations::dispatch(world, target, &region, body).map(|body| body.to_string()),
        Service::Ec2 => ec2::dispatch(world, &region, body),
        Service::Ecs => ecs::dispatch(world, target, &region, body).map(|body| body.to_string()),
    };
    answer.map_err(|error| error.said_to(&world.identity(&key_id).arn))
}

/// Who calls, and the region that the call is for. A refusal is counted.
fn check_signature(
    world: &World,
    service: &str,
    parts: &http::request::Parts,
    body: &[u8],
) -> Result<Signer, Rejection> {
    let received = Received {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        headers: &parts.headers,
        body,
    };
    let scope = Scope { region: None, service };
    sigv4::verify(&received, &world.keyring, scope, clock::wall()).inspect_err(|why| {
        let counter = if *why == Rejection::Expired { Counter::ApiExpired } else { Counter::ApiBadSignature };
        world.counters.increment(counter);
    })
}
