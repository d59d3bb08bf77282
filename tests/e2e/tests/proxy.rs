//! Everything leaves through a proxy that wants a login, to hosts whose certificates a private authority signed.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use aws_emulator::{Config, Counter};
use stormtunnel_e2e::bulk::EchoServer;
use stormtunnel_e2e::scene::{HOST, PORT, Scene};
use stormtunnel_e2e::{DEADLINE, local, process};
use tokio::net::TcpListener;

const USER: &str = "CORP\\me";
const PASSWORD: &str = "p@ss:w%rd-CANARY";
/// The same, as a URL has it.
const LOGIN: &str = "CORP%5Cme:p%40ss%3Aw%25rd-CANARY";
/// How it looks wherever it must not show.
const TELLING: &str = "rd-CANARY";

#[tokio::test]
async fn calls_and_channels_leave_through_a_proxy_with_a_login_and_a_private_authority() -> Result<()> {
    let echo = EchoServer::start().await?;
    let gone = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let proxy_login = Some((USER.to_owned(), PASSWORD.to_owned()));
    let scene =
        behind_a_proxy(Config { proxy_login, ..Config::default() }, &format!("http://{gone}")).await?;
    scene.emulator().map_service(HOST, PORT, echo.address());
    let counters = scene.emulator().counters();
    let proxy = scene.emulator().proxy_url().context("the emulator serves no TLS")?.to_owned();
    let place = proxy.strip_prefix("http://").context("no http")?.to_owned();
    let with_login = format!("http://{LOGIN}@{place}");
    let mut said = Vec::new();

    // Each mistake has its sentence, and a setting mends it without a restart.
    said.push(failed(&scene, &["does not answer", "settings set network.proxy"]).await?);
    said.push(refused(&scene, &proxy, &["HTTP 407", &format!("http://USER:PASSWORD@{place}")]).await?);
    let wrong = format!("http://me:{TELLING}@{place}");
    said.push(refused(&scene, &wrong, &["does not take this user and password"]).await?);
    ensure!(counters.value(Counter::ProxyRefused) >= 2, "the proxy was asked with and without a login");
    said.push(refused(&scene, &with_login, &["set network.ca_bundle"]).await?);

    trust_the_emulator(&scene).await?;
    let asked = whoami(&scene).await?;
    said.push(asked.success()?);
    scene.add("db", &format!("{HOST}:{PORT}")).await?;
    scene.ok(&["up", "db"]).await?;
    let mut connection = local::connect(scene.port("db").await?, DEADLINE).await?;
    local::echo(&mut connection, "through the proxy\n", DEADLINE).await?;
    let (calls, channels) = (counters.value(Counter::ProxyToApi), counters.value(Counter::ProxyToGateway));
    ensure!(calls > 0 && channels == 1, "{calls} connections for calls, {channels} for channels");

    let host = "aws.invalid";
    scene.ok(&["settings", "set", "aws.endpoint_sts", &format!("https://{host}")]).await?;
    said.push(failed(&scene, &[&format!("refuses the way to {host}:443"), "network.no_proxy"]).await?);
    scene.ok(&["settings", "set", "network.no_proxy", host]).await?;
    let direct = failed(&scene, &["cannot be found in DNS"]).await?;
    ensure!(!direct.contains("the proxy"), "{direct}");

    let shown = scene.ok(&["settings", "get", "network.proxy"]).await?;
    ensure!(shown.contains(&format!("http://CORP%5Cme:***@{place}")), "{shown}");
    let places = said.len() + 1 + leftovers(&scene.sandbox().state_dir())?.len();
    said.push(shown);
    for text in said.into_iter().chain(leftovers(&scene.sandbox().state_dir())?) {
        ensure!(!text.contains(TELLING), "the password is in {text}");
    }
    println!(
        "promise net.proxy: {calls} connections of API calls and {channels} data channel through CONNECT with a login and a private \
         CA; a dead proxy, 407 with and without a login, a wrong CA and a refused host each told apart; NO_PROXY leads past it; the \
         password in none of {places} places"
    );
    Ok(())
}

