//! The token service: JSON over POST, unsigned. Clients tell errors by a header and never by the body.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::routing::post;
use http::{HeaderMap, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::clients::{AUTHORIZATION_CODE, Client, DEVICE_CODE, REFRESH_TOKEN, Registration};
use super::tokens::{Granted, after};
use super::{SignIn, State, portal_of, refused};
use crate::clock;
use crate::counters::Counter;
use crate::trouble::{Operation, Refusal, answer, meet, with_header};
use crate::world::World;

/// What follows the exception in the header, as seen in a log of the real service (aws-cli issue 8561).
const ORIGIN: &str = "http://internal.amazon.com/coral/com.amazonaws.sso.oidc/";

/// The exceptions with their names in OAuth; any other is a `server_error`.
const ERRORS: [(&str, &str); 12] = [
    ("AuthorizationPendingException", "authorization_pending"),
    ("SlowDownException", "slow_down"),
    ("ExpiredTokenException", "expired_token"),
    ("AccessDeniedException", "access_denied"),
    ("InvalidGrantException", "invalid_grant"),
    ("InvalidRequestException", "invalid_request"),
    ("InvalidScopeException", "invalid_scope"),
    ("InvalidClientException", "invalid_client"),
    ("UnauthorizedClientException", "unauthorized_client"),
    ("UnsupportedGrantTypeException", "unsupported_grant_type"),
    ("InvalidClientMetadataException", "invalid_client_metadata"),
    ("InvalidRedirectUriException", "invalid_redirect_uri"),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeviceRequest {
    client_id: String,
    client_secret: String,
    start_url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenRequest {
    client_id: String,
    client_secret: String,
    grant_type: String,
    #[serde(default)]
    device_code: Option<String>,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    redirect_uri: Option<String>,
    #[serde(default)]
    code_verifier: Option<String>,
    #[serde(default)]
    refresh_token: Option<String>,
}

pub(super) fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/client/register", post(register))
        .route("/device_authorization", post(start_device))
        .route("/token", post(create_token))
}

async fn register(Shared(world): Shared<Arc<World>>, body: Bytes) -> Response<Body> {
    meet(&world, Operation::RegisterClient, form, async {
        let (asked, now) = (read::<Registration>(&body)?, clock::wall());
        let mut state = world.sign_in.state();
        let expires = after(now, state.lifetimes.registration_s);
        let client = state.clients.register(asked, expires)?;
        world.note_token(&client.secret);
        Ok(granted(&json!({
            "clientId": client.id,
            "clientSecret": client.secret,
            "clientIdIssuedAt": now.unix_timestamp(),
            "clientSecretExpiresAt": client.expires.unix_timestamp(),
        })))
    })
    .await
}

async fn start_device(Shared(world): Shared<Arc<World>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    meet(&world, Operation::StartDeviceAuthorization, form, async {
        let (asked, now) = (read::<DeviceRequest>(&body)?, clock::wall());
        let mut state = world.sign_in.state();
        let State { portals, habits, lifetimes, clients, devices, .. } = &mut *state;
        let client = clients.check((&asked.client_id, &asked.client_secret), DEVICE_CODE, now)?;
        // What the service says, with no text, to a start URL of another region (aws-cli issue 5058).
        let known = portal_of(portals, &asked.start_url);
        known.ok_or_else(|| refused("InvalidRequestException", ""))?;
        let (expires, interval) = (after(now, lifetimes.device_code_s), i64::from(habits.interval_s));
        let device = devices.start(&client.id, &asked.start_url, expires, Duration::seconds(interval));
        world.note_token(&device.code);
        let page = format!("{}/device", world.base_url(&headers));
        Ok(granted(&json!({
            "deviceCode": device.code,
            "userCode": device.user_code,
            "verificationUri": page,
            "verificationUriComplete": format!("{page}?user_code={}", device.user_code),
            "expiresIn": lifetimes.device_code_s,
            "interval": interval,
        })))
    })
    .await
}

async fn create_token(Shared(world): Shared<Arc<World>>, body: Bytes) -> Response<Body> {
    let asked = match read::<TokenRequest>(&body) {
        Ok(asked) => asked,
        Err(refusal) => return form(&refusal),
    };
    let (sign_in, now) = (&world.sign_in, clock::wall);
    match asked.grant_type.as_str() {
        DEVICE_CODE => {
            let work =
                async { sign_in.by_device(&asked, now()).map(|granted| granted_login(&world, granted)) };
            meet(&world, Operation::CreateTokenByDevice, form, work).await
        }
        AUTHORIZATION_CODE => {
            let work = async { sign_in.by_code(&asked, now()).map(|granted| granted_login(&world, granted)) };
            meet(&world, Operation::CreateTokenByCode, form, work).await
        }
        REFRESH_TOKEN => refresh(&world, &asked).await,
        _ => form(&refused("UnsupportedGrantTypeException", "Unsupported grant type")),
    }
}

/// A refresh is under way from its arrival to its answer, ordered delays included.
async fn refresh(world: &World, asked: &TokenRequest) -> Response<Body> {
    let arrived = world.sign_in.refresh_arrives(asked.refresh_token.as_deref().unwrap_or_default());
    let concurrent = arrived.refresh.concurrent;
    if concurrent {
        world.counters.increment(Counter::OidcRefreshesConcurrent);
    }
    let work = async {
        let granted = world.sign_in.by_refresh(asked, concurrent, clock::wall())?;
        world.counters.increment(Counter::OidcRefreshesGranted);
        Ok(granted_token(world, granted))
    };
    meet(world, Operation::RefreshToken, form, work).await
}

impl SignIn {
    fn by_device(&self, asked: &TokenRequest, now: OffsetDateTime) -> Result<Granted, Refusal> {
        let mut state = self.state();
        let State { habits, lifetimes, clients, devices, tokens, .. } = &mut *state;
        let client = asked.client(clients, now)?;
        let start_url = devices.poll(field(asked.device_code.as_ref())?, &client.id, habits, now)?;
        Ok(tokens.log_in(client, start_url, lifetimes, now))
    }

    fn by_code(&self, asked: &TokenRequest, now: OffsetDateTime) -> Result<Granted, Refusal> {
        let mut state = self.state();
        let State { lifetimes, clients, codes, tokens, .. } = &mut *state;
        let client = asked.client(clients, now)?;
        let proof = (field(asked.redirect_uri.as_ref())?, field(asked.code_verifier.as_ref())?);
        let start_url = codes.redeem(field(asked.code.as_ref())?, &client.id, proof, now)?;
        Ok(tokens.log_in(client, start_url, lifetimes, now))
    }

    fn by_refresh(
        &self,
        asked: &TokenRequest,
        concurrent: bool,
        now: OffsetDateTime,
    ) -> Result<Granted, Refusal> {
        let mut state = self.state();
        let State { habits, lifetimes, clients, tokens, .. } = &mut *state;
        let client = asked.client(clients, now)?;
        let token = field(asked.refresh_token.as_ref())?;
        tokens.refresh(token, &client.id, concurrent, (habits, lifetimes), now)
    }
}

impl TokenRequest {
    fn client<'a>(&self, clients: &'a super::Clients, now: OffsetDateTime) -> Result<&'a Client, Refusal> {
        clients.check((&self.client_id, &self.client_secret), &self.grant_type, now)
    }
}

