//! `stctl doctor` beside a daemon of another version, and without one.

use std::fs;
use std::path::Path;

use serde_json::Value;
use stormtunnel_proto::paths::Platform;

use crate::fake::Fake;
use crate::service::{Home, ITS_OWN};
use crate::support::{stctl, stctl_with};
use crate::system::System;

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
async fn the_document_for_programs_has_these_fields_and_the_exit_code_says_whether_something_fails() {
    Fake::beside(Vec::new(), async |fake| {
        // The test's own socket is open to others.
        let fixed = async || {
            let found = stctl(fake.socket(), "doctor --fix -o json").await.json();
            found["findings"].as_array().unwrap().iter().filter(|finding| finding["fixed"] != "").count()
        };
        assert_eq!((fixed().await, fixed().await), (1, 0), "what is mended is not mended again");
        let ran = stctl(fake.socket(), "doctor -o json").await;
        let found = ran.json();
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<String>>();
        assert_eq!(keys(&found), ["findings", "outcome"]);
        for finding in found["findings"].as_array().unwrap() {
            let fields = ["detail", "fixable", "fixed", "id", "outcome", "remedy", "title"];
            assert_eq!(keys(finding), fields, "docs/doctor.md");
            let outcome = finding["outcome"].as_str().unwrap();
            assert!(["skipped", "pass", "warn", "fail"].contains(&outcome), "{finding}");
            let is_wrong = ["warn", "fail"].contains(&outcome);
            assert_eq!(
                is_wrong,
                finding["remedy"] != "",
                "who is told of something is told what helps: {finding}"
            );
        }
        assert_eq!((&found["outcome"], ran.code), (&"warn".into(), 0), "a warning is no failure");
        let ran = stctl(Path::new("/nowhere/daemon.sock"), "doctor -o json").await;
        assert_eq!((&ran.json()["outcome"], ran.code), (&"fail".into(), 1));
    })
    .await;
}

#[tokio::test]
async fn a_socket_that_a_daemon_left_behind_goes_with_fix_alone() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("daemon.sock");
    fs::write(home.path().join("daemon.sock.lock"), "").unwrap();
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

