//! The token service: registrations, both ways to log in, refreshes.

use aws_emulator::{
    Config, Consent, Counter, Emulator, Lifetimes, Operation, RefreshAttempt, RefreshOutcome, Rotation,
    SignInHabits, SignInOrder, Trouble,
};
use serde_json::{Value, json};

use crate::http::{get, post};
use crate::support::DEADLINE;
use crate::tool::{CALLBACK, START_URL, Tool, VERIFIER, browser_registration, sent_back, text};

async fn emulator(habits: SignInHabits) -> Emulator {
    Emulator::start(Config { sign_in: habits, ..Config::default() }).await.unwrap()
}

fn waiting() -> SignInHabits {
    SignInHabits { consent: Consent::Waits, ..SignInHabits::default() }
}

fn age(emulator: &Emulator, seconds: u32) {
    emulator.inject(SignInOrder::Age { seconds });
}

#[tokio::test]
async fn registrations_are_refused_with_the_services_exceptions() {
    let emulator = emulator(SignInHabits::default()).await;
    let url = format!("{}/client/register", emulator.api_url());
    for (field, value, exception) in [
        ("clientType", json!("confidential"), "InvalidClientMetadataException"),
        ("clientName", json!(""), "InvalidClientMetadataException"),
        ("scopes", json!(["nonsense"]), "InvalidScopeException"),
        ("scopes", Value::Null, "InvalidRequestException"),
        ("grantTypes", json!(["password"]), "UnsupportedGrantTypeException"),
        (
            "grantTypes",
            json!(["authorization_code", "urn:ietf:params:oauth:grant-type:device_code"]),
            "InvalidRequestException",
        ),
        ("redirectUris", json!([]), "InvalidRedirectUriException"),
        ("redirectUris", json!(["http://localhost/oauth/callback"]), "InvalidRedirectUriException"),
        ("redirectUris", json!(["https://127.0.0.1/oauth/callback"]), "InvalidRedirectUriException"),
    ] {
        let mut registration = browser_registration();
        registration[field] = value;
        let reply = post(&url, &registration).await;
        assert_eq!((reply.status, reply.exception()), (400, exception), "{registration}");
    }
    let reply = post(&url, &browser_registration()).await;
    let (issued, expires) = (&reply.json()["clientIdIssuedAt"], &reply.json()["clientSecretExpiresAt"]);
    assert_eq!(expires.as_i64().unwrap() - issued.as_i64().unwrap(), 90 * 24 * 3600);
}

#[tokio::test]
async fn a_device_code_waits_for_the_user_and_works_once() {
    let emulator = emulator(waiting()).await;
    let tool = Tool::of_device(&emulator).await;
    let device = tool.start_device(START_URL).await.json();
    assert_eq!((&device["expiresIn"], &device["interval"]), (&json!(600), &json!(5)));
    let pending = tool.poll(&device).await;
    assert_eq!((pending.status, &pending.json()["error"]), (400, &json!("authorization_pending")));
    let header = pending.header("x-amzn-errortype").unwrap();
    assert!(
        header.starts_with("AuthorizationPendingException:http://internal.amazon.com/coral/"),
        "{header}"
    );

    let page = get(device["verificationUriComplete"].as_str().unwrap()).await;
    assert_eq!(page.status, 200);
    age(&emulator, 5);
    assert_eq!(
        tool.poll(&device).await.exception(),
        "AuthorizationPendingException",
        "the page decides nothing"
    );
    let other = SignInOrder::Decide { user_code: Some("NOBO-DYSS".into()), agree: false };
    emulator.inject(other);
    let user_code = Some(text(&device, "userCode"));
    emulator.inject(SignInOrder::Decide { user_code, agree: true });
    let token = tool.poll(&device).await.json();
    assert_eq!((&token["tokenType"], &token["expiresIn"]), (&json!("Bearer"), &json!(3600)));
    assert!(
        text(&token, "accessToken").starts_with("aoa") && text(&token, "refreshToken").starts_with("aor")
    );
    let again = tool.poll(&device).await;
    assert_eq!(
        (again.exception(), &again.json()["error"]),
        ("InvalidGrantException", &json!("invalid_grant"))
    );

    let counters = emulator.counters();
    for (counter, n) in [
        (Counter::OidcRegisterClient, 1),
        (Counter::OidcStartDeviceAuthorization, 1),
        (Counter::OidcCreateTokenByDevice, 4),
        (Counter::OidcVerifyDevice, 1),
        (Counter::BrowserOpenings, 1),
        (Counter::Logins, 1),
    ] {
        assert_eq!(counters.value(counter), n, "{counter}");
    }
    let secrets = emulator.issued_secrets();
    for secret in [&token["accessToken"], &token["refreshToken"], &device["deviceCode"], &json!(tool.secret)]
    {
        assert!(secrets.iter().any(|known| secret == known), "a secret is not among those to look for");
    }
}

