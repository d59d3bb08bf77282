//! The metadata services of an instance and of a container.

use aws_emulator::{AccessKey, Config, Counter, Emulator, SignInOrder};
use serde_json::{Value, json};

use crate::http::{Reply, get, send};
use crate::support::call;
use crate::tool::text;

const TOKEN: &str = "x-aws-ec2-metadata-token";
const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

async fn with_roles() -> Emulator {
    let role = |name: &str| Some(format!("arn:aws:iam::123456789012:role/service/{name}"));
    let config = Config { instance_role: role("Server"), task_role: role("Task"), ..Config::default() };
    Emulator::start(config).await.unwrap()
}

async fn token(emulator: &Emulator, headers: &[(&str, &str)]) -> Reply {
    send(("PUT", &format!("{}/latest/api/token", emulator.metadata_url())), headers, "").await
}

async fn look_up(emulator: &Emulator, path: &str, token: &str) -> Reply {
    send(("GET", &format!("{}{path}", emulator.metadata_url())), &[(TOKEN, token)], "").await
}

async fn works(emulator: &Emulator, credentials: &Value) -> bool {
    let session = Some(text(credentials, "Token"));
    let key = AccessKey::new(text(credentials, "AccessKeyId"), text(credentials, "SecretAccessKey"), session);
    call(emulator, &key, "DescribeInstanceInformation", json!({})).await.0 == 200
}

#[tokio::test]
async fn an_instance_tells_what_it_is_to_whoever_shows_a_token() {
    let emulator = with_roles().await;
    let granted = token(&emulator, &[(TTL, "60")]).await;
    assert_eq!((granted.status, granted.header(TTL)), (200, Some("60")));
    let token = granted.body.as_str();
    for (path, text) in [
        (ROLES, "Server"),
        (ROLES.trim_end_matches('/'), "Server"),
        ("/latest/meta-data/placement/region", "eu-central-1"),
        ("/latest/meta-data/placement/availability-zone/", "eu-central-1a"),
        ("/latest/meta-data/instance-id", "i-0123456789abcdef0"),
    ] {
        let reply = look_up(&emulator, path, token).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, text), "{path}");
    }
    let document = look_up(&emulator, "/latest/dynamic/instance-identity/document", token).await.json();
    assert_eq!(
        (&document["region"], &document["accountId"]),
        (&json!("eu-central-1"), &json!("123456789012"))
    );
    let credentials = look_up(&emulator, &format!("{ROLES}Server"), token).await.json();
    assert_eq!((&credentials["Code"], &credentials["Type"]), (&json!("Success"), &json!("AWS-HMAC")));
    assert!(text(&credentials, "Expiration").ends_with('Z'));
    assert!(works(&emulator, &credentials).await);
    for path in [format!("{ROLES}Other"), "/latest/user-data".to_owned(), "/".to_owned()] {
        assert_eq!(look_up(&emulator, &path, token).await.status, 404, "{path}");
    }
    emulator.inject(SignInOrder::Age { seconds: 60 });
    assert_eq!(look_up(&emulator, ROLES, token).await.status, 401, "the token is expired");
    assert!(works(&emulator, &credentials).await, "the keys are not");
    assert_eq!(emulator.counters().value(Counter::MetadataTokens), 1);
    assert_eq!(emulator.counters().value(Counter::MetadataCalls), 11);
}

#[tokio::test]
async fn nothing_is_told_without_a_token_and_no_token_given_to_a_proxy() {
    let emulator = with_roles().await;
    assert_eq!(get(&format!("{}{ROLES}", emulator.metadata_url())).await.status, 401);
    assert_eq!(look_up(&emulator, ROLES, "nonsense").await.status, 401);
    for (headers, status) in [
        (vec![], 400),
        (vec![(TTL, "0")], 400),
        (vec![(TTL, "21601")], 400),
        (vec![(TTL, "60"), ("x-forwarded-for", "10.0.0.1")], 403),
        (vec![(TTL, "21600")], 200),
    ] {
        assert_eq!(token(&emulator, &headers).await.status, status, "{headers:?}");
    }
    let bare = Emulator::start(Config::default()).await.unwrap();
    let granted = token(&bare, &[(TTL, "60")]).await;
    assert_eq!(look_up(&bare, ROLES, &granted.body).await.status, 404, "an instance without a role");
    assert!(
        !bare.environment().iter().any(|(name, _)| name.contains("METADATA") || name.contains("CONTAINER"))
    );
}

#[tokio::test]
async fn a_container_gets_credentials_with_its_own_token() {
    let emulator = with_roles().await;
    let variable = |wanted: &str| {
        let found = emulator.environment().into_iter().find(|(name, _)| name == wanted);
        found.unwrap_or_else(|| panic!("no {wanted}")).1
    };
    let uri = variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    let secret = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    assert!(emulator.issued_secrets().contains(&secret));
    let credentials = send(("GET", &uri), &[("authorization", &secret)], "").await.json();
    assert_eq!(credentials["RoleArn"], "arn:aws:iam::123456789012:role/service/Task");
    assert!(works(&emulator, &credentials).await);
    assert_eq!(get(&uri).await.status, 403);
    assert_eq!(send(("GET", &uri), &[("authorization", "another")], "").await.status, 403);
    assert_eq!(emulator.counters().value(Counter::ContainerCredentials), 3);
}
