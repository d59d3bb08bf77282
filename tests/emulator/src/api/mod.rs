//! The Session Manager API: JSON 1.1 over POST, the operation in a header, errors with AWS's names and wording. And parts
//! of the APIs of EC2 and STS, at the same address.

mod ec2;
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
use crate::sigv4::{self, Received, Rejection, Scope};
use crate::world::{World, take_one};

/// No call of this service is larger.
const MAX_BODY: usize = 1 << 20;
const JSON: &str = "application/x-amz-json-1.1";

/// The services at this one address. What a call is for shows in its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Ssm,
    Ec2,
    Sts,
}

pub(crate) fn router(world: Arc<World>) -> Router {
    Router::new().fallback(answer).with_state(world)
}

async fn answer(State(world): State<Arc<World>>, request: Request) -> Response<Body> {
    world.counters.increment(Counter::ApiCalls);
    let (parts, body) = request.into_parts();
    let (service, answer) = match to_bytes(body, MAX_BODY).await {
        Ok(body) => {
            let service = Service::of(&parts, &body);
            (service, call(&world, service, &parts, &body))
        }
        Err(error) => (Service::Ssm, Err(ApiError::invalid(format!("the body cannot be read: {error}")))),
    };
    if let Err(error) = &answer {
        tracing::info!(code = error.code, message = error.message, "call refused");
    }
    let (status, body) = match (answer, service) {
        (Ok(body), _) => (StatusCode::OK, body),
        (Err(error), Service::Ssm) => (error.status, error.body().to_string()),
        (Err(error), Service::Ec2) => ec2::error(&error),
        (Err(error), Service::Sts) => sts::error(&error),
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
    fn of(parts: &http::request::Parts, body: &[u8]) -> Self {
        let form = parts.headers.get("content-type").and_then(|value| value.to_str().ok());
        let query = form.is_some_and(|form| form.starts_with("application/x-www-form-urlencoded"));
        match query {
            false => Self::Ssm,
            true if sts::is_meant(body) => Self::Sts,
            true => Self::Ec2,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ssm => "ssm",
            Self::Ec2 => "ec2",
            Self::Sts => "sts",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Ssm => JSON,
            Self::Ec2 | Self::Sts => xml::CONTENT_TYPE,
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
    let region = check_signature(world, service, parts, body)?;
    // The rates of Session Manager and EC2 are not those of STS.
    if service != Service::Sts && take_one(&mut world.plan().throttle) {
        world.counters.increment(Counter::InjectedThrottles);
        return Err(ApiError::throttled());
    }
    let target = parts.headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    match service {
        Service::Ssm => operations::dispatch(world, target, &region, body).map(|body| body.to_string()),
        Service::Ec2 => ec2::dispatch(world, &region, body),
        Service::Sts => sts::dispatch(world, body),
    }
}

/// The region that the call is for.
fn check_signature(
    world: &World,
    service: Service,
    parts: &http::request::Parts,
    body: &[u8],
) -> Result<String, ApiError> {
    let received = Received {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        headers: &parts.headers,
        body,
    };
    let scope = Scope { region: None, service: service.name() };
    sigv4::verify(&received, &world.keyring, scope, clock::wall()).map_err(|why| {
        let counter = if why == Rejection::Expired { Counter::ApiExpired } else { Counter::ApiBadSignature };
        world.counters.increment(counter);
        ApiError::rejected(&why)
    })
}
