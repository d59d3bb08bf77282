//! Logins with the real programs: one for all who need it, and `up` brings it about where a person sits.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_emulator::{Config, Consent, Counter, Emulator, Injection, Portal, SignInHabits, SignInOrder};
use serde_json::Value;
use stormtunnel_e2e::bulk::EchoServer;
use stormtunnel_e2e::process::{self, Output};
use stormtunnel_e2e::profiles::{self, of_session, session};
use stormtunnel_e2e::scene::{HOST, PORT, Scene, state};
use stormtunnel_e2e::sign_in::{self, START_URL};
use stormtunnel_e2e::terminal::Terminal;
use stormtunnel_e2e::watch::Watch;
use stormtunnel_e2e::{DEADLINE, local};
use tokio::task::JoinSet;

const PROFILES: usize = 10;
const TUNNELS: usize = 100;
const REQUESTS: usize = 20;
/// People at several terminals, each with a profile of its own.
const PEOPLE: usize = 10;
/// For a hundred tunnels on two cores.
const ALL: Duration = Duration::from_secs(60);

/// A user who thinks before agreeing to anything.
fn thoughtful() -> SignInHabits {
    SignInHabits { consent: Consent::Waits, interval_s: 1, ..SignInHabits::default() }
}

/// A user with a permission set in each of ten accounts.
fn ten_accounts() -> Config {
    let portal = (0..PROFILES)
        .fold(Portal::new(START_URL, "me@corp.example"), |portal, n| portal.account(account(n), &["Dev"]));
    Config {
        portals: vec![portal],
        sign_in: SignInHabits { interval_s: 1, ..SignInHabits::default() },
        ..Config::default()
    }
}

fn account(n: usize) -> String {
    format!("{:012}", 111_111_111_111 + n)
}

fn of(n: usize) -> String {
    format!("p{}", n % PROFILES)
}

#[tokio::test]
async fn one_login_brings_everything_back() -> Result<()> {
    let echo = EchoServer::start().await?;
    let scene = Scene::start(ten_accounts()).await?;
    scene.emulator().map_service(HOST, PORT, echo.address());
    let sections = (0..PROFILES).map(|n| of_session(&of(n), "corp", &account(n), "Dev"));
    profiles::write(&scene, &(session("corp") + &sections.collect::<String>()), "")?;
    sign_in::log_in(&scene, "corp").await?;
    for n in 0..TUNNELS {
        profiles::add(&scene, &format!("t{n}"), Some(&of(n))).await?;
    }
    let mut watch = Watch::start(scene.command(&["watch", "-o", "json"]), DEADLINE).await?;
    scene.ok(&["up", "--all", "--no-wait"]).await?;
    watch.until_each(ALL, TUNNELS, |tunnel| state(tunnel) == "up").await?;
    let before = Seen::of(&scene).await?;

    expire(scene.emulator());
    watch.until_each(ALL, TUNNELS, needs_login).await?;
    let refused = all((0..REQUESTS).map(|n| scene.command(&["whoami", "--profile", &of(n)]))).await?;
    for said in &refused {
        ensure!(said.code == 4 && said.stderr.contains("stctl sso login"), "{said:?}");
    }
    // A person who is late would begin another login: all of them have to see the one that runs.
    let browser = sign_in::browser(&scene);
    let mut people = Vec::new();
    for n in 0..PEOPLE {
        let login =
            scene.command(&["sso", "login", "--profile", &of(n), "--browser", &browser, "-o", "json"]);
        people.push(Watch::start(login, DEADLINE).await?);
    }
    for person in &mut people {
        person.until(DEADLINE, |line| line["progress"]["page"] == "opened").await?;
    }
    scene.emulator().inject(SignInOrder::Decide { user_code: None, agree: true });
    for person in &mut people {
        person.until(DEADLINE, |line| line["event"] == "signed_in").await?;
    }
    watch.until_each(ALL, TUNNELS, |tunnel| state(tunnel) == "up").await?;
    for n in 0..PROFILES {
        let mut connection = local::connect(scene.port(&format!("t{n}")).await?, DEADLINE).await?;
        local::echo(&mut connection, "again\n", DEADLINE).await?;
    }

    let now = Seen::of(&scene).await?;
    let Seen { openings, logins, told } = before;
    let once = Seen { openings: openings + 1, logins: logins + 1, told: told + 1 };
    ensure!(now == once, "{before:?}, and then {now:?}");
    println!(
        "promise sso.one-login: {TUNNELS} tunnels, {REQUESTS} credential requests and {PEOPLE} people on {PROFILES} profiles: one \
         browser opening, one login_needed event, one login, and all Up"
    );
    Ok(())
}

