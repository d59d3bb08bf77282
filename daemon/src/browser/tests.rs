//! A real listener, and a plain TCP client in the place of the browser.

use std::collections::BTreeMap;

use secrecy::ExposeSecret as _;
use stormtunnel_engine::sign_in::classify::LoginFailure;
use stormtunnel_engine::sign_in::machine::LOGIN_LIMIT;
use stormtunnel_engine::sign_in::ports::AuthorizationCode;
use stormtunnel_model::{FaultKind, Timestamp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant};

use super::*;
use crate::system::SystemEntropy;

const DEADLINE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn the_browser_comes_back_with_a_code() {
    let mut login = Login::begin().await;
    let query = format!("code=a%2Bb+c&state={}", login.state);
    let (shown, code) = login.comes_back(&get(&format!("{CALLBACK_PATH}?{query}"))).await;
    let code = code.unwrap();
    assert_eq!(code.code.expose_secret(), "a+b c");
    assert_eq!(code.redirect_uri, login.redirect_uri);
    assert_eq!(code.verifier.expose_secret().len(), 43);
    assert!(
        shown.starts_with("HTTP/1.1 200 OK\r\n") && shown.contains("You may close this window"),
        "{shown}"
    );
    assert!(shown.contains("\r\nReferrer-Policy: no-referrer\r\n"), "{shown}");
}

#[tokio::test]
async fn the_listener_is_open_before_anybody_knows_its_address() {
    let login = Login::begin().await;
    TcpStream::connect(&login.address).await.expect("nothing polls it yet");
    let address = login.address.clone();
    drop(login);
    TcpStream::connect(address).await.expect_err("a login that is given up is closed");
}

#[tokio::test]
async fn what_is_not_the_answer_changes_nothing() {
    let mut login = Login::begin().await;
    let state = login.state.clone();
    let answer = format!("code=c&state={state}");
    let others = [
        get("/favicon.ico"),
        get("/"),
        get(CALLBACK_PATH),
        get(&format!("{CALLBACK_PATH}/?{answer}")),
        get(&format!("/OAUTH/callback?{answer}")),
        get(&format!("{CALLBACK_PATH}?code=c")),
        get(&format!("{CALLBACK_PATH}?state={state}")),
        get(&format!("{CALLBACK_PATH}?code=&state={state}")),
        format!("POST {CALLBACK_PATH}?{answer} HTTP/1.1\r\n\r\n"),
    ];
    for other in others {
        let shown = login.is_shown(&other).await;
        assert!(shown.starts_with("HTTP/1.1 404 Not Found\r\n"), "{other} was answered with {shown}");
    }
    let (_, code) = login.comes_back(&get(&format!("{CALLBACK_PATH}?{answer}"))).await;
    assert_eq!(code.unwrap().code.expose_secret(), "c");
}

