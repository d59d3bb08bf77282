//! Credentials of every kind of profile: each carries a tunnel, and fails with its own reason.

use anyhow::{Result, ensure};
use aws_emulator::{AccessKey, Config, Injection, Role, SignInHabits};
use stormtunnel_e2e::bulk::EchoServer;
use stormtunnel_e2e::profiles::{self, ACCOUNT, REGION, keys, of_role, of_session, profile, session};
use stormtunnel_e2e::scene::{HOST, PORT, Scene};
use stormtunnel_e2e::sign_in::START_URL;
use stormtunnel_e2e::terminal::Terminal;
use stormtunnel_e2e::{DEADLINE, bulk, process};

/// Whose the keys are that the emulator begins with.
const USER: &str = "arn:aws:sts::123456789012:assumed-role/Developer/me@corp.example";
const PLAIN: &str = "arn:aws:iam::222222222222:role/Plain";
const OUTER: &str = "arn:aws:iam::222222222222:role/path/Outer";
const INNER: &str = "arn:aws:iam::333333333333:role/Inner";
const GUARDED: &str = "arn:aws:iam::444444444444:role/Guarded";
const FEDERATED: &str = "arn:aws:iam::555555555555:role/Federated";
const OF_INSTANCE: &str = "arn:aws:iam::123456789012:role/Node";
const OF_TASK: &str = "arn:aws:iam::123456789012:role/Task";

const SERIAL: &str = "arn:aws:iam::123456789012:mfa/me";
const CODE: &str = "123456";
const WEB_TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.a-token-of-the-cluster.signature";

