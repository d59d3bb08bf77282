//! `~/.aws/config` under the hands of every kind of writer, while tunnels live on its profiles.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use aws_emulator::{AccessKey, Config, Counter, Role, SignInHabits};
use serde_json::Value;
use stormtunnel_e2e::bulk::EchoServer;
use stormtunnel_e2e::profiles::{self, ACCOUNT, keys, of_role, of_session, profile, session};
use stormtunnel_e2e::scene::{HOST, PORT, Scene, state};
use stormtunnel_e2e::watch::Watch;
use stormtunnel_e2e::{DEADLINE, local};
use tokio::time::Instant;

const ROLE: &str = "arn:aws:iam::222222222222:role/Plain";
/// For how long slow writers leave half a file, or none.
const HALF_DONE: Duration = Duration::from_millis(200);

/// How a file gets its next text.
#[derive(Clone, Copy, Debug)]
enum Writer {
    InPlace,
    ByRename,
    TruncatedFirst,
    DeletedFirst,
}

impl Writer {
    const ALL: [Self; 4] = [Self::InPlace, Self::ByRename, Self::TruncatedFirst, Self::DeletedFirst];

    /// Writes; nothing may be shown of half a file.
    async fn write(self, file: &Path, text: &str, shown: &mut Watch) -> Result<()> {
        match self {
            Self::InPlace => std::fs::write(file, text)?,
            Self::ByRename => profiles::replace(file, text)?,
            Self::TruncatedFirst => {
                std::fs::write(file, "")?;
                shown.is_quiet(HALF_DONE).await?;
                std::fs::write(file, text)?;
            }
            Self::DeletedFirst => {
                std::fs::remove_file(file)?;
                shown.is_quiet(HALF_DONE).await?;
                profiles::replace(file, text)?;
            }
        }
        Ok(())
    }
}

/// The config file in its n-th form: profile `touched` is another one each time, `new-N` takes the place of `new-(N-1)`, and
/// nothing else changes.
fn text(n: usize) -> String {
    let sections = [
        session("corp"),
        of_session("untouched", "corp", ACCOUNT, "Developer"),
        of_role("touched", ROLE, "keys", &format!("role_session_name = form-{n}")),
        profile("keys", ""),
        profile(&format!("new-{n}"), "credential_process = true"),
    ];
    sections.concat()
}

async fn scene(echo: &EchoServer) -> Result<Scene> {
    let sign_in = SignInHabits { agrees_after_polls: Some(1), interval_s: 1, ..SignInHabits::default() };
    let scene = Scene::start(Config { sign_in, roles: vec![Role::new(ROLE)], ..Config::default() }).await?;
    scene.emulator().map_service(HOST, PORT, echo.address());
    let credentials = keys("keys", scene.emulator().access_key());
    profiles::write(&scene, &text(0), &credentials)?;
    Ok(scene)
}

#[tokio::test]
async fn every_writer_is_followed_and_no_untouched_tunnel_notices() -> Result<()> {
    let echo = EchoServer::start().await?;
    let scene = scene(&echo).await?;
    profiles::log_in(&scene, &["corp"]).await?;
    for name in ["touched", "untouched"] {
        profiles::add(&scene, name, Some(name)).await?;
    }
    scene.ok(&["up", "--all"]).await?;
    ensure!(profiles::carries(&scene, "touched").await?.ends_with("Plain/form-0"));
    profiles::carries(&scene, "untouched").await?;
    let mut connection = local::connect(scene.port("untouched").await?, DEADLINE).await?;
    local::echo(&mut connection, "before\n", DEADLINE).await?;
    let before = Undisturbed::of(&scene).await?;

    let mut list = List::of(&scene).await?;
    let mut slowest = Duration::ZERO;
    for (n, writer) in (1..).zip(Writer::ALL) {
        list.until(|list| list.is_checked(n - 1)).await?;
        writer.write(&profiles::config_file(&scene), &text(n), &mut list.watch).await?;
        let written = Instant::now();
        let expected = ["keys", &format!("new-{n}"), "touched", "untouched"];
        list.until(|list| list.profiles.keys().eq(&expected)).await?;
        slowest = slowest.max(written.elapsed());
        let listed = scene.ok(&["profiles", "-o", "name"]).await?;
        ensure!(listed.lines().eq(expected), "{writer:?}: {listed}");
        local::echo(&mut connection, "meanwhile\n", DEADLINE).await?;
        ensure!(Undisturbed::of(&scene).await? == before, "{writer:?}");
    }
    let started = scene.emulator().counters().value(Counter::SessionsStarted);
    scene.ok(&["restart", "touched"]).await?;
    let taken = profiles::carries(&scene, "touched").await?;
    ensure!(taken.ends_with("Plain/form-4"), "the tunnel of the edited profile is {taken}");
    ensure!(started == 2 && scene.emulator().counters().value(Counter::SessionsStarted) == 3);
    local::echo(&mut connection, "after\n", DEADLINE).await?;
    ensure!(Undisturbed::of(&scene).await? == before);
    println!(
        "promise sso.files: rewritten in place, replaced, truncated for 200 ms, deleted and restored: the right list {} ms after the \
         last write at most; the tunnel of an untouched profile kept its session and its connection, that of the edited one took \
         its new values",
        slowest.as_millis()
    );
    Ok(())
}

