//! The portal, the credentials that it gives, and calls that go wrong on order.

use aws_emulator::{
    AccessKey, Config, Counter, Emulator, Injection, Lifetimes, Operation, Portal, RefreshOutcome,
    SignInOrder, Trouble,
};
use serde_json::{Value, json};

use crate::http::{Reply, get, post, try_send};
use crate::support::call;
use crate::tool::{ACCOUNT, START_URL, Tool, text};

const CREDENTIALS: &str = "/federation/credentials?role_name=Developer&account_id=123456789012";

fn key(reply: &Reply) -> AccessKey {
    let credentials = &reply.json()["roleCredentials"];
    let token = Some(text(credentials, "sessionToken"));
    AccessKey::new(text(credentials, "accessKeyId"), text(credentials, "secretAccessKey"), token)
}

async fn describe(emulator: &Emulator, key: &AccessKey) -> (u16, Value) {
    call(emulator, key, "DescribeInstanceInformation", json!({})).await
}

#[tokio::test]
async fn keys_of_a_role_work_until_they_expire() {
    let lifetimes = Lifetimes { role_credentials_s: 600, ..Lifetimes::default() };
    let emulator = Emulator::start(Config { lifetimes, ..Config::default() }).await.unwrap();
    let tool = Tool::of_device(&emulator).await;
    let login = tool.log_in().await;
    let reply = tool.portal("GET", CREDENTIALS, &login["accessToken"]).await;
    let lasting = reply.json()["roleCredentials"]["expiration"].as_i64().unwrap() / 1000
        - time::OffsetDateTime::now_utc().unix_timestamp();
    assert!((500..=600).contains(&lasting), "{lasting} s");
    let key = key(&reply);
    assert!(key.id.starts_with("ASIA"));
    assert_eq!(describe(&emulator, &key).await.0, 200);

    let denied = true;
    emulator.inject(Injection::Deny { action: "ssm:DescribeInstanceInformation".into(), denied });
    let (_, body) = describe(&emulator, &key).await;
    let principal = emulator.portals()[0].principal(ACCOUNT, "Developer");
    let said = body["message"].as_str().unwrap();
    assert!(said.starts_with(&format!("User: {principal} is not authorized to perform: ssm:Desc")), "{said}");
    assert!(principal.starts_with("arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Developer_"));
    emulator.inject(Injection::Calm);

    let without_token = AccessKey::new(&key.id, key.secret(), None);
    assert_eq!(describe(&emulator, &without_token).await.1["__type"], "UnrecognizedClientException");
    emulator.inject(SignInOrder::Age { seconds: 600 });
    let (status, body) = describe(&emulator, &key).await;
    assert_eq!((status, &body["__type"]), (400, &json!("ExpiredTokenException")));
    assert_eq!(emulator.counters().value(Counter::ApiExpired), 1);
    assert_eq!(describe(&emulator, emulator.access_key()).await.0, 200, "a long-lived key lives");
}

#[tokio::test]
async fn the_portal_tells_a_token_from_a_role() {
    let emulator = Emulator::start(Config::default()).await.unwrap();
    let tool = Tool::of_device(&emulator).await;
    let token = tool.log_in().await["accessToken"].clone();
    let unassigned = CREDENTIALS.replace("Developer", "Owner");
    let refused = tool.portal("GET", &unassigned, &token).await;
    assert_eq!((refused.status, refused.exception()), (403, "ForbiddenException"));
    assert_eq!(refused.json()["message"], "No access");
    emulator.inject(Injection::Deny { action: "sso:GetRoleCredentials".into(), denied: true });
    assert_eq!(tool.portal("GET", CREDENTIALS, &token).await.status, 403);
    emulator.inject(Injection::Calm);
    assert_eq!(tool.portal("GET", "/federation/credentials", &token).await.status, 400);

    emulator.inject(SignInOrder::RevokeAccessTokens { start_url: Some("https://elsewhere".into()) });
    assert_eq!(tool.portal("GET", CREDENTIALS, &token).await.status, 200);
    emulator.inject(SignInOrder::RevokeAccessTokens { start_url: Some(START_URL.into()) });
    let revoked = tool.portal("GET", CREDENTIALS, &token).await;
    assert_eq!((revoked.status, revoked.exception()), (401, "UnauthorizedException"));
    let body = json!({
        "message": "Session token not found or invalid",
        "__type": "com.amazonaws.switchboard.portal#UnauthorizedException",
    });
    assert_eq!(revoked.json(), body);
    assert_eq!(emulator.counters().value(Counter::PortalGetRoleCredentials), 5);
}

