//! Commands against a daemon: what they ask, print and return.

use stormtunnel_model::{Fault, FaultKind, Timestamp, TunnelState};

use crate::fake::Fake;
use crate::support::{Ran, running, stctl, stctl_with, stopped};

fn blocked() -> TunnelState {
    let kind = FaultKind::RemoteUnresolvable { host: "db.internal".to_owned() };
    TunnelState::Blocked { fault: Fault::new(kind, "no such host") }
}

fn retrying(kind: FaultKind) -> TunnelState {
    TunnelState::Retrying { at: Timestamp::default(), fault: Fault::new(kind, "") }
}

fn sign_in() -> TunnelState {
    TunnelState::Blocked { fault: Fault::new(FaultKind::SignInNeeded { sign_in: "corp".to_owned() }, "") }
}

async fn with_db(line: &str, plot: Vec<TunnelState>) -> (Ran, Vec<String>) {
    Fake::beside(vec![stopped("db", "db.internal:5432", "15432")], async |fake: Fake| {
        fake.plot("db", plot);
        (stctl(fake.socket(), line).await, fake.asked())
    })
    .await
}

#[tokio::test]
async fn up_subscribes_before_it_commands_and_says_where_to_connect() {
    let (ran, asked) = with_db("up db", vec![TunnelState::Up]).await;
    assert_eq!(
        ran.out,
        "db is up: localhost:15432 -> db.internal:5432 via i-0abcdef1234567890 (eu-west-1)\n"
    );
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(asked, ["watch ", "start db"]);
}

#[tokio::test]
async fn up_tells_what_blocks_and_what_to_do() {
    let (ran, _) = with_db("up db", vec![retrying(FaultKind::Network), blocked()]).await;
    insta::assert_snapshot!("up_blocked", ran.shown());
}

#[tokio::test]
async fn up_ends_at_a_port_that_is_taken_and_names_the_holder() {
    let in_use =
        FaultKind::PortInUse { address: "127.0.0.1:15432".to_owned(), holder: Some("nc (pid 7)".to_owned()) };
    let blocked = TunnelState::Blocked { fault: Fault::new(in_use, "") };
    let (ran, _) = with_db("up db", vec![blocked]).await;
    insta::assert_snapshot!("up_port_in_use", ran.shown());
}

#[tokio::test]
async fn up_ends_at_its_deadline_with_what_is_known() {
    let (ran, _) = with_db("up db --timeout 100ms", vec![]).await;
    insta::assert_snapshot!("up_timeout", ran.shown());
    let (ran, _) = with_db("up db --timeout 100ms", vec![retrying(FaultKind::Network)]).await;
    assert_eq!(ran.code, 124);
    assert!(ran.err.contains("AWS cannot be reached"), "{}", ran.err);
}

#[tokio::test]
async fn up_without_waiting_only_commands() {
    let (ran, asked) = with_db("up db --no-wait", vec![]).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "db is starting\n"));
    assert_eq!(asked, ["start db"]);
}

#[tokio::test]
async fn several_names_are_all_reported_and_the_highest_code_wins() {
    let tunnels = ["a", "b"].map(|name| stopped(name, "80", "auto")).to_vec();
    Fake::beside(tunnels, async |fake: Fake| {
        fake.plot("a", vec![TunnelState::Up]);
        fake.plot("b", vec![sign_in()]);
        let ran = stctl(fake.socket(), "up a b nosuch a").await;
        insta::assert_snapshot!("up_several", ran.shown());
        assert_eq!(fake.asked()[1], "start a b nosuch");
        fake.plot("a", vec![TunnelState::Up]);
        fake.plot("b", vec![sign_in()]);
        let json = stctl(fake.socket(), "up a b nosuch -o json").await;
        let results = json.json();
        assert_eq!(results[0]["tunnel"]["status"]["state"], "up");
        assert_eq!(results[1]["error"]["kind"], "sign_in_needed");
        assert_eq!(results[2]["error"]["exit_code"], 6);
        assert_eq!((json.code, json.err.as_str()), (6, ""));
    })
    .await;
}

