//! What programs get, held against docs/output.md: every document, every field, each of its forms.

use serde_json::Value;
use stctl::render::sign_in_views::SignInView;
use stctl::render::views::{DaemonView, ServiceView};
use stormtunnel_model::{
    ConnectStep, Epoch, Fault, FaultKind, FileProblem, Label, LoginProgress, ProfileRule, Renewal,
    SignInActivity, SignInState, Timestamp, Tunnel, TunnelLimit, TunnelState, TunnelStatistics,
};
use stormtunnel_proto::calls::{DaemonInfo, EventUpdate, EventWatchUpdate, ProfileWatchEvent};

use crate::contract::{Contract, Document};
use crate::fake::Fake;
use crate::support::{Ran, narrow, now, running, session, stctl, stctl_with, stopped};
use crate::{history, profiles, rendering, sso, targets};

/// Everything that a tunnel can have, on one that is up.
fn full() -> Tunnel {
    let mut tunnel = running("db", "db.internal:5432", "15432", TunnelState::Up);
    let soon = Timestamp::from_millis(now().as_millis() + 60_123);
    tunnel.spec.labels = ["env=prod".parse::<Label>().unwrap().into()].into();
    tunnel.spec.reason = Some("routine".parse().unwrap());
    tunnel.spec.ttl = Some(std::time::Duration::from_secs(3600).try_into().unwrap());
    tunnel.terms.reason = Some("INC-4711".parse().unwrap());
    tunnel.terms.stops_at = Some(soon);
    tunnel.status.limit = Some(TunnelLimit::AgentResend { waiting_bytes: 1_300_000 });
    tunnel.status.turn_at = Some(soon);
    tunnel.status.last_fault = Some(Fault::new(FaultKind::Network, "connection reset by peer"));
    let mut second = session(&tunnel, "ada-0123456789abcdef1", 0);
    second.principal = None;
    tunnel.status.sessions.push(second);
    tunnel
}

fn tunnels() -> Vec<Tunnel> {
    let at = Timestamp::from_millis(now().as_millis() + 8000);
    let mut bare = stopped("web", "80", "auto");
    (bare.spec.profile, bare.spec.region) = (None, None);
    let connecting = TunnelState::Connecting { step: ConnectStep::Channel };
    let retrying = TunnelState::Retrying { at, fault: Fault::new(FaultKind::Network, "") };
    vec![
        full(),
        running("local", "80", "unix:/run/user/1/db.sock", connecting),
        running("net", "80", "auto", retrying),
        bare,
    ]
}

/// The documents that a command printed.
fn documents(document: &Document, ran: &Ran) -> Vec<Value> {
    if document.is_stream {
        let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        return ran.out.lines().map(line).collect();
    }
    vec![ran.json()]
}

/// Holds what a command printed against its row; failures against the table of errors.
fn hold(contract: &mut Contract, row: &str, line: &str, ran: &Ran) {
    let document = contract.document(row);
    let values = documents(&document, ran);
    assert!(!values.is_empty(), "{line}: {ran:?}");
    values.iter().for_each(|value| contract.check(&document, value, line));
    for error in ran.err.lines() {
        let error: Value = serde_json::from_str(error).unwrap_or_else(|_| panic!("{line}: {error}"));
        assert_eq!(error.as_object().map(serde_json::Map::len), Some(1), "{line}: {error}");
        contract.check_table("error", &error["error"]);
        assert!(error["error"]["exit_code"].as_u64() <= Some(ran.code.into()), "{line}: {error}");
    }
}

