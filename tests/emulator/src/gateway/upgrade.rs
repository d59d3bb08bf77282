//! Whether a WebSocket upgrade is granted.

use std::sync::Arc;

use http::{Response, StatusCode};
use percent_encoding::percent_decode_str;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request};

use crate::clock;
use crate::counters::Counter;
use crate::gateway::session::Session;
use crate::sigv4::{self, Received, Rejection, Scope};
use crate::world::{World, take_one};

const PATH: &str = "/v1/data-channel/";
const SERVICE: &str = "ssmmessages";

/// An upgrade that is not granted.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    text: String,
}

impl From<Refusal> for ErrorResponse {
    fn from(refusal: Refusal) -> Self {
        let mut response = Response::new(Some(refusal.text));
        *response.status_mut() = refusal.status;
        response
    }
}

/// The session that the upgrade is for, or the answer that refuses it. Counted either way.
pub(crate) fn check(world: &World, request: &Request) -> Result<Arc<Session>, Refusal> {
    let answer = refused_on_order(world).and_then(|()| session_of(world, request));
    world.counters.increment(if answer.is_ok() { Counter::Upgrades } else { Counter::UpgradesRefused });
    answer
}

fn refused_on_order(world: &World) -> Result<(), Refusal> {
    let status = {
        let mut plan = world.plan();
        let status = plan.refuse_upgrades.0;
        take_one(&mut plan.refuse_upgrades.1).then_some(status)
    };
    let Some(status) = status else { return Ok(()) };
    world.counters.increment(Counter::InjectedUpgradeRefusals);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    Err(refusal(status, "refused on order"))
}

fn session_of(world: &World, request: &Request) -> Result<Arc<Session>, Refusal> {
    let uri = request.uri();
    let id = uri.path().strip_prefix(PATH).ok_or_else(|| refusal(StatusCode::NOT_FOUND, "no such path"))?;
    let id = percent_decode_str(id).decode_utf8_lossy();
    let session = world.session(&id).ok_or_else(|| refusal(StatusCode::NOT_FOUND, "no such session"))?;
    check_signature(world, request, &session.request.region)?;
    if world.denies("ssmmessages:OpenDataChannel") {
        return Err(refusal(StatusCode::FORBIDDEN, "not authorized to perform: ssmmessages:OpenDataChannel"));
    }
    if session.is_over() {
        return Err(refusal(StatusCode::NOT_FOUND, "the session is over"));
    }
    if uri.query() != Some(&query(&session.grant().cell_number)) {
        return Err(refusal(
            StatusCode::BAD_REQUEST,
            "the query is not the latest StreamUrl's, byte for byte",
        ));
    }
    Ok(session)
}

/// The query of a stream URL, with the characters that clients like to re-encode.
pub(crate) fn query(cell_number: &str) -> String {
    format!("role=publish_subscribe&cell-number={cell_number}")
}

/// The path of a stream URL.
pub(crate) fn path(session_id: &str) -> String {
    format!("{PATH}{session_id}")
}

fn check_signature(world: &World, request: &Request, region: &str) -> Result<(), Refusal> {
    let received = Received {
        method: request.method().as_str(),
        path: request.uri().path(),
        query: request.uri().query().unwrap_or_default(),
        headers: request.headers(),
        body: b"",
    };
    let scope = Scope { region: Some(region), service: SERVICE };
    match sigv4::verify(&received, &world.keyring, scope, clock::wall()) {
        Ok(_) => Ok(()),
        Err(Rejection::Missing) if !world.config.require_signature => Ok(()),
        Err(rejection) => {
            tracing::info!(?rejection, "upgrade refused");
            Err(refusal(StatusCode::FORBIDDEN, &format!("signature: {rejection:?}")))
        }
    }
}

fn refusal(status: StatusCode, text: &str) -> Refusal {
    Refusal { status, text: text.to_owned() }
}