#[tokio::test]
async fn all_means_all_pages() {
    let tunnels = ["a", "b", "c", "d", "e"].map(|name| stopped(name, "80", "auto")).to_vec();
    Fake::beside(tunnels, async |fake: Fake| {
        let ran = stctl(fake.socket(), "up --all --no-wait -o name").await;
        assert_eq!(ran.out, "a\nb\nc\nd\ne\n");
        assert_eq!(fake.asked().last().unwrap(), "start a b c d e");
    })
    .await;
}

#[tokio::test]
async fn down_waits_until_the_session_has_ended() {
    let (ran, asked) = with_db("down db", vec![TunnelState::Stopping, TunnelState::Stopped]).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "db is stopped\n"));
    assert_eq!(asked, ["watch ", "stop db"]);
    // One that runs: a stopped one is where it is wanted, and a daemon may take longer than that for its answer.
    Fake::beside(vec![running("db", "db.internal:5432", "15432", TunnelState::Up)], async |fake: Fake| {
        fake.plot("db", vec![TunnelState::Stopping]);
        let ran = stctl(fake.socket(), "down db --timeout 100ms").await;
        assert_eq!(ran.code, 124, "{ran:?}");
    })
    .await;
}

/// The daemon answers a stop when the session has ended; neither of these is about that.
#[tokio::test]
async fn down_leaves_when_it_is_told_to_although_the_session_has_not_ended() {
    let cases =
        [("down db web --no-wait", 0), ("down db web --timeout 100ms", 124), ("down --all --timeout 0", 124)];
    for (line, code) in cases {
        let tunnels = ["db", "web"].map(|name| running(name, "80", "auto", TunnelState::Up)).to_vec();
        Fake::beside(tunnels, async |fake: Fake| {
            fake.hold_stops();
            fake.plot("db", vec![TunnelState::Stopping]);
            fake.plot("web", vec![TunnelState::Stopping]);
            let ran = stctl(fake.socket(), line).await;
            assert_eq!(ran.code, code, "{ran:?}");
            assert_eq!(fake.asked(), ["watch ", "stop db web"]);
            if code == 0 {
                assert_eq!(ran.out, "db is stopping\nweb is stopping\n");
            } else {
                assert!(ran.err.contains("db: the time ran out; it is Stopping"), "{}", ran.err);
                assert!(ran.err.contains("web: the time ran out"), "{}", ran.err);
            }
        })
        .await;
    }
}

#[tokio::test]
async fn down_without_waiting_names_what_is_not_there() {
    Fake::beside(vec![running("db", "80", "auto", TunnelState::Up)], async |fake: Fake| {
        fake.hold_stops();
        fake.plot("db", vec![TunnelState::Stopping]);
        let ran = stctl(fake.socket(), "down db nosuch --no-wait").await;
        assert_eq!((ran.code, ran.out.as_str()), (6, "db is stopping\n"), "{ran:?}");
        assert!(ran.err.contains("there is no tunnel \"nosuch\""), "{}", ran.err);
    })
    .await;
}