/// Keys that AWS does not know, and then the right ones.
#[tokio::test]
async fn a_tunnel_whose_profile_was_wrong_goes_on_when_it_is_corrected() -> Result<()> {
    let echo = EchoServer::start().await?;
    let scene = Scene::start(Config::default()).await?;
    scene.emulator().map_service(HOST, PORT, echo.address());
    let key = scene.emulator().access_key();
    let wrong = AccessKey::new("AKIANOBODYKNOWS00001", key.secret(), None);
    profiles::write(&scene, &profile("keys", ""), &keys("keys", &wrong))?;
    for (name, profile) in [("edited", "keys"), ("new", "later")] {
        profiles::add(&scene, name, Some(profile)).await?;
    }
    for (name, code) in [("edited", 4), ("new", 6)] {
        let said = profiles::refused(&scene, name).await?;
        ensure!(said.code == code, "{said:?}");
    }
    let mut watch = Watch::start(scene.command(&["watch", "-o", "json"]), DEADLINE).await?;
    let right = keys("keys", key) + &keys("later", key);
    profiles::write(&scene, &(profile("keys", "") + &profile("later", "")), &right)?;
    watch.until_each(DEADLINE, 2, |tunnel| state(tunnel) == "up").await?;
    profiles::carries(&scene, "edited").await?;
    profiles::carries(&scene, "new").await.map(drop)
}

/// What changes with a tunnel that is disturbed.
#[derive(Debug, PartialEq)]
struct Undisturbed {
    state: String,
    session: Value,
    events: usize,
}

impl Undisturbed {
    async fn of(scene: &Scene) -> Result<Self> {
        let tunnel = scene.tunnel("untouched").await?;
        let events = scene.json(&["events", "untouched"]).await?;
        Ok(Self {
            state: state(&tunnel).to_owned(),
            session: tunnel["status"]["session_id"].clone(),
            events: events.as_array().map_or(0, Vec::len),
        })
    }
}

/// The list of profiles as its watch shows it.
struct List {
    watch: Watch,
    /// Whom AWS takes each for, if it told.
    profiles: BTreeMap<String, String>,
}

impl List {
    async fn of(scene: &Scene) -> Result<Self> {
        let watch = Watch::start(scene.command(&["profiles", "--watch", "-o", "json"]), DEADLINE).await?;
        let mut profiles = BTreeMap::new();
        watch.history().iter().for_each(|line| take(line, &mut profiles));
        Ok(Self { watch, profiles })
    }

    /// The edited profile was tried in its n-th form: nothing more is found out.
    fn is_checked(&self, n: usize) -> bool {
        self.profiles.get("touched").is_some_and(|taken| taken.ends_with(&format!("Plain/form-{n}")))
    }

    async fn until(&mut self, reached: impl Fn(&Self) -> bool) -> Result<()> {
        while !reached(self) {
            let line = self.watch.until(DEADLINE, |_| true).await?;
            take(&line, &mut self.profiles);
        }
        Ok(())
    }
}

/// Takes a line of the watch over.
fn take(line: &Value, profiles: &mut BTreeMap<String, String>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |profile: &Value| (text(&profile["name"]), text(&profile["principal"]));
    match line["event"].as_str() {
        Some("snapshot") => *profiles = line["profiles"].as_array().into_iter().flatten().map(one).collect(),
        Some("changed") => profiles.extend([one(&line["profile"])]),
        Some("removed") => drop(profiles.remove(&text(&line["name"]))),
        _ => {}
    }
}
