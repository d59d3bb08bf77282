//! SSO-OIDC and the access portal, against answers from a script.

mod emulator;
mod errors;
mod portal;

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use stormtunnel_aws::{AwsEnvironment, AwsNetwork, AwsOidc, AwsPortal};
use stormtunnel_engine::sign_in::classify::{ServiceError, SsoError};
use stormtunnel_engine::sign_in::flow::LoginFlow;
use stormtunnel_engine::sign_in::ports::{AuthorizationCode, Grant, OidcApi as _, SignInSite};
use stormtunnel_engine::sign_in::token::{IssuedToken, OidcClient, RefreshGrant, SsoToken};
use stormtunnel_model::settings::Settings;
use stormtunnel_model::{FaultKind, Timestamp};
use tokio::sync::watch;

use super::{Server, SystemClock};

pub(crate) const START_URL: &str = "https://d-1234567890.awsapps.com/start";

/// Both adapters, pointed at one server.
struct Desk {
    server: Server,
    settings: watch::Sender<Arc<Settings>>,
    oidc: AwsOidc,
    portal: AwsPortal,
}

impl Desk {
    async fn new() -> Self {
        let server = Server::start().await;
        let settings = watch::Sender::new(Arc::new(pointing_at(&server.url)));
        let network = network(&settings, AwsEnvironment::default());
        let (oidc, portal) = (AwsOidc::new(Arc::clone(&network)), AwsPortal::new(network));
        Self { server, settings, oidc, portal }
    }

    async fn refresh(&self) -> Result<IssuedToken, SsoError> {
        self.oidc.create_token(&site(START_URL), Grant::Refresh(&refresh_grant())).await
    }

    async fn refused(&self) -> SsoError {
        self.refresh().await.map(|_| ()).expect_err("the call should fail")
    }

    /// The one request that was sent: its head and its body.
    fn sent(&self) -> (String, Value) {
        let mut requests = self.server.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        let request = requests.remove(0);
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), serde_json::from_str(body).unwrap_or_default())
    }
}

pub(crate) fn network(
    settings: &watch::Sender<Arc<Settings>>,
    environment: AwsEnvironment,
) -> Arc<AwsNetwork> {
    AwsNetwork::new(settings.subscribe(), environment, Arc::new(SystemClock))
}

/// Settings with everything of sign-ins at one place.
pub(crate) fn pointing_at(url: &str) -> Settings {
    let url = || Some(url.to_owned());
    Settings { endpoint_sso: url(), endpoint_sso_oidc: url(), endpoint_sts: url(), ..Settings::default() }
}

pub(crate) fn site(start_url: &str) -> SignInSite {
    SignInSite {
        name: "corp".parse().unwrap(),
        start_url: start_url.to_owned(),
        region: "eu-west-1".parse().unwrap(),
        scopes: Vec::new(),
    }
}

fn client() -> OidcClient {
    let expires_at = Timestamp::from_millis(4_102_444_800_000);
    OidcClient { id: "client-1".to_owned(), secret: "CANARYclient".into(), expires_at }
}

pub(crate) fn refresh_grant() -> RefreshGrant {
    RefreshGrant { token: "CANARYrefresh".into(), client: Arc::new(client()) }
}

pub(crate) fn token() -> SsoToken {
    SsoToken { access: "CANARYaccess".into(), expires_at: Timestamp::from_millis(u64::MAX), refresh: None }
}