#[tokio::test]
async fn the_answer_to_another_login_is_told_from_ours() {
    for state in ["x", ""] {
        let mut login = Login::begin().await;
        let wrong = get(&format!("{CALLBACK_PATH}?code=c&state={state}"));
        let (shown, code) = login.comes_back(&wrong).await;
        assert_eq!(code.err(), Some(LoginFailure::Mismatch));
        assert!(
            shown.starts_with("HTTP/1.1 400 ") && shown.contains("the answer to another login"),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn what_went_wrong_is_told_to_the_person_and_to_us() {
    let mut login = Login::begin().await;
    let declined = format!("{CALLBACK_PATH}?error=access_denied&state={}", login.state);
    let (shown, code) = login.comes_back(&get(&declined)).await;
    assert_eq!(code.err(), Some(LoginFailure::Declined));
    assert!(shown.contains("declined in the browser"), "{shown}");

    let mut login = Login::begin().await;
    let invalid = "error=invalid_scope&error_description=no+%3Cb%3Esuch%3C%2Fb%3E%0Ascope";
    let (shown, code) = login.comes_back(&get(&format!("{CALLBACK_PATH}?{invalid}"))).await;
    let Some(LoginFailure::Refused(fault)) = code.err() else { panic!("not refused") };
    assert!(
        fault.detail.contains("invalid_scope") && fault.detail.contains("no <b>such</b>scope"),
        "{fault}"
    );
    assert!(shown.contains("no &lt;b&gt;such&lt;/b&gt;scope"), "{shown}");
}

#[tokio::test]
async fn connections_that_say_nothing_are_in_nobodys_way() {
    let mut login = Login::begin().await;
    // As browsers open them, to have one at hand.
    let _speculative = TcpStream::connect(&login.address).await.unwrap();
    let mut half = TcpStream::connect(&login.address).await.unwrap();
    half.write_all(b"GET /oauth/").await.unwrap();
    let answer = get(&format!("{CALLBACK_PATH}?code=c&state={}", login.state));
    let (_, code) = login.comes_back(&answer).await;
    assert_eq!(code.unwrap().code.expose_secret(), "c");
}

#[tokio::test(start_paused = true)]
async fn slow_connections_lose_their_place() {
    let mut login = Login::begin().await;
    let mut slow = Vec::new();
    for _ in 0..40 {
        slow.push(TcpStream::connect(&login.address).await.unwrap());
    }
    let answer = get(&format!("{CALLBACK_PATH}?code=c&state={}", login.state));
    let mut browser = TcpStream::connect(&login.address).await.unwrap();
    browser.write_all(answer.as_bytes()).await.unwrap();
    let begun = Instant::now();
    let code = login.authorization.code().await;
    assert_eq!(code.ok().unwrap().code.expose_secret(), "c");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn garbage_is_refused_and_what_is_too_long_is_cut_off() {
    let mut login = Login::begin().await;
    for garbage in
        ["\r\n\r\n", "\u{16}\u{3}\u{1} \u{7f}\r\n\r\n", "GET / HTTP/1.1 x\r\n\r\n", "GET /\r\n\r\n"]
    {
        let shown = login.is_shown(garbage).await;
        assert!(shown.starts_with("HTTP/1.1 400 "), "{garbage:?} was answered with {shown}");
    }
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    assert_eq!(login.is_shown(&long).await, "");
    let answer = get(&format!("{CALLBACK_PATH}?code=c&state={}", login.state));
    assert!(login.comes_back(&answer).await.1.is_ok());
}

#[tokio::test]
async fn a_wait_that_is_dropped_loses_nothing() {
    let mut login = Login::begin().await;
    let answer = get(&format!("{CALLBACK_PATH}?code=c&state={}", login.state));
    let (first, rest) = answer.split_at(20);
    let mut browser = TcpStream::connect(&login.address).await.unwrap();
    browser.write_all(first.as_bytes()).await.unwrap();
    assert!(futures_util::poll!(login.authorization.code()).is_pending());
    browser.write_all(rest.as_bytes()).await.unwrap();
    let code = within(login.authorization.code()).await;
    assert_eq!(code.ok().unwrap().code.expose_secret(), "c");
}

#[tokio::test]
async fn there_is_one_answer() {
    let mut login = Login::begin().await;
    let answer = get(&format!("{CALLBACK_PATH}?code=c&state={}", login.state));
    let mut browsers = Vec::new();
    for _ in 0..2 {
        let mut browser = TcpStream::connect(&login.address).await.unwrap();
        browser.write_all(answer.as_bytes()).await.unwrap();
        browsers.push(browser);
    }
    let code = within(login.authorization.code()).await;
    assert_eq!(code.ok().unwrap().code.expose_secret(), "c");
    let shown = futures_util::future::join_all(browsers.into_iter().map(read));
    let mut shown = within(async {
        tokio::select! {
            shown = shown => shown,
            _ = login.authorization.code() => panic!("a second answer was taken"),
        }
    })
    .await;
    shown.sort();
    assert!(shown[0].starts_with("HTTP/1.1 200 ") && shown[1].starts_with("HTTP/1.1 404 "), "{shown:?}");
}

#[tokio::test(start_paused = true)]
async fn a_person_who_does_not_come_back_is_not_awaited_for_ever() {
    let mut login = Login::begin().await;
    let begun = Instant::now();
    let code = login.authorization.code().await;
    assert_eq!(code.err(), Some(LoginFailure::TimedOut));
    assert_eq!(begun.elapsed().as_secs(), LOGIN_LIMIT.as_secs());
}

#[tokio::test]
async fn an_endpoint_that_is_not_known_is_told() {
    let kind = FaultKind::InvalidArgument { field: "sso_region".to_owned() };
    let fault = Fault::new(kind, "no such region");
    let told = fault.clone();
    let browser =
        SystemBrowser::new(Box::new(move |_: &SignInSite| Err(told.clone())), Arc::new(SystemEntropy), true);
    assert_eq!(browser.authorize(&site(), &client()).await.err(), Some(fault));
}

#[tokio::test]
async fn nothing_is_opened_where_nobody_could_see_it() {
    let browser = |display| {
        SystemBrowser::new(Box::new(|_: &SignInSite| unreachable!()), Arc::new(SystemEntropy), display)
    };
    let url = "https://oidc.example/";
    assert!(!browser(false).open(url, &Opener::Default).await);
    assert!(!browser(true).open(url, &Opener::Nobody).await);
    assert!(browser(false).open(url, &Opener::Command("'true' \"it's quoted\"".to_owned())).await);
    assert!(!browser(true).open(url, &Opener::Command("true \"".to_owned())).await);
    assert!(!browser(true).open(url, &Opener::Command(String::new())).await);
}

#[test]
fn a_display_is_what_the_session_says() {
    let display = |name: &'static str| has_display(move |asked| (asked == name).then(|| ":0".into()));
    assert!(display("DISPLAY") && display("WAYLAND_DISPLAY"));
    assert_eq!(display("TERM"), cfg!(target_os = "macos"));
}

/// A login whose browser was sent away.
struct Login {
    authorization: Box<dyn Authorization>,
    state: String,
    redirect_uri: String,
    /// Host and port of the redirect.
    address: String,
}

impl Login {
    async fn begin() -> Self {
        let endpoint = |_: &SignInSite| Ok("https://oidc.eu-west-1.amazonaws.com".to_owned());
        let browser = SystemBrowser::new(Box::new(endpoint), Arc::new(SystemEntropy), false);
        let authorization = browser.authorize(&site(), &client()).await.ok().unwrap();
        let url = url::Url::parse(authorization.url()).unwrap();
        let mut query: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
        let redirect_uri = query.remove("redirect_uri").unwrap();
        let address = redirect_uri.strip_prefix("http://").unwrap().strip_suffix(CALLBACK_PATH).unwrap();
        assert!(address.starts_with("127.0.0.1:"), "{address}");
        let (state, address) = (query.remove("state").unwrap(), address.to_owned());
        Self { authorization, state, redirect_uri, address }
    }

    /// Sends what ends the login; answers what is shown and how it ended.
    async fn comes_back(&mut self, request: &str) -> (String, Result<AuthorizationCode, LoginFailure>) {
        let shown = exchange(&self.address, request);
        within(async { tokio::join!(shown, self.authorization.code()) }).await
    }

    /// Sends what does not end it, while the login waits.
    async fn is_shown(&mut self, request: &str) -> String {
        let shown = exchange(&self.address, request);
        within(async {
            tokio::select! {
                shown = shown => shown,
                _ = self.authorization.code() => panic!("{request:?} ended the login"),
            }
        })
        .await
    }
}

async fn exchange(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // Cut off while we write is an answer as well.
    let _cut_off = stream.write_all(request.as_bytes()).await;
    read(stream).await
}

async fn read(mut stream: TcpStream) -> String {
    let mut shown = String::new();
    let _cut_off = stream.read_to_string(&mut shown).await;
    shown
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/html\r\n\r\n")
}

fn site() -> SignInSite {
    SignInSite {
        name: "corp".parse().unwrap(),
        start_url: "https://x.awsapps.com/start".to_owned(),
        region: "eu-west-1".parse().unwrap(),
        scopes: Vec::new(),
    }
}

fn client() -> OidcClient {
    let expires_at = Timestamp::from_millis(4_102_444_800_000);
    OidcClient { id: "client".to_owned(), secret: "secret".into(), expires_at }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it happens before the deadline")
}
