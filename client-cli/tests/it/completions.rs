//! What a shell is told while somebody types: by the program in a world of its own, and by the real shells.

use std::fs;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use stormtunnel_model::{
    AwsProfile, Labels, ProfileKind, ProfileList, ProfileState, SignIn, SignInState, SignInStatus, Tunnel,
    TunnelState,
};
use tokio::time::Instant;

use crate::fake::Fake;
use crate::starting::script;
use crate::support::{Ran, running, stctl_with, stopped};

/// Asks what can stand at the end of `stctl LINE`, in the form for fish; `''` is a word that is yet to be typed.
async fn asked(socket: &Path, variables: &[(&str, &str)], line: &str) -> Ran {
    let variables = [&[("STCTL_COMPLETE", "fish")], variables].concat();
    stctl_with(socket, &variables, &format!("-- stctl {line}")).await
}

/// The same without what is said of each. Waits for a daemon that misses the limit on a machine with much to do: then a shell
/// is told nothing, and asks again.
async fn offered(fake: &Fake, line: &str, expected: &[&str]) {
    let mut last = Vec::new();
    for _ in 0..50 {
        let ran = asked(fake.socket(), &[], line).await;
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{line}");
        last = ran.out.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect();
        if last == expected {
            return;
        }
    }
    panic!("`stctl {line}` offers {last:?} and not {expected:?}");
}

fn labels(text: &[&str]) -> Labels {
    text.iter().map(|label| label.parse::<stormtunnel_model::Label>().unwrap().into()).collect()
}

/// Tunnels with everything that can be offered.
pub(crate) fn tunnels() -> Vec<Tunnel> {
    let mut db = running("db", "db.internal:5432", "15432", TunnelState::Up);
    db.spec.labels = labels(&["env=prod", "team=data"]);
    db.spec.target = "ecs-service:main/web".parse().unwrap();
    let mut cache = stopped("cache", "cache.internal:6379", "16379");
    cache.spec.labels = labels(&["env=dev"]);
    cache.spec.target = "tag:Role=bastion".parse().unwrap();
    vec![cache, db, stopped("dashboard", "80", "auto")]
}

pub(crate) fn have_everything(fake: &Fake) {
    let profile = |name: &str| AwsProfile {
        name: name.parse().unwrap(),
        kind: Some(ProfileKind::Sso),
        region: None,
        sign_in: None,
        account: Some("111122223333".to_owned()),
        role: Some("Admin".to_owned()),
        state: ProfileState::Checking,
    };
    let profiles = vec![profile("Prod Admin"), profile("dev")];
    fake.have_profiles(ProfileList { profiles, problems: Vec::new() }, Vec::new());
    let sign_in = |name: &str| SignIn {
        name: name.parse().unwrap(),
        start_url: "https://corp.awsapps.com/start".to_owned(),
        region: "eu-west-1".parse().unwrap(),
        profiles: Vec::new(),
        status: SignInStatus { state: SignInState::Unknown, activity: None, trouble: None },
    };
    fake.sign_in(vec![sign_in("corp"), sign_in("https://lab.awsapps.com/start")], None);
}

#[tokio::test]
async fn names_of_every_kind_are_offered() {
    let lines: [(&str, &[&str]); 24] = [
        ("up ''", &["cache", "dashboard", "db"]),
        ("up d", &["dashboard", "db"]),
        ("up db ''", &["cache", "dashboard"]),
        ("tunnel rm c", &["cache"]),
        ("explain -- da", &["dashboard"]),
        ("ls -l e", &["env", "env=dev", "env=prod"]),
        ("ls --selector=team=", &["--selector=team=data"]),
        ("down -l env=prod,te", &["env=prod,team", "env=prod,team=data"]),
        ("down -l !", &["!env", "!team"]),
        ("down -l env!=p", &["env!=prod"]),
        ("tunnel add x --label env", &["env=dev", "env=prod"]),
        ("tunnel add x --target ''", &["ecs-service:main/web", "i-0abcdef1234567890", "tag:Role=bastion"]),
        ("targets t", &["tag:Role=bastion"]),
        ("targets --region ''", &["eu-west-1"]),
        ("whoami --profile ''", &["Prod Admin", "dev"]),
        ("--profile=d", &["--profile=dev"]),
        ("sso login ''", &["corp", "https://lab.awsapps.com/start"]),
        ("sso configure --session ''", &["corp"]),
        ("settings set tunnels.c", &["tunnels.connect_timeout"]),
        ("settings unset ''", &["tunnels.connect_timeout", "tunnels.half_close_grace"]),
        ("tunnel edit db --keep ''", &["auto", "warm", "on-demand"]),
        ("ls -o j", &["json"]),
        ("help tunnel r", &["rm"]),
        ("help co", &["completions", "config"]),
    ];
    Fake::beside(tunnels(), async |fake: Fake| {
        have_everything(&fake);
        for (line, expected) in lines {
            offered(&fake, line, expected).await;
        }
        let socket = fake.socket().to_str().unwrap().to_owned();
        let elsewhere = Path::new("/nowhere/daemon.sock");
        let named = asked(elsewhere, &[], &format!("--socket {socket} up db")).await;
        assert_eq!(named.out, "db\tUp, localhost:15432 to db.internal:5432\n", "{named:?}");
    })
    .await;
}