#[tokio::test]
async fn fips_and_dual_stack_lead_to_the_hosts_that_aws_has_for_them() -> Result<()> {
    let echo = EchoServer::start().await?;
    let region = "us-east-1";
    let gone = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let config = Config { region: region.to_owned(), ..Config::default() };
    let scene = behind_a_proxy(config, &format!("http://{gone}")).await?;
    scene.emulator().map_service(HOST, PORT, echo.address());
    let proxy = scene.emulator().proxy_url().context("the emulator serves no TLS")?.to_owned();
    scene.ok(&["settings", "set", "network.proxy", &proxy]).await?;
    trust_the_emulator(&scene).await?;
    scene.add("db", &format!("{HOST}:{PORT}")).await?;
    let mut hosts = 0;
    for (fips, dual_stack, infix, suffix) in [
        (false, false, "", "amazonaws.com"),
        (true, false, "-fips", "amazonaws.com"),
        (false, true, "", "api.aws"),
        (true, true, "-fips", "api.aws"),
    ] {
        scene.ok(&["settings", "set", "aws.use_fips", &fips.to_string()]).await?;
        scene.ok(&["settings", "set", "aws.use_dual_stack", &dual_stack.to_string()]).await?;
        drop(scene.emulator().take_proxied_hosts());
        whoami(&scene).await?.success()?;
        scene.ok(&["targets"]).await?;
        scene.ok(&["restart", "db"]).await?;
        let mut connection = local::connect(scene.port("db").await?, DEADLINE).await?;
        local::echo(&mut connection, "over other hosts\n", DEADLINE).await?;
        let asked = scene.emulator().take_proxied_hosts();
        let services = ["sts", "ssm", "ec2", "ecs"];
        let mut expected: BTreeSet<String> =
            services.iter().map(|service| format!("{service}{infix}.{region}.{suffix}")).collect();
        // AWS names it, and to whom it does.
        expected.insert(format!("ssmmessages.{region}.amazonaws.com"));
        ensure!(asked == expected, "FIPS {fips}, dual stack {dual_stack}: {asked:?}, not {expected:?}");
        hosts += asked.len();
    }
    println!(
        "promise net.fips: {hosts} hosts of STS, Session Manager, EC2, ECS and data channels in 4 combinations of FIPS and dual stack, as a CONNECT proxy saw them"
    );
    Ok(())
}

/// Has the daemon trust the emulator's authority, by a setting.
async fn trust_the_emulator(scene: &Scene) -> Result<()> {
    let authority = scene.sandbox().directory().join("corp.pem");
    std::fs::write(&authority, scene.emulator().ca_pem().context("no authority")?)?;
    let authority = authority.to_str().context("the path is no text")?;
    scene.ok(&["settings", "set", "network.ca_bundle", authority]).await.map(drop)
}

/// A scene whose daemon knows no endpoints: AWS's own names lead to the emulator, through its proxy alone. It starts with another
/// one in its settings.
async fn behind_a_proxy(config: Config, first: &str) -> Result<Scene> {
    let scene = Scene::start(Config { tls: true, aws_stream_urls: true, ..config }).await?;
    let place = scene.sandbox();
    let settings = place.config_file();
    std::fs::create_dir_all(settings.parent().context("no directory")?)?;
    std::fs::write(&settings, format!("[network]\nproxy = \"{first}\"\n"))?;
    let leads_here = |name: &str| name.starts_with("AWS_ENDPOINT_URL") || name == "AWS_CA_BUNDLE";
    let environment = place.environment().into_iter().filter(|(name, _)| !leads_here(name));
    let mut command = Command::new(&place.binaries().stormtunneld);
    command.arg("--detach").env_clear().envs(environment);
    let started = process::run(command, DEADLINE).await?.success()?;
    ensure!(started == "ready\n", "another daemon runs in a new place");
    Ok(scene)
}

/// What a call says with that proxy, which has to hold all of `parts`.
async fn refused(scene: &Scene, proxy: &str, parts: &[&str]) -> Result<String> {
    let set = scene.ok(&["settings", "set", "network.proxy", proxy]).await?;
    ensure!(!set.contains(TELLING), "{set}");
    failed(scene, parts).await
}

/// Who asks while AWS is being asked gets the same answer, which may be of a moment ago: the second one is of now.
async fn whoami(scene: &Scene) -> Result<process::Output> {
    scene.stctl(&["whoami"]).await?;
    scene.stctl(&["whoami"]).await
}

/// What a call says, which has to hold all of `parts`.
async fn failed(scene: &Scene, parts: &[&str]) -> Result<String> {
    let output = whoami(scene).await?;
    let said = format!("{}{}", output.stdout, output.stderr);
    ensure!(output.code != 0, "it worked: {said}");
    // A table wraps nothing here, but the terminal of whoever runs this might.
    let line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in parts {
        ensure!(line.contains(part), "no \"{part}\" in: {said}");
    }
    Ok(line)
}

/// The files of the state directory, log and database included.
fn leftovers(directory: &Path) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_file() {
            texts.push(String::from_utf8_lossy(&std::fs::read(&path)?).into_owned());
        }
    }
    Ok(texts)
}