#[tokio::test]
async fn polls_that_come_early_are_slowed_down_for_good() {
    let emulator = emulator(waiting()).await;
    let tool = Tool::of_device(&emulator).await;
    let device = tool.start_device(START_URL).await.json();
    for (seconds, exception) in [
        (0, "AuthorizationPendingException"),
        (2, "SlowDownException"),
        (5, "SlowDownException"),
        (15, "AuthorizationPendingException"),
        (10, "SlowDownException"),
    ] {
        age(&emulator, seconds);
        assert_eq!(tool.poll(&device).await.exception(), exception, "after {seconds} s");
    }
    emulator.inject(SignInOrder::Habits { habits: SignInHabits { slow_down: false, ..waiting() } });
    assert_eq!(tool.poll(&device).await.exception(), "AuthorizationPendingException");
}

#[tokio::test]
async fn a_device_code_ends_refused_expired_or_with_a_user_who_needs_no_browser() {
    let emulator = emulator(waiting()).await;
    let tool = Tool::of_device(&emulator).await;
    let device = tool.start_device(START_URL).await.json();
    emulator.inject(SignInOrder::Decide { user_code: None, agree: false });
    assert_eq!(tool.poll(&device).await.exception(), "AccessDeniedException");

    let device = tool.start_device(&format!("{START_URL}/#/")).await.json();
    age(&emulator, 540);
    assert_eq!(tool.poll(&device).await.exception(), "AuthorizationPendingException");
    age(&emulator, 60);
    let expired = tool.poll(&device).await;
    assert_eq!(
        (expired.exception(), &expired.json()["error"]),
        ("ExpiredTokenException", &json!("expired_token"))
    );

    let agrees_after_polls = Some(1);
    emulator.inject(SignInOrder::Habits { habits: SignInHabits { agrees_after_polls, ..waiting() } });
    let device = tool.start_device(START_URL).await.json();
    assert_eq!(tool.poll(&device).await.exception(), "AuthorizationPendingException");
    assert_eq!(tool.poll(&device).await.status, 200);

    let wrong_region = tool.start_device("https://d-0000000000.awsapps.com/start").await;
    assert_eq!(wrong_region.exception(), "InvalidRequestException");
}

