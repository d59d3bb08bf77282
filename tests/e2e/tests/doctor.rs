//! `stctl doctor` finds each planted fault, and nothing where nothing is wrong.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_emulator::{AccessKey, Config, Emulator, Injection, SignInHabits};
use serde_json::Value;
use stormtunnel_e2e::household::{Household, SIGN_IN, TUNNELS};
use stormtunnel_e2e::scene::Scene;
use stormtunnel_e2e::{DEADLINE, process, profiles};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;

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
    /// The endpoint of that service refuses, of which a finding has to tell by this name.
    Endpoint(&'static str, &'static str),
    /// An endpoint that takes connections and never answers.
    Silent,
    /// A CA bundle that is none.
    Bundle,
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
        planted: Planted::Text(".aws/config", SSO_PROFILE),
    },
    Fault {
        name: "start URL that nobody serves",
        check: "sign_ins.start_url",
        planted: Planted::Text(".aws/config", SSO_PROFILE),
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

const SSO_PROFILE: &str = "\n[profile s]\nsso_start_url = https://localhost:1/start\nsso_region = eu-west-1\nsso_account_id = 123456789012\nsso_role_name = R\nregion = eu-central-1\n";

const MORE: [Fault; 15] = [
    Fault {
        name: "dead STS",
        check: "network.endpoints",
        planted: Planted::Endpoint("sts", "(sts eu-central-1)"),
    },
    Fault {
        name: "dead data channels",
        check: "network.endpoints",
        planted: Planted::Endpoint("ssmmessages", "(ssmmessages eu-central-1)"),
    },
    Fault {
        name: "dead SSO-OIDC",
        check: "network.endpoints",
        planted: Planted::Endpoint("sso_oidc", "(oidc eu-west-1)"),
    },
    Fault {
        name: "dead access portal",
        check: "network.endpoints",
        planted: Planted::Endpoint("sso", "(portal.sso eu-west-1)"),
    },
    Fault {
        name: "dead EC2",
        check: "network.endpoints",
        planted: Planted::Endpoint("ec2", "(ec2 eu-central-1)"),
    },
    Fault {
        name: "dead ECS",
        check: "network.endpoints",
        planted: Planted::Endpoint("ecs", "(ecs eu-central-1)"),
    },
    Fault { name: "endpoint that is silent", check: "network.endpoints", planted: Planted::Silent },
    Fault { name: "broken CA bundle", check: "network.ca", planted: Planted::Bundle },
    Fault {
        name: "dead proxy of the settings",
        check: "network.proxy",
        planted: Planted::Setting("network.proxy", "http://me:canary@127.0.0.1:1"),
    },
    Fault {
        name: "variable that names no HTTP proxy",
        check: "network.proxy",
        planted: Planted::Variable("ALL_PROXY", "socks5://127.0.0.1:1"),
    },
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

/// Whatever does not answer, `stctl doctor` ends by then: its checks take 25 s at most, and run all at once.
const BOUND: Duration = Duration::from_secs(30);

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
    println!("promise doctor.faults: {count} of {count} planted faults found");
    Ok(())
}

#[tokio::test]
async fn nothing_is_found_where_everything_is_in_use_and_nothing_is_wrong() -> Result<()> {
    let household = Household::new().await?;
    household.live().await?;
    let scene = &household.scene;
    let ran = run(scene, &scene.sandbox().environment(), &[]).await?;
    ensure!(found(&ran)?.is_empty(), "a sound set-up has findings: {ran:#}");
    let findings = ran["findings"].as_array().context("no findings")?;
    let outcome = |id: &str| {
        findings.iter().find(|finding| finding["id"] == id).map(|finding| finding["outcome"].clone())
    };
    for id in ["sign_ins.token", "sign_ins.start_url", "network.endpoints", "credentials", "ports", "clock"] {
        ensure!(outcome(id) == Some("pass".into()), "{id} looked at nothing: {ran:#}");
    }
    // Nothing was to be mended, and nothing has been.
    let fixed = scene.json(&["doctor", "--fix"]).await?;
    ensure!(
        fixed["findings"].as_array().is_some_and(|all| all.iter().all(|finding| finding["fixed"] == "")),
        "{fixed:#}"
    );
    let passed = findings.iter().filter(|finding| finding["outcome"] == "pass").count();
    println!(
        "promise doctor.healthy: {passed} of {} checks pass and none finds anything, with a login, {} tunnels up that carried bytes, \
         and each service of AWS in use",
        findings.len(),
        TUNNELS.len()
    );
    Ok(())
}

#[tokio::test]
async fn who_has_signed_in_and_has_no_tunnel_yet_lacks_nothing() -> Result<()> {
    let household = Household::new().await?;
    let scene = &household.scene;
    let config = fs::read_to_string(profiles::config_file(scene))?;
    let sections = ["[sso-session", "[profile dev]"].map(|head| section(&config, head));
    profiles::write(scene, &sections.concat(), "")?;
    profiles::log_in(scene, &[SIGN_IN]).await?;
    let ran = run(scene, &scene.sandbox().environment(), &[]).await?;
    ensure!(found(&ran)?.is_empty(), "a new set-up has findings: {ran:#}");
    Ok(())
}

/// A section of a config file.
fn section(config: &str, head: &str) -> String {
    let start = config.find(head).unwrap_or_default();
    let end = config[start + 1..].find("\n[").map_or(config.len(), |end| start + 2 + end);
    config[start..end].to_owned()
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
        Planted::Endpoint("sso" | "sso_oidc", _) => {
            let path = home.join(".aws/config");
            private(&path, &(fs::read_to_string(&path)? + SSO_PROFILE))?;
        }
        Planted::Endpoint(..)
        | Planted::Silent
        | Planted::Bundle
        | Planted::Mode(..)
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
        Planted::Endpoint(service, named) => {
            let target = match *service {
                "ec2" => "name:bastion",
                "ecs" => "ecs-service:main/web",
                _ => scene.emulator().instance(),
            };
            scene.ok(&["tunnel", "add", "t", "--target", target, "--remote", "80"]).await?;
            scene.ok(&["settings", "set", &format!("aws.endpoint_{service}"), "https://127.0.0.1:1"]).await?;
            let ran = run(scene, &environment, &terminal).await?;
            ensure!(ran.to_string().contains(named), "{named} is not named: {ran}");
            return found(&ran);
        }
        Planted::Silent => {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let url = format!("https://{}", listener.local_addr()?);
            for service in ["sts", "ssm", "ssmmessages"] {
                scene.ok(&["settings", "set", &format!("aws.endpoint_{service}"), &url]).await?;
            }
            let began = Instant::now();
            let ran = run(scene, &environment, &terminal).await?;
            ensure!(began.elapsed() < BOUND, "it took {:?}", began.elapsed());
            ensure!(ran.to_string().contains("no answer within 10 s"), "{ran}");
            return found(&ran);
        }
        Planted::Bundle => {
            let bundle = home.join("corp.pem");
            fs::write(&bundle, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")?;
            let bundle = bundle.to_str().context("the path is no text")?;
            scene.ok(&["settings", "set", "network.ca_bundle", bundle]).await?;
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
