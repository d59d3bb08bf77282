//! Credentials that a program prints.

use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::*;

/// A profile whose program is a shell script; it must hold no single quote.
fn script(script: &str) -> String {
    format!("[profile p]\ncredential_process = /bin/sh -c '{script}'\n")
}

#[tokio::test]
async fn what_a_program_prints_is_taken() {
    let world = World::new(Ok("")).await;
    let key = world.emulator.access_key();
    let directory = tempfile::tempdir().unwrap();
    let printed = directory.path().join("printed");
    let config = format!("[profile p]\ncredential_process = cat \"{}\"\n", printed.display());
    for expiration in [
        "",
        r#","Expiration":"2100-01-01T00:00:00+01:00""#,
        r#","Expiration":"2100-01-01T00:00:00Z","Extra":1"#,
    ] {
        let text = format!(
            r#"{{"Version":1,"AccessKeyId":"{}","SecretAccessKey":"{}"{expiration}}}"#,
            key.id,
            key.secret()
        );
        std::fs::write(&printed, text).unwrap();
        let who = world.who(&config).await.unwrap();
        assert_eq!(who, "arn:aws:sts::123456789012:assumed-role/Developer/me@corp.example");
    }
}

#[tokio::test]
async fn a_program_that_gives_no_credentials_is_told_with_its_reason() {
    let world = World::new(Ok("")).await;
    let directory = tempfile::tempdir().unwrap();
    let printed = directory.path().join("printed");
    let cat = format!("[profile p]\ncredential_process = cat \"{}\"\n", printed.display());
    let key = r#""AccessKeyId":"AKIA","SecretAccessKey":"CANARY""#;
    for (text, reason) in [
        ("CANARY".to_owned(), "it did not print JSON"),
        (format!("{{{key}}}"), "not of version 1"),
        (format!(r#"{{"Version":2,{key}}}"#), "not of version 1"),
        (r#"{"Version":1,"AccessKeyId":"AKIA"}"#.to_owned(), "did not print SecretAccessKey"),
        (format!(r#"{{"Version":1,{key},"Expiration":"CANARY"}}"#), "is no time"),
        (format!(r#"{{"Version":1,{key},"Expiration":"2001-01-01T00:00:00Z"}}"#), "have expired"),
        ("x".repeat(1 << 20), "it ended with signal: 13"),
    ] {
        std::fs::write(&printed, &text).unwrap();
        assert_told(&world.refused(&cat).await, reason);
    }
    for (config, reason) in [
        ("[profile p]\ncredential_process = /nowhere/program --secret=CANARY\n".to_owned(), "cannot be run"),
        (script("echo no session >&2; exit 3"), "it ended with exit status: 3: no session"),
        (
            "[profile p]\ncredential_process = sh -c \"echo $0 expired >&2; exit 1\" CANARYsecret\n"
                .to_owned(),
            "it ended with exit status: 1: [redacted] expired",
        ),
    ] {
        assert_told(&world.refused(&config).await, reason);
    }
}

fn assert_told(fault: &Fault, reason: &str) {
    assert_eq!(fault.kind, FaultKind::CredentialsInvalid { profile: "p".to_owned() }, "{fault}");
    assert!(fault.detail.starts_with("credential_process of profile \"p\" gave no credentials ("), "{fault}");
    assert!(fault.detail.contains(reason), "{fault}");
    assert!(!fault.detail.contains("CANARY"), "{fault}");
}

#[tokio::test(start_paused = true)]
async fn a_program_that_hangs_is_given_up_after_a_minute() {
    let world = World::new(Ok("")).await;
    let began = tokio::time::Instant::now();
    let fault = world.refused("[profile p]\ncredential_process = sleep 1000\n").await;
    assert!(fault.detail.contains("it took more than 60 s"), "{fault}");
    assert!(began.elapsed() < Duration::from_secs(65), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_program_that_nobody_waits_for_is_killed() {
    const DEADLINE: Duration = Duration::from_secs(30);
    let world = World::new(Ok("")).await;
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let config = script(&format!("exec 3>{}; exec sleep 1000", pipe.display()));
    let mut reader = {
        let mut fetch = Box::pin(world.who(&config));
        let open = timeout(DEADLINE, tokio::fs::File::open(&pipe));
        tokio::select! {
            _ = &mut fetch => unreachable!("the program does not end"),
            opened = open => opened.expect("the program opens the pipe").unwrap(),
        }
    };
    let mut said = Vec::new();
    timeout(DEADLINE, reader.read_to_end(&mut said)).await.expect("the program lives on").unwrap();
}
