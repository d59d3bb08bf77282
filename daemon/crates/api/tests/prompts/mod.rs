//! The prompt service as a client sees it.

use stormtunnel_engine::prompts::CodeQuestion;
use stormtunnel_model::{Profile, Prompt, PromptId, PromptKind};
use stormtunnel_proto::PromptWatch;
use stormtunnel_proto::calls::PromptEvent;

use super::*;

const DEVICE: &str = "arn:aws:iam::123456789012:mfa/ann";

/// Waits for a code; answers how many characters it has, since a code has no text form.
async fn ask(daemon: &Daemon, profile: &str) -> Result<(), Fault> {
    let profile: Profile = profile.parse().unwrap();
    let question = CodeQuestion { profile: &profile, serial: DEVICE, refused: true, patience: DEADLINE };
    daemon.prompts.ask_code(question).await.map(drop)
}

async fn next(watch: &mut PromptWatch) -> PromptEvent {
    tokio::time::timeout(DEADLINE, watch.next()).await.unwrap().unwrap().unwrap()
}

async fn front_end(client: &Client) -> PromptWatch {
    let mut watch = client.watch_prompts().await.unwrap();
    assert_eq!(next(&mut watch).await, PromptEvent::Snapshot(Vec::new()));
    watch
}

async fn opened(watch: &mut PromptWatch) -> Prompt {
    let event = next(watch).await;
    let PromptEvent::Opened(prompt) = event else { panic!("{event:?}") };
    prompt
}

#[tokio::test]
async fn a_person_behind_any_front_end_answers() {
    let daemon = Daemon::start().await;
    let client = daemon.client().await;
    let mut watch = front_end(&client).await;
    let person = async {
        let prompt = opened(&mut watch).await;
        let kind = PromptKind::MfaCode {
            profile: "prod".parse().unwrap(),
            serial: DEVICE.to_owned(),
            refused: true,
        };
        assert_eq!(prompt.kind, kind);
        let mut late = client.watch_prompts().await.unwrap();
        assert_eq!(
            next(&mut late).await,
            PromptEvent::Snapshot(vec![prompt.clone()]),
            "what is open comes first"
        );
        let wrong = fault(client.answer_prompt(prompt.id, "12 34").await);
        assert_eq!(wrong.kind, FaultKind::InvalidArgument { field: "answer".to_owned() });
        client.answer_prompt(prompt.id, "123 456").await.unwrap();
        assert_eq!(next(&mut watch).await, PromptEvent::Closed(prompt.id));
        let late = fault(client.answer_prompt(prompt.id, "654321").await);
        assert_eq!(late.kind, FaultKind::InvalidArgument { field: "id".to_owned() });
    };
    let (code, ()) = tokio::join!(ask(&daemon, "prod"), person);
    assert_eq!(code, Ok(()));
    daemon.stop().await;
}

#[tokio::test]
async fn who_asks_does_not_wait_for_a_front_end_that_is_gone() {
    let daemon = Daemon::start().await;
    let nobody = ask(&daemon, "prod").await.unwrap_err();
    assert!(nobody.detail.contains("`stctl up NAME`"), "{nobody}");
    let client = daemon.client().await;
    let mut watch = front_end(&client).await;
    let leaves = async {
        opened(&mut watch).await;
        drop(watch);
        drop(client);
    };
    let asked = tokio::time::timeout(DEADLINE / 2, ask(&daemon, "prod"));
    let (asked, ()) = tokio::join!(asked, leaves);
    assert!(asked.unwrap().unwrap_err().detail.contains("nobody is at a terminal"));
    daemon.stop().await;
}

#[tokio::test]
async fn a_daemon_that_stops_ends_the_watch() {
    let daemon = Daemon::start().await;
    let client = daemon.client().await;
    let mut watch = front_end(&client).await;
    let wrong = fault(client.answer_prompt(PromptId(1), "123456").await);
    assert_eq!(wrong.kind, FaultKind::InvalidArgument { field: "id".to_owned() });
    daemon.stop().await;
    let end = tokio::time::timeout(DEADLINE, watch.next()).await.unwrap();
    assert!(matches!(end, Ok(None) | Err(_)), "{end:?}");
}