/// Rows of the page, and command lines of them that need nothing more than this daemon.
const COMMANDS: [(&str, &str); 28] = [
    ("`ls`", "ls"),
    ("`status`", "status"),
    ("`status NAME…`, `status -l`", "status db nobody"),
    ("`status NAME…`, `status -l`", "status -l env=prod"),
    ("`tunnel show NAME`", "tunnel show db"),
    ("`tunnel show NAME…`, `--all`, `-l`", "tunnel show --all"),
    ("`tunnel edit NAME`", "tunnel edit db --reason x --dry-run"),
    ("`tunnel edit NAME…`, `--all`, `-l`", "tunnel edit db nobody --reason x --dry-run"),
    ("`explain NAME`", "explain net"),
    ("`explain NAME…`, `--all`, `-l`", "explain --all"),
    ("`events`", "events"),
    ("`stats`", "stats"),
    ("`targets`", "targets"),
    ("`profiles`", "profiles"),
    ("`whoami`", "whoami --profile lost"),
    ("`sso status`", "sso status"),
    ("`sso refresh`", "sso refresh corp"),
    ("`sso logout`", "sso logout --all"),
    ("`settings get`, `settings set`, `settings unset`, `settings edit`", "settings get"),
    (
        "`settings get`, `settings set`, `settings unset`, `settings edit`",
        "settings set tunnels.connect_timeout 60",
    ),
    (
        "`settings get`, `settings set`, `settings unset`, `settings edit`",
        "settings unset tunnels.connect_timeout",
    ),
    ("`settings path`", "settings path"),
    ("`doctor`", "doctor"),
    ("`daemon status`", "daemon status"),
    ("`tunnel add`", "tunnel add new --target i-0abcdef12 --remote 80"),
    ("`up`, `down`, `restart`, `wait`, `tunnel rm`, `tunnel add --up`", "wait db net --timeout 0"),
    ("`up`, `down`, `restart`, `wait`, `tunnel rm`, `tunnel add --up`", "up nobody db --no-wait"),
    ("`up`, `down`, `restart`, `wait`, `tunnel rm`, `tunnel add --up`", "tunnel rm local"),
];

async fn plain_commands(contract: &mut Contract, fake: &Fake) {
    for (row, line) in COMMANDS {
        let ran = stctl(fake.socket(), &format!("{line} -o json")).await;
        hold(contract, row, line, &ran);
        // What is the same for every command is the same in YAML.
        if line == "status db nobody" {
            let yaml = stctl(fake.socket(), &format!("{line} -o yaml")).await;
            let value: Value = serde_yaml_ng::from_str(&yaml.out).unwrap();
            assert_eq!(value, ran.json());
        }
    }
}

async fn streams(contract: &mut Contract, fake: &Fake) {
    for (row, line) in [("`watch`", "watch"), ("`ls --watch`", "ls --watch")] {
        let daemon = async {
            fake.watched().await;
            fake.change(full());
            fake.delete(&full());
            fake.end_watches();
        };
        let line = format!("{line} -o json");
        let (ran, ()) = tokio::join!(stctl(fake.socket(), &line), daemon);
        assert_eq!(ran.out.lines().count(), 3, "one object per line: {ran:?}");
        hold(contract, row, &line, &ran);
    }
    let end = EventWatchUpdate { last: stormtunnel_model::EventId(1), update: EventUpdate::Resumed };
    let (ran, ()) = tokio::join!(stctl(fake.socket(), "events -f -o json"), fake.tell(end));
    hold(contract, "`events --follow`", "events -f", &ran);
    let ran = stctl(fake.socket(), "profiles --watch -o json").await;
    hold(contract, "`profiles --watch`", "profiles --watch", &ran);
    for login in [sso::in_the_browser(), sso::with_a_code()] {
        fake.sign_in(sso::all(), Some(login));
        let ran = stctl(fake.socket(), "sso login corp -o json").await;
        hold(contract, "`sso login`", "sso login", &ran);
    }
}