#[tokio::test]
async fn a_client_is_registered_for_the_way_that_is_taken_and_for_no_other() {
    let desk = Desk::new().await;
    let registered = json!({
        "clientId": "id", "clientSecret": "CANARYnew", "clientIdIssuedAt": 1, "clientSecretExpiresAt": 4_102_444_800_u64,
    });
    let plain = json!({ "clientName": "StormTunnel", "clientType": "public" });
    let with = |more: Value| {
        let mut body = plain.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let browser = |scopes: &[&str]| {
        with(json!({
            "scopes": scopes, "grantTypes": ["authorization_code", "refresh_token"],
            "redirectUris": ["http://127.0.0.1/oauth/callback"], "issuerUrl": START_URL,
        }))
    };
    for (flow, scopes, body) in [
        (LoginFlow::DeviceCode, vec![], plain.clone()),
        (LoginFlow::DeviceCode, vec!["a:b"], with(json!({ "scopes": ["a:b"] }))),
        (LoginFlow::AuthorizationCode, vec![], browser(&["sso:account:access"])),
        (LoginFlow::AuthorizationCode, vec!["a:b", "c:d"], browser(&["a:b", "c:d"])),
    ] {
        desk.server.answer(200, &registered.to_string());
        let scopes = scopes.into_iter().map(str::to_owned).collect();
        let site = SignInSite { scopes, ..site("https://d-1234567890.awsapps.com/start/#") };
        let client = desk.oidc.register(&site, flow).await.unwrap();
        assert_eq!((client.id.as_str(), client.secret.expose_secret()), ("id", "CANARYnew"));
        assert_eq!(client.expires_at, Timestamp::from_millis(4_102_444_800_000));
        let (head, sent) = desk.sent();
        assert!(head.starts_with("POST /client/register "), "{head}");
        assert!(!head.to_lowercase().contains("authorization"), "{head}");
        assert_eq!(sent, body, "{flow:?}");
    }
}

#[tokio::test]
async fn a_device_login_begins_at_the_start_url_as_aws_knows_it() {
    let desk = Desk::new().await;
    let page = "https://device.sso.eu-west-1.amazonaws.com/";
    let answer = json!({
        "deviceCode": "CANARYdevice", "userCode": "ABCD-EFGH", "verificationUri": page,
        "verificationUriComplete": format!("{page}?user_code=ABCD-EFGH"), "expiresIn": 600, "interval": 1,
    });
    desk.server.answer(200, &answer.to_string());
    let site = site("HTTPS://D-1234567890.awsapps.com/start/");
    let login = desk.oidc.start_device(&site, &client()).await.unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!((login.device_code.expose_secret(), login.user_code.as_str()), ("CANARYdevice", "ABCD-EFGH"));
    assert_eq!((login.url.as_str(), login.complete_url), (page, Some(format!("{page}?user_code=ABCD-EFGH"))));
    assert_eq!((login.expires_in, login.interval), (Duration::from_secs(600), Duration::from_secs(1)));
    let (head, sent) = desk.sent();
    assert!(head.starts_with("POST /device_authorization "), "{head}");
    let asked = json!({ "clientId": "client-1", "clientSecret": "CANARYclient", "startUrl": START_URL });
    assert_eq!(sent, asked);

    let usual = json!({ "deviceCode": "d", "userCode": "u", "verificationUri": page, "expiresIn": 600 });
    desk.server.answer(200, &usual.to_string());
    let login = desk.oidc.start_device(&site, &client()).await.unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!((login.interval, login.complete_url), (Duration::from_secs(5), None));
}

#[tokio::test]
async fn a_page_that_no_browser_should_open_is_no_answer_of_aws() {
    let desk = Desk::new().await;
    for (url, user_code) in [
        ("http://device.example/", "ABCD"),
        ("file:///etc/passwd", "ABCD"),
        ("https://device.example/\u{1b}[2J", "ABCD"),
        ("https://device.example/", "AB\nCD"),
        ("https://device.example/", ""),
    ] {
        let answer =
            json!({ "deviceCode": "d", "userCode": user_code, "verificationUri": url, "expiresIn": 600 });
        desk.server.answer(200, &answer.to_string());
        let outcome = desk.oidc.start_device(&site(START_URL), &client()).await.map(|_| ());
        assert_eq!(outcome, Err(no_answer()), "{url:?} {user_code:?}");
    }
}

/// What an answer without a content is told as.
fn no_answer() -> SsoError {
    SsoError::Service(ServiceError { status: 200, ..ServiceError::default() })
}

#[tokio::test]
async fn each_grant_is_sent_with_the_client_that_it_belongs_to() {
    let desk = Desk::new().await;
    let (client, grant) = (client(), refresh_grant());
    let device_code = SecretString::from("CANARYdevice");
    let code = AuthorizationCode {
        code: "CANARYcode".into(),
        verifier: "CANARYverifier".into(),
        redirect_uri: "http://127.0.0.1:4711/oauth/callback".to_owned(),
    };
    for (grant, sent) in [
        (Grant::Refresh(&grant), json!({ "grantType": "refresh_token", "refreshToken": "CANARYrefresh" })),
        (
            Grant::Device { client: &client, device_code: &device_code },
            json!({
                "grantType": "urn:ietf:params:oauth:grant-type:device_code", "deviceCode": "CANARYdevice",
            }),
        ),
        (
            Grant::Code { client: &client, code: &code },
            json!({
                "grantType": "authorization_code", "code": "CANARYcode", "codeVerifier": "CANARYverifier",
                "redirectUri": "http://127.0.0.1:4711/oauth/callback",
            }),
        ),
    ] {
        let answer =
            json!({ "accessToken": "a", "tokenType": "Bearer", "expiresIn": 3600, "refreshToken": "r" });
        desk.server.answer(200, &answer.to_string());
        let issued = desk.oidc.create_token(&site(START_URL), grant).await.unwrap();
        assert_eq!((issued.access.expose_secret(), issued.expires_in), ("a", Duration::from_secs(3600)));
        assert_eq!(issued.refresh.as_ref().map(SecretString::expose_secret), Some("r"));
        let mut body = json!({ "clientId": "client-1", "clientSecret": "CANARYclient" });
        body.as_object_mut().unwrap().extend(sent.as_object().unwrap().clone());
        let (head, sent) = desk.sent();
        assert!(head.starts_with("POST /token "), "{head}");
        assert_eq!(sent, body);
    }
    desk.server.answer(200, r#"{"accessToken":"a","expiresIn":60}"#);
    assert!(desk.refresh().await.unwrap().refresh.is_none());
}

#[tokio::test]
async fn a_changed_endpoint_counts_from_the_next_call() {
    let desk = Desk::new().await;
    let other = Server::start().await;
    for server in [&desk.server, &other] {
        server.answer(200, r#"{"accessToken":"a","expiresIn":60}"#);
        desk.settings.send_replace(Arc::new(pointing_at(&server.url)));
        desk.refresh().await.unwrap();
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn the_endpoint_follows_setting_variable_partition_and_start_url() {
    let plain = START_URL;
    let dual = "https://ssoins-1234.portal.eu-west-1.app.aws/";
    let oidc = "AWS_ENDPOINT_URL_SSO_OIDC";
    for (region, start_url, variable, setting, url) in [
        ("eu-west-1", plain, None, None, "https://oidc.eu-west-1.amazonaws.com"),
        ("us-gov-west-1", plain, None, None, "https://oidc.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", plain, None, None, "https://oidc.cn-north-1.amazonaws.com.cn"),
        ("eusc-de-east-1", plain, None, None, "https://oidc.eusc-de-east-1.amazonaws.eu"),
        ("eu-west-1", dual, None, None, "https://oidc.eu-west-1.api.aws"),
        ("eu-west-1", "https://x.app.aws.example/", None, None, "https://oidc.eu-west-1.amazonaws.com"),
        ("eu-west-1", dual, Some((oidc, "https://a.example")), None, "https://a.example:443"),
        ("eu-west-1", dual, Some(("AWS_ENDPOINT_URL", "https://b.example")), None, "https://b.example:443"),
        (
            "eu-west-1",
            plain,
            Some(("AWS_ENDPOINT_URL_SSO", "https://a.example")),
            None,
            "https://oidc.eu-west-1.amazonaws.com",
        ),
        ("eu-west-1", plain, Some((oidc, "https://a.example")), Some("http://[::1]:9"), "http://[::1]:9"),
    ] {
        let settings = Settings { endpoint_sso_oidc: setting.map(str::to_owned), ..Settings::default() };
        let settings = watch::Sender::new(Arc::new(settings));
        let environment = AwsEnvironment::from_vars(|name| {
            variable.and_then(|(variable, value)| (name == variable).then(|| value.to_owned()))
        });
        let site = SignInSite { region: region.parse().unwrap(), ..site(start_url) };
        let found = AwsOidc::new(network(&settings, environment)).base_url(&site);
        assert_eq!(found.as_deref(), Ok(url), "{region} {start_url} {variable:?} {setting:?}");
    }
}

#[tokio::test]
async fn a_token_is_not_sent_in_the_clear_to_another_machine() {
    for variable in ["AWS_ENDPOINT_URL_SSO_OIDC", "AWS_ENDPOINT_URL"] {
        let environment =
            AwsEnvironment::from_vars(|name| (name == variable).then(|| "http://10.0.0.5".to_owned()));
        let oidc = AwsOidc::new(network(&watch::Sender::default(), environment));
        let outcome = oidc.create_token(&site(START_URL), Grant::Refresh(&refresh_grant())).await;
        let Err(SsoError::Local(fault)) = outcome else { panic!("the call should fail") };
        assert_eq!(fault.kind, FaultKind::InvalidArgument { field: variable.to_owned() });
    }
}
