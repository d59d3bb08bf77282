use futures_util::StreamExt as _;
use futures_util::future::join_all;
use secrecy::ExposeSecret as _;

use super::*;
use crate::testing::TestClock;

const DEVICE: &str = "arn:aws:iam::123456789012:mfa/ann";
const PATIENCE: Duration = Duration::from_secs(120);

fn prompts() -> Prompts {
    Prompts::new(Arc::new(TestClock::new()), [7; 32])
}

fn profile(name: &str) -> Profile {
    name.parse().unwrap()
}

async fn ask(prompts: &Prompts, name: &str) -> Result<String, Fault> {
    let profile = profile(name);
    let question = CodeQuestion { profile: &profile, serial: DEVICE, refused: false, patience: PATIENCE };
    prompts.ask_code(question).await.map(|code| code.expose_secret().to_owned())
}

/// A watcher that has seen its snapshot, of nothing.
async fn front_end(prompts: &Prompts) -> PromptWatcher {
    let mut watcher = prompts.watch();
    assert_eq!(watcher.next().await, Some(PromptChange::Snapshot(Vec::new())));
    watcher
}

/// The prompt that is opened next.
async fn opened(watcher: &mut PromptWatcher) -> Prompt {
    let change = tokio::time::timeout(PATIENCE, watcher.next()).await.expect("a prompt is opened");
    let Some(PromptChange::Opened(prompt)) = change else { panic!("{change:?}") };
    prompt
}

#[tokio::test(start_paused = true)]
async fn where_nobody_watches_nobody_is_asked() {
    let prompts = prompts();
    let begun = tokio::time::Instant::now();
    let fault = ask(&prompts, "Prod Admin").await.unwrap_err();
    assert_eq!(begun.elapsed(), Duration::ZERO, "at once");
    assert_eq!(fault.kind, FaultKind::CredentialsInvalid { profile: "Prod Admin".to_owned() });
    let expected = "the code of MFA device arn:aws:iam::123456789012:mfa/ann is needed, and nobody is at a terminal to \
                    type it; `stctl up NAME` or `stctl whoami --profile 'Prod Admin'` asks for it";
    assert_eq!(fault.detail, expected);
    drop(prompts.watch());
    assert!(ask(&prompts, "prod").await.is_err(), "who watched is gone");
}

#[tokio::test(start_paused = true)]
async fn however_many_ask_the_same_there_is_one_prompt_and_one_answer() {
    let prompts = prompts();
    let mut watcher = front_end(&prompts).await;
    let asked = join_all((0..100).map(|_| ask(&prompts, "prod")));
    let person = async {
        let prompt = opened(&mut watcher).await;
        let kind =
            PromptKind::MfaCode { profile: profile("prod"), serial: DEVICE.to_owned(), refused: false };
        assert_eq!(prompt.kind, kind);
        assert_eq!(prompt.deadline, prompts.0.clock.wall().plus(PATIENCE));
        prompts.answer(prompt.id, " 123 456\n").unwrap();
        assert_eq!(watcher.next().await, Some(PromptChange::Closed(prompt.id)), "and no other one was open");
        let late = prompts.answer(prompt.id, "654321").unwrap_err();
        assert_eq!(late.kind, FaultKind::InvalidArgument { field: "id".to_owned() });
    };
    let (codes, ()) = tokio::join!(asked, person);
    assert!(codes.iter().all(|code| code.as_deref() == Ok("123456")), "{codes:?}");
}