/// What a daemon has to tell of everything.
fn fill(fake: &Fake) {
    let mut unnamed = full();
    (unnamed.spec.profile, unnamed.spec.region) = (None, None);
    let kind = stormtunnel_model::EventKind::Created;
    let events = history::every_kind(&full()).into_iter().chain([history::event(1, Some(&unnamed), kind)]);
    let broken = history::cases().swap_remove(3).1;
    let statistics = TunnelStatistics {
        id: full().id,
        name: full().spec.name,
        created_at: full().created_at,
        since_created: history::figures(300),
        since_started: history::figures(1),
    };
    fake.remember(events.chain(broken).collect(), vec![statistics]);
    let web = targets::candidate("i-0abcdef1234567890", Some("web"), stormtunnel_model::AgentStatus::Online);
    let mut hybrid = targets::candidate("mi-0123456789abcdef0", None, stormtunnel_model::AgentStatus::Lost);
    (hybrid.address, hybrid.platform, hybrid.launched_at) = (None, None, None);
    fake.find(targets::found(vec![web, hybrid], Vec::new()));
    let mut list = profiles::all();
    list.problems.push(FileProblem { line: None, ..list.problems[0].clone() });
    let changes = vec![
        ProfileWatchEvent::Changed(Box::new(profiles::sso("lost", profiles::ada()))),
        ProfileWatchEvent::Removed("mfa".parse().unwrap()),
        ProfileWatchEvent::Problems(list.problems.clone()),
    ];
    fake.have_profiles(list, changes);
    fake.sign_in(sso::all(), None);
}

/// What no command of a test comes by.
fn rare_documents(contract: &mut Contract) {
    let mut sign_ins = sso::all();
    let code = Some("ABCD".to_owned());
    let page = stormtunnel_model::LoginPage::Opened;
    let waiting = LoginProgress::Waiting { url: "https://x".to_owned(), user_code: code, page };
    sign_ins[0].status.activity = Some(SignInActivity::LoggingIn(waiting));
    sign_ins[1].status.activity = Some(SignInActivity::Renewing);
    let mut bare = sign_ins[2].clone();
    (bare.profiles[0].account, bare.profiles[0].role) = (None, None);
    bare.status.state = SignInState::Authenticated { expires_at: now(), renewal: Renewal::WhenAwake };
    for sign_in in sign_ins.iter().chain([&bare]) {
        contract.check_table("sign-in", &serde_json::to_value(SignInView::of(sign_in)).unwrap());
    }
    let info = DaemonInfo {
        version: "1.2.3".to_owned(),
        api_level: 1,
        started_at: now(),
        epoch: Epoch(1),
        pid: 1,
        log_path: None,
        state_directory: "/s".to_owned(),
        warnings: Vec::new(),
        build: None,
        program: None,
        program_replaced: false,
    };
    let service = ServiceView { manager: "systemd", installed: true, enabled: true, active: true };
    let view = DaemonView::of(&info, "/s/daemon.sock", "/c", service);
    contract.check_table("daemon", &serde_json::to_value(view).unwrap());
}

#[tokio::test]
async fn every_document_is_as_the_page_promises() {
    let mut contract = Contract::read();
    Fake::beside(tunnels(), async |fake: Fake| {
        fill(&fake);
        fake.check(profiles::checked(profiles::sso("lost", profiles::ada()), ProfileRule::Default));
        plain_commands(&mut contract, &fake).await;
        let file = fake.socket().with_file_name("report.tar.gz");
        let ran = stctl(fake.socket(), &format!("bugreport --file {} -o json", file.display())).await;
        hold(&mut contract, "`bugreport`", "bugreport", &ran);
        fake.may_use(&[("111122223333", &["Admin"])]);
        let line = "sso configure --session corp --start-url https://corp.awsapps.com/start --sso-region eu-west-1 \
                    --role 111122223333:Admin=dev --no-login -o json";
        for _backup_only_at_first in 0..2 {
            let ran = stctl(fake.socket(), line).await;
            hold(&mut contract, "`sso configure`", "sso configure", &ran);
        }
        streams(&mut contract, &fake).await;
        for profile in profiles::all().profiles {
            fake.check(profiles::checked(profile, ProfileRule::Default));
            hold(&mut contract, "`whoami`", "whoami", &stctl(fake.socket(), "whoami -o json").await);
        }
        let absent = stctl(&fake.socket().with_file_name("nobody.sock"), "daemon status -o json").await;
        hold(&mut contract, "`daemon status`", "daemon status", &absent);
        for kind in FaultKind::one_of_each() {
            fake.refuse(Fault::new(kind.clone(), ""));
            let ran = stctl(fake.socket(), "tunnel show db -o json").await;
            let error: Value = serde_json::from_str(&ran.err).unwrap();
            contract.check_table("error", &error["error"]);
            let page = include_str!("../../../docs/output.md");
            let promised = format!("`{}` {}", kind.name(), kind.exit_code() as u8);
            assert!(page.contains(&promised), "docs/output.md does not have {promised}");
        }
    })
    .await;
    rare_documents(&mut contract);
    let (documents, fields) = contract.all_seen();
    println!("promise cli.output: {documents} kinds of commands, {fields} fields as docs/output.md has them");
}

