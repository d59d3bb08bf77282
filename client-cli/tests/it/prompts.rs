//! Questions that the daemon has while a command waits.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use stormtunnel_model::{Prompt, PromptId, PromptKind, TunnelState};
use stormtunnel_proto::calls::TargetList;

use crate::fake::{CODE, Fake};
use crate::support::{asked, now, stctl, stopped};

const QUESTION: &str = "MFA code of arn:aws:iam::123456789012:mfa/ann for profile prod: ";

fn prompt(id: u64) -> Prompt {
    let serial = "arn:aws:iam::123456789012:mfa/ann".to_owned();
    let kind = PromptKind::MfaCode { profile: "prod".parse().unwrap(), serial, refused: false };
    Prompt { id: PromptId(id), kind, deadline: now() }
}

fn right() -> io::Result<String> {
    Ok(format!(" {CODE}\n"))
}

/// Mistypes it first.
fn wrong_then_right() -> io::Result<String> {
    static TYPED: AtomicU32 = AtomicU32::new(0);
    if TYPED.fetch_add(1, Ordering::SeqCst) == 0 { Ok("12345\n".to_owned()) } else { right() }
}

/// The end of the input.
fn leaves() -> io::Result<String> {
    Ok(String::new())
}

#[tokio::test]
async fn the_person_who_starts_a_tunnel_types_the_code_that_it_needs() {
    Fake::beside(vec![stopped("db", "80", "9080")], async |fake: Fake| {
        fake.plot_after("db", vec![TunnelState::Up]);
        let daemon = async {
            fake.hears("start db").await;
            let place = |what: &str| fake.asked().iter().position(|asked| asked == what);
            assert!(
                place("watch prompts") < place("start db"),
                "before anything can need one: {:?}",
                fake.asked()
            );
            fake.ask(prompt(7));
        };
        let (ran, ()) = tokio::join!(asked(fake.socket(), "up db --timeout 20s", right), daemon);
        assert_eq!((ran.code, ran.err.as_str()), (0, QUESTION), "{ran:?}");
        assert!(ran.out.starts_with("db is up"), "{ran:?}");
        assert!(fake.asked().contains(&format!("answer 7 {CODE}")), "{:?}", fake.asked());
    })
    .await;
}

#[tokio::test]
async fn a_code_that_cannot_be_right_is_asked_for_once_more() {
    Fake::beside(vec![stopped("db", "80", "9080")], async |fake: Fake| {
        fake.plot_after("db", vec![TunnelState::Up]);
        let daemon = async {
            fake.hears("start db").await;
            fake.ask(prompt(7));
        };
        let (ran, ()) = tokio::join!(asked(fake.socket(), "up db", wrong_then_right), daemon);
        assert_eq!(ran.err, format!("{QUESTION}a code has six digits\n{QUESTION}"));
        assert_eq!(ran.code, 0, "{ran:?}");
    })
    .await;
}

#[tokio::test]
async fn who_will_not_answer_is_not_waited_for() {
    Fake::beside(vec![stopped("db", "80", "9080")], async |fake: Fake| {
        let daemon = async {
            fake.hears("start db").await;
            fake.ask(prompt(7));
        };
        let (ran, ()) = tokio::join!(asked(fake.socket(), "up db --timeout 1s", leaves), daemon);
        assert_eq!(ran.code, 124, "{ran:?}");
        assert!(ran.err.starts_with(QUESTION) && !fake.asked().iter().any(|one| one.starts_with("answer")));
    })
    .await;
}

#[tokio::test]
async fn other_commands_ask_too_and_nobody_is_asked_without_a_terminal() {
    Fake::beside(vec![stopped("db", "80", "9080")], async |fake: Fake| {
        fake.plot("db", vec![TunnelState::Up]);
        let region = "eu-west-1".parse().unwrap();
        fake.find(TargetList { region, candidates: Vec::new(), notes: Vec::new() });
        assert_eq!(stctl(fake.socket(), "up db").await.code, 0);
        stctl(fake.socket(), "targets").await;
        stctl(fake.socket(), "wait db --timeout 1s").await;
        assert!(!fake.asked().contains(&"watch prompts".to_owned()), "{:?}", fake.asked());
        for line in ["targets", "wait db --timeout 1s", "restart db --timeout 1s"] {
            let before = fake.asked().iter().filter(|one| *one == "watch prompts").count();
            asked(fake.socket(), line, right).await;
            let after = fake.asked().iter().filter(|one| *one == "watch prompts").count();
            assert_eq!(after, before + 1, "{line}");
        }
    })
    .await;
}
