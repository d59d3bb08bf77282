//! Whole logins, at an IAM Identity Center that keeps the books.

use aws_emulator::{Config, Consent, Emulator, SignInHabits, SignInOrder};
use stormtunnel_engine::sign_in::classify::{
    Poll, PortalFailure, RefreshFailure, poll, portal_failure, refresh_failure,
};
use stormtunnel_engine::sign_in::credentials::Role;
use stormtunnel_engine::sign_in::ports::{AccountsApi as _, PortalApi as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use url::Url;

use super::*;

const ACCOUNT: &str = "123456789012";
const CALLBACK: &str = "http://127.0.0.1:4711/oauth/callback";
const VERIFIER: &str = "a-verifier-of-64-characters-0123456789-0123456789-0123456789-012";
/// SHA-256 of the verifier in base64url.
const CHALLENGE: &str = "Y9TGcqT4cpPH9ZVMXeTQtK6KDIEMWnMI6ieCzFNkxJ4";

fn at(emulator: &Emulator) -> (AwsOidc, AwsPortal) {
    let settings = watch::Sender::new(Arc::new(pointing_at(emulator.api_url())));
    let network = network(&settings, AwsEnvironment::default());
    (AwsOidc::new(Arc::clone(&network)), AwsPortal::new(network))
}

async fn emulator(consent: Consent) -> Emulator {
    let sign_in = SignInHabits { consent, ..SignInHabits::default() };
    Emulator::start(Config { sign_in, ..Config::default() }).await.unwrap()
}

fn scoped() -> SignInSite {
    SignInSite {
        scopes: vec!["sso:account:access".to_owned()],
        ..site("https://d-1234567890.awsapps.com/start/#")
    }
}

/// A token as a login leaves it.
fn kept(issued: IssuedToken, client: &Arc<OidcClient>) -> SsoToken {
    SsoToken::of_login(issued, client, Timestamp::from_millis(0))
}

#[tokio::test]
async fn a_device_login_with_everything_that_follows() {
    let emulator = emulator(Consent::Waits).await;
    let ((oidc, portal), site) = (at(&emulator), scoped());
    let client = Arc::new(oidc.register(&site, LoginFlow::DeviceCode).await.unwrap());
    let login = oidc.start_device(&site, &client).await.unwrap_or_else(|error| panic!("{error:?}"));
    let ask = || oidc.create_token(&site, Grant::Device { client: &client, device_code: &login.device_code });
    assert_eq!(poll(ask().await.unwrap_err()), Poll::Pending);
    assert_eq!(poll(ask().await.unwrap_err()), Poll::SlowDown);
    emulator.inject(SignInOrder::Decide { user_code: Some(login.user_code.clone()), agree: true });
    let first = kept(ask().await.unwrap(), &client);

    let grant = first.refresh.clone().unwrap();
    let renewed = oidc.create_token(&site, Grant::Refresh(&grant)).await.unwrap();
    let token = first.renewed(renewed, Timestamp::from_millis(0));
    let again = oidc.create_token(&site, Grant::Refresh(&grant)).await.unwrap_err();
    assert_eq!(refresh_failure(again), RefreshFailure::GrantGone, "each refresh token is good for one");

    let accounts = portal.accounts(&site, &token).await.unwrap();
    assert_eq!(accounts.iter().map(|account| account.id.as_str()).collect::<Vec<_>>(), [ACCOUNT]);
    let roles = portal.roles(&site, &token, ACCOUNT).await.unwrap();
    assert_eq!(roles, ["Developer", "Administrator"]);
    let role = |name: &str| Role { account: ACCOUNT.to_owned(), name: name.to_owned() };
    let developer = portal.role_credentials(&site, &token, &role("Developer")).await.unwrap();
    assert!(developer.access_key_id.starts_with("ASIA"), "{}", developer.access_key_id);
    let owner = portal.role_credentials(&site, &token, &role("Owner")).await.unwrap_err();
    assert!(matches!(portal_failure(owner), PortalFailure::NoAssignment(_)));

    oidc.logout(&site, &token).await.unwrap();
    let after = portal.role_credentials(&site, &token, &role("Developer")).await.unwrap_err();
    assert_eq!(portal_failure(after), PortalFailure::TokenRejected);
}

#[tokio::test]
async fn a_browser_brings_a_code_that_becomes_a_token() {
    let emulator = emulator(Consent::Agrees).await;
    // Without scopes of its own: the usual one is asked for, so that the token can be renewed.
    let ((oidc, _), site) = (at(&emulator), site("https://d-1234567890.awsapps.com/start/"));
    let client = oidc.register(&site, LoginFlow::AuthorizationCode).await.unwrap();
    let mut page = Url::parse(&oidc.base_url(&site).unwrap()).unwrap();
    page.set_path("/authorize");
    page.query_pairs_mut().extend_pairs([
        ("response_type", "code"),
        ("client_id", &client.id),
        ("redirect_uri", CALLBACK),
        ("state", "a state"),
        ("code_challenge_method", "S256"),
        ("code_challenge", CHALLENGE),
    ]);
    let back = location(&page).await;
    let code = back.query_pairs().find(|(name, _)| name == "code").expect("a code").1.into_owned();
    let code =
        AuthorizationCode { code: code.into(), verifier: VERIFIER.into(), redirect_uri: CALLBACK.to_owned() };
    let grant = || Grant::Code { client: &client, code: &code };
    let issued = oidc.create_token(&site, grant()).await.unwrap();
    assert!(issued.refresh.is_some());
    assert_eq!(issued.expires_in, Duration::from_secs(3600));
    let again = oidc.create_token(&site, grant()).await.unwrap_err();
    let SsoError::Service(again) = again else { panic!("{again:?}") };
    assert_eq!((again.status, again.code.as_str()), (400, "InvalidGrantException"));
}

/// Where a browser that opens that page is sent.
async fn location(page: &Url) -> Url {
    let host = format!("{}:{}", page.host_str().unwrap(), page.port().unwrap());
    let mut socket = TcpStream::connect(&host).await.unwrap();
    let target = &page[url::Position::BeforePath..];
    let request = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let mut lines = answer.lines();
    let line = lines.find(|line| line.to_lowercase().starts_with("location: ")).expect("a redirect");
    Url::parse(&line["location: ".len()..]).unwrap()
}
