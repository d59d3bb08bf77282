//! Logins, renewals, credentials of roles and a logout at TRACE: their secrets are in two places, and in no other.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use aws_emulator::{Config, Consent, Counter, Injection, Role, SignInHabits, SignInOrder};
use serde_json::Value;
use stormtunnel_e2e::bulk::EchoServer;
use stormtunnel_e2e::profiles::{self, ACCOUNT, of_role, of_session, session};
use stormtunnel_e2e::scene::{HOST, PORT, Scene};
use stormtunnel_e2e::secrets::{self, Secrets, Shown};
use stormtunnel_e2e::watch::Watch;
use stormtunnel_e2e::{DEADLINE, sign_in};
use stormtunnel_model::{LoginFlow, LoginSurroundings, LoginWishes, Opener, SignInChoice};
use stormtunnel_proto::Client;
use stormtunnel_proto::calls::{Login, LoginUpdate};

const ROLE: &str = "arn:aws:iam::222222222222:role/Plain";
/// Two logins with client, code and tokens each, two renewals, credentials of two roles, and sessions.
const AT_LEAST: usize = 24;

fn habits(consent: Consent) -> SignInHabits {
    SignInHabits { consent, interval_s: 1, ..SignInHabits::default() }
}

#[tokio::test]
async fn what_a_login_brings_is_in_two_places_alone() -> Result<()> {
    let echo = EchoServer::start().await?;
    let config =
        Config { roles: vec![Role::new(ROLE)], sign_in: habits(Consent::Agrees), ..Config::default() };
    let scene = Scene::start(config).await?;
    scene.emulator().map_service(HOST, PORT, echo.address());
    let sections = [
        session("corp"),
        of_session("dev", "corp", ACCOUNT, "Developer"),
        of_role("role", ROLE, "dev", "external_id = not-asked-for"),
    ];
    profiles::write(&scene, &sections.concat(), "")?;
    secrets::start_at_trace(&scene).await?;
    let mut streams = Streams::open(&scene).await?;
    let mut shown = signed_in(&scene).await?;
    shown.extend(secrets::processes(&scene, &["stctl", "profiles", "--watch"])?);

    let kept = token_file(&scene)?;
    let secrets = Secrets::of(&scene, AT_LEAST, &kept)?;
    let places = places_of(&scene, &secrets)?;
    shown.extend(signed_out(&scene).await?);
    let secrets = Secrets::of(&scene, secrets.count(), &a_client_file(&scene)?)?;
    ensure!(!kept.exists(), "the token is still shared after the logout");
    shown.extend(streams.shown().await?);
    for path in secrets::files_under(scene.sandbox().directory())? {
        if !is_key_file(&scene, &path) {
            shown.push((path.display().to_string(), std::fs::read(&path)?));
        }
    }
    let leaks: Vec<String> =
        shown.iter().filter_map(|(place, bytes)| secrets.found_in(place, bytes)).collect();
    ensure!(leaks.is_empty(), "{}", leaks.join("\n"));
    let lines = secrets::only_ours_below_info(&scene.sandbox().log_file())?;
    println!(
        "promise sso.secrets: {} secrets of 2 logins, renewals, roles and a logout in none of {} places ({} log lines); while \
         signed in they are in {places} files, all 0600 in state/keys and ~/.aws/sso/cache",
        secrets.count(),
        shown.len(),
        lines.all
    );
    Ok(())
}

