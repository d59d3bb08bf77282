//! Beside a daemon of another API level: what cannot be done says so, and what can be done is done.

use std::fs;

use stormtunnel_model::{Fault, FaultKind, TunnelState};
use stormtunnel_proto::API_LEVEL;
use stormtunnel_proto::paths::Platform;

use crate::fake::Fake;
use crate::starting::script;
use crate::support::{asked, on, stctl, stctl_with, stopped};
use crate::system::System;

#[tokio::test]
async fn a_request_that_an_older_daemon_would_not_read_all_of_is_not_sent() {
    Fake::of_level(3, vec![stopped("db", "80", "auto")], async |fake: Fake| {
        let add = "tunnel add web --target i-0abcdef1234567890 --remote 80";
        for line in [
            "up db --ttl 1h --no-wait",
            "up db --reason INC-4711 --no-wait",
            "up db --yes --no-wait",
            "restart db --ttl 1h --no-wait",
            &format!("{add} --local unix:/run/user/1000/db.sock"),
            &format!("{add} --ttl 1h"),
            &format!("{add} --label confirm=true"),
            "tunnel edit db --label confirm=yes",
            "tunnel edit db --reason routine",
            // Taken away, it stands in the mask alone.
            "tunnel edit db --no-ttl",
        ] {
            let ran = stctl(fake.socket(), line).await;
            assert_eq!(ran.code, 1, "{line}: {ran:?}");
            assert!(
                ran.err.contains("the daemon has API level 3, and this needs level 4"),
                "{line}: {ran:?}"
            );
        }
        let asked = fake.asked();
        let changes = |line: &&String| {
            ["start", "restart", "create", "update"].iter().any(|verb| line.starts_with(verb))
        };
        assert_eq!(asked.iter().find(changes), None, "{asked:?}");
        insta::assert_snapshot!(
            "older_daemon",
            stctl(fake.socket(), "up db --ttl 1h --no-wait").await.shown()
        );
        let json = stctl(fake.socket(), "up db --ttl 1h --no-wait -o json").await;
        assert!(json.err.contains("daemon_older"), "{json:?}");
    })
    .await;
}

#[tokio::test]
async fn what_every_daemon_understands_costs_no_question_about_its_level() {
    Fake::of_level(1, vec![stopped("db", "80", "auto")], async |fake: Fake| {
        for line in [
            "ls",
            "up db --no-wait",
            "restart db --no-wait",
            "tunnel edit db --remote 81",
            "down db --no-wait",
        ] {
            let ran = stctl(fake.socket(), line).await;
            assert_eq!(ran.code, 0, "{line}: {ran:?}");
        }
        assert_eq!(fake.looks(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_call_that_an_older_daemon_does_not_have_is_told_in_a_sentence() {
    Fake::of_level(1, vec![stopped("db", "80", "auto")], async |fake: Fake| {
        for line in ["events", "stats", "targets", "sso status", "profiles", "whoami"] {
            let ran = stctl_with(fake.socket(), &[("AWS_PROFILE", "dev")], line).await;
            assert_eq!(ran.code, 1, "{line}: {ran:?}");
            assert!(
                ran.err.starts_with("error: the daemon is older than stctl and cannot do this"),
                "{line}: {ran:?}"
            );
            assert!(ran.err.contains("`stctl daemon restart`"), "{line}: {ran:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_daemon_that_signs_nobody_in_leaves_the_tunnel_its_own_words() {
    let tunnels = vec![stopped("db", "80", "auto")];
    Fake::of_level(3, tunnels, async |fake: Fake| {
        let fault = Fault::new(FaultKind::SignInNeeded { sign_in: "corp".to_owned() }, "");
        fake.plot("db", vec![TunnelState::Blocked { fault }]);
        let ran = asked(fake.socket(), "up db", || Ok("yes\n".to_owned())).await;
        assert_eq!(ran.code, 4, "{ran:?}");
        assert!(ran.err.contains("`stctl sso login") && !ran.err.contains("older"), "{ran:?}");
    })
    .await;
}

#[tokio::test]
async fn the_remedy_is_the_services_where_it_starts_the_daemon() {
    Fake::of_level(3, vec![stopped("db", "80", "auto")], async |fake: Fake| {
        let home = tempfile::tempdir().unwrap();
        let program = script(home.path(), "exit 9");
        let variables =
            [("HOME", home.path().to_str().unwrap()), ("STCTL_DAEMON", program.to_str().unwrap())];
        let its_own = "UnitFileState=enabled\nActiveState=active\nMainPID=4711\n";
        let system = System::of(Platform::Linux)
            .says("stormtunneld --version", "stormtunneld 1.2.3\n")
            .says("systemctl --user show", its_own);
        let limit = std::time::Duration::from_secs(30);
        let run = async |line| on(&system, limit, fake.socket(), &variables, line, None).await;
        assert_eq!(run("daemon install").await.code, 0);
        for line in ["up db --ttl 1h --no-wait", "daemon status"] {
            let ran = run(line).await;
            assert!(ran.err.contains("`stctl daemon install`"), "{line}: {ran:?}");
        }
        fs::remove_dir_all(home.path().join(".config")).unwrap();
        assert!(run("daemon status").await.err.contains("`stctl daemon restart`"));
    })
    .await;
}

#[tokio::test]
async fn the_status_says_which_side_to_update() {
    let restart =
        "warning: the daemon has API level LEVEL, stctl OURS: `stctl daemon restart` starts the daemon";
    let update = "the daemon has API level LEVEL, stctl OURS: update stctl";
    for (level, expected) in [(API_LEVEL - 1, restart), (API_LEVEL + 1, update)] {
        let expected = expected.replace("LEVEL", &level.to_string()).replace("OURS", &API_LEVEL.to_string());
        Fake::of_level(level, vec![stopped("db", "80", "auto")], async |fake: Fake| {
            let ran = stctl(fake.socket(), "daemon status").await;
            assert_eq!(ran.code, 0, "{ran:?}");
            assert!(ran.err.starts_with(&expected), "{ran:?}");
            assert_eq!(stctl(fake.socket(), "daemon status -o json").await.json()["api_level"], level);
            fake.plot("db", vec![TunnelState::Up]);
            let guarded = stctl(fake.socket(), "up db --ttl 1h").await;
            assert_eq!(guarded.code, 0, "{guarded:?}");
        })
        .await;
    }
    Fake::beside(Vec::new(), async |fake: Fake| {
        assert_eq!(stctl(fake.socket(), "daemon status").await.err, "");
    })
    .await;
}
