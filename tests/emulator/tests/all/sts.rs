//! Callers are told who they are.

use aws_emulator::{AccessKey, Config, Counter, Emulator, Injection};

use crate::support::post;

const FORM: [(&str, &str); 1] = [("content-type", "application/x-www-form-urlencoded")];
const WHO: &str = "Action=GetCallerIdentity&Version=2011-06-15";

async fn ask(emulator: &Emulator, key: &AccessKey, service: &'static str) -> (u16, String) {
    post(emulator, key, service, (&FORM, WHO)).await
}

#[tokio::test]
async fn a_caller_is_told_who_it_is_whatever_it_may_do() {
    let emulator = Emulator::start(Config::default()).await.unwrap();
    emulator.inject(Injection::Deny { action: "sts:GetCallerIdentity".to_owned(), denied: true });
    let (status, body) = ask(&emulator, emulator.access_key(), "sts").await;
    assert_eq!(status, 200, "{body}");
    let arn = format!("<Arn>{}</Arn>", Config::default().principal);
    assert!(body.contains(&arn) && body.contains("<Account>123456789012</Account>"), "{body}");
    assert_eq!(emulator.counters().value(Counter::ApiGetCallerIdentity), 1);
}

#[tokio::test]
async fn a_signature_must_be_a_known_keys_and_for_this_service() {
    let emulator = Emulator::start(Config::default()).await.unwrap();
    let stranger = AccessKey::new("AKIASTRANGEREXAMPLE0", "x", None);
    for (key, service, code) in
        [(&stranger, "sts", "InvalidClientTokenId"), (emulator.access_key(), "ec2", "SignatureDoesNotMatch")]
    {
        let (status, body) = ask(&emulator, key, service).await;
        assert_eq!(status, 403, "{body}");
        assert!(body.contains(&format!("<Code>{code}</Code>")), "{body}");
    }
    assert_eq!(emulator.counters().value(Counter::ApiGetCallerIdentity), 0);
}
