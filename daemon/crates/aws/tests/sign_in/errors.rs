//! What the engine is told of calls that fail.

use stormtunnel_engine::sign_in::classify::{RefreshFailure, refresh_failure};
use tokio::net::TcpListener;

use super::*;

fn service(status: u16, code: &str, reason: &str, message: &str) -> ServiceError {
    let [code, reason, message] = [code, reason, message].map(str::to_owned);
    ServiceError { status, code, reason, message }
}

#[tokio::test]
async fn an_exception_is_found_in_header_or_body() {
    let desk = Desk::new().await;
    let oauth = r#"{"error":"invalid_grant","error_description":"Invalid refresh token provided"}"#;
    let kms = r#"{"error":"access_denied","error_description":"No.","reason":"KMS_AccessDeniedException"}"#;
    let portal = r#"{"message":"Gone.","__type":"com.amazonaws.x#UnauthorizedException"}"#;
    let origin = "InvalidGrantException:http://internal.amazon.com/coral/com.amazonaws.sso.oidc/";
    let invalid = "Invalid refresh token provided";
    for (status, header, body, expected) in [
        (400, origin, oauth, service(400, "InvalidGrantException", "", invalid)),
        (400, "x.y#InvalidGrantException", oauth, service(400, "InvalidGrantException", "", invalid)),
        (400, "", oauth, service(400, "invalid_grant", "", invalid)),
        (
            400,
            "AccessDeniedException",
            kms,
            service(400, "AccessDeniedException", "KMS_AccessDeniedException", "No."),
        ),
        (401, "", portal, service(401, "UnauthorizedException", "", "Gone.")),
        (
            403,
            "ForbiddenException",
            r#"{"Message":"No access"}"#,
            service(403, "ForbiddenException", "", "No access"),
        ),
        (500, "InternalServerException", "", service(500, "InternalServerException", "", "")),
        (400, "SlowDownException", "<html>", service(400, "SlowDownException", "", "")),
        (403, "", "<html>blocked by the corporate proxy</html>", service(403, "", "", "")),
        (502, "two words", r#"["no object"]"#, service(502, "", "", "")),
        (400, "", r#"{"error":7,"message":null}"#, service(400, "", "", "")),
        (200, "", "<html>please log in to the hotel</html>", service(200, "", "", "")),
        (200, "", "{}", service(200, "", "", "")),
        (200, "", r#"{"accessToken":"","expiresIn":60}"#, service(200, "", "", "")),
        (200, "", r#"{"accessToken":"a","expiresIn":0}"#, service(200, "", "", "")),
    ] {
        match header {
            "" => desk.server.answer(status, body),
            header => desk.server.refuse(status, header, body),
        }
        assert_eq!(desk.refused().await, SsoError::Service(expected), "{status} {header} {body}");
    }
}

#[tokio::test]
async fn nothing_that_was_sent_comes_back_in_an_error() {
    let desk = Desk::new().await;
    let body = r#"{"error":"CANARYrefresh","error_description":"CANARYclient CANARYrefresh","reason":"CANARYclient"}"#;
    for header in ["CANARYrefresh", "InvalidGrantException"] {
        desk.server.refuse(400, header, body);
        let error = desk.refused().await;
        let shown = format!("{error:?} {:?}", refresh_failure(error.clone()));
        assert!(!shown.contains("CANARY"), "{shown}");
    }
}

#[tokio::test]
async fn nothing_is_sent_twice() {
    let desk = Desk::new().await;
    for (status, exception) in
        [(500, "InternalServerException"), (429, "TooManyRequestsException"), (400, "SlowDownException")]
    {
        desk.server.refuse(status, exception, "{}");
        let failure = refresh_failure(desk.refused().await);
        let passes = matches!(failure, RefreshFailure::Throttled(_) | RefreshFailure::Unreachable(_));
        assert!(passes, "{failure:?}");
        assert_eq!(desk.server.requests().len(), 1, "{exception}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_a_network_fault() {
    let desk = Desk::new().await;
    let dead = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    for (url, said) in [
        (dead.as_str(), "refused"),
        ("https://sso.invalid", "the SSO-OIDC endpoint of eu-west-1 cannot be found"),
    ] {
        desk.settings.send_replace(Arc::new(pointing_at(url)));
        let SsoError::Local(fault) = desk.refused().await else { panic!("nobody answered") };
        assert_eq!(fault.kind, FaultKind::Network);
        assert!(fault.detail.contains(said), "{fault}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_swallows_everything_is_given_up() {
    let desk = Desk::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    desk.settings.send_replace(Arc::new(pointing_at(&url)));
    let swallow = async {
        let mut held = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            held.push(socket);
        }
    };
    let began = tokio::time::Instant::now();
    let error = tokio::select! {
        error = desk.refused() => error,
        () = swallow => unreachable!("the listener goes on"),
    };
    let SsoError::Local(fault) = error else { panic!("nobody answered") };
    assert_eq!(fault.kind, FaultKind::Network, "{fault}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