#[tokio::test]
async fn a_socket_of_the_service_manager_is_not_ours_to_remove() {
    Fake::beside(Vec::new(), async |fake| {
        let (home, system) = (Home::new(), installed(OWN));
        home.run(&system, fake.socket(), "daemon install", None).await;
        // As after `daemon stop`: nobody holds the lock, and the manager still has the socket.
        let lock = format!("{}.lock", fake.socket().display());
        fs::write(&lock, "").unwrap();
        let fixed = home.run(&system, fake.socket(), "doctor --fix -o json", None).await.json();
        let reachable = fixed["findings"][0].clone();
        assert_eq!((&reachable["outcome"], &reachable["fixed"]), (&"warn".into(), &"".into()), "{reachable}");
        assert!(fake.socket().exists(), "it was the manager's");
        // Without a service somebody else answers there, who is not to be cut off either.
        home.run(&system, fake.socket(), "daemon uninstall", None).await;
        let socket = home.path().join("other.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        fs::write(format!("{}.lock", socket.display()), "").unwrap();
        let fixed = home.run(&system, &socket, "doctor --fix -o json", None).await.json();
        let reachable = fixed["findings"][0].clone();
        assert!(reachable["detail"].as_str().unwrap().starts_with("somebody answers at "), "{reachable}");
        assert!(socket.exists());
    })
    .await;
}

#[tokio::test]
async fn the_lock_is_that_of_the_daemon_that_answers() {
    Fake::beside(Vec::new(), async |fake| {
        let lock = format!("{}.lock", fake.socket().display());
        let told = async || {
            let found = stctl(fake.socket(), "doctor -o json").await.json();
            let findings = found["findings"].as_array().unwrap().clone();
            findings.into_iter().find(|finding| finding["id"] == "daemon.lock").unwrap()
        };
        assert_eq!(told().await["outcome"], "warn", "there is none");
        for (holder, outcome) in [("4711", "pass"), ("4712", "warn")] {
            fs::write(&lock, format!("{holder}\n")).unwrap();
            let held = fs::File::open(&lock).unwrap();
            rustix::fs::flock(&held, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
            assert_eq!(told().await["outcome"], outcome, "{holder}");
        }
        fs::remove_file(&lock).unwrap();
    })
    .await;
}

/// What `doctor` says of the service in a home.
async fn service(home: &Home, system: &System, socket: &Path) -> Value {
    let ran = home.run(system, socket, "doctor -o json", None).await;
    let found = ran.json();
    let findings = found["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["id"] == "daemon.service").expect("a finding").clone()
}

fn installed(version: &'static str) -> System {
    System::of(Platform::Linux).says("stormtunneld --version", version).says("systemctl --user show", ITS_OWN)
}

/// This `stctl`'s version, as its daemon says it.
const OWN: &str = concat!("stormtunneld ", env!("CARGO_PKG_VERSION"), "\n");

#[tokio::test]
async fn a_service_is_sound_as_it_was_installed() {
    Fake::beside(Vec::new(), async |fake| {
        let (home, system) = (Home::new(), installed(OWN));
        let found = service(&home, &system, fake.socket()).await;
        assert_eq!(
            (&found["outcome"], &found["detail"]),
            (&"pass".into(), &"none; the daemon starts when needed".into())
        );
        assert_eq!(home.run(&system, fake.socket(), "daemon install", None).await.code, 0);
        let found = service(&home, &system, fake.socket()).await;
        assert_eq!(found["outcome"], "pass", "{found}");
        let elsewhere = service(&home, &system, Path::new("/nowhere/daemon.sock")).await;
        assert_eq!(elsewhere["outcome"], "skipped", "it is none of this socket's business: {elsewhere}");
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_a_service_is_told_one_by_one() {
    Fake::beside(Vec::new(), async |fake| {
        let (home, system) = (Home::new(), installed(OWN));
        home.run(&system, fake.socket(), "daemon install", None).await;
        let (socket, unit) = (home.unit("stormtunneld.socket"), home.unit("stormtunneld.service"));
        let written = fs::read_to_string(&unit).unwrap();
        let told = async |system: &System, outcome: &str, part: &str| {
            let found = service(&home, system, fake.socket()).await;
            assert_eq!(found["outcome"], outcome, "{found}");
            assert!(found["detail"].as_str().unwrap().contains(part), "no \"{part}\" in {found}");
            assert!(found["remedy"].as_str().unwrap().contains("stctl daemon install"), "{found}");
        };
        // An older install wrote another file.
        fs::write(&unit, written.replace("WatchdogSec=60\n", "")).unwrap();
        told(&system, "warn", "stormtunneld.service is not as this stctl writes it").await;
        fs::write(&unit, &written).unwrap();
        told(&installed("stormtunneld 0.0.1\n"), "warn", "has version 0.0.1, stctl ").await;
        let others = "UnitFileState=enabled\nActiveState=active\nMainPID=99\n";
        let system_of_others = System::of(Platform::Linux)
            .says("stormtunneld --version", OWN)
            .says("systemctl --user show", others);
        told(&system_of_others, "warn", "(pid 4711) is not the service's (pid 99)").await;
        let program = home.path().join("stormtunneld");
        fs::rename(&program, home.path().join("moved")).unwrap();
        told(&system, "fail", "stormtunneld, which is not there").await;
        fs::rename(home.path().join("moved"), &program).unwrap();
        fs::remove_file(&socket).unwrap();
        told(&system, "fail", "stormtunneld.socket is missing").await;
    })
    .await;
}

#[tokio::test]
async fn a_launch_agent_is_looked_at_in_the_same_way() {
    Fake::beside(Vec::new(), async |fake| {
        let home = Home::new();
        let system = System::of(Platform::MacOs)
            .says("stormtunneld --version", OWN)
            .says("launchctl print", "pid = 4711\n");
        home.run(&system, fake.socket(), "daemon install", None).await;
        assert_eq!(service(&home, &system, fake.socket()).await["outcome"], "pass");
        let text = fs::read_to_string(home.agent()).unwrap();
        fs::write(home.agent(), text.replace("/stormtunneld<", "/gone/stormtunneld<")).unwrap();
        let found = service(&home, &system, fake.socket()).await;
        assert_eq!(found["outcome"], "fail", "{found}");
    })
    .await;
}