#[tokio::test(start_paused = true)]
async fn profiles_are_asked_for_apart() {
    let prompts = prompts();
    let mut watcher = front_end(&prompts).await;
    let person = async {
        let (one, two) = (opened(&mut watcher).await, opened(&mut watcher).await);
        let mut late = prompts.watch();
        let snapshot = PromptChange::Snapshot(vec![one.clone(), two.clone()]);
        assert_eq!(late.next().await, Some(snapshot), "whoever comes later sees both");
        prompts.answer(two.id, "222222").unwrap();
        prompts.answer(one.id, "111111").unwrap();
    };
    let (one, two, ()) = tokio::join!(ask(&prompts, "one"), ask(&prompts, "two"), person);
    assert_eq!((one.as_deref(), two.as_deref()), (Ok("111111"), Ok("222222")));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_right_leaves_the_prompt_open() {
    let prompts = prompts();
    let mut watcher = front_end(&prompts).await;
    let person = async {
        let prompt = opened(&mut watcher).await;
        for bad in ["", "12345", "1234567", "12345x", "٣٣٣٣٣٣", "123456'"] {
            let fault = prompts.answer(prompt.id, bad).unwrap_err();
            assert_eq!(fault.kind, FaultKind::InvalidArgument { field: "answer".to_owned() }, "{bad}");
            assert!(bad.is_empty() || !fault.to_string().contains(bad), "{fault}");
        }
        prompts.answer(prompt.id, "123456").unwrap();
    };
    let (code, ()) = tokio::join!(ask(&prompts, "prod"), person);
    assert_eq!(code.as_deref(), Ok("123456"));
}

#[tokio::test(start_paused = true)]
async fn a_question_that_nobody_waits_for_any_more_is_withdrawn() {
    let prompts = prompts();
    let mut watcher = front_end(&prompts).await;
    let id = {
        let mut one = std::pin::pin!(ask(&prompts, "prod"));
        let mut other = Box::pin(ask(&prompts, "prod"));
        assert!(futures_util::poll!(&mut one).is_pending());
        assert!(futures_util::poll!(&mut other).is_pending());
        let id = opened(&mut watcher).await.id;
        drop(other);
        assert!(futures_util::poll!(watcher.next()).is_pending(), "somebody still waits");
        id
    };
    assert_eq!(watcher.next().await, Some(PromptChange::Closed(id)));
    assert!(prompts.answer(id, "123456").is_err());
}

#[tokio::test(start_paused = true)]
async fn when_the_last_one_who_could_answer_is_gone_nobody_waits() {
    let prompts = prompts();
    let (mut watcher, second) = (front_end(&prompts).await, prompts.watch());
    let mut asked = std::pin::pin!(ask(&prompts, "prod"));
    assert!(futures_util::poll!(&mut asked).is_pending());
    let id = opened(&mut watcher).await.id;
    drop(second);
    assert!(futures_util::poll!(&mut asked).is_pending(), "one is still there");
    drop(watcher);
    assert!(asked.await.unwrap_err().detail.contains("nobody is at a terminal"));
    assert!(prompts.answer(id, "123456").is_err());
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_said() {
    let prompts = prompts();
    let mut waiting = prompts.watch();
    let fault = ask(&prompts, "prod").await.unwrap_err();
    assert!(fault.detail.contains("nobody typed it within 120 s"), "{fault}");
    assert_eq!(waiting.next().await, Some(PromptChange::Snapshot(Vec::new())));
    // It was closed before the watcher looked: nothing is told of it.
    assert!(futures_util::poll!(waiting.next()).is_pending());
}

#[tokio::test(start_paused = true)]
async fn an_answer_for_another_life_of_the_daemon_answers_nothing() {
    let (old, new) = (prompts(), Prompts::new(Arc::new(TestClock::new()), [255; 32]));
    let (mut of_old, mut of_new) = (front_end(&old).await, front_end(&new).await);
    let (mut first, mut second) = (Box::pin(ask(&old, "prod")), Box::pin(ask(&new, "prod")));
    assert!(futures_util::poll!(&mut first).is_pending() && futures_util::poll!(&mut second).is_pending());
    let (old, new_id) = (opened(&mut of_old).await.id, opened(&mut of_new).await.id);
    assert_ne!(old, new_id);
    assert!(new.answer(old, "123456").is_err());
}
