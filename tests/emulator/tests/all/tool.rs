//! A tool that signs in, written from the descriptions of the API.

use aws_emulator::Emulator;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::{Url, form_urlencoded};

use crate::http::{Reply, get, post, send};

pub(crate) const START_URL: &str = "https://d-1234567890.awsapps.com/start";
pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const CALLBACK: &str = "http://127.0.0.1:4711/oauth/callback";
pub(crate) const VERIFIER: &str = "a-verifier-of-64-characters-0123456789-0123456789-0123456789-012";

const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A registered client of one emulator.
pub(crate) struct Tool<'a> {
    emulator: &'a Emulator,
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// What RegisterClient is asked for the browser's flow.
pub(crate) fn browser_registration() -> Value {
    json!({
        "clientName": "tool", "clientType": "public", "scopes": ["sso:account:access"],
        "grantTypes": ["authorization_code", "refresh_token"],
        "redirectUris": ["http://127.0.0.1/oauth/callback"], "issuerUrl": START_URL,
    })
}

impl<'a> Tool<'a> {
    pub(crate) async fn registered(emulator: &'a Emulator, registration: &Value) -> Self {
        let reply = post(&format!("{}/client/register", emulator.api_url()), registration).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let answer = reply.json();
        Self { emulator, id: text(&answer, "clientId"), secret: text(&answer, "clientSecret") }
    }

    /// For device codes.
    pub(crate) async fn of_device(emulator: &'a Emulator) -> Self {
        let scopes = json!(["sso:account:access"]);
        Self::registered(emulator, &json!({ "clientName": "tool", "clientType": "public", "scopes": scopes }))
            .await
    }

    /// For a browser.
    pub(crate) async fn of_browser(emulator: &'a Emulator) -> Self {
        Self::registered(emulator, &browser_registration()).await
    }

    async fn ask(&self, path: &str, more: Value) -> Reply {
        let mut body = json!({ "clientId": self.id, "clientSecret": self.secret });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        post(&format!("{}{path}", self.emulator.api_url()), &body).await
    }

    pub(crate) async fn start_device(&self, start_url: &str) -> Reply {
        self.ask("/device_authorization", json!({ "startUrl": start_url })).await
    }

    pub(crate) async fn poll(&self, device: &Value) -> Reply {
        self.ask("/token", json!({ "grantType": DEVICE_GRANT, "deviceCode": device["deviceCode"] })).await
    }

    pub(crate) async fn redeem(&self, code: &str, callback: &str, verifier: &str) -> Reply {
        let (grant, code) = ("authorization_code", code.to_owned());
        let body =
            json!({ "grantType": grant, "code": code, "redirectUri": callback, "codeVerifier": verifier });
        self.ask("/token", body).await
    }

    pub(crate) async fn refresh(&self, token: &str) -> Reply {
        self.ask("/token", json!({ "grantType": "refresh_token", "refreshToken": token })).await
    }

    /// A login with a device code to which the user agrees.
    pub(crate) async fn log_in(&self) -> Value {
        let device = self.start_device(START_URL).await.json();
        get(device["verificationUriComplete"].as_str().unwrap()).await;
        let reply = self.poll(&device).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    }

    /// The page that a browser opens, with some parameters changed; an empty value leaves the parameter out.
    pub(crate) fn page(&self, changes: &[(&str, &str)]) -> String {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let usual = [
            ("response_type", "code"),
            ("client_id", &self.id),
            ("redirect_uri", CALLBACK),
            ("state", "a+b/c"),
            ("code_challenge_method", "S256"),
            ("scopes", "sso:account:access"),
            ("code_challenge", &challenge),
        ];
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in usual {
            let value =
                changes.iter().find(|(changed, _)| *changed == name).map_or(value, |(_, value)| value);
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        format!("{}/authorize?{}", self.emulator.api_url(), query.finish())
    }

    /// A call of the portal.
    pub(crate) async fn portal(&self, method: &str, path: &str, token: &Value) -> Reply {
        let url = format!("{}{path}", self.emulator.api_url());
        send((method, &url), &[("x-amz-sso_bearer_token", token.as_str().unwrap())], "").await
    }
}

/// The parameters with which a browser is sent back.
pub(crate) fn sent_back(reply: &Reply) -> Vec<(String, String)> {
    assert_eq!(reply.status, 302, "{reply:?}");
    let location = reply.header("location").unwrap();
    assert!(location.starts_with(CALLBACK), "{location}");
    Url::parse(location).unwrap().query_pairs().into_owned().collect()
}

/// A field of a JSON object that is a text.
pub(crate) fn text(object: &Value, field: &str) -> String {
    object[field].as_str().unwrap_or_else(|| panic!("no {field} in {object}")).to_owned()
}
