//! `stctl doctor` beside a daemon of another version, and without one.

use crate::fake::Fake;
use crate::support::{stctl, stctl_with};

#[tokio::test]
async fn another_version_and_its_missing_checks_are_told() {
    Fake::beside(Vec::new(), async |fake| {
        let found =
            stctl_with(fake.socket(), &[("AWS_REGION", "a"), ("AWS_DEFAULT_REGION", "b")], "doctor -o json")
                .await;
        let found = found.json();
        let outcome = |id: &str| {
            let findings = found["findings"].as_array().unwrap();
            let finding = findings.iter().find(|finding| finding["id"] == id);
            finding.unwrap_or_else(|| panic!("{id} is missing: {found}"))["outcome"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(outcome("daemon.reachable"), "pass");
        assert_eq!(outcome("daemon.version"), "warn");
        assert_eq!(outcome("daemon.warnings"), "warn");
        assert_eq!(outcome("environment"), "warn");
        assert_eq!(outcome("daemon.checks"), "skipped");
    })
    .await;
}

#[tokio::test]
async fn a_socket_that_a_daemon_left_behind_goes_with_fix_alone() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("daemon.sock");
    std::fs::write(home.path().join("daemon.sock.lock"), "").unwrap();
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let ran = stctl(&socket, "doctor").await;
    assert!(ran.code == 1 && ran.out.contains("left the socket") && socket.exists(), "{ran:?}");
    assert!(ran.out.lines().all(|line| line.chars().count() <= 80 || line.contains("/")), "{}", ran.out);
    let ran = stctl(&socket, "doctor --fix").await;
    assert!(ran.out.contains("fixed: removed") && !socket.exists(), "{ran:?}");
    insta::assert_snapshot!(
        "doctor_without_a_daemon",
        stctl(&socket, "doctor").await.shown().replace(socket.to_str().unwrap(), "SOCKET")
    );
}