#[tokio::test]
async fn another_version_of_the_output_is_refused_before_anything_is_done() {
    Fake::beside(tunnels(), async |fake: Fake| {
        let asks = |version| [("STCTL_OUTPUT_VERSION", version)];
        assert_eq!(stctl_with(fake.socket(), &asks("1"), "ls -o json").await.code, 0);
        for version in ["2", "0", "one"] {
            let ran = stctl_with(fake.socket(), &asks(version), "tunnel rm db -o json").await;
            assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{ran:?}");
            assert!(ran.err.contains("speaks version 1") && ran.err.contains(version), "{ran:?}");
        }
        assert!(!fake.asked().iter().any(|call| call.starts_with("delete")), "{:?}", fake.asked());
    })
    .await;
}

#[tokio::test]
async fn a_command_line_that_cannot_be_right_is_an_error_like_others() {
    let nowhere = std::path::Path::new("/nonexistent/daemon.sock");
    for line in ["up -o json", "lift db --output=json", "ls --output json --nonsense", "ls -ojson extra"] {
        let ran = stctl(nowhere, line).await;
        let error: Value = serde_json::from_str(&ran.err).unwrap_or_else(|_| panic!("{line}: {ran:?}"));
        assert_eq!((ran.code, &error["error"]["kind"]), (2, &"usage".into()), "{line}");
        assert!(!error["error"]["headline"].as_str().unwrap().contains('\n'), "{error}");
    }
    let ran = stctl(nowhere, "tunnel -o json").await;
    assert!(ran.code == 2 && ran.err.contains("requires a subcommand"), "{ran:?}");
    let ran = stctl(nowhere, "lift db -o yaml").await;
    let error: Value = serde_yaml_ng::from_str(&ran.err).unwrap();
    assert_eq!(error["error"]["exit_code"], 2);
    assert!(stctl(nowhere, "lift db").await.err.starts_with("error: unrecognized subcommand"));
}

/// What has a table, or more than a sentence to say.
const TABLES: [&str; 27] = [
    "ls",
    "ls -o wide",
    "status",
    "tunnel show db",
    "explain --all",
    "events --limit 5",
    "events --limit 5 -o wide",
    "stats",
    "targets",
    "targets -o wide",
    "profiles",
    "profiles -o wide",
    "whoami",
    "sso status",
    "sso status -o wide",
    "settings get",
    "settings get -o wide",
    "doctor",
    "doctor -o wide",
    "daemon status",
    "down --all --no-wait",
    "tunnel rm nobody",
    "tunnel edit --all --keep warm",
    "wait net --timeout 0",
    "targets tag:Env=prod",
    "sso login nowhere",
    "up -l env=none",
];

#[tokio::test]
async fn every_table_and_problem_fits_into_eighty_columns() {
    Fake::beside(tunnels(), async |fake: Fake| {
        fill(&fake);
        fake.check(profiles::checked(profiles::sso("lost", profiles::ada()), ProfileRule::Default));
        let mut shown = String::new();
        for line in TABLES {
            let ran = narrow(fake.socket(), line).await;
            rendering::fits(&ran.out);
            rendering::fits(&ran.err);
            // What it finds depends on the machine.
            if line.starts_with("doctor") {
                continue;
            }
            let text = ran.shown().replace(fake.socket().to_str().unwrap(), "/run/user/1000/daemon.sock");
            shown += &format!("$ stctl {line}\n{text}\n");
        }
        insta::assert_snapshot!("eighty_columns", shown);
        println!(
            "promise cli.tables: {} commands fit into 80 columns, tables, remarks and problems",
            TABLES.len()
        );
    })
    .await;
}
