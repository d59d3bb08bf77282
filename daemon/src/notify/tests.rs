//! The notifiers against programs of our own.

use std::time::Duration;

use stormtunnel_engine::notifications::{Notification, NotificationKind, Notifier};
use tempfile::TempDir;

use super::macos::{NotificationCenter, arguments};

/// How long a program may take here.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same for one that will not answer.
const SHORT: Duration = Duration::from_millis(200);

/// With everything that a shell, a script or markup might take for its own.
fn nasty() -> Notification {
    Notification {
        kind: NotificationKind::SignInNeeded,
        title: "-e \"quit\" & 'x'".to_owned(),
        body: "<b>$(date)</b> `id` \\ \" & \ndo shell script \"id\"".to_owned(),
    }
}

#[test]
fn texts_never_become_part_of_the_script() {
    let notification = nasty();
    let all = arguments(&notification);
    let (texts, script) = (&all[all.len() - 3..], &all[..all.len() - 3]);
    assert_eq!(texts, ["--", &notification.title, &notification.body]);
    let plain = Notification { title: "T".to_owned(), body: "B".to_owned(), ..nasty() };
    assert_eq!(&arguments(&plain)[..script.len()], script, "it is the same whatever the texts are");
    assert!(script.iter().step_by(2).all(|flag| *flag == "-e"), "{script:?}");
}

#[tokio::test]
async fn the_program_gets_the_texts_as_they_are() {
    let home = TempDir::new().unwrap();
    let program = home.path().join("osascript");
    let script = "#!/bin/sh\nshift 6; printf '%s|' \"$@\" > \"$0.seen\"\n";
    executable(&program, script);
    NotificationCenter::through(program.clone(), PATIENCE).show(&nasty()).await;
    let seen = std::fs::read_to_string(program.with_extension("seen")).unwrap();
    let Notification { title, body, .. } = nasty();
    assert_eq!(seen, format!("--|{title}|{body}|"));
}

#[tokio::test]
async fn a_program_that_hangs_fails_or_is_missing_holds_nothing_up() {
    let home = TempDir::new().unwrap();
    for (name, script) in [
        ("hangs", Some("#!/bin/sh\nexec sleep 600\n")),
        ("fails", Some("#!/bin/sh\nexit 1\n")),
        ("missing", None),
    ] {
        let program = home.path().join(name);
        if let Some(script) = script {
            executable(&program, script);
        }
        let center = NotificationCenter::through(program, SHORT);
        let shown = tokio::time::timeout(PATIENCE, center.show(&nasty())).await;
        assert!(shown.is_ok(), "{name}");
    }
}

fn executable(path: &std::path::Path, script: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, script).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
}

#[cfg(target_os = "linux")]
mod linux;
