//! The access portal.

use stormtunnel_engine::sign_in::classify::{PortalFailure, portal_failure};
use stormtunnel_engine::sign_in::credentials::Role;
use stormtunnel_engine::sign_in::ports::{AccountsApi as _, PortalApi as _};
use stormtunnel_model::Account;

use super::*;

fn role() -> Role {
    Role { account: "123456789012".to_owned(), name: "Dev Ops".to_owned() }
}

#[tokio::test]
async fn credentials_of_a_role_are_asked_for_with_the_token() {
    let desk = Desk::new().await;
    let answer = json!({ "roleCredentials": {
        "accessKeyId": "ASIA1", "secretAccessKey": "CANARYkey", "sessionToken": "CANARYsession",
        "expiration": 4_102_444_800_123_u64,
    }});
    desk.server.answer(200, &answer.to_string());
    let issued = desk.portal.role_credentials(&site(START_URL), &token(), &role()).await.unwrap();
    assert_eq!(
        (issued.access_key_id.as_str(), issued.secret_access_key.expose_secret()),
        ("ASIA1", "CANARYkey")
    );
    assert_eq!(issued.session_token.expose_secret(), "CANARYsession");
    assert_eq!(issued.expires_at, Timestamp::from_millis(4_102_444_800_123));
    let (head, _) = desk.sent();
    assert!(head.starts_with("GET /federation/credentials?"), "{head}");
    assert!(head.contains("account_id=123456789012") && head.contains("role_name=Dev%20Ops"), "{head}");
    assert!(head.contains("x-amz-sso_bearer_token: CANARYaccess"), "{head}");
}

#[tokio::test]
async fn refusals_of_the_portal_are_told_apart() {
    let desk = Desk::new().await;
    for (status, exception, label) in [
        (401, "UnauthorizedException", "rejected"),
        (403, "ForbiddenException", "unassigned"),
        (404, "ResourceNotFoundException", "unassigned"),
        (429, "TooManyRequestsException", "throttled"),
        (400, "InvalidRequestException", "invalid"),
        (500, "InternalServerException", "unreachable"),
        (503, "", "unreachable"),
        (200, "", "unreachable"),
    ] {
        match exception {
            "" => desk.server.answer(status, "{}"),
            exception => desk.server.refuse(status, exception, r#"{"message":"token CANARYaccess"}"#),
        }
        let outcome = desk.portal.role_credentials(&site(START_URL), &token(), &role()).await;
        let failure = portal_failure(outcome.expect_err("the call should fail"));
        let found = match &failure {
            PortalFailure::TokenRejected => "rejected",
            PortalFailure::NoAssignment(_) => "unassigned",
            PortalFailure::Invalid(_) => "invalid",
            PortalFailure::Throttled(_) => "throttled",
            PortalFailure::Unreachable(_) => "unreachable",
        };
        assert_eq!(found, label, "{status} {exception}: {failure:?}");
        assert!(!format!("{failure:?}").contains("CANARY"), "{failure:?}");
        assert_eq!(desk.server.requests().len(), 1, "nothing is sent twice");
    }
}

#[tokio::test]
async fn lists_are_read_to_their_end() {
    let desk = Desk::new().await;
    let first = json!({ "accountList": [
        { "accountId": "111111111111", "accountName": "One", "emailAddress": "one@corp.example" },
    ], "nextToken": "more" });
    desk.server.answer(200, &first.to_string());
    desk.server.answer(200, r#"{"accountList":[{"accountId":"222222222222"}]}"#);
    let accounts = desk.portal.accounts(&site(START_URL), &token()).await.unwrap();
    let account = |id: &str, name: Option<&str>, email: Option<&str>| Account {
        id: id.to_owned(),
        name: name.map(str::to_owned),
        email: email.map(str::to_owned),
    };
    let one = account("111111111111", Some("One"), Some("one@corp.example"));
    assert_eq!(accounts, [one, account("222222222222", None, None)]);
    let sent = desk.server.requests();
    assert!(
        sent[0].starts_with("GET /assignment/accounts?") && sent[0].contains("max_result=100"),
        "{sent:?}"
    );
    assert!(sent[1].contains("next_token=more"), "{sent:?}");

    desk.server.answer(200, r#"{"roleList":[{"roleName":"Dev","accountId":"1"}],"nextToken":"more"}"#);
    desk.server.answer(200, r#"{"roleList":[{"roleName":"Ops","accountId":"1"}]}"#);
    let roles = desk.portal.roles(&site(START_URL), &token(), "111111111111").await.unwrap();
    assert_eq!(roles, ["Dev", "Ops"]);
    let sent = desk.server.requests();
    assert!(sent[0].starts_with("GET /assignment/roles?"), "{sent:?}");
    assert!(sent.iter().all(|request| request.contains("account_id=111111111111")), "{sent:?}");

    desk.server.answer(200, &first.to_string());
    desk.server.refuse(429, "TooManyRequestsException", "{}");
    let outcome = desk.portal.accounts(&site(START_URL), &token()).await;
    assert!(matches!(outcome, Err(SsoError::Service(error)) if error.status == 429), "half a list is none");
}

#[tokio::test]
async fn a_logout_is_for_one_token() {
    let desk = Desk::new().await;
    desk.server.answer(200, "");
    desk.oidc.logout(&site(START_URL), &token()).await.unwrap();
    let (head, _) = desk.sent();
    assert!(head.starts_with("POST /logout "), "{head}");
    assert!(head.contains("x-amz-sso_bearer_token: CANARYaccess"), "{head}");
    desk.server.refuse(401, "UnauthorizedException", r#"{"message":"Session token not found or invalid"}"#);
    let outcome = desk.oidc.logout(&site(START_URL), &token()).await;
    assert!(matches!(outcome, Err(SsoError::Service(error)) if error.status == 401));
}
