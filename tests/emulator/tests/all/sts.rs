//! The token service of IAM, asked with AWS's own signer.

use aws_emulator::{AccessKey, Config, Counter, Emulator, Injection, Lifetimes, Role, SignInOrder};
use url::form_urlencoded;

use crate::http::{Reply, send};
use crate::support::sign_with;

const TARGET: &str = "arn:aws:iam::222222222222:role/path/Target";

fn role(change: impl FnOnce(&mut Role)) -> Role {
    let mut role = Role::new(TARGET);
    change(&mut role);
    role
}

async fn with(roles: Vec<Role>) -> Emulator {
    Emulator::start(Config { roles, ..Config::default() }).await.unwrap()
}

async fn ask(emulator: &Emulator, key: Option<&AccessKey>, parameters: &[(&str, &str)]) -> Reply {
    query(emulator, key, ("sts", "2011-06-15"), parameters).await
}

/// A call in the Query protocol.
async fn query(
    emulator: &Emulator,
    key: Option<&AccessKey>,
    (service, version): (&'static str, &str),
    parameters: &[(&str, &str)],
) -> Reply {
    let url = format!("{}/", emulator.api_url());
    let authority = emulator.api_url().strip_prefix("http://").unwrap();
    let body = form_urlencoded::Serializer::new(String::new())
        .append_pair("Version", version)
        .extend_pairs(parameters)
        .finish();
    let headers = [("host", authority), ("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
    let signed = key
        .map(|key| sign_with(key, (emulator.region(), service), ("POST", &url), (&headers, body.as_bytes())));
    let signed = signed.unwrap_or_default();
    let signed = signed.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    send(("POST", &url), &headers.into_iter().chain(signed).collect::<Vec<_>>(), &body).await
}

async fn assume(emulator: &Emulator, key: &AccessKey, more: &[(&str, &str)]) -> Reply {
    let usual = [("Action", "AssumeRole"), ("RoleArn", TARGET), ("RoleSessionName", "me@work")];
    let usual = usual.into_iter().filter(|(name, _)| !more.iter().any(|(other, _)| other == name));
    ask(emulator, Some(key), &usual.chain(more.iter().copied()).collect::<Vec<_>>()).await
}

async fn identity(emulator: &Emulator, key: &AccessKey) -> Reply {
    ask(emulator, Some(key), &[("Action", "GetCallerIdentity")]).await
}

fn element<'a>(reply: &'a Reply, name: &str) -> &'a str {
    let rest =
        reply.body.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name}: {reply:?}")).1;
    rest.split_once("</").unwrap().0
}

fn key(reply: &Reply) -> AccessKey {
    assert_eq!(reply.status, 200, "{reply:?}");
    let token = element(reply, "SessionToken").to_owned();
    AccessKey::new(element(reply, "AccessKeyId"), element(reply, "SecretAccessKey"), Some(token))
}

#[tokio::test]
async fn everybody_learns_who_he_is() {
    let emulator = with(vec![Role::new(TARGET)]).await;
    let me = identity(&emulator, emulator.access_key()).await;
    assert_eq!(element(&me, "Arn"), "arn:aws:sts::123456789012:assumed-role/Developer/me@corp.example");
    assert_eq!(element(&me, "Account"), "123456789012");
    let assumed = assume(&emulator, emulator.access_key(), &[]).await;
    let session = "arn:aws:sts::222222222222:assumed-role/Target/me@work";
    assert_eq!(element(&assumed, "Arn"), session, "the path is left out");
    let me = identity(&emulator, &key(&assumed)).await;
    assert_eq!((element(&me, "Arn"), element(&me, "Account")), (session, "222222222222"));
    assert_eq!(element(&me, "UserId"), element(&assumed, "AssumedRoleId"));
    assert!(element(&me, "UserId").starts_with("AROA") && element(&me, "UserId").ends_with(":me@work"));
    let counters = emulator.counters();
    assert_eq!(
        (counters.value(Counter::ApiGetCallerIdentity), counters.value(Counter::ApiAssumeRole)),
        (2, 1)
    );
}

#[tokio::test]
async fn a_role_asks_for_what_its_policy_names() {
    let device = ("arn:aws:iam::123456789012:mfa/me".to_owned(), "123456".to_owned());
    let emulator = with(vec![role(|role| {
        role.external_id = Some("xyz".into());
        role.mfa = Some(device.clone());
    })])
    .await;
    let (serial, id) = (("SerialNumber", device.0.as_str()), ("ExternalId", "xyz"));
    for (parameters, said) in [
        (
            vec![serial, ("TokenCode", "123456")],
            "not authorized to perform: sts:AssumeRole on resource: arn:aws:iam",
        ),
        (
            vec![("ExternalId", "abc"), serial, ("TokenCode", "123456")],
            "not authorized to perform: sts:AssumeRole",
        ),
        (vec![id], "not authorized to perform: sts:AssumeRole"),
        (vec![id, serial, ("TokenCode", "654321")], "invalid MFA one time pass code"),
        (vec![id, ("SerialNumber", "another"), ("TokenCode", "123456")], "verify your MFA serial number"),
        (vec![id, ("RoleArn", "arn:aws:iam::222222222222:role/Nobody")], "role/Nobody"),
    ] {
        let reply = assume(&emulator, emulator.access_key(), &parameters).await;
        assert_eq!((reply.status, element(&reply, "Code")), (403, "AccessDenied"), "{parameters:?}");
        assert!(element(&reply, "Message").contains(said), "{parameters:?}: {reply:?}");
    }
    let all = [id, serial, ("TokenCode", "123456")];
    key(&assume(&emulator, emulator.access_key(), &all).await);
    emulator.inject(Injection::Deny { action: "sts:AssumeRole".into(), denied: true });
    assert_eq!(assume(&emulator, emulator.access_key(), &all).await.status, 403);
    assert_eq!(identity(&emulator, emulator.access_key()).await.status, 200, "that is never denied");
}

