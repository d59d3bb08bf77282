//! The portal: what the user may use, and credentials for it. JSON, unsigned; an access token says who asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State as Shared};
use axum::routing::{get, post};
use http::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::config::{Account, Portal};
use super::tokens::after;
use super::{portal_of, refused};
use crate::clock;
use crate::credentials::Identity;
use crate::trouble::{Operation, Refusal, answer, meet, with_header};
use crate::world::World;

const BEARER: &str = "x-amz-sso_bearer_token";
/// Where the exceptions come from, as a real answer has it (aws-sso-cli issue 279).
const ORIGIN: &str = "com.amazonaws.switchboard.portal";
/// Entries of a page when the caller names no number, and at most.
const PAGE: usize = 20;
const MAX_PAGE: usize = 100;

type Query = BTreeMap<String, String>;

pub(super) fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/federation/credentials", get(role_credentials))
        .route("/assignment/accounts", get(list_accounts))
        .route("/assignment/roles", get(list_roles))
        .route("/logout", post(log_out))
}

async fn role_credentials(
    Shared(world): Shared<Arc<World>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response<Body> {
    meet(&world, Operation::GetRoleCredentials, form, async {
        let (portal, query) = (portal(&world, &headers)?, parsed(query));
        let (account, role) = (required(&query, "account_id")?, required(&query, "role_name")?);
        let assigned =
            portal.accounts.iter().any(|of| of.id == account && of.roles.iter().any(|r| r == role));
        if !assigned || world.denies("sso:GetRoleCredentials") {
            return Err(Refusal::new(StatusCode::FORBIDDEN, "ForbiddenException", "No access"));
        }
        let expires = after(clock::wall(), world.sign_in.lifetimes().role_credentials_s);
        let key = world.issue_key(Identity::of(portal.principal(account, role)), expires);
        Ok(told(&json!({ "roleCredentials": {
            "accessKeyId": key.id,
            "secretAccessKey": key.secret(),
            "sessionToken": key.session_token(),
            "expiration": expires.unix_timestamp() * 1000,
        }})))
    })
    .await
}

async fn list_accounts(
    Shared(world): Shared<Arc<World>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response<Body> {
    meet(&world, Operation::ListAccounts, form, async {
        let (portal, query) = (portal(&world, &headers)?, parsed(query));
        let entry = |account: &Account| {
            let mut entry = json!({ "accountId": account.id });
            if let Some(name) = &account.name {
                entry["accountName"] = json!(name);
            }
            entry
        };
        paged("accountList", &portal.accounts.iter().map(entry).collect::<Vec<_>>(), &query)
    })
    .await
}

async fn list_roles(
    Shared(world): Shared<Arc<World>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response<Body> {
    meet(&world, Operation::ListAccountRoles, form, async {
        let (portal, query) = (portal(&world, &headers)?, parsed(query));
        let id = required(&query, "account_id")?;
        let account = portal.accounts.iter().find(|account| account.id == id);
        let account =
            account.ok_or_else(|| Refusal::new(StatusCode::FORBIDDEN, "ForbiddenException", "No access"))?;
        let entry = |role: &String| json!({ "roleName": role, "accountId": id });
        paged("roleList", &account.roles.iter().map(entry).collect::<Vec<_>>(), &query)
    })
    .await
}

async fn log_out(Shared(world): Shared<Arc<World>>, headers: HeaderMap) -> Response<Body> {
    meet(&world, Operation::Logout, form, async {
        portal(&world, &headers)?;
        world.sign_in.state().tokens.log_out(bearer(&headers), clock::wall());
        Ok(answer(StatusCode::OK, "application/json", ""))
    })
    .await
}

/// The portal that the access token is for.
fn portal(world: &World, headers: &HeaderMap) -> Result<Portal, Refusal> {
    let state = world.sign_in.state();
    let start_url = state.tokens.bearer(bearer(headers), clock::wall());
    start_url.and_then(|start_url| portal_of(&state.portals, start_url)).cloned().ok_or_else(|| {
        let (status, code) = (StatusCode::UNAUTHORIZED, "UnauthorizedException");
        Refusal::new(status, code, "Session token not found or invalid")
    })
}

fn bearer(headers: &HeaderMap) -> &str {
    headers.get(BEARER).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn parsed(query: Option<String>) -> Query {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect()
}

fn required<'a>(query: &'a Query, name: &str) -> Result<&'a str, Refusal> {
    query.get(name).map(String::as_str).ok_or_else(|| refused("InvalidRequestException", name))
}

fn paged(name: &str, entries: &[Value], query: &Query) -> Result<Response<Body>, Refusal> {
    let number = |name: &str, default: usize| match query.get(name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| refused("InvalidRequestException", name)),
    };
    let (skip, size) = (number("next_token", 0)?, number("max_result", PAGE)?);
    if size == 0 || size > MAX_PAGE {
        return Err(refused("InvalidRequestException", "max_result must be 1 to 100"));
    }
    let mut body = json!({ name: entries.iter().skip(skip).take(size).collect::<Vec<_>>() });
    if skip + size < entries.len() {
        body["nextToken"] = json!((skip + size).to_string());
    }
    Ok(told(&body))
}

fn told(body: &Value) -> Response<Body> {
    answer(StatusCode::OK, "application/json", body.to_string())
}

/// A refusal as this service has it.
fn form(refusal: &Refusal) -> Response<Body> {
    let body = json!({ "message": refusal.message, "__type": format!("{ORIGIN}#{}", refusal.code) });
    let response = answer(refusal.status, "application/json", body.to_string());
    let kind = format!("{}:http://internal.amazon.com/coral/{ORIGIN}/", refusal.code);
    with_header(response, "x-amzn-errortype", &kind)
}