/// The answer to a new login.
fn granted_login(world: &World, granted: Granted) -> Response<Body> {
    world.counters.increment(Counter::Logins);
    granted_token(world, granted)
}

fn granted_token(world: &World, token: Granted) -> Response<Body> {
    world.note_token(&token.access_token);
    let mut body = json!({
        "accessToken": token.access_token,
        "tokenType": "Bearer",
        "expiresIn": token.expires_in,
    });
    if let Some(refresh_token) = token.refresh_token {
        world.note_token(&refresh_token);
        body["refreshToken"] = Value::String(refresh_token);
    }
    granted(&body)
}

fn granted(body: &Value) -> Response<Body> {
    answer(StatusCode::OK, "application/json", body.to_string())
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|_| refused("InvalidRequestException", "Invalid request"))
}

fn field(value: Option<&String>) -> Result<&str, Refusal> {
    value.map(String::as_str).ok_or_else(|| refused("InvalidRequestException", "A parameter is missing"))
}

/// A refusal as this service has it.
fn form(refusal: &Refusal) -> Response<Body> {
    let known = ERRORS.iter().find(|(exception, _)| *exception == refusal.code);
    let error = known.map_or("server_error", |(_, error)| error);
    let body = json!({ "error": error, "error_description": refusal.message });
    let response = answer(refusal.status, "application/json", body.to_string());
    with_header(response, "x-amzn-errortype", &format!("{}:{ORIGIN}", refusal.code))
}