#[tokio::test]
async fn restart_waits_for_the_new_session() {
    let (ran, asked) = with_db("restart db", vec![TunnelState::Up]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(asked[1], "restart db");
}

/// The documented codes of `wait`.
#[tokio::test]
async fn wait_answers_with_its_documented_codes() {
    let cases = [
        (TunnelState::Up, 0),
        (blocked(), 3),
        (sign_in(), 4),
        (retrying(FaultKind::Network), 124),
        (retrying(FaultKind::TargetNotConnected { target: "i-1".to_owned(), region: "x".to_owned() }), 124),
    ];
    for (state, code) in cases {
        let tunnels = vec![running("db", "80", "auto", state.clone()), stopped("off", "80", "auto")];
        Fake::beside(tunnels, async |fake: Fake| {
            let ran = stctl(fake.socket(), "wait db --timeout 100ms").await;
            assert_eq!(ran.code, code, "{state:?}: {ran:?}");
            let now = stctl(fake.socket(), "wait db --timeout 0").await;
            assert_eq!(now.code, code, "the first snapshot decides: {state:?}: {now:?}");
            let off = stctl(fake.socket(), "wait off").await;
            assert_eq!(off.code, 3, "{off:?}");
            let unknown = stctl(fake.socket(), "wait nosuch").await;
            assert_eq!(unknown.code, 6, "{unknown:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn status_shows_and_tells_by_its_code() {
    let tunnels = vec![
        running("db", "db.internal:5432", "15432", TunnelState::Up),
        running("login", "80", "auto", sign_in()),
        stopped("off", "80", "auto"),
        running("web", "80", "auto", blocked()),
    ];
    Fake::beside(tunnels, async |fake: Fake| {
        for (line, code) in [
            ("status db", 0),
            ("status off", 3),
            ("status web", 3),
            ("status login", 4),
            ("status db nosuch", 6),
            ("status", 4),
        ] {
            let ran = stctl(fake.socket(), line).await;
            assert_eq!(ran.code, code, "{line}: {ran:?}");
        }
        let json = stctl(fake.socket(), "status db nosuch -o json").await.json();
        assert_eq!(json[0]["tunnel"]["status"]["address"], "localhost:15432");
        assert_eq!(json[1]["error"]["kind"], "tunnel_not_found");
    })
    .await;
}

#[tokio::test]
async fn ls_has_a_form_for_everybody() {
    let tunnels =
        vec![running("db", "db.internal:5432", "15432", TunnelState::Up), stopped("off", "80", "auto")];
    Fake::beside(tunnels, async |fake: Fake| {
        let table = stctl(fake.socket(), "ls").await;
        insta::assert_snapshot!("ls", table.shown());
        assert_eq!(stctl(fake.socket(), "ls -o name").await.out, "db\noff\n");
        assert_eq!(stctl(fake.socket(), "ls -o json").await.json()[1]["intent"], "stop");
        assert!(stctl(fake.socket(), "ls -o yaml").await.out.starts_with("- name: db\n"));
    })
    .await;
    Fake::beside(Vec::new(), async |fake: Fake| {
        let empty = stctl(fake.socket(), "ls").await;
        assert_eq!((empty.out.as_str(), empty.err.contains("stctl tunnel add")), ("", true));
        assert_eq!(stctl(fake.socket(), "ls -o json").await.out, "[]\n");
    })
    .await;
}

#[tokio::test]
async fn watch_prints_the_snapshot_then_each_change() {
    Fake::beside(vec![stopped("db", "80", "15432")], async |fake: Fake| {
        for (line, expected) in [
            ("watch db", "22:18:20Z  db  Stopped\n22:18:20Z  db  Up localhost:15432\n"),
            ("watch -o name", "db\ndb\n"),
        ] {
            let daemon = async {
                fake.watched().await;
                fake.change(running("db", "80", "15432", TunnelState::Up));
                fake.end_watches();
            };
            let (ran, ()) = tokio::join!(stctl(fake.socket(), line), daemon);
            assert_eq!(ran.out, expected);
            assert_eq!(ran.code, 5, "a daemon that stops ends the watch: {ran:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn watch_gives_programs_one_line_per_event() {
    Fake::beside(vec![stopped("db", "80", "15432")], async |fake: Fake| {
        let daemon = async {
            fake.watched().await;
            fake.change(running("db", "80", "15432", TunnelState::Up));
            fake.end_watches();
        };
        let (ran, ()) = tokio::join!(stctl(fake.socket(), "watch -o json"), daemon);
        let events: Vec<serde_json::Value> =
            ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(events[0]["event"], "snapshot");
        assert_eq!(events[0]["tunnels"][0]["status"]["state"], "stopped");
        assert_eq!(events[1]["tunnel"]["status"]["state"], "up");
        assert_eq!(events[1]["revision"]["epoch"], u64::MAX.to_string());
        let error: serde_json::Value = serde_json::from_str(ran.err.trim()).unwrap();
        assert_eq!(error["error"]["kind"], "shutting_down");
    })
    .await;
}

#[tokio::test]
async fn watching_a_tunnel_that_is_not_there_is_a_mistake() {
    Fake::beside(vec![stopped("db", "80", "15432")], async |fake: Fake| {
        let ran = stctl(fake.socket(), "watch db dbb").await;
        assert_eq!((ran.code, ran.out.as_str()), (6, ""));
        assert!(ran.err.contains("there is no tunnel \"dbb\""), "{}", ran.err);
    })
    .await;
}

#[tokio::test]
async fn add_resolves_profile_and_region_from_flags_then_variables() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let add = "tunnel add db --target i-0abcdef1234567890 --remote db.internal:5432 -o json";
        let variables = [
            ("AWS_PROFILE", "from-aws"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("STCTL_PROFILE", "from-stctl"),
        ];
        let cases = [
            (0..0, "", None, None),
            (0..1, "", Some("from-aws"), None),
            (2..4, "", Some("from-stctl"), Some("us-east-1")),
            (0..4, "", Some("from-stctl"), Some("eu-west-1")),
            (0..4, "--profile flag --region eu-north-1", Some("flag"), Some("eu-north-1")),
        ];
        for (set, flags, profile, region) in cases {
            let line = format!("{add} {flags}");
            let made = stctl_with(fake.socket(), &variables[set], &line).await.json();
            assert_eq!(made["spec"]["profile"].as_str(), profile);
            assert_eq!(made["spec"]["region"].as_str(), region);
        }
        let ran = stctl_with(fake.socket(), &[("AWS_REGION", "moon")], add).await;
        assert_eq!(ran.code, 2);
        assert!(ran.err.contains("AWS_REGION"), "{}", ran.err);
    })
    .await;
}

#[tokio::test]
async fn add_can_start_and_wait() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let add = "tunnel add db --target i-0abcdef1234567890 --remote 5432 --local 15432";
        let made = stctl(fake.socket(), add).await;
        assert_eq!(
            made.out,
            "db is made: localhost:15432 -> 5432 via i-0abcdef1234567890; `stctl up db` starts it\n"
        );
        fake.plot("web", vec![TunnelState::Up]);
        let up = stctl(fake.socket(), &format!("{} --up", add.replace("db", "web"))).await;
        assert_eq!((up.code, up.out.starts_with("web is up: localhost:15432 -> 5432")), (0, true), "{up:?}");
        // A UUID has 36 characters.
        assert_eq!(fake.asked(), ["create db start=false id=36", "watch ", "create web start=true id=36"]);
    })
    .await;
}

#[tokio::test]
async fn add_refuses_what_other_machines_could_reach() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let ran =
            stctl(fake.socket(), "tunnel add db --target i-0abcdef1234567890 --remote 1 --local 0.0.0.0:80")
                .await;
        assert_eq!(ran.code, 2);
        assert!(ran.err.contains("--allow-non-loopback"), "{}", ran.err);
        assert!(fake.asked().is_empty());
    })
    .await;
}

#[tokio::test]
async fn edit_sends_only_what_is_named_and_tells_the_effect() {
    Fake::beside(vec![stopped("db", "5432", "15432")], async |fake: Fake| {
        let variables = [("AWS_PROFILE", "from-aws")];
        let ran = stctl_with(fake.socket(), &variables, "tunnel edit db --local 25432 --no-region").await;
        assert_eq!(ran.out, "db is changed: it reconnects, and its local end is opened anew\n");
        let asked = fake.asked().pop().unwrap();
        assert!(asked.contains("region: Some(None)") && asked.contains("profile: None"), "{asked}");
        let dry = stctl(fake.socket(), "tunnel edit db --rename pg --dry-run").await;
        assert_eq!(dry.out, "pg would be changed: it goes on undisturbed\n");
        assert_eq!(stctl(fake.socket(), "tunnel edit db").await.code, 2);
    })
    .await;
}

#[tokio::test]
async fn rm_reports_each_tunnel() {
    Fake::beside(vec![stopped("db", "5432", "15432")], async |fake: Fake| {
        let ran = stctl(fake.socket(), "tunnel rm db nosuch").await;
        insta::assert_snapshot!("rm", ran.shown());
    })
    .await;
}

#[tokio::test]
async fn show_is_one_object() {
    Fake::beside(vec![stopped("db", "5432", "15432")], async |fake: Fake| {
        assert_eq!(stctl(fake.socket(), "tunnel show db -o json").await.json()["name"], "db");
        let missing = stctl(fake.socket(), "tunnel show nosuch -o json").await;
        let error: serde_json::Value = serde_json::from_str(missing.err.trim()).unwrap();
        assert_eq!((missing.code, error["error"]["exit_code"].as_u64()), (6, Some(6)));
    })
    .await;
}

/// Whatever the daemon refuses with, the exit code is the fault's.
#[tokio::test]
async fn every_refusal_has_the_exit_code_of_its_fault() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        for kind in FaultKind::one_of_each() {
            fake.refuse(Fault::new(kind.clone(), "because"));
            for line in ["up db", "ls", "tunnel show db", "watch"] {
                let ran = stctl(fake.socket(), line).await;
                assert_eq!(ran.code, kind.exit_code() as u8, "{line}: {ran:?}");
                assert!(ran.err.starts_with("error: "), "{line}: {ran:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn settings_are_read_and_changed() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let run = async |line: &str| stctl(fake.socket(), line).await;
        assert_eq!(run("settings get tunnels.connect_timeout").await.out, "60\n");
        assert_eq!(run("settings path").await.out, "/home/u/.config/stormtunnel/settings.toml\n");
        insta::assert_snapshot!(
            "settings",
            run("settings get").await.out + &run("settings get -o wide").await.out
        );
        assert_eq!(
            run("settings set tunnels.connect_timeout 45").await.out,
            "tunnels.connect_timeout is 45\n"
        );
        assert_eq!(
            run("settings unset tunnels.connect_timeout").await.out,
            "tunnels.connect_timeout is 30 (default)\n"
        );
        let refused = run("settings set tunnels.connect_timeout 5").await;
        assert_eq!(refused.code, 2);
        assert!(refused.err.contains("whole seconds from 10 to 120"), "{}", refused.err);
    })
    .await;
}

#[tokio::test]
async fn daemon_status_and_stop() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let status = stctl(fake.socket(), "daemon status").await;
        insta::assert_snapshot!(
            "daemon_status",
            status.out.replace(fake.socket().to_str().unwrap(), "SOCKET")
        );
        let json = stctl(fake.socket(), "daemon status -o json").await.json();
        assert_eq!(json["pid"], 4711);
        let stop = stctl(fake.socket(), "daemon stop").await;
        assert_eq!((stop.code, stop.err.as_str()), (0, "the daemon has stopped\n"));
        assert!(!fake.socket().exists());
        let again = stctl(fake.socket(), "daemon stop").await;
        assert_eq!((again.code, again.err.as_str()), (0, "the daemon is not running\n"));
    })
    .await;
}

#[tokio::test]
async fn daemon_stop_does_not_wait_for_the_next_daemon() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        fake.has_a_successor();
        let stop = stctl(fake.socket(), "daemon stop --timeout 20s").await;
        assert_eq!((stop.code, stop.err.as_str()), (0, "the daemon has stopped\n"));
        assert!(fake.socket().exists());
    })
    .await;
}

#[tokio::test]
async fn a_scope_flag_is_refused_where_it_means_nothing() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let ran = stctl(fake.socket(), "ls --profile prod").await;
        assert_eq!(ran.code, 2);
        assert!(ran.err.contains("--profile has no meaning"), "{}", ran.err);
    })
    .await;
}

#[tokio::test]
async fn help_is_output_and_mistakes_are_errors() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let help = stctl(fake.socket(), "up --help").await;
        assert_eq!((help.code, help.err.as_str()), (0, ""));
        assert!(help.out.contains("Examples:"), "{}", help.out);
        let mistake = stctl(fake.socket(), "upp").await;
        assert_eq!((mistake.code, mistake.out.as_str()), (2, ""));
    })
    .await;
}