/// A tunnel, named as its profile, and whom AWS takes it for.
type Kind = (&'static str, String);

fn config() -> Config {
    let outer = Role { external_id: Some("xyz".to_owned()), ..Role::new(OUTER) };
    let inner =
        Role { trusts: vec!["arn:aws:sts::222222222222:assumed-role/Outer/".to_owned()], ..Role::new(INNER) };
    let guarded = Role { mfa: Some((SERIAL.to_owned(), CODE.to_owned())), ..Role::new(GUARDED) };
    let federated = Role { web_identity_token: Some(WEB_TOKEN.to_owned()), ..Role::new(FEDERATED) };
    let long_lived = AccessKey::new("AKIATESTEXAMPLE00001", hex::encode(bulk::bytes(21, 20)), None);
    let token = hex::encode(bulk::bytes(23, 120));
    let temporary = AccessKey::new("ASIATESTEXAMPLE00001", hex::encode(bulk::bytes(22, 20)), Some(token));
    Config {
        principal: USER.to_owned(),
        access_keys: vec![long_lived, temporary],
        roles: vec![Role::new(PLAIN), outer, inner, guarded, federated],
        instance_role: Some(OF_INSTANCE.to_owned()),
        task_role: Some(OF_TASK.to_owned()),
        sign_in: SignInHabits { agrees_after_polls: Some(1), interval_s: 1, ..SignInHabits::default() },
        ..Config::default()
    }
}

/// Both keys of [`config`].
fn access_keys() -> Vec<AccessKey> {
    config().access_keys
}

/// A place with an emulator, where tunnels lead to an echo service.
async fn scene(echo: &EchoServer) -> Result<Scene> {
    let scene = Scene::start(config()).await?;
    scene.emulator().map_service(HOST, PORT, echo.address());
    Ok(scene)
}

/// A file in the place's home, as profiles name it.
fn file(scene: &Scene, name: &str, text: &str) -> Result<String> {
    let path = scene.sandbox().home().join(name);
    profiles::replace(&path, text)?;
    Ok(path.display().to_string())
}

/// What a program prints that gives credentials.
fn printed(key: &AccessKey) -> String {
    format!(r#"{{"Version":1,"AccessKeyId":"{}","SecretAccessKey":"{}"}}"#, key.id, key.secret())
}

#[tokio::test]
async fn every_kind_carries_a_tunnel() -> Result<()> {
    let echo = EchoServer::start().await?;
    let scene = scene(&echo).await?;
    let mut kinds = of_files(&scene).await?;
    kinds.push(of_a_device(&scene).await?);
    kinds.extend(of_named_sources(&scene).await?);
    kinds.extend(of_the_machine(&scene).await?);
    for (kind, (found, expected)) in &kinds {
        ensure!(found == expected, "{kind}: AWS takes it for {found}, not for {expected}");
    }
    let names: Vec<&str> = kinds.iter().map(|(kind, _)| *kind).collect();
    println!(
        "promise sso.kinds: {} kinds carry bytes as whom they should: {}",
        names.len(),
        names.join(", ")
    );
    Ok(())
}

/// Whom AWS took the tunnel of a kind for, and whom it should.
type Taken = (&'static str, (String, String));

/// Makes and starts a tunnel per profile, and sends bytes through each.
async fn carry(scene: &Scene, kinds: Vec<Kind>) -> Result<Vec<Taken>> {
    for (name, _) in &kinds {
        profiles::add(scene, name, Some(name)).await?;
    }
    scene.ok(&["up", "--all"]).await?;
    let mut taken = Vec::new();
    for (name, expected) in kinds {
        taken.push((name, (profiles::carries(scene, name).await?, expected)));
    }
    Ok(taken)
}

/// What stands in files, or comes through a sign-in, a program or a token that they name.
async fn of_files(scene: &Scene) -> Result<Vec<Taken>> {
    let [long_lived, temporary] = &access_keys()[..] else { unreachable!("two keys") };
    let program = file(scene, "printed", &printed(long_lived))?;
    let token = file(scene, "web-token", WEB_TOKEN)?;
    let legacy = format!(
        "sso_start_url = {START_URL}\nsso_region = {REGION}\nsso_account_id = {ACCOUNT}\nsso_role_name = Administrator"
    );
    let config = [
        profile("static", ""),
        profile("temporary", ""),
        session("corp"),
        of_session("session", "corp", ACCOUNT, "Developer"),
        profile("legacy", &legacy),
        of_role("role", PLAIN, "static", "role_session_name = me@work\nduration_seconds = 900"),
        of_role("outer", OUTER, "session", "external_id = xyz"),
        of_role("chain", INNER, "outer", ""),
        profile("process", &format!("credential_process = cat \"{program}\"")),
        profile("web-identity", &format!("web_identity_token_file = {token}\nrole_arn = {FEDERATED}")),
    ];
    let credentials = keys("static", long_lived) + &keys("temporary", temporary);
    profiles::write(scene, &config.concat(), &credentials)?;
    profiles::log_in(scene, &["corp"]).await?;
    profiles::log_in(scene, &["--profile", "legacy"]).await?;

    let portal = &scene.emulator().portals()[0];
    let assumed = |role: &str| format!("arn:aws:sts::{role}");
    let kinds = vec![
        ("static", USER.to_owned()),
        ("temporary", USER.to_owned()),
        ("session", portal.principal(ACCOUNT, "Developer")),
        ("legacy", portal.principal(ACCOUNT, "Administrator")),
        ("role", assumed("222222222222:assumed-role/Plain/me@work")),
        ("chain", assumed("333333333333:assumed-role/Inner/stormtunnel")),
        ("process", USER.to_owned()),
        ("web-identity", assumed("555555555555:assumed-role/Federated/stormtunnel")),
    ];
    carry(scene, kinds).await
}

/// A role that wants the code of a device, which a person types at a terminal.
async fn of_a_device(first: &Scene) -> Result<Taken> {
    let scene = first.beside().await?;
    let config =
        profile("static", "") + &of_role("device", GUARDED, "static", &format!("mfa_serial = {SERIAL}"));
    profiles::write(&scene, &config, &keys("static", &access_keys()[0]))?;
    profiles::add(&scene, "db", Some("device")).await?;
    let mut terminal = Terminal::open(&scene.sandbox().environment(), DEADLINE).await?;
    let up = format!("{} up db; echo code $?", scene.sandbox().binaries().stctl.display());
    terminal.begin(&up, |shown| shown.contains(SERIAL), DEADLINE).await?;
    terminal.type_line(CODE).await?;
    let shown = terminal.end(DEADLINE).await?;
    ensure!(shown.contains("code 0"), "{shown}");
    let expected = "arn:aws:sts::444444444444:assumed-role/Guarded/stormtunnel".to_owned();
    Ok(("device", (profiles::carries(&scene, "db").await?, expected)))
}

/// Sources that profiles name and the machine has: `credential_source`.
async fn of_named_sources(first: &Scene) -> Result<Vec<Taken>> {
    const SOURCES: [(&str, &str); 3] = [
        ("of-environment", "Environment"),
        ("of-instance", "Ec2InstanceMetadata"),
        ("of-container", "EcsContainer"),
    ];
    let mut scene = on_a_host(first, &[]).await?;
    take_keys(&mut scene);
    take(&mut scene, &[IN_CONTAINER, ON_INSTANCE]);
    let sections = SOURCES.map(|(name, source)| {
        profile(
            name,
            &format!("role_arn = {PLAIN}\ncredential_source = {source}\nrole_session_name = {name}"),
        )
    });
    profiles::write(&scene, &sections.concat(), "")?;
    let assumed = |name: &str| format!("arn:aws:sts::222222222222:assumed-role/Plain/{name}");
    carry(&scene, SOURCES.iter().map(|(name, _)| (*name, assumed(name))).collect()).await
}

/// Tunnels without a profile, on machines that have credentials for whoever asks.
async fn of_the_machine(first: &Scene) -> Result<Vec<Taken>> {
    let token = file(first, "token-of-the-cluster", WEB_TOKEN)?;
    let cluster = [("AWS_WEB_IDENTITY_TOKEN_FILE", &*token), ("AWS_ROLE_ARN", FEDERATED)];
    let mut environment = on_a_host(first, &[]).await?;
    take_keys(&mut environment);
    let mut container = on_a_host(first, &[]).await?;
    take(&mut container, &[IN_CONTAINER]);
    let mut instance = on_a_host(first, &[]).await?;
    take(&mut instance, &[ON_INSTANCE]);
    let cluster = on_a_host(first, &cluster).await?;
    let assumed = |account: u64, session: &str| format!("arn:aws:sts::{account}:assumed-role/{session}");
    let node = first.emulator().instance();
    let mut taken = Vec::new();
    for (kind, scene, expected) in [
        ("environment keys", environment, USER.to_owned()),
        ("container", container, assumed(123_456_789_012, "Task/task")),
        ("instance", instance, assumed(123_456_789_012, &format!("Node/{node}"))),
        ("web identity of the environment", cluster, assumed(555_555_555_555, "Federated/stormtunnel")),
    ] {
        profiles::write(&scene, "", "")?;
        profiles::add(&scene, "db", None).await?;
        scene.ok(&["up", "db"]).await?;
        taken.push((kind, (profiles::carries(&scene, "db").await?, expected)));
    }
    Ok(taken)
}

/// Variables of a container, and of an instance: what their names begin with.
const IN_CONTAINER: &str = "AWS_CONTAINER_";
const ON_INSTANCE: &str = "AWS_EC2_METADATA_SERVICE_";

/// Another place, whose daemon keeps what its environment has of AWS.
async fn on_a_host(first: &Scene, variables: &[(&str, &str)]) -> Result<Scene> {
    let mut scene = first.beside().await?;
    scene.set_variable("STORMTUNNEL_AWS_ENVIRONMENT", "1");
    for (name, value) in variables {
        scene.set_variable(name, *value);
    }
    Ok(scene)
}

/// Lets the place have the emulator's variables of these kinds.
fn take(scene: &mut Scene, kinds: &[&str]) {
    for (name, value) in scene.emulator().environment() {
        if kinds.iter().any(|kind| name.starts_with(kind)) {
            scene.set_variable(&name, value);
        }
    }
    let off = !kinds.contains(&ON_INSTANCE);
    scene.set_variable("AWS_EC2_METADATA_DISABLED", off.to_string());
}

fn take_keys(scene: &mut Scene) {
    let key = scene.emulator().access_key().clone();
    scene.set_variable("AWS_ACCESS_KEY_ID", &*key.id);
    scene.set_variable("AWS_SECRET_ACCESS_KEY", key.secret());
}

/// A profile that fails, the exit code of `up`, and what the sentence must hold.
type Failure = (&'static str, i32, &'static [&'static str]);

const FAILURES: &[Failure] = &[
    (
        "unknown",
        4,
        &["profile \"unknown\"", "UnrecognizedClientException", "renew the profile's credentials"],
    ),
    ("half", 4, &["profile \"half\"", "aws_secret_access_key is missing"]),
    ("temporary", 4, &["profile \"temporary\"", "expired", "renew the profile's credentials"]),
    ("session", 4, &["SSO login to \"corp\" is needed", "nobody signed in yet", "stctl sso login"]),
    ("legacy", 4, &["SSO login to \"https://", "nobody signed in yet", "stctl sso login"]),
    ("no-session", 4, &["profile \"no-session\"", "nowhere"]),
    ("stranger", 8, &["does not allow", "sts:AssumeRole", OUTER, "ask the administrator"]),
    ("too-long", 4, &["profile \"too-long\"", "DurationSeconds"]),
    ("device", 4, &[SERIAL]),
    ("no-source", 4, &["profile \"no-source\"", "source_profile"]),
    ("circle", 4, &["profile \"circle\"", "circle"]),
    ("process", 4, &["credential_process of profile \"process\"", "exit status: 3", "the vault is sealed"]),
    ("no-file", 4, &["web_identity_token_file", "cannot be read", "No such file"]),
    ("wrong-token", 4, &["profile \"wrong-token\"", "InvalidIdentityToken"]),
    ("environment", 4, &["AWS_ACCESS_KEY_ID", "STORMTUNNEL_AWS_ENVIRONMENT=1"]),
    ("instance", 4, &["IMDS disabled by AWS_EC2_METADATA_DISABLED", "without that variable"]),
    ("container", 4, &["AWS_CONTAINER_CREDENTIALS_FULL_URI", "STORMTUNNEL_AWS_ENVIRONMENT=1"]),
    ("nothing", 4, &["the profile says nothing about credentials"]),
    ("absent", 6, &["there is no AWS profile \"absent\""]),
];

/// The files whose profiles fail as [`FAILURES`] has it.
fn failing_files(scene: &Scene) -> Result<(String, String)> {
    let [long_lived, temporary] = &access_keys()[..] else { unreachable!("two keys") };
    let stolen = AccessKey::new("AKIANOBODYKNOWS00001", long_lived.secret(), None);
    let legacy = format!(
        "sso_start_url = {START_URL}\nsso_region = {REGION}\nsso_account_id = {ACCOUNT}\nsso_role_name = Developer"
    );
    let token = file(scene, "web-token", "of another cluster")?;
    let program = file(scene, "program", "echo the vault is sealed >&2; exit 3")?;
    let source = |name: &str, source: &str| {
        profile(name, &format!("role_arn = {PLAIN}\ncredential_source = {source}"))
    };
    let federated = |name: &str, token: &str| {
        profile(name, &format!("role_arn = {FEDERATED}\nweb_identity_token_file = {token}"))
    };
    let config = [
        profile("unknown", ""),
        profile("half", "aws_access_key_id = AKIAHALF"),
        profile("temporary", ""),
        profile("static", ""),
        session("corp"),
        of_session("session", "corp", ACCOUNT, "Developer"),
        profile("legacy", &legacy),
        of_session("no-session", "nowhere", ACCOUNT, "Developer"),
        of_role("stranger", OUTER, "static", ""),
        of_role("too-long", PLAIN, "static", "duration_seconds = 43200"),
        of_role("device", GUARDED, "static", &format!("mfa_serial = {SERIAL}")),
        of_role("no-source", PLAIN, "nobody", ""),
        of_role("circle", PLAIN, "circle-back", ""),
        of_role("circle-back", PLAIN, "circle", ""),
        profile("process", &format!("credential_process = sh \"{program}\"")),
        federated("no-file", "/nowhere/token"),
        federated("wrong-token", &token),
        source("environment", "Environment"),
        source("instance", "Ec2InstanceMetadata"),
        source("container", "EcsContainer"),
        profile("nothing", ""),
    ];
    let credentials = keys("unknown", &stolen) + &keys("temporary", temporary) + &keys("static", long_lived);
    Ok((config.concat(), credentials))
}

#[tokio::test]
async fn every_kind_fails_with_its_own_reason() -> Result<()> {
    let echo = EchoServer::start().await?;
    let scene = scene(&echo).await?;
    let (config, credentials) = failing_files(&scene)?;
    profiles::write(&scene, &config, &credentials)?;
    let id = access_keys()[1].id.clone();
    scene.emulator().inject(Injection::ExpireCredentials { access_key_id: Some(id), expired: true });
    let mut wrong = Vec::new();
    for (name, code, words) in FAILURES {
        profiles::add(&scene, name, Some(name)).await?;
        let said = profiles::refused(&scene, name).await?;
        let missing: Vec<_> = words.iter().filter(|word| !said.stderr.contains(**word)).collect();
        if said.code != *code || !missing.is_empty() {
            wrong.push(format!("{name}: {} (not {code}), without {missing:?}: {}", said.code, said.stderr));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!(
        "promise sso.reasons: {} ways to fail, each with its exit code, what is missing, expired or wrong, and a remedy",
        FAILURES.len()
    );
    Ok(())
}

/// A role that the account does not have, a portal that gives the user no such permission set, and services of the machine that
/// refuse.
#[tokio::test]
async fn those_who_are_refused_are_told_by_whom() -> Result<()> {
    let echo = EchoServer::start().await?;
    let first = Scene::start(Config { instance_role: None, ..config() }).await?;
    first.emulator().map_service(HOST, PORT, echo.address());
    let unassigned = session("corp") + &of_session("p", "corp", ACCOUNT, "Owner");
    profiles::write(&first, &unassigned, "")?;
    profiles::log_in(&first, &["corp"]).await?;
    told(&first, Some("p"), 8, &["permission set Owner in account 123456789012"]).await?;

    let mut instance = on_a_host(&first, &[]).await?;
    take(&mut instance, &[]);
    instance.set_variable("AWS_EC2_METADATA_DISABLED", "false");
    instance.set_variable("AWS_EC2_METADATA_SERVICE_ENDPOINT", first.emulator().metadata_url());
    profiles::write(&instance, "", "")?;
    told(&instance, None, 4, &["neither a container nor an instance with a role"]).await?;

    let mut container = on_a_host(&first, &[]).await?;
    take(&mut container, &[IN_CONTAINER]);
    container.set_variable("AWS_CONTAINER_AUTHORIZATION_TOKEN", "of an earlier task");
    profiles::write(&container, "", "")?;
    told(&container, None, 4, &["403", "AWS_CONTAINER_AUTHORIZATION_TOKEN"]).await
}

async fn told(scene: &Scene, profile: Option<&str>, code: i32, words: &[&str]) -> Result<()> {
    profiles::add(scene, "db", profile).await?;
    let said: process::Output = profiles::refused(scene, "db").await?;
    ensure!(said.code == code && words.iter().all(|word| said.stderr.contains(word)), "{said:?}");
    Ok(())
}