#[tokio::test]
async fn a_browser_comes_back_with_a_code_that_works_once_and_with_its_verifier() {
    let emulator = emulator(SignInHabits::default()).await;
    let tool = Tool::of_browser(&emulator).await;
    let code = async |changes: &[(&str, &str)]| {
        let query = sent_back(&get(&tool.page(changes)).await);
        assert_eq!((query[0].0.as_str(), &query[1]), ("code", &("state".to_owned(), "a+b/c".to_owned())));
        query[0].1.clone()
    };
    let first = code(&[]).await;
    let token = tool.redeem(&first, CALLBACK, VERIFIER).await;
    assert_eq!((token.status, &token.json()["expiresIn"]), (200, &json!(3600)), "{token:?}");
    assert!(token.json()["refreshToken"].is_string());
    let invalid = async |code: &str, callback: &str, verifier: &str| {
        tool.redeem(code, callback, verifier).await.exception() == "InvalidGrantException"
    };
    assert!(invalid(&first, CALLBACK, VERIFIER).await, "used");
    let wrong_verifier = code(&[]).await;
    assert!(invalid(&wrong_verifier, CALLBACK, "another").await);
    assert!(invalid(&wrong_verifier, CALLBACK, VERIFIER).await, "used up by the mistake");
    assert!(invalid(&code(&[]).await, "http://127.0.0.1:4712/oauth/callback", VERIFIER).await);
    let late = code(&[]).await;
    age(&emulator, 60);
    assert!(invalid(&late, CALLBACK, VERIFIER).await, "expired");
    let other = Tool::of_browser(&emulator).await;
    assert_eq!(other.redeem(&code(&[]).await, CALLBACK, VERIFIER).await.exception(), "InvalidGrantException");
    let plural = code(&[("scopes", "")]).await;
    assert_eq!(tool.redeem(&plural, CALLBACK, VERIFIER).await.status, 200, "scopes may be left out");
    assert_eq!(emulator.counters().value(Counter::OidcAuthorize), 6);
}