/// What other front ends would see all the time.
struct Streams([(&'static str, Watch); 3]);

impl Streams {
    async fn open(scene: &Scene) -> Result<Self> {
        let open = async |words: &[&str]| Watch::start(scene.command(words), DEADLINE).await;
        Ok(Self([
            ("watch", open(&["watch", "-o", "json"]).await?),
            ("events --follow", open(&["events", "--follow", "-o", "json"]).await?),
            ("profiles --watch", open(&["profiles", "--watch", "-o", "json"]).await?),
        ]))
    }

    /// All that they showed, up to what the logout made of it.
    async fn shown(&mut self) -> Result<Vec<Shown>> {
        let [_, (_, events), _] = &mut self.0;
        events.until(DEADLINE, |event| event["kind"] == "signed_out").await?;
        let text = |watch: &Watch| watch.history().iter().map(Value::to_string).collect::<String>();
        Ok(self.0.iter().map(|(name, watch)| ((*name).to_owned(), text(watch).into_bytes())).collect())
    }
}

/// Both ways to sign in, a renewal that is asked for and one that a refusal brings about, credentials of both profiles, and
/// failures of each kind. Answers what was printed meanwhile.
async fn signed_in(scene: &Scene) -> Result<Vec<Shown>> {
    let emulator = scene.emulator();
    let mut shown = Vec::new();
    let mut run = async |words: &[&str], code: i32| -> Result<()> {
        let said = scene.stctl(words).await?;
        ensure!(said.code == code, "{words:?}: {said:?}");
        shown.push((words.join(" "), format!("{}{}", said.stdout, said.stderr).into_bytes()));
        Ok(())
    };
    let browser = sign_in::browser(scene);
    let device = ["sso", "login", "corp", "--use-device-code", "--browser", &browser, "-o", "json"];
    emulator.inject(SignInOrder::Habits { habits: habits(Consent::Refuses) });
    run(&device, 4).await?;
    emulator.inject(SignInOrder::Habits { habits: habits(Consent::Agrees) });
    run(&device, 0).await?;
    by_code(scene).await?;
    for profile in ["dev", "role"] {
        profiles::add(scene, profile, Some(profile)).await?;
    }
    run(&["up", "--all"], 0).await?;
    for profile in ["dev", "role"] {
        profiles::carries(scene, profile).await?;
    }
    run(&["sso", "refresh", "corp"], 0).await?;
    emulator.inject(SignInOrder::RevokeAccessTokens { start_url: None });
    emulator.inject(Injection::ExpireCredentials { access_key_id: None, expired: true });
    run(&["restart", "--all"], 0).await?;
    emulator.counters().wait_at_least(Counter::OidcRefreshesGranted, 2, DEADLINE).await?;
    emulator.inject(Injection::Deny { action: "sts:AssumeRole".to_owned(), denied: true });
    emulator.inject(Injection::ExpireCredentials { access_key_id: None, expired: true });
    run(&["whoami", "--profile", "role"], 8).await?;
    emulator.inject(Injection::Calm);
    for words in [
        &["whoami", "--profile", "role", "-o", "json"][..],
        &["sso", "status", "-o", "json"],
        &["profiles", "-o", "yaml"],
        &["status", "dev", "-o", "json"],
        &["explain", "dev"],
        &["events", "--limit", "1000", "-o", "json"],
        &["daemon", "status", "-o", "json"],
    ] {
        run(words, 0).await?;
    }
    Ok(shown)
}

/// Signs in with a code that comes back to this machine, whatever this terminal would choose.
async fn by_code(scene: &Scene) -> Result<()> {
    let wishes = LoginWishes {
        flow: Some(LoginFlow::AuthorizationCode),
        opener: Opener::Command(sign_in::browser(scene)),
    };
    let surroundings = LoginSurroundings { display: true, ..LoginSurroundings::default() };
    let sign_in = SignInChoice::Named("corp".parse()?);
    let client = Client::connect(&scene.sandbox().socket()).await?;
    let mut login = client.login(Login { sign_in, wishes, surroundings, if_needed: false }).await?;
    let mut last = None;
    while let Some(update) = tokio::time::timeout(DEADLINE, login.next()).await?? {
        last = Some(update);
    }
    ensure!(matches!(last, Some(LoginUpdate::SignedIn(_))), "{last:?}");
    ensure!(scene.emulator().counters().value(Counter::OidcCreateTokenByCode) == 1);
    Ok(())
}

async fn signed_out(scene: &Scene) -> Result<Vec<Shown>> {
    let said = scene.ok(&["sso", "logout", "corp", "-o", "json"]).await?;
    let status = scene.stctl(&["sso", "status", "-o", "json"]).await?;
    ensure!(status.code == 4, "{status:?}");
    Ok(vec![
        ("sso logout".to_owned(), said.into_bytes()),
        ("sso status".to_owned(), status.stdout.into_bytes()),
    ])
}

/// Where the daemon keeps its own secrets, and where it shares tokens.
fn key_places(scene: &Scene) -> [PathBuf; 2] {
    [scene.sandbox().state_dir().join("keys"), scene.sandbox().home().join(".aws/sso/cache")]
}

fn is_key_file(scene: &Scene, path: &std::path::Path) -> bool {
    key_places(scene).iter().any(|place| path.parent() == Some(place))
}

/// The token that other tools find.
fn token_file(scene: &Scene) -> Result<PathBuf> {
    let [_, cache] = key_places(scene);
    secrets::files_under(&cache)?.pop().context("no token is shared")
}

/// The daemon's own registration, which outlives a logout.
fn a_client_file(scene: &Scene) -> Result<PathBuf> {
    let [keys, _] = key_places(scene);
    let is_client = |path: &PathBuf| path.to_string_lossy().contains("client-");
    secrets::files_under(&keys)?.into_iter().find(is_client).context("no client is kept")
}

/// In how many files secrets are: in every one of the two places, 0600, and in no other.
fn places_of(scene: &Scene, secrets: &Secrets) -> Result<usize> {
    let mut holding = BTreeSet::new();
    for path in secrets::files_under(scene.sandbox().directory())? {
        let bytes = std::fs::read(&path)?;
        if secrets.found_in("", &bytes).is_some() {
            let mode = std::fs::metadata(&path)?.permissions().mode() & 0o777;
            ensure!(mode == 0o600, "{} has mode {mode:o}", path.display());
            holding.insert(path);
        }
    }
    let mut expected = BTreeSet::new();
    for place in key_places(scene) {
        let files = secrets::files_under(&place)?;
        ensure!(!files.is_empty(), "nothing in {}", place.display());
        expected.extend(files);
    }
    ensure!(holding == expected, "secrets are in {holding:?}, and not in just {expected:?}");
    Ok(holding.len())
}