#[tokio::test]
async fn the_second_role_of_a_chain_trusts_the_first_and_lasts_an_hour_at_most() {
    let first = "arn:aws:iam::111111111111:role/First";
    let emulator = with(vec![
        Role { max_session_s: 12 * 3600, ..Role::new(first) },
        role(|role| {
            role.trusts = vec!["arn:aws:sts::111111111111:assumed-role/First/".into()];
            role.max_session_s = 12 * 3600;
        }),
    ])
    .await;
    assert_eq!(assume(&emulator, emulator.access_key(), &[]).await.status, 403, "not through the first");
    let twelve_hours = ("DurationSeconds", "43200");
    let first = key(&assume(&emulator, emulator.access_key(), &[("RoleArn", first), twelve_hours]).await);
    let refused = assume(&emulator, &first, &[twelve_hours]).await;
    assert_eq!((refused.status, element(&refused, "Code")), (400, "ValidationError"));
    assert!(element(&refused, "Message").contains("1 hour session limit for roles assumed by role chaining"));
    key(&assume(&emulator, &first, &[]).await);
}

#[tokio::test]
async fn durations_and_names_have_limits() {
    let emulator = with(vec![Role::new(TARGET)]).await;
    for (parameter, said) in [
        (("DurationSeconds", "899"), "greater than or equal to 900"),
        (("DurationSeconds", "43201"), "less than or equal to 43200"),
        (("DurationSeconds", "soon"), "Must be a number"),
        (("DurationSeconds", "3601"), "exceeds the MaxSessionDuration set for this role"),
        (("RoleSessionName", "a b"), "regular expression"),
        (("RoleArn", "short"), "length greater than or equal to 20"),
    ] {
        let reply = assume(&emulator, emulator.access_key(), &[parameter]).await;
        assert_eq!((reply.status, element(&reply, "Code")), (400, "ValidationError"), "{parameter:?}");
        assert!(element(&reply, "Message").contains(said), "{parameter:?}: {reply:?}");
    }
    let unknown = ask(&emulator, Some(emulator.access_key()), &[("Action", "GetFederationToken")]).await;
    assert_eq!(element(&unknown, "Code"), "InvalidAction");
}

#[tokio::test]
async fn keys_are_refused_in_the_services_words() {
    let emulator = with(vec![Role::new(TARGET)]).await;
    let mine = emulator.access_key();
    let stranger = AccessKey::new("AKIASTRANGER00000000", "secret", None);
    let mistyped = AccessKey::new(&mine.id, "secret", None);
    let assumed = key(&assume(&emulator, mine, &[("DurationSeconds", "900")]).await);
    assert_eq!(identity(&emulator, &assumed).await.status, 200);
    emulator.inject(SignInOrder::Age { seconds: 900 });
    for (key, code) in [
        (&stranger, "InvalidClientTokenId"),
        (&mistyped, "SignatureDoesNotMatch"),
        (&assumed, "ExpiredToken"),
    ] {
        let reply = identity(&emulator, key).await;
        assert_eq!((reply.status, element(&reply, "Code"), element(&reply, "Type")), (403, code, "Sender"));
    }
    let elsewhere =
        query(&emulator, Some(mine), ("ec2", "2011-06-15"), &[("Action", "GetCallerIdentity")]).await;
    assert_eq!(element(&elsewhere, "Code"), "SignatureDoesNotMatch");
    let instances =
        query(&emulator, Some(&assumed), ("ec2", "2016-11-15"), &[("Action", "DescribeInstances")]);
    let instances = instances.await;
    assert_eq!((instances.status, element(&instances, "Code")), (400, "RequestExpired"), "EC2's own words");
    let unsigned = ask(&emulator, None, &[("Action", "GetCallerIdentity")]).await;
    assert_eq!(element(&unsigned, "Code"), "MissingAuthenticationToken");
    let lifetimes = Lifetimes { assumed_role_s: Some(60), ..Lifetimes::default() };
    emulator.inject(SignInOrder::Lifetimes { lifetimes });
    let short = key(&assume(&emulator, mine, &[]).await);
    emulator.inject(SignInOrder::Age { seconds: 60 });
    assert_eq!(element(&identity(&emulator, &short).await, "Code"), "ExpiredToken");
}

#[tokio::test]
async fn a_web_identity_needs_no_signature_but_its_token() {
    let emulator = with(vec![role(|role| role.web_identity_token = Some("a.web.token".into()))]).await;
    let asked = async |role: &str, token: &str| {
        let action = ("Action", "AssumeRoleWithWebIdentity");
        let named = [action, ("RoleArn", role), ("RoleSessionName", "pod"), ("WebIdentityToken", token)];
        ask(&emulator, None, &named).await
    };
    let granted = key(&asked(TARGET, "a.web.token").await);
    let me = identity(&emulator, &granted).await;
    assert_eq!(element(&me, "Arn"), "arn:aws:sts::222222222222:assumed-role/Target/pod");
    let refused = asked(TARGET, "another.web.token").await;
    assert_eq!((refused.status, element(&refused, "Code")), (400, "InvalidIdentityToken"));
    let unknown = asked("arn:aws:iam::222222222222:role/Nobody", "a.web.token").await;
    assert_eq!((unknown.status, element(&unknown, "Code")), (403, "AccessDenied"));
}
