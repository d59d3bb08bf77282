//! What a browser meets: the authorization endpoint, which sends it back to the client, and the page for device codes.
//! The user is there at once and does what [`crate::Consent`] says.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State as Shared};
use axum::routing::get;
use http::{Response, StatusCode};
use tokio::sync::watch;
use url::{Url, form_urlencoded};

use super::clients::AUTHORIZATION_CODE;
use super::config::Consent;
use super::grants::Bound;
use super::tokens::after;
use super::{SignIn, State, portal_of, refused};
use crate::clock;
use crate::counters::Counter;
use crate::trouble::{Operation, Refusal, answer, meet, with_header};
use crate::world::World;

/// Characters of a SHA-256 in base64url.
const CHALLENGE_LENGTH: usize = 43;

type Query = BTreeMap<String, String>;

pub(super) fn router() -> Router<Arc<World>> {
    Router::new().route("/authorize", get(authorize)).route("/device", get(verify_device))
}

async fn authorize(Shared(world): Shared<Arc<World>>, RawQuery(query): RawQuery) -> Response<Body> {
    // Taken before it is counted: whoever saw the count can order a decision.
    let decisions = world.sign_in.decisions();
    world.counters.increment(Counter::BrowserOpenings);
    let work = async {
        let query = parsed(query);
        let back = world.sign_in.way_back(&query)?;
        let outcome = match world.sign_in.start_url_of(&query) {
            Ok(start_url) => {
                world.sign_in.consent(decisions).await.then_some(start_url).ok_or("access_denied")
            }
            Err(error) => Err(error),
        };
        let outcome = outcome.map(|start_url| world.sign_in.issue_code(&query, start_url));
        if let Ok(code) = &outcome {
            world.note_token(code);
        }
        Ok(redirect(back, &outcome, query.get("state")))
    };
    meet(&world, Operation::Authorize, form, work).await
}

async fn verify_device(Shared(world): Shared<Arc<World>>, RawQuery(query): RawQuery) -> Response<Body> {
    world.counters.increment(Counter::BrowserOpenings);
    let work = async {
        let query = parsed(query);
        let Some(user_code) = query.get("user_code") else { return Ok(page("Enter the code.")) };
        Ok(page(world.sign_in.visit(user_code)))
    };
    meet(&world, Operation::VerifyDevice, form, work).await
}

impl SignIn {
    /// Where the browser is to be sent back to. Without a known client and its own address it is sent nowhere: the user
    /// sees an error page, and the client hears nothing.
    fn way_back(&self, query: &Query) -> Result<Url, Refusal> {
        let state = self.state();
        let field = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
        let client = state.clients.find(field("client_id"), clock::wall());
        let client = client.ok_or_else(|| refused("InvalidClientException", "The client is not known"))?;
        if !client.may_redirect(field("redirect_uri")) {
            return Err(refused("InvalidRedirectUriException", "The redirect URI is not the registered one"));
        }
        Url::parse(field("redirect_uri")).map_err(|_| refused("InvalidRedirectUriException", "No URI"))
    }

    /// The start URL of the login that is asked for, or the error that the client is told.
    fn start_url_of(&self, query: &Query) -> Result<String, &'static str> {
        let state = self.state();
        let field = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
        let client = state.clients.find(field("client_id"), clock::wall()).ok_or("unauthorized_client")?;
        if field("response_type") != "code" {
            return Err("unsupported_response_type");
        }
        if !client.may(AUTHORIZATION_CODE) {
            return Err("unauthorized_client");
        }
        let challenge = field("code_challenge");
        let hash = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let is_hash = challenge.len() == CHALLENGE_LENGTH && challenge.bytes().all(hash);
        if field("code_challenge_method") != "S256" || !is_hash {
            return Err("invalid_request");
        }
        // AWS CLI names it in the plural, other tools as OAuth does.
        let scopes = field("scopes").split(' ').chain(field("scope").split(' '));
        if scopes.filter(|scope| !scope.is_empty()).any(|scope| !client.scopes.iter().any(|has| has == scope))
        {
            return Err("invalid_scope");
        }
        let start_url = client.issuer.as_deref().unwrap_or_default();
        // What users report of a start URL of another region (aws-cli issue 5058).
        portal_of(&state.portals, start_url).map(|_| start_url.to_owned()).ok_or("invalid_grant")
    }

    fn issue_code(&self, query: &Query, start_url: String) -> String {
        let field = |name: &str| query.get(name).cloned().unwrap_or_default();
        let bound = Bound {
            client: field("client_id"),
            redirect_uri: field("redirect_uri"),
            challenge: field("code_challenge"),
            start_url,
        };
        let mut state = self.state();
        let expires = after(clock::wall(), state.lifetimes.authorization_code_s);
        state.codes.issue(bound, expires)
    }

    /// Whether the user agrees, now or when that is ordered.
    async fn consent(&self, mut decisions: watch::Receiver<bool>) -> bool {
        let consent = self.state().habits.consent;
        match consent {
            Consent::Agrees => true,
            Consent::Refuses => false,
            Consent::Waits => decisions.changed().await.is_ok() && *decisions.borrow(),
        }
    }

    /// What the page says to a user with this code.
    fn visit(&self, user_code: &str) -> &'static str {
        let mut state = self.state();
        let State { habits, devices, .. } = &mut *state;
        let agree = match habits.consent {
            Consent::Waits => return "Confirm the code that your device shows.",
            Consent::Agrees => true,
            Consent::Refuses => false,
        };
        match (devices.decide(Some(user_code), agree, clock::wall()), agree) {
            (false, _) => "The code is not known, or it has expired.",
            (true, true) => "You are signed in. You can close this window.",
            (true, false) => "You refused. You can close this window.",
        }
    }
}

fn redirect(mut back: Url, outcome: &Result<String, &'static str>, state: Option<&String>) -> Response<Body> {
    let said = match outcome {
        Ok(code) => ("code", code.as_str()),
        Err(error) => ("error", *error),
    };
    let state = state.map(|state| ("state", state.as_str()));
    back.query_pairs_mut().extend_pairs([Some(said), state].into_iter().flatten());
    with_header(answer(StatusCode::FOUND, "text/html", ""), "location", back.as_str())
}

fn parsed(query: Option<String>) -> Query {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect()
}

/// A page of constant text: nothing of the request is repeated in it.
fn page(text: &'static str) -> Response<Body> {
    answer(StatusCode::OK, "text/html", format!("<!doctype html><title>Sign in</title><p>{text}</p>"))
}

fn form(refusal: &Refusal) -> Response<Body> {
    answer(refusal.status, "text/plain", format!("{}: {}", refusal.code, refusal.message))
}
