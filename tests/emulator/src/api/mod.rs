//! The Session Manager API: JSON 1.1 over POST, the operation in a header, errors with AWS's names and wording.

mod error;
mod operations;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use http::{HeaderValue, Response, StatusCode};
use serde_json::Value;
use uuid::Uuid;

use self::error::ApiError;
use crate::clock;
use crate::counters::Counter;
use crate::sigv4::{self, Received, Rejection, Scope};
use crate::world::{World, take_one};

/// No call of this service is larger.
const MAX_BODY: usize = 1 << 20;
const SERVICE: &str = "ssm";
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");

pub(crate) fn router(world: Arc<World>) -> Router {
    Router::new().fallback(answer).with_state(world)
}

async fn answer(State(world): State<Arc<World>>, request: Request) -> Response<Body> {
    world.counters.increment(Counter::ApiCalls);
    let (parts, body) = request.into_parts();
    let answer = match to_bytes(body, MAX_BODY).await {
        Ok(body) => call(&world, &parts, &body),
        Err(error) => Err(ApiError::invalid(format!("the body cannot be read: {error}"))),
    };
    let (status, body) = match answer {
        Ok(body) => (StatusCode::OK, body),
        Err(error) => {
            tracing::info!(code = error.code, message = error.message, "call refused");
            (error.status, error.body())
        }
    };
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", CONTENT_TYPE);
    if let Ok(id) = HeaderValue::from_str(&Uuid::new_v4().to_string()) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

/// The checks every call goes through, in the service's order: who, how often, what.
fn call(world: &Arc<World>, parts: &http::request::Parts, body: &[u8]) -> Result<Value, ApiError> {
    let region = check_signature(world, parts, body)?;
    if take_one(&mut world.plan().throttle) {
        world.counters.increment(Counter::InjectedThrottles);
        return Err(ApiError::throttled());
    }
    let target = parts.headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    operations::dispatch(world, target, &region, body)
}

/// The region that the call is for.
fn check_signature(world: &World, parts: &http::request::Parts, body: &[u8]) -> Result<String, ApiError> {
    let received = Received {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        headers: &parts.headers,
        body,
    };
    sigv4::verify(&received, &world.keyring, Scope { region: None, service: SERVICE }, clock::wall()).map_err(
        |why| {
            let counter =
                if why == Rejection::Expired { Counter::ApiExpired } else { Counter::ApiBadSignature };
            world.counters.increment(counter);
            ApiError::rejected(&why)
        },
    )
}