#[tokio::test]
async fn a_page_that_is_wrong_sends_an_error_back_or_nothing() {
    let emulator = emulator(SignInHabits::default()).await;
    let tool = Tool::of_browser(&emulator).await;
    for (name, value, error) in [
        ("response_type", "token", "unsupported_response_type"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge", "short", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("scopes", "sso:account:access sso:more", "invalid_scope"),
    ] {
        let query = sent_back(&get(&tool.page(&[(name, value)])).await);
        assert_eq!(query[0], ("error".to_owned(), error.to_owned()), "{name}={value}");
        assert_eq!(query[1].1, "a+b/c", "the state comes back");
    }
    for (name, value) in [
        ("client_id", "nobody"),
        ("redirect_uri", "http://127.0.0.1:4711/elsewhere"),
        ("redirect_uri", "http://localhost:4711/oauth/callback"),
        ("redirect_uri", "https://example.com/oauth/callback"),
        ("redirect_uri", ""),
    ] {
        let reply = get(&tool.page(&[(name, value)])).await;
        assert_eq!((reply.status, reply.header("location")), (400, None), "{name}={value}");
    }
    let device = Tool::of_device(&emulator).await;
    assert_eq!(get(&device.page(&[])).await.status, 400, "no address was registered");
    let mut elsewhere = browser_registration();
    elsewhere["issuerUrl"] = json!("https://d-0000000000.awsapps.com/start");
    let elsewhere = Tool::registered(&emulator, &elsewhere).await;
    assert_eq!(sent_back(&get(&elsewhere.page(&[])).await)[0].1, "invalid_grant");
    emulator.inject(SignInOrder::Habits {
        habits: SignInHabits { consent: Consent::Refuses, ..SignInHabits::default() },
    });
    assert_eq!(sent_back(&get(&tool.page(&[])).await)[0].1, "access_denied");
}

#[tokio::test]
async fn a_page_stays_open_until_the_user_decides() {
    for (agree, parameter) in [(true, "code"), (false, "error")] {
        let emulator = emulator(waiting()).await;
        let tool = Tool::of_browser(&emulator).await;
        let url = tool.page(&[]);
        let decision = async {
            emulator.counters().wait_at_least(Counter::BrowserOpenings, 1, DEADLINE).await.unwrap();
            emulator.inject(SignInOrder::Decide { user_code: None, agree });
        };
        let (reply, ()) = tokio::join!(get(&url), decision);
        assert_eq!(sent_back(&reply)[0].0, parameter);
    }
}

#[tokio::test]
async fn a_client_needs_its_secret_and_the_right_registration() {
    let emulator = emulator(SignInHabits::default()).await;
    let mut tool = Tool::of_device(&emulator).await;
    assert_eq!(tool.redeem("code", CALLBACK, VERIFIER).await.exception(), "UnauthorizedClientException");
    let token = tool.log_in().await;
    let secret = std::mem::replace(&mut tool.secret, "another".into());
    let refused = tool.refresh(&text(&token, "refreshToken")).await;
    assert_eq!((refused.status, refused.exception()), (401, "InvalidClientException"));
    assert_eq!(refused.json()["error"], "invalid_client");
    tool.secret = secret;
    let plain = Tool::registered(&emulator, &json!({ "clientName": "old", "clientType": "public" })).await;
    let plain_token = plain.log_in().await;
    assert_eq!((&plain_token["refreshToken"], &plain_token["expiresIn"]), (&Value::Null, &json!(8 * 3600)));
    age(&emulator, 90 * 24 * 3600);
    assert_eq!(tool.start_device(START_URL).await.exception(), "InvalidClientException", "expired");
    let fresh = Tool::of_device(&emulator).await;
    emulator.inject(SignInOrder::ForgetClients);
    assert_eq!(fresh.start_device(START_URL).await.exception(), "InvalidClientException", "forgotten");
}

#[tokio::test]
async fn a_refresh_token_works_once_and_every_try_is_told() {
    let emulator = emulator(SignInHabits::default()).await;
    let tool = Tool::of_device(&emulator).await;
    let first = text(&tool.log_in().await, "refreshToken");
    let second = text(&tool.refresh(&first).await.json(), "refreshToken");
    assert_ne!(first, second);
    let replayed = tool.refresh(&first).await;
    assert_eq!((replayed.status, replayed.exception()), (400, "InvalidGrantException"));
    assert_eq!(replayed.json()["error_description"], "Invalid refresh token provided");
    let third = text(&tool.refresh(&second).await.json(), "refreshToken");
    let other = Tool::of_device(&emulator).await;
    assert_eq!(other.refresh(&third).await.exception(), "InvalidGrantException", "another client's");
    assert_eq!(tool.refresh("nonsense").await.exception(), "InvalidGrantException");
    let told: Vec<_> = emulator.refreshes().into_iter().map(|tried| (tried.token, tried.outcome)).collect();
    let tried = |token: &str, outcome| (RefreshAttempt::fingerprint(token), outcome);
    let expected = [
        tried(&first, RefreshOutcome::Granted),
        tried(&first, RefreshOutcome::Replayed),
        tried(&second, RefreshOutcome::Granted),
        tried(&third, RefreshOutcome::Refused),
        tried("nonsense", RefreshOutcome::Refused),
    ];
    assert_eq!(told, expected);
    let control = get(&format!("{}/refreshes", emulator.control_url())).await.json();
    assert_eq!((control.as_array().unwrap().len(), &control[1]["outcome"]), (5, &json!("replayed")));
    assert_eq!(emulator.counters().value(Counter::OidcRefreshesGranted), 2);
}

#[tokio::test]
async fn a_used_refresh_token_is_treated_as_ordered() {
    let emulator = emulator(SignInHabits { grace_ms: 30_000, ..SignInHabits::default() }).await;
    let tool = Tool::of_device(&emulator).await;
    let first = text(&tool.log_in().await, "refreshToken");
    assert_eq!(tool.refresh(&first).await.status, 200);
    assert_eq!(tool.refresh(&first).await.status, 200, "a moment later");
    assert_eq!(emulator.refreshes()[1].outcome, RefreshOutcome::Graced);
    age(&emulator, 30);
    assert_eq!(tool.refresh(&first).await.exception(), "InvalidGrantException", "half a minute later");

    let habits = SignInHabits { replay_ends_login: true, ..SignInHabits::default() };
    emulator.inject(SignInOrder::Habits { habits });
    let login = tool.log_in().await;
    let next = tool.refresh(&text(&login, "refreshToken")).await.json();
    assert_eq!(tool.portal("GET", "/assignment/accounts", &next["accessToken"]).await.status, 200);
    assert_eq!(tool.refresh(&text(&login, "refreshToken")).await.exception(), "InvalidGrantException");
    assert_eq!(tool.refresh(&text(&next, "refreshToken")).await.exception(), "InvalidGrantException");
    assert_eq!(tool.portal("GET", "/assignment/accounts", &next["accessToken"]).await.status, 401);

    let habits = SignInHabits { rotation: Rotation::Stays, ..SignInHabits::default() };
    emulator.inject(SignInOrder::Habits { habits });
    let token = text(&tool.log_in().await, "refreshToken");
    for _ in 0..2 {
        assert_eq!(tool.refresh(&token).await.json()["refreshToken"], Value::Null);
    }
}

#[tokio::test]
async fn refreshes_end_with_their_token_and_with_their_login() {
    let emulator = emulator(SignInHabits::default()).await;
    let tool = Tool::of_device(&emulator).await;
    let token = text(&tool.log_in().await, "refreshToken");
    age(&emulator, 8 * 3600 - 60);
    let token = text(&tool.refresh(&token).await.json(), "refreshToken");
    age(&emulator, 60);
    assert_eq!(
        tool.refresh(&token).await.exception(),
        "InvalidGrantException",
        "eight hours after the login"
    );

    let lifetimes = Lifetimes { refresh_token_s: 60, access_token_s: 30, ..Lifetimes::default() };
    emulator.inject(SignInOrder::Lifetimes { lifetimes });
    let login = tool.log_in().await;
    assert_eq!(login["expiresIn"], 30);
    age(&emulator, 60);
    let expired = tool.refresh(&text(&login, "refreshToken")).await;
    assert_eq!((expired.status, expired.exception()), (400, "ExpiredTokenException"));

    let login = tool.log_in().await;
    emulator.inject(SignInOrder::EndLogins { start_url: Some("https://elsewhere".into()) });
    let login = tool.refresh(&text(&login, "refreshToken")).await.json();
    emulator.inject(SignInOrder::EndLogins { start_url: None });
    assert_eq!(tool.refresh(&text(&login, "refreshToken")).await.exception(), "InvalidGrantException");
    let list = tool.portal("GET", "/assignment/accounts", &login["accessToken"]).await;
    assert_eq!(list.status, 200, "the access token lives until it expires");
}

#[tokio::test]
async fn two_refreshes_at_once_are_seen_and_one_of_them_wins() {
    let emulator = emulator(SignInHabits::default()).await;
    let tool = Tool::of_device(&emulator).await;
    let token = text(&tool.log_in().await, "refreshToken");
    let trouble = Trouble::Delay { ms: 1000 };
    emulator.inject(SignInOrder::Trouble { operation: Operation::RefreshToken, trouble, count: 1 });
    let second = async {
        emulator.counters().wait_at_least(Counter::OidcRefreshToken, 1, DEADLINE).await.unwrap();
        tool.refresh(&token).await
    };
    let (slow, quick) = tokio::join!(tool.refresh(&token), second);
    assert_eq!((slow.status, quick.status), (400, 200), "the one that was held up comes late");
    let told: Vec<_> =
        emulator.refreshes().into_iter().map(|tried| (tried.concurrent, tried.outcome)).collect();
    assert_eq!(told, [(true, RefreshOutcome::Granted), (false, RefreshOutcome::Replayed)]);
    assert_eq!(emulator.counters().value(Counter::OidcRefreshesConcurrent), 1);
    let next = text(&quick.json(), "refreshToken");
    assert_eq!(tool.refresh(&next).await.status, 200);
    assert_eq!(emulator.counters().value(Counter::OidcRefreshesConcurrent), 1, "nobody else was there");
}