/// The portal's session ends, with all that came of it, and so do the sessions of the tunnels.
fn expire(emulator: &Emulator) {
    emulator.inject(SignInOrder::Habits { habits: thoughtful() });
    emulator.inject(SignInOrder::Age { seconds: 9 * 3600 });
    emulator.inject(Injection::KillSession { session: None, output: "ended".to_owned() });
}

fn needs_login(tunnel: &Value) -> bool {
    tunnel["status"]["fault"]["kind"] == "sign_in_needed"
}

/// Runs all at once.
async fn all(commands: impl Iterator<Item = std::process::Command>) -> Result<Vec<Output>> {
    let mut running = JoinSet::new();
    for command in commands {
        running.spawn(process::run(command, ALL));
    }
    running.join_all().await.into_iter().collect()
}

/// What a person notices of sign-ins.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    openings: u64,
    logins: u64,
    /// Events that say that a login is needed: what a notification is made of.
    told: usize,
}

impl Seen {
    async fn of(scene: &Scene) -> Result<Self> {
        let counters = scene.emulator().counters();
        let events = scene.json(&["events", "--limit", "10000"]).await?;
        let events = events.as_array().context("no list of events")?;
        Ok(Self {
            openings: counters.value(Counter::BrowserOpenings),
            logins: counters.value(Counter::Logins),
            told: events.iter().filter(|event| event["kind"] == "login_needed").count(),
        })
    }
}

/// A place whose one profile nobody ever signed in for, with a tunnel `db`.
async fn never_signed_in(echo: &EchoServer) -> Result<Scene> {
    let mut scene = Scene::start(ten_accounts()).await?;
    profiles::have_browser(&mut scene);
    scene.emulator().map_service(HOST, PORT, echo.address());
    let config = session("corp") + &of_session("dev", "corp", &account(0), "Dev");
    profiles::write(&scene, &config, "")?;
    profiles::add(&scene, "db", Some("dev")).await?;
    Ok(scene)
}

#[tokio::test]
async fn up_signs_in_where_a_person_sits() -> Result<()> {
    let echo = EchoServer::start().await?;
    let scene = never_signed_in(&echo).await?;
    let refused = scene.stctl(&["up", "db"]).await?;
    ensure!(refused.code == 4 && refused.stderr.contains("stctl sso login --profile dev"), "{refused:?}");
    ensure!(state(&scene.tunnel("db").await?) == "blocked");

    let mut terminal = Terminal::open(&scene.sandbox().environment(), DEADLINE).await?;
    let program = scene.sandbox().binaries().stctl.display().to_string();
    let shown = terminal.command(&format!("{program} up db --no-login; echo code $?"), DEADLINE).await?;
    ensure!(shown.contains("code 4"), "{shown}");
    ensure!(state(&scene.tunnel("db").await?) == "blocked");
    ensure!(scene.emulator().counters().value(Counter::BrowserOpenings) == 0, "a browser was opened");

    let shown = sign_in_at(&scene, &mut terminal, &format!("{program} up db; echo code $?")).await?;
    ensure!(shown.contains("db is up") && shown.contains("code 0"), "{shown}");
    let mut connection = local::connect(scene.port("db").await?, DEADLINE).await?;
    local::echo(&mut connection, "signed in\n", DEADLINE).await?;
    let seen = Seen::of(&scene).await?;
    ensure!((seen.openings, seen.logins) == (1, 1), "{seen:?}");
    let by = if in_container() { "the person, as in any container" } else { "the daemon" };
    println!(
        "promise sso.up: without a terminal and with --no-login Blocked and exit code 4, no opening; at a terminal one opening (by \
         {by}), then Up and 0"
    );
    Ok(())
}

/// Types a command that signs in. In a container it opens no browser, since nobody would see that: there the person takes page and
/// code to a browser elsewhere.
async fn sign_in_at(scene: &Scene, terminal: &mut Terminal, line: &str) -> Result<String> {
    if !in_container() {
        return terminal.command(line, DEADLINE).await;
    }
    let shown = terminal.begin(line, |shown| page_and_code(shown).is_some(), DEADLINE).await?;
    let (page, code) = page_and_code(&shown).context("no page")?;
    let browser = format!("{} '{page}?user_code={code}'", sign_in::browser(scene));
    let mut person = std::process::Command::new("sh");
    person.args(["-c", &browser]);
    process::run(person, DEADLINE).await?.success()?;
    terminal.end(DEADLINE).await
}

/// What stands on lines of its own: where to go, and the code that is shown there.
fn page_and_code(shown: &str) -> Option<(&str, &str)> {
    let mut lines = shown.lines().filter_map(|line| line.strip_prefix("  ")).map(str::trim);
    let page = lines.find(|line| line.starts_with("http"))?;
    Some((page, lines.find(|line| line.len() == "ABCD-EFGH".len())?))
}

/// As `stctl` finds out.
fn in_container() -> bool {
    ["/.dockerenv", "/run/.containerenv"].iter().any(|mark| Path::new(mark).exists())
}
