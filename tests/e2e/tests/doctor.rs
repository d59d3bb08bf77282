//! `stctl doctor` finds each planted fault, and nothing where nothing is wrong; `stctl bugreport` has no secret in it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use aws_emulator::{AccessKey, Config, Emulator, Injection, SignInHabits};
use serde_json::Value;
use stormtunnel_e2e::scene::Scene;
use stormtunnel_e2e::{DEADLINE, process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Whose keys have an end: those without one are advised against.
const SESSION_TOKEN: &str = "a session token of the doctor's test that is long enough";

fn config() -> Config {
    let key = AccessKey::new(
        "ASIATESTEXAMPLE00001",
        "secret-of-the-doctors-test".to_owned(),
        Some(SESSION_TOKEN.to_owned()),
    );
    let sign_in = SignInHabits { agrees_after_polls: Some(1), interval_s: 1, ..SignInHabits::default() };
    Config { access_keys: vec![key], sign_in, ..Config::default() }
}

/// A fault: how it is planted in a sound place without a daemon, and which check finds it.
struct Fault {
    name: &'static str,
    check: &'static str,
    planted: Planted,
}

/// How a fault is planted.
enum Planted {
    /// A file's mode, relative to the place, while the daemon runs.
    Mode(&'static str, u32),
    /// Text behind a file of the home directory.
    Text(&'static str, &'static str),
    /// A setting.
    Setting(&'static str, &'static str),
    /// A variable that the daemon is started with.
    Variable(&'static str, &'static str),
    /// A variable of the terminal only.
    Terminal(&'static str, &'static str),
    /// The file for a unit of systemd that starts something that is gone.
    Unit,
    /// AWS denies this action.
    Denied(&'static str),
    /// The clock of an endpoint is 10 minutes ahead.
    Clock,
    /// A tunnel whose port somebody else holds.
    Port,
    /// Nobody is there.
    NoDaemon,
    /// The directory of tokens cannot be read.
    Keys,
    /// An endpoint with an authority of its own.
    Untrusted,
    /// An endpoint that speaks something else than TLS.
    NoTls,
}

const FAULTS: [Fault; 20] = [
    Fault { name: "open state directory", check: "files.state", planted: Planted::Mode("state", 0o755) },
    Fault { name: "open log", check: "files.state", planted: Planted::Mode("state/stormtunneld.log", 0o644) },
    Fault {
        name: "open credentials",
        check: "files.aws",
        planted: Planted::Mode("home/.aws/credentials", 0o644),
    },
    Fault { name: "writable config", check: "files.aws", planted: Planted::Mode("home/.aws/config", 0o666) },
    Fault {
        name: "open token",
        check: "files.aws",
        planted: Planted::Mode("home/.aws/sso/cache/a.json", 0o644),
    },
    Fault { name: "open socket", check: "daemon.socket", planted: Planted::Mode("run/daemon.sock", 0o666) },
    Fault {
        name: "broken line",
        check: "profiles.syntax",
        planted: Planted::Text(".aws/config", "\n[profile x\nregion = a\n"),
    },
    Fault {
        name: "keys without an end",
        check: "profiles.keys",
        planted: Planted::Text(
            ".aws/credentials",
            "\n[old]\naws_access_key_id = AKIATESTEXAMPLE00009\naws_secret_access_key = canary\n",
        ),
    },
    Fault {
        name: "nobody signed in",
        check: "sign_ins.token",
        planted: Planted::Text(
            ".aws/config",
            "\n[profile s]\nsso_start_url = https://localhost:1/start\nsso_region = eu-west-1\nsso_account_id = 123456789012\nsso_role_name = R\n",
        ),
    },
    Fault {
        name: "start URL that nobody serves",
        check: "sign_ins.start_url",
        planted: Planted::Text(
            ".aws/config",
            "\n[profile s]\nsso_start_url = https://localhost:1/start\nsso_region = eu-west-1\nsso_account_id = 123456789012\nsso_role_name = R\n",
        ),
    },
    Fault {
        name: "no such CA bundle",
        check: "network.ca",
        planted: Planted::Setting("network.ca_bundle", "/no/such/bundle.pem"),
    },
    Fault {
        name: "endpoint without a name",
        check: "network.dns",
        planted: Planted::Setting("aws.endpoint_sts", "https://sts.stormtunnel.invalid"),
    },
    Fault {
        name: "endpoint that refuses",
        check: "network.endpoints",
        planted: Planted::Setting("aws.endpoint_ssm", "http://127.0.0.1:1"),
    },
    Fault { name: "endpoint without TLS", check: "network.endpoints", planted: Planted::NoTls },
    Fault {
        name: "dead proxy",
        check: "network.proxy",
        planted: Planted::Variable("HTTPS_PROXY", "http://me:canary@127.0.0.1:1"),
    },
    Fault { name: "wrong clock", check: "clock", planted: Planted::Clock },
    Fault { name: "no opener", check: "browser", planted: Planted::Variable("DISPLAY", ":99") },
    Fault {
        name: "keys in the terminal",
        check: "environment",
        planted: Planted::Terminal("AWS_ACCESS_KEY_ID", "AKIATESTEXAMPLE00009"),
    },
    Fault { name: "service of a program that is gone", check: "daemon.service", planted: Planted::Unit },
    Fault { name: "no daemon", check: "daemon.reachable", planted: Planted::NoDaemon },
];

const MORE: [Fault; 5] = [
    Fault { name: "certificate that nobody trusts", check: "network.endpoints", planted: Planted::Untrusted },
    Fault { name: "denied by STS", check: "credentials", planted: Planted::Denied("sts:AssumeRole") },
    Fault { name: "port in use", check: "ports", planted: Planted::Port },
    Fault { name: "key store that cannot be read", check: "key_store", planted: Planted::Keys },
    Fault {
        name: "profile that is none",
        check: "daemon.warnings",
        planted: Planted::Terminal("AWS_PROFILE", "nobody"),
    },
];

#[tokio::test]
async fn each_planted_fault_is_found_and_nothing_where_nothing_is_wrong() -> Result<()> {
    let first = Scene::start(config()).await?;
    let sound = found(&doctor(&sound_place(&first)?, &first, &[]).await?)?;
    ensure!(sound.is_empty(), "a sound place has findings: {sound:?}");
    let mut missed = Vec::new();
    let faults: Vec<&Fault> = FAULTS.iter().chain(&MORE).collect();
    for fault in &faults {
        let scene = first.beside().await?;
        let seen = planted(&scene, fault).await.with_context(|| fault.name)?;
        if !seen.iter().any(|id| id == fault.check) {
            missed.push(format!("{}: {} is not among {seen:?}", fault.name, fault.check));
        }
        first.emulator().inject(Injection::Calm);
        scene.stctl(&["daemon", "stop"]).await?;
    }
    ensure!(missed.is_empty(), "{}", missed.join("\n"));
    let count = faults.len();
    println!(
        "promise doctor.faults: {count} of {count} planted faults found, 0 findings on a healthy set-up"
    );
    Ok(())
}

/// Starts a daemon where nothing is wrong; answers the variables that it needs.
fn sound_place(scene: &Scene) -> Result<Vec<(String, String)>> {
    let cache = scene.sandbox().home().join(".aws/sso/cache");
    fs::create_dir_all(&cache)?;
    private(&cache.join("a.json"), "{}")?;
    Ok(scene.sandbox().environment())
}

fn private(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, Permissions::from_mode(0o600))?)
}

/// Plants a fault and answers the ids of what is found then.
async fn planted(scene: &Scene, fault: &Fault) -> Result<Vec<String>> {
    let mut environment = sound_place(scene)?;
    let home = scene.sandbox().home();
    let mut terminal = Vec::new();
    let mut holders: Vec<TcpListener> = Vec::new();
    match &fault.planted {
        Planted::Text(file, text) => {
            let path = home.join(file);
            private(&path, &(fs::read_to_string(&path)? + text))?;
        }
        Planted::Variable(name, value) => environment.push(((*name).to_owned(), (*value).to_owned())),
        Planted::Terminal(name, value) => terminal.push((*name, *value)),
        Planted::Unit => {
            let directory = home.join(".config/systemd/user");
            fs::create_dir_all(&directory)?;
            fs::write(directory.join("stormtunneld.service"), "[Service]\nExecStart=/gone/stormtunneld\n")?;
        }
        Planted::NoDaemon => return found(&run(scene, &scene.sandbox().environment(), &terminal).await?),
        Planted::Mode(..)
        | Planted::Setting(..)
        | Planted::Denied(_)
        | Planted::Clock
        | Planted::Port
        | Planted::Keys
        | Planted::Untrusted
        | Planted::NoTls => {}
    }
    start(scene, &environment).await?;
    match &fault.planted {
        Planted::Mode(path, mode) => {
            fs::set_permissions(scene.sandbox().directory().join(path), Permissions::from_mode(*mode))?;
        }
        Planted::Setting(key, value) => drop(scene.ok(&["settings", "set", key, value]).await?),
        Planted::Denied(action) => {
            let path = home.join(".aws/config");
            let role = "\n[profile r]\nrole_arn = arn:aws:iam::123456789012:role/R\nsource_profile = default\nregion = eu-central-1\n";
            private(&path, &(fs::read_to_string(&path)? + role))?;
            scene.emulator().inject(Injection::Deny { action: (*action).to_owned(), denied: true });
            let target = scene.emulator().instance();
            scene.ok(&["tunnel", "add", "r", "--target", target, "--remote", "80", "--profile", "r"]).await?;
        }
        Planted::Clock | Planted::NoTls => {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let port = listener.local_addr()?.port();
            let scheme = if matches!(fault.planted, Planted::Clock) { "http" } else { "https" };
            for service in ["sts", "ssm", "ssmmessages"] {
                let url = format!("{scheme}://127.0.0.1:{port}");
                scene.ok(&["settings", "set", &format!("aws.endpoint_{service}"), &url]).await?;
            }
            let ran = tokio::select! {
                ran = run(scene, &environment, &terminal) => ran?,
                served = old_clock(listener) => { served?; anyhow::bail!("the server ended") }
            };
            return found(&ran);
        }
        Planted::Untrusted => {
            let other = Emulator::start(Config { tls: true, ..config() }).await?;
            let environment = other.environment();
            let url = environment
                .iter()
                .find(|(name, url)| name.starts_with("AWS_ENDPOINT_URL") && url.starts_with("https"));
            let (_, url) = url.context("the emulator has no address")?;
            scene.ok(&["settings", "set", "aws.endpoint_sts", url]).await?;
            let ran = run(scene, &scene.sandbox().environment(), &terminal).await?;
            ensure!(ran.to_string().contains("network.ca_bundle FILE"), "the remedy is another: {ran}");
            return found(&ran);
        }
        Planted::Port => {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let local = listener.local_addr()?.port().to_string();
            holders.push(listener);
            let target = scene.emulator().instance();
            scene
                .ok(&["tunnel", "add", "db", "--target", target, "--remote", "80", "--local", &local])
                .await?;
            ensure!(scene.stctl(&["up", "db"]).await?.code == 7, "the port is free");
        }
        Planted::Keys => {
            scene.ok(&["daemon", "stop"]).await?;
            scene.ok(&["settings", "set", "sso.key_store", "file"]).await?;
            scene.ok(&["daemon", "stop"]).await?;
            fs::remove_dir_all(scene.sandbox().state_dir().join("keys")).ok();
            fs::write(scene.sandbox().state_dir().join("keys"), "no directory")?;
            start(scene, &environment).await?;
        }
        Planted::Text(..)
        | Planted::Variable(..)
        | Planted::Terminal(..)
        | Planted::Unit
        | Planted::NoDaemon => {}
    }
    let ran = run(scene, &environment, &terminal).await?;
    drop(holders);
    found(&ran)
}

/// Answers every request with a date that is ten minutes old.
async fn old_clock(listener: TcpListener) -> Result<()> {
    loop {
        let (mut connection, _) = listener.accept().await?;
        let mut request = [0; 1024];
        let _read = connection.read(&mut request).await;
        let answer = "HTTP/1.1 404 Not Found\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let _written = connection.write_all(answer.as_bytes()).await;
    }
}

async fn start(scene: &Scene, environment: &[(String, String)]) -> Result<()> {
    let mut command = Command::new(&scene.sandbox().binaries().stormtunneld);
    command.arg("--detach").env_clear().envs(environment.iter().cloned());
    process::run(command, DEADLINE).await?.success().map(drop)
}

async fn doctor(environment: &[(String, String)], scene: &Scene, terminal: &[(&str, &str)]) -> Result<Value> {
    start(scene, environment).await?;
    run(scene, environment, terminal).await
}

async fn run(scene: &Scene, environment: &[(String, String)], terminal: &[(&str, &str)]) -> Result<Value> {
    let mut command = scene.command(&["doctor", "-o", "json"]);
    command.envs(environment.iter().cloned()).envs(terminal.iter().copied());
    let ran = process::run(command, 2 * DEADLINE).await?;
    let value: Value = serde_json::from_str(&ran.stdout).with_context(|| format!("{ran:?}"))?;
    let fails = value["outcome"] == "fail";
    ensure!(
        ran.code == i32::from(fails),
        "the exit code is {} and the outcome {}",
        ran.code,
        value["outcome"]
    );
    Ok(value)
}

/// The ids of what warns or fails.
fn found(value: &Value) -> Result<Vec<String>> {
    let findings = value["findings"].as_array().context("no findings")?;
    let wrong =
        findings.iter().filter(|finding| finding["outcome"] == "warn" || finding["outcome"] == "fail");
    wrong
        .map(|finding| {
            let has_remedy = finding["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty());
            ensure!(has_remedy, "there is no remedy: {finding}");
            Ok(finding["id"].as_str().context("no id")?.to_owned())
        })
        .collect()
}

#[tokio::test]
async fn fix_closes_files_and_says_so() -> Result<()> {
    let scene = Scene::start(config()).await?;
    scene.ok(&["ls"]).await?;
    let file = scene.sandbox().home().join(".aws/credentials");
    fs::set_permissions(&file, Permissions::from_mode(0o644))?;
    let before = scene.stctl(&["doctor"]).await?;
    ensure!(before.code == 1 && before.stdout.contains("stctl doctor --fix"), "{before:?}");
    let fixed = scene.ok(&["doctor", "--fix"]).await?;
    ensure!(fixed.contains("had mode 0644 and has 0600 now"), "{fixed}");
    ensure!(fs::metadata(&file)?.permissions().mode() & 0o777 == 0o600, "it is still open");
    Ok(())
}

#[tokio::test]
async fn no_canary_is_in_a_report() -> Result<()> {
    let scene = Scene::start(config()).await?;
    let canaries = [
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYCANARYKEY0",
        "canary-of-the-proxy",
        "canary-of-a-token",
        "canary-of-the-log",
    ];
    let [key, proxy, token, logged] = canaries;
    let home = scene.sandbox().home();
    let credentials = home.join(".aws/credentials");
    let old = format!("\n[old]\naws_access_key_id = AKIACANARYCANARY0001\naws_secret_access_key = {key}\n");
    private(&credentials, &(fs::read_to_string(&credentials)? + &old))?;
    fs::create_dir_all(home.join(".aws/sso/cache"))?;
    private(&home.join(".aws/sso/cache/c.json"), &format!("{{\"accessToken\":\"{token}\"}}"))?;
    let mut environment = scene.sandbox().environment();
    environment.push(("HTTPS_PROXY".to_owned(), format!("http://me:{proxy}@127.0.0.1:1")));
    environment.push(("AWS_SECRET_ACCESS_KEY".to_owned(), key.to_owned()));
    start(&scene, &environment).await?;
    let mut log = fs::OpenOptions::new().append(true).open(scene.sandbox().log_file())?;
    std::io::Write::write_all(
        &mut log,
        format!("token={logged} AKIACANARYCANARY0001 {key} http://u:{proxy}@h/\n").as_bytes(),
    )?;
    let target = scene.emulator().instance();
    scene.ok(&["tunnel", "add", "payroll", "--target", target, "--remote", "salaries.internal:80"]).await?;

    for anonymous in [false, true] {
        let file = scene.sandbox().directory().join(format!("report-{anonymous}.tar.gz"));
        let mut command = scene.command(&["bugreport", "--file"]);
        command.arg(&file).envs(environment.iter().cloned());
        if anonymous {
            command.arg("--anonymous");
        }
        let said = process::run(command, 2 * DEADLINE).await?.success()?;
        ensure!(said.contains("daemon.log") && said.contains("doctor.json"), "{said}");
        ensure!(fs::metadata(&file)?.permissions().mode() & 0o777 == 0o600, "others can read it");
        let mut unpack = Command::new("tar");
        unpack.arg("-xzOf").arg(&file);
        let text = process::run(unpack, DEADLINE).await?.success()?;
        ensure!(text.contains("[redacted]") && text.contains("serving"), "the log is not in it");
        for canary in canaries.iter().chain(&["AKIACANARYCANARY0001", SESSION_TOKEN]) {
            ensure!(!text.contains(canary), "{canary} is in the report");
        }
        ensure!(text.contains("payroll") != anonymous, "--anonymous is {anonymous}");
        ensure!(text.contains("salaries.internal") != anonymous, "--anonymous is {anonymous}");
    }
    println!(
        "promise doctor.bugreport: 6 canaries in keys, token files, variables, proxy and log, none in 2 reports"
    );
    Ok(())
}