#[tokio::test]
async fn accounts_and_roles_come_in_pages_and_from_their_own_portal() {
    let roles: Vec<_> = (0..45).map(|number| format!("Role{number}")).collect();
    let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
    let large =
        Portal::new(START_URL, "me").account("111111111111", &roles).account("222222222222", &["Owner"]);
    let second = "https://d-2222222222.awsapps.com/start";
    let portals = vec![large, Portal::new(second, "you").account("333333333333", &["Guest"])];
    let emulator = Emulator::start(Config { portals, ..Config::default() }).await.unwrap();
    let tool = Tool::of_device(&emulator).await;
    let token = tool.log_in().await["accessToken"].clone();
    let list = async |path: &str| tool.portal("GET", path, &token).await.json();

    let accounts = list("/assignment/accounts").await;
    assert_eq!(
        accounts["accountList"][1],
        json!({ "accountId": "222222222222", "accountName": "Account 222222222222" })
    );
    assert_eq!(accounts["nextToken"], Value::Null);
    let path = "/assignment/roles?account_id=111111111111";
    let (mut found, mut page) = (Vec::new(), list(path).await);
    while let Some(next) = page["nextToken"].as_str() {
        found.extend(page["roleList"].as_array().unwrap().clone());
        page = list(&format!("{path}&next_token={next}")).await;
    }
    found.extend(page["roleList"].as_array().unwrap().clone());
    assert_eq!(found.len(), 45);
    assert_eq!(list(&format!("{path}&max_result=100")).await["roleList"].as_array().unwrap().len(), 45);
    assert_eq!(list(&format!("{path}&max_result=101")).await["message"], "max_result must be 1 to 100");
    assert_eq!(tool.portal("GET", "/assignment/roles?account_id=333333333333", &token).await.status, 403);

    let issued = emulator.log_in(second).unwrap();
    let guest = CREDENTIALS.replace("Developer", "Guest").replace(ACCOUNT, "333333333333");
    assert_eq!(tool.portal("GET", &guest, &json!(issued.access_token)).await.status, 200);
    assert_eq!(tool.portal("GET", &guest, &token).await.status, 403, "another portal's");
    assert!(emulator.log_in("https://elsewhere").is_none());
}

#[tokio::test]
async fn a_logout_ends_the_login_but_not_the_keys() {
    let emulator = Emulator::start(Config::default()).await.unwrap();
    let tool = Tool::of_device(&emulator).await;
    let login = tool.log_in().await;
    let key = key(&tool.portal("GET", CREDENTIALS, &login["accessToken"]).await);
    let out = tool.portal("POST", "/logout", &login["accessToken"]).await;
    assert_eq!((out.status, out.body.as_str()), (200, ""));
    assert_eq!(tool.portal("GET", CREDENTIALS, &login["accessToken"]).await.status, 401);
    assert_eq!(tool.portal("POST", "/logout", &login["accessToken"]).await.status, 401);
    assert_eq!(tool.refresh(&text(&login, "refreshToken")).await.exception(), "InvalidGrantException");
    assert_eq!(describe(&emulator, &key).await.0, 200);
}

#[tokio::test]
async fn calls_go_wrong_as_ordered_one_order_after_the_other() {
    let emulator = Emulator::start(Config::default()).await.unwrap();
    let tool = Tool::of_device(&emulator).await;
    let login = tool.log_in().await;
    let order = |operation: &str, trouble: Value| {
        let order = json!({ "kind": "trouble", "operation": operation, "trouble": trouble, "count": 1 });
        json!({ "kind": "sign_in", "order": order })
    };
    let inject = format!("{}/inject", emulator.control_url());
    let throttled = json!({ "kind": "error", "status": 429, "code": "TooManyRequestsException" });
    for trouble in [throttled, json!({ "kind": "delay", "ms": 1 }), json!({ "kind": "drop" })] {
        assert_eq!(post(&inject, &order("get_role_credentials", trouble)).await.status, 204);
    }
    let refused = tool.portal("GET", CREDENTIALS, &login["accessToken"]).await;
    assert_eq!((refused.status, refused.exception()), (429, "TooManyRequestsException"));
    assert_eq!(tool.portal("GET", CREDENTIALS, &login["accessToken"]).await.status, 200, "only late");
    let url = format!("{}{CREDENTIALS}", emulator.api_url());
    assert!(try_send(("GET", &url), &[], "").await.is_none(), "the connection closes");
    assert_eq!(tool.portal("GET", CREDENTIALS, &login["accessToken"]).await.status, 200);

    let unavailable = json!({ "kind": "error", "status": 500, "code": "InternalServerException" });
    post(&inject, &order("refresh_token", unavailable)).await;
    let refused = tool.refresh(&text(&login, "refreshToken")).await;
    assert_eq!((refused.status, &refused.json()["error"]), (500, &json!("server_error")));
    post(&inject, &order("refresh_token", json!({ "kind": "lose_answer" }))).await;
    let url = format!("{}/token", emulator.api_url());
    let body = json!({
        "clientId": tool.id, "clientSecret": tool.secret,
        "grantType": "refresh_token", "refreshToken": login["refreshToken"],
    });
    assert!(try_send(("POST", &url), &[], &body.to_string()).await.is_none());
    assert_eq!(emulator.refreshes()[0].outcome, RefreshOutcome::Granted, "and nobody knows the new token");
    assert_eq!(tool.refresh(&text(&login, "refreshToken")).await.exception(), "InvalidGrantException");
    assert_eq!(emulator.counters().value(Counter::InjectedTroubles), 5);

    let (operation, trouble) = (Operation::ListAccounts, Trouble::Drop);
    emulator.inject(SignInOrder::Trouble { operation, trouble, count: 9 });
    emulator.inject(Injection::Calm);
    assert_eq!(tool.portal("GET", "/assignment/accounts", &login["accessToken"]).await.status, 200);
    assert_eq!(get(&format!("{}/device", emulator.api_url())).await.status, 200);
}