/// What is not there has no names: no word is said of it, and no daemon is started.
#[tokio::test]
async fn without_a_daemon_there_are_no_names_and_no_words() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("daemon.sock");
    let started = directory.path().join("started");
    let program = script(directory.path(), &format!("touch {}", started.display()));
    let variables = [("STCTL_DAEMON", program.to_str().unwrap())];
    let names = asked(&socket, &variables, "up d").await;
    let flags = asked(&socket, &variables, "up --al").await;
    let nonsense = asked(&socket, &variables, "no such --thing").await;
    let gone = {
        drop(UnixListener::bind(&socket).unwrap());
        asked(&socket, &variables, "up d").await
    };
    for ran in [&names, &flags, &nonsense, &gone] {
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    }
    assert_eq!((names.out.as_str(), gone.out.as_str()), ("", ""));
    assert_eq!(flags.out, "--all\tAll tunnels\n");
    assert!(!started.exists(), "a daemon was started");
}

/// The clock stands still but for what is waited for.
#[tokio::test(start_paused = true)]
async fn a_daemon_that_never_answers_costs_a_fifth_of_a_second() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("daemon.sock");
    let _listens = UnixListener::bind(&socket).unwrap();
    let start = Instant::now();
    let ran = asked(&socket, &[], "up d").await;
    let waited = start.elapsed();
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""));
    assert!((100..=250).contains(&waited.as_millis()), "{waited:?}");
}

/// The program itself, from its start to its end. Other work of the machine may disturb any of several presses.
#[test]
fn a_press_of_the_key_is_answered_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let silent = directory.path().join("silent.sock");
    let _listens = UnixListener::bind(&silent).unwrap();
    let fastest = |socket: &Path| {
        let press = |_| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_stctl"));
            command.args(["--", "stctl", "up", "d"]).env_clear().env("STORMTUNNEL_SOCKET", socket);
            command.env("HOME", directory.path()).env("STCTL_COMPLETE", "fish");
            let start = Instant::now();
            let output = command.output().unwrap();
            let took = start.elapsed();
            assert!(
                output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(),
                "{output:?}"
            );
            took.as_millis()
        };
        (0..10).map(press).min().unwrap()
    };
    let (never, absent) = (fastest(&silent), fastest(Path::new("/nowhere/daemon.sock")));
    assert!(never <= 300 && absent <= 300, "{never} ms, {absent} ms");
    println!(
        "promise cli.completions-at-once: {absent} ms without a daemon, {never} ms with one that never answers"
    );
}

/// A service manager's socket takes connections, and each one starts a daemon.
#[tokio::test]
async fn the_socket_of_a_service_is_left_alone_while_no_daemon_runs() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().to_str().unwrap();
    let socket = directory.path().join("daemon.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    let has_asked = || match listener.accept() {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            false
        }
    };
    // Without a service it can only be a daemon.
    asked(&socket, &[("HOME", home)], "up d").await;
    assert!(has_asked());
    let units = directory.path().join(".config/systemd/user");
    fs::create_dir_all(&units).unwrap();
    fs::write(units.join("stormtunneld.socket"), format!("ListenStream={}\n", socket.display())).unwrap();
    let service = format!("ExecStart=stormtunneld --socket {} --state-dir x\n", socket.display());
    fs::write(units.join("stormtunneld.service"), service).unwrap();
    asked(&socket, &[("HOME", home)], "up d").await;
    assert!(!has_asked(), "after a restart of the machine there is no lock yet");
    fs::write(directory.path().join("daemon.sock.lock"), "4711\n").unwrap();
    asked(&socket, &[("HOME", home)], "up d").await;
    assert!(!has_asked(), "nobody holds the lock");
}
